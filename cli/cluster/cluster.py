"""A cluster: topics and groups behind a port, with the methods of a store."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

from logstore.broker.committed import Isolation
from logstore.broker.reading import OnDamage
from logstore.broker.replay import in_order
from logstore.broker.rules import BATCH_BYTES, check_partition
from logstore.broker.start import OnOutOfRange, Start, Starts, offset_of
from logstore.errors import Forbidden, LogstoreError, Refused, UnknownGroup, UnknownTopic
from logstore.log import TopicPartition
from logstore.names import check_topic
from logstore.records.record import Record

from .address import Address
from .admin import Admin, Setting, TopicFacts
from .consumer import ClusterConsumer
from .group import ClusterGroup
from .producer import ClusterProducer
from .refusal import ANSWER_S
from .share import ShareMember
from .streams import Streams
from .topic import ClusterTopic

HEARD_S: Final = 0.05  # how long the news of a topic takes from broker to broker


class PartitionSize(NamedTuple):
    """How far a partition goes; a cluster does not tell how much it holds on disk."""

    partition: int
    start: int
    safe: int
    end: int
    segments: int | None = None
    bytes: int | None = None


class Trim(NamedTuple):
    """A partition whose records below ``start_after`` were deleted."""

    partition: int
    start_before: int
    start_after: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition's offsets, as they were when it was looked at."""

    name: str
    start: int
    safe: int
    _find: Callable[[int], int | None]

    @property
    def end(self) -> int:
        return self.safe

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find; what is damaged is the server's to say."""
        found = self._find(timestamp_ms)
        return self.safe if found is None else found


def check_damage(on_damage: OnDamage) -> None:
    """Raise Refused if damaged batches are to be skipped, which a cluster's client cannot do."""
    if on_damage != "stop":
        raise Refused(
            "damaged batches can be skipped only in a store's own files: name the directory"
            " with --data"
        )


