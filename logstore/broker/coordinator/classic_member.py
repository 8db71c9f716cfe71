"""A member of a classic group, the stored part of a group, and its bounds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from logstore.broker.coordinator.calls import Identity, Join, Joined, Synced
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.room import MEMBER_HELD_BYTES

# Of one member; clients have one to five. Each is compared with those of all other members.
PROTOCOLS_MAX: Final = 100


class State(Enum):
    """The states of a group, in Kafka's words."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Event(Enum):
    """What moves a group from one state to another."""

    UNSETTLED = auto()  # a member has come or gone, or does not join or sync in its time
    JOINED = auto()  # all awaited members have joined
    DESERTED = auto()  # no member is left
    ASSIGNED = auto()  # what the leader has assigned is kept
    DISSOLVED = auto()  # its members are told to go elsewhere


# Other transitions cannot happen: looking one up raises KeyError.
TRANSITIONS: Final = {
    State.EMPTY: {Event.UNSETTLED: State.PREPARING, Event.DISSOLVED: State.EMPTY},
    State.PREPARING: {
        Event.UNSETTLED: State.PREPARING,  # its generation could not be stored: wait again
        Event.JOINED: State.COMPLETING,
        Event.DESERTED: State.EMPTY,
        Event.DISSOLVED: State.EMPTY,
    },
    State.COMPLETING: {
        Event.UNSETTLED: State.PREPARING,
        Event.ASSIGNED: State.STABLE,
        Event.DISSOLVED: State.EMPTY,
    },
    State.STABLE: {Event.UNSETTLED: State.PREPARING, Event.DISSOLVED: State.EMPTY},
}


class ClassicLimits(NamedTuple):
    """The bounds of one group."""

    session_timeout_min_ms: int
    session_timeout_max_ms: int
    initial_delay_ms: int
    members_max: int
    metadata_bytes_max: int


class KeptMember(msgspec.Struct):
    """One member as stored."""

    id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes


class KeptHead(msgspec.Struct):
    """A group as stored."""

    generation: int
    protocol_type: str
    protocol: str | None = None
    leader: str | None = None
    synced: bool = False  # the members kept are those of this generation
    rejoin: bool = False  # and have to join again: it was a consumer group until now


class Kept(NamedTuple):
    """What must be durable before members are told. ``members`` None: stored members stay."""

    head: KeptHead
    members: list[KeptMember] | None
    empty: bool


# save(what, done): ``done`` is called once, with the error if it could not be made durable.
Save = Callable[[Kept, Callable[[GroupError | None], None]], None]


@dataclass(slots=True)
class Member:
    id: str
    client: Identity
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: Sequence[tuple[str, bytes]]
    session_ends_ms: int
    assignment: bytes = b""
    join: Callable[[Joined], None] | None = None  # waits for the rebalance
    sync: Callable[[Synced], None] | None = None  # waits for the leader
    new_until_ms: int | None = None  # until it has been in a generation
    names: frozenset[str] = frozenset()  # of its protocols
    said_bytes: int = 0  # of its protocols

    def __post_init__(self) -> None:
        self.says(self.protocols)

    def says(self, protocols: Sequence[tuple[str, bytes]]) -> None:
        self.protocols = list(protocols)
        self.names = frozenset(name for name, _ in protocols)
        self.said_bytes = said_bytes(protocols)

    @property
    def held_bytes(self) -> int:
        return MEMBER_HELD_BYTES + self.said_bytes + len(self.assignment)

    def metadata(self, protocol: str | None) -> bytes:
        for name, data in self.protocols:  # no generator: a group calls this for thousands
            if name == protocol:
                return data
        return b""

    @property
    def ends_ms(self) -> int | None:
        """When the session ends; a member that waits for an answer cannot send a heartbeat."""
        if self.join is not None:
            return self.new_until_ms
        return None if self.sync is not None else self.session_ends_ms


def said_bytes(protocols: Iterable[tuple[str, bytes]]) -> int:
    """Return the size of a member's protocols in bytes, up to the number that ``check_join``
    allows.
    """
    return sum(len(name) + len(data) for name, data in islice(protocols, PROTOCOLS_MAX))


def check_join(call: Join, limits: ClassicLimits) -> None:
    """Check a join that is valid for any group. Raises Refusal."""
    low, high = limits.session_timeout_min_ms, limits.session_timeout_max_ms
    if not low <= call.session_timeout_ms <= high:
        raise Refusal(
            GroupError.INVALID_SESSION_TIMEOUT,
            f"session timeout {call.session_timeout_ms} ms: must be {low} to {high}",
        )
    if len(call.protocols) > PROTOCOLS_MAX:
        raise Refusal(
            GroupError.INVALID_REQUEST,
            f"{len(call.protocols)} protocols of one member, {PROTOCOLS_MAX} at most",
        )
    size = said_bytes(call.protocols)
    if size > limits.metadata_bytes_max:
        raise Refusal(
            GroupError.INVALID_REQUEST,
            f"{size} bytes of metadata, {limits.metadata_bytes_max} at most",
        )


def common(members: Iterable[Member]) -> frozenset[str]:
    """Return the protocols that all members support."""
    # Most know the same, and there may be thousands: each kind is looked at once.
    return frozenset.intersection(*{it.names for it in members})
