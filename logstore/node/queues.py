"""The queues of a node: the model, its storage, and its one timer.

Most stores have no queues, and the model is a third of all that a server imports, so it is loaded
when it is first asked for.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.mqtt.space import Space
from logstore.clock import now_ms
from logstore.counts.queues import QueueTotals
from logstore.errors import Closed, LogstoreError
from logstore.internals import Internals
from logstore.kept.groups import ToCommit
from logstore.kept.keeping import Keeping
from logstore.log import Log
from logstore.node.groups import Alarm
from logstore.open_queues import OpenQueues
from logstore.protocols.house import Work
from logstore.storage.committer import Committer, GroupCommitter, QueueCommitter
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.queues import Queues
    from logstore.broker.topics import Topics
    from logstore.kept.queues import QueueKeeper
    from logstore.node.cluster import NodeCluster


log: Final = logging.getLogger("logstore.queues")

ARRIVE_S: Final = 5.0  # a disk that hangs holds the stop no longer
LOOK_S: Final = 0.005


class _Positions(GroupCommitter):
    """The offsets that queues and library transactions commit for groups."""

    told: Callable[[str, ToCommit], object] | None = None  # what the journal has, before it is kept

    def decided(self, group: str, offsets: ToCommit) -> Keeping:
        """As GroupKeeper.decided."""
        if self.told is not None:
            self.told(group, offsets)
        return super().decided(group, offsets)


class NodeQueues:
    """Opens the queues, and closes them before their storage. For the sessions' thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        store: Internals,
        committer: Committer,
        work: Work,
        totals: QueueTotals,
        space: Space | None = None,
        changed: "Callable[[Queue], object] | None" = None,
        cluster: "NodeCluster | None" = None,
    ) -> None:
        """Open the existing queues and join them to the space of topics.

        ``changed``: called with each created or deleted queue. ``cluster``: holds the durable
        queues of all nodes.

        Raises SchemaTooNew, CorruptStore, StorageFull.
        """
        self._space = space
        self._changed = changed
        table = store.groups
        assert table is not None, "a store that is written has a catalogue"
        self._loop = loop
        self._alarm = Alarm(loop, self._tick)
        keeper: QueueKeeper = QueueCommitter(committer, table.environment)
        if cluster is not None:
            keeper = cluster.queue_keeper
        self._cluster = cluster
        topics = store.topics if cluster is None else cluster.topics
        self._topics: Topics = topics
        self._positions = _Positions(committer, table)
        self._logs = OpenQueues(store.directory.writable(), keeper)
        self._path = store.directory.path
        self._soon = turn.soon
        self._work = work
        self._totals = totals
        self._store = store
        self._preparing = threading.Lock()
        self._queues: Queues | None = None
        self._closed = False
        store.queues().lend()
        self._end_calls = store.queues().serve(self, turn.soon)
        if (
            self._logs.used and not self._refused
        ):  # messages expire, and queues, although no client comes
            self.open()

    # Opened

    @property
    def _refused(self) -> LogstoreError | None:
        """The reason why no queues are served; None if they are."""
        return None if self._cluster is None else self._cluster.no_queues

    @property
    def queues(self) -> "Queues":
        """As ``open``."""
        return self.open()

    @property
    def opened(self) -> "Queues | None":
        """As QueuesOf.opened."""
        return self._queues

    def open(self) -> "Queues":
        """Open the model. Raises SchemaTooNew, CorruptStore, StorageFull, Closed, Failed."""
        if self._queues is None:
            self.prepare()
            from logstore.broker.mqtt import crossing
            from logstore.broker.queues.queues import Queues
            from logstore.broker.queues.station_home import Surroundings

            if self._closed:
                raise Closed(f"{self._path}: the server has stopped")
            self._queues = Queues(
                self._logs, now_ms, self._soon, self._work, self._alarmed, self._totals,
                Surroundings(
                    self._topics, self._store.channels, self._work,
                    self._store.deduplication, self._positions, self._topics.tell,
                    **self._shared(),
                ),
            )  # fmt: skip
            if self._changed is not None:
                self._queues.told_declared.append(self._changed)
                self._queues.told_deleted.append(self._changed)
            if self._space is not None:
                crossing.join(self._space, self._queues, self._soon)
        return self._queues

    def _shared(self) -> "Mapping[str, Any]":
        """Further surroundings of queues that nodes share."""
        return {} if self._cluster is None else self._cluster.shared()

    def prepare(self) -> None:
        """Do the slow part of ``open``. Callable from any thread; raises as ``open``."""
        if self._refused is not None:
            raise self._refused
        # Imported here, not in a turn.
        from logstore.broker.mqtt import crossing  # noqa: F401
        from logstore.broker.queues import queues  # noqa: F401
        from logstore.broker.queues.streams import made  # noqa: F401

        with suppress(Closed):
            self.journal()

    def tell_decided(self, told: Callable[[str, ToCommit], object]) -> None:
        """Call ``told`` with the offsets that a group has committed through the journal."""
        self._positions.told = told

    @property
    def has_journal(self) -> bool:
        """Whether the store has a journal, which is created when first needed."""
        return self._logs.has_journal

    def journal(self) -> Log:
        """Open or create the store's journal, which may be slow. Callable from any thread.

        Raises SchemaTooNew, CorruptStore, StorageFull, Closed.
        """
        with self._preparing:
            if self._closed:
                raise Closed(f"{self._path}: the server has stopped")
            return self._logs.journal()

    def trim_journal(self) -> None:
        """As QueueLogs.trim_journal, unless it is closed."""
        with self._preparing:
            if not self._closed:
                self._logs.trim_journal()

    def when_open(self, then: "Callable[[Queues | LogstoreError], None]") -> None:
        """Call ``then`` with the model or an error: at once if it is open."""
        if self._queues is not None:
            then(self._queues)
        else:
            self._work(self._prepared, lambda error: then(error or self._opened()))

    def _prepared(self) -> LogstoreError | None:
        try:
            self.prepare()
        except LogstoreError as error:
            return error
        return None

    def _opened(self) -> "Queues | LogstoreError":
        try:
            return self.open()
        except LogstoreError as error:
            return error

    def resume(self) -> None:
        """Deliver earlier commits to their topics, even without queues."""
        if self._queues is None and self._logs.has_journal:
            self._work(self._left, self._resume)

    def _left(self) -> "bool | LogstoreError":
        from logstore.broker.queues.journal import settlements_of  # in a worker, as ``prepare``

        try:
            return bool(settlements_of(self.journal()).unfinished())
        except LogstoreError as error:
            return error

    def _resume(self, left: "bool | LogstoreError") -> None:
        if isinstance(left, LogstoreError):
            log.error("what was committed does not come to its topics: %s", left)
        elif left:
            self.when_open(_tell_of_failure)

    # Its timer

    def _alarmed(self, at_ms: int | None) -> None:
        """Have ``tick`` called at this time, by the clock of messages."""
        if at_ms is not None:
            self._alarm.set(int(self._loop.time() * 1000) + max(0, at_ms - now_ms()))

    def _tick(self) -> None:
        queues = self.open()
        queues.tick(now_ms())
        self._alarmed(queues.deadline_ms())

    # Its end

    @property
    def log_bytes(self) -> Callable[[Log], int]:
        """The size of a queue's log; 0 for a log on brokers."""
        here = self._logs.bytes
        if self._cluster is None:
            return here
        from logstore.cluster.cluster_log import ClusterLog  # most servers have none

        return lambda log: 0 if isinstance(log, ClusterLog) else here(log)

    async def arrive(self) -> None:
        """Before ``close``: deliver messages from topics to exchanges, so that none is sent
        again.
        """
        if self._queues is None:
            return
        self._queues.halt()
        until = self._loop.time() + ARRIVE_S
        while self._queues.on_the_way and self._loop.time() < until:
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Store all settlements; unsettled messages become ready again."""
        self._alarm.stop()
        self._end_calls()
        with self._preparing:
            self._closed = True
        if self._queues is not None:
            self._queues.close()


def _tell_of_failure(found: "Queues | LogstoreError") -> None:
    if isinstance(found, LogstoreError):
        log.error("what was committed does not come to its topics: %s", found)
