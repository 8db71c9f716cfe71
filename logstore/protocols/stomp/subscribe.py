"""SUBSCRIBE and UNSUBSCRIBE: the queues behind destinations, and their consumers."""

from base64 import urlsafe_b64encode
from hashlib import md5
from struct import Struct
from typing import Final

from logstore.access.audit import QUEUE as AUDIT_QUEUE
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending, both
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.protocols.rabbit_asks import to_bind, to_consume, to_delete
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.mapping import (
    SHORT_BYTES_MAX,
    consumer_arguments,
    is_durable,
    number,
)
from logstore.protocols.stomp.send import declare, destination_of, queue_facts
from logstore.protocols.stomp.subscription import ACKS, AUTO, StompSubscription
from logstore.stomp.destinations import TEMP_PREFIX, Destination, Kind
from logstore.stomp.faults import StompFault, invalid_header
from logstore.stomp.frames import Frame, Headers, data, shown

PREFETCH_MAX: Final = 65_535  # AMQP's: a short
PRIORITY: Final = range(-(1 << 31), 1 << 31)
SUBSCRIPTIONS_MAX: Final = 2047  # of one connection: as many as AMQP has channels
_QUEUE_PREFIX: Final = b"stomp-subscription-"
_PAIR: Final = b"\x83h\x02"  # a tuple of two, in Erlang's external term format
_BINARY: Final = Struct(">cI")


def subscribe(of: StompClient, frame: Frame) -> None:
    """Carry out a SUBSCRIBE. Raises StompFault and the errors of queues."""
    headers = frame.headers
    _check_durable(headers)
    destination = destination_of(headers, "SUBSCRIBE")
    tag, id = _tag(headers, "SUBSCRIBE")
    if tag in of.subscriptions:
        raise StompFault(
            "Duplicated subscription identifier",
            f"A subscription identified by '{tag}' already exists.",
        )
    if len(of.subscriptions) >= SUBSCRIPTIONS_MAX:
        raise StompFault("Too many subscriptions", f"at most {SUBSCRIPTIONS_MAX} of one connection")
    ack = headers.get("ack", AUTO)
    if ack not in ACKS:
        raise invalid_header(f"ack takes {', '.join(ACKS)}, not '{shown(ack)}'")
    priority = number(headers, "x-priority") or 0
    if priority not in PRIORITY:
        raise invalid_header(f"x-priority takes 32 bits, not {priority}")
    prefetch = min(max(number(headers, "prefetch-count") or 0, 0), PREFETCH_MAX)
    wanted = arguments_of(consumer_arguments(headers))
    queue, pending = _source(of, destination, headers)
    of.require(to_consume(of.vhost, queue.facts.name))
    subscription = StompSubscription(
        of, of, queue, tag, shown=id, ack=ack, prefetch=prefetch, priority=priority,
        arguments=wanted, of_topic=destination.kind is Kind.TOPIC,
    )  # fmt: skip
    queue.subscribe(subscription)
    of.subscriptions[tag] = subscription
    of.done(headers, pending)


def _check_durable(headers: Headers) -> None:
    if is_durable(headers) and "id" not in headers:
        raise StompFault("Missing Header", "Header 'id' is required for durable subscriptions")


def _tag(headers: Headers, command: str) -> tuple[str, str | None]:
    """The subscription's tag, and the id that the client gave it. Raises StompFault."""
    id = headers.get("id")
    if id is None:
        given = headers.get("destination")
        if given is None:
            raise StompFault(
                "Missing destination or id",
                f"{command} must include a 'destination' or 'id' header",
            )
        return f"Q_{given}", None
    if id.startswith(TEMP_PREFIX):
        raise StompFault("Invalid id", f"{command} 'id' may not start with {TEMP_PREFIX}\n")
    if len(data(id)) > SHORT_BYTES_MAX - 2:
        raise invalid_header(f"id takes at most {SHORT_BYTES_MAX - 2} bytes: '{shown(id)}...'")
    return f"T_{id}", id


def _source(
    of: StompClient, destination: Destination, headers: Headers
) -> tuple[Named, Pending | None]:
    """The queue of a destination, declared and bound if necessary."""
    if destination.kind in (Kind.AMQ_QUEUE, Kind.REPLY_QUEUE):
        queue = of.vhost.queue(destination.name, of)
        queue.used()
        return queue, None
    if destination.kind is Kind.QUEUE:
        return declare(of, queue_facts(destination, destination.name, headers))
    exchange, key = destination.routing
    of.vhost.topology.exchange(exchange)  # otherwise an unbound queue would remain
    name = _queue_name(of, destination, headers)
    facts = queue_facts(destination, name, headers)
    binding = Binding(exchange, name, key)
    of.require(to_bind(of.vhost, binding))
    queue, pending = declare(of, facts)
    bound = of.vhost.bind(binding, of)
    if pending is None or bound is None:
        return queue, pending or bound
    return queue, both(pending, bound)


def _queue_name(of: StompClient, destination: Destination, headers: Headers) -> bytes:
    given = headers.get("x-queue-name")
    if given is not None:
        name = data(given)
        if len(name) > SHORT_BYTES_MAX:
            raise invalid_header(
                f"x-queue-name takes at most {SHORT_BYTES_MAX} bytes: '{shown(given)}...'"
            )
        return name
    if is_durable(headers):
        return durable_name(destination.routing[1], data(headers["id"]))
    return _QUEUE_PREFIX + of.door.token().encode()


def durable_name(key: bytes, id: bytes) -> bytes:
    """The queue of a durable subscription, named as in RabbitMQ 4, so that its clients find it.

    The name contains a hash of the pair in Erlang's encoding.
    """
    pair = _PAIR + b"".join([_BINARY.pack(b"m", len(it)) + it for it in (key, id)])
    digest = md5(pair, usedforsecurity=False).digest()
    return _QUEUE_PREFIX + urlsafe_b64encode(digest).rstrip(b"=")


def unsubscribe(of: StompClient, frame: Frame) -> None:
    """Carry out an UNSUBSCRIBE; unacknowledged messages remain out. Raises StompFault, Refusal."""
    headers = frame.headers
    _check_durable(headers)
    tag, id = _tag(headers, "UNSUBSCRIBE")
    subscription = of.subscriptions.get(tag)
    if subscription is None:
        meant = f"id='{id}'" if id is not None else f"destination='{headers['destination']}'"
        raise StompFault(
            "No subscription found",
            "UNSUBSCRIBE must refer to an existing subscription.\n"
            f'Subscription to "{meant}" not found.\n',
        )
    pending = None
    if subscription.of_topic and is_durable(headers):
        name = subscription.queue.facts.name
        of.require(to_delete(of.vhost, name))
        del of.subscriptions[tag]
        subscription.queue.unsubscribe(subscription)
        _, pending = of.vhost.delete_queue(subscription.queue)
        of.permits.removed(of.door.audit, AUDIT_QUEUE, "deleted", name)
    else:
        del of.subscriptions[tag]
        subscription.queue.unsubscribe(subscription)
    of.done(headers, pending)
