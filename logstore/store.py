"""The library face: one data directory, its topics and groups."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSet, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from logstore import forks
from logstore.broker.channel import Channels
from logstore.broker.consumer import Consumer
from logstore.broker.coordinator.assignor import Place
from logstore.broker.embedded import EmbeddedMember
from logstore.broker.group import Group
from logstore.broker.ledger import Ledger
from logstore.broker.listening import Channel, Listener
from logstore.broker.producer import Producer, flush_all
from logstore.broker.reading import OnDamage, skip_of
from logstore.broker.replay import replay
from logstore.broker.rules import BATCH_BYTES
from logstore.broker.sharing import Opened, Sharing
from logstore.broker.start import (
    OnOutOfRange,
    Start,
    Starts,
    check_offset,
    check_on_out_of_range,
    committed_offset,
    offset_of,
)
from logstore.broker.topic import Topic
from logstore.broker.trimming import Trim, trim
from logstore.clock import now_ms
from logstore.config import Chosen, Config
from logstore.errors import (
    Closed,
    Forked,
    InvalidName,
    LogstoreError,
    ReadOnly,
    Refused,
    UnknownGroup,
    UnknownPartition,
    UnknownTopic,
)
from logstore.internals import Internals
from logstore.kept import Offsets
from logstore.log import Log, TopicPartition
from logstore.names import check_group
from logstore.open_topics import Change, OpenTopics
from logstore.records.record import Record
from logstore.storage.directory import LocalDirectory, LogSize
from logstore.storage.disk import Disk
from logstore.storage.groups import GroupTable
from logstore.storage.kinds import KINDS, TOPIC
from logstore.storage.names import CONFIG
from logstore.storage.opening import open_directory
from logstore.storage.status import Mode, Status, status
from logstore.storage.verify import Report, verify
from logstore.upkeep.backup import Copied, backup
from logstore.upkeep.jobs import (
    Retained,
    Rewritten,
    Tell,
    untold,
)
from logstore.upkeep.upkeep import Upkeep

_User = TypeVar("_User", Producer, Consumer, Listener)


class _Begin(NamedTuple):
    """Where a consumer begins in a partition."""

    start: Starts
    damaged: bool  # at a batch that can't be read, too
    group: str | None = None
    on_out_of_range: OnOutOfRange = "stop"


class Store:
    """Topics and groups of one data directory. Made by ``logstore.open``; any thread may use it."""

    def __init__(
        self, directory: LocalDirectory, mode: Mode, clock: Callable[[], int] = now_ms
    ) -> None:
        self._directory = directory
        self._clock = clock
        # A producer that nobody has any more may still have gathered records: they are not lost.
        self._producers: set[Producer] = set()
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()
        self._lock = threading.RLock()  # who is to be closed, and whether the store is
        self._closed = False
        self._topics = OpenTopics(directory, clock, others_write=mode == "read")
        self._topics.tell(self._tell_change)
        self._forked: Forked | None = None
        self._channels = Channels()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self.mode = mode
        self._upkeep = Upkeep(directory, clock)
        if mode == "write" and self.config.channels:
            self._channels.keep(self.config.channels, self._topics)
        if mode == "write":
            self._upkeep.begin()
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: everything that was made of this store is of no use here."""
        self._lock = threading.RLock()
        self._closed, self._forked = True, error
        self._topics.forked(error)
        self._channels.forked(error)
        users: list[forks.Forkable] = [*self._producers, *self._consumers, *self._listeners]
        for user in users:
            user.forked(error)

    def __repr__(self) -> str:
        return f"<Store {self.path} {self.mode}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> str:
        return self._directory.path

    @property
    def config(self) -> Config:
        return self._directory.config

    def internals(self) -> Internals:
        """What is below, for who wires a node or a mirror: no promise to anyone else.

        Raises Closed.
        """
        return Internals(self._open(), self._topics, self._channels)

    def _open(self) -> LocalDirectory:
        if self._closed:
            raise self._forked or Closed(f"{self.path}: the store is closed")
        return self._directory

    def close(self) -> None:
        """Sync everything and let go of the directory. Raises LogFailed where a sync fails.

        Producers still open are flushed. Consumers still open leave their groups; the record that
        one handed out last is not done. In a fork of the process that opened it nothing happens.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._channels.close()
            closings: list[Callable[[], None]] = [it.close for it in self._listeners]
            closings += [it.close for it in self._producers]
            closings += [partial(it.close, last_done=False) for it in self._consumers]
        failures: list[LogstoreError] = []
        self._upkeep.close()
        try:
            for close in closings:
                try:
                    close()
                except LogstoreError as error:
                    failures.append(error)
        finally:
            self._directory.close()
        if failures:
            raise failures[0]

    # Topics

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        return list(self._open_topics().names())

    def topic(self, name: str) -> Topic:
        """Its logs are opened as they are used. Raises UnknownTopic, InvalidName."""
        return self._open_topics().topic(name)

    def _open_topics(self) -> OpenTopics:
        self._open()
        return self._topics

    def _tell_change(self, change: Change) -> None:
        if change.event in ("created", "deleted"):
            self._channels.tell("topics", f"topic-{change.event}", change.topic.name)

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Topic:
        """Durable on return. ``settings``: Kafka's names, values as text.

        Raises TopicExists, InvalidName, UnknownSetting, InvalidSetting, ReadOnly, StorageFull.
        """
        return self._open_topics().create(name, partitions, settings or {})

    def alter_topic(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        reset: Sequence[str] = (),
        partitions: int | None = None,
    ) -> Topic:
        """Set settings, ``reset`` others to their default, add partitions; durable on return.

        More partitions send keys elsewhere: records that have a key are no longer all in the
        partition that new ones go to. Raises UnknownTopic, UnknownSetting, InvalidSetting,
        Refused for fewer partitions, ReadOnly.
        """
        return self._open_topics().alter(name, settings or {}, reset, partitions)

    def delete_topic(self, name: str) -> None:
        """The topic, its records, and what groups have committed in it. Raises UnknownTopic.

        Files that can't be removed are nobody else's concern: ``leftovers`` names them.
        """
        self._open_topics().delete(name)

    def leftovers(self) -> list[str]:
        """What could not be removed of deleted topics, by its path, and why; tried again."""
        return list(map(str, self._open().leftovers()))

    def describe_topic(self, name: str) -> list[Chosen]:
        """Every setting of the topic, with its source."""
        return self._open_topics().describe(name)

    def sizes(self, name: str) -> list[LogSize]:
        """How much each partition holds."""
        return self._open_topics().sizes(name)

    # Producing and consuming

    def producer(
        self, topic: str, *, batch_bytes: int = BATCH_BYTES, compression: str | None = None
    ) -> Producer:
        """Raises UnknownTopic, ReadOnly, InvalidSetting."""
        if self.mode == "read":
            raise ReadOnly(f"{self.path}: the store is open for reading")
        closed = partial(self._producer_closed, topic)
        producer = Producer(self.topic(topic), batch_bytes, compression, closed)
        return self._keep(producer, self._producers)

    def _producer_closed(self, topic: str, producer: Producer, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, UnknownTopic | UnknownPartition):
            for consumer in list(self._consumers):
                consumer.lose_output(topic, error)
        self._producers.discard(producer)  # last: until then a commit finds it

    def _flush_producers(self) -> None:
        flush_all(list(self._producers))

    def consumer(
        self,
        *topics: str,
        group: str | None = None,
        start: Starts = "earliest",
        follow: bool = False,
        partitions: Sequence[int] | None = None,
        on_damage: OnDamage = "stop",
        on_out_of_range: OnOutOfRange = "stop",
        auto_commit: bool = True,
    ) -> Consumer:
        """Reads ``topics`` (of each: ``partitions``, or all) from ``start``.

        Consumers of one group, in this process or others, share the partitions.

        ``start``: one for all, or an offset for each (topic, partition); those not named there
        begin at their start. With a group: from where it committed; ``start`` counts where it has
        not. Without ``follow`` it ends at the end of what is there.

        ``auto_commit``: a member of a group commits what is done every ``consumer.commit.ms`` and
        at its end. Before each commit all that was sent to this store's producers is synced, so
        that no record counts as read before what was made of it is safe. False: only ``commit``
        commits.

        ``on_damage``: what becomes of a batch that can't be read. ``"stop"``: its partition goes no
        further, and CorruptBatch is raised once the others have nothing more. ``"skip"``: it is
        passed over, and a line is logged. A function is called with the CorruptBatch, likewise.

        ``on_out_of_range``: what becomes of a partition where the group's offset, or what was to be
        read next, is not in the log any more. ``"stop"``: OffsetOutOfRange is raised.
        ``"earliest"``, ``"latest"``: it goes on there, and a line is logged.

        Raises UnknownTopic, UnknownPartition, InvalidName, OffsetBelowStart, OffsetAboveEnd;
        GroupBusy where clients of a server consume as the group.
        """
        if not topics:
            raise Refused("a consumer needs a topic")
        logs: dict[TopicPartition, Log] = {}
        for name in topics:
            topic = self.topic(name)
            for number in range(len(topic.partitions)) if partitions is None else partitions:
                logs[name, number] = topic.partition(number)
        if isinstance(start, Mapping) and (strangers := start.keys() - logs.keys()):
            raise UnknownPartition("start: {}-{} is not consumed here".format(*min(strangers)))
        check_on_out_of_range(on_out_of_range)
        skips = skip_of(on_damage) is not None
        if group is None:
            positions = _positions(logs, {}, _Begin(start, skips))
            consumer = Consumer(
                logs, positions, follow=follow, on_damage=on_damage, on_out_of_range=on_out_of_range
            )
            return self._keep(consumer, self._consumers)
        return self._member(
            group,
            frozenset(topics),
            partitions,
            start,
            follow=follow,
            on_damage=on_damage,
            on_out_of_range=on_out_of_range,
            auto_commit=auto_commit,
        )

    def _member(
        self,
        group: str,
        topics: frozenset[str],
        partitions: Sequence[int] | None,
        start: Starts,
        *,
        follow: bool,
        on_damage: OnDamage,
        on_out_of_range: OnOutOfRange,
        auto_commit: bool,
    ) -> Consumer:
        """A consumer that shares the partitions with the others of its group."""
        settings = self.config.store
        member = EmbeddedMember(
            check_group(group),
            self._table(),
            self._topics.facts,
            topics,
            None if partitions is None else frozenset(partitions),
            session_timeout_ms=settings.consumer_session_timeout_ms,
            rebalance_timeout_ms=settings.consumer_rebalance_timeout_ms,
            members_max=settings.group_max_size,
        )
        begin = _Begin(start, skip_of(on_damage) is not None, group, on_out_of_range)
        opened = partial(self._opened, begin)
        sharing = Sharing(member, opened, settings.offset_metadata_max_bytes)
        commit_s = settings.consumer_commit_ms / 1000
        consumer = Consumer(
            {}, {}, membership=sharing, follow=follow, commit_s=commit_s, on_damage=on_damage,
            on_out_of_range=on_out_of_range, group=group, auto_commit=auto_commit,
            flush=self._flush_producers,
        )  # fmt: skip
        try:
            sharing.start(consumer)
        except BaseException:
            consumer.close()
            raise
        return self._keep(consumer, self._consumers)

    def _opened(
        self,
        begin: _Begin,
        places: Collection[Place],
        committed: Offsets,
    ) -> Opened:
        """The logs of these partitions, and where a member of a group begins in them."""
        names = self._topics.names_by_id()
        found: dict[TopicPartition, Place] = {}
        logs: dict[TopicPartition, Log] = {}
        for topic_id, number in sorted(places):
            try:
                topic = self.topic(names.get(topic_id, ""))
                log = topic.partition(number)
            except (UnknownTopic, UnknownPartition, InvalidName):
                continue  # deleted since: the group will hear of it
            if topic.id == topic_id:
                logs[topic.name, number] = log
                found[topic.name, number] = topic_id, number
        offsets = {it: committed[it].offset for it in logs if it in committed}
        return Opened(logs, _positions(logs, offsets, begin), offsets, found)

    # Channels

    def channel(self, name: str | bytes) -> Channel:
        """A channel: nothing is made by this, and nothing kept."""
        return Channel(_as_bytes(name), self._channels, self._listen)

    def _listen(self, name: bytes) -> Listener:
        return self.listen(name)

    def listen(self, *names: str | bytes, patterns: Iterable[str | bytes] = ()) -> Listener:
        """What is published from now on to these channels, or to any whose name matches a pattern.

        Patterns are Redis's: ``news.*``, ``h?llo``, ``h[a-c]llo``. Raises Closed, InvalidName.
        """
        self._open()
        named, matched = map(_as_bytes, names), map(_as_bytes, patterns)
        listener = Listener(self._channels, named, matched, self._listeners.discard)
        return self._keep(listener, self._listeners)

    def _keep(self, user: _User, users: MutableSet[_User]) -> _User:
        """Have it closed with the store."""
        with self._lock:
            if not self._closed:
                users.add(user)
                return user
        user.close()
        raise self._forked or Closed(f"{self.path}: the store is closed")

    def offset_for(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The offset of the first record of this time or later; the end if there is none."""
        return self.topic(topic).partition(partition).find(timestamp_ms)

    def replay(
        self,
        topic: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        speed: float = 0.0,
        sleep: Callable[[float], object] = time.sleep,
        on_damage: OnDamage = "stop",
    ) -> Iterator[list[Record]]:
        """Records with ``from_ms <= timestamp < to_ms``, partitions merged by their timestamps.

        Within a partition they keep the order of their offsets.
        ``speed``: 1 as it happened, 3600 an hour a second, 0 without waiting; ``sleep(seconds)``
        does the waiting. ``on_damage``: as ``consumer`` has it. Raises UnknownTopic, CorruptBatch.
        """
        if not 0 <= speed < float("inf"):
            raise Refused(f"speed {speed}: takes 0 (no waiting) or more")
        logs = dict(enumerate(self.topic(topic).partitions))
        places = {(topic, number): log for number, log in logs.items()}
        return replay(places, from_ms, to_ms, speed, sleep=sleep, skip=skip_of(on_damage))

    # Groups

    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        table = self._open().groups
        return table.names() if table is not None else []

    def group(self, name: str) -> Group:
        """Raises UnknownGroup."""
        if name not in self.groups():
            raise UnknownGroup(f"no group {name!r}: it has committed nothing")
        return Group(
            name,
            self._table,
            lambda topic: dict(enumerate(self.topic(topic).partitions)),
            self._topics.names_by_id,
        )

    def _table(self) -> GroupTable:
        table = self._open().groups
        if table is None:
            raise ReadOnly(f"{self.path}: without a catalogue there are no groups")
        return table

    def expire_offsets(self) -> list[str]:
        """Drop what is past ``offsets.retention.minutes``; the groups of which nothing is left.

        Raises ReadOnly.
        """
        return self._upkeep_open().expire_offsets()

    # Upkeep

    def trim(
        self,
        topic: str,
        before: Start,
        partitions: Sequence[int] | None = None,
        *,
        dry_run: bool = False,
    ) -> list[Trim]:
        """Delete the records before an offset or a time, of all partitions or these.

        Durable on return. Whole segments go, the rest is hidden. Nothing goes if one of them can't
        be trimmed to there. Raises UnknownTopic, UnknownPartition, ReadOnly, OffsetAboveEnd;
        OffsetBelowStart where those records are gone already.
        """
        return trim(self.topic(topic), before, partitions, dry_run=dry_run)

    def retention(
        self, *topics: str, dry_run: bool = False, tell: Tell = untold
    ) -> Iterator[Retained]:
        """Drop the segments that retention lets go, of these topics or all.

        What became of each log. With ``dry_run`` only say what would. ``tell`` is told how far a
        log is, here and below. A log that is damaged keeps everything. Raises UnknownTopic,
        ReadOnly.
        """
        return self._upkeep_open().retention(topics, dry_run=dry_run, tell=tell)

    def compaction(
        self, *topics: str, dry_run: bool = False, tell: Tell = untold
    ) -> Iterator[Rewritten]:
        """Compact the logs for which it is time, of these topics or all compacted ones.

        What was done. With ``dry_run`` only say for which. Raises UnknownTopic, ReadOnly.
        """
        return self._upkeep_open().compaction(topics, dry_run=dry_run, tell=tell)

    def recompression(
        self, *topics: str, dry_run: bool = False, tell: Tell = untold
    ) -> Iterator[Rewritten]:
        """Compress sealed segments anew where compression.sealed asks for it; what was done.

        Of these topics or all. With ``dry_run`` only say where. Raises UnknownTopic, ReadOnly.
        """
        return self._upkeep_open().recompression(topics, dry_run=dry_run, tell=tell)

    def _upkeep_open(self) -> Upkeep:
        self._open()
        return self._upkeep

    def backup(self, target: str | os.PathLike[str]) -> Iterator[Copied]:
        """A consistent copy of everything into a new directory; each file as it is done.

        Producers and consumers may go on. Raises Refused, ReadOnly, StorageFull, CorruptBatch.
        """
        return backup(self._open(), os.path.abspath(target), self._clock())

    # The whole

    def verify(self, topic: str | None = None, *, repair: bool = False) -> Iterator[Report]:
        """Read everything (or one topic) and say what is not as it was written.

        With ``repair`` indexes are made anew where they are wrong; nothing else is changed. Raises
        UnknownTopic; with ``repair`` ReadOnly, StorageFull.
        """
        return verify(self._open(), topic, repair=repair)

    def status(self) -> Status:
        """With a look at both ends of each log for damage; ``verify`` reads all."""
        return status(self._open())


