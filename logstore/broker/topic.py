"""A topic: the logs of its partitions, and appending records to them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain, compress, islice
from typing import NamedTuple, overload

from logstore.broker.partitioner import Partitioner
from logstore.broker.rules import Rules, Unstamped, check_partition
from logstore.broker.schedules.delays import DELIVER_AT, milliseconds_of
from logstore.clock import now_ms
from logstore.errors import InvalidRecord, Refused
from logstore.log import Log
from logstore.records.compression import Compression
from logstore.records.encode import Columns
from logstore.records.record import Headers
from logstore.settings import TopicSettings

HeadersGiven = Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]


class Position(NamedTuple):
    """The place of an appended record."""

    partition: int
    offset: int
    timestamp_ms: int


def uuid_of(topic_id: str) -> bytes:
    """A topic's id as 16 bytes."""
    return bytes.fromhex(topic_id.replace("-", ""))


class Topic:
    """Appends records to partitions; a record is synced on return (or as safe as the settings ask
    for).
    """

    read_only = False  # clients cannot append: it belongs to a queue

    def __init__(
        self,
        name: str,
        topic_id: str,
        partitions: Sequence[Log],
        settings: TopicSettings,
        created_ms: int,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.name = name
        self.id = topic_id
        self.partitions = partitions
        self.rules = Rules(name, settings, clock)
        self.created_ms = created_ms
        # Where its records wait for their time; raises Refused where they can't.
        self.companion: Callable[[], Topic] = self._no_companion
        self._opened: dict[int, Log] = {}
        self._partitioner = Partitioner(len(partitions))

    def __repr__(self) -> str:
        return f"<Topic {self.name} {len(self.partitions)} partitions>"

    @property
    def settings(self) -> TopicSettings:
        return self.rules.settings

    @cached_property
    def uuid(self) -> bytes:
        """The id as 16 bytes; empty for a topic without one."""
        return uuid_of(self.id)

    def partition(self, number: int) -> Log:
        """The log of a partition, opened at its first use, which may take long.

        Raises UnknownPartition; Damaged, Failed if it cannot be opened.
        """
        log = self.at_hand(number)
        if log is None:
            log = self._opened[number] = self.partitions[number]
        return log

    def at_hand(self, number: int) -> Log | None:
        """The log if it is already open, otherwise None. Raises UnknownPartition."""
        log = self._opened.get(number)
        if log is None:
            check_partition(self.name, self.partitions, number)
        return log

    def forget(self, number: int) -> None:
        """Forget a log that has failed; a new one is opened at the next use."""
        self._opened.pop(number, None)

    @property
    def opened(self) -> list[tuple[int, Log]]:
        """The partitions in use, with their logs."""
        return list(self._opened.items())

    @property
    def all_at_hand(self) -> bool:
        """Whether all partitions are open, so that no append waits for one."""
        return len(self._opened) == len(self.partitions)

    def change(self, settings: TopicSettings) -> None:
        """Set the topic's settings."""
        self.rules = self.rules.changed(settings)

    def grow(self, partitions: Sequence[Log]) -> None:
        """Add these partitions."""
        self.partitions = partitions
        self._partitioner = Partitioner(len(partitions))

    # Appending

    def choose(self, key: bytes | None) -> int:
        """The partition of a record with this key; any partition if there is no key."""
        partition = self._partitioner.partition(key)
        if key is None:
            self._partitioner.batch_full()
        return partition

    def _no_companion(self) -> "Topic":
        raise Refused(f"topic {self.name!r} has no delayed records; set delivery.schedule=true")

    def append(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
        *,
        deliver_at: datetime | int | None = None,
    ) -> Position:
        """Append one record; synced on return.

        ``headers``: a mapping, or pairs if names repeat. The timestamp defaults to now. The
        partition defaults to one chosen by the key, as in every Kafka client, or to any without a
        key. ``deliver_at``: the time at which the record is delivered to the topic (a datetime with
        a zone, or ms since 1970); until then it waits in the companion topic ``NAME.delayed``, to
        which the returned position belongs. Raises InvalidRecord, UnknownPartition, StorageFull,
        LogFailed, ReadOnly; Refused if ``deliver_at`` is given and the topic does not have
        ``delivery.schedule=true``.
        """
        if deliver_at is not None:
            companion, given = self.waiting(headers, deliver_at)
            return companion.append(value, key, given, partition=partition)
        put = self.put(value, key, headers, timestamp_ms, partition)
        put.log.wait(put.mark + 1)
        return put.position

    def waiting(
        self, headers: HeadersGiven | None, deliver_at: datetime | int
    ) -> "tuple[Topic, Headers]":
        """The companion's partition and the headers for a record with this due time. Raises
        Refused.
        """
        moment = str(milliseconds_of(deliver_at)).encode()
        return self.companion(), (*as_headers(headers), (DELIVER_AT, moment))

    def put(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> "Put":
        """As ``append``, without waiting for the sync."""
        columns = self.rules.columns([(value, key, as_headers(headers), timestamp_ms)])
        if partition is None:
            partition = self._partitioner.partition(key)
        log = self.partition(partition)
        mark = log.append(self.rules.encode(columns)[0])
        if key is None:
            self._partitioner.batch_full()
        return Put(partition, log, mark, columns.timestamps[0])

    def append_many(
        self, messages: Iterable[Unstamped], partition: int | None = None
    ) -> "Sequence[Position]":
        """Append all messages, batch by batch; synced on return.

        The positions are in the order of ``messages``. A message that the topic does not accept
        raises before anything is appended. If the disk fills up midway, earlier batches are kept.
        Raises as ``append``.
        """
        put = self.put_many(messages, partition)
        for log, upto in put.marks:
            log.wait(upto)
        return put.positions

    def put_many(self, messages: Iterable[Unstamped], partition: int | None = None) -> "PutMany":
        """As ``append_many``, without waiting for the sync."""
        listed = list(messages)
        if not listed:
            return PutMany((), (), ())
        portions = self.portions(listed, self._partitioner, partition)
        self._partitioner.batch_full()
        encoded = [(portion, self.rules.encode(portion.columns)) for portion in portions]
        logs = [self.partitions[portion.partition] for portion in portions]  # one may not open
        appended = [
            [(log.append(batch), batch.record_count) for batch in batches]
            for log, (_, batches) in zip(logs, encoded, strict=True)
        ]
        return PutMany(portions, logs, appended)

    def portions(
        self,
        messages: Sequence[Unstamped],
        partitioner: Partitioner,
        partition: int | None,
        compression: Compression | None = None,
    ) -> list["Portion"]:
        """The messages by partition, in order (all in one partition if it is given).

        Raises InvalidRecord, UnknownPartition.
        """
        if partition is not None or len(self.partitions) == 1:
            self.partition(partition or 0)
            columns = self.rules.columns(messages, compression)
            return [Portion(partition or 0, columns, None)]
        numbers = partitioner.partitions([message[1] for message in messages])
        portions = []
        for number in sorted(set(numbers)):
            chosen = list(compress(messages, map(number.__eq__, numbers)))
            try:
                portions.append(Portion(number, self.rules.columns(chosen, compression), numbers))
            except InvalidRecord as error:
                of_these = (at for at, it in enumerate(numbers) if it == number)
                error.index = next(islice(of_these, error.index, None))
                raise
        return portions


class Put(NamedTuple):
    """An appended record, which is safe once its log is done with its mark."""

    partition: int
    log: Log
    mark: int
    timestamp_ms: int

    @property
    def position(self) -> Position:
        """The record's position, once it is safe."""
        return Position(self.partition, self.log.offset_of(self.mark), self.timestamp_ms)


class PutMany(NamedTuple):
    """The appended messages of one call, which are safe once their logs say so."""

    portions: Sequence["Portion"]
    logs: Sequence[Log]  # of each portion
    appended: Sequence[Sequence[tuple[int, int]]]  # of each: batches by their marks, their records

    @property
    def marks(self) -> Sequence[tuple[Log, int]]:
        """For each log, the mark to wait for."""
        return [(log, sum(it[-1])) for log, it in zip(self.logs, self.appended, strict=True)]

    @property
    def positions(self) -> "Sequence[Position]":
        """The positions of the records, once all are safe."""
        if not self.portions:
            return []
        return Positions(self.portions, list(map(_offsets, self.logs, self.appended)))


class Portion(NamedTuple):
    """The messages of one call for one partition."""

    partition: int
    columns: Columns
    numbers: Sequence[int] | None  # the partition of each message of the call; None: this one

    @property
    def indexes(self) -> Sequence[int]:
        """The places of its messages among those of the call."""
        if self.numbers is None:
            return range(self.columns.messages)
        return [index for index, it in enumerate(self.numbers) if it == self.partition]


class Positions(Sequence[Position]):
    """The position of each message of one call, in the order of the call. Computed on access."""

    def __init__(self, portions: Sequence[Portion], offsets: Sequence[Sequence[int]]) -> None:
        self._portions = portions
        self._offsets = offsets

    @cached_property
    def _positions(self) -> list[Position]:
        placed: list[Position] = [Position(0, 0, 0)] * len(self)
        for portion, offsets in zip(self._portions, self._offsets, strict=True):
            rows = zip(portion.indexes, offsets, portion.columns.timestamps, strict=True)
            for index, offset, timestamp_ms in rows:
                placed[index] = Position(portion.partition, offset, timestamp_ms)
        return placed

    def __len__(self) -> int:
        return sum(map(len, self._offsets))

    @overload
    def __getitem__(self, at: int) -> Position: ...
    @overload
    def __getitem__(self, at: slice) -> list[Position]: ...
    def __getitem__(self, at: int | slice) -> Position | list[Position]:
        return self._positions[at]

    def __repr__(self) -> str:
        return repr(self._positions)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list: equal to other sequences


def as_headers(headers: HeadersGiven | None) -> Headers:
    """Pairs of name and value; names may repeat."""
    if not headers:
        return ()
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def _offsets(log: Log, appended: Sequence[tuple[int, int]]) -> Sequence[int]:
    """The offsets of the records in safe batches, from each batch's mark and number of records."""
    bases = [(log.offset_of(mark), records) for mark, records in appended]
    ranges = [range(base, base + records) for base, records in bases]
    return ranges[0] if len(ranges) == 1 else list(chain(*ranges))
