"""Other nodes' volatile queues at this node: known, routed to, and used over the link.

A queue whose name another queue has here is not visible until that one is deleted; a binding waits
until its exchange exists here. A visible queue is a roaming queue whose seat is at its own node,
where its messages are sent.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from logstore.amqp.fields import text
from logstore.broker.queues.away.owner import Owner
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.roaming.nowhere import Nowhere
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.roaming.seat import Seat
from logstore.broker.queues.vhost import Vhost
from logstore.broker.queues.volatile.outlet import FarOutlet, Way
from logstore.broker.queues.volatile.words import (
    ANEW,
    BEGINS,
    CHANGE,
    ON,
    TABLE,
    WHOLE,
    Bound,
    Came,
    Gone,
    Item,
    item_bytes,
    items,
    put_head,
)
from logstore.broker.routing.binding import Binding
from logstore.counts.queues import QueueTotals
from logstore.errors import ClusterUnreachable, LogstoreError
from logstore.kept.keeping import ReadOn
from logstore.relay.wire import Source

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

LOST_S: Final = 6.0  # that a node's queues stay without a link: as long as its silence is borne
AGAIN_S: Final = 1.0  # until a node is asked again that has refused to say what it has
LEAVING_MAX: Final = 100  # queues that go in one turn

log: Final = logging.getLogger("logstore.queues")

Key = tuple[bytes, bytes]  # virtual host, and a queue's name


class Reached(Protocol):
    """The other nodes that this node reaches."""

    def owner(self, node: bytes) -> Owner | None:
        """Return the owner object of the node; None: the node is not reachable now."""

    def seat_with(self, queue: RoamingQueue, vhost: bytes, node: bytes) -> Seat | None:
        """Return the seat of a queue at the node; None: the node is not reachable now."""


class Around(Protocol):
    """The surroundings."""

    def soon(self, call: Callable[[], object]) -> object: ...
    def after(self, seconds: float, call: Callable[[], object]) -> object: ...
    def clock(self) -> int: ...
    def parked(self, size: int) -> None:
        """As Opener.parked."""


class _Entry:
    """One queue of another node."""

    __slots__ = ("bindings", "came", "leaving", "queue")

    def __init__(self, came: Came) -> None:
        self.came = came
        self.bindings: dict[Binding, None] = {}
        self.queue: RoamingQueue | None = None  # where it is shown
        self.leaving = False  # its node is asked to delete it


class Others:
    """The other nodes' queues at one node. In the sessions' thread."""

    def __init__(self, reached: Reached, around: Around) -> None:
        self.reached = reached
        self.around = around
        self.showing = False  # what comes and goes now is no news for others
        self.queues: Queues | None = None
        self._nodes: dict[bytes, _OfNode] = {}
        self._due: dict[Key, None] = {}  # that may be shown by now

    @property
    def vhosts(self) -> Mapping[bytes, Vhost]:
        """The existing virtual hosts."""
        assert self.queues is not None
        return self.queues.vhosts

    def moved(self, node: bytes) -> None:
        """Handle that the node became reachable or unreachable, or that its queues need
        new seats.
        """
        its = self._nodes.get(node)
        if its is None:
            its = self._nodes[node] = _OfNode(node, self)
        its.moved()

    def forget(self, node: bytes) -> None:
        """Remove a node that has left the cluster."""
        its = self._nodes.pop(node, None)
        if its is not None:
            its.leave()

    def freed(self, key: Key) -> None:
        """Note that no queue has this name any more."""
        if any(key in it.entries for it in self._nodes.values()):
            self._due[key] = None
            self.around.soon(self._show_due)

    def _show_due(self) -> None:
        due, self._due = self._due, {}
        for key in due:
            for it in self._nodes.values():
                it.show(key)

    def vhost_came(self, name: bytes) -> None:
        """Note that a virtual host is about to exist here; other nodes may have queues in it."""
        keys = [key for it in self._nodes.values() for key in it.entries if key[0] == name]
        if keys:
            self._due.update(dict.fromkeys(keys))
            self.around.soon(self._show_due)

    def exchange_came(self, vhost: bytes, name: bytes) -> None:
        """Add the bindings of other nodes' queues to a new exchange."""
        for it in self._nodes.values():
            it.join_waiting(vhost, name)

    def change(
        self, vhost: Vhost, queue: RoamingQueue, binding: Binding, *, there: bool
    ) -> Pending:
        """Make or remove a binding of a queue at the node that has the queue."""
        for it in self._nodes.values():
            if it.has(queue):
                return it.change(Bound(vhost.name, binding, there))
        pending = Pending()
        pending.finish(ClusterUnreachable(f"queue {text(queue.facts.name)!r} has just gone"))
        return pending


