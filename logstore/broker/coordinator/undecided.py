"""Offsets that groups commit within open transactions, as far as groups must know about them.

Until its transaction ends, such an offset is *pending*: no one sees it, and the partition is
*unstable*, because the committed offset may be about to change (KIP-447).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.errors import LogstoreError
from logstore.kept.groups import KeptOffset, ToCommit
from logstore.kept.keeping import Keeping
from logstore.log import TopicPartition

Partition = tuple[bytes, int]  # its topic's id, and its number
Unstable = Collection[Partition]
Due = Mapping[Partition, KeptOffset]


class Undecided(Protocol):
    """The interface between transactions and groups. Used in the sessions' thread."""

    def unstable(self, group: str) -> Unstable:
        """Return the group's partitions with pending commits, for this turn. Raises Refusal."""

    def due(self, group: str) -> Due:
        """Return offsets that the group has committed and that may not be stored yet, with their
        records. Raises Refusal.
        """

    def has_pending(self, group: str) -> bool:
        """Whether the group has pending commits, so that it exists. Raises Refusal."""

    def overtakes(self, group: str, places: Iterable[TopicPartition]) -> bool:
        """Whether a commit outside of transactions must go to ``overtake``. Raises Refusal."""

    def overtake(self, group: str, offsets: ToCommit) -> Keeping:
        """Commit these offsets, so that no pending one counts as newer."""

    def drop(
        self,
        group: str,
        places: Collection[TopicPartition] | None,
        then: Callable[[LogstoreError | None], None],
    ) -> None:
        """Drop the pending commits of these partitions (None: of the whole group).

        ``then`` is called once that is durable, or with the error. Raises Refusal.
        """


class Unread:
    """An ``Undecided`` for a process that has not read the pending offsets at its start yet."""

    def unstable(self, group: str) -> Unstable:
        """As Undecided.unstable."""
        raise being_read(group)

    def due(self, group: str) -> Due:
        """As Undecided.due."""
        raise being_read(group)

    def has_pending(self, group: str) -> bool:
        """As Undecided.has_pending."""
        raise being_read(group)

    def overtakes(self, group: str, places: Iterable[TopicPartition]) -> bool:
        """As Undecided.overtakes."""
        raise being_read(group)

    def overtake(self, group: str, offsets: ToCommit) -> Keeping:
        """As Undecided.overtake."""
        raise being_read(group)

    def drop(
        self,
        group: str,
        places: Collection[TopicPartition] | None,
        then: Callable[[LogstoreError | None], None],
    ) -> None:
        """As Undecided.drop."""
        raise being_read(group)


def being_read(group: str) -> Refusal:
    """The refusal while offsets of an earlier process are not known yet."""
    return Refusal(
        GroupError.COORDINATOR_LOAD_IN_PROGRESS,
        f"group {group!r}: offsets pending in transactions are being read: try again",
    )
