"""Calls that any thread leaves for the event loop: made there soon, and equal calls only once.

If many calls are due at once, some are made in this iteration of the loop and the others in the
next ones, so that the loop is never blocked for long.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

# Each call resumes a task in the loop's next iteration, for some 50 us: 3 ms in total.
CALLS_MAX: Final = 64

log: Final = logging.getLogger("logstore.aio")


class Bell:
    """The calls for one loop; created in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._mutex = threading.Lock()
        self._calls: dict[Callable[[], object], None] = {}

    def ring(self, call: Callable[[], object]) -> None:
        """Run the call in the loop soon, in order. Callable from any thread.

        Has no effect once the loop is closed.
        """
        with self._mutex:
            first = not self._calls
            self._calls[call] = None
        if first:
            self._answer_soon()

    def _answer_soon(self) -> None:
        here = threading.get_ident() == self._thread  # then the loop need not be woken
        soon = self._loop.call_soon if here else self._loop.call_soon_threadsafe
        try:
            soon(self._answer)
        except RuntimeError:  # closed
            with self._mutex:
                self._calls.clear()

    def _answer(self) -> None:
        with self._mutex:
            calls = list(self._calls)[:CALLS_MAX]
            for call in calls:
                del self._calls[call]
            left = bool(self._calls)
        if left:
            self._answer_soon()
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("a bug in what was to be done in the event loop")
