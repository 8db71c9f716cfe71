"""Queues: list, describe, declare, purge, delete.

The content of a queue is known once it is open, so the requested queues are opened. A queue that
cannot be opened is shown as ``crashed``.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access.resources import DESCRIBE, QUEUE
from logstore.amqp import fields
from logstore.broker.policies import CLASSIC
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.refusals import NoQueue
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.queues import open_all
from logstore.protocols.http.rabbit import consumers, lists, sight, stats
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT, done
from logstore.protocols.http.rabbit.asked import SHOWN_CHARACTERS, Asked
from logstore.protocols.http.rabbit.lists import Kind, Row
from logstore.protocols.http.rabbit.tables import arguments, arguments_given
from logstore.protocols.http.rabbit.words import bad_request, not_there
from logstore.protocols.http.within import Within

if TYPE_CHECKING:
    from logstore.broker.queues.lane import Lane
    from logstore.broker.queues.named import Named


class Place(NamedTuple):
    """A queue and its virtual host."""

    within: Within
    queue: "Named"


# One queue as it is shown


def plain_row(place: Place) -> Row:
    """The facts that are known without the queue's counts."""
    facts = place.queue.facts
    return {
        "arguments": arguments(facts.arguments),
        "auto_delete": facts.auto_delete,
        "durable": facts.durable,
        "exclusive": facts.exclusive,
        "name": fields.text(facts.name),
        "node": NODE,
        "state": _state(place.queue),
        "type": place.queue.facts.type_name,
        "vhost": fields.text(place.within.vhost.name),
    }


def _state(queue: "Named") -> str:
    return "running" if queue.failed is None else "crashed"


def totals_row(place: Place) -> Row:
    """The facts with the numbers of messages."""
    ready, unacked = place.queue.ready, place.queue.out
    return plain_row(place) | {
        "messages": ready + unacked,
        "messages_ready": ready,
        "messages_unacknowledged": unacked,
    }


def row(door: HttpDoor, place: Place) -> Row:
    """All facts."""
    queue, found = place.queue, totals_row(place)
    lasts = queue.facts.lasts
    count, size = found["messages"], message_bytes(door, queue)
    ready_bytes = size * queue.ready // count if count else 0
    there, policy = queue.subscriptions, queue.policy
    found |= {
        "consumer_capacity": _capacity(queue),
        "consumer_utilisation": _capacity(queue),
        "consumers": len(there),
        "effective_policy_definition": {} if policy is None else dict(policy.definition),
        "exclusive_consumer_tag": next((fields.text(it.tag) for it in there if it.exclusive), None),
        "head_message_timestamp": None,
        "memory": 0,
        "message_bytes": size,
        "message_bytes_paged_out": 0,
        "message_bytes_persistent": size if lasts else 0,
        "message_bytes_ram": 0 if lasts else size,
        "message_bytes_ready": ready_bytes,
        "message_bytes_unacknowledged": size - ready_bytes,
        "messages_paged_out": 0,
        "messages_persistent": count if lasts else 0,
        "messages_ram": 0 if lasts else count,
        "messages_ready_ram": 0 if lasts else queue.ready,
        "messages_unacknowledged_ram": 0 if lasts else queue.out,
        "operator_policy": None,
        "policy": None if policy is None else policy.name,
        "recoverable_slaves": None,
        "single_active_consumer_tag": None
        if queue.active is None
        else fields.text(queue.active.tag),
    }
    found["message_stats"] = stats.of_queue(door, queue)
    since = stats.idle_since(door, queue)
    if since is not None:
        found["idle_since"] = since
    if queue.facts.type_name != CLASSIC:
        found |= {"leader": NODE, "members": [NODE], "online": [NODE]}
    return found


def _capacity(queue: "Named") -> float:
    """The share of time in which a message would be taken immediately, at present."""
    return float(bool(queue.subscriptions) and not queue.ready)


def message_bytes(door: HttpDoor, queue: "Named") -> int:
    """The size of its messages: their share of the files, which also contain settled ones."""
    if queue.topic_name is not None:
        return sum(map(door.log_bytes, queue.logs()))
    return sum(_bytes(door, it) for it in queue.lanes)


def _bytes(door: HttpDoor, lane: "Lane") -> int:
    if lane.log is None:
        return 0
    count, there = lane.ready + lane.settlement.out, lane.log.end - lane.log.start
    return door.log_bytes(lane.log) * min(count, there) // there if there else 0


# Lists

