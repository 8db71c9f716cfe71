"""Plans what an import would change, and whether it is possible; changes nothing.

A contradiction to an existing object refuses the whole import. Done in the sessions' thread, in
slices.
"""

import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from logstore.access.access import Access, steers
from logstore.access.administration import new_permission
from logstore.amqp.fields import data, text
from logstore.broker.policies import ALTERNATE, POLICIES_MAX, STREAM, Policies
from logstore.broker.queues.limits import QueueFacts, check_equivalent
from logstore.broker.routing import exchange
from logstore.broker.routing.arguments import comparable
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.exchange_types import matcher_of, matcher_of_kept
from logstore.broker.routing.matcher import Matcher
from logstore.broker.routing.targets import TO_TOPIC
from logstore.broker.routing.topology import alternate_of, check_ends
from logstore.definitions.refusals import InvalidDefinitions
from logstore.definitions.wanted import (
    Wanted,
    WantedBinding,
    WantedExchange,
    WantedPolicy,
    WantedQueue,
    WantedUser,
)
from logstore.errors import LogstoreError, Refused
from logstore.kept.users import KeptPermission, KeptTopicPermission, KeptUser
from logstore.slices import Steps, Wait

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

_T = TypeVar("_T")

AT_ONCE: Final = 50  # rows between yields, of some 10 us each
FAULTS_MAX: Final = 5  # that one line tells of
TRIED_MAX: Final = 1000  # that are counted
KINDS: Final = (
    "users", "vhosts", "permissions", "topic_permissions", "policies", "exchanges", "queues",
    "bindings",
)  # fmt: skip


@dataclass(slots=True)
class Count:
    """The numbers of wanted objects by what happens to them."""

    added: int = 0
    changed: int = 0
    there: int = 0  # already, and the same


@dataclass(slots=True)
class Plan:
    """The changes to make, in the order of its fields."""

    users: list[KeptUser] = field(default_factory=list)
    vhosts: list[bytes] = field(default_factory=list)
    permissions: list[KeptPermission | KeptTopicPermission] = field(default_factory=list)
    policies: list[WantedPolicy] = field(default_factory=list)
    exchanges: list[WantedExchange] = field(default_factory=list)
    queues: list[WantedQueue] = field(default_factory=list)
    bindings: list[WantedBinding] = field(default_factory=list)
    counts: dict[str, Count] = field(default_factory=lambda: {it: Count() for it in KINDS})
    notes: list[str] = field(default_factory=list)

    def said(self) -> str:
        """For people: how many changes there are."""
        done = {kind: it.added + it.changed for kind, it in self.counts.items()}
        found = ", ".join(
            f"{count} {kind.replace('_', ' ')}" for kind, count in done.items() if count
        )
        return found or "nothing new"


class _Place(NamedTuple):
    """One exchange with its bindings, to try the wanted bindings."""

    matcher: Matcher
    bound: set[object]  # what is bound, as it compares


