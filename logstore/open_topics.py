"""The topics of a store that is written, as its doors use them.

A door asks for a topic with every request, so looking one up is a dictionary's work: no lock, no
catalogue. Logs are opened when they are first used. What changes topics goes to the store, which
makes it durable, and is then shown here.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, overload

from logstore.broker.coordinator.consumer import TopicFacts
from logstore.broker.topic import Topic
from logstore.broker.topics import PartitionSize
from logstore.config import Chosen, check_topic_settings, parse
from logstore.errors import Closed, LogstoreError, TopicExists, UnknownTopic
from logstore.log import Log
from logstore.settings import STORE_SETTINGS
from logstore.storage.catalog import TopicEntry
from logstore.storage.directory import Directory
from logstore.storage.names import check_apart, check_topic
from logstore.store import Store

PRODUCER_IDS: Final = 1000  # one commit for so many producers


class Partitions(Sequence[Log]):
    """The logs of a topic, each opened at its first use."""

    def __init__(self, directory: Directory, name: str, entry: TopicEntry) -> None:
        self._directory = directory
        self._name = name
        self._entry = entry
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
            log = self._logs[at] = self._directory.log(self._name, self._entry, at)
        return log


class OpenTopics:
    """``Topics`` of one store."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory
        self._changed: Callable[[], object] = lambda: None
        self._changing = threading.Lock()
        self._stopped = False
        self._producer_ids = range(0)
        self._by_name: dict[str, Topic] = {}
        self._by_uuid: dict[bytes, Topic] = {}
        for name, entry in directory.topics().items():
            self._show(name, entry)

    def stop(self) -> None:
        """Change nothing any more: whoever has many changes to make is through soon."""
        self._stopped = True

    def _check_running(self) -> None:
        if self._stopped:
            raise Closed("the server stops")

    def tell(self, changed: Callable[[], object]) -> None:
        """Have it called when there are other topics or partitions, in the thread that did it."""
        self._changed = changed

    def get(self, name: str) -> Topic | None:
        """As Topics.get."""
        return self._by_name.get(name)

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """As Topics.by_uuid."""
        return self._by_uuid.get(uuid)

    def facts(self, name: str) -> TopicFacts | None:
        """What a group must know of a topic; None: there is none."""
        topic = self._by_name.get(name)
        return None if topic is None else TopicFacts(topic.id, len(topic.partitions))

    def names(self) -> Sequence[str]:
        """As Topics.names."""
        return sorted(self._by_name)

    def _show(self, name: str, entry: TopicEntry) -> Topic:
        topic = Topic(
            name,
            entry.id,
            Partitions(self._directory, name, entry),
            self._directory.settings(entry),
            entry.created_ms,
        )
        self._by_name[name] = self._by_uuid[topic.uuid] = topic
        return topic

    def _known(self, name: str) -> Topic:
        topic = self._by_name.get(name)
        if topic is None:
            raise UnknownTopic(f"no topic {name!r}")
        return topic

    def create(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> Topic:
        """As Topics.create."""
        with self._changing:
            self._check_running()
            try:
                self._store.create_topic(name, partitions, settings)
            finally:  # an error, and made all the same: nobody could see, delete or make it
                self._show_new(name)
            return self._by_name[name]

    def _show_new(self, name: str) -> None:
        if name in self._by_name:
            return
        with contextlib.suppress(UnknownTopic):
            self._show(name, self._directory.topic(name))
            self._changed()

    def check_new(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> int:
        """As Topics.check_new."""
        check_topic(name)
        if name in self._by_name:
            raise TopicExists(f"topic {name!r} is there already")
        check_apart(name, self._by_name)
        check_topic_settings(settings)
        count = self._store.config.store.num_partitions if partitions is None else partitions
        parse("partitions", STORE_SETTINGS["num.partitions"], str(count))
        return count

    def grow(self, name: str, partitions: int) -> Topic:
        """As Topics.grow."""
        with self._changing:
            self._check_running()
            topic = self._known(name)
            self._store.alter_topic(name, partitions=partitions)
            topic.grow(Partitions(self._directory, name, self._directory.topic(name)))
            self._changed()
            return topic

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> Topic:
        """As Topics.alter."""
        with self._changing:
            self._check_running()
            topic = self._known(name)
            topic.settings = self._store.alter_topic(name, settings, reset).settings
            return topic

    def delete(self, name: str) -> None:
        """As Topics.delete. Whoever reads or writes it meanwhile is told by its logs."""
        with self._changing:
            self._check_running()
            topic = self._known(name)
            self._by_name.pop(name, None)
            self._by_uuid.pop(topic.uuid, None)
            self._changed()
            try:
                self._store.delete_topic(name)
            except LogstoreError:
                self._show_again(topic)
                raise

    def _show_again(self, topic: Topic) -> None:
        """Deleting has failed: before or after the moment at which the topic is gone?"""
        entry = self._directory.topics().get(topic.name)
        if entry is not None and entry.id == topic.id:
            self._by_name[topic.name] = self._by_uuid[topic.uuid] = topic
            self._changed()

    def describe(self, name: str) -> list[Chosen]:
        """As Topics.describe."""
        return self._store.describe_topic(name)

    def describe_new(self, settings: Mapping[str, str]) -> list[Chosen]:
        """As Topics.describe_new."""
        return self._store.config.describe_topic(check_topic_settings(settings))

    def describe_store(self) -> list[Chosen]:
        """As Topics.describe_store."""
        return self._store.config.describe()

    def given(self, name: str) -> Mapping[str, str]:
        """As Topics.given."""
        return self._directory.topic(name).settings

    def sizes(self, name: str) -> Iterable[PartitionSize]:
        """As Topics.sizes."""
        return [PartitionSize(name, it.partition, it.bytes) for it in self._store.sizes(name)]

    def new_producer_id(self) -> int:
        """As Topics.new_producer_id. A block is claimed on disk at once; a crash skips its rest."""
        with self._changing:
            if not self._producer_ids:
                first = self._directory.new_producer_ids(PRODUCER_IDS)
                self._producer_ids = range(first, first + PRODUCER_IDS)
            found, self._producer_ids = self._producer_ids[0], self._producer_ids[1:]
            return found
