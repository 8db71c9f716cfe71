"""Sends messages for another node's volatile queue over the link, a batch at a time.

They are confirmed once that node has them. If the link is lost meanwhile, they are refused and not
sent again: messages of such a queue are delivered at most once.
"""

from collections.abc import Callable
from typing import Final

from logstore.broker.queues.away.owner import Owner
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.roaming.outlets import BATCH_BYTES, BATCH_BYTES_MAX
from logstore.broker.queues.volatile.words import PUT
from logstore.errors import ClusterBehind, ClusterUnreachable, LogstoreError, RecordTooLarge
from logstore.records.batch import Batch

UNDER_WAY_MAX: Final = 16 << 20  # bytes for one node that it does not have yet


class Way:
    """The way to one node. In the sessions' thread."""

    def __init__(
        self, node: str, owner: Callable[[], Owner | None], parked: Callable[[int], object]
    ) -> None:
        """``owner`` returns the owner object of the node, if it is reachable. ``parked``: as
        ``Opener.parked``.
        """
        self._node = node
        self._owner = owner
        self._parked = parked
        self._bytes = 0  # under way

    def put(self, head: bytes, batch: Batch, waiting: Waiting) -> None:
        """Send a batch. Raises RecordTooLarge, ClusterBehind, ClusterUnreachable."""
        size = batch.size + BATCH_BYTES
        if batch.size > BATCH_BYTES_MAX:
            raise RecordTooLarge(
                f"a message of {batch.size} bytes, including its envelope; at most "
                f"{BATCH_BYTES_MAX} go to a queue of another node"
            )
        owner = self._owner()
        if owner is None:
            raise ClusterUnreachable(f"node {self._node}, whose queue it is, is not reached now")
        if self._bytes + size > UNDER_WAY_MAX and self._bytes:
            raise ClusterBehind(f"node {self._node} has not taken what was sent to its queues")
        waiting.park()
        self._under_way(size)

        def answered(found: bytes | LogstoreError) -> None:
            self._under_way(-size)
            waiting.unparked(None, 0, found if isinstance(found, LogstoreError) else None)

        owner.ask(PUT, b"".join((head, batch.data)), answered)

    def _under_way(self, size: int) -> None:
        self._bytes += size
        self._parked(size)


class FarOutlet:
    """The messages for one queue; as ``Outlets``."""

    def __init__(self, way: Way, head: bytes) -> None:
        """``head``: the head of each PUT, as ``words.put_head`` makes it."""
        self._way = way
        self._head = head

    def append(self, lane: int, batch: Batch, waiting: Waiting) -> None:
        """As ``Outlets.append``: the other node divides them by priority. Raises as ``Way.put``."""
        self._way.put(self._head, batch, waiting)

    def drop(self) -> None:
        """As Outlets.drop."""
