"""What the commands need of wherever topics are: a store in this process, a cluster behind a port.

``logstore.store.Store`` is one as it is; ``cluster.Cluster`` is the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from logstore.broker.committed import Isolation
    from logstore.broker.group import GroupMember, Lag, Move
    from logstore.broker.reading import OnDamage
    from logstore.broker.start import OnOutOfRange, Start, Starts
    from logstore.records.record import Message, Record


class Topic(Protocol):
    """What is to be known of a topic."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def created_ms(self) -> int:
        """When the topic was created, in ms; 0 if unknown."""

    @property
    def partitions(self) -> Sequence[object]: ...
    def partition(self, number: int) -> object:
        """Raises UnknownPartition."""


class Size(Protocol):
    """How much a partition holds; None where that is not told."""

    @property
    def partition(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def safe(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def segments(self) -> int | None: ...
    @property
    def bytes(self) -> int | None: ...


class Setting(Protocol):
    """One setting of a topic; ``source`` is "topic" where the topic itself has it."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> object: ...
    @property
    def source(self) -> str: ...


class Trim(Protocol):
    """A partition whose records below ``start_after`` are gone."""

    @property
    def partition(self) -> int: ...
    @property
    def start_before(self) -> int: ...
    @property
    def start_after(self) -> int: ...


class Sink(Protocol):
    """What is needed of a producer."""

    @property
    def acknowledged(self) -> int:
        """The number of sent records that are as safe as with acks=all."""

    def send_many(self, messages: "Sequence[Message]", partition: int | None = None) -> None:
        """Send all messages or none. Raises InvalidRecord, with the ``index``; LogstoreError."""

    def push(self) -> None:
        """Pass on everything sent, without waiting for acknowledgements.

        Raises LogstoreError.
        """

    def flush(self) -> None:
        """Wait until everything sent is acknowledged. Raises LogstoreError."""


class Source(Protocol):
    """What is needed of a consumer."""

    @property
    def ended(self) -> bool: ...
    def poll(self, records_max: int, timeout_s: float | None) -> "list[Record]":
        """The next records; records of the last poll count as processed. Raises LogstoreError."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at an offset. Raises UnknownPartition if another member consumes the
        partition.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Group(Protocol):
    """A consumer group, seen from outside."""

    def members(self) -> "list[GroupMember]": ...
    def describe(self) -> "list[Lag]": ...
    def reset(
        self,
        to: "Start",
        topics: Sequence[str] | None = None,
        *,
        partitions: Sequence[int] | None = None,
        out_of_range: bool = False,
        dry_run: bool = False,
    ) -> "list[Move]":
        """Move the group's offsets. Raises GroupBusy, UnknownTopic, UnknownPartition,
        OffsetOutOfRange.
        """

    def delete(self) -> None:
        """Delete the group. Raises GroupBusy, UnknownGroup."""


class Site(Protocol):
    """Topics and groups. Every method raises LogstoreError alone."""

    def topics(self) -> list[str]: ...
    def topic(self, name: str) -> Topic: ...
    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Topic: ...
    def alter_topic(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        reset: Sequence[str] = (),
        partitions: int | None = None,
    ) -> object: ...
    def delete_topic(self, name: str) -> None: ...
    def describe_topic(self, name: str) -> Sequence[Setting]: ...
    def sizes(self, name: str) -> Sequence[Size]: ...
    def trim(
        self,
        topic: str,
        before: "Start",
        partitions: Sequence[int] | None = None,
        *,
        dry_run: bool = False,
    ) -> Sequence[Trim]: ...
    def producer(
        self, topic: str, *, batch_bytes: int = ..., compression: str | None = None
    ) -> Sink: ...
    def consumer(
        self,
        *topics: str,
        group: str | None = None,
        start: "Starts" = "earliest",
        follow: bool = False,
        partitions: Sequence[int] | None = None,
        on_damage: "OnDamage" = "stop",
        on_out_of_range: "OnOutOfRange" = "stop",
        isolation: "Isolation" = "committed",
        end: "Start | None" = None,
    ) -> Source: ...
    def replay(
        self,
        topic: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        speed: float = 0.0,
        sleep: Callable[[float], object] = ...,
        on_damage: "OnDamage" = "stop",
    ) -> "Iterator[list[Record]]": ...
    def groups(self) -> list[str]: ...
    def group(self, name: str) -> Group: ...
