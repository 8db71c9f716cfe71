"""The notes beside a lane's log: the last body of a held transaction, and ids of messages.

Bodies arrive in the order of their numbers, so the lane has all its bodies up to the last one, and
needs none of them again. The note is that number (``broker/packed.py``), or empty. If the log has
the setting ``deduplication.header``, it is followed by a byte 1, the length of the setting, the
setting, and the ids (``present.py``).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.held import number_of
from logstore.records.batch import Batch
from logstore.settings import TopicSettings

if TYPE_CHECKING:  # few queues have any
    from logstore.broker.deduplication.deduplication import Deduplication
    from logstore.broker.deduplication.present import Mark, Placed, Present

PRESENT: Final = 1  # what follows is what is remembered of ids
WHAT: Final = "what is kept beside a lane"


def _always(placed: "Placed") -> bool:
    return True


class LaneNotes:
    """The ``Notes`` of a lane's log."""

    __slots__ = ("_deduplication", "_frozen", "_header", "coming", "counts", "last", "present")

    def __init__(self, deduplication: "Deduplication | None" = None) -> None:
        self.last = 0  # 0: none
        self.present: Present | None = None
        # What is remembered of the batch that comes next; None: it is read.
        self.coming: Sequence[Mark] | None = None
        self.counts: Callable[[Placed], bool] = _always  # whether an id is needed still
        self._deduplication = deduplication
        self._header = ""
        self._frozen: Callable[[], bytes] = bytes

    def apply(self, settings: TopicSettings) -> None:
        """As Once.apply."""
        header = settings.deduplication_header
        if self._deduplication is None or header == self._header:
            return
        self._header = header
        self.present = self._deduplication.of_lane() if header else None

    def admitted(self, batch: Batch) -> Batch:
        """As ``Once.admitted``: repeats were already kept out."""
        return batch

    def load(self, note: bytes) -> None:
        """As Notes.load."""
        if not note:
            return
        data = Packed(note, WHAT)
        self.last = data.number()
        self._freeze()
        if not data:
            return
        if data.byte() != PRESENT:
            raise data.damaged("is too long")
        header = data.bytes(data.number())
        if self.present is not None and header == self._header.encode():
            with self.present.lock:
                self.present.load(data.rest(), WHAT)
            self._came(len(self.present))

    def _came(self, count: int) -> None:
        assert self._deduplication is not None
        self._deduplication.room.came(count)

    def appended(self, batch: Batch, base_offset: int) -> None:
        """As Notes.appended."""
        number = number_of(batch)
        if number > self.last:  # else it was told of before
            self.last = number
            self._freeze()
        if self.present is not None:
            self._remember(batch, base_offset)

    def _remember(self, batch: Batch, base_offset: int) -> None:
        assert self.present is not None
        marks = self.coming
        if marks is None:
            marks = self._read(batch)
        with self.present.lock:
            came = self.present.add(marks, base_offset, self.counts)
        self._came(came)

    def _read(self, batch: Batch) -> "Sequence[Mark]":
        from logstore.broker.queues.message import Showing
        from logstore.broker.queues.message_ids import marks_of

        return marks_of(batch, self._header, Showing())

    def freeze(self) -> Callable[[], bytes]:
        """As Notes.freeze."""
        if self.present is None:
            return self._frozen
        header, last, ids = self._header.encode(), self.last, self.present.freeze()
        head = packed(last) + bytes((PRESENT,)) + packed(len(header)) + header
        return lambda: head + ids()

    def _freeze(self) -> None:
        note = packed(self.last)
        self._frozen = lambda: note
