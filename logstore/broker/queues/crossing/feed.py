"""One partition of a topic that feeds an exchange: the read position, and the safe position.

    committed <= safe <= next        offsets

Everything below ``safe`` has arrived; after a crash, the process starts at ``committed`` again.
Records between ``safe`` and ``next`` are on their way.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.pending import Waiting
from logstore.broker.reading import Chunk, chunks
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.records.record import Record

READ_BYTES: Final = 1 << 18
FLIGHTS_MAX: Final = 16  # runs that are on their way, while the disk syncs
# A record that is larger, decompressed, stops the route: a body may not be larger either.
RECORD_BYTES_MAX: Final = 128 << 20


class Flight(NamedTuple):
    """A run of messages that is on its way."""

    upto: int  # the offset after its last record
    waiting: Waiting
    alone: bool


class Feed:
    """The feed of one partition."""

    def __init__(
        self, topic: str, number: int, log: Log, at: int, wake: Callable[[], None]
    ) -> None:
        """``at``: the committed position."""
        self.number, self.log = number, log
        self.committed = self.safe = self.next = at
        self.keeping = 0  # positions that are on their way to where those of groups are
        self.skipped = 0  # records that retention removed before they were read
        self.flights: deque[Flight] = deque()
        self._place = topic, number
        self._chunks: Iterator[Chunk] = iter(())
        self._records: Sequence[Record] = ()
        self._upto = at  # the offset after those
        self._more = False  # of what was read with them
        self._stop = log.watch(wake)

    @property
    def has_more(self) -> bool:
        """Whether there are records to read and send now."""
        if self.flights and self.flights[-1].alone:
            return False
        return len(self.flights) < FLIGHTS_MAX and self.next < self.log.safe

    @property
    def is_kept(self) -> bool:
        """Whether the committed position is the present one."""
        return not self.keeping and self.safe == self.committed

    @property
    def has_read(self) -> bool:
        """Whether some records are in memory that were not sent yet."""
        return bool(self._records) or self._more

    def records(self, most: int) -> tuple[Sequence[Record], int]:
        """Return up to ``most`` of the next records, and the offset after them; then call ``went``.

        Empty: they are not here yet, or there are no records up to that offset; if ``has_read``,
        they come with the next call. Raises CorruptBatch.
        """
        if not self._records:
            self._read()
        some = self._records[:most]
        return some, self._upto if len(some) == len(self._records) else some[-1].offset + 1

    def went(self, count: int, upto: int, waiting: Waiting | None, *, alone: bool = False) -> None:
        """Note that ``count`` records are on their way. ``waiting`` None: there is nothing to wait
        for.

        ``alone``: later records must not be sent before these have arrived: they could arrive
        although these do not, and their position counts for all below it.
        """
        self._records = self._records[count:]
        self.next = upto
        if waiting is not None:
            self.flights.append(Flight(upto, waiting, alone))
        elif not self.flights:
            self.safe = upto

    def _read(self) -> None:
        if self.next < self.log.start:
            self.skipped += self.log.start - self.next
            self.next = self.log.start
        chunk = next(self._chunks, None)
        if chunk is None or (chunk.end == self.next and not chunk.more):
            self._chunks = chunks(
                self.log, self._place, self.next, None,
                bytes_max=READ_BYTES, record_bytes_max=RECORD_BYTES_MAX, in_turns=True,
            )  # fmt: skip
            chunk = next(self._chunks, None)
        if chunk is None:
            self._records, self._upto, self._more = (), self.next, False
        else:
            self._records, self._upto, self._more = chunk.records, chunk.end, chunk.more

    def settle(self) -> LogstoreError | None:
        """Check what is on its way; return an error if a part failed, which must be sent again."""
        while self.flights and self.flights[0].waiting.settled():
            flight = self.flights.popleft()
            if flight.waiting.failed is not None:
                self.back()
                return flight.waiting.failed
            self.safe = flight.upto
        if not self.flights:
            self.safe = max(self.safe, self.next)
        return None

    def back(self) -> None:
        """Read again from the offset below which all is safe."""
        for flight in self.flights:
            flight.waiting.close()
        self.flights.clear()
        self.move(self.safe)

    def move(self, at: int) -> None:
        """Continue at this offset; nothing may be on its way."""
        assert not self.flights
        self.next = self.safe = self._upto = at
        self._records, self._chunks, self._more = (), iter(()), False

    def close(self) -> None:
        self._stop()
        for flight in self.flights:
            flight.waiting.close()
        self.flights.clear()
