"""Membership of share groups (KIP-932): ShareGroupHeartbeat, ShareGroupDescribe.

Fetching uses separate requests, which do not require membership.
"""

from functools import partial
from typing import Final
from uuid import UUID

from logstore.access.resources import DESCRIBE
from logstore.broker.coordinator.calls import Beat, Beaten, GroupDescription, MemberDescription
from logstore.kafka.messages import share_group_describe as describe_messages
from logstore.kafka.messages import share_group_heartbeat as heartbeat_messages
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


def heartbeat(
    client: KafkaClient, version: int, request: heartbeat_messages.Request
) -> heartbeat_messages.Response | Later | Steps:
    """Key 76. Changes are durable when answered."""
    names = request.subscribed_topic_names or ()
    if len(names) > FEW:
        return _large_beat(client, request)
    if not all(client.may_topic(DESCRIBE, it) for it in names):
        return _not_allowed()
    return _beat(client, _beat_of(client, request))


def _not_allowed() -> heartbeat_messages.Response:
    return heartbeat_messages.Response(
        error_code=errors.TOPIC_AUTHORIZATION_FAILED, error_message=NO_TOPIC
    )


def _large_beat(client: KafkaClient, request: heartbeat_messages.Request) -> Steps:
    if not (yield from may_see(client, request.subscribed_topic_names or ())):
        return _not_allowed()
    beat = yield made_elsewhere(client.door, partial(_beat_of, client, request))
    return _beat(client, beat)


def _beat_of(client: KafkaClient, request: heartbeat_messages.Request) -> Beat:
    names = request.subscribed_topic_names
    return Beat(
        request.group_id,
        request.member_id,
        request.member_epoch,
        identity_of(client, None, request.rack_id),
        topics=None if names is None else frozenset(names),
        sight=sight_of(client),
    )


def _beat(client: KafkaClient, beat: Beat) -> Later:
    later = Later()
    client.door.coordinator.share_heartbeat(
        beat, client.now_ms, lambda beaten: later.give(_beaten(beaten))
    )
    return later


def _beaten(beaten: Beaten) -> heartbeat_messages.Response:
    assignment = None
    if beaten.assignment is not None:
        assignment = heartbeat_messages.Assignment(
            [
                heartbeat_messages.TopicPartitions(UUID(topic_id).bytes, numbers)
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
    """Key 77."""
    found = yield from described(
        client, request.group_ids, "share", describe_messages.DescribedGroup, _described,
        with_operations=request.include_authorized_operations,
    )  # fmt: skip
    return describe_messages.Response(groups=found)


def _described(client: KafkaClient, found: GroupDescription) -> Steps:
    members = []
    for it in found.members:
        member = _member(client.door, it)
        assigned = (place.topic_name for place in member.assignment.topic_partitions)
        if not (yield from may_see(client, list({*member.subscribed_topic_names, *assigned}))):
            return describe_messages.DescribedGroup(
                errors.TOPIC_AUTHORIZATION_FAILED, HIDDEN, found.group, found.state
            )
        members.append(member)
        yield 1 + len(it.assigned)
    return describe_messages.DescribedGroup(
        group_id=found.group,
        group_state=found.state,
        group_epoch=found.epoch,
        assignment_epoch=found.target_epoch,
        assignor_name=found.protocol,
        members=members,
    )


def _member(door: KafkaDoor, it: MemberDescription) -> describe_messages.Member:
    return describe_messages.Member(
        member_id=it.id,
        rack_id=it.client.rack_id,
        member_epoch=it.epoch,
        client_id=it.client.id,
        client_host=it.client.host,
        subscribed_topic_names=sorted(it.topics),
        assignment=describe_messages.Assignment(
            [
                describe_messages.TopicPartitions(topic.uuid, topic.name, numbers)
                for topic, numbers in named(door, it.assigned)
            ]
        ),
    )


HANDLERS: Final = {
    76: handler(heartbeat_messages.Request, heartbeat_messages.Response, heartbeat),
    77: handler(describe_messages.Request, describe_messages.Response, describe),
}
