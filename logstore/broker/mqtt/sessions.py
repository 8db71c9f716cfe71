"""All MQTT sessions of a process, by client id: creation, take-over and expiry.

A session without an expiry interval ends with its connection; other sessions end when the interval
is over by the wall clock, so that it also passes while the process is down. Used in the sessions'
thread.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from logstore.amqp import fields
from logstore.broker.mqtt.deadlines import Deadlines
from logstore.broker.mqtt.line import Line
from logstore.broker.mqtt.session import CLIENT, SHARED, Session, Space
from logstore.broker.mqtt.shares import Shares
from logstore.broker.mqtt.telling import Hands, tell_gone
from logstore.broker.queues.limits import DROP_HEAD, REJECT_PUBLISH
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending, both
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field
from logstore.counts.mqtt_sessions import SessionCounts
from logstore.errors import LogstoreError, Refused
from logstore.kept.mqtt import (
    CONNECTED,
    NEVER,
    Kept,
    KeptMqtt,
    KeptSession,
    KeptSubscription,
    MqttKeeper,
)
from logstore.kept.queues import DEFAULT_VHOST
from logstore.settings import StoreSettings
from logstore.slices import Slices, Steps

ENDED_AT_ONCE: Final = 100  # sessions whose time is over that end in one turn
ALIVE_MS: Final = 60_000  # between notes that the process is alive
MINUTE_MS: Final = 60_000
REMADE_MAX: Final = 3  # times within that that a queue is made again: perhaps it can't be kept
RETRY_MS: Final = 1000  # after which a session is looked at again that its queue does not serve
DROP_NEW: Final = "drop-new"
TAKEN_OVER_TOLD: Final = 5  # times in a minute that are worth a line

log: Final = logging.getLogger("logstore.mqtt")


class Wanted(NamedTuple):
    """What a client requests in its CONNECT."""

    client: str  # its id; not empty
    user: str  # the user who has logged in; "": no login needed
    clean_start: bool
    expiry_s: int  # 0: the session ends with the connection; NEVER
    version: int  # 4: MQTT 3.1.1; 5
    line: Line


class Connected(NamedTuple):
    """The result: the client is accepted once everything that must be stored is stored."""

    session: Session
    present: bool  # whether it had the session before
    kept: Pending | None


class Wills(Protocol):
    """Publishes the wills of lost clients."""

    def left(self, session: Session, *, graceful: bool) -> None:
        """Handle the end of a connection. ``graceful``: by a DISCONNECT that wants no will sent."""

    def back(self, session: Session) -> None:
        """Cancel the pending will of a session that is connected again."""

    def ended(self, session: Session) -> None:
        """Publish the pending will of a session that has ended."""


class NoWills:
    """A ``Wills`` without any."""

    def left(self, session: Session, *, graceful: bool) -> None:
        """As Wills.left."""

    def back(self, session: Session) -> None:
        """As Wills.back."""

    def ended(self, session: Session) -> None:
        """As Wills.ended."""


class SessionsFull(Refused):
    """There is no memory for another session."""


class SessionLimits(NamedTuple):
    """The limits of all sessions and of each session."""

    sessions_max: int = 100_000  # that outlive their connections
    subscriptions_max: int = 10_000  # of one session
    expiry_max_s: int = NEVER
    queue: Arguments = NO_ARGUMENTS  # of their queues
    bytes_max: int = 1 << 62  # of memory, for all of them


NO_LIMITS: Final = SessionLimits()


def limits_of(settings: StoreSettings, bytes_max: int) -> SessionLimits:
    """Return the limits from the settings. ``bytes_max``: of memory."""
    drops_new = settings.mqtt_queued_overflow == DROP_NEW
    return SessionLimits(
        settings.mqtt_sessions_max,
        settings.mqtt_subscriptions_max,
        settings.mqtt_session_expiry_max_s,
        Arguments.of({
            b"x-max-length": Field("l", settings.mqtt_queued_messages_max),
            b"x-max-length-bytes": Field("l", settings.mqtt_queued_bytes_max),
            b"x-overflow": Field("S", REJECT_PUBLISH if drops_new else DROP_HEAD),
        }),
        bytes_max,
    )  # fmt: skip


class Sessions:
    """All sessions of one process."""

    def __init__(
        self,
        queues: Queues,
        space: Space,
        keeper: MqttKeeper,
        limits: SessionLimits = NO_LIMITS,
        counts: SessionCounts | None = None,
        holds: Callable[[int], None] = lambda more: None,
        slices: Slices | None = None,
    ) -> None:
        """Restore the stored sessions. ``holds``: is told of changes in memory, in bytes.

        Raises Failed.
        """
        self.space = space
        self.shares = Shares(self)
        self.wills: Wills = NoWills()
        self.counts = SessionCounts() if counts is None else counts
        self.soon = queues.soon
        self.held_bytes = 0
        self._holds = holds
        self.hands: Hands = queues
        self._queues = queues
        self._keeper = keeper
        self._limits = limits
        self._slices = Slices() if slices is None else slices
        self.clock = queues.clock
        self._by_client: dict[str, Session] = {}
        self._by_number: dict[int, Session] = {}
        self._away: dict[Session, None] = {}  # that last, and are not connected: the oldest first
        self._lasting = 0
        self.subscriptions = 0  # of all
        self._deadlines = Deadlines()
        self._unserved: dict[Session, None] = {}  # whose queue is to be looked at again
        self._alive_ms = 0  # when it was noted last
        self._closed = False
        queues.told_deleted.append(self._queue_gone)
        self._restore(keeper.load())

    # As Home

    @property
    def vhost(self) -> Vhost:
        """As Home.vhost."""
        return self._queues.vhost(DEFAULT_VHOST.encode())

    @property
    def queue_arguments(self) -> Arguments:
        """As Home.queue_arguments."""
        return self._limits.queue

    @property
    def subscriptions_max(self) -> int:
        """As Home.subscriptions_max."""
        return self._limits.subscriptions_max

    def keep(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Pending:
        """As Home.keep."""
        return Pending(self._keeper.change(keep, forget))

    def holds(self, more: int) -> None:
        """As Home.holds."""
        self.held_bytes += more
        self._holds(more)

    def in_parts(self, steps: Steps) -> None:
        """As Home.in_parts."""
        self._slices.begin(steps, _done)

    @property
    def crowded(self) -> bool:
        """As Home.crowded."""
        return self.held_bytes > self._limits.bytes_max

    def subscribed(self, more: int) -> None:
        """As Home.subscribed."""
        self.subscriptions += more

    # Stored sessions

    def _restore(self, kept: KeptMqtt) -> None:
        for error in kept.damaged:
            log.error("%s", error)
        now_ms = self.clock()
        rows: dict[int, list[KeptSubscription]] = {it.id: [] for it in kept.sessions}
        for row in kept.subscriptions:
            if row.session in rows:
                rows[row.session].append(row)
        # When clients that were connected at the end of the process were disconnected: no one could
        # note the exact time.
        at_ms = min(now_ms, kept.alive_ms) if kept.alive_ms else now_ms
        ended = {it.id for it in kept.sessions if it.left_ms == CONNECTED}
        facts = [it._replace(left_ms=at_ms) if it.id in ended else it for it in kept.sessions]
        newest = {it.client: it.id for it in sorted(facts)}
        for fact in sorted(facts, key=lambda it: it.left_ms):
            if newest[fact.client] == fact.id:
                self._add_restored(fact, rows[fact.id])
        changed = [it for it in facts if it.id in ended and newest[it.client] == it.id]
        doubled = [it for it in facts if newest[it.client] != it.id]
        if changed or doubled:
            self.keep(changed, doubled)
        if not kept.damaged:  # otherwise a queue may belong to a damaged row
            self._remove_left()
        self._arm()

    def _add_restored(self, fact: KeptSession, rows: Sequence[KeptSubscription]) -> None:
        session = Session(fact, self, lasts=True)
        self._add(session)
        self._away[session] = None
        try:
            session.restore(rows)
        except LogstoreError as error:
            log.error("the session of client %r is not whole: %s", fact.client, error)  # noqa: TRY400
        self._expect(session)

    def _remove_left(self) -> None:
        """Remove queues and journal entries of ended sessions that an earlier process has left."""
        known = {it.queue.id for it in self.there() if it.queue is not None} | self.shares.queues()
        for queue in list(self.vhost.queues()):
            if is_of_session(queue) and queue.id not in known:
                self.vhost.goes(queue)
        for number in self.hands.handing_over():
            if number not in self._by_number:
                tell_gone(self.hands, number)

    # Which there are

    def there(self) -> Iterable[Session]:
        """Return all sessions, in the order in which they were created."""
        return self._by_client.values()

    def __len__(self) -> int:
        return len(self._by_client)

    @property
    def connected(self) -> int:
        """The number of sessions whose client is connected."""
        return len(self._by_client) - len(self._away)

    def of(self, client: str) -> Session | None:
        """Return the session of this client id, or None."""
        return self._by_client.get(client)

    def numbered(self, number: int) -> Session | None:
        """Return the session with this number, or None."""
        return self._by_number.get(number)

    def _add(self, session: Session) -> None:
        self._by_client[session.client] = session
        self._by_number[session.number] = session
        self._lasting += session.lasts

    # Connections

    def connect(self, wanted: Wanted) -> Connected:
        """Admit a client with its existing session, or a new one.

        Ends an existing connection of the client. Raises the errors of removing old queues.
        """
        ended: Pending | None = None
        session, why = self._by_client.get(wanted.client), ""
        if session is not None:
            if session.connected:
                self._take_over(session)
            why = self._ends(session, wanted)
            if why and not session.ended:
                log.info("the session of client %r ends: %s", session.client, why)
                ended = self.end(session)
        present = session is not None and not session.ended
        if session is None or session.ended:
            session = self._new(wanted)
        kept = self._comes(session, wanted)
        if kept is not None and ended is not None:
            kept = both(ended, kept)
        return Connected(session, present, kept or ended)

    def _ends(self, session: Session, wanted: Wanted) -> str:
        """Return why the client cannot go on with this session; empty: it can."""
        if session.ended:
            return "its connection has"
        deadline_ms = session.deadline_ms
        if deadline_ms is not None and deadline_ms <= self.clock():
            self.counts.expired += 1
            return "it has expired"
        if session.user != wanted.user:
            return f"it was of user {session.user!r}, and user {wanted.user!r} has come"
        return "a clean start is wanted" if wanted.clean_start else ""

    def _take_over(self, session: Session) -> None:
        line = session.line
        assert line is not None
        self.counts.taken_over += 1
        self._tell_taken_over(session)
        self.left(session, line)
        line.taken_over()

    def _tell_taken_over(self, session: Session) -> None:
        now_ms = self.clock()
        times = [it for it in session.taken_over_at if it > now_ms - MINUTE_MS]
        if len(times) + 1 == TAKEN_OVER_TOLD:
            log.warning(
                "client id %r: its connection was taken over %d times in a minute: two clients may "
                "have the same id", session.client, TAKEN_OVER_TOLD,
            )  # fmt: skip
        session.taken_over_at = [*times, now_ms][-2 * TAKEN_OVER_TOLD :]

    def _new(self, wanted: Wanted) -> Session:
        self.make_room()
        if self.crowded:
            raise SessionsFull(
                f"sessions of {len(self)} MQTT clients take {self.held_bytes} bytes: there is"
                " no memory for another (memory.clients.max.bytes)"
            )
        self.counts.begun += 1
        lasts = min(wanted.expiry_s, self._limits.expiry_max_s) > 0
        fact = KeptSession(self._queues.next_id(), wanted.client, wanted.user)
        session = Session(fact, self, lasts=lasts)
        self._add(session)
        if lasts:
            self.make_room()
        return session

    def _comes(self, session: Session, wanted: Wanted) -> Pending | None:
        if session.left_ms != CONNECTED:
            self.counts.resumed += 1
        session.line = wanted.line
        session.version = wanted.version
        session.expiry_s = min(wanted.expiry_s, self._limits.expiry_max_s)
        session.left_ms = CONNECTED
        self._away.pop(session, None)
        self._deadlines.forget(session.number)
        self.wills.back(session)
        self._note_alive()
        self._arm()
        return session.keep()

    def make_room(self) -> None:
        """If there are too many sessions, end those that were disconnected longest ago."""
        most = self._limits.sessions_max
        while self._away and (self._lasting > most or self.crowded):
            why = f"at most {most} are allowed (mqtt.sessions.max)"
            if self._lasting <= most:
                why = "there is no memory for more (memory.clients.max.bytes)"
            oldest = next(iter(self._away))
            self.counts.crowded_out += 1
            log.warning(
                "the session of client %r ends, with what waited for it: it was left longest ago, "
                "and %s", oldest.client, why,
            )  # fmt: skip
            self.end(oldest)

    def refused(self, connected: Connected) -> None:
        """Undo ``connect``: the session could not be stored, so its client is not admitted."""
        session, present, _ = connected
        if session.ended or session.line is None:
            return
        if present:
            self.left(session, session.line)
        else:
            session.line = None  # which says itself what has happened
            self.end(session)

    def left(
        self, session: Session, line: Line, *, expiry_s: int | None = None, graceful: bool = False
    ) -> None:
        """Handle the end of a connection. Has no effect if the client has connected again.

        ``expiry_s``: from the client's DISCONNECT. ``graceful``: as in ``Wills.left``.
        """
        if session.ended or session.line is not line:
            return
        if expiry_s is not None:
            session.expiry_s = min(expiry_s, self._limits.expiry_max_s)
        session.parted(self.clock())
        self.wills.left(session, graceful=graceful)
        if session.expiry_s == 0 or not session.lasts:
            self.end(session)
            return
        self._away[session] = None
        self._expect(session)
        session.keep()
        self.make_room()

    def end(self, session: Session, reason: str = "") -> Pending | None:
        """End the session with all messages that wait for it; return what must be waited for.

        ``reason``: sent to the client if it is connected.
        """
        assert not session.ended
        line, session.line = session.line, None
        self._deadlines.forget(session.number)
        self._unserved.pop(session, None)
        self._away.pop(session, None)
        del self._by_client[session.client], self._by_number[session.number]
        self._lasting -= session.lasts
        self.in_parts(session.out.detach())
        pending = session.end()
        self.wills.ended(session)
        if line is not None:
            line.session_ended(reason)
        return pending

    def _queue_gone(self, queue: Queue) -> None:
        """Replace the queue of a session soon, if the deleted queue was of one."""
        field = queue.facts.arguments.get(CLIENT)
        session = None if field is None else self.of(fields.text(field.value))
        if session is None or not session.has(queue) or self._closed:
            return
        quick = self.clock() < session.queue_made_ms + RETRY_MS
        session.remade = session.remade + 1 if quick else 0
        if session.remade > REMADE_MAX:
            self.look_again(session)
        else:
            self.soon(session.look_at_queue)

    def look_again(self, session: Session) -> None:
        """As Home.look_again."""
        if not self._unserved:
            self._queues.alarm(self, self.clock() + RETRY_MS)
        self._unserved[session] = None

    def _look_again(self) -> None:
        unserved, self._unserved = self._unserved, {}
        for session in unserved:
            session.look_at_queue()

    # Time

    def _expect(self, session: Session) -> None:
        deadline_ms = session.deadline_ms
        if deadline_ms is not None:
            self._deadlines.set(session.number, deadline_ms)
            self._arm()

    def _arm(self) -> None:
        """Schedule the next call of ``wake``."""
        due = [] if (at_ms := self._deadlines.next_ms) is None else [at_ms]
        if self._unserved:
            due.append(self.clock() + RETRY_MS)
        if self._anybody_lasts:
            due.append(self._alive_ms + ALIVE_MS)
        if due:
            self._queues.alarm(self, min(due))

    @property
    def _anybody_lasts(self) -> bool:
        """Whether a lasting session is connected, whose end no one can note if the process is
        killed.
        """
        return self._lasting > len(self._away)

    def _note_alive(self) -> None:
        now_ms = self.clock()
        if self._anybody_lasts and now_ms >= self._alive_ms + ALIVE_MS:
            self._alive_ms = now_ms
            self._keeper.change(alive_ms=now_ms)

    def wake(self) -> None:
        """Do the work that is due: expire sessions, and retry."""
        if self._closed:
            return
        self._look_again()
        due = self._deadlines.due(self.clock(), ENDED_AT_ONCE)
        for number in due:
            session = self._by_number[number]
            self.counts.expired += 1
            log.debug("the session of client %r has expired", session.client)
            self.end(session)
        self._note_alive()
        if len(due) == ENDED_AT_ONCE:
            self.soon(self.wake)
        else:
            self._arm()

    # The end

    def close(self) -> None:
        """Close the sessions at the end of the process, before its queues: sent messages are ready
        again.
        """
        self._closed = True
        now_ms = self.clock()
        left: list[Kept] = []
        for session in self._by_client.values():
            if session.connected:
                session.parted(now_ms)
                if session.lasts:
                    left.append(session.fact())
            session.out.give_back()
        if left:
            self.keep(left)


def _done(_: object) -> None:
    """Do nothing: no one waits for the end of these steps."""


def is_of_session(queue: Named) -> bool:
    """Whether the queue was made for a session or a group, and outlives the process."""
    arguments = queue.facts.arguments
    return queue.facts.lasts and any(arguments.get(it) is not None for it in (CLIENT, SHARED))
