"""Requests to a group and its replies, as plain facts. Times in ms; partitions by topic id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.refusal import GroupError
from logstore.kept.groups import OffsetToCommit
from logstore.log import TopicPartition

SIMPLE: Final = -1  # the generation of a commit by a non-member
LEAVE, LEAVE_STATIC = -1, -2  # epochs that say good-bye (KIP-848); a static member comes back


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity that a member states."""

    id: str = ""
    host: str = ""
    instance_id: str | None = None  # of a static member (KIP-345)
    rack_id: str | None = None


# The classic protocol


@dataclass(frozen=True, slots=True)
class Join:
    """JoinGroup. ``member_id``: "" if the member has none yet."""

    group: str
    member_id: str
    client: Identity
    protocol_type: str
    protocols: Sequence[tuple[str, bytes]]  # name, metadata; the one liked best comes first
    session_timeout_ms: int
    rebalance_timeout_ms: int
    id_required: bool = False  # KIP-394: the client knows MEMBER_ID_REQUIRED (v4 on)
    may_skip_assignment: bool = False  # KIP-814 (v9 on)
    sight: "Sight | None" = None  # in a group of KIP-848; None: it may know of every topic


@dataclass(frozen=True, slots=True)
class MemberMetadata:
    """What the leader is told about a member."""

    id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """The reply to Join. ``members`` is for the leader only."""

    error: GroupError | None
    member_id: str = ""
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: tuple[MemberMetadata, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Sync:
    """SyncGroup. ``assignments``: the leader's, by member id."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None = None
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: Mapping[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """The reply to Sync."""

    error: GroupError | None
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The reply to requests without another result. ``error`` None: success."""

    error: GroupError | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Leaver:
    """One member in a LeaveGroup; a static one may be named by its instance only."""

    member_id: str
    instance_id: str | None = None


# The protocol of KIP-848


@dataclass(frozen=True, slots=True)
class Sight:
    """The topics that a member may see; it is assigned no others."""

    key: tuple[object, ...]  # members with equal keys see the same topics
    sees: Callable[[str], bool] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Beat:
    """ConsumerGroupHeartbeat. None: unchanged since the previous one."""

    group: str
    member_id: str
    epoch: int  # 0 joins, LEAVE and LEAVE_STATIC leave
    client: Identity = Identity()
    rebalance_timeout_ms: int | None = None
    topics: frozenset[str] | None = None  # names
    regex: str | None = None  # and the topics that match it; empty: none
    assignor: str | None = None
    owned: frozenset[Place] | None = None
    only: frozenset[int] | None = None  # of each topic these partitions; embedded members alone
    sight: Sight | None = None  # every time; None: it may know of every topic

    @property
    def whole(self) -> bool:
        """Whether all fields are set, as in a member's heartbeat after an error: it wants a full
        answer.
        """
        told = (self.rebalance_timeout_ms, self.topics, self.owned)
        return all(it is not None for it in told)


@dataclass(frozen=True, slots=True)
class Beaten:
    """The reply to Beat. ``assignment`` None: unchanged since the previous one."""

    error: GroupError | None
    member_id: str = ""
    epoch: int = 0
    heartbeat_interval_ms: int = 0
    assignment: frozenset[Place] | None = None
    message: str = ""


# Offsets


@dataclass(frozen=True, slots=True)
class OffsetCommit:
    """OffsetCommit: ``generation`` is the member epoch in a group of the new protocol."""

    group: str
    offsets: Mapping[TopicPartition, OffsetToCommit]
    generation: int = SIMPLE
    member_id: str = ""
    instance_id: str | None = None

    @property
    def names_nobody(self) -> bool:
        """Whether the call does not name the member that commits."""
        nobody = self.generation == SIMPLE and not self.member_id
        return nobody and self.instance_id is None


# Looked at from outside


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """One member. In the classic protocol, metadata and assignment are the clients' own bytes.

    The remaining fields belong to the new protocol (KIP-848).
    """

    id: str
    client: Identity
    metadata: bytes = b""
    assignment: bytes = b""
    epoch: int = -1
    topics: frozenset[str] = frozenset()
    regex: str = ""
    assigned: frozenset[Place] = frozenset()
    target: frozenset[Place] = frozenset()
    speaks_classic: bool = False


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One group. ``kind``: simple, classic, consumer or embedded."""

    group: str
    kind: str
    state: str  # Kafka's words: Empty, PreparingRebalance, Stable, Assigning, ...
    epoch: int
    protocol_type: str = ""
    protocol: str = ""  # the assignor, of the new protocol
    target_epoch: int = -1
    members: tuple[MemberDescription, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupListing:
    """One line of ListGroups."""

    group: str
    kind: str
    state: str
    protocol_type: str
