"""Whether a method or message names an unknown object that another node may have just created."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from logstore.amqp import methods
from logstore.amqp.methods import Method
from logstore.broker.queues.message import Message
from logstore.broker.queues.settling import Outgoing
from logstore.broker.queues.station import Route
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.door import REPLY_TO
from logstore.protocols.amqp.exchange import name_of, there


def _queue(channel: AmqpChannel, method: Any) -> bool:  # noqa: ANN401  one with a queue
    name = name_of(method.queue) or channel.last_queue
    return (
        bool(name)
        and not name.startswith(REPLY_TO)
        and channel.of.vhost.topology.queue(name) is None
    )


def _queue_bound(channel: AmqpChannel, method: methods.QueueBind | methods.QueueUnbind) -> bool:
    return _queue(channel, method) or not there(channel, name_of(method.exchange))


def _exchanges(*fields: str) -> Callable[[AmqpChannel, Any], bool]:
    def lack(channel: AmqpChannel, method: Any) -> bool:  # noqa: ANN401  one with these fields
        names: Iterable[str] = (getattr(method, it) for it in fields)
        return not all(there(channel, name_of(it)) for it in names)

    return lack


_exchange = _exchanges("exchange")
_both = _exchanges("source", "destination")
_LACKING: Final[dict[type, Callable[[AmqpChannel, Any], bool]]] = {
    methods.ExchangeDeclare: lambda channel, it: it.passive and _exchange(channel, it),
    methods.ExchangeDelete: _exchange,
    methods.ExchangeBind: _both,
    methods.ExchangeUnbind: _both,
    methods.QueueDeclare: lambda channel, it: it.passive and _queue(channel, it),
    methods.QueueBind: _queue_bound,
    methods.QueueUnbind: _queue_bound,
    methods.QueuePurge: _queue,
    methods.QueueDelete: _queue,
    methods.BasicConsume: _queue,
    methods.BasicGet: _queue,
}


def lacks(channel: AmqpChannel, method: Method) -> bool:
    """Whether the method names an object that this node does not know."""
    lack = _LACKING.get(type(method))
    return lack is not None and lack(channel, method)


def is_for_replies(message: Message) -> bool:
    """Whether the message is for a client that waits for replies, not for a queue."""
    return not message.exchange and message.key.startswith(REPLY_TO)


def has_to_look(channel: AmqpChannel, message: Message) -> bool:
    """Whether the exchange of a message is unknown, but may exist at another node.

    False in a transaction, whose messages are routed at once.
    """
    vhost = channel.of.vhost
    return (
        vhost.read_on is not None
        and channel.transaction is None
        and not there(channel, message.exchange)
    )


def routing(channel: AmqpChannel) -> Callable[[Message], Route]:
    """``Vhost.route``, but a message whose exchange may exist at another node gets no route."""
    route = channel.of.vhost.route
    if channel.of.vhost.read_on is None:
        return route

    def routed(message: Message) -> Route:
        return () if has_to_look(channel, message) else route(message)

    return routed


def lacks_route(run: Iterable[Outgoing]) -> bool:
    """Whether some message has no route, but another node may have declared or bound its queue."""
    return any(not to and not is_for_replies(message) for to, message in run)
