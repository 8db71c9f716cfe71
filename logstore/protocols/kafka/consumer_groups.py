"""The new group protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe."""

from collections.abc import Generator, Iterable
from functools import partial
from typing import Final
from uuid import UUID

from logstore.access.resources import DESCRIBE
from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import (
    Beat,
    Beaten,
    GroupDescription,
    MemberDescription,
)
from logstore.kafka.messages import consumer_group_describe as describe_messages
from logstore.kafka.messages import consumer_group_heartbeat as heartbeat_messages
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import NO_TOPIC
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import KafkaDoor, Later, made_elsewhere
from logstore.protocols.kafka.errors import group_code
from logstore.protocols.kafka.group_descriptions import (
    FEW,
    HIDDEN,
    by_topic,
    described,
    may_see,
    named,
)
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.membership import identity_of, sight_of
from logstore.slices import Steps

NAMES_ITSELF: Final = 1  # ConsumerGroupHeartbeat: members make their own ids (KIP-1082)
CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1  # a member's type, in ConsumerGroupDescribe


def heartbeat(
    client: KafkaClient, version: int, request: heartbeat_messages.Request
) -> heartbeat_messages.Response | Later | Steps:
    """Key 68. Changes are durable when answered."""
    if version >= NAMES_ITSELF and not request.member_id:
        return heartbeat_messages.Response(
            error_code=errors.INVALID_REQUEST, error_message="a member must name itself"
        )
    names, owned = request.subscribed_topic_names or (), request.topic_partitions or ()
    large = len(names) > FEW or len(owned) > FEW
    if large or sum(len(it.partitions) for it in owned) > FEW:
        return _large_beat(client, request)
    if not all(client.may_topic(DESCRIBE, it) for it in names):
        return _not_allowed()
    return _heard(client, _beat_of(client, request))


def _not_allowed() -> heartbeat_messages.Response:
    return heartbeat_messages.Response(
        error_code=errors.TOPIC_AUTHORIZATION_FAILED, error_message=NO_TOPIC
    )


def _large_beat(client: KafkaClient, request: heartbeat_messages.Request) -> Steps:
    if not (yield from may_see(client, request.subscribed_topic_names or ())):
        return _not_allowed()
    beat = yield made_elsewhere(client.door, partial(_beat_of, client, request))
    done = _heard(client, beat)
    return (yield from done) if isinstance(done, Generator) else done


def _beat_of(client: KafkaClient, request: heartbeat_messages.Request) -> Beat:
    names, owned = request.subscribed_topic_names, request.topic_partitions
    return Beat(
        request.group_id,
        request.member_id,
        request.member_epoch,
        identity_of(client, request.instance_id, request.rack_id),
        None if request.rebalance_timeout_ms < 0 else request.rebalance_timeout_ms,
        None if names is None else frozenset(names),
        request.subscribed_topic_regex,
        request.server_assignor,
        None if owned is None else frozenset(
            (str(UUID(bytes=it.topic_id)), number) for it in owned for number in it.partitions
        ),
        sight=sight_of(client),
    )  # fmt: skip


def _heard(client: KafkaClient, beat: Beat) -> Later | Steps:
    coordinator = client.door.coordinator
    if beat.regex and not coordinator.knows_pattern(beat.regex):
        return _with_pattern(client, beat)
    return _beat(client, beat)


def _beat(client: KafkaClient, beat: Beat) -> Later:
    later = Later()
    client.door.coordinator.consumer_heartbeat(
        beat, client.now_ms, lambda beaten: later.give(_beaten(beaten))
    )
    return later


def _with_pattern(client: KafkaClient, beat: Beat) -> Steps:
    """Process a heartbeat whose new pattern is first matched with all topics, which is slow."""
    assert beat.regex is not None
    coordinator = client.door.coordinator
    yield made_elsewhere(client.door, partial(coordinator.look_up_pattern, beat.regex))
    return _beat(client, beat)


def _beaten(beaten: Beaten) -> heartbeat_messages.Response:
    assignment = None
    if beaten.assignment is not None:
        assignment = heartbeat_messages.Assignment(
            [
                heartbeat_messages.ResponseTopicPartitions(UUID(topic_id).bytes, numbers)
                for topic_id, numbers in by_topic(beaten.assignment).items()
            ]
        )
    return heartbeat_messages.Response(
        error_code=group_code(beaten.error),
        error_message=beaten.message or None,
        member_id=beaten.member_id,
        member_epoch=beaten.epoch,
        heartbeat_interval_ms=beaten.heartbeat_interval_ms,
        assignment=assignment,
    )


def describe(client: KafkaClient, version: int, request: describe_messages.Request) -> Steps:
    """Key 69: groups of the new protocol, including consumers that read the directory itself."""
    found = yield from described(
        client, request.group_ids, "consumer", describe_messages.DescribedGroup, _described,
        with_operations=request.include_authorized_operations,
    )  # fmt: skip
    return describe_messages.Response(groups=found)


def _described(client: KafkaClient, found: GroupDescription) -> Steps:
    members = []
    for it in found.members:
        member = _member(client.door, it)
        if not (yield from may_see(client, _topics_of(member))):
            return describe_messages.DescribedGroup(
                errors.TOPIC_AUTHORIZATION_FAILED, HIDDEN, found.group, found.state
            )
        members.append(member)
        yield 1 + len(it.assigned) + len(it.target)
    return describe_messages.DescribedGroup(
        group_id=found.group,
        group_state=found.state,
        group_epoch=found.epoch,
        assignment_epoch=found.target_epoch,
        assignor_name=found.protocol,
        members=members,
    )


def _topics_of(member: describe_messages.Member) -> list[str]:
    """The names of all topics that the member's description would reveal."""
    assigned = *member.assignment.topic_partitions, *member.target_assignment.topic_partitions
    return list({*member.subscribed_topic_names, *(it.topic_name for it in assigned)})


def _member(door: KafkaDoor, it: MemberDescription) -> describe_messages.Member:
    return describe_messages.Member(
        member_id=it.id,
        instance_id=it.client.instance_id,
        rack_id=it.client.rack_id,
        member_epoch=it.epoch,
        client_id=it.client.id,
        client_host=it.client.host,
        subscribed_topic_names=sorted(it.topics),
        subscribed_topic_regex=it.regex or None,
        assignment=_assignment(door, it.assigned),
        target_assignment=_assignment(door, it.target),
        member_type=CLASSIC_MEMBER if it.speaks_classic else CONSUMER_MEMBER,
    )


def _assignment(door: KafkaDoor, places: Iterable[Place]) -> describe_messages.Assignment:
    """The assignment without deleted topics, which no longer have a name."""
    return describe_messages.Assignment(
        [
            describe_messages.TopicPartitions(topic.uuid, topic.name, numbers)
            for topic, numbers in named(door, places)
        ]
    )


HANDLERS: Final = {
    68: handler(heartbeat_messages.Request, heartbeat_messages.Response, heartbeat),
    69: handler(describe_messages.Request, describe_messages.Response, describe),
}
