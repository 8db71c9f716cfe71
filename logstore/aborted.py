"""Which batches belong to aborted transactions."""

from bisect import bisect_right
from collections.abc import Iterable

from logstore.log import Aborted
from logstore.records.batch import Batch


class AbortedBatches:
    """The aborted batches of one log. A look-up is cheap, however many transactions there are."""

    __slots__ = ("_by_producer",)

    def __init__(self, aborted: Iterable[Aborted]) -> None:
        """``aborted``: in the order of their markers, as ``Log.aborted`` gives them."""
        # The first offsets and those of the markers: a producer has one transaction at a time, so
        # both rise.
        self._by_producer: dict[int, tuple[list[int], list[int]]] = {}
        for it in aborted:
            firsts, lasts = self._by_producer.setdefault(it.producer_id, ([], []))
            firsts.append(it.first)
            lasts.append(it.last)

    def __bool__(self) -> bool:
        return bool(self._by_producer)

    def __contains__(self, batch: Batch) -> bool:
        """Whether it has records of one of them."""
        its = self._by_producer.get(batch.producer_id)
        if its is None or not batch.is_transactional or batch.is_control:
            return False
        firsts, lasts = its
        at = bisect_right(firsts, batch.base_offset) - 1
        return at >= 0 and batch.base_offset < lasts[at]