class _OfNode:
    """The queues of one node; the ``Roamers`` of those that are visible."""

    def __init__(self, node: bytes, of: Others) -> None:
        self.entries: dict[Key, _Entry] = {}
        self._node = node
        self._of = of
        self._asking = False
        self._gone = False
        self._shown: dict[RoamingQueue, _Entry] = {}
        self._waiting: dict[Key, dict[Binding, _Entry]] = {}  # by virtual host and exchange
        self._stale: dict[Key, _Entry] = {}  # not repeated yet since the node restarted its table
        self._stale_bindings: set[tuple[bytes, Binding]] = set()
        self._leaving: list[_Entry] = []
        self._is_lost = False
        self._lost = 0  # how often it was, and came again
        name = node.decode("utf-8", "backslashreplace")
        self._way = Way(name, partial(of.reached.owner, node), of.around.parked)

    # Its link

    def moved(self) -> None:
        """As Others.moved."""
        owner = self._of.reached.owner(self._node)
        if owner is None:
            if not self._is_lost:
                self._is_lost = True
                self._of.around.after(LOST_S, partial(self._late, self._lost))
        elif self._is_lost:
            self._is_lost = False
            self._lost += 1
        self._ask()
        for queue, entry in list(self._shown.items()):
            queue.sit(self._seat(queue, entry))

    def _ask(self) -> None:
        """Ask the node for all its queues, unless it is being asked."""
        owner = self._of.reached.owner(self._node)
        if owner is not None and not self._asking and not self._gone:
            self._asking = True
            owner.ask(TABLE, ANEW, self._told)

    def _late(self, lost: int) -> None:
        if self._is_lost and lost == self._lost:
            self._leave_all()

    def leave(self) -> None:
        """As Others.forget."""
        self._gone = True
        self._leave_all()

    def _leave_all(self) -> None:
        entries, self.entries = self.entries, {}
        self._drop(entries)

    def _told(self, found: bytes | LogstoreError) -> None:
        self._asking = False
        if self._gone:
            return
        if isinstance(found, LogstoreError):
            if self._of.reached.owner(self._node) is not None:  # else a new link starts with all
                self._of.around.after(AGAIN_S, self._ask)
            return
        self._of.showing = True
        try:
            self._take(found)
        finally:
            self._of.showing = False
        owner = self._of.reached.owner(self._node)
        if owner is not None:
            self._asking = True
            owner.ask(TABLE, ON, self._told)

    def _take(self, content: bytes) -> None:
        """Apply a part of the node's table. Raises BrokenProtocol."""
        source = Source(memoryview(content))
        flags = source.number()
        if flags & BEGINS:
            self._stale = dict(self.entries)
            self._stale_bindings = {
                (vhost, it) for (vhost, _), entry in self.entries.items() for it in entry.bindings
            }
        for item in items(source):
            self._item(item)
        if flags & WHOLE:
            stale, self._stale = self._stale, {}
            for key in stale:
                del self.entries[key]
            self._drop(stale)
            bindings, self._stale_bindings = self._stale_bindings, set()
            for vhost, binding in bindings:
                self._unbound(vhost, binding)

    def _item(self, item: Item) -> None:
        match item:
            case Came():
                self._came(item)
            case Gone(vhost, name):
                entry = self.entries.pop((vhost, name), None)
                self._stale.pop((vhost, name), None)
                if entry is not None:
                    self._take_out(entry)
            case Bound(vhost, binding, True):
                self._bound(vhost, binding)
            case Bound(vhost, binding, _):
                self._unbound(vhost, binding)

    # Queues

    def _came(self, item: Came) -> None:
        key = item.vhost, item.facts.name
        self._stale.pop(key, None)
        known = self.entries.get(key)
        if known is not None and known.came.number == item.number:
            return
        if known is not None:
            self._take_out(known)
        self.entries[key] = _Entry(item)
        self.show(key)

    def show(self, key: Key) -> None:
        """Show the queue if it is known, not shown yet, and its name is free."""
        entry = self.entries.get(key)
        if entry is None or entry.queue is not None or entry.leaving:
            return
        vhost = self._of.vhosts.get(key[0])
        if vhost is None:
            self._read_on(key, entry)
        elif vhost.topology.queue(key[1]) is None:
            self._show(vhost, entry)

    def _read_on(self, key: Key, entry: _Entry) -> None:
        """Read on, then show the queue: its virtual host was created a moment ago."""
        assert self._of.queues is not None
        read_on: ReadOn | None = self._of.queues.read_on

        def known(error: LogstoreError | None) -> None:
            if self.entries.get(key) is entry and key[0] in self._of.vhosts:
                self.show(key)

        if read_on is not None:
            read_on(known)

    def _show(self, vhost: Vhost, entry: _Entry) -> None:
        number, facts = entry.came.number, entry.came.facts
        outlet = FarOutlet(self._way, put_head(vhost.name, facts.name, number))
        try:
            queue = RoamingQueue(number, facts, self, vhost.policy_of(facts), outlet)
        except LogstoreError as error:  # an argument that another logstore took
            log.error("queue %r of another node is not here: %s", facts.name, error)  # noqa: TRY400
            return
        before, self._of.showing = self._of.showing, True
        entry.queue = queue
        self._shown[queue] = entry
        vhost.follow_queue(queue)
        queue.sit(self._seat(queue, entry))
        for binding in entry.bindings:
            self._join(vhost, binding, entry)
        self._of.showing = before

    def _seat(self, queue: RoamingQueue, entry: _Entry) -> Seat:
        seat = self._of.reached.seat_with(queue, entry.came.vhost, self._node)
        return self.nowhere(queue) if seat is None else seat

    def _take_out(self, entry: _Entry) -> None:
        """Remove a queue that the node no longer has."""
        vhost = self._of.vhosts.get(entry.came.vhost)
        for binding in entry.bindings:
            self._wait_no_more(entry.came.vhost, binding)
        if vhost is not None and entry.queue is not None and not entry.queue.gone:
            before, self._of.showing = self._of.showing, True
            vhost.take(entry.queue, None)
            self._of.showing = before

    def _drop(self, entries: Mapping[Key, _Entry]) -> None:
        """Remove many queues, some in a turn."""
        self._leaving += entries.values()
        self._drop_some()

    def _drop_some(self) -> None:
        some, self._leaving = self._leaving[:LEAVING_MAX], self._leaving[LEAVING_MAX:]
        for entry in some:
            self._take_out(entry)
        if self._leaving:
            self._of.around.soon(self._drop_some)

    # Bindings

    def _bound(self, vhost: bytes, binding: Binding) -> None:
        self._stale_bindings.discard((vhost, binding))
        entry = self.entries.get((vhost, binding.destination))
        if entry is None or binding in entry.bindings:
            return
        entry.bindings[binding] = None
        there = self._of.vhosts.get(vhost)
        if there is not None and entry.queue is not None:
            self._join(there, binding, entry)

    def _join(self, vhost: Vhost, binding: Binding, entry: _Entry) -> None:
        if not vhost.topology.has_exchange(binding.source):
            self._waiting.setdefault((vhost.name, binding.source), {})[binding] = entry
            return
        try:
            if vhost.topology.join(binding):
                vhost.followed()
        except LogstoreError as error:  # its exchange is of another type here
            log.warning("a binding of another node is not here: %s", error)

    def join_waiting(self, vhost: bytes, exchange: bytes) -> None:
        """As Others.exchange_came."""
        there = self._of.vhosts.get(vhost)
        waiting = self._waiting.pop((vhost, exchange), {})
        if there is None:
            return
        before, self._of.showing = self._of.showing, True
        for binding, entry in waiting.items():
            if entry.queue is not None and binding in entry.bindings:
                self._join(there, binding, entry)
        self._of.showing = before

    def _unbound(self, vhost: bytes, binding: Binding) -> None:
        self._stale_bindings.discard((vhost, binding))
        entry = self.entries.get((vhost, binding.destination))
        self._wait_no_more(vhost, binding)
        if entry is None or binding not in entry.bindings:
            return
        del entry.bindings[binding]
        there = self._of.vhosts.get(vhost)
        if there is not None and entry.queue is not None:
            there.take(binding, None)

    def _wait_no_more(self, vhost: bytes, binding: Binding) -> None:
        key = vhost, binding.source
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.pop(binding, None) is not None and not waiting:
            del self._waiting[key]

    # What clients here change

    def has(self, queue: RoamingQueue) -> bool:
        """Whether the queue belongs to this node."""
        return queue in self._shown

    def change(self, item: Item) -> Pending:
        """Make the change at the node."""
        pending = Pending()
        owner = self._of.reached.owner(self._node)
        pending.then(lambda it: self._not_unbound(item) if it.error is not None else None)
        if owner is None:
            pending.finish(ClusterUnreachable("the node whose queue it is is not reached now"))
        else:
            owner.ask(
                CHANGE, item_bytes(item),
                lambda found: pending.finish(found if isinstance(found, LogstoreError) else None),
            )  # fmt: skip
        return pending

    def _not_unbound(self, item: Item) -> None:
        """Restore a binding that was removed here but remains at the queue's node."""
        if not isinstance(item, Bound) or item.there:
            return
        vhost = self._of.vhosts.get(item.vhost)
        entry = self.entries.get((item.vhost, item.binding.destination))
        if vhost is None or entry is None or entry.queue is None:
            return
        if item.binding in entry.bindings:
            before, self._of.showing = self._of.showing, True
            self._join(vhost, item.binding, entry)
            self._of.showing = before

    # As Roamers of a queue

    def clock(self) -> int:
        """As Roamers.clock."""
        return self._of.around.clock()

    def alarm(self, queue: RoamingQueue, at_ms: int) -> None:
        """As Roamers.alarm."""
        assert self._of.queues is not None
        self._of.queues.alarm(queue, at_ms)

    @property
    def totals(self) -> QueueTotals:
        """As Roamers.totals."""
        assert self._of.queues is not None
        return self._of.queues.totals

    def nowhere(self, queue: RoamingQueue) -> Seat:
        """As Roamers.nowhere."""
        return Nowhere(queue.facts.name)

    def left(self, queue: RoamingQueue) -> None:
        """As Roamers.left."""
        entry = self._shown.pop(queue, None)
        if entry is not None:
            entry.queue = None

    def delete_topic(
        self, queue: RoamingQueue, then: Callable[[LogstoreError | None], None]
    ) -> None:
        """As ``Roamers.delete_topic``: a client here has deleted the queue."""
        for key, entry in self.entries.items():
            if key[1] == queue.facts.name and entry.came.number == queue.id:
                self._delete(key, entry, then)
                return
        then(None)

    def _delete(
        self, key: Key, entry: _Entry, then: Callable[[LogstoreError | None], None]
    ) -> None:
        """Let the node delete the queue; if that fails the queue is shown again."""
        entry.leaving = True

        def done(pending: Pending) -> None:
            entry.leaving = False
            if self.entries.get(key) is entry:
                if pending.error is None:
                    del self.entries[key]
                    self._stale.pop(key, None)
                else:
                    self.show(key)
            then(pending.error)

        self.change(Gone(*key)).then(done)
