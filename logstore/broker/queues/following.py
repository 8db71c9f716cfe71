"""Applies what other nodes have created and deleted to this node's model.

These changes are already stored, and are not stored again. This node's own changes arrive, too, and
have no further effect. If two nodes have created objects of the same name and this node's object
was second, its object is removed and the other one is added.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from logstore.amqp import fields
from logstore.broker.policies import Policy, check
from logstore.broker.queues.keeping import exchange_facts, policy_of
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import is_predefined
from logstore.errors import LogstoreError
from logstore.kept.queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptNews,
    KeptPolicy,
    KeptQueue,
    KeptRouting,
    KeptVhost,
)

log: Final = logging.getLogger("logstore.queues")

Owns = Callable[[Named], bool]


class Model(Protocol):
    """The model that is changed: as Queues."""

    def restored(self, row: KeptQueue, vhost: Vhost) -> Named: ...
    def follow_vhost(self, fact: KeptVhost) -> Vhost: ...
    def vhost_left(self, vhost: Vhost) -> None: ...
    def vhost(self, name: bytes) -> Vhost: ...


class Following:
    """The following of one node. In the sessions' thread."""

    def __init__(self, model: Model, kept: KeptRouting, owns: Owns = lambda queue: False) -> None:
        """``kept``: the stored state from which the model was made.

        ``owns``: whether this node deletes the messages of a queue that another node has deleted.
        """
        self._model = model
        self._owns = owns
        # By number. A removed object may already be removed here, and its name used by another one.
        self._vhosts = {it.id: model.vhost(fields.data(it.name)) for it in kept.vhosts}
        self._ends: dict[int, KeptExchange | KeptQueue] = {it.id: it for it in kept.exchanges}
        self._ends.update((it.id, it) for it in kept.queues)
        self._bindings: dict[int, tuple[Vhost, Binding]] = {}
        for row in kept.bindings:
            self._known_binding(row)

    def show(self, news: KeptNews) -> None:
        """Apply changes of another process, in order. Raises nothing."""
        for fact in news.gone:
            if isinstance(fact, KeptVhost):  # first: it takes all its contents with it
                self._leave_vhost(fact)
        policies: dict[Vhost, tuple[list[KeptPolicy], list[KeptPolicy]]] = {}
        for fact in news.gone:
            if isinstance(fact, KeptPolicy):
                self._note_policy(policies, fact, gone=True)
            else:
                self._take(fact)
        for fact in (*news.came, *news.changed):
            if isinstance(fact, KeptVhost):
                self._follow_vhost(fact)
        for fact in (*news.came, *news.changed):
            if isinstance(fact, KeptPolicy):
                self._note_policy(policies, fact, gone=False)
        for vhost, (gone, put) in policies.items():  # before queues, which ask which one counts
            self._follow_policies(vhost, gone, put)
        for fact in (*news.came, *news.changed):
            self._put(fact)

    def _vhost(self, number: int) -> Vhost | None:
        vhost = self._vhosts.get(number)
        return None if vhost is None or vhost.gone else vhost

    # Virtual hosts

    def _follow_vhost(self, fact: KeptVhost) -> None:
        if self._vhost(fact.id) is None:
            self._vhosts[fact.id] = self._model.follow_vhost(fact)

    def _leave_vhost(self, fact: KeptVhost) -> None:
        vhost = self._vhosts.pop(fact.id, None)
        if vhost is not None and not vhost.gone:
            self._model.vhost_left(vhost)
            vhost.take_all(self._forgotten)

    def _forgotten(self, queue: Named) -> Pending | None:
        if not self._owns(queue):
            return None
        forgotten = Pending()
        forgotten.finish(None)
        return forgotten

    # Policies

    def _note_policy(
        self,
        policies: dict[Vhost, tuple[list[KeptPolicy], list[KeptPolicy]]],
        fact: KeptPolicy,
        *,
        gone: bool,
    ) -> None:
        vhost = self._vhost(fact.vhost)
        if vhost is None:
            return
        there = vhost.rows.policies.get(fact.name)
        if gone and there is not None and there.id == fact.id:
            vhost.rows.follow_policy(fact.name, None)
            policies.setdefault(vhost, ([], []))[0].append(fact)
        elif not gone and there != fact:
            vhost.rows.follow_policy(fact.name, fact)
            policies.setdefault(vhost, ([], []))[1].append(fact)

    @staticmethod
    def _follow_policies(
        vhost: Vhost, gone: Iterable[KeptPolicy], put: Iterable[KeptPolicy]
    ) -> None:
        found: list[Policy] = []
        removed = {it.name for it in gone}
        for row in put:
            try:
                found.append(check(policy_of(row)))
                removed.discard(row.name)
            except LogstoreError as error:  # a setting that another logstore took
                log.error("it does not count until it is set again: %s", error)  # noqa: TRY400
                removed.add(row.name)
        vhost.follow_policies(found, list(removed))

    # The rest, one by one

    def _put(self, fact: Kept) -> None:
        match fact:
            case KeptExchange():
                self._put_exchange(fact)
            case KeptQueue():
                self._put_queue(fact)
            case KeptBinding():
                self._put_binding(fact)

    def _take(self, fact: Kept) -> None:
        match fact:
            case KeptExchange():
                self._take_exchange(fact)
            case KeptQueue():
                self._take_queue(fact)
            case KeptBinding():
                self._take_binding(fact)

    def _put_exchange(self, row: KeptExchange) -> None:
        vhost = self._vhost(row.vhost)
        if vhost is None:
            return
        self._ends[row.id] = row
        name = fields.data(row.name)
        rows, topology = vhost.rows, vhost.topology
        there = rows.exchanges.get(name)
        if there is not None and there.id == row.id:
            return
        if is_predefined(name):
            rows.exchanges[name] = row
            return
        facts = exchange_facts(row)
        if topology.has_exchange(name):
            same = topology.exchange(name) == facts and topology.station(name) is None
            if not same:
                vhost.take(name, None)
        if topology.has_exchange(name):
            vhost.made_by_another(name)
        else:
            vhost.follow_exchange(facts)
        rows.exchanges[name] = row

    def _take_exchange(self, row: KeptExchange) -> None:
        self._ends.pop(row.id, None)
        vhost = self._vhost(row.vhost)
        name = fields.data(row.name)
        there = None if vhost is None else vhost.rows.exchanges.get(name)
        if vhost is None or there is None or there.id != row.id:
            return
        if is_predefined(name):
            del vhost.rows.exchanges[name]
        else:
            vhost.take(name, None)

    def _put_queue(self, row: KeptQueue) -> None:
        vhost = self._vhost(row.vhost)
        if vhost is None:
            return
        self._ends[row.id] = row
        if row.id in vhost.rows.queues:
            return
        other = vhost.topology.queue(fields.data(row.name))
        if other is not None:
            if not other.facts.lasts:
                log.warning(
                    "queue %r of one connection or until a restart goes: another node has made "
                    "one of its name that lasts", row.name,
                )  # fmt: skip
            vhost.take(other, None)
        vhost.follow_queue(self._model.restored(row, vhost))

    def _take_queue(self, row: KeptQueue) -> None:
        self._ends.pop(row.id, None)
        vhost = self._vhost(row.vhost)
        queue = None if vhost is None else vhost.rows.queues.get(row.id)
        if vhost is not None and queue is not None:
            vhost.take(queue, self._forgotten(queue))

    # Bindings

    def _known_binding(self, row: KeptBinding) -> tuple[Vhost, Binding] | None:
        source, to = self._ends.get(row.source), self._ends.get(row.destination)
        vhost = None if source is None else self._vhost(source.vhost)
        if vhost is None or source is None or to is None:
            return None
        binding = Binding(
            fields.data(source.name), fields.data(to.name), fields.data(row.key),
            arguments_of(row.arguments), "queue" if isinstance(to, KeptQueue) else "exchange",
        )  # fmt: skip
        self._bindings[row.id] = vhost, binding
        return vhost, binding

    def _put_binding(self, row: KeptBinding) -> None:
        self._bindings.pop(row.id, None)
        known = self._known_binding(row)
        if known is None:
            return
        vhost, binding = known
        there = vhost.rows.bindings.get(binding)
        if there is None or there.id != row.id:
            vhost.made_by_another(binding)
        try:
            if vhost.topology.join(binding):
                vhost.followed()
        except LogstoreError as error:  # its exchange is of a type that another logstore has
            log.error("a binding is not there: %s", error)  # noqa: TRY400
            return
        if vhost.topology.has_binding(binding):
            vhost.rows.bindings[binding] = row

    def _take_binding(self, row: KeptBinding) -> None:
        known = self._bindings.pop(row.id, None)
        if known is None:
            return
        vhost, binding = known
        there = vhost.rows.bindings.get(binding)
        if not vhost.gone and there is not None and there.id == row.id:
            vhost.take(binding, None)
