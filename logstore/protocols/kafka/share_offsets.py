"""Offsets of share groups: describe, move, delete.

DescribeShareGroupOffsets, AlterShareGroupOffsets, DeleteShareGroupOffsets. The latter two require a
group without members, and are durable when answered.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.access import audit
from logstore.access.resources import DESCRIBE, GROUP, READ
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.shares import Shares
from logstore.broker.topic import Topic
from logstore.errors import LogstoreError, UnknownTopic
from logstore.kafka.messages import alter_share_group_offsets as alter_messages
from logstore.kafka.messages import delete_share_group_offsets as delete_messages
from logstore.kafka.messages import describe_share_group_offsets as describe_messages
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES, TEXTS
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import LEADER_EPOCH, Later, given, made_elsewhere
from logstore.protocols.kafka.errors import code_of, group_code
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps

NOT_BEGUN: Final = -1  # the start, and the lag, where a group has not begun
STANDING_UNITS: Final = 3  # of a partition that is told of
CHANGE_UNITS: Final = 5  # of one that begins again
CHANGED_AT_ONCE: Final = 500  # by one request: each takes a KiB until it is in the journal
NO_TOPIC: Final = errors.UNKNOWN_TOPIC_OR_PARTITION

NOT_ALLOWED: Final = CODES[GROUP]


def _shares(client: KafkaClient) -> Steps:
    return (yield client.door.shares_of.when_open)


def _check(client: KafkaClient, shares: Shares, group: str, *, empty: bool) -> None:
    """Raise Refusal if the group does not exist, or if it must be empty and is not."""
    found = client.door.coordinator.share_group(group)
    if found is None and not shares.has(group):
        raise Refusal(GroupError.GROUP_ID_NOT_FOUND, f"no share group {group!r}")
    if empty and found is not None and not found.is_empty:
        raise Refusal(GroupError.NON_EMPTY_GROUP, f"share group {group!r} has members")


def _topic(client: KafkaClient, operation: str, name: str) -> Topic | int:
    """The topic, or an error code, which reveals only to permitted clients whether the topic
    exists.
    """
    if not client.may_topic(operation, name):
        return errors.TOPIC_AUTHORIZATION_FAILED
    return client.door.topics.get(name) or NO_TOPIC


# Told


def describe(client: KafkaClient, version: int, request: describe_messages.Request) -> Steps:
    """Key 90."""
    groups, ends = [], _Ends(client)
    whole: set[str] = set()
    for asked in request.groups:
        if asked.topics is None and asked.group_id in whole:  # described once
            yield 1
            continue
        if asked.topics is None:
            whole.add(asked.group_id)
        group = describe_messages.ResponseGroup(asked.group_id)
        groups.append(group)
        if not client.may(DESCRIBE, GROUP, asked.group_id):
            group.error_code, group.error_message = NOT_ALLOWED, TEXTS[NOT_ALLOWED]
            yield ASK_UNITS
            continue
        try:
            shares = yield from _shares(client)
            _check(client, shares, asked.group_id, empty=False)
            topics: list[describe_messages.ResponseTopic] = []
            group.topics = topics
            for name, numbers in _named(client, shares, asked):
                topics.append((yield from _described(ends, shares, asked.group_id, name, numbers)))
        except Refusal as refusal:
            group.error_code, group.error_message = group_code(refusal.error), refusal.message
        except LogstoreError as error:
            group.error_code, group.error_message = code_of(error), str(error)
            group.topics = ()
        yield ASK_UNITS
    return describe_messages.Response(groups=groups)


def _named(
    client: KafkaClient, shares: Shares, asked: describe_messages.RequestGroup
) -> Iterator[tuple[str, Sequence[int]]]:
    """The requested topics; without any, all topics that the group has begun to read."""
    if asked.topics is not None:
        for it in asked.topics:
            yield it.topic_name, it.partitions
        return
    for topic_id in shares.topics(asked.group_id):
        topic = client.door.topics.by_uuid(topic_id)
        if topic is not None and client.sees_topic(DESCRIBE, topic.name):
            yield topic.name, shares.partitions(asked.group_id, topic_id)


class _Refused(NamedTuple):
    """The reason why nothing of a group is changed."""

    code: int
    message: str


def _of_empty(client: KafkaClient, group: str) -> Steps:
    """The Shares if the group's offsets may be changed, otherwise a _Refused."""
    try:
        shares = yield from _shares(client)
        _check(client, shares, group, empty=True)
    except Refusal as refusal:
        return _Refused(group_code(refusal.error), refusal.message)
    except LogstoreError as error:
        return _Refused(code_of(error), str(error))
    return shares


class _Ends:
    """The ends of logs, one topic at a time; looked up by a worker, because there may be many."""

    def __init__(self, client: KafkaClient) -> None:
        self.client = client
        self._name: str | None = None
        self._found: Sequence[tuple[int, int] | None] = ()

    def of(self, name: str) -> Steps:
        """The end of each partition; empty if the topic was deleted."""
        if self._name != name:
            door = self.client.door
            try:
                self._found = yield made_elsewhere(door, partial(door.topics.offsets, name))
            except UnknownTopic:
                self._found = ()
            self._name = name
        return self._found