_PLAIN_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "name": lambda it: it.queue.facts.name,
    "vhost": lambda it: it.within.vhost.name,
    "durable": lambda it: it.queue.facts.durable,
    "auto_delete": lambda it: it.queue.facts.auto_delete,
    "exclusive": lambda it: it.queue.facts.exclusive,
    "type": lambda it: it.queue.facts.type_name,
    "consumers": lambda it: len(it.queue.subscriptions),
}
# What is known of a queue once it is open.
_COUNTED_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "state": lambda it: _state(it.queue),
    "messages": lambda it: it.queue.ready + it.queue.out,
    "messages_ready": lambda it: it.queue.ready,
    "messages_unacknowledged": lambda it: it.queue.out,
}


_WAYS: Final = {"publish": "in", "deliver_get": "out", "ack": "ack"}


def _rate_keys(door: HttpDoor) -> dict[str, Callable[[Place], Any]]:
    def key(way: str) -> Callable[[Place], Any]:
        return lambda it: stats.rate(door, it.queue, way)

    return {f"message_stats.{name}_details.rate": key(way) for name, way in _WAYS.items()}


def _kind(door: HttpDoor, call: Call) -> Kind[Place]:
    """``disable_stats``: the cheapest rows."""
    if call.text("disable_stats") != "true":
        show: Callable[[Place], Row] = partial(row, door)
    else:
        show = totals_row if call.text("enable_queue_totals") == "true" else plain_row
    return Kind(
        show,
        lambda it: fields.text(it.queue.facts.name),
        lambda it: (it.within.vhost.name, it.queue.facts.name),
        _PLAIN_KEYS | _COUNTED_KEYS | _rate_keys(door),
        lambda it: it.within.may(DESCRIBE, QUEUE, it.queue.facts.name),
        lambda it: not it.queue.gone,
        lambda it: it.queue.opened,
        lambda those, then: open_all([it.queue for it in those], then),
        _COUNTED_KEYS,
    )


def listed(door: HttpDoor, call: Call) -> None:
    """List queues by virtual host and name. Raises RabbitFault."""
    rows = (
        Place(within, queue) for within in sight.those(door, call)
        for queue in list(within.vhost.queues())
    )  # fmt: skip
    lists.answer(door, call, rows, _kind(door, call))


def described(door: HttpDoor, call: Call) -> None:
    """Describe a queue with its consumers. Raises RabbitFault, Forbidden."""
    within, name = sight.to_see(door, call), call.names["name"]
    queue = existing(within, name)
    place = Place(within, queue)

    def known() -> None:
        existing(within, name)  # it may have gone meanwhile
        found = row(door, place)
        found["consumer_details"] = [
            consumers.row(consumers.Place(within, queue, it)) for it in queue.subscriptions
        ]
        found |= {"deliveries": [], "incoming": []}
        call.answer(lists.picked_columns(found, lists.columns_of(call)))

    queue.when_open(lambda: call.attempt(known))


def existing(within: Within, name: bytes) -> "Named":
    """Raises RabbitFault, Forbidden."""
    try:
        return within.queue(name)
    except NoQueue:
        raise not_there() from None


# What is done with them


def declared(door: HttpDoor, call: Call) -> None:
    """Declare a queue. Raises RabbitFault, and the model's refusals."""
    within, name = sight.to_use(door, call), sight.new_name(call.names["name"])
    if not name:
        raise bad_request("a queue is declared by its name")
    asked = Asked(call.given)
    node = asked.text("node", NODE)
    if node not in ("", NODE):
        raise bad_request(f"Node {node[:SHOWN_CHARACTERS]} could not be contacted")
    facts = QueueFacts(
        name, asked.flag("durable"), asked.flag("exclusive"), asked.flag("auto_delete"),
        arguments_given(asked.get("arguments")),
    )  # fmt: skip
    status = NO_CONTENT if within.vhost.topology.queue(name) is not None else CREATED
    within.declare_queue(facts, done(call, status))


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a queue. Raises RabbitFault, Forbidden, ConsumersThere, NotEmpty, Locked."""
    within = sight.to_use(door, call)
    unused, empty = (call.text(it) == "true" for it in ("if-unused", "if-empty"))
    try:
        within.delete_queue(call.names["name"], done(call), if_unused=unused, if_empty=empty)
    except NoQueue:
        raise not_there() from None


def purged(door: HttpDoor, call: Call) -> None:
    """Delete all ready messages. Raises RabbitFault, Forbidden, Locked."""
    try:
        sight.to_use(door, call).purge(call.names["name"], done(call))
    except NoQueue:
        raise not_there() from None


def actions(door: HttpDoor, call: Call) -> None:
    """Synchronise mirrors: there are none, so it does nothing. Raises RabbitFault, Forbidden."""
    existing(sight.to_use(door, call), call.names["name"])
    action = Asked(call.given).text("action")
    if action not in ("sync", "cancel_sync"):
        raise bad_request(["unknown", action[:SHOWN_CHARACTERS]])
    call.done(NO_CONTENT)
