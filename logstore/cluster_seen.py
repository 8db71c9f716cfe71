"""What a node knows of its cluster, to be shown: facts of one moment. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

# Of a partition, as this node has it: it owns it; another one does, and is reached, or is not; this
# one is about to own it; nobody is known to. Of databases no other node is asked: it is reached.
Held = Literal["here", "elsewhere", "unreached", "taking", "nobody"]
ALL_HELD: Final[tuple[Held, ...]] = get_args(Held)


@dataclass(frozen=True, slots=True)
class BrokerSeen:
    id: int
    address: str
    rack: str
    controller: bool


@dataclass(frozen=True, slots=True)
class PartitionSeen:
    """One that a node at a time owns.

    Of the queues' journal: a queue of number n is of partition n % their count. Of keys: a
    database.
    """

    partition: int
    state: Held
    node: str | None  # that has claimed it last
    address: str | None  # of that node's links
    since_ms: int | None
    epoch: int | None  # of its fence
    why: str | None  # nobody serves it, or the owner is not reached


@dataclass(frozen=True, slots=True)
class BehindSeen:
    log: str
    bytes: int
    appends: int
    waits_s: float  # the first of them


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """As of now."""

    cluster: str  # as the settings say
    cluster_id: str
    failure: str | None  # why it was not to be asked last
    node: str  # this one
    no_queues: str | None  # why it serves none
    assigned_by: str | None  # "group" (KIP-848), "classic": the members
    group_failure: str | None  # why it has no part in the group of nodes
    brokers: Sequence[BrokerSeen]
    partitions: Sequence[PartitionSeen]  # of the queues' journal
    databases: Sequence[PartitionSeen]  # of keys
    bytes: int  # that were appended here, and the cluster has not acknowledged
    appends: int
    behind: Sequence[BehindSeen]  # of these the partitions that wait longest
    stalled: int  # partitions that wait for more than a moment
    stalls: int  # since the start, and over
    stalled_s: float  # in these
    facts_unread: int  # records of what all nodes know that this one has not read
    facts_failure: str | None

    def count(self, state: Held) -> int:
        """Partitions of the queues' journal in this state."""
        return sum(it.state == state for it in self.partitions)

    def count_databases(self, state: Held) -> int:
        """Databases in this state."""
        return sum(it.state == state for it in self.databases)
