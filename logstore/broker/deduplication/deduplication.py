"""All deduplication in one store: created on demand, with one bound on its memory."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from logstore.clock import now_ms
from logstore.settings import TopicSettings

if TYPE_CHECKING:  # few stores use deduplication
    from logstore.broker.deduplication.present import Present
    from logstore.broker.deduplication.repeats import Repeats
    from logstore.broker.deduplication.room import Room

TOPICS, QUEUES, EXCHANGES = "topics", "queues", "exchanges"
BYTES_MAX: Final = 64 << 20  # as deduplication.memory.bytes is by default


class Deduplication:
    """The deduplication of one store. From any thread."""

    def __init__(
        self,
        clock: Callable[[], int] = now_ms,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """``bytes_max``: as ``deduplication.memory.bytes``."""
        self._clock = clock
        self._bytes_max = bytes_max
        self._making = threading.Lock()
        self._room: Room | None = None
        # Repeats that were kept out since the process began, by where they were sent.
        self.kept_out = {TOPICS: 0, QUEUES: 0, EXCHANGES: 0}

    def keeps_out(self, where: str, count: int) -> None:
        """Count more repeats that were kept out."""
        with self._making:
            self.kept_out[where] += count

    @property
    def room(self) -> "Room":
        """The memory that all windows share."""
        with self._making:
            if self._room is None:
                from logstore.broker.deduplication.room import Room

                self._room = Room(self._bytes_max)
            return self._room

    @property
    def used(self) -> "Room | None":
        """The shared memory; None: it was never needed."""
        return self._room

    @property
    def bytes(self) -> int:
        """The approximate memory of all remembered ids."""
        return 0 if self._room is None else self._room.bytes

    @property
    def forgotten(self) -> int:
        """The number of ids that were forgotten for lack of memory, before their time was over."""
        return 0 if self._room is None else self._room.forgotten

    def of_lane(self) -> "Present":
        """Return a new memory of ids for a queue's lane."""
        from logstore.broker.deduplication.present import Present

        return self.room.enter(Present())

    def of_log(self, settings: TopicSettings) -> "Repeats":
        """Return what keeps repeats out of the log of a topic with these settings."""
        from logstore.broker.deduplication.repeats import Repeats

        return Repeats(settings, self._clock, self.room, partial(self.keeps_out, TOPICS))
