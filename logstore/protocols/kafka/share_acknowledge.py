"""ShareAcknowledge: a member acknowledges records without fetching more."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from logstore.broker.shared.shares import Shares
from logstore.broker.shares.sessions import FINAL_EPOCH, INITIAL_EPOCH, ShareSession, TopicPartition
from logstore.errors import InvalidShareSessionEpoch, LogstoreError
from logstore.kafka.messages import share_acknowledge as messages
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import (
    LEADER_EPOCH,
    NODE_ID,
    InWorker,
    Later,
    given,
    made_elsewhere,
)
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.share_acks import Acknowledgements, Outcome, count_sessions
from logstore.protocols.kafka.share_asked import Asked, asked_by
from logstore.slices import Steps

MANY: Final = 200  # batches, or partitions, which a worker looks at


def share_acknowledge(client: KafkaClient, version: int, request: messages.Request) -> Steps:
    """Key 79. Durable when answered."""
    try:
        return (yield from _acknowledged(client, request))
    except LogstoreError as error:
        return messages.Response(error_code=code_of(error), error_message=str(error))


def _acknowledged(client: KafkaClient, request: messages.Request) -> Steps:
    if _are_many(request.topics):
        asked: Asked = yield made_elsewhere(client.door, lambda: asked_by(request))
    else:
        asked = asked_by(request)
    asked.check()
    shares: Shares = yield client.door.shares_of.when_open
    session = _session(shares, asked)
    acks = Acknowledgements(client, shares, session)
    yield from acks.begin(asked.said)
    if not acks.settled:
        later = Later()
        acks.then(lambda: later.give(True))
        yield given(later)
    if asked.epoch == FINAL_EPOCH:
        shares.end(session)
        count_sessions(client, shares)
    lock_ms = shares.rules(asked.group).limits.lock_ms
    answer = partial(_answer, asked.places, acks.outcomes, lock_ms)
    return InWorker(answer) if len(asked.places) > MANY else answer()


def _are_many(topics: Sequence[messages.Topic]) -> bool:
    return (
        len(topics) > MANY
        or sum(len(it.partitions) for it in topics) > MANY
        or sum(len(it.acknowledgement_batches) for one in topics for it in one.partitions) > MANY
    )


def _answer(
    places: Sequence[TopicPartition], outcomes: Mapping[TopicPartition, Outcome], lock_ms: int
) -> messages.Response:
    by_topic: dict[bytes, list[messages.ResponsePartition]] = {}
    leader = messages.LeaderIdAndEpoch(NODE_ID, LEADER_EPOCH)
    for topic_id, number in places:
        code, text = outcomes.get((topic_id, number), Outcome())
        by_topic.setdefault(topic_id, []).append(
            messages.ResponsePartition(number, code, text, leader)
        )
    return messages.Response(
        acquisition_lock_timeout_ms=lock_ms,
        responses=[messages.ResponseTopic(*it) for it in by_topic.items()],
    )


def _session(shares: Shares, asked: Asked) -> ShareSession:
    """The share session of the request. Raises InvalidShareSessionEpoch, ShareSessionNotFound."""
    if asked.epoch == INITIAL_EPOCH:
        raise InvalidShareSessionEpoch("a session begins with a ShareFetch, at epoch 0")
    if asked.epoch == FINAL_EPOCH:
        return shares.sessions.find(asked.group, asked.member)
    return shares.sessions.go_on(asked.group, asked.member, asked.epoch)


HANDLERS: Final = {79: handler(messages.Request, messages.Response, share_acknowledge)}
