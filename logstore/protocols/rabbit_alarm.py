"""Makes publishers wait while the disk is nearly full, like RabbitMQ's disk alarm."""

import math
from collections.abc import Callable
from typing import Final

from logstore.broker.topics import Topics
from logstore.errors import LogstoreError
from logstore.kept.queues import ROOM_TIMES
from logstore.protocols.house import QueuesOf

LOOK_S: Final = 1.0  # between looks at the disk: so much may be written meanwhile
ROOM_S: Final = 10.0  # after which more of what is settled is removed, while the disk is short


def free_bytes(topics: Topics) -> int:
    """Of the disk; -1 where nobody knows: what a log finds out is told by it."""
    try:
        space = topics.space()
    except LogstoreError:
        return -1
    return space.usable_bytes if space.total_bytes else -1  # some file systems count nothing


class DiskAlarm:
    """The alarm for one door to the queues."""

    def __init__(
        self,
        queues_of: QueuesOf,
        free_bytes: Callable[[], int],
        free_bytes_min: int,
        tell: Callable[[], object],
    ) -> None:
        """``free_bytes``: of the disk; less than 0: nobody knows. ``free_bytes_min``: while there
        is less, nobody may publish; 0: it is not looked at. ``tell`` is called when that changes.
        """
        self.reason = ""  # why nobody may publish; "": all may
        self._queues_of = queues_of
        self.free_bytes = free_bytes
        self.free_bytes_min = free_bytes_min
        self._tell = tell
        self._looked_at = -math.inf
        self._made_room_at = -math.inf
        self._making_room = False

    def look(self, now: float) -> None:
        """See whether there is room for messages, where that was not seen just now."""
        if not self.free_bytes_min or now < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        free = self.free_bytes()
        if 0 <= free < ROOM_TIMES * self.free_bytes_min:
            self._make_room(now)
        self._judge(free)

    def _judge(self, free: int) -> None:
        if not 0 <= free < self.free_bytes_min:
            self.block("")
        elif not self._making_room:
            self.block("low on disk")

    def _make_room(self, now: float) -> None:
        """Have go what is settled of all queues, before anybody has to wait."""
        queues = self._queues_of.opened
        if queues is None or self._making_room or now < self._made_room_at + ROOM_S:
            return

        def made() -> None:
            self._making_room = False
            self._judge(self.free_bytes())

        self._made_room_at, self._making_room = now, True
        queues.make_room(made)

    def block(self, reason: str) -> None:
        """Take no messages any more, or again where there is no reason."""
        if reason != self.reason:
            self.reason = reason
            self._tell()