def _positions(
    logs: Mapping[TopicPartition, Log], committed: Mapping[TopicPartition, int], begin: _Begin
) -> dict[TopicPartition, int]:
    positions = {}
    for place, log in logs.items():
        if place in committed:
            positions[place] = committed_offset(
                log, committed[place], begin.group, begin.on_out_of_range
            )
        elif isinstance(begin.start, Mapping):
            positions[place] = check_offset(log, begin.start.get(place, log.start))
        else:
            positions[place] = offset_of(log, begin.start, damaged=begin.damaged)
    return positions


def _as_bytes(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


def open_store(
    path: str | os.PathLike[str],
    mode: Mode = "write",
    *,
    config: Config | None = None,
    create: bool = True,
    disk: Disk | None = None,
    clock: Callable[[], int] = now_ms,
) -> Store:
    """Open a data directory.

    ``write``: the one writing process; makes the directory unless ``create`` is False. ``read``:
    beside a writer or without one; also takes a directory of bare Kafka-format partitions.
    Without ``config``: ``<path>/logstore.toml`` and the environment.
    Raises NotAStore, StoreLocked, SchemaTooNew, CorruptStore, ReadOnly, StorageFull,
    UnknownSetting, InvalidSetting.
    """
    if mode not in ("write", "read"):
        raise Refused(f"mode {mode!r}: takes write or read")
    name = os.path.abspath(path)
    if config is None:
        config = Config.load(Path(name) / CONFIG, os.environ)
    expiration_ms = config.store.producer_id_expiration_ms
    topics = replace(TOPIC, notes=lambda: Ledger(clock, expiration_ms))
    directory = open_directory(
        name, mode, config, disk or Disk(), create=create, clock=clock,
        kinds={**KINDS, TOPIC.name: topics},
    )  # fmt: skip
    return Store(directory, mode, clock)
