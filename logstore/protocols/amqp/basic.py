"""The class ``basic`` except publishing and settling: consumers, fetching, prefetch."""

from secrets import token_urlsafe
from typing import Final

from logstore.amqp import methods
from logstore.amqp.fields import data, text
from logstore.amqp.replies import (
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    Refusal,
)
from logstore.broker.queues.refusals import NoGlobalQos
from logstore.broker.queues.subscription import Got
from logstore.broker.queues.tables import arguments_of, field_of
from logstore.broker.routing.arguments import CLASS_OF_KIND
from logstore.protocols.amqp.channel import AmqpChannel, release
from logstore.protocols.amqp.door import REPLY_TO
from logstore.protocols.amqp.queue import named
from logstore.protocols.amqp.subscription import AmqpSubscription, content_frames
from logstore.protocols.rabbit_refusals import TYPES, place

TAG_BYTES: Final = 16  # of randomness in a consumer tag that the server makes


def qos(channel: AmqpChannel, method: methods.BasicQos) -> None:
    if method.prefetch_size:
        raise Refusal(NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
    if method.global_:
        channel.limit = method.prefetch_count
        channel.wake_queues()
    else:
        channel.prefetch = method.prefetch_count
    channel.answer(methods.BasicQosOk())


def consume(channel: AmqpChannel, method: methods.BasicConsume) -> None:
    tag = data(method.consumer_tag) or b"amq.ctag-" + token_urlsafe(TAG_BYTES).encode()
    if tag in channel.subscriptions or tag == channel.reply_tag:
        raise Refusal(NOT_ALLOWED, f"attempt to reuse consumer tag '{text(tag)}'")
    name = named(channel, method.queue)
    if name == REPLY_TO:
        _wait_for_replies(channel, tag, no_ack=method.no_ack)
    else:
        queue = channel.of.vhost.queue(name, channel.of)
        subscription = AmqpSubscription(
            channel.of, channel.number, channel, queue, tag, no_ack=method.no_ack,
            exclusive=method.exclusive, priority=_number(channel, name, method, "x-priority") or 0,
            prefetch=channel.prefetch,
            timeout_ms=_number(channel, name, method, "x-consumer-timeout"),
            arguments=arguments_of(method.arguments),
        )  # fmt: skip
        queue.subscribe(subscription)
        if channel.limit and queue.topic_name is not None:
            queue.unsubscribe(subscription)
            raise NoGlobalQos(name)
        channel.subscriptions[tag] = subscription
    channel.answers(methods.BasicConsumeOk(text(tag)), method.nowait)()


def _number(
    channel: AmqpChannel, name: bytes, method: methods.BasicConsume, argument: str
) -> int | None:
    if argument not in method.arguments:
        return None
    field = field_of(method.arguments[argument])
    if CLASS_OF_KIND[field.kind] != "integer":
        of = place("queue", name, channel.of.vhost_name)
        raise Refusal(
            PRECONDITION_FAILED,
            f"invalid arg '{argument}' for {of}: \"expected integer, got {TYPES[field.kind]}\"",
        )
    return int(field.value)


def _wait_for_replies(channel: AmqpChannel, tag: bytes, *, no_ack: bool) -> None:
    if not no_ack:
        raise Refusal(PRECONDITION_FAILED, "reply consumer cannot acknowledge")
    if channel.reply_token:
        raise Refusal(PRECONDITION_FAILED, "reply consumer already set")
    channel.take_replies(channel.of.door.token(), tag)


def cancel(channel: AmqpChannel, method: methods.BasicCancel) -> None:
    """Cancel a consumer, whose unacknowledged messages remain out; an unknown tag is no error."""
    tag = data(method.consumer_tag)
    subscription = channel.subscriptions.pop(tag, None)
    if subscription is not None:
        subscription.queue.unsubscribe(subscription)
    elif tag == channel.reply_tag:
        channel.take_no_replies()
    channel.answers(methods.BasicCancelOk(method.consumer_tag), method.nowait)()


def get(channel: AmqpChannel, method: methods.BasicGet) -> None:
    queue = channel.of.vhost.queue(named(channel, method.queue), channel.of)
    held_by = channel.hold()

    def answer(got: Got | None) -> None:
        if got is None:
            channel.answer(methods.BasicGetEmpty())
            return
        it = got.delivery
        found = methods.BasicGetOk(
            got.tag, it.redelivered, text(it.exchange), text(it.key), got.ready
        )
        room = channel.of.payload_max
        channel.of.put(content_frames(channel.number, found, it.properties, it.body, room))

    def take(got: Got | None) -> None:
        # It may have ended while it waited, after all that it had has gone back.
        if channel.gone or channel.closing:
            release(channel.unacked.drain())
        else:
            channel.go_on(held_by, lambda: answer(got))

    queue.get(channel, method.no_ack, take)


def recover(channel: AmqpChannel, method: methods.BasicRecover) -> None:
    _recover(channel, requeue=method.requeue)
    channel.answer(methods.BasicRecoverOk())


def recover_async(channel: AmqpChannel, method: methods.BasicRecoverAsync) -> None:
    _recover(channel, requeue=method.requeue)


def _recover(channel: AmqpChannel, *, requeue: bool) -> None:
    if not requeue:
        raise Refusal(NOT_IMPLEMENTED, "requeue=false")
    held_back = channel.transaction
    kept = None if held_back is None else held_back.is_settled
    release(channel.unacked.drain(kept))
    channel.wake_queues()
