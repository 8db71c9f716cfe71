"""Retained messages: for each topic, the last message published with the retain flag.

They are stored in a compacted topic of one partition, ``__mqtt_retained``: key = topic, value =
payload, headers as in ``record_headers.py``; a message without payload is a tombstone.
``retained_values.py`` says which parts are in memory; these are read from the log, in slices, when
the first client connects.

A new subscription traverses them with a ``Cursor``, as fast as the connection takes them.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.broker.mqtt.filters import is_topic
from logstore.broker.mqtt.message import About, Message
from logstore.broker.mqtt.ordered import Ordered
from logstore.broker.mqtt.record_headers import headers_of, said_by
from logstore.broker.mqtt.retained_values import Abouts, Value, expiry_of, packed, plain, unpacked
from logstore.broker.mqtt.walk import Walk
from logstore.broker.reading import chunks
from logstore.broker.rules import Unstamped
from logstore.broker.topic import Topic
from logstore.broker.topics import Change, Topics
from logstore.broker.unsafe import Unsafe
from logstore.errors import CorruptBatch, Failed, LogstoreError, OffsetBelowStart, TopicExists
from logstore.log import Log
from logstore.names import RETAINED_TOPIC
from logstore.records.record import Record
from logstore.slices import Slices, Soon, Steps

# Of the topic when it is made. A message may be as large as a packet.
TOPIC_SETTINGS: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(272 << 20),
    "segment.bytes": str(64 << 20),
}
SINGLE: Final = "it has what MQTT retains, in one partition"
ENTRY_BYTES: Final = 112  # what one takes in memory beside its topic and value: two objects, slots
READ_BYTES: Final = 1 << 16  # of the log at a time, while it is gone through
RECORD_BYTES_MAX: Final = 272 << 20
SWEEP_MS: Final = 30_000  # between sweeps; expired messages are never given
SWEEP_STEP: Final = 500
LOOK_MAX: Final = 500  # topics that a cursor looks at in one go
PORTION_BYTES: Final = 1 << 16
_EMPTY: Final = b""
_EVERYTHING: Final = 1 << 63  # above all offsets

_log = logging.getLogger("logstore.mqtt")


class Portion(NamedTuple):
    """Some retained messages, in columns."""

    topics: list[bytes]
    payloads: list[bytes]
    qos: list[int]  # as published
    abouts: list[About | None]


class Retained:
    """The retained messages of one store. In the sessions' thread, except ``open``."""

    def __init__(
        self,
        topics: Topics,
        clock: Callable[[], int],
        slices: Slices,
        soon: Soon,
        bytes_max: int,
    ) -> None:
        """``bytes_max``: the memory limit; once it is reached no further topic gets a retained
        message.
        """
        self._topics = topics
        self.clock = clock
        self._slices = slices
        self._soon = soon
        self._bytes_max = bytes_max
        self._index = Ordered()
        self._abouts = Abouts()
        self._topic: Topic | None = None  # its log is open
        self.generation = 0  # rises when the topic is deleted
        self.held_bytes = 0
        self._unread = 0  # times that the log did not have one
        self.dropped = 0  # that were not kept, since there was no room
        self._loaded = True
        self._since: dict[
            bytes, bytes
        ] = {}  # what came while the log is gone through; _EMPTY: gone
        self._told: dict[str, None] = {}  # damage that was logged
        self._when_loaded: list[Callable[[], object]] = []
        self._expires_ms: int | None = None  # no earlier than this one does
        self._swept_ms = 0
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._index)

    # Opened

    def open(self) -> LogstoreError | None:
        """Create the topic if it is missing, and open its log.

        May be called from any thread, and may take long.
        """
        try:
            topic = self._topics.get(RETAINED_TOPIC)
            if topic is None:
                try:
                    topic = self._topics.create(RETAINED_TOPIC, 1, TOPIC_SETTINGS)
                except TopicExists:
                    return self.open()
            self._topics.keep_single(RETAINED_TOPIC, SINGLE)
            topic.partition(0)
        except LogstoreError as error:
            return error
        return None

    def begin(self) -> None:
        """Read the log, which is open now."""
        topic = self._topics.get(RETAINED_TOPIC)
        if topic is None or topic is self._topic or topic.at_hand(0) is None:
            return
        self._topic, self._loaded = topic, False
        self._slices.begin(self._load(topic, self.generation), self._load_ended)

    def changed(self, change: Change) -> bool:
        """Handle a change of the catalogue; return whether ``open`` and ``begin`` are
        needed again.
        """
        if change.event != "deleted" or change.topic is not self._topic:
            return False
        self._topic = None
        self.generation += 1
        self._index.clear()
        self._since.clear()
        self.held_bytes = 0
        return True

    def _load(self, topic: Topic, generation: int) -> Steps:
        log = topic.partition(0)
        at, upto = log.start, log.end  # what comes from now on is known
        while at < upto and generation == self.generation:
            before, safe = at, log.safe
            try:
                for chunk in chunks(
                    log, (RETAINED_TOPIC, 0), at, self._damaged,
                    bytes_max=READ_BYTES, record_bytes_max=RECORD_BYTES_MAX,
                ):  # fmt: skip
                    for record in chunk.records:
                        if record.offset < upto:
                            self._read(record)
                    at = chunk.end
                    yield max(1, len(chunk.records))
                    if generation != self.generation:
                        return
            except OffsetBelowStart:
                at = log.start
            if at == before:  # it was appended, and is not safe yet
                yield partial(self._news, log, safe)

    def _news(self, log: Log, safe: int, go_on: Callable[[object], object]) -> None:
        """Wait until more is safe than there was. This is a ``Wait``."""
        stop: list[Callable[[], None]] = []

        def woken() -> None:
            if stop:
                stop.pop()()
                go_on(None)

        stop.append(log.watch(lambda: _nothing(self._soon(woken))))
        log.sync_soon()
        if log.safe > safe:  # its news came before it was watched
            self._soon(woken)

    def _read(self, record: Record) -> None:
        topic = record.key
        if topic is None or topic in self._since or not is_topic(topic) or topic[:1] == b"$":
            return
        said, payload = said_by(record.headers), record.value
        expires = None if said.about is None else said.about.expires_at_ms
        if not payload or (expires is not None and expires <= self.clock()):
            self._forget(topic)
            return
        self._put(
            topic,
            packed(self._abouts, record.offset, said.qos, said.publisher, said.about, payload),
        )

    def _load_ended(self, error: object) -> None:
        if isinstance(error, LogstoreError):
            _log.error("%s: not all retained messages are known: %s", RETAINED_TOPIC, error)
        since, self._since = self._since, {}
        self._loaded = True
        for topic, value in since.items():
            self._put(topic, value) if value else self._forget(topic)
        waiting, self._when_loaded = self._when_loaded, []
        for call in waiting:
            call()

    def _damaged(self, damage: CorruptBatch) -> None:
        if str(damage) not in self._told and len(self._told) < SWEEP_STEP:
            self._told[str(damage)] = None
            _log.warning("%s: retained messages are lost: %s", RETAINED_TOPIC, damage)

    # Kept

    def accepts(self, message: Message) -> bool:
        """Whether there is room for the message if it must be retained."""
        return (
            not message.retain
            or not message.payload
            or self.held_bytes < self._bytes_max
            or self._index.get(message.topic) is not None
        )

    def take(self, messages: Sequence[Message]) -> tuple[Log, int] | None:
        """Store the messages that must be retained.

        Returns the log and the mark below which they must become safe; None: there are none. A
        topic without room keeps none (``dropped``). Raises StorageFull, LogFailed, RecordTooLarge,
        Failed: then none is stored.
        """
        coming: set[bytes] = set()  # topics of those before it
        chosen = [it for it in messages if it.retain and self._matters(it, coming)]
        if not chosen:
            return None
        topic = self._topic
        if topic is None:
            raise Failed(f"topic {RETAINED_TOPIC!r} is not open: nothing is retained for now")
        rows: list[Unstamped] = []
        for it in chosen:
            headers = headers_of(it.qos, it.about, client_of(it.publisher)) if it.payload else ()
            rows.append((it.payload or None, it.topic, headers, None))
        log, marks = self._append(topic, rows)
        for it, mark in zip(chosen, marks, strict=True):
            self._now(it, mark)
        return log, marks[-1] + 1

    def _matters(self, message: Message, coming: set[bytes]) -> bool:
        """Whether the message changes what is retained, after the messages in ``coming``."""
        if message.payload:
            if self.accepts(message):
                coming.add(message.topic)
                return True
            if not self.dropped:
                _log.warning(
                    "retained messages hold %d bytes, all of mqtt.retained.bytes: no further topic "
                    "keeps one", self._bytes_max,
                )  # fmt: skip
            self.dropped += 1
            return False
        return (
            not self._loaded
            or message.topic in coming
            or self._index.get(message.topic) is not None
        )

    def _append(self, topic: Topic, rows: Sequence[Unstamped]) -> tuple[Log, list[int]]:
        """Append the rows; return the log and the mark of each row."""
        log, marks = topic.partition(0), list[int]()
        for batch in topic.rules.encode(topic.rules.columns(rows)):
            first = log.append(batch)
            marks += range(first, first + batch.record_count)
        return log, marks

    def _now(self, message: Message, offset: int) -> None:
        """Make this the retained message of its topic.

        In a log of this process a mark is the offset.
        """
        value = _EMPTY
        if message.payload:
            value = packed(
                self._abouts, offset, message.qos, client_of(message.publisher), message.about,
                message.payload,
            )  # fmt: skip
        if not self._loaded:
            self._since[message.topic] = value
        elif value:
            self._put(message.topic, value)
        else:
            self._forget(message.topic)

    def _put(self, topic: bytes, value: bytes) -> None:
        before = self._index.put(topic, value)
        self.held_bytes += len(value)
        self.held_bytes += ENTRY_BYTES + len(topic) if before is None else -len(before)
        expires = expiry_of(value)
        if expires is not None and (self._expires_ms is None or expires < self._expires_ms):
            self._expires_ms = expires

    def _forget(self, topic: bytes) -> None:
        before = self._index.pop(topic)
        if before is not None:
            self.held_bytes -= ENTRY_BYTES + len(topic) + len(before)

    # Expired

    @property
    def deadline_ms(self) -> int | None:
        """When ``tick`` must be called; None: no known message expires."""
        if self._expires_ms is None or self._sweeping:
            return None
        return max(self._expires_ms, self._swept_ms + SWEEP_MS)

    def tick(self, now_ms: int) -> None:
        """Remove the messages that have expired, in slices."""
        deadline = self.deadline_ms
        if deadline is not None and deadline <= now_ms and self._loaded:
            self._swept_ms, self._expires_ms, self._sweeping = now_ms, None, True
            self._slices.begin(self._sweep(now_ms), self._swept)

    def _sweep(self, now_ms: int) -> Steps:
        walk = Walk(self._index, b"#")
        while not walk.over:
            gone = []
            topics, values = walk.some(SWEEP_STEP)
            for topic, value in zip(topics, values, strict=True):
                expires = expiry_of(value)
                if expires is None:
                    continue
                if expires <= now_ms:
                    gone.append(topic)
                elif self._expires_ms is None or expires < self._expires_ms:
                    self._expires_ms = expires
            if gone and self._topic is not None:
                self._append(self._topic, [(None, topic, (), None) for topic in gone])
                for topic in gone:
                    self._forget(topic)
            yield max(1, len(topics))

    def _swept(self, error: object) -> None:
        self._sweeping = False
        if isinstance(error, LogstoreError):  # they are not given in any case
            _log.warning("%s: what has expired is still there: %s", RETAINED_TOPIC, error)
            self._expires_ms = self._swept_ms

    # Given

    def cursor(self, filter_: bytes, but_of: bytes | None = None) -> "Cursor":
        """Return a cursor for a new subscriber, without messages that client ``but_of`` has
        published.
        """
        return Cursor(self, filter_, but_of)

    def when_loaded(self, call: Callable[[], object]) -> bool:
        """Whether the retained messages are loaded; if not, ``call`` is called once they are."""
        if not self._loaded:
            self._when_loaded.append(call)
        return self._loaded

    def walk(self, filter_: bytes) -> Walk:
        """Return a walk over the topics that match."""
        return Walk(self._index, filter_)

    def value(self, value: bytes) -> Value:
        """Unpack a value that a walk has found."""
        return unpacked(self._abouts, value)

    @property
    def log(self) -> Log | None:
        return None if self._topic is None else self._topic.partition(0)

    def logged(self, topic: bytes, offset: int) -> tuple[About | None, bytes] | None:
        """Return properties and payload from the log; None: the record is superseded or damaged."""
        log = self.log
        if log is None:
            return None
        try:
            for chunk in chunks(
                log, (RETAINED_TOPIC, 0), offset, self._damaged,
                bytes_max=1, record_bytes_max=RECORD_BYTES_MAX,
            ):  # fmt: skip
                for record in chunk.records:
                    if record.offset == offset and record.key == topic and record.value:
                        return said_by(record.headers).about, record.value
        except LogstoreError as error:  # it was trimmed: only the first error is logged
            if not self._unread:
                _log.warning("%s: some can't be read: %s", RETAINED_TOPIC, error)
            self._unread += 1
        return None


