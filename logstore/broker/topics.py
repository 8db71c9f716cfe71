"""The topics of a store as its doors see them: look up, create, change, delete."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from logstore.broker.coordinator.view import TopicFacts
from logstore.broker.topic import Topic
from logstore.config import Chosen, parse
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import Refused
from logstore.names import SERVER_TOPICS, is_servers
from logstore.records.record import Record
from logstore.settings import STORE_SETTINGS

METADATA_TOPIC: Final = "__cluster_metadata"
# Kafka makes these for itself. Nothing makes them here but a client that says so: one that only
# asks for them gets none. Some are the server's own.
INTERNAL_TOPICS: Final = frozenset(
    {
        *SERVER_TOPICS,
        METADATA_TOPIC,
        "__consumer_offsets",
        "__share_group_state",
        "__transaction_state",
    }
)


def check_for_clients(name: str) -> None:
    """Raises Refused where no client may create a topic of that name."""
    if name == METADATA_TOPIC:
        raise Refused(f"topic {name!r}: the name is reserved for Kafka's metadata")
    if is_servers(name):
        raise Refused(f"topic {name!r} is the server's own: the server creates it")


def check_count(partitions: int) -> int:
    """The same number, if a topic may have so many partitions. Raises InvalidSetting."""
    parse("partitions", STORE_SETTINGS["num.partitions"], str(partitions))
    return partitions


def check_more(name: str, there: int, wanted: int) -> None:
    """Raises Refused where a topic that has so many partitions can't come to have these."""
    check_count(wanted)
    if wanted <= there:
        raise Refused(f"topic {name!r} has {there} partitions, and their number can only grow")


class PartitionSize(Protocol):
    """How much a partition holds on disk."""

    @property
    def partition(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class SegmentSeen(Protocol):
    """One segment of a partition: the records from ``base_offset`` to below ``end_offset``."""

    @property
    def base_offset(self) -> int: ...
    @property
    def end_offset(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def max_timestamp_ms(self) -> int:
        """-1 without batches."""

    @property
    def active(self) -> bool:
        """Whether it is still appended to."""


class Segments(NamedTuple):
    """The newest segments of a partition, in order."""

    newest: Sequence[SegmentSeen]
    total: int
    bytes: int  # of all


@dataclass(frozen=True, slots=True)
class Space:
    """The size of a file system, and how much this process may still write to it."""

    total_bytes: int
    usable_bytes: int


class Change(NamedTuple):
    """The result of a change of a topic. ``kept``: deleting it has failed; it still exists."""

    event: Literal["created", "grown", "altered", "deleted", "kept"]
    topic: Topic


class Scheduled(NamedTuple):
    """One delayed record, as listed."""

    topic: str  # that it will be moved to
    partition: int
    offset: int  # where it waits
    due_ms: int
    record: Record | None  # None: it can't be read


class Schedules(Protocol):
    """Delayed records of topics with ``delivery.schedule=true``. May wait for the disk."""

    @property
    def counts(self) -> ScheduleCounts:
        """Of all topics."""

    def waiting(self) -> Mapping[str, int]:
        """How many records wait, by the topic."""

    def listed(
        self, topic: str, after: tuple[int, int, int] | None, most: int
    ) -> Iterable[Scheduled]:
        """In the order in which they are due; ``after``: due, partition and offset of the one
        before. Raises UnknownTopic, Failed.
        """

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """Durable on return. Raises NotWaiting, UnknownTopic, UnknownPartition, ReadOnly."""


class OpenedTopics(Protocol):
    """The topics as consumers and groups of the library see them."""

    def topic(self, name: str) -> Topic:
        """Raises UnknownTopic, InvalidName."""

    def facts(self, name: str) -> TopicFacts | None:
        """What a group must know of a topic; None: there is none."""

    def names_by_id(self) -> Mapping[str, str]:
        """The name of each topic, by its id."""


class Topics(Protocol):
    """The topics. Look-ups never wait; changes do, and are durable on return."""

    @property
    def schedules(self) -> Schedules: ...

    def get(self, name: str) -> Topic | None:
        """The topic of that name, if there is one."""

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """The topic of that id, if there is one."""

    def names(self) -> Sequence[str]:
        """Sorted."""

    def count(self) -> int:
        """How many there are."""

    def used(self) -> Sequence[Topic]:
        """Those that somebody has asked for in this process."""

    def tell(self, changed: Callable[[Change], object]) -> Callable[[], None]:
        """Have it called after each change, in the thread that made it; what is returned ends it.

        It may be called once more while that is done.
        """

    def keep_single(self, name: str, why: str | None) -> None:
        """From now on a topic of that name gets no more partitions than it has; None: it may."""

    def create(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> Topic:
        """Raises TopicExists, InvalidName, UnknownSetting, InvalidSetting, Failed."""

    def check_new(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> int:
        """How many partitions it would get. Raises what ``create`` does of the same."""

    def check_room(self, partitions: int) -> None:
        """Raises TooManyPartitions where so many more would be."""

    def check_growth(self, name: str, partitions: int) -> None:
        """Raises what ``grow`` does of the same."""

    def grow(self, name: str, partitions: int) -> Topic:
        """Raises UnknownTopic, Refused; also where ``keep_single`` says so."""

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> Topic:
        """Raises UnknownTopic, UnknownSetting, InvalidSetting."""

    def delete(self, name: str) -> None:
        """Raises UnknownTopic."""

    def describe(self, name: str) -> list[Chosen]:
        """Every setting of a topic, with its source. Raises UnknownTopic."""

    def describe_new(self, settings: Mapping[str, str]) -> list[Chosen]:
        """Every setting of a topic that would be made with these."""

    def describe_store(self) -> list[Chosen]:
        """Every setting of the store, with its source."""

    def given(self, name: str) -> Mapping[str, str]:
        """The settings that the topic has of its own. Raises UnknownTopic."""

    def sizes(self, name: str) -> Sequence[PartitionSize]:
        """Raises UnknownTopic."""

    def offsets(self, name: str) -> Sequence[tuple[int, int] | None]:
        """Where start and safe of each partition are, without opening any; None: not known.

        Raises UnknownTopic.
        """

    def weights(self, name: str) -> Sequence[int]:
        """Bytes of each partition's files, about; none is opened. Raises UnknownTopic, Failed."""

    def segments(self, name: str, partition: int, most: int) -> Segments:
        """Of a partition, so many of the newest; its log is opened for it.

        Raises UnknownTopic, UnknownPartition, Damaged, Failed.
        """

    def space(self) -> Space:
        """Of the file system that the topics are on. Raises Failed."""

    def knows_producer(self, producer_id: int) -> bool:
        """Whether the id is one that was given here. Raises Failed."""

    def new_producer_id(self) -> int:
        """One that nobody was ever given, also not before a crash. Raises Failed."""
