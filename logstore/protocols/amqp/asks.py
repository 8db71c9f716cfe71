"""The rights that each AMQP method needs, in RabbitMQ's order: a table beside that of the handlers.

Rights are checked before anything is looked up, so that a user without rights does not learn which
objects exist. If a handler refuses a method from any user (declaring ``amq.*``, deleting the
default exchange), rights are checked before the refusal only where RabbitMQ does so. Publishing
checks rights once for each run of messages (``publish.py``).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from logstore.access.resources import (
    CREATE,
    DELETE,
    DESCRIBE,
    EXCHANGE,
    QUEUE,
    READ,
    WRITE,
    of_target,
)
from logstore.amqp import methods
from logstore.amqp.fields import data, text
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing import targets
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, is_predefined
from logstore.broker.routing.exchange_types import matcher_of
from logstore.protocols import rabbit_asks
from logstore.protocols.amqp import exchange, queue
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.door import REPLY_TO
from logstore.protocols.rabbit_permits import Ask, AskKey, Unless, is_topic

Asked = Iterable[Ask | AskKey | Unless]


def _nothing(_: AmqpChannel, __: object) -> Asked:
    return ()


# Exchanges


def _declare_exchange(channel: AmqpChannel, method: methods.ExchangeDeclare) -> Iterator[Ask]:
    name = exchange.name_of(method.exchange)
    if not method.passive:
        matcher_of(method.type)  # whether there is such a type is looked at first
    if name == DEFAULT_EXCHANGE:
        return
    if method.passive:
        yield Ask(DESCRIBE, EXCHANGE, name)
        return
    yield Ask(CREATE, EXCHANGE, name)
    alternate = method.arguments.get("alternate-exchange")
    if isinstance(alternate, str) and not exchange.there(channel, name):
        yield Ask(READ, EXCHANGE, name)
        yield Ask(WRITE, EXCHANGE, data(alternate))
    if method.type in targets.TYPES and not exchange.there(channel, name):
        target = text(targets.target_of(name, arguments_of(method.arguments)))
        kind, named = of_target(
            target, channel.of.vhost.keeps_history, channel=method.type == targets.TO_CHANNEL
        )
        yield Ask(WRITE, kind, data(named))


def _delete_exchange(_: AmqpChannel, method: methods.ExchangeDelete) -> Iterator[Ask]:
    name = exchange.name_of(method.exchange)
    if not is_predefined(name):
        yield Ask(DELETE, EXCHANGE, name)


def _bind_exchange(
    channel: AmqpChannel, method: methods.ExchangeBind | methods.ExchangeUnbind
) -> Iterator[Ask | AskKey]:
    source, destination = exchange.name_of(method.source), exchange.name_of(method.destination)
    yield Ask(WRITE, EXCHANGE, destination)
    if DEFAULT_EXCHANGE not in (source, destination):
        yield Ask(READ, EXCHANGE, source)
        if is_topic(channel.of.vhost.topology, source):
            yield AskKey(READ, source, data(method.routing_key))


# Queues


def _declare_queue(channel: AmqpChannel, method: methods.QueueDeclare) -> Iterator[Ask | Unless]:
    name, vhost = exchange.name_of(method.queue), channel.of.vhost
    if name.startswith(REPLY_TO):
        return  # no queue: messages go to the client that requested replies
    if method.passive:
        yield Ask(DESCRIBE, QUEUE, name)
        return
    yield from rabbit_asks.to_declare(vhost, name, method.arguments)


def _bind_queue(
    channel: AmqpChannel, method: methods.QueueBind | methods.QueueUnbind
) -> Iterator[Ask | AskKey | Unless]:
    return rabbit_asks.to_bind(channel.of.vhost, queue.binding_of(channel, method))


def _delete_queue(channel: AmqpChannel, method: methods.QueueDelete) -> Iterator[Ask | Unless]:
    return rabbit_asks.to_delete(channel.of.vhost, queue.named(channel, method.queue))


def _read(channel: AmqpChannel, method: methods.QueuePurge | methods.BasicGet) -> Iterator[Ask]:
    yield Ask(READ, QUEUE, queue.named(channel, method.queue))


def _consume(channel: AmqpChannel, method: methods.BasicConsume) -> Iterator[Ask | Unless]:
    name = queue.named(channel, method.queue)
    if name != REPLY_TO:
        yield from rabbit_asks.to_consume(channel.of.vhost, name)


ASKS: Final[dict[type, Callable[[AmqpChannel, Any], Asked]]] = {
    methods.ChannelOpen: _nothing,
    methods.ChannelClose: _nothing,
    methods.ChannelFlow: _nothing,
    methods.AccessRequest: _nothing,
    methods.ExchangeDeclare: _declare_exchange,
    methods.ExchangeDelete: _delete_exchange,
    methods.ExchangeBind: _bind_exchange,
    methods.ExchangeUnbind: _bind_exchange,
    methods.QueueDeclare: _declare_queue,
    methods.QueueBind: _bind_queue,
    methods.QueueUnbind: _bind_queue,
    methods.QueuePurge: _read,
    methods.QueueDelete: _delete_queue,
    methods.BasicQos: _nothing,
    methods.BasicConsume: _consume,
    methods.BasicCancel: _nothing,
    methods.BasicGet: _read,
    methods.BasicRecover: _nothing,
    methods.BasicRecoverAsync: _nothing,
    methods.BasicAck: _nothing,  # deliveries belong to the channel
    methods.BasicNack: _nothing,
    methods.BasicReject: _nothing,
    methods.ConfirmSelect: _nothing,
    methods.TxSelect: _nothing,
    methods.TxCommit: _nothing,  # its messages ask again: rights may have gone meanwhile
    methods.TxRollback: _nothing,
}
