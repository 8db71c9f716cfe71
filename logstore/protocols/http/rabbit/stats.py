"""Counters in RabbitMQ's form: of one queue, and of everything through the AMQP door.

A queue's rates of published, delivered and acknowledged messages are measured over the last ten
seconds. The kinds of delivery are only counted, not measured over time: the rate of each kind is
its share of the rate of deliveries.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.named import Named
    from logstore.counts.queues import QueueCounts

QUEUE: Final = "queue"
AMQP: Final = "amqp"
_Numbers = dict[str, int]


def _given(counts: "QueueCounts") -> _Numbers:
    return {
        "deliver": counts.delivered,
        "deliver_get": counts.given_out,
        "deliver_no_ack": counts.delivered_no_ack,
        "get": counts.got,
        "get_no_ack": counts.got_no_ack,
        "redeliver": counts.redelivered,
    }


def _with_rates(numbers: Mapping[str, int], rates: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, number in numbers.items():
        found[name] = number
        found[f"{name}_details"] = {"rate": rates.get(name, 0.0)}
    return found


def of_queue(door: HttpDoor, queue: "Named") -> dict[str, Any]:
    counts = queue.counts
    known = {name: it or 0.0 for name, it in door.figures.rates(QUEUE, queue.id).items()}
    given, out = _given(counts), known["out"]
    total = given["deliver_get"]
    rates = {name: out * it / total if total else 0.0 for name, it in given.items()}
    rates |= {"publish": known["in"], "ack": known["ack"]}
    numbers = given | {
        "publish": counts.published, "ack": counts.acked, "get_empty": counts.got_empty,
    }  # fmt: skip
    return _with_rates(numbers, rates)


def rate(door: HttpDoor, queue: "Named", way: str) -> float:
    """Messages a second: ``in``, ``out`` or ``ack``."""
    return door.figures.rates(QUEUE, queue.id)[way] or 0.0


def idle_since(door: HttpDoor, queue: "Named") -> str | None:
    """The time since which the queue is idle; None: it is active, or that is unknown."""
    since_ms = door.figures.idle_since_ms(QUEUE, queue.id)
    if since_ms is None:
        return None
    return datetime.fromtimestamp(since_ms / 1000, UTC).isoformat(timespec="milliseconds")


def of_messages(door: HttpDoor) -> dict[str, Any]:
    """The counters of all queues, including deleted ones, and of publishing."""
    amqp, totals = door.figures.amqp, door.figures.queues
    numbers = _given(totals) | {
        "ack": totals.acked,
        "confirm": amqp.confirmed,
        "disk_reads": 0,
        "disk_writes": totals.published,
        "drop_unroutable": amqp.dropped,
        "get_empty": totals.got_empty,
        "publish": amqp.received,
        "return_unroutable": amqp.returned,
    }
    return _with_rates(numbers, door.meter.rates("messages", door.stopwatch(), numbers))


def of_churn(door: HttpDoor) -> dict[str, Any]:
    """The counters of opened and closed, created and deleted objects."""
    amqp, totals, counts = door.figures.amqp, door.figures.queues, door.figures.door(AMQP)
    numbers = {
        "channel_closed": amqp.channels_closed,
        "channel_created": amqp.channels_opened,
        "connection_closed": counts.closed,
        "connection_created": counts.opened,
        "queue_created": totals.created,
        "queue_declared": amqp.queues_declared,
        "queue_deleted": totals.deleted,
    }
    return _with_rates(numbers, door.meter.rates("churn", door.stopwatch(), numbers))
