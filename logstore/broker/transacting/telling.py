"""Writes transactions' records to the journal: one batch a turn of the loop, and one sync.

Each caller is called back, in the order of the journal, once its record is safe, with the record's
place, or with the error if the journal refuses it.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from logstore.errors import LogstoreError
from logstore.log import Log, Wake
from logstore.records.encode import encode

# Callers per turn, before other work has its turn; and a limit in seconds, in case the callers take
# longer than they should (as ``slices.SLICE_S``).
CALLED_AT_ONCE: Final = 100
CALLED_S: Final = 0.005

Then = Callable[[int | LogstoreError], None]


class _Record(NamedTuple):
    key: bytes
    value: bytes
    then: Then


class _Told(NamedTuple):
    mark: int  # of its record
    then: Then


class _Refused(NamedTuple):
    error: LogstoreError
    then: Then


class Telling:
    """The writing to one journal. Used in one thread."""

    def __init__(
        self,
        journal: Log,
        clock: Callable[[], int],
        soon: Callable[[Callable[[], object]], object],
        end_soon: Callable[[], None],
    ) -> None:
        """``soon``: schedules a call in this thread, from any. ``end_soon``: schedules
        ``end_turn``.
        """
        self.journal = journal
        self._clock = clock
        self._soon = soon
        self._end_soon = end_soon
        self._records: list[_Record] = []
        self._told: deque[_Told] = deque()
        self._refused: deque[_Refused] = deque()  # before those
        self._stop: Wake | None = None

    def tell(self, key: bytes, value: bytes, then: Then) -> None:
        """Add a record to this turn's batch; ``then`` is called once it is safe, or
        with the error.
        """
        if not self._records:
            self._end_soon()
        self._records.append(_Record(key, value, then))

    def end_turn(self) -> None:
        """Write the records of this turn."""
        records, self._records = self._records, []
        if not records:
            return
        now_ms = self._clock()
        try:
            mark = self.journal.append(encode([(it.value, it.key, (), now_ms) for it in records]))
        except LogstoreError as error:
            self._refused += [_Refused(error, it.then) for it in records]
            self.look()
            return
        self._told += [_Told(mark + number, it.then) for number, it in enumerate(records)]
        if self._stop is None:
            self._stop = self.journal.watch(self._wake)
        self.journal.sync_soon(always=True)
        if self.journal.synced > mark:  # its news came before it was watched
            self._wake()

    def _wake(self) -> None:
        """Schedule ``look``. Called from any thread."""
        if self._told:
            self._soon(self.look)

    def look(self) -> None:
        """Call some of the callers whose records are safe, or have failed."""
        until = monotonic() + CALLED_S
        for _ in range(CALLED_AT_ONCE):
            if not self._call_one():
                return
            if monotonic() > until:
                break
        if self._told or self._refused:
            self._soon(self.look)

    def _call_one(self) -> bool:
        """Call one caller; return whether there was one."""
        if not self._refused and self._told and self._told[0].mark >= self.journal.synced:
            try:
                self.journal.check_failure()
            except LogstoreError as error:
                self._refused += [_Refused(error, it.then) for it in self._told]
                self._told.clear()
        if self._refused:
            refused = self._refused.popleft()
            refused.then(refused.error)
        elif self._told and self._told[0].mark < self.journal.synced:
            told = self._told.popleft()
            told.then(self.journal.offset_of(told.mark))
        else:
            return False
        return True

    def close(self) -> None:
        """Drop all callers: none of them is called any more."""
        self._told.clear()
        self._refused.clear()
        if self._stop is not None:
            self._stop()
            self._stop = None
