"""One client's session: its subscriptions, its queue, and its unacknowledged messages.

It is a member of the space of topics. While its client is disconnected, messages of QoS 1 and 2
wait in its queue, and messages of QoS 0 are not delivered to it. Used in the sessions' thread.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from secrets import randbelow
from typing import Final, Protocol

from logstore.amqp import fields
from logstore.broker.history import Kept as KeptHistory
from logstore.broker.listeners import Chunk, Form
from logstore.broker.mqtt.arrivals import Arrivals
from logstore.broker.mqtt.exact import Exact
from logstore.broker.mqtt.filters import SHARE, held_bytes_of, is_topic
from logstore.broker.mqtt.grants import UNASKED, Granted, Grants
from logstore.broker.mqtt.line import Line
from logstore.broker.mqtt.member import Grant, Member
from logstore.broker.mqtt.outbound import Outbound
from logstore.broker.mqtt.outlet import Outlet
from logstore.broker.mqtt.packet_ids import PID_MAX
from logstore.broker.mqtt.telling import Hands, tell_gone
from logstore.broker.queues.handovers import Sent
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.arguments import Arguments, Field
from logstore.counts.mqtt_sessions import SessionCounts
from logstore.errors import LogstoreError, Refused
from logstore.kept.mqtt import CONNECTED, NEVER, Kept, KeptSession, KeptSubscription
from logstore.slices import Steps

log: Final = logging.getLogger("logstore.mqtt")

# Beside its filters and its queue: the session, its tables and its places in those of others.
SESSION_BYTES: Final = 2200
QUEUE_BYTES: Final = 4000

# The argument that tells a queue of a session from others: the client's id.
CLIENT: Final = b"x-mqtt-client"
# The same of a queue that sessions share: the whole filter.
SHARED: Final = b"x-mqtt-shared"
_NAME: Final = b"mqtt-subscription-%bqos1"  # as in RabbitMQ
_NAME_BYTES_MAX: Final = 255


class TooManySubscriptions(Refused):
    """The session has the maximum number of subscriptions."""


def queue_name(client: str) -> bytes:
    """Return the name of the queue of a client's session; a very long id is replaced by
    its digest.
    """
    name = _NAME % fields.data(client)
    if len(name) <= _NAME_BYTES_MAX:
        return name
    return _NAME % (b"~" + sha256(fields.data(client)).hexdigest().encode())


class Space(Protocol):
    """What a session needs from the space of topics."""

    def subscribe(self, member: Member, filter: bytes, grant: Grant) -> object: ...
    def unsubscribe(self, member: Member, filter: bytes) -> object: ...
    def leave(self, member: Member) -> object: ...
    def leaving(self, member: Member) -> Steps:
        """Remove the member, in steps. The member already says that it is not live."""

    def changed(self, member: Member) -> object:
        """Note that the attributes of the member are about to change."""


class Shares(Protocol):
    """The shared subscriptions of all sessions (4.8.2)."""

    def join(self, session: "Session", filter: bytes, grant: Grant) -> None:
        """Subscribe the session to the shared subscription ``filter``. Raises Refused, as queues
        do.

        ``filter`` is the whole of it, with ``$share`` and the group.
        """

    def leave(self, session: "Session", filter: bytes) -> None: ...
    def leaving(self, session: "Session") -> Steps:
        """Remove the ended session from all groups, in steps."""

    def queues(self) -> set[int]:
        """Return the numbers of the queues of all groups."""


class Home(Protocol):
    """What a session needs from the other sessions and from the process."""

    space: Space
    counts: SessionCounts

    @property
    def shares(self) -> Shares: ...
    @property
    def subscriptions_max(self) -> int:
        """The largest number of subscriptions of one session."""

    @property
    def vhost(self) -> Vhost: ...
    @property
    def queue_arguments(self) -> Arguments:
        """The arguments of new queues: their limits."""

    @property
    def hands(self) -> Hands: ...
    def soon(self, call: Callable[[], object]) -> None: ...
    def in_parts(self, steps: Steps) -> None:
        """Run the steps, some in a turn; few steps run at once."""

    def keep(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Pending: ...
    def holds(self, more: int) -> None:
        """Change the count of memory in use by ``more`` bytes, which may be negative."""

    @property
    def crowded(self) -> bool:
        """Whether all sessions together have reached their memory limit."""

    def make_room(self) -> None:
        """If there are too many sessions, end those that were disconnected longest ago."""

    def subscribed(self, more: int) -> None:
        """Change the count of subscriptions by ``more``, which may be negative."""

    def clock(self) -> int:
        """Return the time in ms since 1970."""

    def look_again(self, session: "Session") -> None:
        """Schedule a call of the session's ``look_at_queue``."""


