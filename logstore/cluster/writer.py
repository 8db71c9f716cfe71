"""Appends to partitions of a cluster: in order, and each batch once.

A batch waits for its partition's leader, is sent together with batches of other partitions of the
same node, and is done when that node acknowledges it (acks=all). At most five batches of a
partition are in flight. A batch without a reply, or with a temporary refusal, is sent again until
it succeeds: the same bytes with the same sequence numbers, in order, so that the leader recognizes
what it already has. So a batch that may already be stored is never sent as a new one, and ``done``
does not advance meanwhile. If another node becomes the leader, the reply of the previous one is not
awaited: it may be frozen or cut off.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from random import Random
from typing import Any, Final, NamedTuple

from logstore.cluster import by_id, kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.by_id import Produce
from logstore.cluster.identity import Identity, Then
from logstore.errors import ClusterBehind, FencedProducer, LogFailed, LogstoreError
from logstore.kafka.produce_codec import Part, ProduceRequest
from logstore.log import MARKS_KEPT, NOT_KNOWN
from logstore.records.batch import Batch

UNDER_WAY_MAX: Final = 5  # batches of a partition: as many as its leader knows
# A leader that knows nothing of a producer takes any batch of it for the first one. So that goes
# alone, and so does one after a long time: leaders forget producers that send nothing.
ALONE_AFTER_S: Final = 600.0
TIMEOUT_MS: Final = 10_000  # of a leader, for the others to have it
ANSWER_S: Final = 15.0
PARTITION_BYTES_MAX: Final = 16 << 20  # that are not done
ALL_BYTES_MAX: Final = 64 << 20
BEHIND: Final = 2  # over so much less than either, whoever can wait should
REQUEST_BYTES_MAX: Final = 8 << 20
STALL_S: Final = 2.0  # that the first of a partition waits: its leader, or who copies it, is gone

# What a leader says that is about now, or about who leads: the same may be asked again.
AGAIN: Final = frozenset({3, 5, 6, 7, 8, 9, 13, 14, 19, 20, 56, 74, 75, 76, 89, 100, 103})
OUT_OF_ORDER: Final = frozenset({45, 59})  # or the leader has forgotten the producer
NO_ANSWER: Final = 7  # as a leader says that it has waited for too long
DUPLICATE: Final = 46
FENCED: Final = 47
NOBODY: Final = -1


Identify = Callable[[Then], None]  # asks for who appends to a partition from now on
News = Callable[[], object]


class _Unanswered:
    """A batch that is not done."""

    __slots__ = ("batch", "count", "is_there", "mark", "offset", "sent")

    def __init__(self, mark: int, batch: Batch) -> None:
        self.mark = mark
        self.batch = batch  # with its producer, once that is known
        self.count = batch.last_offset_delta + 1
        self.sent = False  # and not answered
        self.is_there = False  # although something before it may not be
        self.offset = NOT_KNOWN  # where; a leader may have forgotten that


class _Sent(NamedTuple):
    """A batch in a request."""

    its: "PartitionWriter"
    batch: _Unanswered
    round: int


class _Done(NamedTuple):
    mark: int
    offset: int


class Unacknowledged(NamedTuple):
    """What a partition has not acknowledged."""

    log: str
    bytes: int
    appends: int
    waits_s: float  # the first of them


class PartitionWriter:
    """The writer of one partition. ``news`` is called when ``done`` has moved, or on failure."""

    def __init__(
        self, writer: "Writer", topic: str, partition: int, identify: Identify, news: News
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.name = f"{topic}-{partition}"
        self.next_mark = 0
        self.failure: LogstoreError | None = None
        self.bytes = 0  # that are not done
        self._first_since = 0.0  # since when the first of them is the first
        self._writer = writer
        self._identify = identify
        self._news = news
        self._identity: Identity | None = None
        self._asking = False  # who appends
        self._pending: deque[_Unanswered] = deque()
        self._under_way = 0  # at one node
        self._node = NOBODY
        self._round = 0  # what an earlier one has sent is not waited for any more
        self._known_at = float("-inf")  # when the leader has taken a batch of this producer last
        self._held_until = 0.0
        self._backoff = writer.backoff()
        self._done: list[_Done] = []  # where appends stand, by their marks

    @property
    def done(self) -> int:
        """The mark below which everything appended is acknowledged."""
        return self._pending[0].mark if self._pending else self.next_mark

    def offset_of(self, mark: int) -> int:
        """As Log.offset_of."""
        at = bisect_right(self._done, mark, key=attrgetter("mark")) - 1
        if at < 0 or mark >= self.done:
            return NOT_KNOWN
        it = self._done[at]
        return NOT_KNOWN if it.offset < 0 else it.offset + mark - it.mark

    def unacknowledged(self, now: float) -> Unacknowledged:
        """As of now."""
        return Unacknowledged(self.name, self.bytes, len(self._pending), now - self._first_since)

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises ClusterBehind, LogFailed, FencedProducer."""
        if self.failure is not None:
            raise self.failure
        self._writer.take_room(self, batch.size)
        if self._identity is None:
            it = _Unanswered(self.next_mark, Batch(bytes(batch.data)))
        else:
            it = _Unanswered(self.next_mark, self._identity.stamp(batch))
        if not self._pending:
            self._first_since = self._writer.now()
        self._pending.append(it)
        self.next_mark += it.count
        self._writer.ready(self)
        return it.mark

    # Sending

    def next_batch(self, node: int, now: float) -> _Sent | None:
        """The next batch for the leader, which then counts as sent."""
        if self.failure is not None:
            return None
        if self._identity is None:
            if not self._asking and self._pending and now >= self._held_until:
                self._asking = True
                self._identify(self._identified)
            return None
        if now < self._held_until:
            return None
        alone = now - self._known_at > ALONE_AFTER_S
        if self._under_way >= (1 if alone else UNDER_WAY_MAX):
            return None
        it = next((it for it in self._pending if not it.sent and not it.is_there), None)
        if it is None:
            return None
        it.sent = True
        self._under_way += 1
        self._node = node
        return _Sent(self, it, self._round)

    @property
    def sends(self) -> bool:
        """Whether any batch is in flight."""
        return self._under_way > 0

    def led_by(self, node: int) -> None:
        """Batches in flight to another node are sent to this one again."""
        if self._under_way and node != self._node:
            self._round += 1
            self._under_way = 0
            for it in self._pending:
                it.sent = False

    def waits_until(self, now: float) -> float | None:
        """When ``next_batch`` may return a batch again."""
        waits = self._pending and not self._asking and self._held_until > now
        return self._held_until if waits else None

    def _identified(self, found: Identity | LogstoreError) -> None:
        self._asking = False
        if isinstance(found, FencedProducer):
            self.fail(found)
        elif isinstance(found, LogstoreError):
            self._hold()
        else:
            self._backoff.succeeded()
            self._identity = found
            for it in self._pending:
                it.batch = found.stamp(it.batch)
        self._writer.ready(self)

    # Answers

    def answered(self, sent: _Sent, code: int, offset: int, why: str | None) -> None:
        """The leader's reply; ``code`` 7, for example, if there was none."""
        if sent.round != self._round:
            return
        it = sent.batch
        it.sent = False
        self._under_way -= 1
        if self.failure is not None:
            return
        if code in (0, DUPLICATE):
            self._stands(it, offset)
        elif code in OUT_OF_ORDER and it is self._pending[0]:
            self._forgotten()
        elif code in AGAIN or code in OUT_OF_ORDER:
            if code in AGAIN:
                self._hold()
                self._writer.brokers.refresh()
        elif code == FENCED:
            self.fail(FencedProducer(f"{self.name}: another process appends to it by now"))
        else:
            text = f": {why}" if why else ""
            self.fail(
                LogFailed(f"{self.name}: the cluster refuses what is appended, error {code}{text}")
            )
        self._writer.ready(self)

    def _stands(self, it: _Unanswered, offset: int) -> None:
        self._backoff.succeeded()
        self._known_at = self._writer.now()
        it.is_there, it.offset = True, offset
        moved = False
        while self._pending and self._pending[0].is_there:
            first = self._pending.popleft()
            self._done.append(_Done(first.mark, first.offset))
            self._writer.give_room(self, first.batch.size)
            moved = True
        if len(self._done) > 2 * MARKS_KEPT:
            del self._done[:-MARKS_KEPT]
        if moved:
            self._writer.waited(self._known_at - self._first_since)
            self._first_since = self._known_at
            self._news()

    def _forgotten(self) -> None:
        """The leader has forgotten the last appends: continue with another producer.

        Batches without a reply may already be stored, and may then be stored twice.
        """
        self._identity = None
        self._known_at = float("-inf")
        self._hold()

    def _hold(self) -> None:
        self._held_until = self._writer.now() + self._backoff.failed()

    def fail(self, why: LogstoreError) -> None:
        """Unfinished appends will never be done."""
        if self.failure is None:
            self.failure = why
            self._writer.give_room(self, self.bytes)
            self._news()


