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
    """Check that clients may create a topic of that name. Raises Refused."""
    if name == METADATA_TOPIC:
        raise Refused(f"topic {name!r}: the name is reserved for Kafka's metadata")
    if is_servers(name):
        raise Refused(f"topic {name!r} is the server's own: the server creates it")


def check_count(partitions: int) -> int:
    """Check the number of partitions, and return it. Raises InvalidSetting."""
    parse("partitions", STORE_SETTINGS["num.partitions"], str(partitions))
    return partitions


def check_more(name: str, there: int, wanted: int) -> None:
    """Check that a topic with ``there`` partitions can grow to ``wanted``. Raises Refused."""
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
        """The largest timestamp; -1 without batches."""

    @property
    def active(self) -> bool:
        """Whether it is the segment for appends."""


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
        """The counters of all topics."""

    def waiting(self) -> Mapping[str, int]:
        """The number of delayed records by topic."""

    def listed(
        self, topic: str, after: tuple[int, int, int] | None, most: int
    ) -> Iterable[Scheduled]:
        """List waiting records in the order of their due times.

        ``after``: due time, partition and offset of the last one before. Raises UnknownTopic,
        Failed.
        """

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """Durable on return. Raises NotWaiting, UnknownTopic, UnknownPartition, ReadOnly."""


class OpenedTopics(Protocol):
    """The topics as consumers and groups of the library see them."""

    def topic(self, name: str) -> Topic:
        """Return the topic. Raises UnknownTopic, InvalidName."""

    def facts(self, name: str) -> TopicFacts | None:
        """Return what a group must know about a topic; None: it does not exist."""

    def names_by_id(self) -> Mapping[str, str]:
        """The name of each topic, by its id."""


class Topics(Protocol):
    """The topics. Look-ups never wait; changes do, and are durable on return."""

    @property
    def schedules(self) -> Schedules: ...

    def get(self, name: str) -> Topic | None:
        """The topic of that name, if it exists."""

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """The topic of that id, if it exists."""

    def names(self) -> Sequence[str]:
        """The names of all topics, sorted."""

    def count(self) -> int:
        """The number of topics."""

    def used(self) -> Sequence[Topic]:
        """The topics that were used in this process."""

    def tell(self, changed: Callable[[Change], object]) -> Callable[[], None]:
        """Call this after each change, in the thread that made it; the returned function ends that.

        It may be called once more meanwhile.
        """

    def keep_single(self, name: str, why: str | None) -> None:
        """Refuse further partitions for a topic of that name, with this reason; None:
        allow them.
        """

    def create(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> Topic:
        """Create it. Raises TopicExists, InvalidName, UnknownSetting, InvalidSetting, Failed."""

    def check_new(self, name: str, partitions: int | None, settings: Mapping[str, str]) -> int:
        """The number of partitions that a new topic would get. Raises as ``create``."""

    def check_room(self, partitions: int) -> None:
        """Check that ``partitions`` more are possible. Raises TooManyPartitions."""

    def check_growth(self, name: str, partitions: int) -> None:
        """Check that the topic can grow. Raises as ``grow``."""

    def grow(self, name: str, partitions: int) -> Topic:
        """Add partitions. Raises UnknownTopic; Refused, also because of ``keep_single``."""

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> Topic:
        """Change settings. Raises UnknownTopic, UnknownSetting, InvalidSetting."""

    def delete(self, name: str) -> None:
        """Delete the topic. Raises UnknownTopic."""

    def describe(self, name: str) -> list[Chosen]:
        """Every setting of a topic, with its source. Raises UnknownTopic."""

    def describe_new(self, settings: Mapping[str, str]) -> list[Chosen]:
        """Every setting of a topic created with these."""

    def describe_store(self) -> list[Chosen]:
        """Every setting of the store, with its source."""

    def given(self, name: str) -> Mapping[str, str]:
        """The topic's own settings. Raises UnknownTopic."""

    def sizes(self, name: str) -> Sequence[PartitionSize]:
        """Return the sizes of the partitions. Raises UnknownTopic."""

    def offsets(self, name: str) -> Sequence[tuple[int, int] | None]:
        """Start and safe of each partition, without opening any; None: unknown.

        Raises UnknownTopic.
        """

    def weights(self, name: str) -> Sequence[int]:
        """The approximate size of each partition; opens none. Raises UnknownTopic, Failed."""

    def segments(self, name: str, partition: int, most: int) -> Segments:
        """Return up to ``most`` of a partition's newest segments; opens its log.

        Raises UnknownTopic, UnknownPartition, Damaged, Failed.
        """

    def space(self) -> Space:
        """The space of the topics' file system. Raises Failed."""

    def knows_producer(self, producer_id: int) -> bool:
        """Whether the id was given by this store. Raises Failed."""

    def new_producer_id(self) -> int:
        """Return an id that was never used before, not even before a crash. Raises Failed."""
