"""The share groups of a store without a server: opened at first use, in the turns of its queues.

They use the queues' journal and timers.
"""

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from logstore.access.audit import of_group
from logstore.broker.committed import Isolation
from logstore.broker.coordinator.consumer_member import ConsumerHead
from logstore.broker.queues.given import number
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.transaction import Transaction
from logstore.broker.shared.dead_letters import Done
from logstore.broker.shared.kept import TrimmedTelling, kept_of
from logstore.broker.shared.rules import Rules, rules_of
from logstore.broker.shared.share_consumer import PREFETCH_MAX, ShareConsumer
from logstore.broker.shared.shares import Shares
from logstore.broker.topic import Topic
from logstore.broker.transacting.telling import Telling
from logstore.config import check_group_settings
from logstore.errors import GroupBusy, LogstoreError, Refused
from logstore.kept.groups import SHARED, GroupChange, GroupKeeper
from logstore.names import check_group
from logstore.open_groups import open_group_settings
from logstore.open_queues import OpenQueues
from logstore.open_topics import OpenTopics
from logstore.storage.directory import LocalDirectory

if TYPE_CHECKING:
    from logstore.broker.queues.own_turn import OwnTurn

_T = TypeVar("_T")

ISOLATIONS: Final = ("committed", "uncommitted")

log: Final = logging.getLogger("logstore.shares")


def settings_of(
    begins: str | None, isolation: Isolation | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """Those that a group is to have. Raises Refused for an isolation that is none."""
    found = dict(settings)
    if begins is not None:
        found["share.auto.offset.reset"] = begins
    if isolation is not None:
        if isolation not in ISOLATIONS:
            raise Refused(f"isolation {isolation!r}: must be committed or uncommitted")
        found["share.isolation.level"] = f"read_{isolation}"
    return check_group_settings(found)


class StoreTurns(Protocol):
    """The part of the store's queues that share groups need. From any thread."""

    def run(self, call: Callable[[], _T]) -> _T: ...
    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool: ...
    def sync_journal(self) -> None: ...


class StoreShares:
    """A ``Home`` of consumers, and ``Surroundings`` of shares. Created in the model's thread."""

    def __init__(
        self,
        turns: StoreTurns,
        turn: "OwnTurn",
        queues: Queues,
        directory: LocalDirectory,
        topics: OpenTopics,
        logs: OpenQueues,
        keeper: GroupKeeper,
        did: Callable[[str, str], object],
    ) -> None:
        """Raises CorruptStore, SchemaTooNew."""
        self.run, self.wait, self.sync_journal = turns.run, turns.wait, turns.sync_journal
        self.soon, self.work = turn.soon, turn.work
        self._queues = queues
        self._topics = topics
        self._logs = logs
        self._keeper = keeper
        self._did = did
        table = directory.groups
        assert table is not None, "a store that is written has a catalogue"
        self._settings = open_group_settings(directory.config, table.environment)
        self._store_settings = directory.config.store
        self._consumers: weakref.WeakSet[ShareConsumer] = weakref.WeakSet()
        journal = logs.journal()
        self._journal = Telling(
            journal, queues.clock, turn.soon, lambda: turn.soon(self._journal.end_turn)
        )
        self._telling = TrimmedTelling(self._journal, self._trim_soon)
        self.shares = Shares(kept_of(journal), self)
        self._end_news = topics.tell(self.shares.topics_changed)
        self.shares.forget_topics()

    # Consumers

    def consumer(
        self,
        topics: Sequence[Topic],
        group: str,
        prefetch: int,
        settings: Mapping[str, str],
        *,
        explicit: bool,
    ) -> ShareConsumer:
        """As Store.share_consumer. From any thread."""
        if not topics:
            raise Refused("a consumer needs a topic")
        number(prefetch, "prefetch", 1, PREFETCH_MAX)
        for topic in topics:
            if topic.read_only:
                raise Refused(f"topic {topic.name!r} belongs to a queue: consume the queue")
        self._begin_group(check_group(group))
        self._set(group, settings)
        consumer = ShareConsumer(topics, group, self, prefetch, explicit=explicit)
        self._consumers.add(consumer)
        try:
            self.run(consumer.follow)
            self.wait(lambda: consumer.opened)
            self.run(consumer.check)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _begin_group(self, group: str) -> None:
        """Have it known as a share group. Raises GroupBusy, StorageFull."""
        known = self._keeper.load(group)
        if known is not None and known.kind != SHARED:
            raise GroupBusy(
                f"group {group!r} is a group of consumers, which commits offsets: use another name"
            )
        if known is None:
            head = msgspec.json.encode(ConsumerHead())
            change = GroupChange(SHARED, 0, empty=True, state=head)
            keeping = self.run(lambda: self._keeper.save(group, change))
            self.wait(lambda: keeping.done)
            if keeping.error is not None:
                raise keeping.error

    def _set(self, group: str, settings: Mapping[str, str]) -> None:
        """Durable on return. Raises UnknownSetting, InvalidSetting, Refused."""
        before = self._settings.given(group)
        self._settings.alter(group, settings, ())
        if self._settings.given(group) != before:
            self._did("settings", of_group(group, settings, ()))

    # As Home

    def topic(self, topic_id: bytes) -> Topic | None:
        """As Home.topic."""
        return self._topics.by_uuid(topic_id)

    # As Surroundings

    def rules(self, group: str) -> Rules:
        """As Surroundings.rules."""
        return rules_of(self._settings.of(group))

    def by_id(self, topic_id: bytes) -> Topic | None:
        """As Surroundings.by_id."""
        return self._topics.by_uuid(topic_id)

    def by_name(self, name: str) -> Topic | None:
        """As Surroundings.by_name."""
        return self._topics.get(name)

    def letters_prefix(self) -> str:
        """As Surroundings.letters_prefix."""
        return self._store_settings.errors_deadletterqueue_topic_name_prefix

    def hold(self, held: Transaction, then: Done) -> None:
        """As Surroundings.hold."""
        self._queues.commit(held, then)

    def crowded(self) -> bool:
        """As Surroundings.crowded."""
        return self._queues.crowded

    def now_ms(self) -> int:
        """As Surroundings.now_ms."""
        return monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """As Surroundings.wall_ms."""
        return self._queues.clock()

    def tell(self, key: bytes, value: bytes, then: Callable[[int | LogstoreError], None]) -> None:
        """As Surroundings.tell."""
        self._telling.tell(key, value, then)

    def alarm(self, at_ms: int) -> None:
        """As Surroundings.alarm."""
        self._queues.alarm(self, self._queues.clock() + max(0, at_ms - self.now_ms()))

    def wake(self) -> None:
        """As Alarmed.wake."""
        self.shares.look_at_times()

    def _trim_soon(self) -> None:
        self.work(self._trim, lambda _: None)

    def _trim(self) -> None:
        """What is below the journal's recovery point, and is not needed, goes."""
        try:
            self._logs.trim_journal()
        except LogstoreError as error:  # the next one tries again
            log.warning("the journal can't be trimmed: %s", error)

    # The end

    def end(self) -> None:
        """In the model: nobody consumes any more. What they have is available again."""
        for it in list(self._consumers):
            it.end()
        self._end_news()

    def close(self) -> None:
        """That was told to the journal: nobody is told any more what is safe."""
        self._journal.close()
