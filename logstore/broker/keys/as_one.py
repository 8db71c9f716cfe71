r"""Changes of several databases that reach the disk together or not at all.

Each database has its own log, and two logs are not synced at the same moment. So one log, the lead,
takes everything in one batch: its own changes, and for each other database a record with the batch
for that database's log (``\0T`` and the topic's number; the offset that the batch will have there,
and the batch). Once the lead is safe, the change is decided and answered; then each other log gets
its batch before anything else. When that is safe, too, a tombstone follows the lead's record. After
a crash, before any client is served, each record without a tombstone is checked: if the other log
does not reach beyond the offset, the batch is appended.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from logstore.broker.keys.journal import Held, Journal, Part
from logstore.broker.keys.shapes import DECIDED, Row, columns
from logstore.errors import LogstoreError, Refused
from logstore.records.batch import Batch
from logstore.records.encode import encode_columns

_AT: Final = Struct(">Q")


class Owed(NamedTuple):
    """A batch that belongs into the log of a topic, at this offset."""

    topic: int
    at: int
    batch: bytes

    @property
    def key(self) -> bytes:
        """The key of this record in the lead's log."""
        return DECIDED + bytes([self.topic])

    @property
    def row(self) -> Row:
        """The row that writes this record."""
        return self.key, _AT.pack(self.at) + self.batch, ()


def owed(key: bytes, value: bytes) -> Owed:
    """Parse such a record. Raises ValueError."""
    if len(key) != len(DECIDED) + 1 or len(value) <= _AT.size:
        raise ValueError(f"a record {key!r} of {len(value)} bytes")
    return Owed(key[-1], _AT.unpack_from(value)[0], value[_AT.size :])


class AsOne:
    """Changes of several databases. For the sessions' thread."""

    def __init__(
        self, again: Callable[[], object], lost: Callable[[], object], *, apart: bool = False
    ) -> None:
        """``again``: called when ``write`` must be tried again. ``lost``: called when the changes
        were undone.

        ``apart``: no log refers to another one, so a change of several databases is refused.
        """
        self._apart = apart
        self._again = again
        self._lost = lost

    def write(self, journals: Sequence[Journal]) -> bool:
        """Write the changes of these journals in this turn as one; False: that is not
        possible yet.
        """
        changed = sorted((it for it in journals if it.changed), key=lambda it: it.topic)
        if len(changed) < 2:
            for it in changed:
                it.whole = True
            return True  # each ends its turn as ever
        if self._apart:
            error = Refused(
                "over a cluster each database is kept by itself: nothing changes several as one"
            )
            for it in changed:
                it.fail(it.take(), error)
            self._lost()
            return True
        if any(it.held is not None for it in changed):
            return False
        there = [it for it in changed if it.log is not None]
        if not there:
            changed[0].begin_opening()
            return False
        lead = min(there, key=lambda it: it.has_much)  # whose own changes stand in the batch
        others = [it for it in changed if it is not lead]
        part, parts = lead.take(), [it.take() for it in others]
        now_ms = lead.keyspace.clock()
        owing = [_owed(it, at, now_ms) for it, at in zip(others, parts, strict=True)]
        listed = part.rows + [it.row for it in owing if it is not None]
        assert lead.log is not None
        first = lead.log.end
        try:
            mark = lead.append(listed, whole=True) if listed else None
        except LogstoreError as error:
            for journal, its in zip((lead, *others), (part, *parts), strict=True):
                journal.fail(its, error)
            self._lost()
            return True
        for journal, its, owes in zip(others, parts, owing, strict=True):
            journal.wrote(its, lead.log, first, mark)
            if mark is not None and (owes is not None or its.moved):
                batch, key = (None, b"") if owes is None else (Batch(owes.batch), owes.key)
                journal.hold(Held(lead, mark, batch, key, its), self._again)
                lead.log.sync_soon()  # the other log waits for that
        lead.wrote(part, lead.log, first, mark)
        return True


def _owed(journal: Journal, part: Part, now_ms: int) -> Owed | None:
    if not part.rows:
        return None
    at = 0 if journal.log is None else journal.log.end
    batch = part.batch
    if batch is None or batch.record_count < len(part.rows):
        batch = encode_columns(columns(part.rows, now_ms))
    return Owed(journal.topic, at, bytes(batch.data))
