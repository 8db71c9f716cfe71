"""Conversion between the two protocols: groups that change, and classic members of consumer groups.

This is KIP-848's migration. A classic group of consumers becomes a consumer group when a member of
the new protocol joins it. Its members continue with their own protocol: a JoinGroup counts as a
complete heartbeat, SyncGroup returns the group's assignment, and REBALANCE_IN_PROGRESS announces
changes. When the last member of the new protocol has left, the rest becomes a classic group again,
and all members rejoin. Generations and epochs share one sequence of numbers, so none is used twice.
Pure: no wire, no disk, no clock.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import Beat, Done, Identity, Join, Joined, Sync, Synced
from logstore.broker.coordinator.classic import ClassicGroup
from logstore.broker.coordinator.classic_member import (
    ClassicLimits,
    Kept,
    KeptHead,
    KeptMember,
    Member,
    check_join,
)
from logstore.broker.coordinator.consumer import ConsumerGroup
from logstore.broker.coordinator.consumer_member import (
    ClassicFacts,
    ConsumerHead,
    ConsumerMember,
)
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.view import TopicLookup
from logstore.log import TopicPartition

CONSUMERS: Final = "consumer"  # the protocol type of groups of consumers; others don't go over

# librdkafka's repeat the assignment beside it, with its generation: nothing that counts when an
# assignor of the server makes the next one. Kafka lets no group go over that adds anything.
STICKY: Final = ("sticky", "cooperative-sticky")

# Which ways a group goes, by the values of group.consumer.migration.policy, which are Kafka's.
UPGRADES: Final = ("bidirectional", "upgrade")
DOWNGRADES: Final = ("bidirectional", "downgrade")


class Subscription(NamedTuple):
    """What a consumer of the classic protocol states about itself, in the metadata of its
    JoinGroup.
    """

    version: int
    topics: frozenset[str]
    owned: frozenset[TopicPartition] = frozenset()  # what it reads at the moment
    rack_id: str | None = None


class Assignment(NamedTuple):
    """What the leader assigns to a consumer of the classic protocol, in its SyncGroup."""

    places: frozenset[TopicPartition]
    more: bool = False  # it holds something of the assignor's own, too


class Speech(NamedTuple):
    """Encodes and decodes what the classic protocol carries as opaque bytes."""

    subscription: Callable[[bytes], Subscription | None]  # None: it is something else
    assignment: Callable[[bytes], Assignment | None]  # None: it is something else
    assign: Callable[[int, Iterable[TopicPartition]], bytes]  # in this version


MUTE: Final = Speech(lambda _: None, lambda _: None, lambda *_: b"")


# A group goes over


def to_consumer(
    group: ClassicGroup, speech: Speech, topics: TopicLookup
) -> tuple[ConsumerHead, list[ConsumerMember]]:
    """Return the classic group as a consumer group of the same generation, without changing it.

    Raises Refusal if its members are not consumers, or if the leader's assignments hold more than
    partitions: the next leader would need data that an assignor of the server does not know.
    """
    told = {it.id: _told(group, it, speech) for it in group.members}
    given = Counter(place for _, assigned in told.values() for place in assigned)
    facts = {}
    members = []
    for it in group.members:
        said, assigned = told[it.id]
        facts.update({name: at for name in said.topics if (at := topics(name)) is not None})
        # A member that has not learned yet what it must give up still reads it.
        held = _places(assigned | {place for place in said.owned if not given[place]}, topics)
        members.append(
            ConsumerMember(
                id=it.id, instance_id=it.client.instance_id, rack_id=said.rack_id,
                client_id=it.client.id, client_host=it.client.host, topics=said.topics,
                rebalance_timeout_ms=it.rebalance_timeout_ms, epoch=group.generation,
                previous_epoch=group.generation, assigned=held, target=set(held),
                classic=ClassicFacts(it.session_timeout_ms, list(it.protocols)),
            )
        )  # fmt: skip
    return ConsumerHead(group.generation, group.generation, facts), members


def _told(
    group: ClassicGroup, member: Member, speech: Speech
) -> tuple[Subscription, frozenset[TopicPartition]]:
    """Return a member's subscription and its last assignment. Raises Refusal."""
    said = speech.subscription(member.metadata(group.protocol) or _liked(member.protocols))
    given = speech.assignment(member.assignment) if member.assignment else Assignment(frozenset())
    if (
        group.protocol_type != CONSUMERS
        or said is None
        or given is None
        or (given.more and group.protocol not in STICKY)
    ):
        raise Refusal(
            GroupError.GROUP_ID_NOT_FOUND,
            f"group {group.name!r} has members of the classic protocol that can't change to the"
            " new one: they are not consumers, or use an assignor of their own",
        )
    return said, given.places


def may_go_back(group: ConsumerGroup, policy: str, members_max: int) -> bool:
    """Whether the group becomes a classic one after a member was removed or replaced."""
    members = group.members.values()
    return (
        policy in DOWNGRADES
        and 0 < len(members) <= members_max
        and any(it not in group.members for it in group.changed)
        and all(it.classic is not None for it in members)
    )


def to_classic(group: ConsumerGroup, speech: Speech) -> Kept:
    """Return the consumer group as it is stored as a classic one, whose members must join again."""
    members = []
    for it in group.members.values():
        assert it.classic is not None, "only classic members are left"
        members.append(
            KeptMember(
                it.id, it.instance_id, it.client_id, it.client_host, it.classic.session_timeout_ms,
                it.rebalance_timeout_ms, it.classic.protocols,
                _written(group, it, it.held, speech),
            )
        )  # fmt: skip
    shared = set.intersection(*({name for name, _ in it.protocols} for it in members))
    protocol = next(name for name, _ in members[0].protocols if name in shared)
    # The epoch announced last: a member that knows it is in this generation.
    head = KeptHead(
        group.head.target_epoch, CONSUMERS, protocol, members[0].id, synced=True, rejoin=True
    )
    return Kept(head, members, empty=False)


