"""Parses all packets of one read in one loop: PUBLISH in runs and columns, PUBACK in bulk.

Most packets are PUBLISH, many in a row, often with the same topic and length: then the bytes before
the payload are equal, and one comparison parses them. No object is made for a message: a run has
its payloads, packet identifiers and properties as columns.
"""

import sys
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.mqtt import kinds, reasons
from logstore.mqtt.fields import Cursor, is_text, no_pid, read_varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import bad_first
from logstore.mqtt.reasons import Broken, malformed

# Topics that were looked at, so that each is looked at once: of some 100 bytes, 1.5 MB of them.
KNOWN_MAX: Final = 16_384
KNOWN_BYTES_MAX: Final = 512
AT_ONCE: Final = 500  # packets, of a microsecond each; with what becomes of them some ten
HEAVY_BYTES: Final = 8  # of properties, and of other packets, that are as much work as a packet
WINDOW: Final = 4096  # bytes in which a run of acknowledgements is looked for
HEAD_BYTES_MAX: Final = 5  # of a fixed header

# First bytes of acknowledgements: PUBACK, PUBREC, PUBREL, PUBCOMP.
_ACKS: Final = frozenset(kinds.FIRST[it] for it in kinds.ACKS)
_PUBREL: Final = kinds.FIRST[kinds.PUBREL]


class Run(NamedTuple):
    """Consecutive PUBLISH packets with the same first byte, in columns: the n-th entry is the
    n-th's.
    """

    first: int
    topics: list[bytes]  # looked at; b"": an alias stands for it (version 5)
    payloads: list[bytes]
    pids: list[int] | None  # None: of QoS 0
    properties: list[bytes] | None  # as they came, without their length; None: nobody has any

    @property
    def qos(self) -> int:
        return self.first >> 1 & 3

    @property
    def retain(self) -> bool:
        return bool(self.first & kinds.RETAIN)

    @property
    def dup(self) -> bool:
        return bool(self.first & kinds.DUP)


class Acked(NamedTuple):
    """Consecutive acknowledgements of one kind that report success."""

    pids: Sequence[int]
    kind: int = kinds.PUBACK


class Other(NamedTuple):
    """Any other packet."""

    first: int
    body: bytes


Item = Run | Acked | Other


class Read(NamedTuple):
    """The result of parsing some bytes."""

    # In order; but PUBACKs, PUBRECs and PUBCOMPs may stand before the PUBLISHes, and before each
    # other, that they came between: they are about what the client was sent.
    items: list[Item]
    taken: int  # where they end
    wants: int  # bytes of the packet that has begun, as far as known; 0: not known
    broken: Broken | None = None  # what is wrong with what follows: nothing more can be taken


class Topics:
    """Checked topic names; shared by all connections of a door."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def checked(self, name: bytes) -> bytes:
        """The same name, always the same object. Raises Broken for what is no topic's."""
        known = self.known.get(name)
        if known is not None:
            return known
        if not is_text(name):
            raise malformed("a topic name is not UTF-8, or has a NUL")
        if b"#" in name or b"+" in name:  # [MQTT-3.3.2-2]
            raise Broken(reasons.BAD_TOPIC, "a topic name has a wildcard in it")
        if len(name) <= KNOWN_BYTES_MAX:
            if len(self.known) >= KNOWN_MAX:
                self.known.clear()
            self.known[name] = name
        return name


def read(
    raw: bytes, version: int, bytes_max: int, topics: Topics, at: int = 0, most: int = AT_ONCE
) -> Read:
    """The whole packets from ``at`` on, about so many.

    ``bytes_max``: of a packet, its fixed header included. Raises nothing: see ``Read.broken``;
    ``Read.taken`` is where what was taken ends.
    """
    loop = _Loop(raw, version, bytes_max, topics, most)
    try:
        loop.run(at)
    except Broken as broken:
        return Read(loop.items, loop.at, 0, broken)
    return Read(loop.items, loop.at, loop.wants)