class Session:
    """The session of one client id."""

    __slots__ = (
        "__weakref__", "_arrivals", "_exact", "_home", "_kept_queue", "_queue", "client", "ended",
        "expiry_s", "grants", "held_bytes", "lasts", "left_ms", "line", "live", "number", "out",
        "queue_made_ms", "remade", "strict", "taken_over_at", "user", "version",
    )  # fmt: skip

    def __init__(self, kept: KeptSession, home: Home, *, lasts: bool) -> None:
        """``lasts``: the session outlives its connections and the process."""
        self.number = kept.id
        self.client = kept.client
        self.user = kept.user
        self.version = kept.version
        self.expiry_s = kept.expiry_s
        self.left_ms = kept.left_ms  # CONNECTED while it is
        self.lasts = lasts
        self.strict = kept.strict  # as KeptSession has it
        self.grants = Grants()
        # Packet ids begin at an arbitrary number: an acknowledgement meant for an earlier process
        # must not match a message of this one.
        self.out = Outbound(
            kept.client, home.soon, home.counts, self._hold, lambda: home.crowded,
            randbelow(PID_MAX),
        )  # fmt: skip
        self.line: Line | None = None
        self.live = False  # what is sent at most once is sent
        self.ended = False
        self.taken_over_at: Sequence[int] = ()  # ms, of the last minute
        self.held_bytes = SESSION_BYTES + 3 * len(kept.client)
        self._home = home
        self._exact: Exact | None = None  # once a message of QoS 2 may be sent to it
        self._arrivals: Arrivals | None = None  # once it has sent one
        self._queue: Queue | None = None
        self.queue_made_ms = 0  # when the last one was
        self.remade = 0  # how often since then it was lost again within a second
        self._kept_queue = kept.queue
        home.holds(self.held_bytes)

    shared = False  # as Member.shared

    def __repr__(self) -> str:
        return f"<Session {self.client!r} {self.number}>"

    # As it is kept

    def fact(self) -> KeptSession:
        """Return the row of the session."""
        queue = 0 if self._queue is None else self._queue.id
        return KeptSession(
            self.number, self.client, self.user, queue, self.version, self.expiry_s, self.left_ms,
            self.strict,
        )  # fmt: skip

    def keep(self) -> Pending | None:
        """Store the session as it is now; None: it is not to be stored."""
        return self._home.keep([self.fact()]) if self.lasts else None

    def restore(self, rows: Sequence[KeptSubscription]) -> None:
        """Restore the subscriptions and the queue from the stored rows. Raises Refused."""
        for row in sorted(rows):
            grant = Grant(row.qos, row.no_local, row.retain_as_published, row.number)
            self.grants.put(row.filter, grant, row.id)
            if grant.qos > 1:
                self.exact  # noqa: B018  from now on there is one
            self._hold(_bytes_of(row.filter))
            self._home.subscribed(1)
        queue = self._home.vhost.numbered(self._kept_queue) if self._kept_queue else None
        if queue is not None:
            self._has(queue)
        if self.grants.queued:
            self._need_queue()
        for filter, grant in self.grants:
            self._join(filter, grant)
        kept = self._home.hands.handovers(self.number)
        if kept.came:
            self._arrivals = Arrivals(
                self.number, self._home.hands, lasts=self.lasts, known=kept.came
            )
        if kept.sent:
            self.out.exact = self._exact = self._new_exact(kept.sent)

    # As Member

    @property
    def queue(self) -> Queue | None:
        """As ``Member.queue``; created again if it was deleted."""
        if self._queue is not None and self._queue.gone and not self.ended:
            self._lost_queue()
        return self._queue

    def form_of(self, *, retain_as_published: bool, ids: tuple[int, ...]) -> Form:
        """As ``Member.form_of``, for a live session only."""
        assert self.line is not None
        return self.line.form_of(retain_as_published=retain_as_published, ids=ids)

    def deliver(self, chunk: Chunk) -> None:
        """As Member.deliver."""
        if self.line is not None:
            self.line.deliver(chunk)

    def deliver_kept(self, chunk: Chunk, kept: KeptHistory) -> None:
        """As Member.deliver_kept."""
        raise AssertionError("members read no histories")

    # Its connection

    @property
    def connected(self) -> bool:
        return self.line is not None

    def begin(self, window: int) -> None:
        """Start sending, after CONNACK: first the unacknowledged messages, then the waiting ones.

        ``window``: how many messages the client may leave unacknowledged (receive maximum).
        """
        assert self.line is not None
        self._home.space.changed(self)
        self.live = True
        if self._arrivals is not None:
            self._arrivals.connected()
        line = self.line

        def all_again() -> None:
            self._home.look_again(self)

        if self._exact is None:
            self.out.attach(line, window, all_again)
            return

        def prepared() -> None:
            if self.line is line and not self.ended:
                self.out.attach(line, window, all_again)

        self._exact.prepare(prepared)

    def parted(self, now_ms: int) -> None:
        """Handle the end of the connection."""
        self._home.space.changed(self)
        self.line = None
        self.live = False
        self.left_ms = now_ms
        self._home.in_parts(self.out.detach())

    @property
    def deadline_ms(self) -> int | None:
        """When the session expires; None: never, or its client is connected."""
        if self.left_ms == CONNECTED or self.expiry_s == NEVER:
            return None
        return self.left_ms + 1000 * self.expiry_s

    # QoS 2

    @property
    def exact(self) -> Exact:
        """The exchanges of QoS 2 with messages to the client."""
        if self._exact is None:
            self.out.exact = self._exact = self._new_exact()
        return self._exact

    def _new_exact(self, kept: Mapping[int, Sent] | None = None) -> Exact:
        home = self._home
        later = partial(home.look_again, self)
        return Exact(self.number, self.out, home.hands, later, lasts=self.lasts, kept=kept)

    @property
    def arrivals(self) -> Arrivals:
        """The messages of QoS 2 that the client sends."""
        if self._arrivals is None:
            self._arrivals = Arrivals(self.number, self._home.hands, lasts=self.lasts)
        return self._arrivals

    @property
    def unreleased(self) -> int:
        """The number of messages that the client has sent on this connection and not released."""
        return 0 if self._arrivals is None else self._arrivals.unreleased

    # What its client asks

    def subscribe(self, wanted: Sequence[tuple[bytes, Grant]]) -> Pending | None:
        """Subscribe to these filters; each replaces an earlier subscription with the same filter.

        Returns what must be stored before they count; if that fails the earlier ones are restored.

        Filters must be legal and distinct. Raises Refused, and the errors of creating a queue: then
        nothing has changed.
        """
        new = sum(1 for it, _ in wanted if it not in self.grants)
        if len(self.grants) + new > self._home.subscriptions_max:
            raise TooManySubscriptions(
                f"client {self.client!r} has {len(self.grants)} subscriptions, and may have "
                f"{self._home.subscriptions_max} (mqtt.subscriptions.max)"
            )
        if new and self._home.crowded:
            self._home.make_room()
            if self._home.crowded:
                raise TooManySubscriptions(
                    "there is no memory for more subscriptions (memory.clients.max.bytes)"
                )
        queue = self._queue
        if any(grant.qos and not it.startswith(SHARE) for it, grant in wanted):
            queue = self._need_queue()
        rows: list[Kept] = []
        if queue is not None and queue.id != self._kept_queue:
            self._kept_queue = queue.id
            rows.append(self.fact())
        before = [(it, self.grants.get(it)) for it, _ in wanted]
        done: list[tuple[bytes, Grant | None]] = []
        try:
            for filter, grant in wanted:
                self._join(filter, grant)
                done.append((filter, self.grants.get(filter)))
                rows.append(self._put(filter, grant))
        except Refused:
            self._as_before(done)
            raise
        if not self.lasts:
            return None if queue is None else queue.kept
        pending = self._home.keep(rows)
        pending.then(lambda it: self._as_before(before) if it.error is not None else None)
        return pending

    def unsubscribe(
        self, filters: Sequence[bytes], *, forbidden: bool = False
    ) -> tuple[list[bool], Pending | None]:
        """End these subscriptions; return which of them existed, and what must be stored.

        Messages that already wait may still be delivered, unless the client may no longer read them
        (``forbidden``).
        """
        had, rows = [], list[Kept]()
        strict = self.strict or forbidden
        for filter in filters:
            grant = self.grants.get(filter)
            had.append(grant is not None)
            if grant is not None:
                rows.append(self._row(filter, grant))
                self._drop(filter)
        kept: list[Kept] = []
        if strict != self.strict:
            self.strict = strict
            kept = [self.fact()]
        if not rows or not self.lasts:
            return had, None
        return had, self._home.keep(kept, rows)

    def _put(self, filter: bytes, grant: Grant) -> KeptSubscription:
        if filter in self.grants:
            number = self.grants.number_of(filter)
        else:
            number = self.grants.next_number
            self._hold(_bytes_of(filter))
            self._home.subscribed(1)
        self.grants.put(filter, grant, number)
        if grant.qos > 1:
            self.exact  # noqa: B018  from now on there is one
        return self._row(filter, grant)

    def _row(self, filter: bytes, grant: Grant) -> KeptSubscription:
        number = self.grants.number_of(filter)
        qos, no_local, as_published, identifier = grant
        return KeptSubscription(
            self.number, number, filter, qos, no_local, as_published, identifier
        )

    def _drop(self, filter: bytes) -> None:
        if filter.startswith(SHARE):
            self._home.shares.leave(self, filter)
        else:
            self._home.space.unsubscribe(self, filter)
        self.grants.remove(filter)
        self._hold(-_bytes_of(filter))
        self._home.subscribed(-1)

    def _as_before(self, before: Sequence[tuple[bytes, Grant | None]]) -> None:
        """Restore the subscriptions as they were before: the change could not be stored."""
        if self.ended:
            return
        for filter, grant in before:
            if grant is not None:
                self._join(filter, grant)
                self._put(filter, grant)
            elif filter in self.grants:
                self._drop(filter)

    def _join(self, filter: bytes, grant: Grant) -> None:
        if filter.startswith(SHARE):
            self._home.shares.join(self, filter, grant)
        else:
            self._home.space.subscribe(self, filter, grant)

    def _hold(self, more: int) -> None:
        self.held_bytes += more
        self._home.holds(more)

    # Its queue

    def _need_queue(self) -> Queue:
        """Return the queue of the session, created if missing. Raises Refused, and errors of
        creation.
        """
        if self._queue is None or self._queue.gone:
            self._home.space.changed(self)
            self._has(self._made())
        assert self._queue is not None
        return self._queue

    def _made(self) -> Queue:
        vhost, name = self._home.vhost, queue_name(self.client)
        there = vhost.topology.queue(name)
        if there is not None and there.facts.arguments.get(CLIENT) is not None:
            vhost.goes(there)  # of a session that is gone
            there = None
        if there is not None and self.lasts and there.facts.lasts:
            return there.plain("subscriptions of MQTT")
        client = Field("S", fields.data(self.client))
        arguments = Arguments.of([*self._home.queue_arguments, (CLIENT, client)])
        facts = QueueFacts(name, True, not self.lasts, False, arguments)
        self.queue_made_ms = self._home.clock()
        queue, _ = vhost.declare_queue(facts, self)
        return queue.plain("subscriptions of MQTT")

    def _has(self, queue: Queue) -> None:
        self._queue = queue
        self._hold(QUEUE_BYTES)
        self.out.add(Outlet(self.out, queue, self._granted, self._cancelled))

    def _granted(self, topic: bytes) -> Granted | None:
        """Return the grant for a message of its queue; None: the message is not for the session."""
        found = self.grants.of(topic)
        if found is None and not self.strict and is_topic(topic):
            return UNASKED  # unsubscribed meanwhile, or put there by other ways
        return found

    def _cancelled(self, outlet: Outlet) -> None:
        """Do nothing: the session learns elsewhere that its queue is gone."""

    def has(self, queue: Queue) -> bool:
        """Whether the queue is the session's own."""
        return self._queue is queue

    def look_at_queue(self) -> None:
        """Retry what failed: create the queue if it is gone, consume it, and journal QoS 2."""
        if self.ended:
            return
        if self._exact is not None:
            self._exact.try_again()
        try:
            self.queue  # noqa: B018  it is made again
        except LogstoreError as error:
            log.warning("client %r has no queue: %s", self.client, error)
            self._home.look_again(self)
            return
        if not self.out.serve():
            self._home.look_again(self)

    def _lost_queue(self) -> None:
        """Replace the queue, which was deleted with its messages."""
        assert self._queue is not None
        outlet = next(it for it in self.out.outlets if it.queue is self._queue)
        self.out.remove(outlet)
        self._hold(-QUEUE_BYTES)
        self._queue = None
        if self.grants.queued:
            self._kept_queue = self._need_queue().id
            self.keep()

    # Its end

    def end(self) -> Pending | None:
        """End the session with all messages that wait for it; return what must be waited for.

        Its subscriptions are removed in steps, some in a turn.
        """
        self.ended = True
        home = self._home
        leaving = home.space.leaving(self)
        self.live = False
        if self._exact is not None:
            self._exact.ends()
        shared = home.shares.leaving(self)
        self.out.forget_shared()
        for outlet in [it for it in self.out.outlets if not it.shared]:
            self.out.remove(outlet)
        queue = self._queue
        home.holds(-self.held_bytes)
        home.subscribed(-len(self.grants))
        pending = home.keep((), [self.fact()]) if self.lasts else None
        if self.lasts and (self._exact is not None or self._arrivals is not None):
            tell_gone(home.hands, self.number)
        if queue is not None and not queue.gone:
            _, forgotten = home.vhost.delete_queue(queue)
            pending = forgotten if forgotten is not None else pending
        self._queue = None
        home.in_parts(shared)
        home.in_parts(leaving)
        return pending


def _bytes_of(filter: bytes) -> int:
    """The memory that a subscription takes in the space and in the session, in bytes."""
    return held_bytes_of(filter) + 300 + len(filter)
