"""A cluster's topics, partitions, settings and offsets, asked for by name and answered as facts."""

import uuid
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ListOffsetsResultInfo,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from logstore.config import parse
from logstore.errors import InvalidSetting, LogstoreError, UnknownTopic
from logstore.settings import TOPIC_SETTINGS

from .address import Address
from .refusal import ANSWER_S, answer, error_in, refused

SOURCES: Final = {
    ConfigSource.DYNAMIC_TOPIC_CONFIG.value: "topic",
    ConfigSource.DYNAMIC_BROKER_CONFIG.value: "broker",
    ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG.value: "brokers",
    ConfigSource.STATIC_BROKER_CONFIG.value: "broker's file",
    ConfigSource.DEFAULT_CONFIG.value: "default",
}
_NO_UUID: Final = 0


class TopicFacts(NamedTuple):
    """A topic as the cluster describes it."""

    id: str  # "" where the cluster has no topic ids
    partitions: int


class Setting(NamedTuple):
    """One setting of a topic and where it comes from."""

    name: str
    value: object
    source: str


class Admin:
    """Requests, one at a time."""

    def __init__(self, address: Address) -> None:
        """Connect. Raises Failed if no server listens at the address."""
        address.reach()
        self.address = address
        self._client = AdminClient(address.settings())

    def _one(self, futures: Mapping[Any, Any], doing: str) -> Any:  # noqa: ANN401
        [future] = futures.values()
        return answer(future, self.address, doing)

    def cluster_id(self) -> str:
        """The cluster's id, which is the same at each of its addresses."""
        doing = "ask for the cluster's id"
        found = answer(self._client.describe_cluster(request_timeout=ANSWER_S), self.address, doing)
        return str(found.cluster_id)

    # Topics

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        try:
            return sorted(self._client.list_topics(timeout=ANSWER_S).topics)
        except KafkaException as error:
            raise refused(error_in(error), self.address, "list the topics") from None

    def topic(self, name: str) -> TopicFacts:
        """Raises UnknownTopic."""
        found = self._one(
            self._client.describe_topics(TopicCollection([name]), request_timeout=ANSWER_S),
            f"find topic {name!r}",
        )
        high, low = (
            found.topic_id.get_most_significant_bits(),
            found.topic_id.get_least_significant_bits(),
        )
        bits = (high % 2**64) << 64 | low % 2**64
        return TopicFacts(
            "" if bits == _NO_UUID else str(uuid.UUID(int=bits)), len(found.partitions)
        )

    def create(
        self,
        name: str,
        partitions: int | None,
        settings: Mapping[str, str],
        *,
        only_check: bool = False,
    ) -> None:
        """Create a topic; without ``partitions``, with the cluster's default number.

        Raises TopicExists, InvalidSetting.
        """
        topic = NewTopic(name, -1 if partitions is None else partitions, config=dict(settings))
        self._one(
            self._client.create_topics([topic], validate_only=only_check, request_timeout=ANSWER_S),
            f"create topic {name!r}",
        )

    def grow(self, name: str, partitions: int, *, only_check: bool = False) -> None:
        """Add partitions. Raises UnknownTopic, Refused."""
        self._one(
            self._client.create_partitions(
                [NewPartitions(name, partitions)],
                validate_only=only_check,
                request_timeout=ANSWER_S,
            ),
            f"give topic {name!r} {partitions} partitions",
        )

    def delete(self, name: str) -> None:
        """Raises UnknownTopic."""
        self._one(
            self._client.delete_topics([name], request_timeout=ANSWER_S), f"delete topic {name!r}"
        )

    # Settings

    def settings(self, name: str) -> list[Setting]:
        """The topic's settings, sorted by name. Raises UnknownTopic."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        found = self._one(
            self._client.describe_configs([resource], request_timeout=ANSWER_S),
            f"read the settings of topic {name!r}",
        )
        entries = sorted(found.values(), key=lambda entry: entry.name)
        return [
            Setting(it.name, _typed(it.name, it.value), SOURCES.get(_number(it.source), "unknown"))
            for it in entries
        ]

    def alter(
        self,
        name: str,
        settings: Mapping[str, str],
        reset: Iterable[str],
        *,
        only_check: bool = False,
    ) -> None:
        """Change all settings or none. Raises UnknownTopic, InvalidSetting."""
        changes = [
            ConfigEntry(key, text, incremental_operation=AlterConfigOpType.SET)
            for key, text in settings.items()
        ]
        changes += [
            ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in reset
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        self._one(
            self._client.incremental_alter_configs(
                [resource], validate_only=only_check, request_timeout=ANSWER_S
            ),
            f"alter topic {name!r}",
        )

    def alter_group(self, name: str, settings: Mapping[str, str]) -> None:
        """Change settings of a group. Raises InvalidSetting, Refused."""
        changes = [
            ConfigEntry(key, text, incremental_operation=AlterConfigOpType.SET)
            for key, text in settings.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, name, incremental_configs=changes)
        self._one(
            self._client.incremental_alter_configs([resource], request_timeout=ANSWER_S),
            f"alter group {name!r}",
        )

    # Offsets

    def starts(self, topic: str, numbers: Collection[int]) -> dict[int, int]:
        """The first offset of each partition. Raises UnknownTopic."""
        return self._offsets(topic, numbers, OffsetSpec.earliest())

    def ends(self, topic: str, numbers: Collection[int]) -> dict[int, int]:
        """The offset after the last one that readers see, of each partition."""
        return self._offsets(topic, numbers, OffsetSpec.latest())

    def edges(
        self, topic: str, numbers: Collection[int]
    ) -> dict[int, tuple[int, int] | LogstoreError]:
        """Start and end of each partition, or the error of the cluster. Raises UnknownTopic."""
        starts, ends = (
            self._asked(topic, numbers, spec)
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
        )
        found: dict[int, tuple[int, int] | LogstoreError] = {}
        for number in numbers:
            try:
                found[number] = starts(number), ends(number)
            except UnknownTopic:
                raise
            except LogstoreError as error:
                found[number] = error
        return found

    def find(self, topic: str, number: int, timestamp_ms: int) -> int | None:
        """The offset of the first record at or after this time; None if there is none."""
        if timestamp_ms < 0:  # which the protocol has other uses for
            return self.starts(topic, [number])[number]
        spec = OffsetSpec.for_timestamp(timestamp_ms)
        offset = self._offsets(topic, [number], spec)[number]
        return None if offset < 0 else offset

    def latest_timestamp(self, topic: str, numbers: Collection[int]) -> int:
        """The maximum timestamp of records in these partitions, in ms; -1 if there are none."""
        found = self._answers(topic, numbers, OffsetSpec.max_timestamp())
        return max((found(number).timestamp for number in numbers), default=-1)

    def _offsets(self, topic: str, numbers: Collection[int], spec: OffsetSpec) -> dict[int, int]:
        offset = self._asked(topic, numbers, spec)
        return {number: offset(number) for number in numbers}

    def _asked(
        self, topic: str, numbers: Collection[int], spec: OffsetSpec
    ) -> Callable[[int], int]:
        """A function that returns the offset of a partition; all are requested at once."""
        found = self._answers(topic, numbers, spec)
        return lambda number: int(found(number).offset)

    def _answers(
        self, topic: str, numbers: Collection[int], spec: OffsetSpec
    ) -> Callable[[int], ListOffsetsResultInfo]:
        """A function that returns the answer for a partition; all are requested at once."""
        wanted = {TopicPartition(topic, number): spec for number in numbers}
        futures = self._client.list_offsets(wanted, request_timeout=ANSWER_S) if wanted else {}
        by_number = {place.partition: future for place, future in futures.items()}

        def found(number: int) -> ListOffsetsResultInfo:
            doing = f"find offsets of {topic}-{number}"
            answered: ListOffsetsResultInfo = answer(by_number[number], self.address, doing)
            return answered

        return found

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete records below the offset of each partition."""
        wanted = [TopicPartition(topic, number, offset) for number, offset in before.items()]
        futures = self._client.delete_records(wanted, request_timeout=ANSWER_S)
        for place, future in futures.items():
            answer(future, self.address, f"delete records of {topic}-{place.partition}")

    # Groups

    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        future = self._client.list_consumer_groups(request_timeout=ANSWER_S)
        found = answer(future, self.address, "list the groups")
        for error in found.errors:
            raise refused(error_in(error), self.address, "list the groups")
        return sorted(it.group_id for it in found.valid)

    def has_group(self, group: str) -> bool:
        """Whether a group of any type exists; ``groups`` is faster, but omits share groups."""
        try:
            with warnings.catch_warnings():  # its replacement also leaves share groups out
                warnings.simplefilter("ignore", DeprecationWarning)
                found = self._client.list_groups(timeout=ANSWER_S)
        except KafkaException as error:
            raise refused(error_in(error), self.address, f"find group {group!r}") from None
        return any(it.id == group for it in found)

    def members(self, group: str) -> Sequence[Any]:
        """The group's members, as confluent-kafka's MemberDescription."""
        futures = self._client.describe_consumer_groups([group], request_timeout=ANSWER_S)
        members: Sequence[Any] = self._one(futures, f"describe group {group!r}").members
        return members

    def committed(self, group: str) -> list[TopicPartition]:
        """All offsets that the group has committed, with metadata."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        found = self._one(
            self._client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_S
            ),
            f"see what group {group!r} has committed",
        )
        return [it for it in found.topic_partitions if it.error is None and it.offset >= 0]

    def commit(self, group: str, offsets: Sequence[TopicPartition]) -> None:
        """Commit offsets of a group without members. Raises GroupBusy, Fenced if it has any."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        doing = f"move group {group!r}"
        found = self._one(
            self._client.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, list(offsets))], request_timeout=ANSWER_S
            ),
            doing,
        )
        for place in found.topic_partitions:
            if place.error is not None:
                raise refused(place.error, self.address, doing)

    def forget(self, group: str) -> None:
        """Delete the group. Raises GroupBusy, UnknownGroup."""
        self._one(
            self._client.delete_consumer_groups([group], request_timeout=ANSWER_S),
            f"delete group {group!r}",
        )


def _number(source: object) -> int:
    """The number of an enumeration's member, for which confluent-kafka may also give the number."""
    return source.value if isinstance(source, ConfigSource) else int(str(source))


def _typed(name: str, text: str | None) -> object:
    """The value of a setting that logstore knows, in its type; the text of any other."""
    if text is None or name not in TOPIC_SETTINGS:
        return text or ""
    try:
        return parse(name, TOPIC_SETTINGS[name], text)
    except InvalidSetting:  # a value that only other servers take
        return text
