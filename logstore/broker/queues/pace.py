"""Slows down the delivery of messages that are returned again and again.

Otherwise a consumer that rejects every message forever would keep the sessions' thread busy. The
order stays, so later messages wait, too.
"""

from typing import Final

from logstore.broker.queues.pending import NO_TIME

FAILING: Final = 10  # times that a message has come back, from which on it is one of these
# 12,800 a second: a seventh of the thread's time, some 0.8 ms at once.
MESSAGES: Final = 64
EACH_MS: Final = 5


class Pace:
    """The pace of one queue."""

    __slots__ = ("_left", "_since_ms", "_waits")

    def __init__(self) -> None:
        self._left = MESSAGES
        self._since_ms = 0
        self._waits = False

    def look(self) -> None:
        """Begin a search for consumers: no message is known to wait for room."""
        self._waits = False

    def room(self, now_ms: int) -> int:
        """Return how many messages may be delivered now."""
        if not self._since_ms <= now_ms < self._since_ms + EACH_MS:  # a clock may be set back
            self._since_ms, self._left = now_ms, MESSAGES
        self._waits = self._left <= 0
        return self._left

    def took(self, count: int) -> None:
        """Count delivered messages."""
        self._left -= count

    @property
    def deadline_ms(self) -> int:
        """When there is room again, if ``room`` returned none; otherwise NO_TIME."""
        return self._since_ms + EACH_MS if self._waits else NO_TIME