class Planner:
    """Plans one import."""

    def __init__(self, queues: "Queues", access: Access, wanted: Wanted) -> None:
        self._queues, self._access, self._wanted = queues, access, wanted
        self._plan = Plan()
        self._faults: list[str] = []
        self._faulty = 0
        self._exchanges: dict[tuple[str, bytes], ExchangeFacts] = {}
        self._new_queues: dict[tuple[str, bytes], QueueFacts] = {}
        self._places: dict[tuple[str, bytes], _Place] = {}
        self._coming_users: set[str] = set()
        self._coming_vhosts: set[str] = set()

    def steps(self) -> Steps:
        """Returns a Plan. Raises InvalidDefinitions where all of it is refused."""
        wanted = self._wanted
        vhosts, users = dict.fromkeys(wanted.vhosts), {it.name: it for it in wanted.users}
        yield from self._each(vhosts, "vhosts", self._new_vhost)
        yield from self._each(users.values(), "users", self._user)
        self._check_not_locked_out()
        yield from self._each(wanted.permissions, "permissions", self._permission)
        yield from self._each(wanted.topic_permissions, "topic_permissions", self._permission)
        yield from self._each(wanted.policies, "policies", self._policy)
        self._check_policies()
        yield from self._each(wanted.exchanges, "exchanges", self._exchange)
        yield from self._each(wanted.queues, "queues", self._queue)
        yield from self._find_places()
        yield from self._each(wanted.bindings, "bindings", self._binding)
        yield from self._find_circles()
        if self._faulty:
            more = self._faulty - len(self._faults)
            self._faults += [f"and {more} more"] if more else []
            raise InvalidDefinitions("; ".join(self._faults))
        self._plan.notes = list(wanted.notes.all())
        return self._plan

    def _each(self, rows: Iterable[_T], kind: str, look: Callable[[_T, Count], None]) -> Steps:
        """Each of them, once; what can't be is gathered."""
        count = self._plan.counts[kind]
        for number, row in enumerate(rows, 1):
            try:
                look(row, count)
            except LogstoreError as error:
                self._fault(f"{kind}: {error}")
            if number % AT_ONCE == 0:
                yield AT_ONCE

    def _fault(self, sentence: str) -> None:
        self._faulty += 1
        if len(self._faults) < FAULTS_MAX:
            self._faults.append(sentence)
        if self._faulty >= TRIED_MAX:
            raise InvalidDefinitions("; ".join([*self._faults, "and many more"]))

    # Users and virtual hosts

    def _new_vhost(self, name: str, count: Count) -> None:
        if data(name) in self._queues.vhosts:
            count.there += 1
            return
        count.added += 1
        self._plan.vhosts.append(data(name))
        self._coming_vhosts.add(name)

    def _user(self, it: WantedUser, count: Count) -> None:
        before = self._access.to_be(it.name)
        now = KeptUser(it.name, it.scram, it.tags, rabbit=it.rabbit)
        if before is not None:
            now = replace(now, redis=before.redis)
            if not (it.scram or it.rabbit):
                now = replace(before, tags=it.tags)
        _count(count, before, now)
        if now != before:
            self._plan.users.append(now)
            self._coming_users.add(it.name)

    def _check_not_locked_out(self) -> None:
        """As Access says it when it is asked to change them: but now, when nothing is changed."""
        coming = {it.name: it for it in self._plan.users}
        users = self._access.users
        if any(map(steers, users.values())) and not any(map(steers, {**users, **coming}.values())):
            self._fault("users: none would be left with the tag administrator")

    def _permission(self, it: KeptPermission | KeptTopicPermission, count: Count) -> None:
        self._check_vhost(it.vhost)
        if it.user not in self._coming_users:
            new_permission(self._access, it)
        else:
            _check_expressions(it)
        there = (
            self._access.permissions.get((it.user, it.vhost))
            if isinstance(it, KeptPermission)
            else self._access.topic_permissions.get((it.user, it.vhost, it.exchange))
        )
        _count(count, there, it)
        if there != it:
            self._plan.permissions.append(it)

    def _check_vhost(self, name: str) -> None:
        if data(name) not in self._queues.vhosts and name not in self._coming_vhosts:
            raise Refused(f"virtual host {name!r} exists neither here nor in the definitions")

    def _vhost(self, name: str) -> "Vhost | None":
        """One that there is."""
        self._check_vhost(name)
        return self._queues.vhosts.get(data(name))

    # What is in them

    def _policy(self, it: WantedPolicy, count: Count) -> None:
        vhost = self._vhost(it.vhost)
        there = None if vhost is None else vhost.policies.by_name.get(it.policy.name)
        _count(count, there, it.policy)
        if there != it.policy:
            self._plan.policies.append(it)

    def _check_policies(self) -> None:
        names: dict[str, set[str]] = {}
        for it in self._plan.policies:
            names.setdefault(it.vhost, set()).add(it.policy.name)
        for name, own in names.items():
            vhost = self._queues.vhosts.get(data(name))
            there = set() if vhost is None else set(vhost.policies.by_name)
            if len(there | own) > POLICIES_MAX:
                self._fault(f"policies: virtual host {name!r} has at most {POLICIES_MAX}")

    def _exchange(self, it: WantedExchange, count: Count) -> None:
        facts, vhost = it.facts, self._vhost(it.vhost)
        _ = facts.alternate
        matcher_of(facts.type_name)(facts.arguments, random.randrange)
        there = self._there(vhost, facts.name)
        planned = self._exchanges.get((it.vhost, facts.name))
        if (before := there or planned) is not None:
            exchange.check_equivalent(before, facts)
            count.there += 1
            return
        if facts.type_name == TO_TOPIC:
            from logstore.broker.queues.topic_station import topic_of

            topic_of(facts)
        if vhost is not None:
            self._queues.routes.check_exchange(vhost, facts)
        self._exchanges[it.vhost, facts.name] = facts
        count.added += 1
        self._plan.exchanges.append(it)

    def _there(self, vhost: "Vhost | None", name: bytes) -> ExchangeFacts | None:
        if vhost is None:
            return next((it for it in exchange.PREDEFINED if it.name == name), None)
        return vhost.topology.exchange(name) if vhost.topology.has_exchange(name) else None

    def _queue(self, it: WantedQueue, count: Count) -> None:
        facts, vhost = it.facts, self._vhost(it.vhost)
        queue = None if vhost is None else vhost.topology.queue(facts.name)
        before = self._new_queues.get((it.vhost, facts.name)) if queue is None else queue.facts
        if before is None:
            if facts.type_name == STREAM:
                self._check_stream(it, vhost)
            self._new_queues[it.vhost, facts.name] = facts
            count.added += 1
            self._plan.queues.append(it)
            return
        if before.exclusive:
            raise Refused(f"queue {text(facts.name)!r} is exclusive to a connection")
        check_equivalent(before, facts)
        count.there += 1

    def _check_stream(self, it: WantedQueue, vhost: "Vhost | None") -> None:
        """Raises what its declaration would: its name is that of a topic, too."""
        from logstore.broker.queues.streams.made import check
        from logstore.broker.queues.streams.topic_of import (
            check_no_companion,
            check_single,
            topic_name,
        )

        check(it.facts)
        topic, topics = topic_name(data(it.vhost), it.facts.name), self._queues.streams().topics
        check_single(topics, it.facts.name, topic)
        check_no_companion(topics, it.facts.name, topic)
        if vhost is not None:
            self._queues.routes.check_stream(vhost, it.facts.name)

    def _binding(self, it: WantedBinding, count: Count) -> None:
        binding, vhost = it.binding, self._vhost(it.vhost)
        check_ends(binding)
        source = self._facts(it.vhost, vhost, binding.source)
        missing = None
        if source is None:
            missing = f"exchange {text(binding.source)!r}"
        elif not self._has_end(it, vhost):
            missing = f"{binding.kind} {text(binding.destination)!r}"
        if missing is not None:
            shown = f"{text(binding.source)!r} to {binding.kind} {text(binding.destination)!r}"
            where = f"of virtual host {it.vhost!r}"
            self._wanted.notes.add(
                f"the binding from {shown} {where} is left out: {missing} does not exist"
            )
            return
        assert source is not None
        place = self._places[it.vhost, binding.source]
        identity = _identity(binding)
        if identity in place.bound:
            count.there += 1
            return
        place.matcher.add(binding, binding.destination)
        if vhost is not None and _are_there(vhost, binding):
            self._queues.routes.check_binding(vhost, binding)
        place.bound.add(identity)
        count.added += 1
        self._plan.bindings.append(it)

    def _find_circles(self) -> Steps:
        """Those that several of what is new close together; none of a new virtual host can."""
        plan, there = self._plan, {text(name): it for name, it in self._queues.vhosts.items()}
        exchanges = ((there[it.vhost], it.facts) for it in plan.exchanges if it.vhost in there)
        streams = (
            (there[it.vhost], it.facts.name)
            for it in plan.queues
            if it.vhost in there and it.facts.type_name == STREAM
        )
        bindings = ((there[it.vhost], it.binding) for it in plan.bindings if it.vhost in there)
        if self._faulty:
            return
        alternates = yield from self._alternates()
        found = self._queues.routes.check_together(exchanges, streams, bindings, alternates)
        for number, error in enumerate(found, 1):
            if error is not None:
                self._fault(f"bindings: {error}")
                return
            if number % AT_ONCE == 0:
                yield AT_ONCE

    def _alternates(self) -> Generator[int | Wait, Any, list[tuple["Vhost", bytes, bytes]]]:
        """Of exchanges, new ones too, by policies that are new."""
        found: list[tuple[Vhost, bytes, bytes]] = []
        new = [it for it in self._plan.policies if ALTERNATE in it.policy.definition]
        for name in dict.fromkeys(it.vhost for it in new):
            vhost = self._queues.vhosts.get(data(name))
            if vhost is None:
                continue
            policies = Policies()
            coming = (it.policy for it in self._plan.policies if it.vhost == name)
            policies.put(*vhost.policies.by_name.values(), *coming)
            made = [it.facts for it in self._plan.exchanges if it.vhost == name]
            for number, facts in enumerate([*vhost.topology.exchanges(), *made], 1):
                alternate = alternate_of(facts, policies.of_exchange(facts.name))
                if alternate is not None:
                    found.append((vhost, facts.name, alternate))
                if number % AT_ONCE == 0:
                    yield AT_ONCE
        return found

    def _facts(self, name: str, vhost: "Vhost | None", exchange: bytes) -> ExchangeFacts | None:
        return self._there(vhost, exchange) or self._exchanges.get((name, exchange))

    def _has_end(self, it: WantedBinding, vhost: "Vhost | None") -> bool:
        kind, name = it.binding.kind, it.binding.destination
        if kind == "exchange":
            return self._facts(it.vhost, vhost, name) is not None
        queue = None if vhost is None else vhost.topology.queue(name)
        if queue is not None:
            return not queue.facts.exclusive
        return (it.vhost, name) in self._new_queues

    def _find_places(self) -> Steps:
        """The exchanges that something is bound from, with what is there: that may be much."""
        done = 0
        for name, source in {(it.vhost, it.binding.source): None for it in self._wanted.bindings}:
            vhost = self._queues.vhosts.get(data(name))
            facts = self._facts(name, vhost, source)
            if facts is None:
                continue  # which is told of each binding
            matcher = matcher_of_kept(facts.type_name, facts.arguments, random.randrange)
            bound: set[object] = set()
            if vhost is not None and vhost.topology.has_exchange(source):
                for binding in list(vhost.topology.bindings_from(source)):
                    bound.add(_identity(binding))
                    done += 1
                    if done % AT_ONCE == 0:
                        yield AT_ONCE
            self._places[name, source] = _Place(matcher, bound)


def _are_there(vhost: "Vhost", binding: Binding) -> bool:
    """Whether both of its ends are, and not to be made."""
    topology = vhost.topology
    if binding.kind == "queue":
        end = topology.queue(binding.destination) is not None
    else:
        end = topology.has_exchange(binding.destination)
    return end and topology.has_exchange(binding.source)


def _identity(binding: Binding) -> object:
    """Two are one where their arguments differ in the width of a number alone: JSON has one."""
    arguments = comparable(binding.arguments) if binding.arguments.fields else None
    return binding.destination, binding.kind, binding.key, arguments


def _count(count: Count, there: object, wanted: object) -> None:
    if there is None:
        count.added += 1
    elif there == wanted:
        count.there += 1
    else:
        count.changed += 1


def _check_expressions(permission: KeptPermission | KeptTopicPermission) -> None:
    """Of a user who is to be made: what new_permission checks besides."""
    from logstore.access.permissions import check_expression

    for it in (permission.write, permission.read):
        check_expression(it)
    if isinstance(permission, KeptPermission):
        check_expression(permission.configure)
