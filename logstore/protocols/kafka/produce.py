"""Produce: appends batches to logs, and replies when they are as safe as the client requests.

``acks=-1`` waits until ``safe`` has passed the batch (synced, by default), ``acks=1`` only for the
write, and ``acks=0`` has no reply. Batches are checked and appended directly from the socket's
buffer as they arrive; all waiting batches share one sync. A batch whose check takes long is copied
and checked in a worker; only later batches for the same log wait, in the log's line.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from logstore.access.resources import TRANSACTIONAL_ID, WRITE
from logstore.broker.admission import GLANCE_MAX, admit, glance, inspect
from logstore.broker.ledger import ids_in, once, producers_of
from logstore.broker.producer_ids import OWN
from logstore.broker.topic import Topic
from logstore.broker.unsafe import Unsafe
from logstore.errors import (
    CorruptBatch,
    InvalidRecord,
    InvalidTransactionState,
    LogstoreError,
    UnknownProducer,
)
from logstore.kafka.produce_codec import (
    Part,
    ProduceRequest,
    read_request,
    write_response,
)
from logstore.log import NOT_KNOWN, Log
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import KafkaDoor, Later, elsewhere, made_elsewhere
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.lines import Place
from logstore.protocols.kafka.slots import Ready, Slot, Unfolding
from logstore.protocols.session import Buffer
from logstore.records.batch import Batch, transaction_of
from logstore.records.compression import Compression
from logstore.slices import UNITS, Steps
from logstore.slices import parts as parts_of

if TYPE_CHECKING:
    from logstore.protocols.kafka.within import Within

# Batches of a request that are processed at once: clients send some tens of them, and more must not
# delay others.
PARTS_AT_ONCE = 500
PARTS_A_STEP = 50
# Bytes of batches that are written at once: 100 MB would take 50 ms or more.
BYTES_AT_ONCE = 8 << 20
BYTES_A_STEP = 2 << 20
GLANCES_A_STEP = GLANCE_MAX // 4
LOGS_AT_ONCE = 1000  # waiting logs checked before others have their turn
APPEND_UNITS = 10  # cost of appending a batch
IDS_IN_TURN_MAX = 5000  # to remember more in one go takes ms: a worker does it
FIRST_WITH_BATCHES = 3  # the versions before carry the old formats
PART_HELD_BYTES = 512  # objects of a part of the request and of its wait
FIRST_WITH_ZSTD = 7  # KIP-110


def take(client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot | None:
    """Key 0."""
    if version < FIRST_WITH_BATCHES:
        client.end(f"produce version {version}: the record formats before version 2 are not taken")
        return None
    request = read_request(version, frame, at, PARTS_AT_ONCE)
    if request is None or _is_much(request, len(frame)):
        slot = Unfolding(client.wake, len(frame))
        client.hold(slot)
        client.door.slices.begin(_many(client, version, client.keep(frame), at), slot.give)
        return slot
    transaction = None
    if request.transactional_id is not None:
        transaction = _transaction(client, version, request, _several_producers(request))
    if _refused_as_a_whole(request, transaction):
        return _answer(client, version, request, [])
    assert not isinstance(transaction, int), "else it is refused"
    arrivals = [
        it
        for topic, parts in request.topics
        for it in _arrivals(client, version, topic, parts, transaction)
    ]
    _let_go(request)
    return _arrived_all(client, version, request, arrivals)


def _is_much(request: ProduceRequest, size: int) -> bool:
    """Whether the request is large enough to be split, and can be."""
    return size > BYTES_AT_ONCE and sum(len(parts) for _, parts in request.topics) > 1


def _let_go(request: ProduceRequest) -> None:
    """Release the request's buffer: its parts are in logs or copied."""
    for _, parts in request.topics:
        for part in parts:
            part.records = None


