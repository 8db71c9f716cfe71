"""Produce: batches into logs, answered when they are as safe as the client asks for.

``acks=-1`` waits until ``safe`` has passed the batch (synced, by default), ``acks=1`` for the write
only, ``acks=0`` for nothing, not even an answer. Batches are appended as they come off the socket,
straight from its buffer; the sync that they wait for is shared with all others that wait.
"""

from collections.abc import Callable, Sequence
from functools import partial

from logstore.broker.admission import admit, must_be_opened, opened
from logstore.broker.ledger import producers_of
from logstore.broker.topic import Topic
from logstore.broker.unsafe import Unsafe
from logstore.errors import CorruptBatch, LogstoreError
from logstore.kafka.produce_codec import (
    WITH_TOPIC_IDS,
    Part,
    ProduceRequest,
    read_request,
    write_response,
)
from logstore.log import NOT_KNOWN, Log
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import Client
from logstore.protocols.kafka.door import Later
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.slots import Ready, Slot
from logstore.protocols.session import Buffer
from logstore.records.batch import Batch
from logstore.records.compression import Compression

FIRST_WITH_BATCHES = 3  # the versions before carry the old formats
FIRST_WITH_ZSTD = 7  # KIP-110

Admitted = tuple[Part, Topic, Batch]


def take(client: Client, version: int, frame: memoryview, at: int) -> Slot | None:
    """Key 0."""
    if version < FIRST_WITH_BATCHES:
        client.end(f"produce version {version}: the record formats before version 2 are not taken")
        return None
    request = read_request(version, frame, at)
    admitted = [
        it for topic, parts in request.topics for it in _admitted(client, version, topic, parts)
    ]
    if request.acks not in (-1, 0, 1) or request.transactional_id is not None:
        code = (
            errors.INVALID_TXN_STATE if request.transactional_id else errors.INVALID_REQUIRED_ACKS
        )
        for _, parts in request.topics:
            for part in parts:
                part.error_code = code
        admitted = []
    if any(
        topic.at_hand(part.partition) is None or must_be_opened(topic, batch)
        for part, topic, batch in admitted
    ):
        return _opened_elsewhere(client, version, request, admitted)
    return _answer(client, version, request, _append(client, admitted))


def _answer(
    client: Client, version: int, request: ProduceRequest, written: "Sequence[Written]"
) -> Slot | None:
    parts = [part for _, parts in request.topics for part in parts]
    if request.acks == 0:
        if any(part.error_code for part in parts):
            # There is no answer that could say so; a client that is cut off looks anew.
            client.end("a batch sent with acks=0 could not be taken")
        return None
    if request.acks == 1 or not written:
        return Ready(write_response(version, request.topics))
    deadline = client.now + max(request.timeout_ms, 0) / 1000
    return WaitForSafe(client, partial(write_response, version, request.topics), written, deadline)


# Checking


def _admitted(
    client: Client, version: int, name: str | bytes, parts: Sequence[Part]
) -> list[Admitted]:
    topics = client.door.topics
    topic = topics.get(name) if isinstance(name, str) else topics.by_uuid(name)
    if topic is None:
        unknown = (
            errors.UNKNOWN_TOPIC_ID
            if version >= WITH_TOPIC_IDS
            else errors.UNKNOWN_TOPIC_OR_PARTITION
        )
        for part in parts:
            part.error_code = unknown
        return []
    found = []
    for part in parts:
        try:
            topic.at_hand(part.partition)
            batch = admit(topic, part.records or b"", client.door.clock())
        except CorruptBatch as error:
            _refuse(part, errors.CORRUPT_MESSAGE, str(error))
        except LogstoreError as error:
            _refuse(part, code_of(error), str(error))
        else:
            if batch.is_transactional:
                _refuse(part, errors.INVALID_TXN_STATE, "there are no transactions here")
            elif batch.compression == Compression.ZSTD and version < FIRST_WITH_ZSTD:
                code = errors.UNSUPPORTED_COMPRESSION_TYPE
                _refuse(part, code, f"zstd needs produce version {FIRST_WITH_ZSTD}")
            else:
                found.append((part, topic, batch))
    return found


def _refuse(part: Part, code: int, message: str) -> None:
    part.error_code, part.message = code, message


def _opened_elsewhere(
    client: Client, version: int, request: ProduceRequest, admitted: Sequence[Admitted]
) -> Slot:
    """Opening logs and looking at records takes long: not in the sessions' thread.

    The batches are copied, for the buffer they are in will be used again.
    """
    copies = [(part, topic, Batch(bytes(batch.data))) for part, topic, batch in admitted]
    done = Later()
    slot = OpenedElsewhere(client, version, request, done)
    client.door.work(partial(_open_all, copies), done.give)
    done.waiting(client.wake)
    client.hold(slot)
    return slot


