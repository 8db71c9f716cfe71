"""The services that a consumer needs: something to wait on, and chores done at intervals.

With threads, each consumer waits on an event, and each chore has a thread. A runner of many
consumers implements both in another way.
"""

import threading
from collections.abc import Callable
from typing import Final, Protocol


class Awake(Protocol):
    """A signal that there is news. ``threading.Event`` is one; from any thread."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Chore(Protocol):
    """Something that is done periodically until it is joined. From any thread."""

    def hurry(self) -> None:
        """Make the chore due now."""

    def join(self) -> None:
        """Stop the chore; return once no other thread runs it."""


class Chores(Protocol):
    """Runs chores. From any thread."""

    def awake(self) -> Awake:
        """Return a new Awake for one consumer."""

    def begin(self, every_s: float, act: Callable[[], bool], name: str) -> Chore:
        """Call ``act`` every ``every_s`` seconds until it returns False."""


class OwnThread:
    """A ``Chore`` with a thread of its own."""

    def __init__(self, every_s: float, act: Callable[[], bool], name: str) -> None:
        self._every_s = every_s
        self._act = act
        self._due = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._due.wait(self._every_s)
            self._due.clear()
            if self._stopped or not self._act():
                return

    def hurry(self) -> None:
        """As Chore.hurry."""
        self._due.set()

    def join(self) -> None:
        """As Chore.join."""
        self._stopped = True
        self._due.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


class OwnThreads:
    """A ``Chores`` that gives each chore a thread of its own."""

    def awake(self) -> Awake:
        """As Chores.awake."""
        return threading.Event()

    def begin(self, every_s: float, act: Callable[[], bool], name: str) -> Chore:
        """As Chores.begin."""
        return OwnThread(every_s, act, name)


OWN_THREADS: Final[Chores] = OwnThreads()
