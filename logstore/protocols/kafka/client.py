"""One connection as requests see it: what it says of itself, and what it waits for.

Knows nothing of frames and their order; ``session.py`` does that.
"""

from collections import deque
from collections.abc import Collection
from functools import partial
from typing import Final

from logstore.broker.admission import GLANCE_MAX
from logstore.log import Log
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.fetch_session import FetchSession
from logstore.protocols.kafka.slots import Slot
from logstore.protocols.session import Wake

KEPT_BYTES_MIN: Final = 4 << 20  # of a request: copying less takes less than 5 ms
WATCHED_SPARE: Final = 16  # logs that may wake a connection for nothing


class KafkaClient:
    """What a handler may ask of the connection that a request came by."""

    def __init__(
        self, door: KafkaDoor, wake: Wake, address: tuple[str, int], peer: tuple[str, int]
    ) -> None:
        """``wake``: have the server look at this connection again; from any thread.

        ``address``: where this node is reached, as clients are to be told.
        """
        self.door = door
        self.wake = wake
        self.address = address
        self.peer = peer
        self.id = ""  # what it calls itself
        self.now = 0.0  # seconds of the sessions' clock
        self.fetching: FetchSession | None = None
        self.closed: str | None = None  # why nothing more is taken of it
        self.kept = False  # a view of what is being received
        # The requests under way, in order, each with its correlation id and whether the header of
        # its answer has room for tagged fields.
        self.slots: deque[tuple[Slot, int, bool]] = deque()
        self.held: Slot | None = None  # nothing is taken before this is answered
        self.glances_left = GLANCE_MAX  # of this turn, as ``admission`` counts them
        self._watched: dict[Log, Wake] = {}
        self.news: set[Log] = set()  # of the watched: those that have had some
        self._to_sync: set[Log] = set()

    @property
    def now_ms(self) -> int:
        """The time of groups."""
        return int(self.now * 1000)

    def end(self, reason: str) -> None:
        """Take nothing more; close once what is ready is sent."""
        if self.closed is None:
            self.closed = reason

    def keep(self, frame: memoryview) -> memoryview:
        """The request's bytes, for as long as they are needed."""
        if len(frame) < KEPT_BYTES_MIN:
            return memoryview(bytes(frame))
        self.kept = True
        return frame

    def hold(self, slot: Slot) -> None:
        """Take nothing before this is answered: what follows may depend on it."""
        self.held = slot

    # Logs

    def watch(self, log: Log) -> None:
        """Be woken when the log's safe offset moves, from now on."""
        if log not in self._watched:
            self._watched[log] = log.watch(partial(self._hear, log))

    def _hear(self, log: Log) -> None:
        """From any thread."""
        self.news.add(log)
        self.wake()

    def watch_only(self, logs: Collection[Log]) -> None:
        """Be woken no more for most of those that nothing here waits for."""
        if len(self._watched) > 2 * len(logs) + WATCHED_SPARE and not self.slots:
            for log in self._watched.keys() - set(logs):
                self._watched.pop(log)()

    def unwatch(self) -> None:
        """Be woken for no log any more."""
        for stop in self._watched.values():
            stop()
        self._watched.clear()
        self.news.clear()

    def sync(self, log: Log) -> None:
        """Have the log synced, once for all that has come in one read."""
        self._to_sync.add(log)

    def sync_now(self) -> None:
        """Have them synced that ``sync`` was called with."""
        for log in self._to_sync:
            log.sync_soon()
        self._to_sync.clear()