def _open_all(copies: Sequence[Admitted]) -> list[Admitted]:
    found = []
    for part, topic, batch in copies:
        try:
            topic.partition(part.partition)
        except LogstoreError as error:
            _refuse(part, _storage_code(error), str(error))
            continue
        try:
            if must_be_opened(topic, batch):
                batch = opened(topic, batch)
            found.append((part, topic, batch))
        except CorruptBatch as error:
            _refuse(part, errors.CORRUPT_MESSAGE, str(error))
        except LogstoreError as error:
            _refuse(part, code_of(error), str(error))
    return found


class OpenedElsewhere:
    """A slot whose batches are being looked into; they are appended when that is done."""

    def __init__(self, client: Client, version: int, request: ProduceRequest, done: Later) -> None:
        self.deadline: float | None = None
        self._client = client
        self._version = version
        self._request = request
        self._done = done
        self._appended = False
        self._then: Slot | None = None

    def ready(self, now: float) -> bool:
        if not self._appended:
            if self._done.answer is None:
                return False
            self._appended = True
            written = _append(self._client, self._done.answer)
            self._client.sync_now()
            self._then = _answer(self._client, self._version, self._request, written)
        if self._then is None:
            return True
        self.deadline = self._then.deadline
        return self._then.ready(now)

    def body(self) -> Sequence[Buffer] | None:
        return None if self._then is None else self._then.body()

    def finish(self) -> None:
        """What is under way is done soon."""


# Appending


class Written:
    """A batch that stands in its log, or will: its part of the request, and its marks."""

    __slots__ = ("log", "mark", "part", "upto")

    def __init__(self, part: Part, log: Log, mark: int, records: int) -> None:
        self.part, self.log, self.mark, self.upto = part, log, mark, mark + records

    def place(self) -> None:
        """Tell where it stands, as far as that is known."""
        self.part.base_offset = self.log.offset_of(self.mark)

    def refuse(self, code: int, message: str) -> None:
        """It is not safe, unless it has become so meanwhile."""
        if self.log.done < self.upto:
            self.part.base_offset = NOT_KNOWN
            _refuse(self.part, code, message)


def _append(client: Client, admitted: Sequence[Admitted]) -> list[Written]:
    written = []
    for part, topic, batch in admitted:
        try:
            log = topic.partition(part.partition)  # it is at hand
            mark = _standing(log, batch)
            if mark is None:
                mark = log.append(batch)
                client.sync(log)
        except LogstoreError as error:
            _refuse(part, _storage_code(error), str(error))
            continue
        part.log_start = log.start
        if topic.settings.message_timestamp_type == "LogAppendTime":
            part.append_time_ms = batch.max_timestamp_ms
        it = Written(part, log, mark, batch.last_offset_delta + 1)
        it.place()
        written.append(it)
    return written


def _standing(log: Log, batch: Batch) -> int | None:
    """The mark of an idempotent producer's batch that is there already.

    It is its offset: a log with such notes is one that this process alone writes.
    """
    if batch.producer_id < 0:
        return None
    known = producers_of(log)
    return None if known is None else known.check(batch)


def _storage_code(error: LogstoreError) -> int:
    # Not the client's batch is corrupt: the log is damaged, and takes none.
    return errors.KAFKA_STORAGE_ERROR if isinstance(error, CorruptBatch) else code_of(error)


class WaitForSafe:
    """A slot that is ready once all its batches are safe, or have failed."""

    __slots__ = ("_encode", "_unsafe", "_written", "deadline")

    def __init__(
        self,
        client: Client,
        encode: Callable[[], Buffer],
        written: Sequence[Written],
        deadline: float,
    ) -> None:
        self.deadline: float | None = deadline
        self._encode = encode
        self._written = written
        self._unsafe = Unsafe()
        for it in written:
            self._unsafe.add(it.log, it.upto)
        for log in self._unsafe:
            client.watch(log)

    def ready(self, now: float) -> bool:
        for log, error in self._unsafe.settle().items():
            self._refuse(log, _storage_code(error), str(error))
        if self._unsafe and self.deadline is not None and now >= self.deadline:
            for log in self._unsafe:
                self._refuse(log, errors.REQUEST_TIMED_OUT, f"{log.name}: not synced in time")
            self._unsafe.close()
        return not self._unsafe

    def _refuse(self, log: Log, code: int, message: str) -> None:
        for it in self._written:
            if it.log is log:
                it.refuse(code, message)

    def body(self) -> Sequence[Buffer]:
        for it in self._written:
            if it.part.error_code == errors.NONE:
                it.place()
        return (self._encode(),)

    def finish(self) -> None:
        """The sync comes soon, or fails."""
