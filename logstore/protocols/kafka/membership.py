"""Membership by the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

A join waits for the other members, and a sync for the leader; the connection waits, too, as in
Kafka. A client that disconnects meanwhile stays a member until its session expires.
"""

from functools import partial
from typing import Final, NamedTuple

from logstore.access.resources import DESCRIBE
from logstore.access.rights import Rights
from logstore.broker.coordinator.calls import Identity, Join, Joined, Leaver, Sight, Sync, Synced
from logstore.kafka.messages import heartbeat as heartbeat_messages
from logstore.kafka.messages import join_group as join_messages
from logstore.kafka.messages import leave_group as leave_messages
from logstore.kafka.messages import sync_group as sync_messages
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later
from logstore.protocols.kafka.errors import group_code
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.objects import Objects
from logstore.slices import Steps, parts

# The versions of JoinGroup from which on a client ...
HAS_REBALANCE_TIMEOUT: Final = 1
KNOWS_ID_REQUIRED: Final = 4  # KIP-394
NAME_MAY_BE_NULL: Final = 7  # ... can be told of no protocol
MAY_SKIP_ASSIGNMENT: Final = 9  # KIP-814

NAMES_PROTOCOL: Final = 5  # SyncGroup: the client says which protocol it has heard of (KIP-559)
LEAVING_AT_ONCE: Final = 20  # members: of a group of 10,000 each takes a millisecond
MEMBERS_AT_ONCE: Final = 100  # described in an answer; a worker describes more
MANY_LEAVE: Final = 3  # LeaveGroup: several members at once (KIP-345)


def identity_of(
    client: KafkaClient, instance_id: str | None, rack_id: str | None = None
) -> Identity:
    """The identity of the client, with the host written as Kafka writes it."""
    return Identity(client.id, f"/{client.peer[0]}", instance_id, rack_id)


def sight_of(client: KafkaClient) -> Sight | None:
    """What the client may see; valid after the connection ends, since a group asks again for new
    topics.
    """
    rights = client.rights
    if rights.all:
        return None
    access = client.door.access
    key = access.alike(rights.who), access.version  # not by host: a group may have hundreds
    return Sight(key, partial(_sees, rights, client.door.objects))


def _sees(rights: Rights, objects: Objects, topic: str) -> bool:
    return rights.may(DESCRIBE, *objects.of_topic(topic))


def join_group(
    client: KafkaClient, version: int, request: join_messages.Request
) -> join_messages.Response | Later:
    """Key 11."""
    patience_ms = (
        request.rebalance_timeout_ms
        if version >= HAS_REBALANCE_TIMEOUT
        else request.session_timeout_ms
    )
    call = Join(
        request.group_id,
        request.member_id,
        identity_of(client, request.group_instance_id),
        request.protocol_type,
        [(it.name, it.metadata) for it in request.protocols],
        request.session_timeout_ms,
        patience_ms,
        id_required=version >= KNOWS_ID_REQUIRED,
        may_skip_assignment=version >= MAY_SKIP_ASSIGNMENT,
        sight=sight_of(client),
    )
    later = Later(_Stopped(request.member_id), partial(_of_join, version))
    client.door.coordinator.join(call, client.now_ms, later.give)
    return later


class _Stopped(NamedTuple):
    """The server stops, and does not wait for the group."""

    member_id: str


def _of_join(version: int, joined: Joined | _Stopped) -> join_messages.Response | InWorker:
    if isinstance(joined, _Stopped):
        stopped = _joined(version, Joined(None, joined.member_id))
        stopped.error_code = errors.NOT_COORDINATOR
        return stopped
    if len(joined.members) > MEMBERS_AT_ONCE:
        return InWorker(partial(_joined, version, joined))
    return _joined(version, joined)


def _joined(version: int, joined: Joined) -> join_messages.Response:
    name = joined.protocol if version >= NAME_MAY_BE_NULL else joined.protocol or ""
    return join_messages.Response(
        error_code=group_code(joined.error),
        generation_id=joined.generation,
        protocol_type=joined.protocol_type,
        protocol_name=name,
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[join_messages.Member(it.id, it.instance_id, it.metadata) for it in joined.members],
    )


def sync_group(
    client: KafkaClient, version: int, request: sync_messages.Request
) -> sync_messages.Response | Later:
    """Key 14."""
    if version >= NAMES_PROTOCOL and None in (request.protocol_type, request.protocol_name):
        return sync_messages.Response(error_code=errors.INCONSISTENT_GROUP_PROTOCOL)
    call = Sync(
        request.group_id,
        request.generation_id,
        request.member_id,
        request.group_instance_id,
        request.protocol_type,
        request.protocol_name,
        {it.member_id: it.assignment for it in request.assignments},  # 200,000 at most: 10 ms
    )
    stopped = sync_messages.Response(error_code=errors.NOT_COORDINATOR)
    later = Later(stopped, _synced)
    client.door.coordinator.sync(call, client.now_ms, later.give)
    return later


def _synced(synced: Synced | sync_messages.Response) -> sync_messages.Response:
    if isinstance(synced, sync_messages.Response):
        return synced
    return sync_messages.Response(
        error_code=group_code(synced.error),
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol,
        assignment=synced.assignment,
    )


def heartbeat(
    client: KafkaClient, version: int, request: heartbeat_messages.Request
) -> heartbeat_messages.Response:
    """Key 12."""
    done = client.door.coordinator.heartbeat(
        request.group_id,
        request.generation_id,
        request.member_id,
        request.group_instance_id,
        client.now_ms,
    )
    return heartbeat_messages.Response(error_code=group_code(done.error))


def leave_group(client: KafkaClient, version: int, request: leave_messages.Request) -> Steps:
    """Key 13."""
    leaving = (
        request.members
        if version >= MANY_LEAVE
        else [leave_messages.MemberIdentity(request.member_id)]
    )
    left: list[leave_messages.MemberResponse] = []
    for some in parts(leaving, LEAVING_AT_ONCE):
        answers = client.door.coordinator.leave(
            request.group_id,
            [Leaver(it.member_id, it.group_instance_id) for it in some],
            client.now_ms,
        )
        for it, answer in zip(some, answers, strict=True):
            code = group_code(answer.error)
            if version < MANY_LEAVE or code == errors.INVALID_GROUP_ID:  # of the group, so of all
                return leave_messages.Response(error_code=code)
            left.append(leave_messages.MemberResponse(it.member_id, it.group_instance_id, code))
        yield len(some)
    return leave_messages.Response(members=left)


HANDLERS: Final = {
    11: handler(join_messages.Request, join_messages.Response, join_group),
    12: handler(heartbeat_messages.Request, heartbeat_messages.Response, heartbeat),
    13: handler(leave_messages.Request, leave_messages.Response, leave_group),
    14: handler(sync_messages.Request, sync_messages.Response, sync_group),
}
