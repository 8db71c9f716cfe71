"""Sends retained messages to a client that has subscribed, as fast as the connection takes them.

Retained messages follow the SUBACK and precede newly published messages, which wait meanwhile, up
to the limit for a client that does not read. Messages that the client must acknowledge go through
the session's queue, as all such messages do, so they outlive the connection. They are added in
parts, as many as one step finds, and the first part before any other message can enter the queue.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import About, Message
from logstore.broker.mqtt.mqtt import Cursor
from logstore.broker.mqtt.session import Session
from logstore.broker.queues.pending import Pending, both
from logstore.mqtt.fields import varint, varint_size
from logstore.mqtt.kinds import V5
from logstore.protocols.mqtt.carrier import Carrier
from logstore.protocols.mqtt.form import Chunk

QUEUED_MAX: Final = 1000  # messages that wait in the session's queue, before more are put there
WAYS_AT_ONCE: Final = 200  # on which there may be nothing; some ten microseconds each
ENTRY_BYTES: Final = 1500  # what one subscription's way takes
FIRST_TOPICS: Final = 500
FIRST_BYTES: Final = 1 << 18
_FIRST: Final = b"\x31"  # PUBLISH, QoS 0, RETAIN
_SEND_ALL: Final = 0  # retain handling: retained messages are sent
_SEND_NEW: Final = 1  # only for a new subscription


class _Way:
    """The delivery for one subscription."""

    __slots__ = ("cursor", "grant", "left")

    def __init__(self, cursor: Cursor, grant: Grant) -> None:
        self.cursor = cursor
        self.grant = grant
        # Retained messages of QoS 0 that wait for the SUBACK.
        self.left: tuple[list[bytes], list[bytes], list[About | None]] = ([], [], [])


class Batch:
    """The retained messages for one SUBSCRIBE."""

    __slots__ = ("added", "first_bytes", "first_topics", "open", "ways")

    def __init__(self) -> None:
        # As much of it is looked up at once, however many filters it has.
        self.first_bytes, self.first_topics = FIRST_BYTES, FIRST_TOPICS
        self.added = False  # something of it is on its way
        self.open = False  # the SUBACK is written
        self.ways: deque[_Way] = deque()


class Retaining:
    """The retained messages of one connection, while some remain to be sent."""

    __slots__ = ("_batches", "_held", "_held_bytes", "_of")

    def __init__(self, of: Carrier) -> None:
        self._of = of
        self._batches: deque[Batch] = deque()
        self._held: list[Chunk] = []  # published since
        self._held_bytes = 0

    def add(self, batch: Batch) -> None:
        """Add the filters of another SUBSCRIBE."""
        self._batches.append(batch)

    @property
    def held_bytes(self) -> int:
        """As First.held_bytes."""
        ways = sum(
            ENTRY_BYTES * len(it.ways) + FIRST_BYTES - it.first_bytes for it in self._batches
        )
        return self._held_bytes + ways

    @property
    def unanswered(self) -> bool:
        """As First.unanswered."""
        return not all(it.open for it in self._batches)

    def hold(self, it: Chunk) -> None:
        """As First.hold."""
        of = self._of
        size = len(it.data)
        if self._held_bytes + size + of.out_bytes + of.link.unsent > of.door.limits.slow_bytes:
            of.door.counts.dropped += it.messages
            for batch in self._batches:
                for way in batch.ways:
                    way.cursor.lost()
            return
        self._held.append(it)
        self._held_bytes += size

    def go_on(self) -> None:
        """As First.go_on."""
        of, ways = self._of, 0
        while self._batches:
            ways += 1
            if ways > WAYS_AT_ONCE:  # others first
                of.link.wake()
                return
            batch = self._batches[0]
            if not batch.open:
                return
            if not batch.ways:
                self._batches.popleft()
                continue
            way = batch.ways[0]
            if not way.cursor.ready(of.link.wake) or _is_full(of, way):
                return
            sent, topics = _give(of, way)
            ways += topics // 2
            if way.cursor.over:
                batch.ways.popleft()
            if sent:
                return
            if batch.ways and batch.ways[0] is way:  # nothing was found yet: others first
                of.link.wake()
                return
        self._release()

    def _release(self) -> None:
        """Send the held messages: all retained ones have been sent."""
        of = self._of
        of.first = None
        held, self._held = self._held, []
        if held:
            of.put(b"".join([it.data for it in held]))
            count = sum(it.messages for it in held)
            of.door.counts.sent[0] += count
            of.door.totals.messages_out += count

    def close(self) -> list[tuple[Cursor, Grant]]:
        """As First.close: what was to be acknowledged, and is not in the queue."""
        left = [
            (way.cursor, way.grant)
            for batch in self._batches for way in batch.ways
            if way.grant.qos and not way.cursor.over
        ]  # fmt: skip
        self._batches.clear()
        self._held.clear()
        return left


def begin(
    of: Carrier, batch: Batch, granted: Sequence[tuple[bytes, Grant, int, bool]]
) -> Pending | None:
    """Start to send retained messages; returns what must be stored before the SUBACK.

    ``granted``: filters that are not shared, each with its retain handling, and whether it is new.
    """
    mine, model = of.mine, of.door.model
    assert mine is not None
    assert model is not None
    pending: Pending | None = None
    for filter_, grant, handling, new in granted:
        if handling == _SEND_ALL or (handling == _SEND_NEW and new):
            way = _Way(model.cursor(mine, filter_, grant), grant)
            few = batch.first_topics > 0 and batch.first_bytes > 0
            if grant.qos and few and way.cursor.ready(_nothing):
                kept = _first(of, mine, way, batch)
                if kept is not None:
                    pending = kept if pending is None else both(pending, kept)
            if way.left[0] or not way.cursor.over:
                batch.ways.append(way)
    if (batch.ways or pending is not None) and not batch.added:
        batch.added = True
        _coming(of).add(batch)
    return pending


def go_on_with(of: Carrier, left: Sequence[tuple[Cursor, Grant]]) -> None:
    """Continue with the retained messages that a resumed session has not received."""
    batch = Batch()
    batch.open = True
    batch.ways.extend(_Way(*it) for it in left)
    _coming(of).add(batch)


def _coming(of: Carrier) -> Retaining:
    it = of.first
    if not isinstance(it, Retaining):
        it = of.first = Retaining(of)
    return it


def _nothing() -> None:
    """Do nothing: the caller asks again."""


def _first(of: Carrier, mine: Session, way: _Way, batch: Batch) -> Pending | None:
    """Queue messages that require an acknowledgement, before anything else is published."""
    topics, payloads, qos, abouts = way.cursor.some()
    batch.first_topics -= len(topics) + 1
    batch.first_bytes -= sum(map(len, topics)) + sum(map(len, payloads))
    return _queue(of, mine, way, topics, payloads, qos, abouts)


def _queue(
    of: Carrier,
    mine: Session,
    way: _Way,
    topics: Sequence[bytes],
    payloads: Sequence[bytes],
    qos: Sequence[int],
    abouts: Sequence[About | None],
) -> Pending | None:
    """Put messages that require an acknowledgement into the session's queue; the others remain."""
    messages, left = [], way.left
    for topic, payload, its, about in zip(topics, payloads, qos, abouts, strict=True):
        if its and way.grant.qos:
            messages.append(Message(topic, payload, its, True, about))
        else:
            left[0].append(topic)
            left[1].append(payload)
            left[2].append(about)
    queue = mine.queue
    if not messages or queue is None:
        return None
    model = of.door.model
    assert model is not None
    return model.queue(queue, messages)


