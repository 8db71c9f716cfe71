"""Queues: what is in them, and who consumes them.

The counts of a queue are known once it is open, so the queues of a page are opened for it, some at
a time. A queue that can't be opened is shown with the reason.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from logstore.amqp import fields
from logstore.broker.routing.refusals import NoQueue
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.vhosts import asked_for
from logstore.protocols.http.shown import arguments, binding

if TYPE_CHECKING:
    from logstore.broker.queues.lane import Lane
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.subscription import Subscription
    from logstore.broker.queues.vhost import Vhost

OPENING_MAX: Final = 4  # queues that are opened at once for a list: workers have other work


def listed(door: HttpDoor, call: Call) -> None:
    """By virtual host and name."""
    wanted, page = call.query.get("filter", b""), call.page()
    found = sorted(
        ((vhost, queue) for vhost in asked_for(call) for queue in vhost.queues()
         if wanted in queue.facts.name),
        key=lambda row: (row[0].name, row[1].facts.name),
    )  # fmt: skip
    rows = paging.part(found, page)

    def known() -> None:
        items = [_row(door, *it) for it in rows if not it[1].gone]
        call.answer(paging.paged(items, len(found), page))

    _Opening([queue for _, queue in rows], lambda: call.attempt(known)).go_on()


class _Opening:
    """Queues that are opened for a list, some at a time."""

    def __init__(self, queues: "Iterable[Queue]", done: Callable[[], None]) -> None:
        """``done`` is called once, when these are open, or have failed to be, or are gone."""
        self._left = deque(queues)
        self._done = done
        self._busy = 0
        self._inside = False

    def go_on(self) -> None:
        """Begin with some more."""
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


def _asked_for(call: Call) -> "tuple[Vhost, Queue]":
    """Raises Fault, NoVhost, NoQueue."""
    vhost, name = call.vhost(), call.names["name"]
    queue = vhost.topology.queue(name)
    if queue is None:
        raise NoQueue(name)
    return vhost, queue


def described(door: HttpDoor, call: Call) -> None:
    """One, with its lanes and what becomes of its dead letters; raises NoVhost, NoQueue."""
    vhost, queue = _asked_for(call)

    def known() -> None:
        if queue.gone:
            raise NoQueue(queue.facts.name)
        about = _row(door, vhost, queue)
        about["lanes"] = [_lane(door, it) for it in queue.stock.order]
        about["dead_letters"] = _dead_letters(queue)
        call.answer(about)

    queue.when_open(lambda: call.attempt(known))


def bindings(door: HttpDoor, call: Call) -> None:
    """To it; the first is by its own name from the default exchange. Raises NoVhost, NoQueue."""
    vhost, queue = _asked_for(call)
    found = list(vhost.topology.bindings_to(queue.facts.name))
    call.answer(paging.shown(found, call.page(), binding))


def consumers(door: HttpDoor, call: Call) -> None:
    """In the order in which they are served. Raises Fault, NoVhost, NoQueue."""
    _, queue = _asked_for(call)
    found = list(queue.subscriptions)
    call.answer(paging.shown(found, call.page(), lambda it: _consumer(queue, it)))


def _row(door: HttpDoor, vhost: "Vhost", queue: "Queue") -> dict[str, Any]:
    facts, lanes = queue.facts, queue.stock.order
    return {
        "vhost": fields.text(vhost.name),
        "name": fields.text(facts.name),
        "durable": facts.durable,
        "exclusive": facts.exclusive,
        "auto_delete": facts.auto_delete,
        "arguments": arguments(facts.arguments),
        "ready": queue.ready,
        "unacked": queue.out,
        "consumers": len(queue.subscriptions),
        "bytes": sum(_bytes(door, it) for it in lanes),
        "error": None if queue.failed is None else str(queue.failed),
    }


def _bytes(door: HttpDoor, lane: "Lane") -> int:
    return 0 if lane.log is None else door.log_bytes(lane.log)


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


def _dead_letters(queue: "Queue") -> dict[str, Any]:
    limits = queue.limits
    to, key = limits.dead_letter_exchange, limits.dead_letter_key
    return {
        "exchange": None if to is None else fields.text(to),
        "routing_key": None if key is None else fields.text(key),
        "strategy": "at-least-once" if limits.at_least_once else "at-most-once",
        "here": len(queue.dead_letters),  # that have died, and are not safe elsewhere yet
        "dropped": queue.dead_letters.dropped,
    }


def _consumer(queue: "Queue", consumer: "Subscription") -> dict[str, Any]:
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
