"""Fetch: batches out of logs as they stand there, waiting for news if there are none.

A request keeps its place until enough is there or its time is up; the records are read only when
they can be sent. So a client that does not read its socket costs no memory here.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.broker.topic import Topic
from logstore.errors import LogstoreError
from logstore.kafka.fetch_codec import (
    NO_SESSION,
    READ_COMMITTED,
    Asked,
    FetchRequest,
    Given,
    read_request,
    write_response,
)
from logstore.log import Log
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import Client
from logstore.protocols.kafka.door import LEADER_EPOCH, Door, Later, elsewhere
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.fetch_session import FetchSession, begin
from logstore.protocols.kafka.slots import Ready, Slot
from logstore.protocols.session import Buffer

# However much a client takes at once: smaller answers are read and received into memory that was
# used before, and a client asks again. What it takes first is given whole all the same.
RESPONSE_BYTES: Final = 8 << 20
PARTITION_BYTES: Final = 16 << 10  # of as many as are asked for: each costs in every answer


def take(client: Client, version: int, frame: memoryview, at: int) -> Slot:
    """Key 1."""
    request = read_request(version, frame, at)
    fetching, code = begin(client.fetching, request)
    if code:
        return Ready(b"".join(write_response(version, NO_SESSION, code, (), committed=False)))
    client.fetching = fetching
    return Fetching(client, version, request, fetching)


class Source:
    """A partition asked for: its log, or why there is none to read."""

    __slots__ = ("_bytes", "_topic", "_upto", "asked", "error_code", "log")

    def __init__(self, door: Door, asked: Asked) -> None:
        self.asked = asked
        self._bytes, self._upto = 0, asked.offset  # counted so far
        self.log: Log | None = None
        self._topic: Topic | None = None
        self.error_code = errors.NONE
        by_name = isinstance(asked.topic, str)
        topic = door.topics.get(asked.topic) if by_name else door.topics.by_uuid(asked.topic)  # type: ignore[arg-type]
        if topic is None:
            self.error_code = (
                errors.UNKNOWN_TOPIC_OR_PARTITION if by_name else errors.UNKNOWN_TOPIC_ID
            )
            return
        if asked.leader_epoch > LEADER_EPOCH:
            self.error_code = errors.UNKNOWN_LEADER_EPOCH
            return
        try:
            self.log = topic.at_hand(asked.partition)
        except LogstoreError as error:
            self.error_code = code_of(error)
        else:
            self._topic = topic

    @property
    def opens(self) -> bool:
        """Whether its log has to be opened first."""
        return self.log is None and self._topic is not None

    def open(self) -> None:
        """Open its log, which may take long."""
        topic, self._topic = self._topic, None
        assert topic is not None
        try:
            self.log = topic.partition(self.asked.partition)
        except LogstoreError as error:
            self.error_code = code_of(error)

    def available(self, bytes_max: int) -> int:
        """How many bytes can be read, at least 1 where there are any; counted to ``bytes_max``."""
        log, offset = self.log, self.asked.offset
        if log is None:
            return bytes_max
        try:
            if log.start <= offset and log.safe <= offset <= log.end:
                log.check_failure()
                return 0
            if bytes_max <= 1:
                return 1
            if offset < log.start:
                return bytes_max
            return self._count(log, min(bytes_max, self.asked.bytes_max))
        except LogstoreError:
            return bytes_max  # the client is to be told

    def _count(self, log: Log, bytes_max: int) -> int:
        """Bytes of the whole batches that are there, counted until they are so many.

        Counting reads them, and goes on where it was when it is asked again: each piece of news
        would cost all that is there, for each client that waits for much.
        """
        while self._bytes < bytes_max:
            batches = log.read(self._upto, bytes_max - self._bytes)
            if not batches:
                break
            self._bytes += sum(batch.size for batch in batches)
            self._upto = batches[-1].next_offset
        return self._bytes

    def read(self, bytes_max: int, *, first: bool) -> Given:
        """Up to so many bytes; if it is the first to give any, at least one batch."""
        asked = self.asked
        given = Given(asked.topic, asked.partition, self.error_code)
        log = self.log
        if log is None:
            return given
        try:
            given.high_watermark, given.log_start = log.safe, log.start
            bytes_max = min(bytes_max, asked.bytes_max)
            if bytes_max > 0 or first:
                batches = log.read(asked.offset, bytes_max)
                if batches and (first or batches[0].size <= bytes_max):
                    given.records = [batch.data for batch in batches]
        except LogstoreError as error:
            given.error_code = code_of(error)
            if given.error_code == errors.OFFSET_OUT_OF_RANGE:
                given.high_watermark = -1
        return given


def _open(sources: Sequence[Source]) -> bool:
    for source in sources:
        source.open()
    return True


class Fetching:
    """The slot of one fetch."""

    __slots__ = (
        "_client", "_fetching", "_opening", "_request", "_sources", "_until", "_version",
        "deadline",
    )  # fmt: skip

    def __init__(
        self,
        client: Client,
        version: int,
        request: FetchRequest,
        fetching: FetchSession | None,
    ) -> None:
        self.deadline: float | None = None
        self._client = client
        self._version = version
        self._request = request
        self._fetching = fetching
        asked: Sequence[Asked] = request.asked if fetching is None else fetching.asked
        self._sources = [Source(client.door, it) for it in asked]
        self._until: float | None = client.now + max(request.max_wait_ms, 0) / 1000
        self._opening: Later | None = None
        closed = [source for source in self._sources if source.opens]
        if closed:
            self._opening = elsewhere(client.door, partial(_open, closed))
            self._opening.waiting(client.wake)
        else:
            self._begin()

    def _begin(self) -> None:
        """All logs are open: wait for news of them."""
        self.deadline = self._until
        if self._request.max_wait_ms > 0:
            logs = (source.log for source in self._sources)
            self._client.watch_these([log for log in logs if log is not None])

    def ready(self, now: float) -> bool:
        if self._opening is not None:
            if self._opening.answer is None:
                return False
            self._opening = None
            self._begin()
        if self.deadline is None or now >= self.deadline or not self._sources:
            return True
        # Never more than will be given, or it would wait for ever.
        wanted = min(max(self._request.min_bytes, 1), self._bytes_max)
        for source in self._sources:
            wanted -= source.available(wanted)
            if wanted <= 0:
                return True
        return False

    @property
    def _bytes_max(self) -> int:
        return min(self._request.max_bytes, self._client.door.settings.fetch_max_bytes)

    def body(self) -> Sequence[Buffer]:
        asked = PARTITION_BYTES * len(self._sources), self._request.min_bytes
        enough = max(RESPONSE_BYTES, *asked)
        left, largest, given = min(self._bytes_max, enough), 0, []
        for source in self._sources:
            # A batch that does not fit would be read for nothing; it is as large as the others.
            it = source.read(left if left >= largest else 0, first=not largest)
            for records in it.records:
                left -= len(records)
                largest = max(largest, len(records))
            given.append(it)
        session_id = NO_SESSION
        if self._fetching is not None:
            session_id, given = self._fetching.id, self._fetching.tell(given)
        committed = self._request.isolation_level == READ_COMMITTED
        return write_response(self._version, session_id, errors.NONE, given, committed)

    def finish(self) -> None:
        self._until = self.deadline = None
