"""The class ``queue``: declare, bind, unbind, purge and delete."""

from functools import partial

from logstore.access.audit import QUEUE
from logstore.amqp import methods
from logstore.amqp.fields import data, text
from logstore.amqp.replies import ACCESS_REFUSED, NOT_FOUND, Refusal
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.named import Named
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.refusals import NoQueue
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.door import REPLY_TO
from logstore.protocols.amqp.exchange import name_of


def named(channel: AmqpChannel, given: str) -> bytes:
    """The name of the queue; without one, the queue that the channel declared last."""
    name = name_of(given)
    if not name:
        if not channel.last_queue:
            raise Refusal(NOT_FOUND, "no previously declared queue")
        name = channel.last_queue
    return name


def declare(channel: AmqpChannel, method: methods.QueueDeclare) -> None:
    name = name_of(method.queue)
    channel.of.door.counts.queues_declared += not method.passive
    if name.startswith(REPLY_TO):
        _declare_reply_to(channel, name, nowait=method.nowait)
    elif method.passive:
        queue = channel.of.vhost.queue(name, channel.of)
        queue.used()
        _declared(channel, queue, nowait=method.nowait)
    else:
        facts = QueueFacts(
            name, method.durable, method.exclusive, method.auto_delete,
            arguments_of(method.arguments),
        )  # fmt: skip
        queue, pending = channel.of.vhost.declare_queue(facts, channel.of)
        channel.until(pending, partial(_declared, channel, queue, nowait=method.nowait))


def _declared(channel: AmqpChannel, queue: Named, *, nowait: bool) -> None:
    """Answer a declaration; the queue's counts are known once its logs are open."""
    queue = channel.of.vhost.in_place_of(queue)
    channel.last_queue = queue.facts.name
    if nowait:
        return
    held_by = channel.hold()
    queue.when_open(partial(channel.go_on, held_by, partial(_answer_declare, channel, queue)))


def _answer_declare(channel: AmqpChannel, queue: Named) -> None:
    if queue.failed is not None:
        raise queue.failed
    name = text(queue.facts.name)
    channel.answer(methods.QueueDeclareOk(name, queue.ready, len(queue.subscriptions)))


def _declare_reply_to(channel: AmqpChannel, name: bytes, *, nowait: bool) -> None:
    """Answer a passive declaration of an address for replies. Raises NoQueue."""
    if name != REPLY_TO and channel.of.door.reply_channel(name) is None:
        raise NoQueue(name)
    channel.last_queue = name
    if not nowait:
        channel.answer(methods.QueueDeclareOk(text(name), 0, 1))


def binding_of(channel: AmqpChannel, method: methods.QueueBind | methods.QueueUnbind) -> Binding:
    """The binding to create or delete. Raises Refusal."""
    queue = named(channel, method.queue)
    if queue.startswith(REPLY_TO):
        raise Refusal(ACCESS_REFUSED, f"operation not permitted on queue '{text(queue)}'")
    key = data(method.routing_key)
    if not key and not method.queue:
        key = queue
    return Binding(name_of(method.exchange), queue, key, arguments_of(method.arguments))


def bind(channel: AmqpChannel, method: methods.QueueBind) -> None:
    pending = channel.of.vhost.bind(binding_of(channel, method), channel.of)
    channel.until(pending, channel.answers(methods.QueueBindOk(), method.nowait))


def unbind(channel: AmqpChannel, method: methods.QueueUnbind) -> None:
    pending = channel.of.vhost.unbind(binding_of(channel, method), channel.of)
    channel.until(pending, channel.answers(methods.QueueUnbindOk(), nowait=False))


def purge(channel: AmqpChannel, method: methods.QueuePurge) -> None:
    queue = channel.of.vhost.queue(named(channel, method.queue), channel.of)
    held_by = channel.hold()

    def purged(total: int) -> None:
        if queue.failed is None:
            channel.of.permits.removed(channel.of.door.audit, QUEUE, "purged", queue.facts.name)
        answer = channel.answers(methods.QueuePurgeOk(total), method.nowait)
        channel.go_on(held_by, answer, queue.failed)

    queue.purge(purged)


def delete(channel: AmqpChannel, method: methods.QueueDelete) -> None:
    """Delete a queue; a missing queue is no error, as in RabbitMQ."""
    try:
        queue = channel.of.vhost.queue(named(channel, method.queue), channel.of)
    except NoQueue:
        channel.answers(methods.QueueDeleteOk(0), method.nowait)()
        return
    held_by = channel.hold()  # how much is in it is known once its logs are open
    queue.when_known(partial(channel.go_on, held_by, partial(_delete, channel, queue, method)))


def _delete(channel: AmqpChannel, queue: Named, method: methods.QueueDelete) -> None:
    with channel.cancels_kept_back() as cancels:
        total, pending = channel.of.vhost.delete_queue(
            queue, if_unused=method.if_unused, if_empty=method.if_empty
        )
    channel.of.permits.removed(channel.of.door.audit, QUEUE, "deleted", queue.facts.name)
    answer = channel.answers(methods.QueueDeleteOk(total), method.nowait)

    def deleted() -> None:
        answer()
        for tag in cancels:  # its own consumers are told after the answer, as in RabbitMQ
            channel.cancelled(tag)

    channel.until(pending, deleted)
