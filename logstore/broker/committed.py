"""A log as a reader of committed records sees it (KIP-98).

It ends before the first open transaction, and has no records of aborted transactions, as if
compaction had removed them.
"""

from collections.abc import Sequence
from typing import Final, Literal

from logstore.aborted import AbortedBatches
from logstore.broker.log_view import LogView
from logstore.errors import Refused
from logstore.log import ABORTED_MAX, Aborted, Extent, Log
from logstore.records.batch import CONTROL, TRANSACTIONAL, Batch
from logstore.records.encode import rebatched

Isolation = Literal["committed", "uncommitted"]

_KIND: Final = TRANSACTIONAL | CONTROL


def isolated(log: Log, isolation: Isolation) -> Log:
    """The log as a reader of that isolation sees it. Raises Refused for another word."""
    if isolation == "uncommitted":
        return log
    if isolation != "committed":
        raise Refused(f"isolation {isolation!r}: must be committed or uncommitted")
    return CommittedLog(log)


def whole(log: Log) -> Log:
    """The log itself, where it is one as readers of committed records see it."""
    return log.behind if isinstance(log, CommittedLog) else log


class CommittedLog(LogView):
    """A ``Log`` whose ``safe`` is the other log's ``stable``. Appends go to the other log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<committed of {self._log!r}>"

    @property
    def safe(self) -> int:
        return self._log.stable

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As Log.read; batches of aborted transactions have no records."""
        log = self._log
        stable = log.stable  # before: what is read may end above it
        if at >= log.start and stable <= at < log.safe:
            return ()
        batches = log.read(at, bytes_max)
        if batches and batches[-1].next_offset > stable:
            batches = [it for it in batches if it.next_offset <= stable]
        if any(it.attributes & _KIND == TRANSACTIONAL for it in batches):
            return _without(batches, AbortedBatches(log.aborted(at, batches[-1].next_offset)))
        return batches

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """As ``Log.extent``: it includes the batches whose records are left out."""
        return None

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """Return nothing: aborted records are already left out."""
        return ()

    def following(self, at: int) -> int | None:
        following = self._log.following(at)
        return None if following is None or following >= self.safe else following

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As ``Log.find``; the record that is found may be one that is left out."""
        return min(self._log.find(timestamp_ms, damaged=damaged), self.safe)


def _without(batches: Sequence[Batch], aborted: AbortedBatches) -> Sequence[Batch]:
    """Return the batches, with aborted ones emptied of their records."""
    if not aborted:
        return batches
    return [rebatched(it, 0, b"") if it in aborted else it for it in batches]