def _steps_of(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """The parts in groups that are bounded in number and bytes."""
    first = size = 0
    for number, part in enumerate(parts):
        size += len(part.records or b"")
        if size >= BYTES_A_STEP or number - first == PARTS_A_STEP - 1:
            yield parts[first : number + 1]
            first, size = number + 1, 0
    if first < len(parts):
        yield parts[first:]


def _many(client: KafkaClient, version: int, frame: memoryview, at: int) -> Steps:
    """A very large request: checked in parts, and answered by a worker."""
    door = client.door
    request = yield made_elsewhere(door, partial(read_request, version, frame, at))
    arrivals: list[Arrival] = []
    unsafe = Unsafe()
    transaction = None
    if request.transactional_id is not None:
        several = yield made_elsewhere(door, partial(_several_producers, request))
        transaction = _transaction(client, version, request, several)
    if not _refused_as_a_whole(request, transaction):
        assert not isinstance(transaction, int), "else it is refused"
        for topic, all_parts in request.topics:
            for some in _steps_of(all_parts):
                client.glances_left = GLANCES_A_STEP
                found = _arrivals(client, version, topic, some, transaction)
                if request.acks == -1:
                    for it in _written(found):
                        wait_for(client, unsafe, it)
                client.sync_now()
                arrivals += found
                full = sum(len(it.records or b"") for it in some) >= BYTES_A_STEP
                yield UNITS if full else ASK_UNITS + len(some) + APPEND_UNITS * len(found)
    yield made_elsewhere(door, partial(_let_go, request))
    waiting = [it for it in arrivals if it.waits]
    yield from _looked_into([it for it in waiting if not it.looked_into], door)
    in_line = any(it.waits for it in waiting)  # behind others' batches
    if request.acks != 0 and not in_line and not (request.acks == -1 and _written(arrivals)):
        body = yield made_elsewhere(door, partial(write_response, version, request.topics))
        return Ready(body)
    for late in parts_of(waiting, LOGS_AT_ONCE):
        for it in _written(late):
            wait_for(client, unsafe, it)
        yield len(late)
    held = client.held
    slot = _arrived_all(client, version, request, arrivals, None if in_line else unsafe)
    client.held = held  # its own place is within that one
    return None if slot is None else _AnsweredElsewhere(client, slot)


def _looked_into(unseen: "Sequence[Arrival]", door: KafkaDoor) -> Steps:
    """Check the batches in a worker, then append them in groups."""
    for some in parts_of(unseen, PARTS_A_STEP):
        outcome = yield made_elsewhere(door, partial(_look_into, some))
        for it in some:
            it.looked(outcome)
        yield APPEND_UNITS * len(some)


class _AnsweredElsewhere:
    """A slot with a long reply, which a worker encodes when it is ready."""

    def __init__(self, client: KafkaClient, slot: Slot) -> None:
        self.deadline: float | None = None
        self._client = client
        self._slot = slot
        self._body: Later | None = None

    @property
    def held_bytes(self) -> int:
        return self._slot.held_bytes

    def ready(self, now: float) -> bool:
        if self._body is None:
            if not self._slot.ready(now):
                self.deadline = self._slot.deadline
                return False
            self.deadline = None
            self._body = elsewhere(self._client.door, lambda: (self._slot.body(),))
            self._body.waiting(self._client.wake)
        return self._body.answer is not None

    def body(self) -> Sequence[Buffer] | None:
        assert self._body is not None, "it is asked for when it is ready"
        answer = self._body.answer
        if isinstance(answer, LogstoreError):
            raise answer
        body: Sequence[Buffer] | None = answer[0]
        return body

    def finish(self) -> None:
        self._slot.finish()


def _several_producers(request: ProduceRequest) -> bool:
    """Whether batches belong to transactions of several producers. Callable from any thread."""
    found = {
        transaction_of(part.records)
        for _, parts in request.topics
        for part in parts
        if part.records is not None
    }
    return len(found - {None}) > 1


def _transaction(
    client: KafkaClient, version: int, request: ProduceRequest, several_producers: bool
) -> "Within | int":
    """The transaction of the request's transactional id, or the error code for the whole
    request.
    """
    from logstore.protocols.kafka.within import within  # few have one

    assert request.transactional_id is not None
    if not client.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        return errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if several_producers:
        return errors.INVALID_PRODUCER_ID_MAPPING
    return within(client.door, version, request.transactional_id)


def _refused_as_a_whole(request: ProduceRequest, transaction: "Within | int | None") -> bool:
    """Whether the whole request is refused; each part then has the error code.

    ``transaction``: the transaction, or the error code of an invalid one.
    """
    code = transaction if isinstance(transaction, int) else errors.NONE
    if request.acks not in (-1, 0, 1):
        code = errors.INVALID_REQUIRED_ACKS
    if code:
        for _, parts in request.topics:
            for part in parts:
                part.error_code = code
        return True
    return False


def _arrived_all(
    client: KafkaClient,
    version: int,
    request: ProduceRequest,
    arrivals: "Sequence[Arrival]",
    unsafe: Unsafe | None = None,
) -> Slot | None:
    """``unsafe``: the logs of the written parts, if they are already collected."""
    if any(it.waits for it in arrivals):
        slot = InLine(client, version, request, arrivals)
        client.hold(slot)
        slot.begin()
        return slot
    return _answer(client, version, request, _written(arrivals), unsafe)


def _answer(
    client: KafkaClient,
    version: int,
    request: ProduceRequest,
    written: "Sequence[Written]",
    unsafe: Unsafe | None = None,
) -> Slot | None:
    if request.acks == 0:
        if any(part.error_code for _, parts in request.topics for part in parts):
            # acks=0 has no response in which to report the error; a disconnected client refreshes
            # its metadata.
            client.end("a batch sent with acks=0 could not be taken")
        return None
    if request.acks == 1 or all(it.is_safe for it in written):
        for it in written:
            it.place()
        return Ready(write_response(version, request.topics))
    deadline = client.now + max(request.timeout_ms, 0) / 1000
    if unsafe is None:
        unsafe = Unsafe()
        for it in written:
            wait_for(client, unsafe, it)
    encode = partial(write_response, version, request.topics)
    return WaitForSafe(client, encode, written, unsafe, deadline)


# Arriving


def _arrivals(
    client: KafkaClient,
    version: int,
    name: str | bytes,
    parts: Sequence[Part],
    transaction: "Within | None",
) -> "list[Arrival]":
    topics = client.door.topics
    topic = topics.get(name) if isinstance(name, str) else topics.by_uuid(name)
    code = _code_of_topic(client, name, topic)
    if code:
        for part in parts:
            part.error_code = code
        return []
    assert topic is not None, "there is no code for it"
    found = [_arrived(client, version, topic, part, transaction) for part in parts]
    return [it for it in found if it is not None]


def _code_of_topic(client: KafkaClient, asked: str | bytes, topic: Topic | None) -> int:
    """The topic's error code; a refusal does not reveal whether a topic of that name exists."""
    if topic is None and not isinstance(asked, str):
        return errors.UNKNOWN_TOPIC_ID
    if not client.may_topic(WRITE, topic.name if topic is not None else str(asked)):
        return errors.TOPIC_AUTHORIZATION_FAILED
    if topic is None:
        return errors.UNKNOWN_TOPIC_OR_PARTITION
    return errors.INVALID_TOPIC_EXCEPTION if topic.read_only else errors.NONE


def _arrived(
    client: KafkaClient, version: int, topic: Topic, part: Part, transaction: "Within | None"
) -> "Arrival | None":
    """The batch of one partition, in its log or in the log's line; None if refused."""
    door = client.door
    now_ms = door.clock()
    try:
        log = topic.at_hand(part.partition)
        batch = admit(topic.rules, part.records or b"")
        if not batch.is_transactional:
            transaction = None
        elif transaction is None:
            code = errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            _refuse(part, code, "a batch of a transaction, in a request without transactional id")
            return None
        if batch.compression == Compression.ZSTD and version < FIRST_WITH_ZSTD:
            code = errors.UNSUPPORTED_COMPRESSION_TYPE
            _refuse(part, code, f"zstd needs produce version {FIRST_WITH_ZSTD}")
            return None
        seen = glance(topic.rules, batch, now_ms, client.glances_left)
    except LogstoreError as error:
        _refuse_for(part, error)
        return None
    client.glances_left -= seen.cost
    arrival = (
        Arrival(client, part, topic, seen.batch or batch, now_ms)
        if transaction is None
        else InTransaction(client, part, topic, seen.batch or batch, now_ms, transaction)
    )
    if log is None or seen.batch is None or door.lines.stands_before(arrival.place):
        if transaction is not None and not _is_let_in(transaction, part, batch):
            return None
        arrival.wait(looked_into=log is not None and seen.batch is not None)
    else:
        arrival.append(log)
        client.sync(log)
    return arrival


def _is_let_in(transaction: "Within", part: Part, batch: Batch) -> bool:
    try:
        transaction.let_in(batch)
    except LogstoreError as error:
        _refuse(part, transaction.code_of(error), str(error))
        return False
    return True


def _refuse(part: Part, code: int, message: str) -> None:
    part.error_code, part.message = code, message


def _refuse_for(part: Part, error: LogstoreError) -> None:
    """Refuse the part because of its batch."""
    _refuse(part, code_of(error), str(error))
    if isinstance(error, InvalidRecord):
        part.faults = error.faults


class Arrival:
    """A batch on its way into its log."""

    __slots__ = (
        "_batch", "_client", "_now_ms", "_part", "_topic",
        "looked_into", "waits", "written",
    )  # fmt: skip

    def __init__(
        self, client: KafkaClient, part: Part, topic: Topic, batch: Batch, now_ms: int
    ) -> None:
        self._client = client
        self._part = part
        self._topic = topic
        self._batch: Batch | None = batch  # None: it is in the log, or refused
        self._now_ms = now_ms
        self.waits = False  # in its log's line
        self.looked_into = True
        self.written: Written | None = None

    @property
    def place(self) -> Place:
        """The partition to which the batch goes."""
        return self._topic.id, self._part.partition

    @property
    def held_bytes(self) -> int:
        """The size of the copy of a waiting batch."""
        batch = self._batch
        return batch.size if self.waits and batch is not None else 0

    def append(self, log: Log) -> None:
        """Append the batch to the log."""
        batch, self._batch = self._batch, None  # the request may still be answered later
        assert batch is not None
        self._put(log, batch)

    def _put(self, log: Log, batch: Batch) -> None:
        part = self._part
        try:
            mark = _standing(self._client, log, batch)
            if mark is None:
                mark = log.append(batch)
                self._client.door.counts.messages_in += batch.last_offset_delta + 1
        except LogstoreError as error:
            _refuse(part, _storage_code(error), str(error))
            return
        part.log_start = log.start
        if self._topic.settings.message_timestamp_type == "LogAppendTime":
            part.append_time_ms = batch.max_timestamp_ms
        self.written = Written(part, log, mark, batch.last_offset_delta + 1)
        self.written.place()

    # In the line

    def wait(self, *, looked_into: bool) -> None:
        """Join the log's line with a copy of the batch, because its buffer is reused."""
        self.waits, self.looked_into = True, looked_into
        assert self._batch is not None
        self._batch = Batch(bytes(self._batch.data))
        self._client.door.lines.join(self.place, self)

    def look(self) -> None:
        """Check the batch and open its log. Called in a worker."""
        try:
            assert self._batch is not None
            self._batch = inspect(self._topic.rules, self._batch, self._now_ms)
        except LogstoreError as error:
            _refuse_for(self._part, error)
            return
        try:
            log = self._topic.partition(self._part.partition)
            if not self._batch.is_transactional:
                self._batch = once(log, self._batch)
        except LogstoreError as error:
            _refuse(self._part, _storage_code(error), str(error))

    def looked(self, outcome: object) -> None:
        """Note that the worker has finished; ``outcome`` may be an unexpected error."""
        if isinstance(outcome, LogstoreError):
            _refuse(self._part, code_of(outcome), str(outcome))
        self.looked_into = True
        self._client.door.lines.advance(self.place)

    def go(self) -> bool:
        """As Waiting.go."""
        batch = self._batch
        if self._part.error_code == errors.NONE:
            log = self._topic.partition(self._part.partition)  # it is at hand
            if batch is not None and ids_in(batch) > IDS_IN_TURN_MAX:
                self._go_elsewhere(log)
                return False
            if batch is not None:
                self.append(log)
            log.sync_soon()
        self._batch = None
        self.waits = False
        self._client.wake()
        return True

    def _go_elsewhere(self, log: Log) -> None:
        """Append in a worker; later batches for the log wait in its line meanwhile."""
        self.looked_into = False
        self._client.door.work(lambda: self.append(log), self.looked)


class InTransaction(Arrival):
    """A batch of a transaction, on its way into its log."""

    __slots__ = ("_transaction",)

    def __init__(
        self,
        client: KafkaClient,
        part: Part,
        topic: Topic,
        batch: Batch,
        now_ms: int,
        transaction: "Within",
    ) -> None:
        super().__init__(client, part, topic, batch, now_ms)
        self._transaction = transaction

    def _put(self, log: Log, batch: Batch) -> None:
        part, transaction = self._part, self._transaction
        try:
            transaction.check(self._topic, log, batch)
        except LogstoreError as error:
            _refuse(part, transaction.code_of(error), str(error))
            return
        super()._put(log, batch)
        if self.written is not None:
            transaction.wrote(self._topic, part.partition, log, batch.producer_id)


def _look_into(arrivals: "Sequence[Arrival]") -> bool:
    for it in arrivals:
        it.look()
    return True


class InLine:
    """A slot with batches that are checked in a worker, or wait behind such batches."""

    def __init__(
        self,
        client: KafkaClient,
        version: int,
        request: ProduceRequest,
        arrivals: Sequence[Arrival],
    ) -> None:
        self.deadline: float | None = None
        self._client = client
        self._version = version
        self._request = request
        self._arrivals = arrivals
        self._answered = False
        self._then: Slot | None = None

    @property
    def held_bytes(self) -> int:
        copies = sum(it.held_bytes for it in self._arrivals)
        return copies + PART_HELD_BYTES * len(self._arrivals)

    def begin(self) -> None:
        """Check the batches that were not checked yet."""
        unseen = [it for it in self._arrivals if not it.looked_into]

        def done(outcome: object) -> None:
            for it in unseen:
                it.looked(outcome)

        if unseen:
            self._client.door.work(partial(_look_into, unseen), done)

    def ready(self, now: float) -> bool:
        if not self._answered:
            if any(it.waits for it in self._arrivals):
                return False
            self._answered = True
            written = _written(self._arrivals)
            self._then = _answer(self._client, self._version, self._request, written)
        if self._then is None:
            return True
        self.deadline = self._then.deadline
        return self._then.ready(now)

    def body(self) -> Sequence[Buffer] | None:
        return None if self._then is None else self._then.body()

    def finish(self) -> None:
        """Do nothing: running work ends soon."""


# Written


class Written:
    """An appended batch, or one that will be: its part of the request, and its marks."""

    __slots__ = ("log", "mark", "part", "upto")

    def __init__(self, part: Part, log: Log, mark: int, records: int) -> None:
        self.part, self.log, self.mark, self.upto = part, log, mark, mark + records

    @property
    def is_safe(self) -> bool:
        """Whether the batch is already safe."""
        return self.log.done >= self.upto

    def place(self) -> None:
        """Set the base offset, if it is known yet."""
        self.part.base_offset = self.log.offset_of(self.mark)

    def refuse(self, code: int, message: str) -> None:
        """Refuse the part, unless it has become safe meanwhile."""
        if not self.is_safe:
            self.part.base_offset = NOT_KNOWN
            _refuse(self.part, code, message)


def _written(arrivals: Sequence[Arrival]) -> list[Written]:
    return [it.written for it in arrivals if it.written is not None]


def _standing(client: KafkaClient, log: Log, batch: Batch) -> int | None:
    """The mark of an idempotent producer's batch that was already appended.

    Raises UnknownProducer, because a client that may choose a producer id could choose another's;
    InvalidTransactionState for a batch outside its producer's open transaction. The mark is the
    offset: only this process writes to a log with such notes.
    """
    if batch.producer_id < 0:
        return None
    known = producers_of(log)
    if known is None:
        return None
    producer_id = batch.producer_id
    if producer_id in OWN or not (
        known.knows(producer_id) or client.door.topics.knows_producer(producer_id)
    ):
        raise UnknownProducer(
            f"producer id {producer_id} was not issued by this server: ask for one with"
            " InitProducerId"
        )
    standing = known.check(batch)
    if standing is None and producer_id in known.open and not batch.is_transactional:
        raise InvalidTransactionState(
            f"producer {producer_id} has a transaction open here, and its batch is not of it"
        )
    return standing


def _storage_code(error: LogstoreError) -> int:
    # The log is damaged, not the client's batch: it accepts none.
    return errors.KAFKA_STORAGE_ERROR if isinstance(error, CorruptBatch) else code_of(error)


def wait_for(client: KafkaClient, unsafe: Unsafe, it: Written) -> None:
    """Wake the client when the batch may be safe."""
    unsafe.add(it.log, it.upto)
    client.watch(it.log)


class WaitForSafe:
    """A slot that is ready once all its batches are safe, or have failed."""

    __slots__ = (
        "_by_log", "_client", "_encode", "_unsafe", "_written", "deadline", "held_bytes",
    )  # fmt: skip

    def __init__(
        self,
        client: KafkaClient,
        encode: Callable[[], Buffer],
        written: Sequence[Written],
        unsafe: Unsafe,
        deadline: float,
    ) -> None:
        """``unsafe``: the logs of ``written``, which the client watches."""
        self.deadline: float | None = deadline
        self.held_bytes = PART_HELD_BYTES * len(written)
        self._client = client
        self._encode = encode
        self._written = written
        self._unsafe = unsafe
        self._by_log: dict[Log, list[Written]] = {}  # made when some are refused

    def ready(self, now: float) -> bool:
        unsafe, before = self._unsafe, len(self._unsafe)
        for log, error in unsafe.settle(LOGS_AT_ONCE).items():
            self._refuse(log, _storage_code(error), str(error))
        if unsafe and self.deadline is not None and now >= self.deadline:
            for log in unsafe.give_up(LOGS_AT_ONCE):
                self._refuse(log, errors.REQUEST_TIMED_OUT, f"{log.name}: not synced in time")
        if unsafe and before > LOGS_AT_ONCE and len(unsafe) < before:
            self._client.wake()  # there may be more of them that are
        return not unsafe

    def _refuse(self, log: Log, code: int, message: str) -> None:
        if not self._by_log:
            for it in self._written:
                self._by_log.setdefault(it.log, []).append(it)
        for it in self._by_log[log]:
            it.refuse(code, message)

    def body(self) -> Sequence[Buffer]:
        for it in self._written:
            if it.part.error_code == errors.NONE:
                it.place()
        return (self._encode(),)

    def finish(self) -> None:
        """Do nothing: the sync ends or fails soon."""
