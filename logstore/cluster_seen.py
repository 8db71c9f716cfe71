"""Facts that a node knows about its cluster at one moment, to be shown. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

# A partition's owner as this node knows it: this node; another node that is reached; another that
# is not reached; this node is taking over; no known owner. Owners of databases always count as
# reached, because no request is sent to them.
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
    """A partition that one node at a time owns.

    In the queues' journal, queue number n belongs to partition n % their count. For keys, each
    partition is a database.
    """

    partition: int
    state: Held
    node: str | None  # the latest one to claim the partition
    address: str | None  # of that node's links
    since_ms: int | None
    epoch: int | None  # of its fence
    why: str | None  # it is not served, or its owner is not reached


@dataclass(frozen=True, slots=True)
class BehindSeen:
    log: str
    bytes: int
    appends: int
    waits_s: float  # the first of them


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """The facts about the whole cluster."""

    cluster: str  # as the settings say
    cluster_id: str
    failure: str | None  # why the last request failed
    node: str  # this one
    no_queues: str | None  # why this node serves no queues
    assigned_by: str | None  # "group" (KIP-848), "classic": the members
    group_failure: str | None  # why this node is not in the group of nodes
    brokers: Sequence[BrokerSeen]
    partitions: Sequence[PartitionSeen]  # of the queues' journal
    databases: Sequence[PartitionSeen]  # of keys
    bytes: int  # appended here and not acknowledged by the cluster
    appends: int
    behind: Sequence[BehindSeen]  # the partitions that have waited longest
    stalled: int  # partitions that have waited for more than 2 s
    stalls: int  # waits of more than 2 s that are over
    stalled_s: float  # in these
    facts_unread: int  # records of shared facts that were not read yet
    facts_failure: str | None

    def count(self, state: Held) -> int:
        """Partitions of the queues' journal in this state."""
        return sum(it.state == state for it in self.partitions)

    def count_databases(self, state: Held) -> int:
        """Databases in this state."""
        return sum(it.state == state for it in self.databases)
