"""The groups of a node: their table in memory, what keeps it, and its one timer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.group_settings import GroupSettingsTable
from logstore.broker.topics import Change
from logstore.budget import Budget
from logstore.config import Config
from logstore.errors import Failed, LogstoreError
from logstore.internals import Internals
from logstore.kept import Keeping, OffsetToCommit
from logstore.protocols.kafka.subscription import SPEECH
from logstore.queue_topics import QueueTopics
from logstore.storage import group_settings
from logstore.storage.committer import Committer, GroupCommitter
from logstore.storage.environment import Environment
from logstore.turn import Turn

if TYPE_CHECKING:  # models that a server does without which has none
    from logstore.broker.queues.queue import Queue
    from logstore.broker.transacting.coordinator import Done
    from logstore.broker.transactions.staged import Committed

log = logging.getLogger("logstore.node")


class Alarm:
    """Rings once, at the earliest of the times that it is set to."""

    def __init__(self, clock: Turn | asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._handle: asyncio.Handle | None = None
        self._at_ms = 0  # uvloop's handle for a time that has come knows no time

    def set(self, at_ms: int) -> None:
        """By the clock; at once where that time has come, or too early where it stands still."""
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
    """Wires them; closes them in reverse order."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        store: Internals,
        budget: Budget,
        topics: QueueTopics,
    ) -> None:
        """``topics``: that groups may read. Raises Failed where another process has them."""
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
        self._topics = store.topics
        self._positions = GroupCommitter(self.committer, table)
        self.coordinator = Coordinator(
            store.directory.config.store,
            self._positions,
            topics.facts,
            budget=budget,
            names=topics.names,
            speech=SPEECH,
            due=self._alarm.set,
            rebalanced=partial(store.channels.tell, "groups", "group-rebalanced"),
            group_settings=_settings(store.directory.config, table.environment),
        )
        self._tell_no_more = store.topics.tell(self._topics_changed)

    def start(self) -> None:
        """Go on with the members that were there when the last process ended."""
        for group, why in self.coordinator.start(self._now_ms()).items():
            log.warning("group %r is not served: %s", group, why)

    def commit_of_transaction(
        self, committed: "Sequence[Committed]", place: int, done: "Done"
    ) -> None:
        """As Around.commit of transactions."""
        left = len(committed)
        failed: LogstoreError | None = None

        def kept(keeping: Keeping) -> None:
            nonlocal left, failed
            left -= 1
            failed = failed or keeping.error
            if not left:
                done(failed)

        for group, offsets in committed:
            found = {}
            for it in offsets:
                topic = self._topics.by_uuid(it.topic_id)
                if topic is not None:
                    found[topic.name, it.partition] = OffsetToCommit(
                        it.offset, it.metadata, it.leader_epoch, topic.id, place
                    )
            self._positions.commit(group, found).then(kept)

    def _now_ms(self) -> int:
        return int(self._turn.now() * 1000)  # as sessions have it

    def _deliver(self, call: Callable[[], None]) -> None:
        """From the committer's thread to the sessions'."""
        self._turn.soon(partial(self._told, call))

    def _told(self, call: Callable[[], None]) -> None:
        if not self._over:  # or nobody is there any more to hear of it
            call()

    def _topics_changed(self, change: Change) -> None:
        """From any thread."""
        if change.event != "altered":
            self._turn.soon(self.coordinator.topics_changed)

    def queues_changed(self, queue: "Queue") -> None:
        """In the sessions' thread: a group may read it as a topic, or did."""
        if queue.facts.lasts and not self._over:
            self._turn.soon(self.coordinator.topics_changed)

    def _tick(self) -> None:
        if self._over:
            return
        self.coordinator.tick(self._now_ms())
        due_ms = self.coordinator.deadline()
        if due_ms is not None:
            self._alarm.set(due_ms)

    def close(self) -> None:
        """All that was to be kept is; who opens the directory next goes on with it."""
        self._over = True
        self._tell_no_more()
        self._alarm.stop()
        self.committer.close()
        self._claim.release()


def _settings(config: Config, environment: Environment) -> GroupSettingsTable:
    """What groups were told, which are kept in this environment."""
    kept, damaged = group_settings.load(environment)
    for error in damaged:
        log.warning("a group has its settings by default: %s", error)
    return GroupSettingsTable(config, kept, partial(group_settings.keep, environment))
