"""The stored rows of one virtual host: its exchanges, queues and bindings, and their ids.

A predefined exchange gets a row when the first durable binding from it or to it is created, because
bindings name both ends by number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from logstore.amqp import fields
from logstore.broker.policies import Policy, check
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.tables import arguments_of, table_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.change import Change
from logstore.broker.routing.exchange import PREDEFINED, ExchangeFacts, is_predefined
from logstore.errors import LogstoreError
from logstore.kept.queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptTopicRoute,
    KeptVhost,
    QueueKeeper,
)


class Rows:
    """The rows of one virtual host."""

    def __init__(
        self,
        vhost: KeptVhost,
        keeper: QueueKeeper,
        next_id: Callable[[], int],
        *,
        kept: bool = True,
    ) -> None:
        """``kept``: the virtual host's own row is stored; otherwise it is stored with the first
        change.
        """
        self.queues: dict[int, Named] = {}
        self.exchanges: dict[bytes, KeptExchange] = {}
        self.bindings: dict[Binding, KeptBinding] = {}
        self.policies: dict[str, KeptPolicy] = {}
        self.routes: dict[tuple[str, str], KeptTopicRoute] = {}  # by topic and exchange
        self.lanes: dict[bytes, Sequence[int]] = {}  # there from before, of exchanges with stations
        self._numbers: dict[bytes, int] = {}  # of exchanges that are not kept
        # Of policies that are being changed: how many changes there are, and what is kept.
        self._changing: dict[str, list[Any]] = {}
        self._fact = vhost
        self._vhost = vhost.id
        self._keeper = keeper
        self._next_id = next_id
        self._unkept = None if kept else vhost
        self._by_name: Callable[[bytes], Named | None] = lambda name: None

    @property
    def number(self) -> int:
        """The number of the virtual host."""
        return self._vhost

    def named_by(self, queue: Callable[[bytes], Named | None]) -> None:
        """Set how queues are found by name."""
        self._by_name = queue

    def number_of(self, exchange: bytes) -> int:
        """Return the number of an exchange, which no other exchange or queue ever has."""
        kept = self.exchanges.get(exchange)
        if kept is not None:
            return kept.id
        if exchange not in self._numbers:
            self._numbers[exchange] = self._next_id()
        return self._numbers[exchange]

    def forget_number(self, exchange: bytes) -> None:
        """Forget the number of a deleted exchange that was not stored."""
        self._numbers.pop(exchange, None)

    def keep(self, queue: Named) -> Pending:
        """Store a queue that is new and lasts, or whose message TTL has changed."""
        return self._change([self._queue(queue)], [])

    def _queue(self, queue: Named) -> KeptQueue:
        facts = queue.facts
        return KeptQueue(
            queue.id, self._vhost, fields.text(facts.name), facts.auto_delete,
            table_of(facts.arguments), queue.lifetimes(),
        )  # fmt: skip

    def change(self, change: Change, forget: Named | None = None) -> Pending | None:
        """Store changed exchanges and bindings, and remove a deleted queue."""
        removed: list[Kept] = [] if forget is None else [self._queue(forget)]
        bindings = [it for it in change.removed if isinstance(it, Binding)]
        exchanges = [it for it in change.removed if isinstance(it, ExchangeFacts)]
        removed += [self.bindings.pop(it) for it in bindings]
        removed += [self.exchanges.pop(it.name) for it in exchanges]
        put: list[Kept] = []
        for row in change.put:
            if isinstance(row, ExchangeFacts):
                put.append(self._exchange(row.name, row))
            else:
                put += self._binding(row)
        if not put and not removed:
            return None
        pending = self._change(put, removed)
        pending.then(lambda it: self._not_kept(put) if it.error is not None else None)
        return pending

    def taken(self, change: Change) -> None:
        """Forget rows that another process has already removed."""
        for it in change.removed:
            if isinstance(it, Binding):
                self.bindings.pop(it, None)
            else:
                self.exchanges.pop(it.name, None)
        for facts in change.gone:
            self.forget_number(facts.name)

    def keep_policies(self, put: Sequence[Policy], removed: Sequence[str]) -> Pending:
        """Store policies, replacing those with the same names, and remove others by name."""
        names = dict.fromkeys((*removed, *(it.name for it in put)))
        for name in names:
            self._changing.setdefault(name, [0, self.policies.get(name)])[0] += 1
        gone = [self.policies.pop(name) for name in removed if name in self.policies]
        rows: list[KeptPolicy] = []
        for policy in put:
            there = self.policies.get(policy.name)
            number = self._next_id() if there is None else there.id
            rows.append(_policy_row(number, self._vhost, policy))
            self.policies[policy.name] = rows[-1]
        after = {name: self.policies.get(name) for name in names}
        pending = self._change(rows, gone)
        pending.then(lambda it: self._policies_changed(after, it.error))
        return pending

    def policy(self, name: str) -> Policy | None:
        """Return the policy of this name that is stored or about to be; None: there is no legal
        one.
        """
        row = self.policies.get(name)
        try:
            return None if row is None else check(policy_of(row))
        except LogstoreError:  # a setting that another logstore took
            return None

    def _policies_changed(
        self, after: Mapping[str, KeptPolicy | None], error: LogstoreError | None
    ) -> None:
        """Note that the policies are stored; after an error, restore those not changed
        again since.
        """
        for name, row in after.items():
            changing = self._changing[name]
            changing[0] -= 1
            if error is None:
                changing[1] = row
            elif self.policies.get(name) is row:
                self._put_policy(name, changing[1])
            if not changing[0]:
                del self._changing[name]

    def follow_policy(self, name: str, row: KeptPolicy | None) -> None:
        """Apply another process's change of a policy; None: it was removed."""
        self._put_policy(name, row)
        if name in self._changing:
            self._changing[name][1] = row

    def _put_policy(self, name: str, row: KeptPolicy | None) -> None:
        if row is None:
            self.policies.pop(name, None)
        else:
            self.policies[name] = row

    def new_route(
        self, topic: str, exchange: str, key: str, arguments: Mapping[str, Any]
    ) -> KeptTopicRoute:
        """Return a new topic route, which is not stored yet."""
        return KeptTopicRoute(self._next_id(), self._vhost, topic, exchange, key, arguments)

    def keep_route(self, fact: KeptTopicRoute) -> Pending:
        """Store a new topic route. A route that cannot be stored is removed."""
        self.routes[fact.topic, fact.exchange] = fact
        pending = self._change([fact], [])
        pending.then(lambda it: None if it.error is None else self._route_lost(fact))
        return pending

    def _route_lost(self, fact: KeptTopicRoute) -> None:
        if self.routes.get((fact.topic, fact.exchange)) is fact:
            del self.routes[fact.topic, fact.exchange]

    def forget_route(self, fact: KeptTopicRoute) -> Pending:
        """Remove an existing topic route."""
        del self.routes[fact.topic, fact.exchange]
        return self._change([], [fact])

    def forget(self) -> Pending:
        """Remove the virtual host and all its rows in one change."""
        queues = [self._queue(it) for it in self.queues.values() if it.facts.lasts]
        removed: list[Kept] = [*self.bindings.values(), *self.exchanges.values(), *queues]
        removed += [*self.policies.values(), *self.routes.values()]
        self.clear()
        return self._change((), [*removed, self._fact])

    def clear(self) -> None:
        """Forget all rows: the virtual host is deleted."""
        for those in (self.bindings, self.exchanges, self.queues, self.policies, self.routes):
            those.clear()

    def _change(self, put: Sequence[Kept], removed: Sequence[Kept]) -> Pending:
        """Store a change, with the host's own row if that is not stored yet.

        Rows without a host are dropped at the next start.
        """
        if self._unkept is None:
            return Pending(self._keeper.change(put, removed))
        pending = Pending(self._keeper.change([self._unkept, *put], removed))
        pending.then(self._host_kept)
        return pending

    def _host_kept(self, pending: Pending) -> None:
        if pending.error is None:
            self._unkept = None

    def _not_kept(self, put: Sequence[Kept]) -> None:
        """Forget rows that could not be stored.

        A predefined exchange remains, and needs its row at the next binding.
        """
        for fact in put:
            if isinstance(fact, KeptExchange):
                name = fields.data(fact.name)
                if is_predefined(name) and self.exchanges.get(name) is fact:
                    del self.exchanges[name]

    def _exchange(self, name: bytes, facts: ExchangeFacts) -> KeptExchange:
        kept = self.exchanges[name] = KeptExchange(
            self._exchange_number(name), self._vhost, fields.text(name), facts.type_name,
            facts.auto_delete, facts.internal, table_of(facts.arguments),
        )  # fmt: skip
        return kept

    def _exchange_number(self, name: bytes) -> int:
        """Return a new number; predefined exchanges have fixed ones where several processes make
        them.
        """
        numbers = self._keeper.numbers
        if numbers is not None:
            for place, facts in enumerate(PREDEFINED):
                if facts.name == name:
                    return numbers.within(self._vhost, place)
        return self._next_id()

    def _binding(self, binding: Binding) -> list[Kept]:
        put: list[Kept] = []
        source = self._id_of(binding.source, put)
        if binding.kind == "queue":
            queue = self._by_name(binding.destination)
            assert queue is not None
            destination = queue.id
        else:
            destination = self._id_of(binding.destination, put)
        kept = KeptBinding(
            self._next_id(), source, destination, fields.text(binding.key),
            table_of(binding.arguments),
        )  # fmt: skip
        self.bindings[binding] = kept
        return [*put, kept]

    def _id_of(self, exchange: bytes, put: list[Kept]) -> int:
        kept = self.exchanges.get(exchange)
        if kept is None:
            facts = next(it for it in PREDEFINED if it.name == exchange)
            kept = self._exchange(exchange, facts)
            put.append(kept)
        return kept.id


