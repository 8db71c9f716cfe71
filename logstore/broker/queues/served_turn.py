"""Turns of queues that a server in this process has: calls are made in the sessions' thread.

The calling thread waits until its call is done, so it must not be the sessions' thread itself.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, TypeVar

from logstore.errors import LogstoreError

_T = TypeVar("_T")


class NotNow(Exception):
    """Another thread uses the model, so the call would have to wait."""


class ServedTurn:
    """Turns of a served store. From any thread except the sessions' thread."""

    def __init__(self, soon: Callable[[Callable[[], object]], object]) -> None:
        """``soon``: schedules a call in the sessions' thread at the end of its turn."""
        self._soon = soon
        self._news = threading.Condition()
        self._pokes = 0
        self._left: set[Future[Any]] = set()  # calls that were not made yet
        self._error: LogstoreError | None = None

    def forked(self, error: LogstoreError) -> None:
        """As Forkable.forked."""
        self._news = threading.Condition()
        self._error = error

    def do(self, call: Callable[[], _T]) -> _T:
        """As Desk.do."""
        future: Future[_T] = Future()
        with self._news:
            if self._error is not None:
                raise self._error
            self._left.add(future)

        def work() -> None:
            with self._news:
                if future not in self._left:
                    return
                self._left.remove(future)
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  the caller's, whatever it is
                future.set_exception(error)

        self._soon(work)
        return future.result()

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """As Desk.wait."""
        until = None if timeout_s is None else monotonic() + timeout_s
        while True:
            seen = self._pokes
            if self.do(ready):
                return True
            left_s = None if until is None else until - monotonic()
            if left_s is not None and left_s <= 0:
                return False
            with self._news:
                self._news.wait_for(lambda: self._pokes != seen or self._error, left_s)  # noqa: B023

    def poke(self) -> None:
        """As Desk.poke."""
        with self._news:
            self._pokes += 1
            self._news.notify_all()

    def end(self, error: LogstoreError) -> None:
        """End: no more calls are made."""
        with self._news:
            self._error = error
            left, self._left = self._left, set()
            self._news.notify_all()
        for future in left:
            future.set_exception(error)
