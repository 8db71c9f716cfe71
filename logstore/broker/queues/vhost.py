"""One virtual host: its exchanges, queues and bindings, and publishing in it.

Durable objects are also stored: each change is one change of the stored facts, and a declaration
takes effect once it is durable. Used in the sessions' thread.
"""

import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.policies import STREAM, Policies, Policy
from logstore.broker.queues.deaths import (
    MAXLEN,
    DeadLetter,
    Dying,
    dead_letter,
    encode_deaths,
    goes_in_circles,
)
from logstore.broker.queues.dying import Sent
from logstore.broker.queues.governing import Governing
from logstore.broker.queues.keeping import Rows
from logstore.broker.queues.lane import Windows
from logstore.broker.queues.limits import QueueFacts, check_equivalent, limits_of
from logstore.broker.queues.message import Content, Framed, Framing, Message, Showing
from logstore.broker.queues.named import Named
from logstore.broker.queues.opening import Logs
from logstore.broker.queues.pending import Pending, Waiting, both
from logstore.broker.queues.publishing import Published, Publishing, Run
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.refusals import (
    ConsumersThere,
    Locked,
    Nameless,
    NotEmpty,
    Replaced,
    ReservedName,
)
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.station import Route, Station, part, passes_on
from logstore.broker.queues.transaction import Holder, Transaction
from logstore.broker.queues.waited import Waited
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.change import Change
from logstore.broker.routing.exchange import RESERVED_PREFIX, ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue, UnknownType
from logstore.broker.routing.topology import Noticing, Topology
from logstore.counts.queues import QueueTotals
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import LogstoreError, Refused
from logstore.kept.keeping import ReadOn
from logstore.kept.queues import KeptTopicRoute
from logstore.kept.schedules import ScheduleKeeper

if TYPE_CHECKING:  # most have none
    from logstore.broker.queues.streams.stream import Stream
    from logstore.broker.queues.streams.streams import Streams

_T = TypeVar("_T")

SERVER_NAMED: Final = b"amq.gen-"
OWNED_AT_ONCE: Final = 300  # exclusive queues that go in one turn: 70 calls each
CIRCLES_MAX: Final = 64  # dead letters that die at once where they go, and so on

log: Final = logging.getLogger("logstore.queues")


class Host(Protocol):
    """What a virtual host needs from the process."""

    windows: Windows
    showing: Showing
    framing: Framing
    uncounted: set[Queue]  # that may refuse messages, and whose lanes were not opened yet

    @property
    def logs(self) -> Logs: ...
    @property
    def totals(self) -> QueueTotals: ...
    def clock(self) -> int: ...
    @property
    def deduplication(self) -> Deduplication: ...
    def soon(self, call: Callable[[], object]) -> None: ...
    def touched(self, queue: Queue) -> None: ...
    def used(self) -> None: ...
    def alarm(self, queue: Holder, at_ms: int) -> None: ...
    def work(self, first: Callable[[], _T], second: Callable[[_T], None]) -> None: ...

    scheduled: ScheduleCounts  # of all exchanges

    @property
    def schedules(self) -> ScheduleKeeper: ...
    @property
    def crowded(self) -> bool: ...
    def may_trim(self, holder: Holder) -> None:
        """Note that messages were settled, and the journal has it."""

    def station_gone(self, holder: Holder, forgotten: Pending | None) -> None:
        """Note that an exchange with messages is deleted.

        Its logs can be deleted once that is stored.
        """

    def seen(self, exchange: int) -> Sequence[tuple[bytes, int]]:
        """The ids that an exchange has let pass, each with the time until which it is known."""

    def forget_seen(self, exchange: int) -> None:
        """Forget the ids of a deleted exchange."""

    def next_id(self) -> int: ...
    def check_type(self, exchange_type: str) -> None:
        """Check an exchange type. Raises UnknownType if it is impossible in this process."""

    def check_numbers(self) -> None:
        """Check that there are numbers for a change. Raises ClusterUnreachable."""

    @property
    def routes(self) -> "Crossings": ...
    def keeps_history(self, name: str) -> bool:
        """Whether the topic of this name is, or would be, a channel's."""

    def commit(
        self, transaction: Transaction, then: Callable[[LogstoreError | None], None]
    ) -> bool:
        """As Holding.begin."""

    def new_queue(
        self, vhost: "Vhost", number: int, facts: QueueFacts, owner: object | None
    ) -> Queue | RoamingQueue:
        """Create a queue. Raises InvalidQueueArgument, NotAmongNodes."""

    @property
    def read_on(self) -> ReadOn | None:
        """Reads other nodes' changes before a name counts as missing; None: there are no other
        nodes.
        """

    @property
    def neighbourhood(self) -> "Neighbourhood | None":
        """The other nodes; None: there are none."""

    def declared(self, queue: Queue) -> None:
        """Note that a durable queue was declared."""

    def deleted(self, queue: Queue, forgotten: Pending | None) -> None:
        """Note that a queue is deleted; its logs can be deleted once that is stored."""

    def streams(self) -> "Streams":
        """The common part of streams. Raises Refused if streams are impossible."""

    def station_of(
        self, vhost: "Vhost", facts: ExchangeFacts, number: Callable[[], int], lanes: Sequence[int]
    ) -> Station | None:
        """The station of a new exchange, if its type has one.

        ``number``: the exchange's, once it has one. ``lanes``: its existing lanes.
        """


