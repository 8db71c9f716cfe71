"""What a lane's log has beside itself: the last body of a held transaction that it took.

Bodies come in the order of their numbers, so the lane has all that go to it up to that one, and
needs none of them again. The note is that number (``packed.py``), or nothing.
"""

from collections.abc import Callable

from logstore.broker.queues.held import number_of
from logstore.broker.queues.packed import Packed, packed
from logstore.records.batch import Batch


class LaneNotes:
    """Notes of a lane's log."""

    __slots__ = ("_frozen", "last")

    def __init__(self) -> None:
        self.last = 0  # 0: none
        self._frozen: Callable[[], bytes] = bytes

    def load(self, note: bytes) -> None:
        """As Notes.load."""
        if note:
            data = Packed(note, "what is kept beside a lane")
            self.last = data.number()
            if data:
                raise data.damaged("is too long")
            self._freeze()

    def appended(self, batch: Batch, base_offset: int) -> None:
        """As Notes.appended."""
        number = number_of(batch)
        if number > self.last:  # else it was told of before
            self.last = number
            self._freeze()

    def freeze(self) -> Callable[[], bytes]:
        """As Notes.freeze."""
        return self._frozen

    def _freeze(self) -> None:
        note = packed(self.last)
        self._frozen = lambda: note
