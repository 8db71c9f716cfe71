"""Fetch: sends batches as stored in logs, and waits for new ones if there are none.

A request waits in its slot until enough bytes are available or its time limit is reached. The
records are read only when they can be sent, so a client that does not read its socket costs no
memory.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from logstore.access.quotas import CONSUMER_RATE
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
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import Later, elsewhere, made_elsewhere
from logstore.protocols.kafka.fetch_session import INITIAL_EPOCH, FetchSession, begin
from logstore.protocols.kafka.partition_fetch import ask_again, fetches_of, open_all, release
from logstore.protocols.kafka.slots import Ready, Slot, Unfolding
from logstore.protocols.kafka.throttling import FETCH_WAITS
from logstore.protocols.session import Buffer
from logstore.slices import UNITS, Steps
from logstore.slices import parts as parts_of

# The limit of an answer, even if a client accepts more: smaller answers reuse memory, and a client
# asks again. The first batch is still sent whole.
RESPONSE_BYTES: Final = 8 << 20
FETCH_HELD_BYTES: Final = 512  # of a request under way, for each of its partitions
PARTITION_BYTES: Final = 16 << 10  # of as many as are asked for: each costs in every answer
LARGE_BYTES: Final = 64 << 10  # of a request: 2000 partitions, read in a worker
READ_AT_ONCE: Final = 2000  # partitions of a fetch; of more a worker makes the answer
# A request for many partitions is counted in parts, between which others have their turn.
WATCHED_AT_ONCE: Final = 2000  # partitions
COUNTED_AT_ONCE: Final = 500  # partitions
COUNTED_BYTES_AT_ONCE: Final = 4 << 20  # of batches read to be counted


def take(client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot:
    """Key 1."""
    known = client.fetching
    if len(frame) > LARGE_BYTES or (known is not None and len(known) > READ_AT_ONCE):
        slot = Unfolding(client.wake, len(frame))
        client.hold(slot)  # the session is another thread's meanwhile
        client.door.slices.begin(_large(client, version, memoryview(bytes(frame)), at), slot.give)
        return slot
    return _fetching(client, version, read_request(version, frame, at))


def _large(client: KafkaClient, version: int, frame: memoryview, at: int) -> Steps:
    def made() -> Slot:
        slot = _fetching(client, version, read_request(version, frame, at), begins=False)
        if isinstance(slot, Fetching):
            slot.open_all()
        return slot

    slot = yield made_elsewhere(client.door, made)
    if isinstance(slot, Fetching):
        yield from slot.begin()
    return slot


def _fetching(
    client: KafkaClient, version: int, request: FetchRequest, *, begins: bool = True
) -> Slot:
    fetching, code = begin(client.fetching, request)
    if code:
        return Ready(b"".join(write_response(version, NO_SESSION, code, (), committed=False)))
    client.fetching = fetching
    slot = Fetching(client, version, request, fetching)
    if begins:
        slot.open()
    return slot


class Fetching:
    """The slot of one fetch."""

    __slots__ = (
        "_answer",
        "_by_log",
        "_client",
        "_counts",
        "_fetches",
        "_fetching",
        "_finishing",
        "_made",
        "_opening",
        "_records",
        "_request",
        "_rules",
        "_total",
        "_uncounted",
        "_until",
        "_version",
        "deadline",
    )  # fmt: skip

    def __init__(
        self,
        client: KafkaClient,
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
        self._rules = client.door.access.version  # by which it was last found to be allowed
        committed = request.isolation_level == READ_COMMITTED
        self._fetches = fetches_of(client, asked, committed=committed)
        self._until: float | None = client.now + max(request.max_wait_ms, 0) / 1000
        self._opening: Later | None = None
        self._answer: list[Given] | None = None
        self._finishing = False
        self._by_log: dict[Log, list[int]] = {}  # watched logs, with the numbers of their fetches
        self._uncounted: list[int] = []  # fetches that are still to be counted, or again
        self._counts: dict[int, int] = {}
        self._total = 0  # bytes that are there
        self._records = 0  # in the answer
        self._made: Later | None = None

    def open(self) -> None:
        """Open the logs of this fetch; only in the sessions' thread."""
        closed = [fetch for fetch in self._fetches if fetch.opens]
        if closed:
            self._opening = elsewhere(self._client.door, partial(open_all, closed))
            self._opening.waiting(self._client.wake)
        else:
            self._begin()

    def open_all(self) -> None:
        """Open the logs of this fetch and wait for them; called in a worker."""
        open_all([fetch for fetch in self._fetches if fetch.opens])

    def begin(self) -> Steps:
        """Watch the logs of a very large fetch, in steps; all of them are open."""
        if self._request.max_wait_ms > 0:
            for numbers in parts_of(range(len(self._fetches)), WATCHED_AT_ONCE):
                self._watch_some(numbers)
                yield UNITS
        self._begin()

    def _begin(self) -> None:
        """Begin to wait for records; all logs are open."""
        self.deadline = self._until
        if self._request.max_wait_ms > 0 and not self._by_log:
            self._watch()
        self._uncounted = list(range(len(self._fetches)))
        self._uncounted.reverse()

    def _watch(self) -> bool:
        """Watch the logs from now on; False if they are already watched."""
        if self._by_log:
            return False
        self._watch_some(range(len(self._fetches)))
        self._client.watch_only(self._by_log)
        return True

    def _watch_some(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            log = self._fetches[number].log
            if log is not None:
                self._by_log.setdefault(log, []).append(number)
                self._client.watch(log)

    @property
    def held_bytes(self) -> int:
        return FETCH_HELD_BYTES * len(self._fetches)

    def ready(self, now: float) -> bool:
        if self._opening is not None:
            if self._opening.answer is None:
                return False
            self._opening = None
            self._begin()
        if self._rules != self._client.door.access.version:
            if self._made is not None and self._made.answer is None:
                return False  # a worker is reading; forbidden records are dropped afterwards
            if len(self._fetches) <= READ_AT_ONCE:
                self._ask_again()
            else:  # a worker asks, and answers now
                self._until = self.deadline = None
                self._read_no_more()
        if len(self._fetches) > READ_AT_ONCE:
            return self._ready_elsewhere(now)
        if self._answer is None and self._is_due(now):
            self._answer = self._read()
        return self._answer is not None

    def _ask_again(self) -> None:
        """Rules have changed: refuse partitions that may no longer be read, and answer at once."""
        self._rules = self._client.door.access.version
        if ask_again(self._client, self._fetches):
            self._until = self.deadline = None

    def _read_no_more(self) -> None:
        """Discard a worker's answer: it is made again without the refused partitions."""
        made, self._made = self._made, None
        if made is not None and not isinstance(made.answer, LogstoreError):
            release(made.answer)

    def _ready_elsewhere(self, now: float) -> bool:
        """As ``ready``, for very many partitions: a worker reads them and makes the answer."""
        if self._made is None and self._is_due(now):
            self.deadline = None
            self._made = elsewhere(self._client.door, self._whole)
            self._made.waiting(self._client.wake)
        return self._made is not None and self._made.answer is not None

    def _whole(self) -> Sequence[Buffer]:
        self._finishing = True  # in a worker the disk can be waited for
        if self._rules != self._client.door.access.version:
            self._ask_again()
        self._answer = self._read()
        return self._body()

    def _is_due(self, now: float) -> bool:
        if self.deadline is None or now >= self.deadline or not self._fetches:
            return True
        self._hear()
        # Never more than will be given, or it would wait for ever.
        wanted = max(min(self._request.min_bytes, self._bytes_max), 1)
        counted = read = 0
        while self._total < wanted and self._uncounted:
            if counted >= COUNTED_AT_ONCE or read >= COUNTED_BYTES_AT_ONCE:
                self._client.wake()
                break
            number = self._uncounted.pop()
            before = self._counts.get(number, 0)
            self._counts[number] = found = self._fetches[number].available(wanted)
            self._total += found - before
            counted, read = counted + 1, read + found - before
        return self._total >= wanted

    def _hear(self) -> None:
        """Queue for counting only the partitions that have news."""
        news = self._client.news
        while news:
            for number in self._by_log.get(news.pop(), ()):
                self._uncounted.append(number)

    def _read(self) -> list[Given] | None:
        """The records of the answer; None if all of them must first be read from the disk."""
        asked = PARTITION_BYTES * len(self._fetches), self._request.min_bytes
        enough = max(RESPONSE_BYTES, *asked)
        # The answer stays in memory until the client has read it, so it is short if memory is
        # short.
        enough = self._client.door.budget.answer_bytes(enough)
        left, largest, given = min(self._bytes_max, enough), 0, []
        self._records = 0
        for fetch in self._fetches:
            # A batch that does not fit would be read in vain; it is about as large as the others.
            it = fetch.read(left if left >= largest else 0, first=not largest)
            if it.records:
                self._records += fetch.given
            for records in it.records:
                left -= len(records)
                largest = max(largest, len(records))
            given.append(it)
        if not largest and not self._finishing and any(fetch.cold for fetch in self._fetches):
            self.deadline = None  # the disk answers
            if self._watch():
                return self._read()  # records may have arrived before the watch began
            return None
        return given

    @property
    def _bytes_max(self) -> int:
        most = min(self._request.max_bytes, self._client.door.settings.fetch_max_bytes)
        window = self._client.window(CONSUMER_RATE)
        return most if window is None else min(most, max(int(window), 1))

    def body(self) -> Sequence[Buffer]:
        if self._made is None:
            return self._body()
        answer: Sequence[Buffer] | LogstoreError = self._made.answer
        if isinstance(answer, LogstoreError):
            raise answer
        return answer

    def _body(self) -> Sequence[Buffer]:
        given, self._answer = self._answer, None
        assert given is not None, "it is asked for when it is ready"
        before, wait_ms = self._metered(given)
        if wait_ms and self._version < FETCH_WAITS and not self._finishing:
            self._client.answer_at = self._client.muted_until
        if wait_ms and before:
            return self._throttled(given, wait_ms)
        self._client.door.counts.messages_out += self._records
        session_id = NO_SESSION
        if self._fetching is not None:
            session_id, given = self._fetching.id, self._fetching.tell(given)
        committed = self._request.isolation_level == READ_COMMITTED
        return write_response(self._version, session_id, errors.NONE, given, committed, wait_ms)

    def _metered(self, given: Sequence[Given]) -> tuple[bool, int]:
        """Whether the client used its quota recently, and how many ms it must wait.

        A client that received nothing recently gets the records despite the wait: a batch may
        exceed the quota of a whole window, and would otherwise never be delivered.
        """
        size = sum(len(records) for it in given for records in it.records)
        if not size or not self._client.door.access.quotas:
            return False, 0
        return self._client.has_used(CONSUMER_RATE), self._client.used(CONSUMER_RATE, size)

    def _throttled(self, given: Sequence[Given], wait_ms: int) -> Sequence[Buffer]:
        """An answer without partitions; the records count as not read (KIP-219)."""
        size = sum(len(records) for it in given for records in it.records)
        for it in given:
            release(it.records)
        self._client.give_back(CONSUMER_RATE, size)
        # A session that begins with this is not told: the client names its partitions again.
        begins = self._fetching is None or self._request.session_epoch == INITIAL_EPOCH
        session_id = NO_SESSION if begins or self._fetching is None else self._fetching.id
        return write_response(self._version, session_id, errors.NONE, (), False, wait_ms)

    def finish(self) -> None:
        self._until = self.deadline = None
        self._finishing = True