class Neighbourhood(Protocol):
    """Other nodes that know and use this node's non-durable queues."""

    def noticing(self, vhost: "Vhost") -> Noticing:
        """The receiver of changes in a virtual host."""

    def unknown(self) -> Pending | None:
        """Return what to wait for until other nodes know everything; None: there is nothing."""

    def change(
        self, vhost: "Vhost", queue: RoamingQueue, binding: Binding, *, there: bool
    ) -> Pending:
        """Let the queue's own node add or remove a binding of it."""


class Crossings:
    """The topics that feed exchanges of the process: none."""

    def check_binding(self, vhost: "Vhost", binding: Binding) -> None:
        """Check a new binding. Raises Circular."""

    def check_exchange(self, vhost: "Vhost", facts: ExchangeFacts) -> None:
        """Check a new exchange. Raises Circular."""

    def check_stream(self, vhost: "Vhost", name: bytes) -> None:
        """Check a stream before its declaration. Raises Circular."""

    def check_together(
        self,
        exchanges: Iterable[tuple["Vhost", ExchangeFacts]],
        streams: Iterable[tuple["Vhost", bytes]],
        bindings: Iterable[tuple["Vhost", Binding]],
        alternates: Iterable[tuple["Vhost", bytes, bytes]] = (),
    ) -> Iterator[LogstoreError | None]:
        """Check all of these new objects together, in small steps; return the error."""
        return iter(())

    def changed(self) -> None:
        """Note that exchanges, policies or topics have changed."""

    def loosened(self) -> None:
        """Note that there may be fewer bindings, durable or not."""


class Guest(Protocol):
    """A user of a virtual host that is notified of its deletion: a connection."""

    def vhost_gone(self) -> None:
        """The virtual host is deleted: nothing more can be done in it."""


