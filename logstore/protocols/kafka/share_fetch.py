"""ShareFetch: handles a member's acknowledgements, then gives it records for a limited time.

A request waits in its slot until records are available or its time limit is reached. Records are
acquired only when they can be sent, and only by a connected client: when a connection ends, its
records become available again.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.access.quotas import CONSUMER_RATE
from logstore.access.resources import GROUP, READ
from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.shared_partition import NOTHING, SharedPartition, Taken
from logstore.broker.shared.shares import Shares
from logstore.broker.shares.sessions import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    ShareSession,
    TopicPartition,
)
from logstore.errors import LogstoreError, Refused, ShareSessionNotFound, TooManyShareSessions
from logstore.kafka.messages.share_fetch import Request
from logstore.kafka.schema import codec
from logstore.kafka.share_codec import Answer, SharedRecords, write_response
from logstore.log import Log, Wake
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import TEXTS
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import LEADER_EPOCH, NODE_ID, Later, elsewhere, made_elsewhere
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.fetch import FETCH_HELD_BYTES, RESPONSE_BYTES
from logstore.protocols.kafka.partition_fetch import readable
from logstore.protocols.kafka.share_acks import Acknowledgements, Outcome, count_sessions
from logstore.protocols.kafka.share_asked import Asked, asked_by
from logstore.protocols.kafka.slots import Slot
from logstore.protocols.session import Buffer
from logstore.slices import Steps

RECORD_LIMIT: Final = 1  # ShareAcquireMode (KIP-1206): at most this many; 0: whole batches
LARGE_BYTES: Final = 4 << 10  # of a request: some hundred partitions, read in a worker
# Partitions of a session per step, each of which takes some microseconds.
LOOKED_AT_ONCE: Final = 500  # partitions, before others have their turn
PLACES_A_UNIT: Final = 10  # of a session that changes
READ_UNITS: Final = 2  # of one that is read by a request more
OPENED_AT_ONCE: Final = 100  # by one request: many come to be there in one turn
TAKE_UNITS: Final = 10  # of records that are taken of a partition
MANY_TOLD: Final = 500  # partitions of an answer, which a worker makes then
# However much a client wants to wait for: to count more would take long at each piece of news.
COUNTED_BYTES: Final = 64 << 10
# Codes that Kafka's client accepts for a partition; any other ends it.
PARTITION_CODES: Final = {
    errors.CORRUPT_MESSAGE,
    errors.KAFKA_STORAGE_ERROR,
    errors.TOPIC_AUTHORIZATION_FAILED,
    errors.UNKNOWN_TOPIC_ID,
    errors.UNKNOWN_TOPIC_OR_PARTITION,
}


def take(client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot:
    """Key 78."""
    slot = ShareFetching(client, len(frame))
    client.hold(slot)
    client.when_gone(slot, slot.leave)
    large = len(frame) > LARGE_BYTES
    data = memoryview(bytes(frame)) if large else frame
    steps = slot.begin(partial(_read, version, data, at), large=large)
    client.door.slices.begin(steps, slot.begun)
    return slot


def _read(version: int, frame: memoryview, at: int) -> tuple[Request, Asked]:
    request, _ = codec(Request, version, True).read(frame, at)
    return request, asked_by(request)


class _Reading:
    """One partition of the session, read for one request."""

    __slots__ = ("outcome", "partition", "place", "stop", "taken")

    def __init__(self, place: TopicPartition, code: int) -> None:
        self.place = place
        self.outcome = Outcome(code)
        self.partition: SharedPartition | None = None
        self.stop: Wake | None = None
        self.taken: Taken = NOTHING

    def fail(self, error: LogstoreError) -> None:
        code = code_of(error)
        known = code if code in PARTITION_CODES else errors.UNKNOWN_SERVER_ERROR
        self.outcome = Outcome(known, str(error))
        self.partition = None


class ShareFetching:
    """The slot of one request; no later request of the connection is handled before its reply."""

    def __init__(self, client: KafkaClient, request_bytes: int) -> None:
        self.deadline: float | None = None
        self._client = client
        self._request_bytes = request_bytes
        self._request = Request()
        self._until = client.now
        self._rules = client.door.access.version  # by which it was last found to be allowed
        self._error: LogstoreError | None = None  # ends the connection
        self._answer = Answer()
        self._late = False  # the answer is there, and comes when the time is up
        self._shares: Shares | None = None
        self._session: ShareSession | None = None
        self._acks: Acknowledgements | None = None
        self._reads: list[_Reading] = []
        self._opening = 0  # of those
        self._closed: deque[_Reading] = deque()  # opened after those
        self._by_log: dict[Log, list[_Reading]] = {}
        self._dirty: dict[_Reading, None] = {}  # to check, perhaps again
        self._found: dict[TopicPartition, int] = {}  # bytes that are there
        self._records = self._bytes = 0  # in the answer
        self._made: Later | None = None  # the answer's bytes
        self._begun = self._collecting = self._done = self._gone = self._finishing = False

    # What is asked for

    def begin(self, read: "partial[tuple[Request, Asked]]", *, large: bool) -> Steps:
        """Start the fetch; a worker runs ``read`` if the request is ``large``. Raises
        BrokenProtocol.
        """
        client = self._client
        self._request, asked = (yield made_elsewhere(client.door, read)) if large else read()
        self._until = client.now + max(self._request.max_wait_ms, 0) / 1000
        try:
            yield from self._go_on(asked)
        except LogstoreError as error:
            self._refuse(code_of(error), str(error))
            self._late = isinstance(error, TooManyShareSessions)

    def _refuse(self, code: int, text: str) -> None:
        self._answer.error_code, self._answer.error_message = code, text

    def _go_on(self, asked: Asked) -> Steps:
        client = self._client
        if not client.may(READ, GROUP, asked.group):
            code = errors.GROUP_AUTHORIZATION_FAILED
            self._refuse(code, TEXTS[code])
            return
        asked.check()
        self._check_renewal()
        shares = self._shares = yield client.door.shares_of.when_open
        if self._gone:
            return
        session = self._session = self._in_session(shares, asked)
        self._answer.lock_ms = shares.rules(asked.group).limits.lock_ms
        yield 1 + len(asked.places) // PLACES_A_UNIT
        acks = self._acks = Acknowledgements(client, shares, session)
        yield from acks.begin(asked.said)
        acks.then(client.wake)
        if asked.epoch == FINAL_EPOCH:
            shares.end(session)
            count_sessions(client, shares)
        elif self._request.max_records > 0 and self._request.max_bytes > 0:
            yield from self._open(shares, session)

    def _check_renewal(self) -> None:
        """Check that a renewal fetches no records (KIP-1222). Raises Refused."""
        it = self._request
        if it.is_renew_ack and (it.max_wait_ms or it.min_bytes or it.max_bytes or it.max_records):
            raise Refused(
                "a request that asks for more time fetches nothing: MaxWaitMs, MinBytes, MaxBytes "
                "and MaxRecords must be 0"
            )

    def _in_session(self, shares: Shares, asked: Asked) -> ShareSession:
        """The session of the request. Raises Refused, ShareSessionNotFound,
        InvalidShareSessionEpoch, TooManyShareSessions.
        """
        client, sessions = self._client, shares.sessions
        if asked.epoch == FINAL_EPOCH:
            if asked.places and not asked.said:
                raise Refused("a session that ends reads no partitions")
            return sessions.find(asked.group, asked.member)
        if asked.epoch == INITIAL_EPOCH:
            if asked.said:
                raise Refused("a session that begins has no records to acknowledge")
            session = sessions.begin(asked.group, asked.member, client, asked.places)
            client.when_gone(shares, partial(shares.left, client))
        else:
            session = sessions.go_on(asked.group, asked.member, asked.epoch)
            session.change(asked.places, asked.forgotten)
        count_sessions(client, shares)
        return session

    def _open(self, shares: Shares, session: ShareSession) -> Steps:
        topic_id, code = None, errors.NONE
        for place in list(session.places):
            if place[0] != topic_id:
                topic_id = place[0]
                _, code = readable(self._client, topic_id)
                yield ASK_UNITS
            if self._gone:
                return
            reading = _Reading(place, code)
            self._reads.append(reading)
            if code != errors.NONE:
                yield 1
            elif (found := shares.at_hand(Place(session.group, *place))) is not None:
                self._read(reading, found)
                yield READ_UNITS
            else:
                self._closed.append(reading)
                yield 1
        self._open_some()

    def _open_some(self) -> None:
        """Open as many partitions as may be opened at once."""
        if self._gone or self._done:
            return
        shares, session = self._shares, self._session
        assert shares is not None
        assert session is not None
        some = [self._closed.popleft() for _ in range(min(len(self._closed), OPENED_AT_ONCE))]
        self._opening = len(some)
        for it in some:
            shares.find(Place(session.group, *it.place), partial(self._opened, it))

    def _opened(self, reading: _Reading, found: SharedPartition | LogstoreError) -> None:
        self._opening -= 1
        if self._gone or self._done:
            return
        if isinstance(found, LogstoreError):
            reading.fail(found)
        else:
            self._read(reading, found)
        if not self._opening and self._closed:
            assert self._shares is not None
            self._shares.soon(self._open_some)
        if self._begun:
            self._client.wake()

    def _read(self, reading: _Reading, found: SharedPartition) -> None:
        """Watch the news of this partition from now on."""
        if reading.outcome.code == errors.NONE:  # it may still be read
            reading.partition = found
            self._by_log.setdefault(found.log, []).append(reading)
            self._client.watch(found.log)
            reading.stop = found.watch(partial(self._hear, reading))
            self._dirty[reading] = None

    def _hear(self, reading: _Reading) -> None:
        self._dirty[reading] = None
        self._client.wake()

    def begun(self, error: LogstoreError | None) -> None:
        """Everything requested is under way; ``error`` ends the connection."""
        self._error = error
        self._begun = True
        self.deadline = self._until
        self._client.wake()

    # Waiting

    @property
    def held_bytes(self) -> int:
        return self._request_bytes + FETCH_HELD_BYTES * len(self._reads)

    def ready(self, now: float) -> bool:
        if self._error is not None:
            return True
        if self._done:
            return self._finished()
        if not self._begun or self._collecting or (self._acks and not self._acks.settled):
            return False
        if self._rules != self._client.door.access.version:
            self._ask_again()
        if self._answer.error_code == errors.NONE and self._session and self._reads:
            if self._session.over:
                error = ShareSessionNotFound("the session is over: its member has begun another")
                self._refuse(code_of(error), str(error))
            elif self._is_due(now):
                return self._collect() and self._finished()
            else:
                return False
        return (not self._late or self._time_is_up(now)) and self._finished()

    def _time_is_up(self, now: float) -> bool:
        return self._finishing or now >= self._until

    def _ask_again(self) -> None:
        """Rights have changed: return no records that the client may no longer read."""
        client, session = self._client, self._session
        self._rules = client.door.access.version
        if session is None:
            return
        if not client.may(READ, GROUP, session.group):
            code = errors.GROUP_AUTHORIZATION_FAILED
            self._refuse(code, TEXTS[code])
            return
        topic_id, code = None, errors.NONE
        for it in self._reads:
            if it.place[0] != topic_id:
                topic_id = it.place[0]
                _, code = readable(client, topic_id)
            if code == errors.TOPIC_AUTHORIZATION_FAILED:
                it.outcome, it.partition = Outcome(code), None

    def _is_due(self, now: float) -> bool:
        if self._time_is_up(now):
            return True
        news = self._client.news
        while news:
            self._dirty |= dict.fromkeys(self._by_log.get(news.pop(), ()))
        # Never more than will be given, or it would wait for ever.
        wanted = max(1, min(self._request.min_bytes, self._bytes_max, COUNTED_BYTES))
        total = sum(self._found.values())
        for _ in range(LOOKED_AT_ONCE):
            if not self._dirty or total >= wanted:
                break
            reading, _ = self._dirty.popitem()
            total += self._look(reading, wanted)
        if total >= wanted:
            return True
        if self._dirty:
            self._client.wake()
        elif not self._opening and not self._closed:
            return not self._readable
        return False

    @property
    def _readable(self) -> bool:
        """Whether any partition can be read; otherwise the answer only has errors."""
        return any(it.partition is not None for it in self._reads)

    def _look(self, reading: _Reading, wanted: int) -> int:
        """The increase in the bytes found in this partition."""
        partition, before = reading.partition, self._found.pop(reading.place, 0)
        if partition is None:
            return -before
        try:
            found = partition.available_bytes(wanted)
        except LogstoreError:
            found = wanted  # the client is to be told
        if found:
            self._found[reading.place] = found
        return found - before

    @property
    def _bytes_max(self) -> int:
        door = self._client.door
        most = min(self._request.max_bytes, door.settings.fetch_max_bytes)
        window = self._client.window(CONSUMER_RATE)
        return most if window is None else min(most, max(int(window), 1))

    # Taking

    def _collect(self) -> bool:
        """Collect records; returns whether the answer is complete."""
        self._collecting = True
        self._client.door.slices.begin(self._take(), self._collected)
        return self._done

    def _take(self) -> Steps:
        """Take records in steps; returns whether the answer has content, and whether to
        look again.
        """
        shares, session = self._shares, self._session
        assert shares is not None
        assert session is not None
        most = self._request.max_records
        left = min(self._bytes_max, self._client.door.budget.answer_bytes(RESPONSE_BYTES))
        whole = self._request.share_acquire_mode != RECORD_LIMIT
        told = more = False
        for it in self._reads:
            if self._gone or session.over or most <= 0 or (left <= 0 and told):
                break
            self._found.pop(it.place, None)
            if it.partition is None or not it.partition.available():
                yield 1
                continue
            try:
                it.taken = it.partition.take(session.owner, most, left, whole=whole, first=not told)
            except LogstoreError as error:
                it.fail(error)
                told = True
                continue
            if it.taken.acquired:
                shares.use(session, it.partition)
                session.served(it.place)
                told = True
            if it.taken.more:
                self._dirty[it] = None
                more = True
            records = sum(last - first + 1 for first, last, _ in it.taken.acquired)
            size = sum(batch.size for batch in it.taken.batches)
            self._records, most = self._records + records, most - records
            self._bytes, left = self._bytes + size, left - size
            yield TAKE_UNITS + len(it.taken.batches)
        return told or not self._readable, more

    def _collected(self, outcome: tuple[bool, bool] | LogstoreError) -> None:
        self._collecting = False
        if isinstance(outcome, LogstoreError):  # a bug; it was logged
            self._error = outcome
        else:
            told, more = outcome
            if told or self._time_is_up(self._client.now):
                self._finished()
            elif not more:
                return
        self._client.wake()

    # The answer

    def body(self) -> Sequence[Buffer]:
        self._stop()
        if self._error is not None:
            raise self._error
        made: Sequence[Buffer] | LogstoreError = (
            self._body() if self._made is None else self._made.answer
        )
        if isinstance(made, LogstoreError):
            raise made
        return made

    def _body(self) -> Sequence[Buffer]:
        shared = self._told() if self._answer.error_code == errors.NONE else []
        return write_response(self._answer, shared, (NODE_ID, LEADER_EPOCH))

    def _finished(self) -> bool:
        """Complete the answer; returns whether it is ready. A worker makes an answer with many
        records.
        """
        if not self._done:
            self._done = True
            if self._bytes and self._client.door.access.quotas:
                self._answer.throttle_ms = self._client.used(CONSUMER_RATE, self._bytes)
            self._client.door.counts.messages_out += self._records
            outcomes = 0 if self._acks is None else len(self._acks.outcomes)
            if len(self._reads) + outcomes > MANY_TOLD:
                self._made = elsewhere(self._client.door, self._body)
                self._made.waiting(self._client.wake)
        return self._made is None or self._made.answer is not None

    def _told(self) -> list[SharedRecords]:
        """The partitions with records or errors, and those with acknowledgements."""
        outcomes = {} if self._acks is None else dict(self._acks.outcomes)
        told = []
        for it in self._reads:
            outcome = outcomes.pop(it.place, None)
            if it.taken.acquired or it.outcome.code != errors.NONE or outcome:
                told.append(_shared(it.place, it.outcome, outcome, it.taken))
        told += [_shared(place, Outcome(), it, NOTHING) for place, it in outcomes.items()]
        return told

    def _stop(self) -> None:
        """Stop watching partitions."""
        self._client.when_gone(self, None)
        for it in self._reads:
            if it.stop is not None:
                it.stop()
                it.stop = None

    def leave(self) -> None:
        """Stop: the connection is gone."""
        self._gone = True
        self._stop()

    def finish(self) -> None:
        self._finishing = True


def _shared(
    place: TopicPartition, outcome: Outcome, acknowledged: Outcome | None, taken: Taken
) -> SharedRecords:
    said = acknowledged or Outcome()
    records = [it.data for it in taken.batches]
    return SharedRecords(*place, *outcome, *said, records, taken.acquired)
