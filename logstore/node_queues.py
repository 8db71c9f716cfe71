"""The queues of a node: the model, what keeps it, and its one timer."""

import asyncio

from logstore.broker.queues.queues import Queues
from logstore.clock import now_ms
from logstore.internals import Internals
from logstore.node_groups import Alarm
from logstore.open_queues import OpenQueues
from logstore.protocols.house import Work
from logstore.storage.committer import Committer, QueueCommitter
from logstore.turn import Turn


class NodeQueues:
    """Opens them, and closes them before what keeps them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        store: Internals,
        committer: Committer,
        work: Work,
    ) -> None:
        """Raises SchemaTooNew, CorruptStore, StorageFull."""
        table = store.groups
        assert table is not None, "a store that is written has a catalogue"
        self._loop = loop
        self._alarm = Alarm(loop, self._tick)
        keeper = QueueCommitter(committer, table.environment)
        logs = OpenQueues(store.directory.writable(), keeper)
        store.queues().lend()
        self.queues = Queues(logs, now_ms, turn.soon, work, self._alarmed)
        self._end_calls = store.queues().serve(self.queues, turn.soon)

    def _alarmed(self, at_ms: int | None) -> None:
        """Have ``tick`` called then, by the clock of messages."""
        if at_ms is not None:
            self._alarm.set(int(self._loop.time() * 1000) + max(0, at_ms - now_ms()))

    def _tick(self) -> None:
        self.queues.tick(now_ms())
        self._alarmed(self.queues.deadline_ms())

    def close(self) -> None:
        """All that was settled is kept; messages that were out are ready again."""
        self._alarm.stop()
        self._end_calls()
        self.queues.close()