def _is_full(of: Carrier, way: _Way) -> bool:
    """Whether the client must first acknowledge messages; it is then asked again later."""
    queue = None if of.mine is None or not way.grant.qos else of.mine.queue
    return queue is not None and queue.ready > QUEUED_MAX


def _give(of: Carrier, way: _Way) -> tuple[bool, int]:
    """Send some messages; returns whether any had QoS 0, and how many were examined."""
    mine = of.mine
    if mine is None:
        return False, 0
    count = 0
    if not way.left[0] and not way.cursor.over:
        topics, payloads, qos, abouts = way.cursor.some()
        count = len(topics)
        if not way.grant.qos or not any(qos):
            return count > 0 and _send(of, topics, payloads, abouts, way.grant.id), count
        _queue(of, mine, way, topics, payloads, qos, abouts)
    topics, payloads, abouts = way.left
    way.left = ([], [], [])
    return bool(topics) and _send(of, topics, payloads, abouts, way.grant.id), count


def _send(
    of: Carrier,
    topics: Sequence[bytes],
    payloads: Sequence[bytes],
    abouts: Sequence[About | None],
    number: int,
) -> bool:
    """``number``: the subscription's identifier; 0 if it has none."""
    door, asked = of.door, of.come
    assert asked is not None
    v5, most = of.version == V5, asked.packet_bytes_max
    ids = (number,) if number else ()
    now_ms = door.clock() if v5 else 0
    plain = door.forms.section(None, ids, now_ms) if v5 else b""
    if not most and (not v5 or not any(abouts)):
        heads = _Heads(len(plain))
        parts = [
            heads[len(topic), len(payload)] + topic + plain + payload
            for topic, payload in zip(topics, payloads, strict=True)
        ]
        _put(of, parts)
        return True
    parts = []
    for topic, payload, about in zip(topics, payloads, abouts, strict=True):
        section = plain
        if v5 and about is not None:
            section = door.forms.section(about, ids, now_ms)
        size = 2 + len(topic) + len(section) + len(payload)
        if most and 1 + varint_size(size) + size > most:
            door.counts.too_long += 1  # [MQTT-3.1.2-25]
            continue
        head = _FIRST + varint(size) + len(topic).to_bytes(2)
        parts.append(b"".join((head, topic, section, payload)))
    _put(of, parts)
    return bool(parts)


def _put(of: Carrier, parts: Sequence[bytes]) -> None:
    """Append whole packets to the output."""
    if parts:
        of.put(b"".join(parts))
        of.door.counts.sent[0] += len(parts)
        of.door.totals.messages_out += len(parts)


class _Heads(dict[tuple[int, int], bytes]):
    """The bytes before a topic, by the lengths of topic and payload."""

    def __init__(self, section_bytes: int) -> None:
        self._section_bytes = section_bytes

    def __missing__(self, lengths: tuple[int, int]) -> bytes:
        topic_bytes, payload_bytes = lengths
        size = 2 + topic_bytes + self._section_bytes + payload_bytes
        made = self[lengths] = _FIRST + varint(size) + topic_bytes.to_bytes(2)
        return made
