"""The sessions' thread, and the end of its loop's turn.

All sessions run in one thread, and a turn is what its loop does between two waits for its sockets.
Whoever has something for that thread leaves a call, from any thread: it is made when the turn ends,
after all that the turn's sockets have brought. So what many leave is done once: a connection that
three logs have woken is looked at once, and what all clients publish in a turn is handed out
together.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

log: Final = logging.getLogger("logstore.turn")


class Turn:
    """Of one loop; made in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._mutex = threading.Lock()
        self._calls: dict[Callable[[], object], None] = {}

    def soon(self, call: Callable[[], object]) -> None:
        """Have it called in the sessions' thread when the turn ends, in order. From any thread.

        Once, if it is left several times till then: calls that are equal are one. A call that is
        left while the turn is ended belongs to the next one. Without effect once the loop is
        closed: there are no sessions any more.
        """
        with self._mutex:
            first = not self._calls
            self._calls[call] = None
        if first:
            here = threading.get_ident() == self._thread  # then nobody has to be woken from a wait
            end_soon = self._loop.call_soon if here else self._loop.call_soon_threadsafe
            try:
                end_soon(self._end)
            except RuntimeError:  # closed
                with self._mutex:
                    self._calls.clear()

    def _end(self) -> None:
        """The one place where a turn ends: whoever measures turns does it here."""
        with self._mutex:
            calls, self._calls = self._calls, {}
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("a bug in what was to be done at the end of a turn")
