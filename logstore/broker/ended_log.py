"""A view of a log that ends at a given offset."""

from collections.abc import Sequence

from logstore.broker.log_view import LogView
from logstore.log import Log
from logstore.records.batch import Batch


class EndedLog(LogView):
    """A ``Log`` whose ``safe`` does not pass an offset. The last batch that is read may pass it."""

    __slots__ = ("_upto",)

    def __init__(self, log: Log, upto: int) -> None:
        super().__init__(log)
        self._upto = upto

    def __repr__(self) -> str:
        return f"<{self._log!r} up to {self._upto}>"

    @property
    def safe(self) -> int:
        return min(self._log.safe, self._upto)

    @property
    def stable(self) -> int:
        return min(self._log.stable, self._upto)

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As ``Log.read``: the last batch is whole, and may hold records behind the end."""
        if at >= self._upto:
            return ()
        batches = self._log.read(at, bytes_max)
        return [it for it in batches if it.base_offset < self._upto]

    def following(self, at: int) -> int | None:
        following = self._log.following(at)
        return None if following is None else min(following, self._upto)