class Writer:
    """The appends of one process to one cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        soon: Callable[[Callable[[], object]], object],
        call_at: Callable[[float, Callable[[], object]], object],
        random: Random,
    ) -> None:
        """``soon`` makes a call once, at the end of this turn."""
        self.brokers = brokers
        self.now = now
        self.bytes = 0
        self.stalls = 0  # that are over
        self.stalled_s = 0.0  # in these
        self._holding: dict[PartitionWriter, None] = {}  # something that is not done
        self._soon = soon
        self._call_at = call_at
        self._random = random
        self._behind: set[PartitionWriter] = set()  # that have much to be done
        self._ready: dict[PartitionWriter, None] = {}
        self._waiting: dict[PartitionWriter, None] = {}  # for a leader
        self._sending: dict[PartitionWriter, None] = {}
        self._alarmed: set[PartitionWriter] = set()  # that are called again when they may send
        brokers.watch(self._led)

    def backoff(self) -> Backoff:
        """A backoff for one partition."""
        return Backoff(self._random)

    # Room

    def take_room(self, its: PartitionWriter, size: int) -> None:
        """Reserve memory. Raises ClusterBehind. One batch always has room."""
        if its.bytes and (
            its.bytes + size > PARTITION_BYTES_MAX or self.bytes + size > ALL_BYTES_MAX
        ):
            raise ClusterBehind(
                f"{its.name}: {its.bytes} bytes are not acknowledged by the cluster, and no more "
                f"are held: try again"
            )
        self._holds(its, size)

    def give_room(self, its: PartitionWriter, size: int) -> None:
        """Release memory of finished batches."""
        self._holds(its, -size)

    def _holds(self, its: PartitionWriter, more: int) -> None:
        its.bytes += more
        self.bytes += more
        if its.bytes:
            self._holding[its] = None
        else:
            self._holding.pop(its, None)
        if its.bytes * BEHIND > PARTITION_BYTES_MAX:
            self._behind.add(its)
        else:
            self._behind.discard(its)

    @property
    def behind(self) -> bool:
        """Whether so much is unfinished that appends will be refused soon."""
        return bool(self._behind) or self.bytes * BEHIND > ALL_BYTES_MAX

    # How it goes

    def unacknowledged(self) -> list[Unacknowledged]:
        """The partitions with unacknowledged appends."""
        now = self.now()
        return [it.unacknowledged(now) for it in self._holding]

    def waited(self, seconds: float) -> None:
        """The first append of a partition was acknowledged after this time."""
        if seconds > STALL_S:
            self.stalls += 1
            self.stalled_s += seconds

    # Sending

    def ready(self, its: PartitionWriter) -> None:
        """There may be something to send."""
        self._ready[its] = None
        self._soon(self.flush)

    def _led(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for its in waiting:
            self.ready(its)
        for its in self._sending:
            node = self.brokers.view.leader(its.topic, its.partition)
            if node is not None:
                its.led_by(node)
                self.ready(its)

    def flush(self) -> None:
        """Send what can be sent: one request at a time to each node, with one batch a partition."""
        ready, self._ready = self._ready, {}
        now = self.now()
        while ready:
            left: dict[PartitionWriter, None] = {}
            requests: dict[int, list[_Sent]] = {}
            places: set[tuple[str, int]] = set()  # a request has one batch of each
            for its in ready:
                if its.failure is not None:  # its topic may be gone, and is not to be asked for
                    continue
                node = self.brokers.view.leader(its.topic, its.partition)
                if node is None:
                    self._waiting[its] = None
                    self.brokers.want(its.topic)
                    self.brokers.refresh()
                    continue
                place = its.topic, its.partition
                if place in places:  # who appended to it before, in this process
                    left[its] = None
                    continue
                it = its.next_batch(node, now)
                if it is not None:
                    places.add(place)
                    requests.setdefault(node, []).append(it)
                    left[its] = self._sending[its] = None
                elif (until := its.waits_until(now)) is not None:
                    self._wake_at(until, its)
            for node, parts in requests.items():
                for some in _in_requests(parts):
                    self._send(node, some)
            ready = left

    def _wake_at(self, at: float, its: PartitionWriter) -> None:
        if its not in self._alarmed:
            self._alarmed.add(its)
            self._call_at(at, partial(self._due, its))

    def _due(self, its: PartitionWriter) -> None:
        self._alarmed.discard(its)
        self.ready(its)

    def _send(self, node: int, parts: Sequence[_Sent]) -> None:
        by_topic: dict[str, list[Part]] = {}
        for its, it, _ in parts:
            part = Part(its.partition, memoryview(it.batch.data))
            by_topic.setdefault(its.topic, []).append(part)
        ids = {it: self.brokers.view.id_of(it) for it in by_topic}
        request = Produce(ProduceRequest(None, -1, TIMEOUT_MS, list(by_topic.items())), ids)
        then = partial(self._answered, parts, by_id.names_of(ids))
        self.brokers.ask(node, kinds.PRODUCE, request, then, Use.DATA, ANSWER_S)

    def _answered(
        self,
        parts: Sequence[_Sent],
        names: Mapping[str | bytes, str],
        answer: Any,  # noqa: ANN401
    ) -> None:
        topics = () if isinstance(answer, LogstoreError) else answer.topics
        said = {(names.get(topic), part.partition): part for topic, some in topics for part in some}
        for sent in parts:
            its = sent.its
            part = said.get((its.topic, its.partition))
            if part is None:
                its.answered(sent, NO_ANSWER, NOT_KNOWN, None)
            else:
                its.answered(sent, part.error_code, part.base_offset, part.message)
            if not its.sends:
                self._sending.pop(its, None)


def _in_requests(parts: Sequence[_Sent]) -> Iterator[Sequence[_Sent]]:
    """No request exceeds a broker's limit in bytes, unless it has only one batch."""
    some: list[_Sent] = []
    size = 0
    for it in parts:
        if some and size + it.batch.batch.size > REQUEST_BYTES_MAX:
            yield some
            some, size = [], 0
        some.append(it)
        size += it.batch.batch.size
    yield some
