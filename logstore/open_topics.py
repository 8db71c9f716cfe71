"""The topics of a store, each once in a process: looked up, created, changed, deleted.

The library face and the doors use the same objects. A door looks up a topic for every request, so
in the process that writes the store a look-up is one dictionary access, without lock or catalogue.
Changes are made durable first and then visible. In a reading process, a topic is read from the
catalogue each time, because the writer may have changed it.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, overload

from logstore.broker.coordinator.view import TopicFacts
from logstore.broker.producer_ids import ProducerIds
from logstore.broker.rules import check_partition
from logstore.broker.schedules.companion import (
    check_can_wait,
    check_free,
    check_not_needed,
    companion_of,
    is_companion,
    is_scheduled,
    parent_of,
    settings_of,
)
from logstore.broker.topic import Topic, uuid_of
from logstore.broker.topics import Change, Schedules, Segments, Space, check_count, check_more
from logstore.config import Chosen, check_topic_settings, topic_setting
from logstore.errors import (
    Closed,
    Failed,
    Forked,
    InvalidName,
    LogstoreError,
    Refused,
    TooManyPartitions,
    TopicExists,
    UnknownTopic,
)
from logstore.kept.queues import SINGLE
from logstore.log import Log
from logstore.names import check_apart, check_no_queue, check_topic
from logstore.storage.catalog import Entry
from logstore.storage.directory import Directory, LocalDirectory, LogSize
from logstore.storage.queues import streams

PRODUCER_IDS: Final = 1000  # one commit for so many producers


class Partitions(Sequence[Log]):
    """The logs of a topic. Each is opened at its first use, here and nowhere else."""

    def __init__(self, directory: Directory, name: str, entry: Entry) -> None:
        self._directory = directory
        self._name = name
        self.entry = entry
        self._logs: list[Log | None] = [None] * entry.partitions

    def __len__(self) -> int:
        return len(self._logs)

    @overload
    def __getitem__(self, at: int) -> Log: ...
    @overload
    def __getitem__(self, at: slice) -> list[Log]: ...
    def __getitem__(self, at: int | slice) -> Log | list[Log]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        log = self._logs[at]
        if log is None:
            number = range(len(self))[at]
            log = self._logs[number] = self._directory.log(self._name, self.entry, number)
        return log


class OpenTopics:
    """The ``Topics`` of one data directory. From any thread."""

    def __init__(
        self, directory: LocalDirectory, clock: Callable[[], int], *, others_write: bool
    ) -> None:
        """``others_write``: another process may change the topics at any time."""
        self._directory = directory
        self._clock = clock
        self._others_write = others_write
        self._refusal: str | None = None
        self._schedules: Schedules | None = None
        # One change at a time, so that they are shown in the order in which they were made.
        self._changing = threading.RLock()
        self._told: tuple[Callable[[Change], object], ...] = ()
        self._single: dict[str, str] = {}  # topics that are not to grow, and why
        self._claiming = threading.Lock()  # not the other: a new producer waits for no topic
        self._producer_ids = range(0)
        self._ids: ProducerIds | None = None
        # What is shown, and of that what somebody has asked for; held for no longer than it takes
        # to change them, since whoever looks up may come by.
        self._showing = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._partitions = 0  # of all entries: to add them up for each new topic takes long
        self._names: dict[bytes, str] = {}
        self._topics: dict[str, Topic] = {}
        if not others_write:
            for name, entry in directory.topics().items():
                self._put(name, entry)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the directory, and the logs, refuse by themselves."""
        self._changing = threading.RLock()
        self._claiming, self._showing = threading.Lock(), threading.Lock()
        self._refusal = str(error)

    @property
    def schedules(self) -> Schedules:
        """As Topics.schedules."""
        assert self._schedules is not None, "the store says what they are"
        return self._schedules

    def scheduled_by(self, schedules: Schedules) -> None:
        """These say what waits for topics."""
        self._schedules = schedules

    def refuse(self, why: str | None) -> None:
        """Change nothing any more: whoever has many changes to make ends soon. None: as before."""
        self._refusal = why

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise Closed(self._refusal)

    def tell(self, changed: Callable[[Change], object]) -> Callable[[], None]:
        """As Topics.tell."""
        self._told = (*self._told, changed)
        return lambda: self._tell_no_more(changed)

    def _tell_no_more(self, changed: Callable[[Change], object]) -> None:
        self._told = tuple(it for it in self._told if it != changed)

    def keep_single(self, name: str, why: str | None) -> None:
        """As Topics.keep_single."""
        if why is None:
            self._single.pop(name, None)
        else:
            self._single[name] = why

    def _why_single(self, name: str) -> str | None:
        """Why it is not to grow, if so; also while nobody has opened the queues."""
        table = self._directory.groups
        if name not in self._single and table is not None and name in streams(table.environment):
            return SINGLE
        return self._single.get(name)

    def _changed(self, change: Change) -> None:
        for told in self._told:
            told(change)

    # Looked up

    def get(self, name: str) -> Topic | None:
        """As Topics.get."""
        if self._others_write:
            with contextlib.suppress(UnknownTopic, InvalidName):
                return self._look(name)
            return None
        return self._topics.get(name) or self._first_use(name)

    def topic(self, name: str) -> Topic:
        """Raises UnknownTopic, InvalidName."""
        if self._others_write:
            return self._look(name)
        topic = self.get(name)
        if topic is None:
            raise self._unknown(name)
        return topic

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """As Topics.by_uuid."""
        if self._others_write:
            for known in self._directory.topics():
                self.get(known)
        name = self._names.get(uuid)
        topic = None if name is None else self.get(name)
        return topic if topic is not None and topic.uuid == uuid else None  # made again since?

    def names(self) -> Sequence[str]:
        """As Topics.names."""
        return sorted(self._directory.topics() if self._others_write else self._entries)

    def count(self) -> int:
        """As Topics.count."""
        return len(self._directory.topics() if self._others_write else self._entries)

    def used(self) -> Sequence[Topic]:
        """As Topics.used."""
        return list(self._topics.values())

    def names_by_id(self) -> dict[str, str]:
        """The name of each topic, by its id."""
        entries = self._directory.topics() if self._others_write else self._entries.copy()
        return {entry.id: name for name, entry in entries.items()}

    def facts(self, name: str) -> TopicFacts | None:
        """What a group must know of a topic; None: there is none."""
        topic = self.get(name)
        return None if topic is None else TopicFacts(topic.id, len(topic.partitions))

    def _look(self, name: str) -> Topic:
        """The topic as another process has left it. Raises UnknownTopic, InvalidName."""
        with self._changing:
            try:
                entry = self._directory.topic(check_topic(name))
            except UnknownTopic:
                self._hide(name)
                raise
            return self._show(name, entry)

    def _entry(self, name: str) -> Entry:
        """Raises UnknownTopic, InvalidName."""
        if self._others_write:
            return self._directory.topic(check_topic(name))
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        return entry

    def _unknown(self, name: str) -> UnknownTopic:
        """Raises InvalidName where no topic can have this name, CorruptStore where one may."""
        with contextlib.suppress(UnknownTopic):
            self._directory.topic(check_topic(name))
        return UnknownTopic(f"no topic {name!r}", name)

    # Shown

    def _first_use(self, name: str) -> Topic | None:
        with self._showing:
            entry = self._entries.get(name)
            return None if entry is None else self._topics.get(name) or self._make(name, entry)

    def _make(self, name: str, entry: Entry) -> Topic:
        partitions = Partitions(self._directory, name, entry)
        settings = self._directory.settings(entry)
        topic = Topic(name, entry.id, partitions, settings, entry.created_ms, self._clock)
        without = topic.companion

        def companion() -> Topic:
            now = self._entry(name)
            return self.topic(companion_of(name)) if is_scheduled(now.settings) else without()

        topic.companion = companion
        self._topics[name] = topic
        return topic

    def _put(self, name: str, entry: Entry) -> None:
        known = self._entries.get(name)
        if known is not None and known.id != entry.id:
            self._names.pop(uuid_of(known.id), None)
        self._partitions += entry.partitions - (0 if known is None else known.partitions)
        self._entries[name] = entry
        if entry.id:  # partitions without a catalogue have none
            self._names[uuid_of(entry.id)] = name

    def _show(self, name: str, entry: Entry) -> Topic:
        """The topic as it is now; the same object as long as it is the same topic."""
        with self._showing:
            known, topic = self._entries.get(name), self._topics.get(name)
            self._put(name, entry)
            if topic is None or topic.id != entry.id:
                return self._make(name, entry)
            if known != entry:
                topic.change(self._directory.settings(entry))
                if len(topic.partitions) != entry.partitions:
                    topic.grow(Partitions(self._directory, name, entry))
                assert isinstance(topic.partitions, Partitions)
                topic.partitions.entry = entry  # of logs that are opened from now on
            return topic

    def _hide(self, name: str) -> None:
        with self._showing:
            entry = self._entries.pop(name, None)
            self._partitions -= 0 if entry is None else entry.partitions
            self._topics.pop(name, None)
            if entry is not None and entry.id:
                self._names.pop(uuid_of(entry.id), None)

    # Made, changed, deleted

    def check_new(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> int:
        """As Topics.check_new."""
        check_topic(name)
        check_no_queue(name)
        if self.get(name) is not None:
            raise TopicExists(f"topic {name!r} already exists")
        check_apart(name, self._entries)
        given = check_topic_settings(settings)
        count = self._count(partitions)
        self.check_room(count + self._lacking(name, count, given))
        self._check_companion(name, given)
        return count

    def _check_companion(self, name: str, own: Mapping[str, str]) -> None:
        """Whether the topic may have the companion that it asks for, if it does."""
        if not is_scheduled(own):
            return
        chosen = {it.name: it.value for it in self._directory.config.describe_topic(own)}
        check_can_wait(name, chosen["cleanup.policy"])
        companion = companion_of(name)
        if (there := self._entries.get(companion)) is None:
            check_no_queue(companion)
        elif self._why_single(companion) is not None:
            raise Refused(f"topic {companion!r} can't store delayed records: it is a stream")
        else:
            check_free(companion, there.settings)

    def _lacking(self, name: str, count: int, own: Mapping[str, str]) -> int:
        """Partitions that the topic's companion is to get, if it has one, for it to have so many.

        Raises InvalidName.
        """
        if not is_scheduled(own):
            return 0
        there = self._entries.get(companion_of(name))
        return count if there is None else max(0, count - there.partitions)

    def _with_companion(self, name: str, count: int, own: Mapping[str, str]) -> None:
        """Have its companion there, with as many partitions. First, so that none lacks it."""
        companion = companion_of(name)
        there = self._entries.get(companion)
        if there is None:
            self._create(companion, count, settings_of(own))
        elif there.partitions < count:
            entry = self._directory.writable().change_topic(companion, partitions=count)
            self._changed(Change("grown", self._show(companion, entry)))

    def mend_companions(self) -> None:
        """Make those that a process which died did not come to make. Raises StorageFull, Failed."""
        with self._changing:
            self._check_open()
            for name, entry in list(self._entries.items()):
                if is_scheduled(entry.settings):
                    self._with_companion(name, entry.partitions, entry.settings)

    def scheduled(self) -> Sequence[str]:
        """The topics that have companions."""
        return [name for name, it in self._entries.copy().items() if is_scheduled(it.settings)]

    def _count(self, partitions: int | None) -> int:
        count = self._directory.config.store.num_partitions if partitions is None else partitions
        return check_count(count)

    def create(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> Topic:
        """As Topics.create."""
        count, given = self._count(partitions), check_topic_settings(settings)
        check_topic(name)
        check_no_queue(name)
        with self._changing:
            self._check_open()
            if name not in self._entries:
                self.check_room(count + self._lacking(name, count, given))
                self._check_companion(name, given)
                if is_scheduled(given):
                    self._with_companion(name, count, given)
            self._create(name, count, given)
            return self.topic(name)

    def _create(self, name: str, count: int, given: Mapping[str, str]) -> None:
        try:
            self._directory.writable().create_topic(name, count, given)
        finally:  # an error, and made all the same: nobody could see, delete or make it
            self._show_new(name)

    def check_room(self, partitions: int) -> None:
        """As Topics.check_room."""
        most = self._directory.config.store.partitions_max
        there = self._partitions
        if there + partitions > most:
            raise TooManyPartitions(
                f"there are {there} partitions, and {partitions} more would exceed"
                f" partitions.max, {most}: delete topics, or raise the setting"
            )

    def _show_new(self, name: str) -> None:
        if name not in self._entries:
            with contextlib.suppress(UnknownTopic):
                self._changed(Change("created", self._show(name, self._directory.topic(name))))

    def check_growth(self, name: str, partitions: int) -> None:
        """As Topics.check_growth."""
        check_count(partitions)
        with self._changing:
            self._check_open()
            entry = self._entry(name)
            self._check_change(name, entry, entry.settings, partitions)

    def _check_change(
        self, name: str, entry: Entry, own: Mapping[str, str], partitions: int | None
    ) -> int:
        """Whether it may have these settings, and so many partitions; how many it has then."""
        if partitions is not None:
            check_more(name, entry.partitions, partitions)
            if (why := self._why_single(name)) is not None:
                raise Refused(f"topic {name!r} must keep one partition: {why}")
        count = entry.partitions if partitions is None else partitions
        more = count - entry.partitions + self._lacking(name, count, own)
        if more:  # there may be too many already
            self.check_room(more)
        self._check_companion(name, own)
        parent = self._parent(name)
        if parent is not None and (partitions is not None or is_scheduled(own)):
            check_not_needed(name, parent.settings)
        return count

    def grow(self, name: str, partitions: int) -> Topic:
        """As Topics.grow."""
        return self.alter(name, {}, (), partitions)

    def alter(
        self,
        name: str,
        settings: Mapping[str, str],
        reset: Sequence[str],
        partitions: int | None = None,
    ) -> Topic:
        """As Topics.alter and Topics.grow, in one change. Raises Refused for fewer partitions."""
        if partitions is not None:
            check_count(partitions)
        for setting in reset:
            topic_setting(setting)
        given = check_topic_settings(settings)
        with self._changing:
            self._check_open()
            entry = self._entry(name)
            own = {key: text for key, text in entry.settings.items() if key not in reset} | given
            count = self._check_change(name, entry, own, partitions)
            if is_scheduled(own):
                self._with_companion(name, count, own)
            entry = self._directory.writable().change_topic(
                name, partitions=partitions, settings=own
            )
            topic = self._show(name, entry)
            self._changed(Change("altered" if partitions is None else "grown", topic))
            return topic

    def delete(self, name: str) -> None:
        """As Topics.delete. Whoever reads or writes it meanwhile is told by its logs."""
        with self._changing:
            self._check_open()
            entry = self._entry(name)
            if (parent := self._parent(name)) is not None:
                check_not_needed(name, parent.settings)
            if is_scheduled(entry.settings) and companion_of(name) in self._entries:
                self._delete(companion_of(name))
            self._delete(name)

    def _parent(self, name: str) -> Entry | None:
        """The topic whose companion it is, by both their settings."""
        parent = parent_of(name)
        entry = None if parent is None else self._entries.get(parent)
        return entry if entry is not None and is_companion(self._entry(name).settings) else None

    def _delete(self, name: str) -> None:
        """With _changing held."""
        entry, topic = self._entry(name), self.topic(name)
        self._hide(name)  # first: who finds it could wait for its log until it is deleted
        try:
            self._directory.writable().delete_topic(name)
        except LogstoreError:  # before or after the moment at which the topic is gone?
            known = self._directory.topics().get(name)
            if known is not None and known.id == topic.id:
                self._show_again(topic, entry)
                self._changed(Change("kept", topic))
            else:
                self._changed(Change("deleted", topic))
            raise
        self._changed(Change("deleted", topic))

    def _show_again(self, topic: Topic, entry: Entry) -> None:
        with self._showing:
            self._put(topic.name, entry)
            self._topics[topic.name] = topic

    # Told

    def describe(self, name: str) -> list[Chosen]:
        """As Topics.describe."""
        return self._directory.config.describe_topic(self._entry(name).settings)

    def describe_new(self, settings: Mapping[str, str]) -> list[Chosen]:
        """As Topics.describe_new."""
        return self._directory.config.describe_topic(check_topic_settings(settings))

    def describe_store(self) -> list[Chosen]:
        """As Topics.describe_store."""
        return self._directory.config.describe()

    def given(self, name: str) -> Mapping[str, str]:
        """As Topics.given."""
        return self._entry(name).settings

    def sizes(self, name: str) -> list[LogSize]:
        """As Topics.sizes."""
        entry = self._entry(name)
        return [self._directory.size(name, entry, number) for number in range(entry.partitions)]

    def offsets(self, name: str) -> list[tuple[int, int] | None]:
        """As Topics.offsets."""
        entry, directory = self._entry(name), self._directory.writable()
        return [directory.stands(entry, number) for number in range(entry.partitions)]

    def weights(self, name: str) -> list[int]:
        """As Topics.weights."""
        entry, directory = self._entry(name), self._directory.writable()
        return [directory.weight(name, entry, number) for number in range(entry.partitions)]

    def segments(self, name: str, partition: int, most: int) -> Segments:
        """As Topics.segments."""
        entry = self._entry(name)
        check_partition(name, range(entry.partitions), partition)
        log = self._directory.log(name, entry, partition)
        found = log.segments(timed=False)
        newest = [log.timed(it) for it in found[-most:]]
        return Segments(newest, len(found), sum(it.bytes for it in found))

    def space(self) -> Space:
        """As Topics.space."""
        directory = self._directory.writable()
        try:
            return Space(*directory.disk.space(directory.path))
        except OSError as error:
            raise Failed(f"{directory.path}: {error.strerror}") from None

    def new_producer_id(self) -> int:
        """As Topics.new_producer_id. A block is claimed on disk at once; a crash skips its rest."""
        with self._claiming:
            ids = self._known_ids()
            if not self._producer_ids:
                first = self._directory.writable().new_producer_ids(PRODUCER_IDS)
                self._producer_ids = range(first, first + PRODUCER_IDS)
            found, self._producer_ids = self._producer_ids[0], self._producer_ids[1:]
            return ids.make(found)

    def knows_producer(self, producer_id: int) -> bool:
        """As Topics.knows_producer."""
        ids = self._ids
        if ids is None:
            with self._claiming:
                ids = self._known_ids()
        return ids.knows(producer_id, self._clock())

    def _known_ids(self) -> ProducerIds:
        if self._ids is None:
            given = self._directory.writable().producer_ids()
            expiration_ms = self._directory.config.store.producer_id_expiration_ms
            until_ms = given.since_ms + expiration_ms
            self._ids = ProducerIds(given.secret, given.unchecked_below, until_ms)
        return self._ids
