"""Administration of groups: DescribeGroups, ListGroups, DeleteGroups."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.access import audit
from logstore.access.resources import DELETE, DESCRIBE, GROUP
from logstore.broker.coordinator.calls import Done, GroupDescription
from logstore.broker.coordinator.coordinator import UNREADABLE
from logstore.broker.coordinator.refusal import Refusal
from logstore.errors import LogstoreError
from logstore.kafka.messages import delete_groups as delete_messages
from logstore.kafka.messages import describe_groups as describe_messages
from logstore.kafka.messages import list_groups as list_messages
from logstore.protocols.house import forget_shares
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES, TEXTS
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import Later, given, made_elsewhere
from logstore.protocols.kafka.errors import group_code
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.operations import on_group
from logstore.slices import Steps, parts

TELLS_UNKNOWN: Final = 6  # DescribeGroups: a group that is not there is an error (KIP-1043)
STABLE: Final = "Stable"
# Groups in one transaction; each is first looked up in the catalogue, at some 20 us.
DELETED_AT_ONCE: Final = 200
DELETE_UNITS: Final = 5
DEAD: Final = "Dead"  # the state of a group that is not there

NOT_ALLOWED: Final = CODES[GROUP]

# The types of groups that Kafka knows. Members in the directory itself use the new protocol.
TYPES: Final = {
    "simple": "classic",
    "classic": "classic",
    "consumer": "consumer",
    "embedded": "consumer",
    "share": "share",
}
# Which request shows a group of each type.
SHOWN_BY: Final = {"consumer": "ConsumerGroupDescribe", "share": "ShareGroupDescribe"}


def describe_groups(client: KafkaClient, version: int, request: describe_messages.Request) -> Steps:
    """Key 15: groups of the classic protocol."""
    described = []
    for name in dict.fromkeys(request.groups):  # once, however often it is named
        if not client.may(DESCRIBE, GROUP, name):
            described.append(
                describe_messages.DescribedGroup(NOT_ALLOWED, TEXTS[NOT_ALLOWED], name)
            )
            yield ASK_UNITS
            continue
        try:
            found = client.door.coordinator.describe(name)
        except Refusal as it:
            described.append(
                describe_messages.DescribedGroup(group_code(it.error), it.message, name, UNREADABLE)
            )
            yield 1
            continue
        if found is None or TYPES[found.kind] != "classic":
            described.append(_no_classic(version, name, found))
        else:
            described.append(_described(found))
        if request.include_authorized_operations:
            described[-1].authorized_operations = on_group(client, name)
        yield 1 + ASK_UNITS + len(described[-1].members)
    return describe_messages.Response(groups=described)


def _no_classic(
    version: int, name: str, found: GroupDescription | None
) -> describe_messages.DescribedGroup:
    group = describe_messages.DescribedGroup(group_id=name, group_state=DEAD)
    if version >= TELLS_UNKNOWN:
        group.error_code = errors.GROUP_ID_NOT_FOUND
        group.error_message = (
            f"no group {name!r}"
            if found is None
            else f"group {name!r} is a {found.kind} one: ask with {SHOWN_BY[TYPES[found.kind]]}"
        )
    return group


def _described(found: GroupDescription) -> describe_messages.DescribedGroup:
    settled = found.state == STABLE  # before that nothing is agreed on
    return describe_messages.DescribedGroup(
        group_id=found.group,
        group_state=found.state,
        protocol_type=found.protocol_type,
        protocol_data=found.protocol if settled else "",
        members=[
            describe_messages.DescribedGroupMember(
                it.id,
                it.client.instance_id,
                it.client.id,
                it.client.host,
                it.metadata if settled else b"",
                it.assignment if settled else b"",
            )
            for it in found.members
        ],
    )


def list_groups(client: KafkaClient, version: int, request: list_messages.Request) -> Steps:
    """Key 16. Without a filter all groups are listed; filters ignore case, as in Kafka."""
    states = {it.lower() for it in request.states_filter}
    types = {it.lower() for it in request.types_filter}
    coordinator = client.door.coordinator
    sees_all = client.sees_cluster(DESCRIBE)
    kept = yield made_elsewhere(client.door, coordinator.kinds)
    groups = []
    for name in coordinator.group_names(kept):
        it = coordinator.listing(name, kept.get(name))
        yield 1 if sees_all else 1 + ASK_UNITS
        if (
            it is not None
            and (sees_all or client.sees(DESCRIBE, GROUP, name))
            and (not states or it.state.lower() in states)
            and (not types or TYPES[it.kind] in types)
        ):
            groups.append(
                list_messages.ListedGroup(it.group, it.protocol_type, it.state, TYPES[it.kind])
            )
    return list_messages.Response(groups=groups)


def delete_groups(client: KafkaClient, version: int, request: delete_messages.Request) -> Steps:
    """Key 42. Durable when answered."""
    names: list[str] = []
    refused: list[str] = []
    for some in parts(list(dict.fromkeys(request.groups_names)), DELETED_AT_ONCE):
        for name in some:
            (names if client.may(DELETE, GROUP, name) else refused).append(name)
        yield ASK_UNITS * len(some)
    results = [delete_messages.DeletableGroupResult(it, NOT_ALLOWED) for it in refused]
    for some in parts(names, DELETED_AT_ONCE):
        codes = yield given(_deletion(client, some))
        results += [delete_messages.DeletableGroupResult(it, codes[it]) for it in some]
        yield DELETE_UNITS * len(some)
    return delete_messages.Response(results=results)


def _deletion(client: KafkaClient, names: Sequence[str]) -> Later:
    """Delete the groups in one transaction; the answer is their error codes by name."""
    later = Later()
    codes: dict[str, int] = {}

    def ended(name: str, code: int) -> None:
        codes[name] = code
        if code == errors.NONE:
            client.did(audit.GROUP, f"deleted {name}")
        if len(codes) == len(names):
            later.give(codes)

    def forgotten(name: str, error: LogstoreError | None) -> None:
        ended(name, errors.NONE if error is None else errors.code_of(error))

    def told(name: str, shared: bool, done: Done) -> None:
        code = group_code(done.error)
        if shared and code in (errors.NONE, errors.GROUP_ID_NOT_FOUND):
            forget_shares(client.door.shares_of, name, partial(forgotten, name))
        else:
            ended(name, code)

    for name in names:
        shared = _is_shared(client, name)
        client.door.coordinator.delete(name, client.now_ms, partial(told, name, shared))
    return later


def _is_shared(client: KafkaClient, name: str) -> bool:
    """Whether a share group of this name may have settled anything."""
    opened = client.door.shares_of.opened
    if opened is not None and opened.has(name):
        return True
    try:
        return client.door.coordinator.share_group(name) is not None
    except Refusal:  # deleting it reports the error
        return False


HANDLERS: Final = {
    15: handler(describe_messages.Request, describe_messages.Response, describe_groups),
    16: handler(list_messages.Request, list_messages.Response, list_groups),
    42: handler(delete_messages.Request, delete_messages.Response, delete_groups),
}
