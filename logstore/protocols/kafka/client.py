"""One connection as handlers see it: the client's own facts, and what the connection waits for.

Knows nothing of frames and their order, which ``session.py`` handles.
"""

from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from logstore.access.identity import Identity, anonymous
from logstore.access.quotas import Seat
from logstore.access.resources import CHANNEL, CLUSTER, CLUSTER_NAME, QUEUE, TOPIC
from logstore.access.rights import Rights
from logstore.broker.admission import GLANCE_MAX
from logstore.log import Log
from logstore.printable import printable
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.fetch_session import FetchSession
from logstore.protocols.kafka.slots import Slot
from logstore.protocols.session import Wake

KEPT_BYTES_MIN: Final = 4 << 20  # of a request: copying less takes less than 5 ms
WATCHED_SPARE: Final = 16  # logs that may wake a connection for nothing
DOOR: Final = "kafka"  # as identities have it
ASK_UNITS: Final = 3  # of work in slices: a right that is asked for the first time takes 10 us


class KafkaClient:
    """What a handler may use of the connection of a request."""

    def __init__(
        self,
        door: KafkaDoor,
        wake: Wake,
        address: tuple[str, int],
        peer: tuple[str, int],
        *,
        secure: bool = False,
        cut: Callable[[str], None] | None = None,
        number: int = 0,
    ) -> None:
        """``wake``: makes the server look at this connection again; callable from any thread.

        ``address``: the address of this node that clients are told. ``secure``: the connection uses
        TLS. ``cut``: ends the connection at once for the given reason. ``number``: higher than the
        number of every earlier connection.
        """
        self.door = door
        self.wake = wake
        self.address = address
        self.peer = peer
        self.number = number
        self._secure = secure
        self._cut = cut
        # The client's identity and rights: anonymous until it logs in.
        self.rights: Rights = door.access.rights(anonymous(peer[0], DOOR))
        self.seat = Seat(door.access.metering)
        self._came_freely = not door.access.required  # no login was required
        self._removed = False  # its user was deleted: it is disconnected in its turn
        self.id = ""  # the client's own name
        self.software = ""  # its library and version, where it says so
        self.now = 0.0  # seconds of the sessions' clock
        self.muted_until = 0.0  # nothing is taken of it before, for it has used too much
        self.answer_at: float | None = None  # when the answer that was just made may be sent
        self.fetching: FetchSession | None = None
        self.sharing_bytes = 0  # of its share sessions
        self._leavers: dict[object, Callable[[], object]] = {}  # called once it is gone
        self.closed: str | None = None  # why nothing more is taken of it
        self.kept = False  # whether a view of the input is kept
        # The pending requests in order, each with its correlation id (None if its answer has no
        # header), and whether that header has room for tagged fields.
        self.slots: deque[tuple[Slot, int | None, bool]] = deque()
        self.held: Slot | None = None  # nothing is taken before this is answered
        # Ends a held request that is no longer allowed; None: not known to end.
        self.recheck: Callable[[], None] | None = None
        self.glances_left = GLANCE_MAX  # of this turn, as ``admission`` counts them
        self._watched: dict[Log, Wake] = {}
        self.news: set[Log] = set()  # watched logs with news
        self._to_sync: set[Log] = set()

    @property
    def listener(self) -> str:
        """The name of the listener that accepted the connection, in Kafka's terms."""
        sasl = "SASL_" if self.door.access.required else ""
        return f"{sasl}{'SSL' if self._secure else 'PLAINTEXT'}"

    @property
    def now_ms(self) -> int:
        """The time in ms that groups use."""
        return int(self.now * 1000)

    def end(self, reason: str) -> None:
        """Accept no more requests; the connection closes after ready answers are sent."""
        if self.closed is None:
            self.closed = reason

    def cut(self, reason: str) -> None:
        """End the connection at once, even if the client does not read pending answers."""
        self.end(reason)
        if self._cut is not None:
            self._cut(reason)

    def when_gone(self, key: object, call: Callable[[], object] | None) -> None:
        """Register ``call`` to run when the connection is gone; None removes it."""
        if call is None:
            self._leavers.pop(key, None)
        else:
            self._leavers[key] = call

    def gone(self) -> None:
        """Run the registered calls: the connection is gone."""
        leavers, self._leavers = self._leavers, {}
        for call in leavers.values():
            call()

    def keep(self, frame: memoryview) -> memoryview:
        """Keep the request's bytes for as long as they are needed."""
        if len(frame) < KEPT_BYTES_MIN:
            return memoryview(bytes(frame))
        self.kept = True
        return frame

    def hold(self, slot: Slot) -> None:
        """Accept no request before this one is answered: later ones may depend on it."""
        self.held = slot

    # Quotas

    def used(self, key: str, amount: int) -> int:
        """Count an amount against the client's quota; returns for how many ms it is muted from now
        on.
        """
        user, metering = self.rights.who.user, self.door.access.metering
        wait_s = metering.take(key, user, self.id, amount, self.now)
        if not wait_s:
            return 0
        self.muted_until = max(self.muted_until, self.now + wait_s)
        return max(1, int(wait_s * 1000))

    def has_used(self, key: str) -> bool:
        """Whether the client used any of this quota recently."""
        metering = self.door.access.metering
        return metering.used(key, self.rights.who.user, self.id, self.now) > 0

    def give_back(self, key: str, amount: int) -> None:
        """Return to the quota an amount that was counted but is not sent."""
        metering = self.door.access.metering
        metering.give_back(key, self.rights.who.user, self.id, amount, self.now)

    def window(self, key: str) -> float | None:
        """As Quotas.window."""
        return self.door.access.metering.window(key, self.rights.who.user, self.id)

    # Rights

    def become(self, who: Identity) -> None:
        """Take the identity of an authenticated user."""
        self.rights = self.door.access.rights(who)
        self._came_freely = False

    def may(self, operation: str, kind: str, name: str) -> bool:
        """Whether the operation is allowed; logs a refusal. As all checks here, callable from any
        thread.
        """
        return self.rights.may(operation, kind, name) or self._refused(operation, kind, name)

    def may_topic(self, operation: str, name: str) -> bool:
        """As ``may``, for the object that a topic's name stands for."""
        return self.may(operation, *self.door.objects.of_topic(name))

    def sees(self, operation: str, kind: str, name: str) -> bool:
        """As ``may``, without logging: the object is left out of the answer, or another right
        suffices.
        """
        return self.rights.may(operation, kind, name)

    def sees_topic(self, operation: str, name: str) -> bool:
        """As ``sees``, for the object that a topic's name stands for."""
        return self.rights.may(operation, *self.door.objects.of_topic(name))

    def sees_cluster(self, operation: str) -> bool:
        """As ``sees``, for the cluster."""
        return self.rights.may(operation, CLUSTER, CLUSTER_NAME)

    def may_cluster(self, operation: str) -> bool:
        """As ``may``, for the cluster."""
        return self.may(operation, CLUSTER, CLUSTER_NAME)

    def sees_some_topic(self, operation: str) -> bool:
        """Whether there can be a topic name for which the operation is allowed."""
        return self.rights.may_some(operation, TOPIC, CHANNEL, QUEUE)

    def _refused(self, operation: str, kind: str, name: str) -> bool:
        rights = self.rights
        decision = rights.decision(operation, kind, name)
        self.door.refusals.tell(rights.who, operation, kind, name, decision.why)
        return False

    def did(self, event: str, what: str) -> None:
        """Record an event in the audit log. Callable from any thread."""
        self.door.audit.tell(event, self.rights.who, what)

    def users_changed(self) -> None:
        """As rounds.Told.users_changed. In the sessions' thread."""
        who, access = self.rights.who, self.door.access
        if self._came_freely and access.required:
            self.end("there are users now: every client must log in")
        elif who.user and not access.knows(who):
            self.end(f"user {printable(who.user)!r} was removed")
            self._removed = True

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed. In the sessions' thread."""
        if self._removed:
            self.cut(self.closed or "")
        elif self.closed is not None:
            self.wake()
        elif self.slots or self.muted_until:  # a fetch may wait for a log it may no longer read
            self.muted_until = 0.0  # more may be allowed now
            if self.recheck is not None:
                self.recheck()
            self.wake()

    # Logs

    def watch(self, log: Log) -> None:
        """Wake the client whenever the log's safe offset moves."""
        if log not in self._watched:
            self._watched[log] = log.watch(partial(self._hear, log))

    def _hear(self, log: Log) -> None:
        """Note news of a log and wake the client. Called from any thread."""
        self.news.add(log)
        self.wake()

    def watch_only(self, logs: Collection[Log]) -> None:
        """Stop watching most logs that no request of this client waits for."""
        if len(self._watched) > 2 * len(logs) + WATCHED_SPARE and not self.slots:
            for log in self._watched.keys() - set(logs):
                self._watched.pop(log)()

    def unwatch(self) -> None:
        """Stop watching all logs."""
        for stop in self._watched.values():
            stop()
        self._watched.clear()
        self.news.clear()

    def sync(self, log: Log) -> None:
        """Have the log synced, once for all requests of one read."""
        self._to_sync.add(log)

    def sync_now(self) -> None:
        """Request a sync of the logs that ``sync`` collected."""
        for log in self._to_sync:
            log.sync_soon()
        self._to_sync.clear()