class Vhost:
    """One virtual host, and the home of its queues."""

    def __init__(
        self, name: bytes, host: Host, rows: Rows, topology: Topology[Named, Station] | None = None
    ) -> None:
        self.name = name
        self.gone = False
        self.windows, self.showing = host.windows, host.showing
        self.logs, self.totals = host.logs, host.totals
        self.clock, self.soon = host.clock, host.soon
        self.deduplication = host.deduplication
        self.touched, self.used, self.alarm = host.touched, host.used, host.alarm
        self.commit, self.keeps_history = host.commit, host.keeps_history
        self.guests: dict[Guest, None] = {}
        self.holders: dict[int, Holder] = {}  # stations that have messages, by their numbers
        self._left: list[Holder] = []  # deleted queues whose end is not announced yet
        self._host = host
        self._framing = host.framing
        self._rows = rows
        self.policies = Policies()
        self.topology: Topology[Named, Station] = (
            self._new_topology() if topology is None else topology
        )
        self._governing = Governing(
            self.policies, rows.keep_policies, self.queues,
            lambda: [it.name for it in self.topology.exchanges()], self._govern, host.soon,
            rows.policy,
        )  # fmt: skip
        self._owned: dict[int, list[Queue]] = {}  # by the identity of their owners
        self._replaced: set[int] = set()  # queues that were taken before they were kept
        self._sending = 0
        # Streams, or queues of several nodes; or has had some.
        self._has_stations = False
        # Exchanges by their names, and bindings, that are not kept yet.
        self._making: dict[bytes | Binding, Pending] = {}

    def _new_topology(self) -> Topology[Named, Station]:
        return Topology(station_of=self.station_of, policy_of=self.policies.of_exchange)

    # Policies

    def set_policies(self, put: Sequence[Policy] = (), removed: Sequence[str] = ()) -> Pending:
        """As Governing.change."""
        self._host.check_numbers()
        return self._governing.change(put, removed)

    def policy_of(self, facts: QueueFacts) -> Policy | None:
        """The policy that applies to a queue."""
        return self.policies.of_queue(facts.name, facts.type_name)

    # Topic routes

    def new_route(
        self, topic: str, exchange: str, key: str, arguments: Mapping[str, Any]
    ) -> KeptTopicRoute:
        """As Rows.new_route."""
        return self._rows.new_route(topic, exchange, key, arguments)

    def keep_route(self, fact: KeptTopicRoute) -> Pending:
        """As Rows.keep_route."""
        return self._rows.keep_route(fact)

    def forget_route(self, fact: KeptTopicRoute) -> Pending:
        """As Rows.forget_route."""
        return self._rows.forget_route(fact)

    def _govern(self, it: Named | bytes) -> None:
        if isinstance(it, bytes):
            self.topology.govern(it)
            self._host.routes.changed()  # its alternate exchange may have changed
        elif not it.gone:
            policy = self.policy_of(it.facts)
            if policy != it.policy:
                before = it.limits.ttl_ms
                it.govern(policy)
                if not isinstance(it, Queue):
                    return
                if it.facts.lasts and it.limits.ttl_ms != before:
                    self._rows.keep(it)
                if it.to_be_opened and not it.opened:
                    self._host.uncounted.add(it)

    # Exchanges and bindings

    def station_of(self, facts: ExchangeFacts) -> Station | None:
        """The station of a new exchange, if its type has one."""
        name = facts.name
        lanes = self._rows.lanes.pop(name, ())
        return self._host.station_of(self, facts, lambda: self._rows.number_of(name), lanes)

    @property
    def host(self) -> Host:
        """The process, for stations."""
        return self._host

    def hold(self, holder: Holder) -> None:
        """Add a station with messages."""
        self.holders[holder.id] = holder

    def let_go(self, holder: Holder) -> None:
        """Note that a station is deleted; its messages are deleted once that is stored."""
        if self.holders.pop(holder.id, None) is not None:
            self._left.append(holder)

    def is_kept(self, exchange: bytes) -> bool:
        """Whether an exchange has a row, so that its number is known."""
        return exchange in self._rows.exchanges

    def being_kept(self, exchange: bytes) -> Pending | None:
        """The pending change of an exchange that will be durable."""
        return self._making.get(exchange)

    def declare_exchange(self, facts: ExchangeFacts) -> Pending | None:
        """As ``Topology.declare``. None: there is nothing to store. Also raises Circular."""
        self._host.check_numbers()
        if not self.topology.has_exchange(facts.name):
            self._host.check_type(facts.type_name)
            self._host.routes.check_exchange(self, facts)
        change = self.topology.declare(facts)
        self._host.routes.changed()
        return self._made(facts.name, change, lambda: self.topology.delete(facts.name))

    def delete_exchange(self, name: bytes, *, if_unused: bool = False) -> Pending | None:
        """As ``Topology.delete``."""
        change = self.topology.delete(name, if_unused=if_unused)
        self._making.pop(name, None)
        return self._kept(change)

    def bind(self, binding: Binding, owner: object | None = None) -> Pending | None:
        """As ``Topology.bind``. Also raises Locked, Circular."""
        self._host.check_numbers()
        self._host.routes.check_binding(self, binding)
        change = self.topology.bind(binding, lambda queue: _check_owner(queue, owner))
        pending = self._made(binding, change, lambda: self.topology.unbind(binding))
        around = self._host.neighbourhood
        if pending is not None or around is None:
            return pending
        queue = self._far(binding)
        if queue is None:
            return around.unknown()
        pending = around.change(self, queue, binding, there=True)

        def done(pending: Pending) -> None:
            if pending.error is not None:
                self._kept(self.topology.unbind(binding))

        pending.then(done)
        return pending

    def _far(self, binding: Binding) -> RoamingQueue | None:
        """The shared, non-durable queue to which a binding leads, if it does."""
        queue = self.topology.queue(binding.destination) if binding.kind == "queue" else None
        return queue if isinstance(queue, RoamingQueue) and not queue.facts.lasts else None

    def unbind(self, binding: Binding, owner: object | None = None) -> Pending | None:
        """As ``Topology.unbind``. Also raises Locked."""
        change = self.topology.unbind(binding, lambda queue: _check_owner(queue, owner))
        self._making.pop(binding, None)
        pending = self._kept(change)
        around, queue = self._host.neighbourhood, self._far(binding)
        if around is not None and queue is not None:
            return around.change(self, queue, binding, there=False)
        return pending

    def _made(
        self, what: bytes | Binding, change: Change, undo: Callable[[], Change]
    ) -> Pending | None:
        """The pending change that stores it, now or from an equal declaration.

        An object that cannot be stored is removed again; otherwise a later declaration would find
        it.
        """
        pending = self._kept(change)
        if pending is None:
            return self._making.get(what)
        self._making[what] = pending

        def done(pending: Pending) -> None:
            if self._making.get(what) is not pending:
                return  # it was removed, and perhaps made again
            del self._making[what]
            if pending.error is not None:
                self._kept(undo())

        pending.then(done)
        return pending

    def _kept(self, change: Change, queue: Named | None = None) -> Pending | None:
        for facts in change.gone:
            self._rows.forget_number(facts.name)
        if change.gone:
            self._host.routes.changed()
        else:
            self._host.routes.loosened()
        pending = self._rows.change(change, forget=queue)
        self._tell_left(pending)
        return pending

    def _tell_left(self, pending: Pending | None) -> None:
        left, self._left = self._left, []
        for holder in left:
            self._host.station_gone(holder, pending)

    # Queues

    def queue(self, name: bytes, owner: object | None = None) -> Named:
        """Return an existing queue or stream. Raises NoQueue, Locked."""
        queue = self.topology.queue(name)
        if queue is None:
            raise NoQueue(name)
        _check_owner(queue, owner)
        return queue

    def queues(self) -> Iterable[Named]:
        """Return all queues and streams, in no order."""
        return self._rows.queues.values()

    def durable(self, name: bytes) -> Queue | None:
        """The durable queue of this name, if it exists."""
        return _lasting(self.topology.queue(name))

    def numbered(self, number: int) -> Queue | None:
        """The queue with this number."""
        return _lasting(self._rows.queues.get(number))

    def with_lanes(self) -> Iterable[Queue]:
        """Return all queues that are not streams."""
        return (it for it in self._rows.queues.values() if isinstance(it, Queue))

    def numbers(self) -> Iterable[int]:
        """The numbers of all objects that may have lanes and settlements: queues, and stored
        exchanges.
        """
        return (*self._rows.queues, *(it.id for it in self._rows.exchanges.values()))

    def count_queues(self) -> int:
        return len(self._rows.queues)

    def declare_queue(
        self, facts: QueueFacts, owner: object | None = None
    ) -> tuple[Named, Pending | None]:
        """Declare a queue, unless an equal one already exists; returns the pending change, if any.

        An empty name stands for a new one. Raises Locked, QueueDiffers, ReservedName, Nameless,
        InvalidQueueArgument, NotOfType; for a stream also NoSuchStream, NoTopicForIt.
        """
        known = self.topology.queue(facts.name) if facts.name else None
        if known is not None:
            if known.facts.exclusive != facts.exclusive:
                raise Locked(facts.name)
            _check_owner(known, owner)
            check_equivalent(known.facts, facts)
            known.used()
            return known, known.kept
        if facts.name.startswith(RESERVED_PREFIX):
            raise ReservedName(facts.name)
        limits = limits_of(facts)  # refused before it costs a number
        if facts.type_name == STREAM:
            return self._declare_stream(facts)
        if not facts.name:
            if limits.quorum:
                raise Nameless(facts.type_name)
            facts = facts._replace(name=self.new_name())
        owner = owner if facts.exclusive else None
        queue = self._host.new_queue(self, self._host.next_id(), facts, owner)
        self._add(queue)
        if facts.lasts:
            kept = self._rows.keep(queue)
            waiting = queue.kept = Pending()
            kept.then(lambda it: self._declared(queue, it))
            kept.then(lambda it: waiting.finish(self._check_there(queue, it.error)))
            if isinstance(queue, Queue):
                self._host.declared(queue)
            queue.used()
            return queue, None if kept.done else kept
        queue.used()
        around = self._host.neighbourhood
        return queue, None if around is None else around.unknown()

    def _check_there(self, queue: Named, error: LogstoreError | None) -> LogstoreError | None:
        """Return why messages to it were not stored: ``error``, or another node's queue has its
        name.
        """
        if queue.id in self._replaced:
            self._replaced.discard(queue.id)
            error = error or Replaced(queue.facts.name)
        return error

    def _declare_stream(self, facts: QueueFacts) -> tuple[Named, Pending]:
        """Declare a stream. The topic is created first, because there is no stream without one."""
        from logstore.broker.queues.streams.made import made

        streams = self._host.streams()
        self._host.routes.check_stream(self, facts.name)
        stream, opening = made(streams, self._host.next_id, facts, self)
        stream.kept = kept = Pending()
        self._add(stream)
        kept.then(lambda it: self._declared(stream, it))

        def made_(opening: Pending) -> None:
            if opening.error is not None or stream.gone:
                kept.finish(self._check_there(stream, opening.error))
            else:
                keeping = self._rows.keep(stream)
                keeping.then(lambda it: kept.finish(self._check_there(stream, it.error)))

        opening.then(made_)
        return stream, kept

    def topic_of_new(self, stream: bytes) -> tuple[str, bool] | None:
        """The topic of a new stream with this name, and whether it exists; None: impossible.

        Also None in a process without topics.
        """
        from logstore.broker.queues.streams.topic_of import topic_name

        try:
            topic = topic_name(self.name, stream)
            return topic, self._host.streams().topics.get(topic) is not None
        except Refused:
            return None

    def new_name(self) -> bytes:
        """Return a name for a queue without one, which no one can guess."""
        while True:
            name = SERVER_NAMED + urlsafe_b64encode(token_bytes(16)).rstrip(b"=")
            if self.topology.queue(name) is None:
                return name

    def _add(self, queue: Named) -> None:
        self.totals.created += 1
        self.topology.add_queue(queue.facts.name, queue, durable=queue.facts.lasts)
        self._has_stations = self._has_stations or not isinstance(queue, Queue)
        self._rows.queues[queue.id] = queue
        if isinstance(queue, Queue) and queue.owner is not None:
            self._owned.setdefault(id(queue.owner), []).append(queue)

    def _declared(self, queue: "Queue | RoamingQueue | Stream", kept: Pending) -> None:
        queue.kept = None
        if kept.error is not None and not queue.gone:
            self._delete(queue, undone=True)

    def delete_queue(
        self, queue: Named, *, if_unused: bool = False, if_empty: bool = False
    ) -> tuple[int, Pending | None]:
        """Delete a queue; returns its number of ready messages. Raises ConsumersThere, NotEmpty;
        why that is not known.

        Counts are correct once it is open (``when_open``).
        """
        if queue.gone:
            return 0, None
        if if_unused and queue.subscriptions:
            raise ConsumersThere(queue.facts.name)
        if if_empty:
            if queue.not_known is not None:
                raise queue.not_known
            if queue.ready:
                raise NotEmpty(queue.facts.name)
        # For a stream it is unknown how many would have been read: RabbitMQ returns 0.
        return 0 if queue.topic_name is not None else queue.ready, self._delete(queue)

    def _delete(self, queue: Named, *, undone: bool = False) -> Pending | None:
        """Delete the queue. ``undone``: it could not be created."""
        change = self.topology.remove_queue(queue.facts.name)
        self._leave_out(queue)
        forgotten = self._kept(change, queue if queue.facts.lasts else None)
        queue.drop()
        return self._dropped(queue, forgotten, undone=undone)

    def _leave_out(self, queue: Named) -> None:
        del self._rows.queues[queue.id]
        if isinstance(queue, Queue) and queue.owner is not None:
            owned = self._owned[id(queue.owner)]
            owned.remove(queue)
            if not owned:
                del self._owned[id(queue.owner)]

    def _dropped(
        self, queue: Named, forgotten: Pending | None, *, undone: bool = False
    ) -> Pending | None:
        """Delete the logs of the queue too; return what to wait for."""
        if isinstance(queue, Queue):
            self._host.deleted(queue, forgotten)
            return forgotten
        self.totals.deleted += 1
        gone = cast("RoamingQueue | Stream", queue).delete_topic(undone=undone)
        return gone if forgotten is None else both(forgotten, gone)

    def named(self) -> None:
        """Let the rows find queues by the names in the topology, and receivers of
        changes be told.
        """
        if self._host.neighbourhood is not None:
            self.topology.noticing = self._host.neighbourhood.noticing(self)
        self._rows.named_by(self.topology.queue)
        self._has_stations = not all(isinstance(it, Queue) for it in self.queues())

    def drop(self) -> Pending:
        """Delete the virtual host with its contents; its connections are told."""
        queues = self._end()
        forgotten = self._rows.forget()
        self._tell_left(forgotten)
        pending = forgotten
        for queue in queues:
            queue.drop()
            its = self._dropped(queue, forgotten if queue.facts.lasts else None)
            if its is not None and its is not forgotten:
                pending = both(pending, its)
        return pending

    def _end(self) -> Sequence[Named]:
        """Refuse all further use; return the queues, of whose end no one was told yet."""
        self.gone = True
        guests, self.guests = self.guests, {}
        for guest in guests:
            guest.vhost_gone()
        queues = list(self.queues())
        noticing = self.topology.noticing
        self.topology.drop()
        self.topology = Topology()  # nothing goes anywhere any more
        if noticing is not None:
            for it in queues:
                durable = it.facts.lasts
                noticing.queue_changed(it.facts.name, durable=durable, there=False)
        self._owned.clear()
        self._making.clear()
        return queues

    # Changes by other nodes, which are already stored

    @property
    def read_on(self) -> ReadOn | None:
        """As Host.read_on."""
        return self._host.read_on

    def in_place_of(self, queue: Named) -> Named:
        """The object of the same name, which another node may have created at the same moment."""
        return self.topology.queue(queue.facts.name) or queue

    @property
    def rows(self) -> Rows:
        """All stored facts of the virtual host."""
        return self._rows

    def follow_policies(self, put: Sequence[Policy] = (), removed: Sequence[str] = ()) -> None:
        """As Governing.follow."""
        self._governing.follow(put, removed)

    def follow_queue(self, queue: Named) -> None:
        """Add a queue that another node has created."""
        self._add(queue)
        if isinstance(queue, Queue):
            self._host.declared(queue)
        self.followed()

    def followed(self) -> None:
        """Note that queues or bindings of another node were added."""
        self._host.routes.loosened()

    def follow_exchange(self, facts: ExchangeFacts) -> None:
        """Add an exchange that another node has created."""
        self.topology.put(facts)
        self._host.routes.changed()

    def made_by_another(self, what: bytes | Binding) -> None:
        """Note that another node has created the same exchange or binding."""
        self._making.pop(what, None)

    def take(self, what: Named | bytes | Binding, forgotten: Pending | None) -> None:
        """Remove a deleted queue, exchange or binding.

        ``forgotten``: its data is deleted once that is done; None: another node deletes it.
        """
        if isinstance(what, bytes | Binding):
            self._making.pop(what, None)
            self._taken(self.topology.remove(what), forgotten)
            return
        if what.kept is not None:
            self._replaced.add(what.id)
        change = self.topology.remove_queue(what.facts.name, followed=True)
        self._leave_out(what)
        self._taken(change, forgotten)
        what.drop()
        self._left_to(what, forgotten)

    def take_all(self, forgotten: Callable[[Named], Pending | None]) -> None:
        """As ``drop``, after another node has deleted the virtual host; ``forgotten``: of each
        queue.
        """
        queues = self._end()
        self._rows.clear()
        self._tell_left(None)
        for queue in queues:
            queue.drop()
            self._left_to(queue, forgotten(queue))

    def _taken(self, change: Change, forgotten: Pending | None) -> None:
        self._rows.taken(change)
        for it in change.removed:
            if isinstance(it, Binding):
                self._making.pop(it, None)
        if change.gone:
            self._host.routes.changed()
        else:
            self._host.routes.loosened()
        self._tell_left(forgotten)

    def _left_to(self, queue: Named, forgotten: Pending | None) -> None:
        if isinstance(queue, Queue) or forgotten is not None:
            self._dropped(queue, forgotten)
        else:
            self.totals.deleted += 1

    def owner_gone(self, owner: object, then: Callable[[], object] = lambda: None) -> None:
        """Delete the exclusive queues of an ended connection; ``then`` is called when all are
        deleted.

        They are deleted on return, unless there are hundreds.
        """
        for queue in self._owned.get(id(owner), ())[:OWNED_AT_ONCE]:
            self._delete(queue)
        if id(owner) in self._owned:
            self.soon(partial(self.owner_gone, owner, then))
        else:
            then()

    def goes(self, queue: Named) -> None:
        """As Home.goes."""
        if not queue.gone:
            self._delete(queue)

    # Messages

    def route(self, message: Message) -> Route:
        """The queues and stations for a message, each once.

        Raises NoExchange, InternalExchange, UnknownType; InvalidExpiration, InvalidHeader; Refusal
        for invalid properties.
        """
        exchange, key, properties, _ = message
        framed = self._framing.known.get((exchange, properties))
        if framed is None:
            try:
                framed = self._framing.framed(exchange, properties)
            except LogstoreError:
                self.topology.check_publish(exchange)  # RabbitMQ looks at that first
                raise
        if not framed.copies:
            try:
                return self.topology.known_route(exchange, key)
            except KeyError:
                pass  # it is worked out below
        return self.topology.route(exchange, key, self._framing.looked(properties), framed.copies)

    def copies(self, message: Message) -> tuple[bytes, ...]:
        """The keys of its CC and BCC headers. Raises as ``route``, except for its exchange."""
        return self._framing.framed(message.exchange, message.properties).copies

    def publish(
        self, run: Sequence[tuple[Route, Message]], held: Transaction | None = None
    ) -> Published:
        """Append a run of messages, each to the queues that ``route`` gave. Raises nothing.

        ``held``: they become a part of this transaction instead.
        """
        messages = [it[1] for it in run]
        columns = self._run(
            [it[0] for it in run],
            [it.key for it in messages],
            [it.body for it in messages],
            list(self._framing.column(messages)),
        )
        return Publishing(columns, self.clock(), self._refused, held).publish()

    def publish_columns(
        self,
        routes: Sequence[Route],
        keys: Sequence[bytes],
        bodies: Sequence[Content],
        framed: Sequence[Framed],
        held: Transaction | None = None,
        waiting: Waiting | None = None,
    ) -> Published:
        """As ``publish``, for messages by column that are already framed.

        ``waiting``: the marks that must become safe are added to it.
        """
        run = self._run(routes, keys, bodies, framed)
        return Publishing(run, self.clock(), self._refused, held, waiting).publish()

    def route_of(self, key: bytes, framed: Framed) -> Route:
        """The destinations of an encoded message. Raises as ``Topology.route``."""
        if not framed.copies:
            try:
                return self.topology.known_route(framed.exchange, key)
            except KeyError:
                pass  # it is worked out below
        looked = self._framing.looked(framed.properties)
        return self.topology.route(framed.exchange, key, looked, framed.copies)

    @property
    def framing(self) -> Framing:
        return self._framing

    def _run(
        self,
        routes: Sequence[Route],
        keys: Sequence[bytes],
        bodies: Sequence[Content],
        framed: Sequence[Framed],
    ) -> Run:
        if not (self.topology.stations or self._has_stations):
            return Run(cast("Sequence[tuple[Queue, ...]]", routes), keys, bodies, framed)
        queues, stations = part(routes)
        return Run(queues, keys, bodies, framed, stations)

    def to_be_counted(self, run: Sequence[tuple[Route, Message]]) -> Queue | None:
        """Return a queue that must be counted before it is known whether the messages fit, or None.

        The queue is being opened: publish once it is open.
        """
        if not self._host.uncounted:
            return None
        return self.uncounted({route for route, _ in run}) or self._uncounted_beyond(run)

    def uncounted(self, routes: Iterable[Route]) -> Queue | None:
        """As ``to_be_counted``, for messages with these routes."""
        uncounted = self._host.uncounted
        if uncounted:
            routed = {queue for route in routes for queue in route}
            for queue in uncounted & routed:
                if not queue.is_open():
                    return queue
                uncounted.discard(queue)
        return None

    def _uncounted_beyond(self, run: Sequence[tuple[Route, Message]]) -> Queue | None:
        """Return an uncounted queue among those to which stations forward messages immediately."""
        beyond: set[Route] = set()
        for route, message in run:
            names = list(_passing_on(route))
            for name in names:  # grows while it is gone through
                framed = self._framing.framed(message.exchange, message.properties)
                onward = self.onward(name, message.key, framed)
                beyond.add(onward)
                names += [it for it in _passing_on(onward) if it not in names]
        return self.uncounted(beyond)

    def send(self, letters: Sequence[DeadLetter], held: Transaction | None = None) -> Sent:
        """As Home.send."""
        framed, routes = [], []
        for it in letters:  # one by one: parsed properties serve framing and routing
            deaths = encode_deaths(it.deaths)
            framed.append(self._framing.framed(it.exchange, it.properties, deaths))
            routes.append(self._dead_route(it))
        keys, bodies = [it.keys[0] for it in letters], [it.body for it in letters]
        run = self._run(routes, keys, bodies, framed)
        published = Publishing(run, self.clock(), self._refused, held).publish()
        return Sent(*published)

    def onward(self, exchange: bytes, key: bytes, framed: Framed) -> Route:
        """The destinations of a message from the station of this exchange; none: nowhere."""
        looked = self._framing.looked(framed.properties)
        try:
            return self.topology.onward(exchange, (key, *framed.copies), looked)
        except Refused:
            return ()

    def forward(self, messages: Sequence[tuple[Route, Waited]], held: Transaction) -> Published:
        """Add these messages to a transaction, each with the destinations from ``onward``."""
        run = self._run(
            [it[0] for it in messages],
            [it.key for _, it in messages],
            [it.body for _, it in messages],
            [it.framed for _, it in messages],
        )
        return Publishing(run, self.clock(), self._refused, held).publish()

    def _dead_route(self, letter: DeadLetter) -> Route:
        key, *copies = letter.keys
        try:
            route = self.topology.route(
                letter.exchange, key, self._framing.looked(letter.properties), copies, dead=True
            )
        except (NoExchange, UnknownType):
            return ()
        round_again = [
            it
            for it in route
            if isinstance(it, (Queue, RoamingQueue))
            and goes_in_circles(letter.deaths, it.facts.name)
        ]
        return tuple(it for it in route if it not in round_again) if round_again else route

    def _refused(
        self,
        queue: Queue,
        key: bytes,
        body: Content,
        framed: Framed,
        held: Transaction | None,
    ) -> None:
        """Dead-letter a message that a full queue has refused (reject-publish-dlx)."""
        to = queue.limits.dead_letter_exchange
        if to is None or self._sending >= CIRCLES_MAX:
            return
        self._sending += 1
        try:
            dying = Dying(framed.exchange, key, framed.properties, bytes(body), framed.deaths)
            letter = dead_letter(
                dying, queue.facts.name, MAXLEN, to, queue.limits.dead_letter_key, self.clock()
            )
            self.send([letter], held).waiting.close()
        except LogstoreError as error:
            log.warning("a dead letter of queue %r is lost: %s", queue.facts.name, error)
        finally:
            self._sending -= 1


def _passing_on(route: Route) -> Iterator[bytes]:
    """The exchanges whose stations forward messages immediately."""
    return (name for it in route if (name := passes_on(it)) is not None)


def _lasting(it: Named | None) -> Queue | None:
    return it if isinstance(it, Queue) and it.facts.lasts and not it.gone else None


def _check_owner(queue: Named, owner: object | None) -> None:
    if queue.facts.exclusive and queue.owner is not owner:
        raise Locked(queue.facts.name)
