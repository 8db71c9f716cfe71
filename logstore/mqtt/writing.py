"""Writes frequent packets: PUBLISH for one topic, many at a time, and acknowledgements.

A PUBLISH consists of its first byte, its length, its *opening* (the topic with its length), its
packet identifier for QoS 1 and 2, its properties with their length (version 5), and its payload.
Parts that messages have in common are made once.
"""

import sys
from array import array
from collections.abc import Sequence
from typing import Final

from logstore.mqtt import kinds
from logstore.mqtt.fields import varint, varint_size
from logstore.mqtt.kinds import V5

_PUBLISH: Final = kinds.PUBLISH << 4
# By the lower half of the first byte: DUP, QoS, RETAIN.
_FIRSTS: Final = tuple(bytes((_PUBLISH | flags,)) for flags in range(16))
PINGRESP: Final = b"\xd0\x00"
_NO_PID: Final = b"\0\0"  # where one is to stand


def flags(qos: int, *, retain: bool = False, dup: bool = False) -> int:
    """The lower half of the first byte of a PUBLISH (3.3.1)."""
    return dup << 3 | qos << 1 | retain


def opening(topic: bytes) -> bytes:
    """A topic with its length."""
    return len(topic).to_bytes(2) + topic


def size(topic_bytes: int, payload_bytes: int, qos: int, properties: bytes) -> int:
    """Bytes of a PUBLISH as a whole, as a Maximum Packet Size counts them.

    ``properties``: with their length; b"" in version 3.1.1.
    """
    length = 2 + topic_bytes + (2 if qos else 0) + len(properties) + payload_bytes
    return 1 + varint_size(length) + length


def publish(
    topic: bytes, payload: bytes, properties: bytes = b"", *, flags: int = 0, pid: int = 0
) -> bytes:
    """One message. ``properties``: with their length, also where there are none; b"" in 3.1.1.

    ``pid``: 0 of QoS 0.
    """
    identifier = pid.to_bytes(2) if pid else b""
    length = 2 + len(topic) + len(identifier) + len(properties) + len(payload)
    return b"".join((
        _FIRSTS[flags], varint(length), len(topic).to_bytes(2), topic, identifier, properties,
        payload,
    ))  # fmt: skip


def publishes(
    opened: bytes, payloads: Sequence[bytes], properties: bytes = b"", flags: int = 0
) -> bytes:
    """Messages of QoS 0, of one topic and alike: ``opened`` is what ``opening`` gives."""
    head = opened + properties
    begin, extra = _FIRSTS[flags], len(head)
    if len(payloads) == 1:
        payload = payloads[0]
        return b"".join((begin, varint(extra + len(payload)), head, payload))
    length = len(payloads[0])
    before = b"".join((begin, varint(extra + length), head))
    parts: list[bytes] = []
    for payload in payloads:
        if len(payload) != length:
            length = len(payload)
            before = b"".join((begin, varint(extra + length), head))
        parts += (before, payload)
    return b"".join(parts)


def publishes_with_ids(
    opened: bytes,
    payloads: Sequence[bytes],
    pids: Sequence[int],
    properties: bytes = b"",
    flags: int = 2,
) -> bytes:
    """The same with packet identifiers: of QoS 1 and 2."""
    begin, extra = _FIRSTS[flags], len(opened) + 2 + len(properties)
    length = len(payloads[0])
    before = b"".join((begin, varint(extra + length), opened))
    if len(set(map(len, payloads))) == 1:
        out = bytearray((before + _NO_PID + properties).join((b"", *payloads)))
        size = len(out) // len(payloads)
        both = _column(pids)
        out[len(before) :: size], out[len(before) + 1 :: size] = both[::2], both[1::2]
        return bytes(out)
    parts: list[bytes] = []
    for payload, pid in zip(payloads, pids, strict=True):
        if len(payload) != length:
            length = len(payload)
            before = b"".join((begin, varint(extra + length), opened))
        parts += (before, pid.to_bytes(2), properties, payload)
    return b"".join(parts)


def _column(pids: Sequence[int]) -> bytes:
    """Packet identifiers, two bytes each, as they travel."""
    column = array("H", pids)
    if sys.byteorder == "little":
        column.byteswap()
    return column.tobytes()


def acks(kind: int, pids: Sequence[int]) -> bytes:
    """Acknowledgements that say success, in either version: four bytes each."""
    first = kinds.FIRST[kind]
    if len(pids) == 1:
        return bytes((first, 2)) + pids[0].to_bytes(2)
    both = array("H", bytes(4 * len(pids)))
    both[::2] = array("H", (first << 8 | 2,)) * len(pids)
    both[1::2] = array("H", pids)
    if sys.byteorder == "little":
        both.byteswap()
    return both.tobytes()


def ack(kind: int, pid: int, reason: int, version: int) -> bytes:
    """One acknowledgement; in version 3.1.1 there are no reasons."""
    if version == V5 and reason:
        return bytes((kinds.FIRST[kind], 3)) + pid.to_bytes(2) + bytes((reason,))
    return bytes((kinds.FIRST[kind], 2)) + pid.to_bytes(2)
