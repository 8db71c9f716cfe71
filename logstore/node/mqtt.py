"""MQTT of a node: the models, their storage, and their one timer.

Most servers have no MQTT clients, and most stores nothing stored for one: then nothing of it is
imported before the first client connects.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from logstore.broker.mqtt.space import Space
from logstore.broker.topics import Change
from logstore.budget import Budget
from logstore.clock import now_ms
from logstore.errors import Closed, LogstoreError
from logstore.figures.figures import Figures
from logstore.internals import Internals
from logstore.names import RETAINED_TOPIC
from logstore.node.groups import Alarm
from logstore.node.queues import ARRIVE_S, LOOK_S, NodeQueues
from logstore.protocols.house import Connections, Work
from logstore.slices import Slices
from logstore.storage.committer import Committer, GroupCommitter, MqttCommitter, WillCommitter
from logstore.turn import Turn
from logstore.usage import memory_bytes_max
from logstore.version import VERSION

if TYPE_CHECKING:
    from logstore.broker.mqtt.mapped import MappedTopics
    from logstore.broker.mqtt.message import Message
    from logstore.broker.mqtt.mqtt import Mqtt
    from logstore.broker.mqtt.retained import Retained
    from logstore.broker.mqtt.sys_topics import Seen
    from logstore.broker.queues.pending import Waiting
    from logstore.broker.queues.queues import Queues

DOOR: Final = "mqtt"
RETAINED_PARTS: Final = 4  # share of the process's memory for retained messages: 1/4
WILLS_PARTS: Final = 8  # of the memory for peers: that part of it is for wills, all together
SESSIONS_PARTS: Final = 2  # and that one for sessions

log: Final = logging.getLogger("logstore.mqtt")

Then = Callable[["Mqtt | LogstoreError"], None]


class _Prepared(NamedTuple):
    """The parts that a worker has opened."""

    retained: "Retained"
    mapped: "MappedTopics"


class NodeMqtt:
    """Opens the parts when they are needed, and closes them before the queues."""

    def __init__(
        self,
        turn: Turn,
        store: Internals,
        committer: Committer,
        work: Work,
        slices: Slices,
        queues: NodeQueues,
        space: Space,
        budget: Budget,
        figures: Figures,
        connections: Connections,
    ) -> None:
        table = store.groups
        assert table is not None, "a store that is written has a catalogue"
        self._turn = turn
        self._soon = turn.soon
        self._store = store
        self._work = work
        self._slices = slices
        self._queues = queues
        self._space = space
        self._budget = budget
        self._figures = figures
        self._connections = connections
        self._sessions_kept = MqttCommitter(committer, table.environment)
        self._wills_kept = WillCommitter(committer, table.environment)
        self._positions = GroupCommitter(committer, table)
        self._alarm = Alarm(turn, self._tick)
        self._began_s = turn.stopwatch()
        self._held = budget.open()
        self._held_bytes = 0
        self._mqtt: Mqtt | None = None
        self._waiting: list[Then] = []
        self._reopening = self._again = self._closed = False
        self._stop_telling: Callable[[], None] = lambda: None

    @property
    def opened(self) -> "Mqtt | None":
        """The model; None if no client has connected and nothing was stored before."""
        return self._mqtt

    def start(self) -> None:
        """Open the model at once if sessions or wills are stored, since both have deadlines.

        Also if topics are published to MQTT. Called before any client connects, because messages of
        other protocols are for these sessions, too. Raises Failed.
        """
        kept = self._sessions_kept.used() or self._wills_kept.used()
        if kept or self._store.directory.config.mqtt:
            self._waiting.append(_tell)
            try:
                self._prepared(self._queues.open(), self._prepare())
            except LogstoreError as error:
                self._opened(error)
        elif self._store.topics.get(RETAINED_TOPIC) is not None:
            # Soon, because reading a million retained messages takes some seconds.
            self.when_open(_tell)

    # Opened

    def when_open(self, then: Then) -> None:
        """Call ``then`` with the model or an error: at once if it is open."""
        if self._mqtt is not None:
            then(self._mqtt)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._queues.when_open(self._queues_opened)

    def _queues_opened(self, queues: "Queues | LogstoreError") -> None:
        if isinstance(queues, LogstoreError):
            self._opened(queues)
        else:
            self._work(self._prepare, partial(self._prepared, queues))

    def _prepare(self) -> _Prepared | LogstoreError:
        """Do the slow part of opening; called in a worker."""
        from logstore.broker.mqtt import mqtt, sessions, sys_topics, wills  # noqa: F401  not in a turn
        from logstore.broker.mqtt.mapped import MappedTopics
        from logstore.broker.mqtt.retained import Retained

        config, topics = self._store.directory.config, self._store.topics
        most = min(config.store.mqtt_retained_bytes, memory_bytes_max() // RETAINED_PARTS)
        retained = Retained(topics, now_ms, self._slices, self._soon, most)
        mapped = MappedTopics(config.mqtt, topics, self._positions, self._publish_mapped)
        error = retained.open()
        if error is not None:
            log.warning("nothing is retained for now: %s", error)
        mapped.open()
        return _Prepared(retained, mapped)

    def _prepared(self, queues: "Queues", found: _Prepared | LogstoreError) -> None:
        try:
            self._opened(found if isinstance(found, LogstoreError) else self._made(queues, found))
        except LogstoreError as error:
            self._opened(error)

    def _made(self, queues: "Queues", found: _Prepared) -> "Mqtt":
        """Create the model. Raises Failed, Closed."""
        from logstore.broker.mqtt.mqtt import Mqtt
        from logstore.broker.mqtt.sessions import Sessions, limits_of
        from logstore.broker.mqtt.sys_topics import SysTopics
        from logstore.broker.mqtt.wills import Wills

        if self._closed:
            raise Closed(f"{self._store.directory.path}: the server has stopped")
        limits = limits_of(
            self._store.directory.config.store, self._budget.bytes_max // SESSIONS_PARTS
        )
        sessions = Sessions(
            queues, self._space, self._sessions_kept, limits, holds=self._holds, slices=self._slices
        )
        mqtt = self._mqtt = Mqtt(
            self._space, sessions, found.retained, found.mapped,
            SysTopics(self._seen, lambda: int(self._turn.stopwatch() * 1000)), self._soon, now_ms,
        )  # fmt: skip
        sessions.wills = Wills(
            self._wills_kept, mqtt.publish_wills, now_ms, self._alarmed,
            self._budget.bytes_max // WILLS_PARTS,
        )  # fmt: skip
        for way in found.mapped.ways.values():
            way.wake = partial(self._soon, self._tick)
        self._stop_telling = self._store.topics.tell(
            lambda change: self._soon(partial(self._changed, change))
        )
        found.retained.begin()
        found.mapped.begin()
        mqtt.wills.begin()
        self._tick()
        return mqtt

    def _opened(self, found: "Mqtt | LogstoreError") -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(found)

    def _holds(self, more: int) -> None:
        """Count ``more`` bytes of memory of sessions."""
        self._held_bytes += more
        self._held.hold(self._held_bytes)

    def _publish_mapped(self, messages: "Sequence[Message]") -> "Waiting | None":
        assert self._mqtt is not None
        return self._mqtt.publish_mapped(messages)

    # Topics that somebody deletes, or makes larger

    def _changed(self, change: Change) -> None:
        mqtt = self._mqtt
        if mqtt is None or self._closed:
            return
        if mqtt.retained.changed(change) or mqtt.mapped.needs():
            self._reopen(mqtt)

    def _reopen(self, mqtt: "Mqtt") -> None:
        if self._reopening:
            self._again = True
            return
        self._reopening, self._again = True, False

        def work() -> LogstoreError | None:
            mqtt.mapped.open()
            return mqtt.retained.open()

        self._work(work, partial(self._reopened, mqtt))

    def _reopened(self, mqtt: "Mqtt", error: LogstoreError | None) -> None:
        self._reopening = False
        if error is not None:
            log.warning("nothing is retained for now: %s", error)
        if self._closed:
            return
        mqtt.retained.begin()
        mqtt.mapped.begin()
        if self._again:
            self._reopen(mqtt)

    # Time

    def _alarmed(self, at_ms: int | None) -> None:
        """Have ``_tick`` called at this time, by the clock of messages."""
        if at_ms is not None and not self._closed:
            self._alarm.set(int(self._turn.now() * 1000) + max(0, at_ms - now_ms()))

    def _tick(self) -> None:
        if self._mqtt is not None and not self._closed:
            self._alarmed(self._mqtt.tick(now_ms()))

    # What is told of it

    def _seen(self) -> "Seen":
        from logstore.broker.mqtt.sys_topics import Seen

        mqtt, counts, own = self._mqtt, self._figures.door(DOOR), self._figures.mqtt
        assert mqtt is not None
        sessions = mqtt.sessions
        here = [it for it in self._connections.connections() if it.door == DOOR]
        return Seen(
            version=VERSION,
            uptime_s=int(self._turn.stopwatch() - self._began_s),
            connected=sessions.connected,
            sessions=len(sessions),
            expired=sessions.counts.expired,
            subscriptions=len(mqtt.space.tree),
            retained=len(mqtt.retained),
            stored=len(mqtt.retained),
            stored_bytes=mqtt.retained.held_bytes,
            messages_received=counts.messages_in,
            messages_sent=counts.messages_out,
            publish_received=sum(own.received),
            publish_sent=sum(own.sent),
            publish_dropped=own.dropped + own.too_long,
            bytes_received=counts.bytes_in + sum(it.bytes_in for it in here),
            bytes_sent=counts.bytes_out + sum(it.bytes_out for it in here),
            connections=counts.opened,
        )

    # Its end

    async def arrive(self) -> None:
        """Before ``close``: publish due wills, so that they are not published again later."""
        until = self._turn.stopwatch() + ARRIVE_S
        while self._mqtt is not None and self._mqtt.wills.firing:
            if self._turn.stopwatch() > until:
                return
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Store the clients' state; called before the queues are closed."""
        self._closed = True
        self._alarm.stop()
        self._stop_telling()
        if self._mqtt is not None:
            self._mqtt.close()
        self._held.close()


def _tell(found: "Mqtt | LogstoreError") -> None:
    if isinstance(found, LogstoreError):
        log.error("what was kept for MQTT clients is not served: %s", found)