# Members of the classic protocol in a consumer group


class ClassicMembers:
    """The classic members of one group. Changes of the group are stored before the members learn of
    them.
    """

    def __init__(
        self, group: ConsumerGroup, speech: Speech, limits: ClassicLimits, topics: TopicLookup
    ) -> None:
        self._group = group
        self._speech = speech
        self._limits = limits
        self._topics = topics

    def join(self, call: Join, new_id: Callable[[str], str], now_ms: int) -> Joined:
        """Answer JoinGroup at once: no other member is waited for. Raises Refusal."""
        check_join(call, self._limits)
        said = self._understood(call)
        instance = call.client.instance_id
        if call.member_id and instance is not None:
            self._group.member(call.member_id, instance)
        member_id = call.member_id or new_id(instance or call.client.id)
        if not call.member_id and instance is None and call.id_required:
            told = "join again with the member id that comes with this"
            return Joined(GroupError.MEMBER_ID_REQUIRED, member_id, message=told)
        beat = Beat(
            call.group, member_id, 0,
            Identity(call.client.id, call.client.host, instance, said.rack_id),
            rebalance_timeout_ms=call.rebalance_timeout_ms, topics=said.topics, regex="",
            owned=frozenset(_places(said.owned, self._topics)), sight=call.sight,
        )  # fmt: skip
        facts = ClassicFacts(call.session_timeout_ms, list(call.protocols))
        member = self._group.join_classic(beat, facts, now_ms)
        # Without a leader: the group itself has made the assignment.
        return Joined(None, member.id, member.epoch, CONSUMERS, call.protocols[0][0])

    def _understood(self, call: Join) -> Subscription:
        """Return the member's subscription.

        Raises Refusal if it is not a consumer, or shares no protocol with all the others.
        """
        others = [
            {name for name, _ in it.classic.protocols}
            for it in self._group.members.values()
            if it.classic is not None
            and it.id != call.member_id
            and (it.instance_id is None or it.instance_id != call.client.instance_id)
        ]
        names = {name for name, _ in call.protocols}
        said = self._speech.subscription(_liked(call.protocols))
        if said is None or call.protocol_type != CONSUMERS or not names.intersection(*others):
            raise Refusal(
                GroupError.INCONSISTENT_GROUP_PROTOCOL,
                f"group {call.group!r} has members of the new protocol, so it accepts only"
                " consumers; members of the classic protocol need an assignor that all of them"
                " support",
            )
        return said

    def sync(self, call: Sync, now_ms: int) -> Synced:
        """Answer SyncGroup with the partitions that the member may read now. Raises Refusal."""
        group = self._group
        member, facts = self._at(call.member_id, call.generation, call.instance_id)
        name = facts.protocols[0][0]
        if (call.protocol_type or CONSUMERS) != CONSUMERS or (call.protocol or name) != name:
            raise Refusal(
                GroupError.INCONSISTENT_GROUP_PROTOCOL, f"the member's protocol is consumer/{name}"
            )
        # A member that must give up something learns of that first, before other changes.
        if member.epoch < group.head.epoch and member.state != "unrevoked":
            group.heard_of(member, now_ms, joins=True)
            raise Refusal(GroupError.REBALANCE_IN_PROGRESS)
        group.heard_of(member, now_ms, joins=False)
        assignment = _written(group, member, member.assigned, self._speech)
        return Synced(None, CONSUMERS, name, assignment)

    def heartbeat(
        self, member_id: str, generation: int, instance_id: str | None, now_ms: int
    ) -> Done:
        """Answer Heartbeat. Raises Refusal."""
        group = self._group
        member, _ = self._at(member_id, generation, instance_id)
        group.make_target(now_ms)
        joins = group.must_join(member)
        # A member that has joined and not synced yet is still awaited.
        group.heard_of(member, now_ms, joins=joins or member.call_ends_ms is not None)
        return Done(GroupError.REBALANCE_IN_PROGRESS if joins else None)

    def _at(
        self, member_id: str, generation: int, instance_id: str | None
    ) -> tuple[ConsumerMember, ClassicFacts]:
        member = self._group.member(member_id, instance_id)
        if member.classic is None:
            raise Refusal(
                GroupError.UNKNOWN_MEMBER_ID, f"member {member_id!r} speaks the new protocol"
            )
        self._group.check_epoch(member_id, generation, instance_id)
        return member, member.classic


def _liked(protocols: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the metadata of the member's first protocol."""
    return next((data for _, data in protocols), b"")


def _places(named: Iterable[TopicPartition], topics: TopicLookup) -> set[Place]:
    """Return the partitions by topic id, without those of deleted topics."""
    return {(at.id, number) for name, number in named if (at := topics(name)) is not None}


def _written(
    group: ConsumerGroup, member: ConsumerMember, places: Iterable[Place], speech: Speech
) -> bytes:
    """Encode these partitions in the version that the member uses."""
    assert member.classic is not None
    names = {it.id: name for name, it in group.head.facts.items()}
    named = [(names[topic], number) for topic, number in sorted(places) if topic in names]
    said = speech.subscription(_liked(member.classic.protocols))
    return speech.assign(0 if said is None else said.version, named)
