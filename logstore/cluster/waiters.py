"""Lets another thread wait for work that begins in the loop's thread, and for news of a log."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from logstore.errors import Closed, Failed, LogstoreError
from logstore.log import Wake

# Begins something whose answer comes by the call that it is given, and waits for that. In a thread
# that may wait.
WaitFor = Callable[[Callable[[Callable[[Any], None]], None]], Any]


class Waiters:
    """The ``WaitFor`` of one loop, in whose thread it is created."""

    def __init__(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        """``call_soon`` makes a call in the loop's thread, from any thread."""
        self._call_soon = call_soon
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._waited_for: set[Future[Any]] | None = set()  # None: it is closed

    def may_wait(self) -> bool:
        """Whether this thread may wait: it is not the loop's."""
        return threading.get_ident() != self._thread

    def __call__(self, begin: Callable[[Callable[[Any], None]], None]) -> Any:  # noqa: ANN401
        """What comes of it. Raises LogstoreError where that is one; Closed; Failed in the loop's
        thread, which would wait for itself.
        """
        if not self.may_wait():
            raise Failed("it must be read from the cluster first: try again")
        future: Future[Any] = Future()
        with self._lock:
            if self._waited_for is None:
                raise Closed("this process is stopping")
            self._waited_for.add(future)

        def tell(found: Any) -> None:  # noqa: ANN401
            if not future.done():
                future.set_result(found)

        def begun() -> None:
            try:
                begin(tell)
            except Exception as error:  # noqa: BLE001  whoever waits raises it
                if not future.done():
                    future.set_exception(error)

        try:
            self._call_soon(begun)
            found = future.result()
        finally:
            with self._lock:
                if self._waited_for is not None:
                    self._waited_for.discard(future)
        if isinstance(found, LogstoreError):
            raise found
        return found

    def close(self) -> None:
        """Report the end to waiting callers. In the loop's thread."""
        with self._lock:
            waited_for, self._waited_for = self._waited_for or set(), None
        for future in waited_for:
            if not future.done():
                future.set_result(Closed("this process is stopping"))


class Appended(Protocol):
    """What a thread waits for in a log."""

    @property
    def done(self) -> int:
        """As Log.done."""

    def check_failure(self) -> None:
        """As Log.check_failure."""

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""


def wait_until_done(log: Appended, upto: int, wait_for: WaitFor) -> None:
    """As Log.wait. Not in the loop's thread."""
    wait_until(log, lambda: log.done >= upto, wait_for)


def wait_until(log: Appended, holds: Callable[[], bool], wait_for: WaitFor) -> None:
    """Return once the condition holds, checked at news of the log. Raises as ``check_failure``."""
    if not holds():
        wait_for(lambda then: when(log, holds, lambda: then(True)))
    if not holds():
        log.check_failure()


def when(log: Appended, holds: Callable[[], bool], then: Callable[[], object]) -> None:
    """Call ``then`` once that holds, or the log has failed; at once where it does. In the loop's
    thread.
    """
    told = False

    def look() -> None:
        nonlocal told
        if not told and (holds() or _has_failed(log)):
            told = True
            stop()
            then()

    stop = log.watch(look)
    look()


def _has_failed(log: Appended) -> bool:
    try:
        log.check_failure()
    except LogstoreError:
        return True
    return False
