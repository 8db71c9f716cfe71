"""The exchanges of one virtual host, their bindings, and the routes of messages.

Owns the bindings, and the automatic deletion of exchanges. How an exchange selects among its
bindings is up to its matcher. The caller provides queues, and also stations, which receive the
messages of certain exchange types instead of bindings. Calls are made one at a time.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar, cast

from logstore.amqp.fields import data
from logstore.broker.policies import ALTERNATE, Policy
from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.change import NOTHING, Change, Row
from logstore.broker.routing.exchange import (
    DEFAULT_EXCHANGE,
    PREDEFINED,
    ExchangeFacts,
    check_equivalent,
    is_predefined,
)
from logstore.broker.routing.exchange_types import matcher_of, matcher_of_kept
from logstore.broker.routing.held import Held, each, joined, without
from logstore.broker.routing.matcher import Choose, Matcher
from logstore.broker.routing.properties import NO_PROPERTIES, Properties
from logstore.broker.routing.refusals import (
    InternalExchange,
    InUse,
    NoExchange,
    NoQueue,
    NotPermitted,
    Reserved,
)
from logstore.broker.routing.routes import Routes
from logstore.broker.routing.station import Droppable, stops

_Q = TypeVar("_Q")
_S = TypeVar("_S", bound=Droppable)


def _anybody(queue: object) -> None:
    """Allow everyone to bind any queue."""


# Bindings and alternates that lead to a changed exchange: of more it costs less to forget all
# routes.
UPSTREAM_MAX: Final = 256


def _none(facts: ExchangeFacts) -> None:
    """Return None: no exchange has a station."""


def _no_policy(exchange: bytes) -> None:
    """Return None: no policy applies to any exchange."""


class Noticing(Protocol):
    """Receives some changes as they happen."""

    def queue_changed(self, name: bytes, *, durable: bool, there: bool) -> object:
        """Note that a queue was added or removed."""

    def binding_changed(self, binding: Binding) -> object:
        """Note that a binding to a non-durable queue was added or removed."""

    def exchange_came(self, name: bytes) -> object:
        """Note that a new exchange exists."""


class _Exchange(Generic[_S]):
    __slots__ = (
        "alternate", "beside", "bindings", "facts", "incoming", "matcher", "policy", "station",
    )  # fmt: skip

    def __init__(
        self, facts: ExchangeFacts, matcher: Matcher, station: _S | None, policy: Policy | None
    ) -> None:
        self.facts = facts
        self.policy = policy
        self.alternate = alternate_of(facts, policy)
        self.matcher = matcher
        self.station = station
        self.beside: _S | None = None  # also receives its messages
        self.bindings: dict[Binding, Binding] = {}  # from it, each by itself
        self.incoming: Held[Binding] = None  # to it

    @property
    def durable(self) -> bool:
        return self.facts.durable


class _Queue(Generic[_Q]):
    __slots__ = ("durable", "incoming", "name", "queue")

    def __init__(self, name: bytes, queue: _Q, durable: bool) -> None:
        self.name, self.queue, self.durable = name, queue, durable
        self.incoming: Held[Binding] = None


class Topology(Generic[_Q, _S]):
    """The topology of one virtual host. Queues are added and removed by their owner, with
    ``add_queue``.
    """

    def __init__(
        self,
        choose: Choose = random.randrange,
        station_of: Callable[[ExchangeFacts], _S | None] = _none,
        policy_of: Callable[[bytes], Policy | None] = _no_policy,
    ) -> None:
        """``choose``: the chance that x-random takes. ``station_of``: makes an exchange's station,
        if its type has one. ``policy_of``: the policy that counts for an exchange of this name.
        """
        self.stations = 0  # exchanges that have one
        self.noticing: Noticing | None = None
        self._choose = choose
        self._station_of = station_of
        self._policy_of = policy_of
        self._exchanges: dict[bytes, _Exchange[_S]] = {}
        self._queues: dict[bytes, _Queue[_Q]] = {}
        self._alternate_of: dict[bytes, dict[bytes, None]] = {}  # by the alternate: whose it is
        self._internal: set[bytes] = set()
        self._watched: dict[bytes, Callable[[], object]] = {}
        self._routes: Routes[_Q | _S] = Routes()
        for facts in PREDEFINED:
            self._create(facts, matcher_of(facts.type_name)(facts.arguments, choose))

    @classmethod
    def restore(
        cls,
        exchanges: Iterable[ExchangeFacts],
        queues: Iterable[tuple[bytes, _Q]],
        bindings: Iterable[Binding],
        choose: Choose = random.randrange,
        station_of: Callable[[ExchangeFacts], _S | None] = _none,
        policy_of: Callable[[bytes], Policy | None] = _no_policy,
    ) -> tuple["Topology[_Q, _S]", Change]:
        """Restore stored durable queues and the rows of changes.

        Also returns a change that removes the bindings whose ends are not all there. An exchange
        whose type is not installed keeps its bindings, and refuses what is published to it.
        """
        topology = cls(choose, station_of, policy_of)
        for facts in exchanges:
            matcher = matcher_of_kept(facts.type_name, facts.arguments, choose)
            topology._create(facts, matcher)
        for name, queue in queues:
            topology.add_queue(name, queue, durable=True)
        lost: list[Row] = []
        for binding in bindings:
            source = topology._exchanges.get(binding.source)
            destination = topology._end(binding.kind, binding.destination)
            if source is None or destination is None:
                lost.append(binding)
            else:
                topology._join(binding, source, destination)
        return topology, Change(removed=tuple(lost))

    # What there is

    def exchange(self, name: bytes) -> ExchangeFacts:
        """Return the exchange. Raises NoExchange."""
        return self._exchange(name).facts

    def has_exchange(self, name: bytes) -> bool:
        return name in self._exchanges

    def policy(self, exchange: bytes) -> Policy | None:
        """The policy that applies to the exchange. Raises NoExchange."""
        return self._exchange(exchange).policy

    def alternate(self, exchange: bytes) -> bytes | None:
        """The exchange for messages without a route, by arguments or policy.

        It need not exist. Raises NoExchange.
        """
        return self._exchange(exchange).alternate

    def count_exchanges(self) -> int:
        return len(self._exchanges)

    def exchanges(self) -> Iterator[ExchangeFacts]:
        """All exchanges, predefined ones first."""
        return (it.facts for it in self._exchanges.values())

    def queue(self, name: bytes) -> _Q | None:
        found = self._queues.get(name)
        return None if found is None else found.queue

    def bindings_from(self, exchange: bytes) -> Iterator[Binding]:
        """The bindings from an exchange in the order of their creation. Raises NoExchange.

        Each queue is implicitly bound to the default exchange.
        """
        bindings = self._exchange(exchange).bindings
        if exchange == DEFAULT_EXCHANGE:
            return (_implicit(name) for name in self._queues)
        return iter(bindings)

    def count_bindings_from(self, exchange: bytes) -> int:
        """The number of these bindings. Raises NoExchange."""
        bindings = self._exchange(exchange).bindings
        return len(self._queues if exchange == DEFAULT_EXCHANGE else bindings)

    def bindings_to(self, name: bytes, kind: Kind = "queue") -> Iterator[Binding]:
        """The bindings to a destination. Raises NoQueue, NoExchange."""
        bindings = each(self._existing(kind, name).incoming)
        return chain([_implicit(name)] if kind == "queue" else [], bindings)

    def has_binding(self, binding: Binding) -> bool:
        """Whether exactly this binding exists."""
        source = self._exchanges.get(binding.source)
        return source is not None and binding in source.bindings

    # Exchanges

    def declare(self, facts: ExchangeFacts) -> Change:
        """Declare an exchange, unless an equal one already exists.

        Raises, in this order: UnknownType; NotPermitted for the default exchange; Inequivalent
        if a different one exists; Reserved, InvalidArgument, ConflictingArguments.
        """
        make = matcher_of(facts.type_name)
        if facts.name == DEFAULT_EXCHANGE:
            raise NotPermitted(facts.name)
        if (current := self._exchanges.get(facts.name)) is not None:
            check_equivalent(current.facts, facts)
            return NOTHING
        if is_predefined(facts.name):
            raise Reserved(facts.name)
        _ = facts.alternate  # whether it is one, before the type looks at the arguments
        self._create(facts, make(facts.arguments, self._choose))
        return Change(put=(facts,)) if facts.durable else NOTHING

    def delete(self, name: bytes, *, if_unused: bool = False) -> Change:
        """Delete an exchange, its bindings, and exchanges that are auto-deleted because of that.

        No effect if it does not exist. Raises NotPermitted, InUse.
        """
        if is_predefined(name):
            raise NotPermitted(name)
        exchange = self._exchanges.get(name)
        if exchange is None:
            return NOTHING
        if if_unused and exchange.bindings:
            raise InUse(name)
        return self._delete(exchange)

    # Queues

    def add_queue(self, name: bytes, queue: _Q, *, durable: bool) -> None:
        """Add a queue with a new name. ``durable``: it and its bindings outlive a restart."""
        assert name not in self._queues
        self._queues[name] = _Queue(name, queue, durable)
        self._default_changed(name)
        if self.noticing is not None:
            self.noticing.queue_changed(name, durable=durable, there=True)

    def remove_queue(self, name: bytes, *, followed: bool = False) -> Change:
        """Remove a queue with its bindings, and exchanges that are auto-deleted because of that.

        ``followed``: as ``remove``.
        """
        queue = self._queues.pop(name)
        self._default_changed(name)
        if self.noticing is not None:
            self.noticing.queue_changed(name, durable=queue.durable, there=False)
        return self._cut(list(each(queue.incoming)), queue, followed=followed)

    # Bindings

    def bind(self, binding: Binding, check: Callable[[_Q], object] = _anybody) -> Change:
        """Add a binding, unless it already exists. ``check`` may refuse a queue.

        Raises, in this order: NotPermitted for the default exchange; NoExchange, NoQueue; what the
        type of the exchange says (InvalidArgument, InvalidWeight), and what ``check`` does.
        """
        check_ends(binding)
        source = self._exchange(binding.source)
        destination = self._existing(binding.kind, binding.destination)
        if binding in source.bindings:
            self._check(destination, check)
            return NOTHING
        self._join(binding, source, destination)
        try:
            self._check(destination, check)
        except Exception:
            self._part(binding, source, destination)
            raise
        return Change(put=(binding,)) if _is_kept(source, destination) else NOTHING

    def unbind(self, binding: Binding, check: Callable[[_Q], object] = _anybody) -> Change:
        """Remove a binding; as in RabbitMQ, no effect if it, the exchange or the queue does not
        exist.

        ``check`` may refuse a queue. Raises NotPermitted for the default exchange.
        """
        check_ends(binding)
        source = self._exchanges.get(binding.source)
        own = None if source is None else source.bindings.get(binding)
        if own is None:
            return NOTHING
        destination = self._existing(own.kind, own.destination)
        self._check(destination, check)
        # The stored object: finding it again compares it with itself, not two long tables.
        return self._cut([own], destination)

    def _check(
        self, destination: "_Queue[_Q] | _Exchange[_S]", check: Callable[[_Q], object]
    ) -> None:
        if isinstance(destination, _Queue):
            check(destination.queue)

    # Changes of durable objects by other nodes

    def put(self, facts: ExchangeFacts) -> None:
        """Add a stored exchange with a new name."""
        assert facts.name not in self._exchanges
        self._create(facts, matcher_of_kept(facts.type_name, facts.arguments, self._choose))

    def join(self, binding: Binding) -> bool:
        """Add a stored binding; returns whether it is new and both its ends exist. Raises as
        ``bind``.
        """
        source = self._exchanges.get(binding.source)
        destination = self._end(binding.kind, binding.destination)
        if source is None or destination is None or binding in source.bindings:
            return False
        self._join(binding, source, destination)
        return True

    def remove(self, what: bytes | Binding) -> Change:
        """Remove an exchange or a binding, if it exists; and what is auto-deleted because of that.

        Durable objects stay: they are removed by a change of their own.
        """
        if isinstance(what, bytes):
            exchange = self._exchanges.get(what)
            return NOTHING if exchange is None else self._delete(exchange, followed=True)
        source = self._exchanges.get(what.source)
        own = None if source is None else source.bindings.get(what)
        if own is None:
            return NOTHING
        return self._cut([own], self._existing(own.kind, own.destination), followed=True)

    # Messages

    def check_publish(self, exchange: bytes) -> None:
        """Check that clients may publish to it. Raises NoExchange, InternalExchange."""
        self._exchange(exchange)
        if exchange in self._internal:
            raise InternalExchange(exchange)

    def route(
        self,
        exchange: bytes,
        key: bytes,
        properties: Properties = NO_PROPERTIES,
        copies: Sequence[bytes] = (),
        *,
        dead: bool = False,
    ) -> tuple[_Q | _S, ...]:
        """The queues and stations for the message, each once; none: it cannot be routed.

        ``copies``: the keys of its CC and BCC headers. ``dead``: a dead letter, which may go to an
        internal exchange. Raises NoExchange; InternalExchange; UnknownType where an exchange on the
        way is of a type that is not installed.
        """
        if exchange in self._internal and not dead:
            raise InternalExchange(exchange)
        if not copies:
            try:
                return self._routes.by_exchange[exchange][key]
            except KeyError:
                pass  # it is worked out below
        queues, by_key = self._walk(self._exchange(exchange), (key, *copies), properties)
        if by_key and not copies:
            self._routes.keep(exchange, key, queues)
        return queues

    def onward(
        self, exchange: bytes, keys: Sequence[bytes], properties: Properties = NO_PROPERTIES
    ) -> tuple[_Q | _S, ...]:
        """The destinations of a message after this exchange's station. Raises as ``route``."""
        start = self._exchange(exchange)
        return self._walk(start, keys, properties, past=start)[0]

    def station(self, exchange: bytes) -> _S | None:
        """The station of this exchange, if it has one. Raises NoExchange."""
        return self._exchange(exchange).station

    def attend(self, exchange: bytes, station: _S | None) -> None:
        """Let a station also receive all messages of an exchange; None: no longer.

        Bindings receive them as well. Raises NoExchange.
        """
        found = self._exchange(exchange)
        self.stations += (station is not None) - (found.beside is not None)
        found.beside = station
        self._changed(exchange)

    def watch(self, exchange: bytes, call: Callable[[], object]) -> None:
        """Call ``call`` when an exchange's bindings may be about to change, or have changed."""
        self._watched[exchange] = call

    def leads(self, exchange: bytes) -> bool:
        """Whether messages of the exchange reach any destination besides an attending station.
        Raises NoExchange.
        """
        found = self._exchange(exchange)
        return bool(found.bindings) or found.alternate is not None or found.station is not None

    def drop(self) -> None:
        """Delete everything with the virtual host: stations are told."""
        for exchange in self._exchanges.values():
            if exchange.station is not None:
                exchange.station.drop()

    def known_route(self, exchange: bytes, key: bytes) -> tuple[_Q | _S, ...]:
        """The remembered route of a message without CC and BCC. Raises KeyError."""
        if exchange in self._internal:
            raise KeyError(exchange)
        return self._routes.by_exchange[exchange][key]

    def sends(
        self, exchange: bytes, keys: Sequence[bytes], properties: Properties = NO_PROPERTIES
    ) -> tuple[list[tuple[Kind, bytes]], bool]:
        """Return where one exchange by itself sends a message, each destination once.

        Also returns whether there is only its alternate exchange. Raises NoExchange, UnknownType.
        """
        found: dict[tuple[Kind, bytes], None] = {}
        at = self._exchange(exchange)
        for it in self._matched(at, keys, properties):
            if isinstance(it, _Queue):
                found["queue", it.name] = None
            else:
                found["exchange", it.facts.name] = None
        only = bool(found) and exchange != DEFAULT_EXCHANGE
        return list(found), only and not any(True for _ in at.matcher.match(keys, properties))

    def alternates(self, exchange: bytes) -> Iterator[bytes]:
        """The exchanges whose alternate this is, whether it exists or not."""
        return iter(self._alternate_of.get(exchange, ()))

    def _walk(
        self,
        start: _Exchange[_S],
        keys: Sequence[bytes],
        properties: Properties,
        past: _Exchange[_S] | None = None,
    ) -> tuple[tuple[_Q | _S, ...], bool]:
        """The queues and stations; whether the keys alone decided. One loop, so that no depth is
        too deep. ``past``: the exchange whose station has had the message.
        """
        queues: dict[_Queue[_Q], None] = {}
        stations: list[_S] = []
        reached = {start: None}
        waiting = [start]  # grows while it is gone through
        by_key = True
        for exchange in waiting:
            by_key = by_key and exchange.matcher.by_key
            if exchange.beside is not None and exchange is not past:
                stations.append(exchange.beside)
            station = exchange.station
            if (
                station is not None
                and exchange is not past
                and stops(exchange.matcher, keys, properties)
            ):
                stations.append(station)
                continue
            for destination in self._matched(exchange, keys, properties):
                if isinstance(destination, _Queue):
                    queues[destination] = None
                elif destination not in reached:
                    reached[destination] = None
                    waiting.append(destination)
        return (*(it.queue for it in queues), *stations), by_key

    def _matched(
        self, exchange: _Exchange[_S], keys: Sequence[bytes], properties: Properties
    ) -> Iterable["_Queue[_Q] | _Exchange[_S]"]:
        """The exchange's destinations for the message; the alternate exchange if its bindings have
        none.
        """
        if exchange.facts.name == DEFAULT_EXCHANGE:
            return [queue for it in keys if (queue := self._queues.get(it)) is not None]
        found = cast(
            "list[_Queue[_Q] | _Exchange[_S]]", list(exchange.matcher.match(keys, properties))
        )
        if not found and exchange.alternate is not None:
            alternate = self._exchanges.get(exchange.alternate)
            return () if alternate is None else (alternate,)
        return found

    # Policies

    def govern(self, name: bytes) -> None:
        """Look up the policy of an exchange again. No effect if it does not exist."""
        exchange = self._exchanges.get(name)
        policy = self._policy_of(name)
        if exchange is None or exchange.policy == policy:
            return
        exchange.policy = policy
        alternate = alternate_of(exchange.facts, policy)
        if alternate != exchange.alternate:
            self._forget_alternate(exchange)
            exchange.alternate = alternate
            self._note_alternate(exchange)
            self._changed(name)

    def _note_alternate(self, exchange: _Exchange[_S]) -> None:
        if exchange.alternate is not None:
            self._alternate_of.setdefault(exchange.alternate, {})[exchange.facts.name] = None

    def _forget_alternate(self, exchange: _Exchange[_S]) -> None:
        if exchange.alternate is not None:
            referring = self._alternate_of[exchange.alternate]
            del referring[exchange.facts.name]
            if not referring:
                del self._alternate_of[exchange.alternate]

    # Changes, carried out

    def _create(self, facts: ExchangeFacts, matcher: Matcher) -> None:
        station = self._station_of(facts)
        self.stations += station is not None
        exchange = self._exchanges[facts.name] = _Exchange(
            facts, matcher, station, self._policy_of(facts.name)
        )
        if facts.internal:
            self._internal.add(facts.name)
        self._note_alternate(exchange)
        self._changed(facts.name)  # exchanges whose alternate it is lead somewhere now
        if self.noticing is not None:
            self.noticing.exchange_came(facts.name)

    def _join(
        self, binding: Binding, source: _Exchange[_S], destination: "_Queue[_Q] | _Exchange[_S]"
    ) -> None:
        source.matcher.add(binding, destination)  # first: it may refuse
        source.bindings[binding] = binding
        destination.incoming = joined(destination.incoming, binding)
        self._changed(source.facts.name)
        self._notice(binding, destination)

    def _notice(self, binding: Binding, destination: "_Queue[_Q] | _Exchange[_S]") -> None:
        if (
            self.noticing is not None
            and isinstance(destination, _Queue)
            and not destination.durable
        ):
            self.noticing.binding_changed(binding)

    def _cut(
        self,
        bindings: Sequence[Binding],
        destination: "_Queue[_Q] | _Exchange[_S]",
        *,
        followed: bool = False,
    ) -> Change:
        """Remove these bindings, all to one destination, and what is auto-deleted because of that.

        ``followed``: durable objects are removed by changes of their own.
        """
        removed: list[Row] = []
        gone: list[ExchangeFacts] = []
        # Exchanges that have lost bindings to ``destination``, each by the loss of which they go.
        losses = [(bindings, destination)]
        for lost, end in losses:  # grows while it is gone through
            sources: dict[bytes, None] = {}
            for binding in lost:
                source = self._exchanges[binding.source]
                self._part(binding, source, end)
                if _is_kept(source, end):
                    removed.append(binding)
                sources[binding.source] = None
            for name in sources:
                source = self._exchanges[name]
                goes = source.facts.auto_delete and not (followed and source.durable)
                if goes and not source.bindings:
                    self._drop(source)
                    gone.append(source.facts)
                    removed += [source.facts] if source.durable else []
                    losses.append((list(each(source.incoming)), source))
        return Change(removed=tuple(removed), gone=tuple(gone))

    def _delete(self, exchange: _Exchange[_S], *, followed: bool = False) -> Change:
        removed: list[Row] = [exchange.facts] if exchange.durable else []
        for binding in list(exchange.bindings):
            destination = self._existing(binding.kind, binding.destination)
            self._part(binding, exchange, destination, matched=False)
            if _is_kept(exchange, destination):
                removed.append(binding)
        self._drop(exchange)
        cut = self._cut(list(each(exchange.incoming)), exchange, followed=followed)
        return Change(removed=(*removed, *cut.removed), gone=(exchange.facts, *cut.gone))

    def _part(
        self,
        binding: Binding,
        source: _Exchange[_S],
        destination: "_Queue[_Q] | _Exchange[_S]",
        *,
        matched: bool = True,
    ) -> None:
        """Remove a binding. ``matched``: False if the exchange is deleted with its matcher."""
        self._changed(source.facts.name)
        if matched:
            source.matcher.remove(binding, destination)
        del source.bindings[binding]
        destination.incoming = without(destination.incoming, binding)
        self._notice(binding, destination)

    def _drop(self, exchange: _Exchange[_S]) -> None:
        """Remove an exchange without bindings from it."""
        name = exchange.facts.name
        self._changed(name)
        del self._exchanges[name]
        if exchange.station is not None:
            self.stations -= 1
            exchange.station.drop()
        self._internal.discard(name)
        self._forget_alternate(exchange)

    # Routes that a change makes untrue

    def _changed(self, exchange: bytes) -> None:
        """Forget all routes through this exchange: its destinations have changed."""
        if exchange in self._watched:
            self._watched[exchange]()
        if len(self._routes):
            through = self._upstream(exchange)
            if through is None:
                self._routes.forget_all()
            else:
                self._routes.forget(through)

    def _default_changed(self, queue: bytes) -> None:
        """Forget routes with this key: a queue of this name was added or removed."""
        if len(self._routes):
            through = self._upstream(DEFAULT_EXCHANGE)
            if through is None:
                self._routes.forget_all()
            else:
                self._routes.forget_key(through, queue)

    def _upstream(self, exchange: bytes) -> Iterable[bytes] | None:
        """The exchange, and all from which messages reach it. None: there are too many."""
        found = {exchange: None}
        waiting = [exchange]  # grows while it is gone through
        looked_at = 0
        for name in waiting:
            for sender in self._senders(name):
                looked_at += 1
                if looked_at > UPSTREAM_MAX:
                    return None
                if sender not in found:
                    found[sender] = None
                    waiting.append(sender)
        return waiting

    def _senders(self, exchange: bytes) -> Iterator[bytes]:
        yield from self._alternate_of.get(exchange, ())
        if (there := self._exchanges.get(exchange)) is not None:
            for binding in each(there.incoming):
                yield binding.source

    # Names

    def _exchange(self, name: bytes) -> _Exchange[_S]:
        try:
            return self._exchanges[name]
        except KeyError:
            raise NoExchange(name) from None

    def _end(self, kind: Kind, name: bytes) -> "_Queue[_Q] | _Exchange[_S] | None":
        return self._queues.get(name) if kind == "queue" else self._exchanges.get(name)

    def _existing(self, kind: Kind, name: bytes) -> "_Queue[_Q] | _Exchange[_S]":
        found = self._end(kind, name)
        if found is None:
            raise NoQueue(name) if kind == "queue" else NoExchange(name)
        return found


def check_ends(binding: Binding) -> None:
    """Check that neither end is the default exchange. Raises NotPermitted."""
    for name, kind in ((binding.destination, binding.kind), (binding.source, "exchange")):
        if kind == "exchange" and name == DEFAULT_EXCHANGE:
            raise NotPermitted(name)


def alternate_of(facts: ExchangeFacts, policy: Policy | None) -> bytes | None:
    """The alternate exchange by arguments, otherwise by policy, as in RabbitMQ."""
    if facts.alternate is not None or policy is None:
        return facts.alternate
    named = policy.definition.get(ALTERNATE)
    return data(named) if isinstance(named, str) else None


def _is_kept(source: _Exchange[_S], destination: "_Queue[_Q] | _Exchange[_S]") -> bool:
    return source.durable and destination.durable


def _implicit(queue: bytes) -> Binding:
    return Binding(DEFAULT_EXCHANGE, queue, queue)
