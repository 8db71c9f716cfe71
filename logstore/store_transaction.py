"""A transaction of the library: the operations of one ``with`` block, as a whole or not at all.

Everything is held in memory until the block ends; then it becomes one batch of the journal, durable
after one sync. After an exception in the block, or a refusal at its end, nothing of it takes
effect.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from logstore.broker.consumer import Consumer
from logstore.broker.queues.decided_offsets import DecidedOffsets
from logstore.broker.queues.given import Table, message_of, name_of
from logstore.broker.queues.held import Place
from logstore.broker.queues.message import Message as QueueBound
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.received import QueueMessage
from logstore.broker.queues.settling import BODIES_BYTES_MAX, Settling, Verdict, rejected, settled
from logstore.broker.queues.transaction import Entry
from logstore.broker.queues.transaction import Transaction as Held
from logstore.broker.queues.vhost import Vhost
from logstore.broker.topic import HeadersGiven, Position, Topic, as_headers
from logstore.errors import (
    Closed,
    LogstoreError,
    Refused,
    TransactionTooLarge,
    UnknownPartition,
    UnknownTopic,
)
from logstore.kept.groups import OffsetToCommit
from logstore.kept.queues import DEFAULT_VHOST
from logstore.log import Log, TopicPartition
from logstore.records.batch import Batch
from logstore.records.encode import Columns
from logstore.records.record import Record

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.store_queues import StoreQueues

_Encoded = tuple[Place, Batch, Sequence[int]]
_Offsets = tuple[Consumer, Mapping[TopicPartition, int], Mapping[TopicPartition, str]]

COUNT_MAX: Final = 10_000  # things that one does: each takes some 10 us, in one turn

# The stores of which a transaction is under way in this thread, or task.
_UNDER_WAY: ContextVar[tuple[object, ...]] = ContextVar("transactions", default=())


class _Publish(NamedTuple):
    vhost: bytes
    message: QueueBound


class _Settle(NamedTuple):
    verdict: Verdict
    message: QueueMessage


class _Records:
    """Records for one partition, in order, with their places among all appended records."""

    def __init__(self, topic: Topic, place: Place) -> None:
        self.topic, self.place = topic, place
        self.numbers: list[int] = []
        self._rows: list[Columns] = []  # of one record each

    def add(self, number: int, row: Columns) -> None:
        self.numbers.append(number)
        self._rows.append(row)

    def batches(self) -> Iterator[tuple[Batch, Sequence[int]]]:
        """The batches, with the numbers of the records in each. Raises RecordTooLarge."""
        rows, at = self._rows, 0
        columns = rows[0] if len(rows) == 1 else Columns(
            [it.values[0] for it in rows], [it.keys[0] for it in rows],
            [it.headers[0] for it in rows], [it.timestamps[0] for it in rows],
        )  # fmt: skip
        for batch in self.topic.rules.encode(columns):
            yield batch, self.numbers[at : at + batch.record_count]
            at += batch.record_count


class Transaction:
    """One transaction of a store. Entered once; used in one thread."""

    def __init__(
        self, queues: "StoreQueues", topic: Callable[[str], Topic], flush: Callable[[], None]
    ) -> None:
        """``topic``: looks up a topic by name. ``flush``: syncs everything sent to producers."""
        self._queues = queues
        self._topic = topic
        self._flush = flush
        self._records: dict[Place, _Records] = {}
        self._timestamps: list[int] = []  # of each record
        self._publishes: list[_Publish] = []
        self._settles: list[_Settle] = []
        self._offsets: dict[Consumer, dict[TopicPartition, int]] = {}
        self._bytes = 0
        self._count = 0
        self._entries: list[tuple[Entry, Sequence[int]]] = []  # and which of the appended ones
        self._state = "new"

    def __repr__(self) -> str:
        return f"<Transaction {self._state}, {self._count} parts, {self._bytes} bytes>"

    # Its block

    def __enter__(self) -> Self:
        self.begin()
        return self

    def begin(self) -> None:
        """Enter the block. Raises Refused within another transaction, or a second time."""
        if self._state != "new":
            raise Refused("a transaction can be used only once: begin another one")
        if self._queues in _UNDER_WAY.get():
            raise Refused("a transaction of this store is already open: end it first")
        self._state = "open"
        _UNDER_WAY.set((*_UNDER_WAY.get(), self._queues))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        if kind is None:
            self.commit()

    def end(self) -> None:
        """Accept nothing more; without ``commit``, nothing takes effect."""
        self._state = "ended"
        _UNDER_WAY.set(tuple(it for it in _UNDER_WAY.get() if it is not self._queues))

    # What it holds

    def append(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Append a record to a topic, as ``Topic.append`` does.

        Raises UnknownTopic, UnknownPartition, InvalidRecord; TransactionTooLarge.
        """
        it = self._topic(topic)
        if it.read_only:
            raise Refused(f"topic {topic!r} belongs to a queue: publish to the queue")
        columns = it.rules.columns([(value, key, as_headers(headers), timestamp_ms)])
        number = it.choose(key) if partition is None else partition
        it.at_hand(number)  # raises UnknownPartition
        self._holds(len(value or b"") + len(key or b""))
        place = Place(it.uuid, number)
        records = self._records.get(place)
        if records is None:
            records = self._records[place] = _Records(it, place)
        records.add(len(self._timestamps), columns)
        self._timestamps += columns.timestamps

    def publish(
        self,
        exchange: str,
        body: bytes,
        key: str = "",
        *,
        headers: Table | None = None,
        vhost: str = DEFAULT_VHOST,
        **properties: object,
    ) -> None:
        """Publish a message to an exchange, as ``Exchange.publish`` does; it is routed at the end.

        A message that no queue takes is dropped; a message that a queue refuses fails the
        transaction.
        """
        message = message_of(name_of(exchange), body, key, headers, properties)
        self._holds(len(body) + len(message.properties))
        self._publishes.append(_Publish(name_of(vhost), message))

    def ack(self, message: QueueMessage) -> None:
        """Acknowledge a message of a queue."""
        self._settle(settled, message)

    def reject(self, message: QueueMessage) -> None:
        """Reject a message of a queue: it goes to the dead-letter exchange, if any."""
        self._settle(rejected, message)

    def _settle(self, verdict: Verdict, message: QueueMessage) -> None:
        if message.store is not self._queues:
            raise Refused(f"a message of queue {message.queue!r} belongs to another store")
        self._holds(0)
        self._settles.append(_Settle(verdict, message))

    def commit_offset(self, consumer: Consumer, record: Record) -> None:
        """Commit that the group is done with this record and all before it in its partition.

        From then on, the consumer commits nothing in this partition on its own. Raises Refused for
        a consumer without a group.
        """
        if consumer.group is None:
            raise Refused("commit_offset: the consumer has no group")
        self._holds(0)
        self._offsets.setdefault(consumer, {})[record.topic, record.partition] = record.offset + 1

    def _holds(self, size: int) -> None:
        if self._state != "open":
            raise Refused("a transaction can be used only within its block")
        self._count += 1
        self._bytes += size
        if (self._count > 1 and self._bytes > BODIES_BYTES_MAX) or self._count > COUNT_MAX:
            raise TransactionTooLarge(
                f"a transaction holds at most {BODIES_BYTES_MAX} bytes, or one record or message, "
                f"and at most {COUNT_MAX} operations: this one has {self._bytes} bytes and "
                f"{self._count} operations"
            )

    # Its end

    def commit(self) -> None:
        """Have all of it happen; durable on return, or nothing has. Once it has ended.

        Raises Fenced where a consumer has lost a partition, NoExchange, Refused where a queue is
        full or a message was settled before, UnknownTopic, StorageFull; LogFailed where it is not
        known before the next start.
        """
        assert self._state == "ended"
        self._state = "committed"
        if not self._count:
            return
        batches = [
            (records.place, *it) for records in self._records.values() for it in records.batches()
        ]
        if self._offsets:
            self._flush()
        with ExitStack() as stack:
            offsets = [
                (consumer, those, stack.enter_context(consumer.committing(those)))
                for consumer, those in sorted(self._offsets.items(), key=lambda it: id(it[0]))
            ]
            kept = self._happen(batches, offsets)
            for (consumer, those, _), it in zip(offsets, kept, strict=True):
                consumer.committed(those, partial(self._wait_for, it))

    def _wait_for(self, it: DecidedOffsets) -> None:
        with suppress(Closed):  # then they are kept, if they ever are
            self._queues.wait(lambda: it.kept.done)

    def _happen(
        self,
        batches: Sequence[_Encoded],
        offsets: Sequence[_Offsets],
    ) -> list[DecidedOffsets]:
        """Return when the journal has it."""
        queues = self._queues
        begun = _Begun()
        while True:
            opening = queues.with_model(lambda model: self._begin(model, batches, offsets, begun))
            if opening is None:
                break
            queues.wait(lambda: opening.gone or opening.stock.open())  # noqa: B023
        queues.sync_journal()
        queues.wait(lambda: begun.told)
        if begun.told[0] is not None:
            raise begun.told[0]
        return begun.kept

    def _begin(
        self,
        model: "Queues",
        batches: Sequence[_Encoded],
        offsets: Sequence[_Offsets],
        begun: "_Begun",
    ) -> Queue | None:
        """In a turn. A queue that has to be open first; then nothing is begun."""
        runs = list(self._runs(model))
        for vhost, run in runs:
            opening = vhost.to_be_counted(run)
            if opening is not None:
                opening.when_open(self._queues.poke)
                return opening
        groups = self._groups()
        held = self._brought(runs, batches)
        for consumer, those, ids in offsets:
            assert consumer.group is not None
            of_group = model.offsets(
                consumer.group,
                {it: OffsetToCommit(at, topic_id=ids[it]) for it, at in those.items()},
            )
            held.commits.append(of_group)
            begun.kept.append(of_group)
        for message, _, _ in groups:
            message.taken()
        settling = Settling([(verdict, group) for _, verdict, group in groups], held)

        def then(error: LogstoreError | None) -> None:
            settling.done(error)
            begun.told.append(error)
            self._queues.poke()

        in_line = model.commit(held, then)
        held.in_hand = in_line and self._queues.syncs_journal
        return None

    def _brought(
        self, runs: Sequence[tuple[Vhost, list[Any]]], batches: Sequence[_Encoded]
    ) -> Held:
        """What is published and appended. Raises what refuses a part of it: then all is undone."""
        held = Held()
        try:
            for vhost, run in runs:
                published = vhost.publish(run, held)
                if published.error is not None:
                    raise published.error
                if published.rejected:
                    raise Refused("a queue is full and accepts no message of the transaction")
            self._entries = [
                (held.append(place, batch), numbers) for place, batch, numbers in batches
            ]
        except LogstoreError:
            held.forget()
            raise
        return held

    def _runs(self, model: "Queues") -> Iterator[tuple[Vhost, list[Any]]]:
        """What is published, by virtual host, with where it goes."""
        by_vhost: dict[bytes, list[QueueBound]] = {}
        for name, message in self._publishes:
            by_vhost.setdefault(name, []).append(message)
        for name, messages in by_vhost.items():
            vhost = model.vhost(name)
            yield vhost, [(vhost.route(it), it) for it in messages]

    def _groups(self) -> list[tuple[QueueMessage, Verdict, Any]]:
        """What is settled, each once. Raises Refused."""
        known: set[QueueMessage] = set()
        found = []
        for verdict, message in self._settles:
            if message in known:
                raise Refused(f"a message of queue {message.queue!r} is settled twice")
            known.add(message)
            found.append((message, verdict, message.unsettled()))
        return found

    # What came of it

    def positions(self) -> list[Position]:
        """The position of each appended record, in order; returns once readers see them.

        Raises UnknownTopic if a topic was deleted meanwhile, LogFailed.
        """
        if self._state != "committed":
            raise Refused("positions are known only after the block has ended without an error")
        found: dict[int, Position] = {}
        for entry, numbers in self._entries:
            log = self._appended(entry)
            if log is None:
                raise UnknownTopic("a topic that was appended to was deleted meanwhile")
            try:
                log.wait(entry.mark + entry.batch.last_offset_delta + 1)
            except UnknownPartition:
                raise UnknownTopic("a topic that was appended to was deleted meanwhile") from None
            base = log.offset_of(entry.mark)
            for n, number in enumerate(numbers):
                at_ms = self._timestamps[number]
                found[number] = Position(entry.place.partition, base + n, at_ms)
        return [found[number] for number in range(len(found))]

    def _appended(self, entry: Entry) -> Log | None:
        self._queues.wait(lambda: entry.log is not None or entry.gone)
        return entry.log


class _Begun:
    """A transaction that is about to be written to the journal."""

    def __init__(self) -> None:
        self.told: list[LogstoreError | None] = []
        self.kept: list[DecidedOffsets] = []