class _Loop:
    __slots__ = ("acked", "at", "bytes_max", "items", "left", "raw", "topics", "v5", "wants")

    def __init__(self, raw: bytes, version: int, bytes_max: int, topics: Topics, most: int) -> None:
        self.raw = raw
        self.v5 = version == V5
        self.bytes_max = bytes_max
        self.topics = topics
        self.left = most  # packets
        self.items: list[Item] = []
        self.acked: dict[int, list[int]] = {}  # where the last of each kind are gathered
        self.at = 0
        self.wants = 0

    def run(self, at: int) -> None:
        raw, end = self.raw, len(self.raw)
        self.at = at
        while at < end and self.left > 0:
            first = raw[at]
            if at + 1 < end and raw[at + 1] < 128:
                body = at + 2
                stop = body + raw[at + 1]
            else:
                found = read_varint(raw, at + 1, min(end, at + HEAD_BYTES_MAX))
                if found is None:
                    _check_first(first)
                    return
                size, body = found
                stop = body + size
            if stop - at > self.bytes_max:
                raise Broken(
                    reasons.TOO_LARGE,
                    f"a packet of {stop - at} bytes: {self.bytes_max} are the most",
                )
            if stop > end:
                _check_first(first)
                self.wants = stop - at
                return
            if first >> 4 == kinds.PUBLISH:
                at = self._publishes(first)
            elif first in _ACKS and stop - body == 2:
                at = self._acks(at, first)
            else:
                _check_first(first)
                self.items.append(Other(first, raw[body:stop]))
                self.acked.clear()
                self.left -= 1 + (stop - body) // HEAVY_BYTES
                at = stop
            self.at = at

    def _publishes(self, first: int) -> int:
        """A run of them from here on; where it ends: what comes there is somebody else's."""
        raw, v5, end, known = self.raw, self.v5, len(self.raw), self.topics.known
        qos = first >> 1 & 3
        if qos == 3 or (first & kinds.DUP and not qos):  # [MQTT-3.3.1-4, -2]
            raise malformed(f"a PUBLISH has the flags {first & 15:#x}")
        topics: list[bytes] = []
        payloads: list[bytes] = []
        most, heavy = self.left, 0
        pids: list[int] | None = [] if qos else None
        properties: list[bytes] | None = None
        behind = (2 if qos else 0) + v5  # bytes that stand behind the topic at least
        # What the last began with, its topic included: if the next one does, too, it is of the same
        # topic and length, and nothing has to be looked at again.
        head, place, size, topic = b"", 0, 0, b""
        at = self.at
        try:
            for _ in range(most):
                if heavy > most:
                    break
                stop = at + size
                if head and stop <= end and raw.startswith(head, at):
                    begin = at + place
                else:
                    if at + 1 >= end or raw[at] != first:
                        break
                    body = at + 2
                    stop = body + raw[at + 1]
                    if raw[at + 1] > 127:
                        found = read_varint(raw, at + 1, min(end, at + HEAD_BYTES_MAX))
                        if found is None:
                            break
                        body = found[1]
                        stop = body + found[0]
                    size = stop - at
                    if stop > end or size > self.bytes_max:
                        break
                    begin = body + 2 + (raw[body] << 8 | raw[body + 1] if size > 3 else 0)
                    if begin + behind > stop:
                        raise malformed("a PUBLISH packet ends within a field")
                    name = raw[body + 2 : begin]
                    topic = known.get(name) or self._topic(name)
                    head, place = raw[at:begin], begin - at
                if pids is not None:
                    pid = raw[begin] << 8 | raw[begin + 1]
                    begin += 2
                    if not pid:
                        raise no_pid("PUBLISH")
                    pids.append(pid)
                if v5:
                    if raw[begin]:
                        section, begin = self._properties(begin, stop)
                        if properties is None:
                            properties = [b""] * len(payloads)
                        properties.append(section)
                        heavy += 1 + len(section) // HEAVY_BYTES
                    else:
                        begin += 1
                        if properties is not None:
                            properties.append(b"")
                payloads.append(raw[begin:stop])
                topics.append(topic)
                at = stop
        finally:
            self.at = at
            self.left -= len(payloads) + heavy
            if payloads:
                if pids is not None:
                    del pids[len(payloads) :]
                self.items.append(Run(first, topics, payloads, pids, properties))
        return at

    def _topic(self, name: bytes) -> bytes:
        if not name and not self.v5:  # [MQTT-4.7.3-1]; in version 5 an alias may stand for it
            raise malformed("a PUBLISH has an empty topic name")
        return self.topics.checked(name)

    def _properties(self, begin: int, stop: int) -> tuple[bytes, int]:
        cursor = Cursor(self.raw, "PUBLISH", begin, stop)
        size = cursor.varint()
        begin = cursor.at + size
        if begin > stop:
            raise malformed("the properties of a PUBLISH packet are longer than it")
        return self.raw[cursor.at : begin], begin

    def _acks(self, at: int, first: int) -> int:
        """An acknowledgement, and those of its kind that follow; where they end."""
        raw = self.raw
        if raw[at + 1] == 2 and raw.startswith(raw[at : at + 2], at + 4):
            window = raw[at : at + WINDOW]
            count = min(_leading(window[::4], first), _leading(window[1::4], 2), len(window) // 4)
            both = array("H", window[: 4 * count])
            if sys.byteorder == "little":
                both.byteswap()
            pids = both[1::2].tolist()
        else:
            count, pids = 1, [raw[at + 2] << 8 | raw[at + 3]]
        if 0 in pids:
            raise no_pid(kinds.NAMES[first >> 4])
        gathered = self.acked.get(first)
        if gathered is None:
            gathered = []
            self.items.append(Acked(gathered, first >> 4))
            if first != _PUBREL:  # it is about what the client sends: it keeps its place
                self.acked[first] = gathered
        gathered += pids
        self.left -= count
        return at + 4 * count


def _leading(column: bytes, value: int) -> int:
    """With how many of this byte it begins."""
    return len(column) - len(column.lstrip(bytes((value,))))


def _check_first(first: int) -> None:
    """Raises Broken for a byte that no packet begins with: nobody waits for the rest of it."""
    if first >> 4 != kinds.PUBLISH and kinds.FIRST.get(first >> 4) != first:
        raise bad_first(first)