def _policy_row(number: int, vhost: int, policy: Policy) -> KeptPolicy:
    return KeptPolicy(
        number, vhost, policy.name, policy.pattern, policy.apply_to, policy.priority,
        policy.definition,
    )  # fmt: skip


def policy_of(kept: KeptPolicy) -> Policy:
    """Return a policy as it was set, with plain numbers and texts."""
    definition = {name: _plain(value) for name, value in kept.definition.items()}
    priority = float(kept.priority) if isinstance(kept.priority, float) else int(kept.priority)
    return Policy(kept.name, kept.pattern, definition, priority, kept.apply_to)


def _plain(value: Any) -> Any:  # noqa: ANN401  what a table holds
    if isinstance(value, list):
        return [_plain(it) for it in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value


def exchange_facts(kept: KeptExchange) -> ExchangeFacts:
    """Return an exchange as it was declared."""
    return ExchangeFacts(
        fields.data(kept.name), kept.type, True, kept.auto_delete, kept.internal,
        arguments_of(kept.arguments),
    )  # fmt: skip


def queue_facts(kept: KeptQueue) -> QueueFacts:
    """Return a queue as it was declared."""
    return QueueFacts(
        fields.data(kept.name), True, False, kept.auto_delete, arguments_of(kept.arguments)
    )
