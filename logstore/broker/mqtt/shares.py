"""Shared subscriptions: sessions that share the messages of one filter in turn (4.8.2).

All sessions with the same group and filter are one member of the space of topics. Its one queue
exists while at least one of them is subscribed; each connected session consumes from it as much as
its client accepts. When a connection ends, another session immediately gets its unacknowledged
messages of QoS 1; a message of QoS 2 that was sent stays with the session [MQTT-4.8.2-4, -5].
"""

import logging
from functools import partial
from hashlib import sha256
from typing import Final

from logstore.broker.history import Kept
from logstore.broker.listeners import Chunk, Form
from logstore.broker.mqtt.filters import SHARE, shared
from logstore.broker.mqtt.grants import Granted
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.outlet import Outlet
from logstore.broker.mqtt.session import SHARED, Home, Session
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.queue import Queue
from logstore.broker.routing.arguments import Arguments, Field
from logstore.errors import LogstoreError
from logstore.slices import Steps

ALL: Final = Grant(2)  # of the group: each session has its own
_NAME_BYTES_MAX: Final = 255
GROUP_UNITS: Final = 6  # of work in slices, to leave one: its queue may go

log: Final = logging.getLogger("logstore.mqtt")


def queue_name(filter: bytes) -> bytes:
    """Return the name of a group's queue: the whole filter, or its digest if it is very long."""
    if len(filter) <= _NAME_BYTES_MAX:
        return filter
    return b"$share/~" + sha256(filter).hexdigest().encode()


class Group:
    """All subscribers of a shared filter, as one ``Member``."""

    __slots__ = ("__weakref__", "filter", "outlets", "queue")

    live = False
    shared = True

    def __init__(self, filter: bytes, queue: Queue) -> None:
        """``filter``: the whole of it, with ``$share`` and the group."""
        self.filter = filter
        self.queue: Queue | None = queue
        self.outlets: dict[Session, Outlet] = {}

    def form_of(self, *, retain_as_published: bool, ids: tuple[int, ...]) -> Form:
        """As Member.form_of."""
        raise AssertionError("a group has a queue, and nothing else")

    def deliver(self, chunk: Chunk) -> None:
        """As Member.deliver."""
        raise AssertionError("a group has a queue, and nothing else")

    def deliver_kept(self, chunk: Chunk, kept: Kept) -> None:
        """As Member.deliver_kept."""
        raise AssertionError("members read no histories")


class Shares:
    """The ``session.Shares`` of a process."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._groups: dict[bytes, Group] = {}
        self._leaving: dict[Session, None] = {}  # that have ended, and leave some in a turn

    def queues(self) -> set[int]:
        """Return the numbers of the queues of all groups."""
        return {it.queue.id for it in self._groups.values() if it.queue is not None}

    def join(self, session: Session, filter: bytes, grant: Grant) -> None:
        """As Shares.join."""
        for it in self._leaving:  # a new session gets nothing that they leave
            self._leave_group(it, filter)
        group = self._groups.get(filter)
        if group is None:
            group = Group(filter, self._made(filter))
            self._groups[filter] = group
            self._home.space.subscribe(group, _inner(filter), ALL)
        outlet = group.outlets.get(session)
        if outlet is not None:
            outlet.granted = _granted(grant)
            return
        self._enter(group, session, grant)

    def _enter(self, group: Group, session: Session, grant: Grant) -> None:
        assert group.queue is not None
        outlet = Outlet(
            session.out, group.queue, _granted(grant), partial(self._lost, group), shared=True
        )
        group.outlets[session] = outlet
        session.out.add(outlet)

    def leave(self, session: Session, filter: bytes) -> None:
        """As Shares.leave."""
        assert filter in self._groups
        self._leave_group(session, filter)

    def leaving(self, session: Session) -> Steps:
        """As Shares.leaving."""
        self._leaving[session] = None
        return self._leave_all(session)

    def _leave_all(self, session: Session) -> Steps:
        for filter, _ in session.grants:  # which are what they were
            if filter.startswith(SHARE):
                self._leave_group(session, filter)
                yield GROUP_UNITS
            else:
                yield 1
        del self._leaving[session]

    def _leave_group(self, session: Session, filter: bytes) -> None:
        """Remove the session from the group. Has no effect if it is not a member."""
        group = self._groups.get(filter)
        if group is None or session not in group.outlets:
            return
        session.out.retire(group.outlets.pop(session))
        if group.outlets:
            return
        del self._groups[filter]
        self._home.space.leave(group)
        queue = group.queue
        if queue is not None and not queue.gone:
            self._home.vhost.delete_queue(queue)

    def _made(self, filter: bytes) -> Queue:
        vhost, name = self._home.vhost, queue_name(filter)
        there = vhost.topology.queue(name)
        if there is not None and there.facts.lasts and there.facts.arguments.get(SHARED):
            return there.plain("subscriptions of MQTT")  # from before the start
        arguments = Arguments.of([*self._home.queue_arguments, (SHARED, Field("S", filter))])
        queue, _ = vhost.declare_queue(QueueFacts(name, True, False, False, arguments), None)
        return queue.plain("subscriptions of MQTT")

    def _lost(self, group: Group, outlet: Outlet) -> None:
        """Replace the group's queue if it was deleted."""
        if outlet.queue is group.queue and outlet.queue.gone:
            self._home.space.changed(group)
            group.queue = None
            self._home.soon(lambda: self._make_again(group))

    def _make_again(self, group: Group) -> None:
        if self._groups.get(group.filter) is not group or group.queue is not None:
            return
        try:
            queue = self._made(group.filter)
        except LogstoreError as error:
            log.error("%r is shared no more: %s", group.filter, error)  # noqa: TRY400
            return
        self._home.space.changed(group)
        group.queue = queue
        for session, outlet in list(group.outlets.items()):
            session.out.retire(outlet)
            grant = session.grants.get(group.filter)
            if grant is not None:
                self._enter(group, session, grant)


def _inner(filter: bytes) -> bytes:
    found = shared(filter)
    assert found is not None
    return found.filter


def _granted(grant: Grant) -> "_Granted":
    ids = (grant.id,) if grant.id else ()
    return _Granted(Granted(grant.qos, grant.retain_as_published, ids))


class _Granted:
    """The common options of all messages of a shared subscription."""

    __slots__ = ("_granted",)

    def __init__(self, granted: Granted) -> None:
        self._granted = granted

    def __call__(self, topic: bytes) -> Granted:
        return self._granted
