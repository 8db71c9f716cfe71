"""The groups of a node: their table in memory, its storage, and its one timer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.topics import Change
from logstore.budget import Budget
from logstore.errors import Failed
from logstore.internals import Internals
from logstore.open_groups import open_group_settings
from logstore.protocols.kafka.subscription import SPEECH
from logstore.queue_topics import QueueTopics, topic_id
from logstore.storage.committer import Committer, GroupCommitter
from logstore.turn import Turn

if TYPE_CHECKING:  # models that a server does without which has none
    from logstore.broker.queues.queue import Queue
    from logstore.broker.transacting.group_offsets import GroupOffsets
    from logstore.broker.transacting.telling import Telling
    from logstore.broker.transactions.staged import Committed, Staged

log = logging.getLogger("logstore.node")


class Alarm:
    """One timer for several times: it rings at the earliest of them."""

    def __init__(self, clock: Turn | asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._handle: asyncio.Handle | None = None
        self._at_ms = 0  # uvloop's handle for a time that has come knows no time

    def set(self, at_ms: int) -> None:
        """Set the alarm by the clock; it rings at once if the time has passed, or early if the
        clock stops.
        """
        if self._handle is not None:
            if self._at_ms <= at_ms:
                return
            self._handle.cancel()
        self._at_ms = at_ms
        self._handle = self._clock.call_at(at_ms / 1000, self._due)

    def _due(self) -> None:
        self._handle = None
        self._ring()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class Groups:
    """Connects the parts, and closes them in reverse order."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        store: Internals,
        budget: Budget,
        topics: QueueTopics,
    ) -> None:
        """``topics``: those that groups may read. Raises Failed if another process owns the
        groups.
        """
        table = store.groups
        assert table is not None, "a store that is written has a catalogue"
        claim = table.claim_server()
        if claim is None:
            raise Failed(
                f"{store.directory.path}: {table.server()} has the groups in its memory: "
                f"stop it first"
            )
        self._claim = claim
        self._turn = turn
        self._alarm = Alarm(turn, partial(turn.when_heard, self._tick))
        self._over = False
        self.committer = Committer(table.environment, self._deliver, loop.call_soon)
        self._table = table
        self._topics = topics
        self._offsets: GroupOffsets | None = None  # None: there are no transactions
        self.coordinator = Coordinator(
            store.directory.config.store,
            GroupCommitter(self.committer, table),
            topics.facts,
            budget=budget,
            names=topics.names,
            speech=SPEECH,
            due=self._alarm.set,
            rebalanced=partial(store.channels.tell, "groups", "group-rebalanced"),
            group_settings=open_group_settings(store.directory.config, table.environment),
        )
        self._tell_no_more = store.topics.tell(self._topics_changed)

    def start(self) -> None:
        """Continue with the members of the previous process."""
        for group, why in self.coordinator.start(self._now_ms()).items():
            log.warning("group %r is not served: %s", group, why)

    def let_transactions_commit(
        self,
        staged: "Staged",
        newest: "Sequence[tuple[int, Committed]]",
        telling: "Telling",
        finished: Callable[[int], None],
        later: Callable[[Callable[[], None]], object],
    ) -> "GroupOffsets":
        """Commit offsets in transactions from now on; returns the GroupOffsets.

        ``staged`` and ``newest``: the offsets that the journal already has.
        """
        from logstore.broker.transacting.group_offsets import GroupOffsets

        offsets = self._offsets = GroupOffsets(
            self.coordinator, staged, telling, self._topics, finished, later
        )
        self.coordinator.undecided = offsets
        self._table.pending = offsets.has_pending
        offsets.begin(newest)
        return offsets

    def _now_ms(self) -> int:
        return int(self._turn.now() * 1000)  # as sessions have it

    def _deliver(self, call: Callable[[], None]) -> None:
        """Pass a call from the committer's thread to the sessions' thread."""
        self._turn.soon(partial(self._told, call))

    def _told(self, call: Callable[[], None]) -> None:
        if not self._over:  # after the end there is no receiver
            call()

    def _topics_changed(self, change: Change) -> None:
        """Tell the coordinator of a changed topic. Called from any thread."""
        if change.event != "altered":
            self._turn.soon(self.coordinator.topics_changed)
        if change.event == "deleted":
            self._turn.soon(partial(self._topic_deleted, change.topic.uuid))

    def _topic_deleted(self, topic_id: bytes) -> None:
        if self._offsets is not None and not self._over:
            self._offsets.topic_deleted(topic_id)

    def queues_changed(self, queue: "Queue") -> None:
        """Tell the coordinator of a queue that groups can read as a topic. In the sessions'
        thread.
        """
        if queue.facts.lasts and not self._over:
            self._turn.soon(self.coordinator.topics_changed)
            if queue.gone:
                self._topic_deleted(topic_id(queue.id))

    def _tick(self) -> None:
        if self._over:
            return
        self.coordinator.tick(self._now_ms())
        due_ms = self.coordinator.deadline()
        if due_ms is not None:
            self._alarm.set(due_ms)

    def close(self) -> None:
        """Store everything; the next process that opens the directory continues with it."""
        self._over = True
        self._tell_no_more()
        self._alarm.stop()
        self.committer.close()
        self._claim.release()
