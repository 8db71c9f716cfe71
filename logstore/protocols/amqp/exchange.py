"""The class ``exchange``: declare, delete, bind and unbind."""

from logstore.access.audit import EXCHANGE
from logstore.amqp import methods
from logstore.amqp.fields import data
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NotPermitted
from logstore.protocols.amqp.channel import AmqpChannel

_LINE_ENDS = str.maketrans("", "", "\r\n")


def name_of(given: str) -> bytes:
    """The name of a queue or an exchange without line ends, as in RabbitMQ."""
    return data(given.translate(_LINE_ENDS))


def there(channel: AmqpChannel, name: bytes) -> bool:
    """Whether the exchange exists."""
    try:
        channel.of.vhost.topology.exchange(name)
    except NoExchange:
        return False
    return True


def declare(channel: AmqpChannel, method: methods.ExchangeDeclare) -> None:
    vhost, name = channel.of.vhost, name_of(method.exchange)
    pending = None
    if method.passive:
        if name == DEFAULT_EXCHANGE:
            raise NotPermitted(name)
        vhost.topology.exchange(name)
    else:
        facts = ExchangeFacts(
            name, method.type, method.durable, method.auto_delete, method.internal,
            arguments_of(method.arguments),
        )  # fmt: skip
        pending = vhost.declare_exchange(facts)
    channel.until(pending, channel.answers(methods.ExchangeDeclareOk(), method.nowait))


def delete(channel: AmqpChannel, method: methods.ExchangeDelete) -> None:
    name = name_of(method.exchange)
    was_there = there(channel, name)
    pending = channel.of.vhost.delete_exchange(name, if_unused=method.if_unused)
    if was_there:
        channel.of.permits.removed(channel.of.door.audit, EXCHANGE, "deleted", name)
    channel.until(pending, channel.answers(methods.ExchangeDeleteOk(), method.nowait))


def _binding(method: methods.ExchangeBind | methods.ExchangeUnbind) -> Binding:
    return Binding(
        name_of(method.source), name_of(method.destination), data(method.routing_key),
        arguments_of(method.arguments), "exchange",
    )  # fmt: skip


def bind(channel: AmqpChannel, method: methods.ExchangeBind) -> None:
    pending = channel.of.vhost.bind(_binding(method), channel.of)
    channel.until(pending, channel.answers(methods.ExchangeBindOk(), method.nowait))


def unbind(channel: AmqpChannel, method: methods.ExchangeUnbind) -> None:
    pending = channel.of.vhost.unbind(_binding(method), channel.of)
    channel.until(pending, channel.answers(methods.ExchangeUnbindOk(), method.nowait))
