"""Offsets of one group that a held transaction commits.

They are a record of the journal, like offsets committed in Kafka transactions
(``transactions/operations.py``). Once the record is safe, they are stored with the offsets of
groups, marked with its place; offsets of a later record stay.
"""

from collections.abc import Callable, Mapping

from logstore.broker.queues.pending import Pending
from logstore.broker.queues.transaction import Record
from logstore.broker.topic import uuid_of
from logstore.broker.transactions.operations import Offset, encode_offsets, overtaken_key
from logstore.errors import LogstoreError
from logstore.kept.groups import GroupKeeper, OffsetToCommit
from logstore.kept.keeping import Keeping
from logstore.log import TopicPartition


class DecidedOffsets:
    """The offsets of one transaction."""

    def __init__(
        self,
        group: str,
        offsets: Mapping[TopicPartition, OffsetToCommit],
        keeper: GroupKeeper,
        ended: Callable[[int], None],
    ) -> None:
        """Each offset has its topic's id. ``ended`` is called with the place of their record once
        stored.
        """
        self.group = group
        self.kept = Pending()  # where those of groups are
        self._offsets = offsets
        self._keeper = keeper
        self._ended = ended

    def record(self, now_ms: int) -> Record:
        """Return the journal's record."""
        offsets = []
        for (_, partition), it in self._offsets.items():
            assert it.topic_id is not None
            offsets.append(
                Offset(uuid_of(it.topic_id), partition, it.offset, it.leader_epoch, it.metadata)
            )
        return encode_offsets(offsets), overtaken_key(self.group), (), now_ms

    def happened(self, place: int) -> None:
        """Store the offsets: the journal has the record safe at this place."""
        offsets = {
            key: OffsetToCommit(it.offset, it.metadata, it.leader_epoch, it.topic_id, place)
            for key, it in self._offsets.items()
        }
        self._keeper.decided(self.group, offsets).then(lambda it: self._done(place, it))

    def _done(self, place: int, keeping: Keeping) -> None:
        if keeping.error is None:
            self._ended(place)  # otherwise the next process stores them
        self.kept.finish(keeping.error)

    def failed(self, error: LogstoreError) -> None:
        """Fail: nothing of the transaction has happened."""
        self.kept.finish(error)
