"""A member of a group of the new protocol (KIP-848), the stored part of a group, and its bounds."""

from typing import Final, Literal, NamedTuple

import msgspec

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.decoding import decoder_of
from logstore.broker.coordinator.roll import said_held_bytes
from logstore.broker.coordinator.room import MEMBER_HELD_BYTES
from logstore.broker.coordinator.view import TopicFacts

PLACE_HELD_BYTES: Final = 128  # of a partition that a member has, or is to have


class ConsumerLimits(NamedTuple):
    """The bounds of one group."""

    session_timeout_ms: int
    heartbeat_interval_ms: int
    members_max: int
    metadata_bytes_max: int
    assignors: tuple[str, ...]


class ClassicFacts(msgspec.Struct):
    """What a member with the classic protocol stated when it joined."""

    session_timeout_ms: int
    protocols: list[tuple[str, bytes]]  # name, metadata; the one liked best comes first


class ConsumerMember(msgspec.Struct, kw_only=True):
    """One member as stored."""

    id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()  # names
    unseen: frozenset[str] = frozenset()  # of ``topics``, those it might not know
    regex: str = ""  # and the topics that match it
    only: frozenset[int] | None = None
    assignor: str | None = None
    rebalance_timeout_ms: int = 0
    epoch: int = 0  # LEAVE_STATIC: away for a while
    previous_epoch: int = 0  # the answer that raised the epoch may have been lost
    state: Literal["stable", "unrevoked", "unreleased"] = "stable"
    assigned: set[Place] = msgspec.field(default_factory=set)
    revoking: set[Place] = msgspec.field(default_factory=set)  # held until it says otherwise
    target: set[Place] = msgspec.field(default_factory=set)
    # What it holds, by the epoch at which it came to; what is missing came at its own.
    came: dict[int, set[Place]] = msgspec.field(default_factory=dict)
    session_ends_ms: int = 0
    revoke_ends_ms: int | None = None
    classic: ClassicFacts | None = None  # None: it speaks the new protocol
    call_ends_ms: int | None = None  # of a classic one: when it must have joined again, or synced

    @property
    def said_bytes(self) -> int:
        """The size of what the member says of itself, in bytes."""
        protocols = () if self.classic is None else self.classic.protocols
        named = sum(map(len, self.topics)) + len(self.regex)
        return named + sum(len(name) + len(data) for name, data in protocols)

    @property
    def held_bytes(self) -> int:
        places = len(self.assigned) + len(self.revoking) + len(self.target)
        return MEMBER_HELD_BYTES + said_held_bytes(self.said_bytes) + PLACE_HELD_BYTES * places

    @property
    def held(self) -> set[Place]:
        return self.assigned | self.revoking

    def has_changed(self) -> None:
        """Record the partitions that the member holds; new ones count from this epoch."""
        held = self.held
        known = set().union(*self.came.values())
        self.came = {at: left for at, places in self.came.items() if (left := places & held)}
        if new := held - known:
            self.came.setdefault(self.epoch, set()).update(new)

    def holds_since(self, place: Place, epoch: int) -> bool:
        """Whether the member has held the partition since this epoch or an earlier one."""
        if place not in self.held:
            return False
        came = next((at for at, places in self.came.items() if place in places), self.epoch)
        return came <= epoch

    @property
    def ends_ms(self) -> int:
        """When the member is removed unless a call comes before."""
        ends = self.session_ends_ms, self.revoke_ends_ms, self.call_ends_ms
        return min(it for it in ends if it is not None)


class ConsumerHead(msgspec.Struct):
    """The stored part of a group besides its members."""

    epoch: int = 0
    target_epoch: int = 0
    facts: dict[str, TopicFacts] = msgspec.field(default_factory=dict)  # as the target saw them


decode_head = decoder_of(ConsumerHead)
decode_member = decoder_of(ConsumerMember)
