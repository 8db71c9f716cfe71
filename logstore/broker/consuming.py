"""Creates the consumers of a store: chooses the partitions of each, and where it begins."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from logstore.broker.chores import OWN_THREADS, Chores
from logstore.broker.committed import Isolation, isolated
from logstore.broker.consumer import Consumer
from logstore.broker.coordinator.assignor import Place
from logstore.broker.embedded import EmbeddedMember
from logstore.broker.ended_log import EndedLog
from logstore.broker.reading import OnDamage, skip_of
from logstore.broker.sharing import Opened, Sharing
from logstore.broker.start import (
    OnOutOfRange,
    Start,
    Starts,
    check_on_out_of_range,
    committed_offset,
    end_of,
    start_of,
)
from logstore.broker.topics import OpenedTopics
from logstore.errors import InvalidName, Refused, UnknownPartition, UnknownTopic
from logstore.kept.groups import Groups, Offsets
from logstore.log import Log, TopicPartition
from logstore.names import check_group
from logstore.settings import StoreSettings


class Wish(NamedTuple):
    """The options of a new consumer. ``Store.consumer`` says what each means."""

    topics: Sequence[str]
    partitions: Sequence[int] | None
    group: str | None
    start: Starts
    follow: bool
    on_damage: OnDamage
    on_out_of_range: OnOutOfRange
    auto_commit: bool
    isolation: Isolation = "committed"
    end: Start | None = None

    def check(self) -> None:
        """Check the wish. Raises Refused; TypeError if a topic is not a name."""
        if not self.topics:
            raise Refused("a consumer needs a topic")
        given: Sequence[object] = self.topics
        for it in given:
            if not isinstance(it, str):
                kind = type(it).__name__
                raise TypeError(
                    f"a topic is a str, not {kind}: name each by an argument of its own"
                )
        if self.follow and self.end is not None:
            raise Refused("a consumer that follows has no end: leave out follow or end")
        check_on_out_of_range(self.on_out_of_range)
        skip_of(self.on_damage)

    def seen(self, log: Log) -> Log:
        """The log as this consumer sees it. Raises Refused, CorruptBatch."""
        log = isolated(log, self.isolation)
        if self.end is None:
            return log
        at_damage = self.on_damage != "stop"  # otherwise damage is reported
        return EndedLog(log, end_of(log, self.end, damaged=at_damage))

    def positions(
        self, logs: Mapping[TopicPartition, Log], committed: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return where to begin in these logs. Raises OffsetBelowStart, OffsetAboveEnd, Refused."""
        return {
            place: self._committed(log, committed[place])
            if place in committed
            else start_of(log, place, self.start, damaged=True)  # the reader there gets the error
            for place, log in logs.items()
        }

    def _committed(self, log: Log, offset: int) -> int:
        return committed_offset(log, offset, self.group, self.on_out_of_range)


class Consuming:
    """Creates consumers. From any thread."""

    def __init__(
        self,
        topics: Callable[[], OpenedTopics],
        groups: Callable[[], Groups],
        settings: StoreSettings,
        flush: Callable[[], None],
    ) -> None:
        """``topics()`` may raise Closed, ``groups()`` also ReadOnly.

        ``flush()`` is called before a commit.
        """
        self._topics = topics
        self._groups = groups
        self._settings = settings
        self._flush = flush

    def consumer(self, wish: Wish, chores: Chores = OWN_THREADS) -> Consumer:
        """As Store.consumer."""
        wish.check()  # refuse errors before joining a group
        topics = self._topics()
        logs: dict[TopicPartition, Log] = {}
        for name in wish.topics:
            topic = topics.topic(name)
            every = range(len(topic.partitions))
            for number in every if wish.partitions is None else wish.partitions:
                logs[name, number] = wish.seen(topic.partition(number))
        if isinstance(wish.start, Mapping) and (strangers := wish.start.keys() - logs.keys()):
            raise UnknownPartition("start: {}-{} is not consumed here".format(*min(strangers)))
        if wish.group is not None:
            return self._member(wish, check_group(wish.group), chores)
        return Consumer(
            logs,
            wish.positions(logs, {}),
            follow=wish.follow,
            on_damage=wish.on_damage,
            on_out_of_range=wish.on_out_of_range,
            chores=chores,
        )

    def _member(self, wish: Wish, group: str, chores: Chores) -> Consumer:
        """Return a consumer that shares the partitions with other members of its group."""
        settings = self._settings
        member = EmbeddedMember(
            group,
            self._groups(),
            self._topics().facts,
            frozenset(wish.topics),
            None if wish.partitions is None else frozenset(wish.partitions),
            session_timeout_ms=settings.consumer_session_timeout_ms,
            rebalance_timeout_ms=settings.consumer_rebalance_timeout_ms,
            members_max=settings.group_max_size,
        )
        opened = partial(self._opened, wish)
        sharing = Sharing(member, opened, settings.offset_metadata_max_bytes, chores)
        consumer = Consumer(
            {},
            {},
            membership=sharing,
            follow=wish.follow,
            commit_s=settings.consumer_commit_ms / 1000,
            on_damage=wish.on_damage,
            on_out_of_range=wish.on_out_of_range,
            group=group,
            auto_commit=wish.auto_commit,
            flush=self._flush,
            chores=chores,
        )
        try:
            sharing.start(consumer)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _opened(self, wish: Wish, places: Collection[Place], committed: Offsets) -> Opened:
        """Return the logs of these partitions, and where a member of a group begins in them."""
        if not places:
            return Opened({}, {}, {}, {})
        topics = self._topics()
        names = topics.names_by_id()
        found: dict[TopicPartition, Place] = {}
        logs: dict[TopicPartition, Log] = {}
        for topic_id, number in sorted(places):
            try:
                topic = topics.topic(names.get(topic_id, ""))
                log = wish.seen(topic.partition(number))
            except (UnknownTopic, UnknownPartition, InvalidName):
                continue  # deleted since: the group will hear of it
            if topic.id == topic_id:
                logs[topic.name, number] = log
                found[topic.name, number] = topic_id, number
        offsets = {it: committed[it].offset for it in logs if it in committed}
        return Opened(logs, wish.positions(logs, offsets), offsets, found)