class Cursor:
    """The traversal of matching retained messages for one subscription.

    Messages published during the traversal reach the subscriber as usual, after those of the
    cursor, so the cursor skips messages that were retained since; unless the published message was
    dropped on its way to the subscriber (``lost``).
    """

    __slots__ = (
        "_but_of", "_generation", "_left", "_lost", "_retained", "_unsafe", "_upto", "_wake",
        "_walk", "filter",
    )  # fmt: skip

    def __init__(self, retained: Retained, filter_: bytes, but_of: bytes | None) -> None:
        self.filter = filter_
        self._retained = retained
        self._but_of = but_of
        self._generation = retained.generation
        self._walk = retained.walk(filter_)
        self._lost = False
        self._left: list[tuple[bytes, bytes]] = []  # looked up and not given, the last one first
        log = retained.log
        self._upto = 0 if log is None else log.end
        self._wake: Callable[[], object] = _no_call
        self._unsafe = Unsafe()
        if log is not None and log.done < self._upto:
            self._unsafe.add(log, self._upto)

    @property
    def over(self) -> bool:
        return self._generation != self._retained.generation or (self._walk.over and not self._left)

    def ready(self, wake: Callable[[], object]) -> bool:
        """Whether ``some`` may be called; if not, ``wake`` is called from any thread, to ask again.

        A retained message is safe before it is given: what was read is never unread.
        """
        if not self._retained.when_loaded(wake):
            return False
        self._wake = wake  # replaces an earlier one, which is not called
        try:
            settled = self._unsafe.settled()
        except LogstoreError:  # the log has failed: there is nothing new to be had
            return True
        if not settled:
            self._unsafe.watch(self._woken)
        return settled

    def _woken(self) -> None:
        """Wake the subscriber. Called from any thread."""
        self._wake()

    def lost(self) -> None:
        """Note that a message published since was dropped on its way to the subscriber."""
        self._lost = True

    def some(self, bytes_max: int = PORTION_BYTES) -> Portion:
        """Return about ``bytes_max`` bytes of messages; perhaps none, although more follow
        (``over``).
        """
        portion = Portion([], [], [], [])
        if self.over:
            return portion
        if not self._left:
            topics, values = self._walk.some(LOOK_MAX)
            self._left = list(zip(reversed(topics), reversed(values), strict=True))
        now_ms = self._retained.clock()
        upto = _EVERYTHING if self._lost else self._upto
        left, topics, payloads, qos, abouts = self._left, *portion
        size = 0
        while left and size < bytes_max:
            topic, value = left.pop()
            known = None if self._but_of is not None else plain(value)
            if known is None:
                size += self._give(portion, topic, self._retained.value(value), now_ms)
                continue
            offset, its, at = known
            if offset < upto:
                topics.append(topic)
                payloads.append(value[at:])
                qos.append(its)
                abouts.append(None)
                size += len(topic) + len(value)
        return portion

    def _give(self, portion: Portion, topic: bytes, value: Value, now_ms: int) -> int:
        """Add the message if it is for the subscriber; return its size in bytes, or 0."""
        if (value.offset >= self._upto and not self._lost) or (
            value.expires_at_ms is not None and value.expires_at_ms <= now_ms
        ):
            return 0
        if self._but_of is not None and value.publisher == self._but_of:
            return 0
        payload, about = value.payload, value.about
        if payload is None:
            found = self._retained.logged(topic, value.offset)
            if found is None:
                return 0
            about, payload = found
        elif value.expires_at_ms is not None:
            about = (about or About())._replace(expires_at_ms=value.expires_at_ms)
        portion.topics.append(topic)
        portion.payloads.append(payload)
        portion.qos.append(value.qos)
        portion.abouts.append(about)
        return len(topic) + len(payload)

    def close(self) -> None:
        """End the cursor: no more messages are wanted."""
        self._unsafe.close()
        self._left.clear()


def _nothing(_: object) -> None:
    """Ignore the call: a watched log needs no answer."""


def _no_call() -> None:
    """Do nothing: no subscriber waits."""


def client_of(publisher: object) -> bytes:
    """Return the id of the client that has published; b"": the publisher is not a client."""
    found = getattr(publisher, "client", _EMPTY)
    if isinstance(found, str):
        return found.encode(errors="replace")
    return found if isinstance(found, bytes) else _EMPTY
