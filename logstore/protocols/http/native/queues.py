"""Queues: list, describe with messages and consumers, declare, purge, delete.

The counts of a queue are known once it is open, so the queues of a requested page are opened, a few
at a time. A queue that cannot be opened is shown with the reason.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct, field

from logstore.access.resources import DELETE, READ
from logstore.amqp import fields
from logstore.broker.queues.heads import oldest_ms
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.refusals import ConsumersThere, NotEmpty
from logstore.broker.routing.refusals import NoQueue
from logstore.counts.queues import NAMES
from logstore.errors import LogstoreError
from logstore.figures.ring import STEP_S
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, Listed, listed, show
from logstore.protocols.http.native.asked import asked, new_name, table_of
from logstore.protocols.http.native.bindings import AS_MADE
from logstore.protocols.http.replies.shown import arguments, binding, repeats
from logstore.protocols.http.within import Emptied, Within, each, within

if TYPE_CHECKING:
    from logstore.broker.queues.lane import Lane
    from logstore.broker.queues.named import Named
    from logstore.broker.queues.subscription import Subscription

OPENING_MAX: Final = 4  # queues that are opened at once for a list: workers have other work
CREATED: Final = 201


class QueueDeclare(Struct, forbid_unknown_fields=True):
    """A queue to declare. ``arguments``: as in AMQP, such as x-max-priority."""

    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


class QueueDelete(Struct, forbid_unknown_fields=True):
    """``dry_run``: report what would be deleted, and delete nothing."""

    if_unused: bool = False
    if_empty: bool = False
    dry_run: bool = False


class QueuePurge(Struct, forbid_unknown_fields=True):
    """``dry_run``: report how many messages would be deleted, and delete nothing."""

    dry_run: bool = False


class Row(NamedTuple):
    """A queue and its virtual host."""

    vhost: Within
    queue: "Named"


def columns(door: HttpDoor) -> Columns[Row]:
    """The columns for sorting. Counts are correct once a queue was opened, rates once they are
    known.
    """

    def rate(name: str) -> Callable[[Row], float]:
        return lambda it: door.figures.rates("queue", it.queue.id)[name] or 0.0

    return Columns(
        name=lambda it: fields.text(it.queue.facts.name),
        by={
            "name": lambda it: it.queue.facts.name,
            "vhost": lambda it: it.vhost.vhost.name,
            "ready": lambda it: it.queue.ready,
            "unacked": lambda it: it.queue.out,
            "messages": lambda it: it.queue.ready + it.queue.out,
            "consumers": lambda it: len(it.queue.subscriptions),
            "state": lambda it: _state(it.queue),
            "dropped": lambda it: it.queue.dropped,
            "in_per_s": rate("in"),
            "out_per_s": rate("out"),
            "ack_per_s": rate("ack"),
        },
        default=lambda it: (it.vhost.vhost.name, it.queue.facts.name),
    )


# Looking at them


def list_(door: HttpDoor, call: Call) -> None:
    """List queues by virtual host and name, unless another column is requested."""
    rows = (Row(host, it) for host in each(door, call) for it in list(host.vhost.queues()))

    def found(page: Listed[Row]) -> None:
        open_all(
            [it.queue for it in page.rows], lambda: call.attempt(lambda: _list(door, call, page))
        )

    listed(door, call, rows, columns(door), found, lambda it: it.vhost.sees_queue(it.queue))


def _list(door: HttpDoor, call: Call, page: Listed[Row]) -> None:
    rows = [it for it in page.rows if not it.queue.gone]
    _with_ages(door, [it.queue for it in rows], lambda ages: call.answer(
        page.paged([_row(door, it, age) for it, age in zip(rows, ages, strict=True)])
    ))  # fmt: skip


class _Opening:
    """Queues that are opened for a list, a few at a time."""

    def __init__(self, queues: "Iterable[Named]", done: Callable[[], None]) -> None:
        self._left = deque(queues)
        self._done = done
        self._busy = 0
        self._inside = False

    def go_on(self) -> None:
        """Begin to open a few more."""
        if self._inside:  # one that was open already
            return
        self._inside = True
        while self._left and self._busy < OPENING_MAX:
            self._busy += 1
            self._left.popleft().when_open(self._opened)
        self._inside = False
        if not self._busy:
            self._done()

    def _opened(self) -> None:
        self._busy -= 1
        self.go_on()


def open_all(queues: "Iterable[Named]", done: Callable[[], None]) -> None:
    """``done`` is called once, when all of these are open, failed or deleted."""
    _Opening(queues, done).go_on()


def described(door: HttpDoor, call: Call) -> None:
    """Describe a queue, with its lanes and dead letters. Raises NoVhost, NoQueue."""
    host = within(door, call)
    queue = host.queue(call.names["name"])

    def known() -> None:
        if queue.gone:
            raise NoQueue(queue.facts.name)
        _with_ages(door, [queue], lambda ages: call.answer(_about(door, Row(host, queue), ages[0])))

    queue.when_open(lambda: call.attempt(known))


def bindings(door: HttpDoor, call: Call) -> None:
    """List bindings to it; the first is its own name at the default exchange. Raises NoVhost,
    NoQueue.
    """
    host = within(door, call)
    queue = host.queue(call.names["name"])
    found = list(host.vhost.topology.bindings_to(queue.facts.name))
    show(door, call, found, AS_MADE, binding, host.sees)


def consumers(door: HttpDoor, call: Call) -> None:
    """List consumers in the order of delivery. Raises Fault, NoVhost, NoQueue."""
    queue = within(door, call).queue(call.names["name"])
    found = list(queue.subscriptions)
    call.answer(paging.shown(found, call.page(), lambda it: _consumer(queue, it)))


# As JSON


def _row(door: HttpDoor, row: Row, oldest_ms: int | None) -> dict[str, Any]:
    queue = row.queue
    facts = queue.facts
    return {
        "vhost": fields.text(row.vhost.vhost.name),
        "name": fields.text(facts.name),
        "type": facts.type_name,
        "topic": queue.topic_name,
        "durable": facts.durable,
        "exclusive": facts.exclusive,
        "auto_delete": facts.auto_delete,
        "arguments": arguments(facts.arguments),
        "ready": queue.ready,
        "unacked": queue.out,
        "consumers": len(queue.subscriptions),
        "bytes": sum(map(door.log_bytes, queue.logs())),
        "oldest_ms": oldest_ms,
        **{f"{name}_per_s": it for name, it in door.figures.rates("queue", queue.id).items()},
        "state": _state(queue),
        "policy": None if queue.policy is None else queue.policy.name,
        "dropped": queue.dropped,
        "error": None if queue.failed is None else str(queue.failed),
    }


def _state(queue: "Named") -> str:
    if queue.failed is not None:
        return "failed"
    return "running" if queue.is_open() else "opening"


def _bytes(door: HttpDoor, lane: "Lane") -> int:
    return 0 if lane.log is None else door.log_bytes(lane.log)


def _about(door: HttpDoor, row: Row, oldest_ms: int | None) -> dict[str, Any]:
    queue = row.queue
    about = _row(door, row, oldest_ms)
    about["lanes"] = [_lane(door, it) for it in queue.lanes]
    about["dead_letters"] = _dead_letters(queue)
    about["limits"] = _limits(queue)
    about["repeats"] = repeats(getattr(queue, "repeats", None))  # a stream has none
    about["ordering"] = _ordering(queue)
    about["counts"] = {name: getattr(queue.counts, name) for name in NAMES}
    about["history"] = {"step_s": STEP_S, **door.figures.history("queue", queue.id)}
    about["bindings"] = sum(1 for _ in row.vhost.vhost.topology.bindings_to(queue.facts.name))
    return about


def _lane(door: HttpDoor, lane: "Lane") -> dict[str, Any]:
    settlement = lane.settlement
    return {
        "priority": lane.number,
        "ready": lane.ready,
        "unacked": settlement.out,
        "start": str(0 if lane.log is None else lane.log.start),
        "floor": str(settlement.floor),  # all below is settled
        "cursor": str(settlement.cursor),  # nothing from here on was given out
        "end": str(lane.end),
        "bytes": _bytes(door, lane),
        "error": None if lane.failed is None else str(lane.failed),
    }


def _dead_letters(queue: "Named") -> dict[str, Any]:
    limits = queue.limits
    to, key = limits.dead_letter_exchange, limits.dead_letter_key
    return {
        "exchange": None if to is None else fields.text(to),
        "routing_key": None if key is None else fields.text(key),
        "strategy": "at-least-once" if limits.at_least_once else "at-most-once",
        "here": queue.dying,  # that have died, and are not safe elsewhere yet
        "dropped": queue.dropped,
    }


def _ordering(queue: "Named") -> dict[str, Any] | None:
    limits = queue.limits
    if limits.ordering_key is None:
        return None
    ordering = queue.stock.in_order.ordering  # type: ignore[attr-defined]  # no stream has one
    return {
        "key": fields.text(limits.ordering_key),
        "prefetch": limits.ordering_prefetch,
        "keys": ordering.keys,
        "waiting": ordering.waiting,
    }


def _limits(queue: "Named") -> dict[str, Any]:
    """The effective limits by arguments and policy; None: no such limit."""
    limits = queue.limits
    return {
        "message_ttl_ms": limits.ttl_ms,
        "expires_ms": limits.expires_ms,
        "max_length": limits.max_length,
        "max_length_bytes": limits.max_bytes,
        "overflow": limits.overflow.decode(),
        "max_priority": limits.max_priority,
        "delivery_limit": limits.delivery_limit,
        "consumer_timeout_ms": limits.consumer_timeout_ms,
        "retention_ms": limits.retention_ms,
        "retention_bytes": limits.retention_bytes,
    }


def _consumer(queue: "Named", consumer: "Subscription") -> dict[str, Any]:
    return {
        "tag": fields.text(consumer.tag),
        "channel": consumer.channel.name,
        "no_ack": consumer.no_ack,
        "exclusive": consumer.exclusive,
        "priority": consumer.priority,
        "prefetch": consumer.prefetch,
        "unacked": consumer.channel.unacked.of(consumer),
        "active": not queue.limits.single_active or queue.active is consumer,
    }


def _with_ages(
    door: HttpDoor, queues: "Sequence[Named]", then: Callable[[Sequence[int | None]], None]
) -> None:
    """Add the publishing time of the first ready message of each queue; None if unknown.

    A worker reads it, because the message of a queue that was idle for long is on disk.
    """
    heads = [queue.heads() for queue in queues]
    if not any(heads):
        then([None] * len(heads))
        return
    door.work(lambda: [oldest_ms(it) for it in heads], then)


# Changing them


def declared(door: HttpDoor, call: Call) -> None:
    """Declare a queue. Raises Fault, Forbidden, NoVhost, QueueDiffers, InvalidQueueArgument."""
    host, given = within(door, call), asked(call, QueueDeclare)
    name = new_name(call.names["name"])
    facts = QueueFacts(name, given.durable, False, given.auto_delete, table_of(given.arguments))
    new = host.vhost.topology.queue(name) is None

    def kept(queue: "Named | LogstoreError") -> None:
        if isinstance(queue, LogstoreError):
            call.fail(queue)
        else:
            call.answer(_row(door, Row(host, queue), None), CREATED if new else 200)

    host.declare_queue(facts, kept)


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a queue and its messages. Raises Fault, Forbidden, NoVhost, NoQueue, Locked."""
    host, given = within(door, call), asked(call, QueueDelete)
    queue = host.own_queue(call.names["name"], DELETE)

    def open_() -> None:
        if queue.gone:
            raise NoQueue(queue.facts.name)
        if given.if_unused and queue.subscriptions:
            raise ConsumersThere(queue.facts.name)
        if given.if_empty and queue.not_known is not None:
            raise queue.not_known
        if given.if_empty and queue.ready:
            raise NotEmpty(queue.facts.name)
        about = {
            "vhost": fields.text(host.vhost.name), "name": fields.text(queue.facts.name),
            "ready": queue.ready, "unacked": queue.out, "consumers": len(queue.subscriptions),
            "bindings": len(list(host.vhost.topology.bindings_to(queue.facts.name))) - 1,
            "dry_run": given.dry_run,
        }  # fmt: skip
        if given.dry_run:
            call.answer(about)
            return

        def gone(found: Emptied | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                call.fail(found)
            else:
                call.answer(about | {"ready": found.ready})

        host.delete_queue(
            queue.facts.name, gone, if_unused=given.if_unused, if_empty=given.if_empty
        )

    queue.when_open(lambda: call.attempt(open_))


def purged(door: HttpDoor, call: Call) -> None:
    """Delete all ready messages. Raises Fault, Forbidden, NoVhost, NoQueue, Locked."""
    host, given = within(door, call), asked(call, QueuePurge)
    queue = host.own_queue(call.names["name"], READ)

    def answer(found: Emptied | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer({"purged": found.ready, "dry_run": given.dry_run})

    if given.dry_run:
        queue.when_open(lambda: answer(queue.failed or Emptied(queue.ready)))
    else:
        host.purge(queue.facts.name, answer)
