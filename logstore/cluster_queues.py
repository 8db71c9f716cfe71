"""The logs of queues that nodes share, where the models and the cluster meet: a topic for each.

A queue's topic is named by its number, which is never used again, and has a partition for each
priority that has had a message. Opening or creating one waits for the cluster, so a worker's thread
does it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from logstore.broker.queues.roaming.outlets import BATCH_BYTES_MAX
from logstore.broker.topic import Topic
from logstore.cluster import own_rules
from logstore.cluster.admin import Made
from logstore.cluster.catalogue import Entry
from logstore.cluster.client import Client
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.waiters import WaitFor
from logstore.cluster_topics import ClusterTopics
from logstore.errors import Failed, LogstoreError, Refused, TopicExists, UnknownTopic
from logstore.kept.queues import Lane, LaneTrim, QueueKeeper
from logstore.log import Log

PREFIX: Final = f"{own_rules.PREFIX}queue-"
TRIM_RECORDS: Final = 1000  # fewer are left for later: each trim is a request to a broker

Then = Callable[[Any], None]  # gets what was asked for, or a LogstoreError


def topic_of(queue: int) -> str:
    """The name of its topic."""
    return f"{PREFIX}{queue}"


def queue_of(topic: str) -> int | None:
    """The reverse; None: it is no queue's."""
    number = topic.removeprefix(PREFIX)
    return int(number) if number != topic and number.isdecimal() else None


def rules_of(queue: int, partitions: int) -> OwnTopic:
    """How its topic is kept: nothing goes by itself."""
    settings = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    settings["max.message.bytes"] = str(BATCH_BYTES_MAX)
    return OwnTopic(topic_of(queue), partitions, settings)


class ClusterQueues:
    """``QueueLogs``, and ``Lanes``, of the queues that nodes share."""

    topics_damaged = False

    def __init__(
        self, client: Client, topics: ClusterTopics, wait_for: WaitFor, keeper: QueueKeeper
    ) -> None:
        self.keeper = keeper
        self._client = client
        self._topics = topics
        self._wait_for = wait_for

    # As Lanes

    def lanes_of(self, queue: int) -> Sequence[int]:
        """As Lanes.lanes_of."""
        entry = self._client.catalogue.entries.get(topic_of(queue))
        return () if entry is None else range(entry.partitions)

    def delete_all(self, queue: int) -> None:
        """As Lanes.delete_all."""
        self._wait_for(partial(self._delete, topic_of(queue)))

    def _delete(self, name: str, then: Then) -> None:
        def deleted(error: LogstoreError | None) -> None:
            if error is None or isinstance(error, UnknownTopic):
                self._client.catalogue.deleted(name)
                then(None)
            else:
                then(error)

        self._client.admin.delete(name, deleted)

    @property
    def crowded(self) -> bool:
        """As Lanes.crowded."""
        return self._client.writer.behind

    # As QueueLogs

    def lanes(self) -> Mapping[int, Sequence[int]]:
        """As QueueLogs.lanes."""
        found = {}
        for name, entry in self._client.catalogue.entries.copy().items():
            if (queue := queue_of(name)) is not None:
                found[queue] = range(entry.partitions)
        return found

    def journal(self) -> Log:
        """As QueueLogs.journal: there is one for each partition, of whoever owns it."""
        raise Failed("queues that nodes share have no journal in common")

    def open(self, lane: Lane, settings: Mapping[str, str]) -> Log:
        """As QueueLogs.open. Raises ClusterUnreachable, Failed, Refused."""
        log: Log = self._wait_for(partial(self._begin_open, lane))
        return log

    def alter(self, lane: Lane, settings: Mapping[str, str]) -> None:
        """As QueueLogs.alter: what is settled is not kept, however its queue was declared."""

    def delete(self, lanes: Iterable[Lane]) -> None:
        """As QueueLogs.delete."""
        for queue in {it.queue for it in lanes}:
            self.delete_all(queue)

    def trim(self, lanes: Sequence[LaneTrim], now_ms: int) -> None:
        """As QueueLogs.trim. Raises the first error, once all were tried."""
        failed: LogstoreError | None = None
        for it in lanes:
            gone = it.floor - it.log.start
            if gone >= TRIM_RECORDS or (it.drained and gone > 0):
                try:
                    it.log.trim(it.floor)
                except LogstoreError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    def catch_up(self, log: Log) -> None:
        """As SharedLogs.catch_up."""
        if isinstance(log, ClusterLog):
            log.catch_up()

    def begin_catch_up(self, log: Log, then: Callable[[], object]) -> None:
        """As SharedLogs.begin_catch_up."""
        if isinstance(log, ClusterLog):
            log.begin_catch_up(lambda _: then())  # what is here is given out
        else:
            then()

    def trim_journal(self) -> None:
        """As QueueLogs.trim_journal: each trims itself."""

    def make_volatile(self, lane: Lane) -> Log:
        """As QueueLogs.make_volatile: those are this node's own."""
        raise Failed(f"lane {lane} of a queue that nodes share is not volatile")

    def drop_volatile(self, lane: Lane) -> None:
        """As QueueLogs.drop_volatile: there are none."""

    # In the loop's thread

    def _begin_open(self, lane: Lane, then: Then) -> None:
        name, count = topic_of(lane.queue), lane.priority + 1

        def found(topic: Topic | LogstoreError | None) -> None:
            if isinstance(topic, LogstoreError):
                then(topic)
            elif topic is None:
                self._create(lane.queue, count, made)
            elif len(topic.partitions) < count:
                self._grow(name, count, made)
            else:
                opened()

        def made(error: LogstoreError | None) -> None:
            if error is None:
                opened()
            else:
                then(error)

        def opened() -> None:
            self._topics.begin_open(name, lane.priority, then)

        self._topics.begin_find(name, found)

    def _create(self, queue: int, count: int, then: Then) -> None:
        brokers = len(self._client.brokers.view.nodes)
        rules = rules_of(queue, count)

        def made(it: Made | LogstoreError) -> None:
            if isinstance(it, TopicExists):  # another node was quicker
                self._await(rules.name, count, then)
            elif isinstance(it, LogstoreError):
                then(it)
            else:
                self._client.catalogue.made(rules.name, Entry(it.id, count))
                then(None)

        self._client.admin.create(
            rules.name, count, own_rules.settings_of(rules, brokers), made,
            own_rules.replicas_of(brokers),
        )  # fmt: skip

    def _await(self, name: str, count: int, then: Then) -> None:
        def shown(it: Entry | LogstoreError) -> None:
            if isinstance(it, LogstoreError):
                then(it)
            elif it.partitions < count:
                self._grow(name, count, then)
            else:
                then(None)

        self._client.catalogue.find_made(name, shown)

    def _grow(self, name: str, count: int, then: Then) -> None:
        def grown(error: LogstoreError | None) -> None:
            if error is None:
                has(count)
            elif isinstance(error, Refused):  # another node was quicker: that is seen late here
                self._client.admin.partitions(name, partial(counted, error))
            else:
                then(error)

        def counted(refused: Refused, found: int | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                then(found)
            elif found >= count:
                has(found)
            else:
                then(refused)

        def has(partitions: int) -> None:
            entry = self._client.catalogue.entries.get(name)
            if entry is not None and entry.partitions < partitions:
                self._client.catalogue.made(name, Entry(entry.id, partitions))
            then(None)

        self._client.admin.grow(name, count, grown)
