"""The transaction to which the batches of a Produce request belong (KIP-98, KIP-890).

A batch that must wait, for a worker or behind other batches, is admitted first and checked again in
the same step as its append: a late batch, after the end of its transaction, would open another
transaction that no one ends.
"""

from typing import TYPE_CHECKING, Final

from logstore.broker.admission import check_transactional
from logstore.broker.ledger import producers_of
from logstore.broker.topic import Topic
from logstore.broker.transactions.transactional_id import Missing, Producer, missing_in_produce
from logstore.errors import (
    ConcurrentTransactions,
    CoordinatorLoading,
    LogstoreError,
    OutOfSequence,
)
from logstore.log import Log
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.door import KafkaDoor
from logstore.records.batch import Batch

if TYPE_CHECKING:
    from logstore.broker.transacting.coordinator import TransactionCoordinator

# Produce: from this version on clients handle CONCURRENT_TRANSACTIONS for a batch. Earlier ones try
# again after NOT_ENOUGH_REPLICAS.
KNOWS_CONCURRENT: Final = 12


class Within:
    """The transaction of one request."""

    __slots__ = ("_coordinator", "_missing", "_name", "_version")

    def __init__(self, coordinator: "TransactionCoordinator", name: str, version: int) -> None:
        self._coordinator = coordinator
        self._name = name
        self._version = version
        self._missing = missing_in_produce(version)

    def let_in(self, batch: Batch) -> None:
        """Check that the batch may be appended, or may wait for it.

        Raises LogstoreError; ``code_of`` gives the code for the client.
        """
        producer = Producer(batch.producer_id, batch.producer_epoch)
        self._coordinator.admit(self._name, producer, self._missing)

    def check(self, topic: Topic, log: Log, batch: Batch) -> None:
        """Check the batch right before it is appended. Raises as ``let_in``."""
        check_transactional(topic.rules)  # they may have changed while it was waiting
        self.let_in(batch)
        known = producers_of(log)
        if (
            self._missing is Missing.ADDED
            and batch.base_sequence
            and known is not None
            and not known.knows(batch.producer_id)
        ):
            # Each transaction has an epoch of its own there, so that what came before is missing.
            raise OutOfSequence(
                f"producer {batch.producer_id}: sequence {batch.base_sequence} is the first that "
                f"comes here, expected 0"
            )

    def wrote(self, topic: Topic, partition: int, log: Log, pid: int) -> None:
        """Note that the partition has a batch of the producer."""
        self._coordinator.wrote(pid, (topic.uuid, partition), log)

    def code_of(self, error: LogstoreError) -> int:
        """The error code for the client."""
        return _code_of(error, self._version)


def within(door: KafkaDoor, version: int, name: str) -> Within | int:
    """The transaction of a transactional id, or the error code if there is none now."""
    try:
        return Within(door.transactions_of.coordinator(), name, version)
    except LogstoreError as error:
        return _code_of(error, version)


def _code_of(error: LogstoreError, version: int) -> int:
    is_concurrent = isinstance(error, ConcurrentTransactions)
    if isinstance(error, CoordinatorLoading) or (is_concurrent and version < KNOWS_CONCURRENT):
        return errors.NOT_ENOUGH_REPLICAS
    return errors.code_of(error)
