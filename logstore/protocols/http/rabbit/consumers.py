"""Consumers of queues, with their channels."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access.resources import DESCRIBE, QUEUE
from logstore.amqp import fields
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.tables import arguments
from logstore.protocols.http.within import Within

if TYPE_CHECKING:
    from logstore.broker.queues.named import Named
    from logstore.broker.queues.subscription import Channel, Subscription


class Place(NamedTuple):
    """A consumer and its queue."""

    within: Within
    queue: "Named"
    consumer: "Subscription"


def row(place: Place) -> lists.Row:
    queue, consumer = place.queue, place.consumer
    single = queue.limits.single_active
    active = not single or queue.active is consumer
    timeout_ms = consumer.timeout_ms or queue.limits.consumer_timeout_ms or 0
    return {
        "ack_required": not consumer.no_ack,
        "active": active,
        "activity_status": "up" if not single else "single_active" if active else "waiting",
        "arguments": arguments(consumer.arguments),
        "channel_details": details(consumer.channel),
        "consumer_tag": fields.text(consumer.tag),
        "consumer_timeout": timeout_ms,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "queue": {
            "name": fields.text(queue.facts.name),
            "vhost": fields.text(place.within.vhost.name),
        },
    }


def details(channel: "Channel") -> dict[str, Any]:
    """The channel's details for a client's consumer; empty for others."""
    whose = channel.whose
    if whose is None:
        return {}
    return {
        "connection_name": whose.connection,
        "name": channel.name,
        "node": NODE,
        "number": whose.number,
        "peer_host": whose.host,
        "peer_port": whose.port,
        "user": whose.user,
    }


_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "consumer_tag": lambda it: it.consumer.tag,
    "prefetch_count": lambda it: it.consumer.prefetch,
    "queue.name": lambda it: it.queue.facts.name,
    "queue.vhost": lambda it: it.within.vhost.name,
}
KIND: Final[lists.Kind[Place]] = lists.Kind(
    row,
    lambda it: fields.text(it.consumer.tag),
    lambda it: (it.within.vhost.name, it.queue.facts.name),  # then as they are served
    _KEYS,
    lambda it: it.within.may(DESCRIBE, QUEUE, it.queue.facts.name),
    lambda it: not it.queue.gone,
)


def listed(door: HttpDoor, call: Call) -> None:
    """List consumers by virtual host and queue, then in order of delivery. Raises RabbitFault."""
    rows = (
        Place(within, queue, it) for within in sight.those(door, call)
        for queue in list(within.vhost.queues()) for it in list(queue.subscriptions)
    )  # fmt: skip
    lists.answer(door, call, rows, KIND)
