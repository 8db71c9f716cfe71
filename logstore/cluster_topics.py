"""The topics of a Kafka cluster as the doors see them: ``Topics`` over brokers.

Other programs may create, grow and delete topics: the cluster's answer is the truth, and callers of
``tell`` are notified of changes. Changes are requested from the cluster. Each such call has two
forms: one that waits, for threads that may wait (not the loop's), and one with a callback
(``begin_...``), for the loop's thread. Requests about this program's own storage (segments, sizes
on disk, schedules, producer ids) are refused: brokers handle these themselves.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from logstore.broker.coordinator.view import TopicFacts
from logstore.broker.topic import Topic
from logstore.broker.topics import Change, Scheduled, Segments, Space, check_more
from logstore.cluster import topic_settings
from logstore.cluster.admin import Made
from logstore.cluster.catalogue import Entry, Event
from logstore.cluster.client import Client
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.own_rules import is_own
from logstore.cluster.partitions import DELETED, Partitions
from logstore.cluster.settings_seen import SettingsSeen
from logstore.cluster.topic_settings import Told
from logstore.cluster.waiters import WaitFor
from logstore.config import Chosen
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import (
    Failed,
    InvalidName,
    LogstoreError,
    Refused,
    TopicExists,
    UnknownTopic,
)
from logstore.kafka.wire import NIL_UUID
from logstore.names import check_no_queue, check_topic
from logstore.settings import TopicSettings

Then = Callable[[Any], None]  # gets what was asked for, or a LogstoreError


def _refused(what: str) -> str:
    return f"{what}: that is the cluster's; use its own tools"


class NoSchedules:
    """A ``Schedules`` over a cluster: no record is ever delayed there."""

    counts = ScheduleCounts()

    def waiting(self) -> Mapping[str, int]:
        """As Schedules.waiting."""
        return {}

    def listed(self, topic: str, after: object, most: int) -> Sequence[Scheduled]:
        """As Schedules.listed."""
        raise Refused(_refused(f"topic {topic!r}: records that wait for their time"))

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """As Schedules.cancel."""
        raise Refused(_refused(f"topic {topic!r}: records that wait for their time"))


class ClusterTopics:
    """The ``Topics`` of a cluster. Look-ups: from any thread. The rest: in the loop's thread."""

    def __init__(
        self,
        client: Client,
        wait_for: WaitFor,
        may_wait: Callable[[], bool],
        clock: Callable[[], int],
        describe_own: Callable[[], list[Chosen]] = list,
    ) -> None:
        """``may_wait``: whether the thread that asks may. The client is to be started.

        ``describe_own``: settings of this process.
        """
        self.schedules = NoSchedules()
        # Told of a topic of which a log has failed; the next use opens another one.
        self.failed: Callable[[Topic], object] = lambda topic: None
        self._client = client
        self._wait_for = wait_for
        self._may_wait = may_wait
        self._clock = clock
        self._describe_own = describe_own
        self._told: tuple[Callable[[Change], object], ...] = ()
        self._single: dict[str, str] = {}
        self._topics: dict[str, Topic] = {}  # that somebody has asked for
        self._showing = threading.Lock()  # of these: whoever looks one up may be in any thread
        self._seen = SettingsSeen(client.admin, client.around, self._settings_seen)
        self._catalogue = client.catalogue
        self._catalogue.tell(self._heard)

    # Told of

    def tell(self, changed: Callable[[Change], object]) -> Callable[[], None]:
        """As Topics.tell; in the loop's thread, whoever has made the change."""
        self._told = (*self._told, changed)
        return lambda: self._tell_no_more(changed)

    def _tell_no_more(self, changed: Callable[[Change], object]) -> None:
        self._told = tuple(it for it in self._told if it != changed)

    def _heard(self, event: Event, name: str, entry: Entry) -> None:
        """The catalogue has changed."""
        if event == "deleted":
            with self._showing:
                topic = self._topics.pop(name, None)
            self._seen.forget([name])
            if topic is not None:
                _partitions_of(topic).close(DELETED)
            elif self._told:
                topic = self._make(name, entry)
        else:
            topic = self._topics.get(name)
            if topic is not None and event == "grown":
                partitions = _partitions_of(topic)
                partitions.grow(entry.partitions)
                topic.grow(partitions)
            elif self._told:
                topic = self._known(name)
        if topic is not None:
            self._changed(Change(event, topic))

    def _changed(self, change: Change) -> None:
        for told in self._told:
            told(change)

    # Looked up

    def get(self, name: str) -> Topic | None:
        """As Topics.get. A thread that may wait asks for a name that is not known; the loop's
        thread has it asked for, and may find it the next time.
        """
        topic = self._topics.get(name) or self._known(name)
        if topic is not None or _is_no_topic(name):
            return topic
        if self._may_wait():
            self._wait_for(partial(self.begin_find, name))
        else:
            self.begin_find(name, _nobody)
        return self._known(name)

    def _known(self, name: str) -> Topic | None:
        with self._showing:
            topic, entry = self._topics.get(name), self._catalogue.entries.get(name)
            if topic is None and entry is not None:
                topic = self._topics[name] = self._make(name, entry)
            return topic

    def topic(self, name: str) -> Topic:
        """Raises UnknownTopic, InvalidName, ClusterUnreachable."""
        topic = self.get(name)
        if topic is None:
            check_topic(name)
            raise UnknownTopic(f"no topic {name!r}", name)
        return topic

    def begin_find(self, name: str, then: Then) -> None:
        """``then`` gets the topic, None where there is none, or why nobody can say."""

        def found(it: Any) -> None:  # noqa: ANN401
            then(it if isinstance(it, LogstoreError) else self._known(name))

        if _is_no_topic(name):
            then(None)
        else:
            self._catalogue.find(name, found)

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """As Topics.by_uuid."""
        name = self._catalogue.name_of(uuid)
        topic = None if name is None else self.get(name)
        return topic if topic is not None and topic.uuid == uuid else None

    def names(self) -> Sequence[str]:
        """As Topics.names."""
        return self._catalogue.names()

    def count(self) -> int:
        """As Topics.count."""
        return len(self._catalogue.entries)

    def used(self) -> Sequence[Topic]:
        """As Topics.used."""
        return list(self._topics.values())

    def names_by_id(self) -> dict[str, str]:
        """As OpenedTopics.names_by_id."""
        return {_text_of(it.id): name for name, it in self._catalogue.entries.copy().items()}

    def facts(self, name: str) -> TopicFacts | None:
        """As OpenedTopics.facts."""
        entry = self._catalogue.entries.get(name)
        return None if entry is None else TopicFacts(_text_of(entry.id), entry.partitions)

    def _make(self, name: str, entry: Entry) -> Topic:
        """Its object; whoever makes it has to keep it."""

        def failed(number: int) -> None:
            topic.forget(number)
            self._seen.doubt(name)  # its leader may have refused a record by others than these
            self.failed(topic)

        partitions = Partitions(
            name, entry.partitions, self._client, self._wait_for,
            partial(self._seen.when_known, name), failed,
        )  # fmt: skip
        topic = Topic(name, _text_of(entry.id), partitions, TopicSettings(), 0, self._clock)
        topic.read_only = is_own(name)
        return topic

    def begin_open(self, name: str, partition: int, then: Then) -> None:
        """``then`` gets the partition's log. Raises UnknownPartition."""

        def found(topic: Topic | LogstoreError | None) -> None:
            if not isinstance(topic, Topic):
                then(topic or UnknownTopic(f"no topic {name!r}", name))
                return
            try:
                topic.at_hand(partition)
            except LogstoreError as error:
                then(error)
                return
            _partitions_of(topic).open(partition, opened)

        def opened(log: ClusterLog | LogstoreError) -> None:
            topic = self._topics.get(name)
            if topic is not None and not isinstance(log, LogstoreError):
                topic.partition(partition)
            then(log)

        self.begin_find(name, found)

    # Made, changed, deleted: those that wait

    def create(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> Topic:
        """As Topics.create."""
        topic: Topic = self._wait_for(partial(self.begin_create, name, partitions, settings))
        return topic

    def check_new(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> int:
        """As Topics.check_new; in the loop's thread only what is known here is looked at."""
        given = self._check_new(name, settings)
        if not self._may_wait():
            return 1 if partitions is None else partitions
        made: Made = self._wait_for(
            lambda then: self._client.admin.create(name, partitions, given, then, only_check=True)
        )
        return made.partitions if made.partitions > 0 else partitions or 1

    def _check_new(self, name: str, settings: Mapping[str, str]) -> dict[str, str]:
        check_topic(name)
        check_no_queue(name)
        _check_not_own(name)
        if name in self._catalogue.entries:
            raise TopicExists(f"topic {name!r} already exists")
        return topic_settings.check(settings)

    def check_room(self, partitions: int) -> None:
        """As Topics.check_room: the cluster says how many it takes."""

    def check_growth(self, name: str, partitions: int) -> None:
        """As Topics.check_growth."""
        _check_not_own(name)
        check_more(name, len(self.topic(name).partitions), partitions)
        if name in self._single:
            raise Refused(f"topic {name!r} must keep one partition: {self._single[name]}")

    def keep_single(self, name: str, why: str | None) -> None:
        """As Topics.keep_single, as far as this process is asked."""
        if why is None:
            self._single.pop(name, None)
        else:
            self._single[name] = why

    def grow(self, name: str, partitions: int) -> Topic:
        """As Topics.grow."""
        topic: Topic = self._wait_for(partial(self.begin_grow, name, partitions))
        return topic

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> Topic:
        """As Topics.alter."""
        topic: Topic = self._wait_for(partial(self.begin_alter, name, settings, reset))
        return topic

    def delete(self, name: str) -> None:
        """As Topics.delete."""
        self._wait_for(partial(self.begin_delete, name))

    # The same, for the loop's thread

    def begin_create(
        self, name: str, partitions: int | None, settings: Mapping[str, str], then: Then
    ) -> None:
        """``then`` gets the topic."""
        try:
            given = self._check_new(name, settings)
        except LogstoreError as error:
            then(error)
            return
        self._client.admin.create(name, partitions, given, partial(self._made, name, then))

    def _made(self, name: str, then: Then, made: Made | LogstoreError) -> None:
        if isinstance(made, LogstoreError):
            if isinstance(made, TopicExists):  # which was not known here
                self._catalogue.find_made(name, lambda _: then(made))
            else:
                then(made)
            return
        if made.id != NIL_UUID and made.partitions > 0:
            self._catalogue.made(name, Entry(made.id, made.partitions))
            then(self._known(name))
            return
        # A broker that is older does not say all of what it has made.
        self._catalogue.find_made(
            name, lambda it: then(it if isinstance(it, LogstoreError) else self._known(name))
        )

    def begin_grow(self, name: str, partitions: int, then: Then) -> None:
        """``then`` gets the topic."""

        def found(topic: Topic) -> None:
            try:
                self.check_growth(name, partitions)
            except LogstoreError as error:
                then(error)
                return
            self._client.admin.grow(name, partitions, partial(grown, topic))

        def grown(topic: Topic, error: LogstoreError | None) -> None:
            entry = self._catalogue.entries.get(name)
            if error is None and entry is not None:
                self._catalogue.made(name, Entry(entry.id, partitions))
            then(error or topic)

        self._find_for(name, then, found)

    def begin_alter(
        self, name: str, settings: Mapping[str, str], reset: Sequence[str], then: Then
    ) -> None:
        """``then`` gets the topic."""

        def found(topic: Topic) -> None:
            try:
                given = topic_settings.check(settings, reset)
            except LogstoreError as error:
                then(error)
                return
            self._client.admin.alter(name, given, reset, partial(altered, topic))

        def altered(topic: Topic, error: LogstoreError | None) -> None:
            if error is not None:
                then(error)
            else:
                self._seen.look([name], partial(seen, topic), news=False)

        def seen(topic: Topic) -> None:
            self._changed(Change("altered", topic))
            then(topic)

        self._find_for(name, then, found)

    def begin_delete(self, name: str, then: Then) -> None:
        """``then`` gets None. Whoever reads or writes it meanwhile is told by its logs."""

        def deleted(error: LogstoreError | None) -> None:
            if error is None or isinstance(error, UnknownTopic):
                self._catalogue.deleted(name)
            then(error)

        self._find_for(name, then, lambda _: self._client.admin.delete(name, deleted))

    def _find_for(self, name: str, then: Then, found: Callable[[Topic], None]) -> None:
        """Whoever is to change a topic needs it to be there, and not to be the nodes' own."""

        def tell(it: Topic | LogstoreError | None) -> None:
            if isinstance(it, Topic):
                found(it)
            else:
                then(it or UnknownTopic(f"no topic {name!r}", name))

        try:
            check_topic(name)
            _check_not_own(name)
        except LogstoreError as error:
            then(error)
            return
        self.begin_find(name, tell)

    # Settings

    def _settings_seen(self, name: str, told: Sequence[Told], altered: bool) -> None:
        topic = self._topics.get(name)
        if topic is not None:
            topic.change(topic_settings.settings_of(told))
            if altered:
                self._changed(Change("altered", topic))

    def begin_describe(self, name: str, then: Then) -> None:
        """``then`` gets what brokers tell of the topic's settings, each of them."""

        def answered(found: Mapping[str, Sequence[Told] | LogstoreError] | LogstoreError) -> None:
            then(found if isinstance(found, LogstoreError) else found[name])

        self._client.admin.settings([name], None, answered)

    def _described(self, name: str) -> Sequence[Told]:
        """In the loop's thread as much as is known. Raises UnknownTopic, ClusterUnreachable."""
        if self._may_wait():
            found: Sequence[Told] = self._wait_for(partial(self.begin_describe, name))
            return found
        self.topic(name)
        return self._seen.told(name)

    def describe(self, name: str) -> list[Chosen]:
        """As Topics.describe; in the loop's thread as much as is known."""
        return topic_settings.chosen_of(self._described(name))

    def describe_new(self, settings: Mapping[str, str]) -> list[Chosen]:
        """As Topics.describe_new: what is given. The rest is the brokers'."""
        given = topic_settings.check(settings)
        told = [Told(key, text, topic_settings.OF_TOPIC) for key, text in given.items()]
        return topic_settings.chosen_of(told)

    def describe_store(self) -> list[Chosen]:
        """As Topics.describe_store: those of this process."""
        return self._describe_own()

    def given(self, name: str) -> Mapping[str, str]:
        """As Topics.given; in the loop's thread as much as is known."""
        return topic_settings.own_of(self._described(name))

    # Where it stands

    def offsets(self, name: str) -> list[tuple[int, int] | None]:
        """As Topics.offsets: of partitions that are open."""
        return _partitions_of(self.topic(name)).stands()

    # What brokers do in their own way

    def sizes(self, name: str) -> NoReturn:
        """As Topics.sizes."""
        raise Refused(_refused(f"topic {name!r}: bytes on disk"))

    def weights(self, name: str) -> NoReturn:
        """As Topics.weights."""
        raise Failed(_refused(f"topic {name!r}: bytes on disk"))

    def segments(self, name: str, partition: int, most: int) -> Segments:
        """As Topics.segments."""
        raise Failed(_refused(f"topic {name!r}: segments"))

    def space(self) -> Space:
        """As Topics.space."""
        raise Failed(_refused("space on disk"))

    def knows_producer(self, producer_id: int) -> bool:
        """As Topics.knows_producer."""
        raise Failed(_refused("ids of producers"))

    def new_producer_id(self) -> int:
        """As Topics.new_producer_id."""
        raise Failed(_refused("ids of producers"))

    def close(self) -> None:
        """Nothing is asked for any more; logs that are open end. In the loop's thread."""
        self._seen.close()
        for topic in list(self._topics.values()):
            _partitions_of(topic).close("this process is stopping")


def _partitions_of(topic: Topic) -> Partitions:
    assert isinstance(topic.partitions, Partitions)
    return topic.partitions


def _is_no_topic(name: str) -> bool:
    """Whether no topic can have this name."""
    try:
        check_topic(name)
    except InvalidName:
        return True
    return False


def _check_not_own(name: str) -> None:
    if is_own(name):
        raise Refused(f"topic {name!r} is the nodes' own: they make and change it")


def _text_of(id_: bytes) -> str:
    """A topic's id as text; "" of one without."""
    return "" if id_ == NIL_UUID else str(uuid.UUID(bytes=id_))


def _nobody(_: object) -> None:
    """Nobody waits for it."""