class Cluster:
    """As ``logstore.store.Store``, as far as commands need it."""

    def __init__(self, address: Address) -> None:
        """Connect. Raises Failed if no server listens at the address."""
        self.address = address
        self.admin = Admin(address)
        self._producers: list[ClusterProducer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(LogstoreError):  # what went wrong first says more
            self.close()

    def close(self) -> None:
        """Wait until everything sent is acknowledged. Raises LogstoreError if that fails."""
        for producer in self._producers:
            producer.flush()

    # Topics

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        return self.admin.topics()

    def _facts(self, name: str) -> TopicFacts:
        try:
            return self.admin.topic(check_topic(name))
        except UnknownTopic:
            raise UnknownTopic(f"no topic {name!r}", name) from None

    def topic(self, name: str) -> ClusterTopic:
        """The topic. Raises UnknownTopic, InvalidName."""
        facts = self._facts(name)
        settings: list[Setting] | None
        try:
            settings = self.describe_topic(name)
        except Forbidden:  # a right to write does not include one to see settings
            settings = None
        return ClusterTopic(name, facts.id, range(facts.partitions), settings)

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> ClusterTopic:
        """Create a topic. Raises TopicExists, InvalidName, InvalidSetting."""
        self.admin.create(check_topic(name), partitions, settings or {})
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                return self.topic(name)
            except UnknownTopic:  # a broker that has not heard of it yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(HEARD_S)

    def alter_topic(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        reset: Sequence[str] = (),
        partitions: int | None = None,
    ) -> None:
        """Change a topic, after checking all changes. Raises UnknownTopic, InvalidSetting, Refused.

        Sends two requests: a server that stops between them has changed only the settings.
        """
        count = self._facts(name).partitions
        changed = bool(settings or reset)
        if partitions is not None:
            if partitions <= count:
                raise Refused(
                    f"topic {name!r} has {count} partitions, and their number can only grow"
                )
            self.admin.grow(name, partitions, only_check=True)
        if changed:
            self.admin.alter(name, settings or {}, reset, only_check=True)
            self.admin.alter(name, settings or {}, reset)
        if partitions is not None:
            self.admin.grow(name, partitions)

    def delete_topic(self, name: str) -> None:
        """Raises UnknownTopic."""
        self._facts(name)
        self.admin.delete(name)

    def describe_topic(self, name: str) -> list[Setting]:
        """Every setting of the topic, with its source."""
        return self.admin.settings(name)

    def sizes(self, name: str) -> list[PartitionSize]:
        """The offsets of each partition."""
        return [
            PartitionSize(number, it.start, it.safe, it.end)
            for number, it in self.partitions(name).items()
        ]

    def latest_timestamp(self, name: str) -> int:
        """The maximum timestamp of a topic's records, in ms; -1 without any. Raises
        UnknownTopic.
        """
        return self.admin.latest_timestamp(name, range(self._facts(name).partitions))

    def partitions(self, name: str) -> dict[int, Partition]:
        """Each partition's offsets. Raises UnknownTopic."""
        found = self.partitions_or_errors(name)
        for it in found.values():
            if isinstance(it, LogstoreError):
                raise it
        return found  # type: ignore[return-value]

    def partitions_or_errors(self, name: str) -> dict[int, Partition | LogstoreError]:
        """As ``partitions``, with the error of each broken partition. Raises UnknownTopic."""
        edges = self.admin.edges(name, range(self._facts(name).partitions))
        return {
            number: it
            if isinstance(it, LogstoreError)
            else Partition(f"{name}-{number}", *it, partial(self.admin.find, name, number))
            for number, it in edges.items()
        }

    def trim(
        self,
        topic: str,
        before: Start,
        partitions: Sequence[int] | None = None,
        *,
        dry_run: bool = False,
    ) -> list[Trim]:
        """As Store.trim."""
        found = self.partitions(topic)
        for number in partitions or ():
            check_partition(topic, found, number)
        numbers = found if partitions is None else partitions
        trims = [
            Trim(number, found[number].start, offset_of(found[number], before))
            for number in numbers
        ]
        if not dry_run:
            self.admin.delete_records(topic, {it.partition: it.start_after for it in trims})
        return trims

    # Records

    def producer(
        self, topic: str, *, batch_bytes: int = BATCH_BYTES, compression: str | None = None
    ) -> ClusterProducer:
        """Raises UnknownTopic."""
        producer = ClusterProducer(self.address, self.topic(topic), batch_bytes, compression)
        self._producers.append(producer)
        return producer

    def consumer(
        self,
        *topics: str,
        group: str | None = None,
        start: Starts = "earliest",
        follow: bool = False,
        partitions: Sequence[int] | None = None,
        on_damage: OnDamage = "stop",
        on_out_of_range: OnOutOfRange = "stop",
        isolation: Isolation = "committed",
        end: Start | None = None,
    ) -> ClusterConsumer:
        """As Store.consumer.

        With a group and ``partitions`` these are read without being a member: the group's members
        must not be there meanwhile.
        """
        check_damage(on_damage)
        places: list[TopicPartition] = []
        for name in topics:
            topic = self.topic(name)
            numbers = range(len(topic.partitions)) if partitions is None else partitions
            for number in numbers:
                topic.partition(number)
                places.append((name, number))
        return ClusterConsumer(
            self.address,
            self.partitions,
            places,
            group=group,
            member=partitions is None,
            start=start,
            follow=follow,
            on_out_of_range=on_out_of_range,
            isolation=isolation,
            end=end,
        )

    def share_member(
        self,
        topics: Sequence[str],
        group: str,
        begins: str | None,
        isolation: Isolation | None,
        records_max: int | None,
    ) -> ShareMember:
        """A member of a share group. ``begins`` and ``isolation``: settings of the group, or None.

        Raises UnknownTopic, Refused.
        """
        for name in topics:
            self.topic(name)
        given = {
            "share.auto.offset.reset": begins,
            "share.isolation.level": None if isolation is None else f"read_{isolation}",
        }
        settings = {name: text for name, text in given.items() if text is not None}
        if settings:
            self.admin.alter_group(group, settings)
        return ShareMember(self.address, topics, group, records_max)

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
        """As Store.replay."""
        check_damage(on_damage)
        found = self.partitions(topic)
        starts = {
            (topic, number): it.start if from_ms is None else it.find(from_ms)
            for number, it in found.items()
        }
        ends = {(topic, number): it.safe for number, it in found.items()}
        streams = Streams(self.address, starts, ends)
        between = [
            (
                record
                for record in streams.of(place)
                if (from_ms is None or record.timestamp_ms >= from_ms)
                and (to_ms is None or record.timestamp_ms < to_ms)
            )
            for place in starts
        ]
        try:
            yield from in_order(between, speed, sleep=sleep)
        finally:
            streams.close()

    # Groups

    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        return self.admin.groups()

    def group(self, name: str) -> ClusterGroup:
        """The group of this name. Raises UnknownGroup."""
        commits = name in self.groups()
        if not commits and not self.admin.has_group(name):
            raise UnknownGroup(f"no group {name!r}: it has committed nothing", name)
        return self.group_of(name, commits=commits)

    def group_of(self, name: str, *, commits: bool = True) -> ClusterGroup:
        """As ``group``, even if it does not exist; ``commits``: it is a consumer group."""
        return ClusterGroup(
            name, self.admin, self.partitions, self.partitions_or_errors, commits=commits
        )
