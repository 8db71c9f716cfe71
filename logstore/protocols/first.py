"""Sessions of clients that connect before a door's code is imported, which takes 0.1 s.

A worker imports the code for the first client; clients of other doors are served meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from logstore.errors import LogstoreError
from logstore.protocols.house import Work
from logstore.protocols.session import NOTHING, About, Buffer, Link, Session

WAITING_BYTES: Final = 512  # that one of these takes by itself


class Code:
    """What creates sessions, once the code is imported."""

    def __init__(self, work: Work, load: Callable[[], object], made: Callable[[Link], Any]) -> None:
        """``load`` imports it, in a worker; ``made`` is a session, then."""
        self.made = made
        self.loaded = False
        self._work = work
        self._load = load
        self._waiting: list[FirstSession] = []
        self._loading = False

    def session(self, link: Link) -> Session:
        """One for a connection that has just come in."""
        if self.loaded:
            session: Session = self.made(link)
            return session
        first = FirstSession(self, link)
        self._waiting.append(first)
        if not self._loading:
            self._loading = True
            self._work(self._load, self._done)
        return first

    def _done(self, found: object) -> None:
        self._loading = False
        self.loaded = not isinstance(found, LogstoreError)
        waiting, self._waiting = self._waiting, []
        for it in waiting:
            it.begin(None if self.loaded else str(found))


class FirstSession:
    """A ``Session`` that takes no input until the code is imported; then it is a real one."""

    def __init__(self, code: Code, link: Link) -> None:
        self._code = code
        self._link = link
        self._real: Any = None
        self._closed: str | None = None  # before it was real
        self._gone = False

    def begin(self, broken: str | None) -> None:
        """The code is there, or can't be had."""
        if self._gone:
            return
        if broken is None:
            self._real = self._code.made(self._link)
        else:
            self._closed = broken
        self._link.wake()

    @property
    def wants(self) -> int:
        return int(self._real.wants) if self._real else 0

    @property
    def deadline(self) -> float | None:
        found: float | None = self._real.deadline if self._real else None
        return found

    @property
    def busy(self) -> bool:
        return bool(self._real.busy) if self._real else self._closed is None

    @property
    def held_bytes(self) -> int:
        return WAITING_BYTES + (int(self._real.held_bytes) if self._real else 0)

    @property
    def kept(self) -> bool:
        return bool(self._real.kept) if self._real else False

    @property
    def closed(self) -> str | None:
        found: str | None = self._real.closed if self._real else self._closed
        return found

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        return int(self._real.receive(data, now)) if self._real else 0

    def wake(self, now: float) -> None:
        """As Session.wake."""
        if self._real:
            self._real.wake(now)

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        found: Sequence[Buffer] = self._real.outgoing(bytes_max) if self._real else ()
        return found

    def finish(self, now: float) -> None:
        """As Session.finish."""
        if self._real:
            self._real.finish(now)
        else:
            self._closed = ""

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        return bool(self._real.leave(now)) if self._real else False

    def close(self) -> None:
        """As Session.close."""
        self._gone = True
        if self._real:
            self._real.close()

    def about(self) -> About:
        """What is known of its client."""
        found: About = self._real.about() if self._real else NOTHING
        return found

    def end_by(self, reason: str) -> None:
        """Have it end, and its client told why, where its door has words for that."""
        if self._real:
            self._real.end_by(reason)
        else:
            self._closed = reason
            self._link.wake()