def _described(
    ends_of: _Ends, shares: Shares, group: str, name: str, numbers: Sequence[int]
) -> Steps:
    topic = _topic(ends_of.client, DESCRIBE, name)
    yield ASK_UNITS
    ends = () if isinstance(topic, int) else (yield from ends_of.of(name))
    if not ends and not isinstance(topic, int):
        topic = NO_TOPIC
    if isinstance(topic, int):
        text = TEXTS.get(topic)
        parts = [
            describe_messages.ResponsePartition(it, NOT_BEGUN, error_code=topic, error_message=text)
            for it in numbers
        ]
        return describe_messages.ResponseTopic(name, partitions=parts)
    parts = []
    for number in numbers:
        end = ends[number] if 0 <= number < len(ends) else None
        standing = shares.standing(
            Place(group, topic.uuid, number), None if end is None else end[1]
        )
        start, lag = standing or (NOT_BEGUN, NOT_BEGUN)
        parts.append(describe_messages.ResponsePartition(number, start, LEADER_EPOCH, lag))
        yield STANDING_UNITS
    return describe_messages.ResponseTopic(name, topic.uuid, parts)


# Moved


class _Changes:
    """The journal entries of one request, some at a time, because each takes memory."""

    def __init__(self) -> None:
        self._left = 1
        self._later = Later()

    def one(self, take: Callable[[LogstoreError | None], None]) -> Callable[..., None]:
        """Count a change; returns the call that takes its result."""
        self._left += 1

        def told(error: LogstoreError | None) -> None:
            take(error)
            self._end()

        return told

    def _end(self) -> None:
        self._left -= 1
        if not self._left:
            self._later.give(True)

    def few(self) -> Steps:
        """Wait if the maximum number of changes is under way."""
        if self._left > CHANGED_AT_ONCE:
            yield from self.none()

    def none(self) -> Steps:
        """Wait until no change is under way."""
        self._end()
        yield given(self._later)
        self._left, self._later = 1, Later()


def alter(client: KafkaClient, version: int, request: alter_messages.Request) -> Steps:
    """Key 91. Durable when answered."""
    group = request.group_id
    shares = yield from _of_empty(client, group)
    if isinstance(shares, _Refused):
        return alter_messages.Response(error_code=shares.code, error_message=shares.message)
    changes, topics = _Changes(), []
    for asked in request.topics:
        topic = _topic(client, READ, asked.topic_name)
        answer = alter_messages.ResponseTopic(asked.topic_name)
        topics.append(answer)
        yield ASK_UNITS
        if isinstance(topic, int):
            text = TEXTS.get(topic)
            answer.partitions = [
                alter_messages.ResponsePartition(it.partition_index, topic, text)
                for it in asked.partitions
            ]
            continue
        answer.topic_id = topic.uuid
        ends = yield made_elsewhere(client.door, partial(_ends, topic, asked.partitions))
        parts = [alter_messages.ResponsePartition(it.partition_index) for it in asked.partitions]
        answer.partitions = parts
        for part, it in zip(parts, asked.partitions, strict=True):
            end = ends[it.partition_index]
            if isinstance(end, LogstoreError):
                _fail(part, end)
            elif not 0 <= it.start_offset <= end:
                part.error_code = errors.OFFSET_OUT_OF_RANGE
                part.error_message = f"offset {it.start_offset} is not within 0 to {end}"
            else:
                place = Place(group, topic.uuid, it.partition_index)
                shares.begin_at(place, it.start_offset, changes.one(partial(_fail, part)))
            yield CHANGE_UNITS
            yield from changes.few()
        client.did(audit.GROUP, f"moved {group} in {topic.name}")
    yield from changes.none()
    return alter_messages.Response(responses=topics)


def _ends(
    topic: Topic, asked: Sequence[alter_messages.RequestPartition]
) -> dict[int, int | LogstoreError]:
    """The end of each log, which is opened if necessary, or the error."""
    found: dict[int, int | LogstoreError] = {}
    for it in asked:
        try:
            found[it.partition_index] = topic.partition(it.partition_index).safe
        except LogstoreError as error:
            found[it.partition_index] = error
    return found


def _fail(
    part: alter_messages.ResponsePartition | delete_messages.ResponseTopic,
    error: LogstoreError | None,
) -> None:
    if error is not None:
        part.error_code, part.error_message = code_of(error), str(error)


# Forgotten


def delete(client: KafkaClient, version: int, request: delete_messages.Request) -> Steps:
    """Key 92. Durable when answered."""
    group = request.group_id
    shares = yield from _of_empty(client, group)
    if isinstance(shares, _Refused):
        return delete_messages.Response(error_code=shares.code, error_message=shares.message)
    changes, topics = _Changes(), []
    for asked in request.topics:
        topic = _topic(client, READ, asked.topic_name)
        answer = delete_messages.ResponseTopic(asked.topic_name)
        topics.append(answer)
        yield ASK_UNITS
        if isinstance(topic, int):
            answer.error_code, answer.error_message = topic, TEXTS.get(topic)
            continue
        answer.topic_id = topic.uuid
        shares.forget(group, topic.uuid, changes.one(partial(_fail, answer)))
        client.did(audit.GROUP, f"deleted the offsets of {group} in {topic.name}")
        yield CHANGE_UNITS
        yield from changes.few()
    yield from changes.none()
    return delete_messages.Response(responses=topics)


HANDLERS: Final = {
    90: handler(describe_messages.Request, describe_messages.Response, describe),
    91: handler(alter_messages.Request, alter_messages.Response, alter),
    92: handler(delete_messages.Request, delete_messages.Response, delete),
}
