"""The rights that operations on queues need, in RabbitMQ's order, whichever door is used.

Rights are checked before anything is looked up, so that a user without rights does not learn which
objects exist.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from logstore.access.resources import CREATE, DELETE, EXCHANGE, QUEUE, READ, WRITE, of_target
from logstore.amqp.fields import data
from logstore.broker.policies import STREAM
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, RESERVED_PREFIX
from logstore.protocols.rabbit_permits import Ask, AskKey, Unless, is_topic


def of_stream(vhost: Vhost, operation: str, name: bytes) -> Iterator[Unless]:
    """What is asked besides of a queue's name under which there is a stream."""
    named = vhost.topology.queue(name)
    if named is not None and named.topic_name is not None:
        kind, topic = of_target(named.topic_name, vhost.keeps_history, channel=False)
        yield Unless(operation, kind, data(topic))


def _declare_stream(vhost: Vhost, name: bytes) -> Iterator[Ask | Unless]:
    """A topic that is there is given to whoever has rights to the queue: so he must have all."""
    found = vhost.topic_of_new(name)
    if found is None:
        return
    kind, topic = of_target(found[0], vhost.keeps_history, channel=False)
    if found[1]:
        for operation in (READ, WRITE, DELETE):
            yield Ask(operation, kind, data(topic))
    else:
        yield Unless(CREATE, kind, data(topic))


def to_declare(vhost: Vhost, name: bytes, arguments: Mapping[str, Any]) -> Iterator[Ask | Unless]:
    """A queue, which may be there. ``arguments``: as a table has them."""
    there = bool(name) and vhost.topology.queue(name) is not None
    if not there and name.startswith(RESERVED_PREFIX):
        return  # refused whoever asks
    name = name or vhost.new_name()  # not the one that it will get; as good to judge by
    yield Ask(CREATE, QUEUE, name)
    dead = arguments.get("x-dead-letter-exchange")
    if isinstance(dead, str) and not there:
        yield Ask(READ, QUEUE, name)
        yield Ask(WRITE, EXCHANGE, data(dead))
    if not there and arguments.get("x-queue-type") == STREAM:
        yield from _declare_stream(vhost, name)


def to_bind(vhost: Vhost, binding: Binding) -> Iterator[Ask | AskKey | Unless]:
    """A queue to an exchange, or to have it not any more."""
    yield Ask(WRITE, QUEUE, binding.destination)
    yield from of_stream(vhost, WRITE, binding.destination)
    if binding.source != DEFAULT_EXCHANGE:
        yield Ask(READ, EXCHANGE, binding.source)
        if is_topic(vhost.topology, binding.source):
            yield AskKey(READ, binding.source, binding.key)


def to_delete(vhost: Vhost, name: bytes) -> Iterator[Ask | Unless]:
    """A queue."""
    yield Ask(DELETE, QUEUE, name)
    yield from of_stream(vhost, DELETE, name)


def to_consume(vhost: Vhost, name: bytes) -> Iterator[Ask | Unless]:
    """The messages of a queue."""
    yield Ask(READ, QUEUE, name)
    yield from of_stream(vhost, READ, name)
