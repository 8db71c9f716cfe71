"""Writes messages to a client as packets."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.mqtt.line import Sent
from logstore.mqtt import writing
from logstore.mqtt.fields import varint, varint_size
from logstore.mqtt.kinds import V5
from logstore.protocols.mqtt.carrier import Carrier
from logstore.protocols.mqtt.form import Chunk
from logstore.protocols.mqtt.phase import Phase

_FIRSTS: Final = tuple(bytes((0x30 | flags,)) for flags in range(16))


def chunk(of: Carrier, it: Chunk) -> None:
    """Send messages of QoS 0, or drop them if the client does not read.

    Such a client is not disconnected, because one that reconnects at once would cost more.
    """
    if of.phase is not Phase.RUNNING or not it.messages:
        return
    if of.first is not None:
        of.first.hold(it)
        return
    door = of.door
    if of.out_bytes + of.link.unsent > door.limits.slow_bytes:
        door.counts.dropped += it.messages
        return
    door.counts.sent[0] += it.messages
    door.totals.messages_out += it.messages
    if of.out:
        of.put(it.data)  # after all earlier packets
    else:
        of.link.push(it.data)


def messages(of: Carrier, those: Sequence[Sent]) -> Sequence[int]:
    """Send messages; returns the packet ids of those that are too long for the client.

    Parts that consecutive messages share are encoded once.
    """
    door, asked = of.door, of.come
    assert asked is not None
    most, v5 = asked.packet_bytes_max, of.version == V5
    if not most and _are_alike(those):
        _alike(of, those)
        return ()
    now_ms = door.clock() if v5 else 0
    topic, about, ids = None, None, None
    opened = section = before = b""
    length, kind, extra = -1, -1, 0
    too_long: list[int] = []
    parts: list[bytes] = []
    by_qos = [0, 0, 0]
    for name, payload, qos, pid, dup, retain, its, said in those:
        if name is not topic or said is not about or its is not ids:
            topic, about, ids, length = name, said, its, -1
            opened = writing.opening(name)
            section = door.forms.section(said, its, now_ms) if v5 else b""
            extra = len(opened) + len(section)
        flags = dup << 3 | qos << 1 | retain
        if len(payload) != length or flags != kind:
            length, kind = len(payload), flags
            size = extra + length + (2 if qos else 0)
            if most and 1 + varint_size(size) + size > most:
                length = -1
                too_long.append(pid)
                continue
            before = b"".join((_FIRSTS[flags], varint(size), opened))
        by_qos[qos] += 1
        if qos:
            parts += (before, pid.to_bytes(2), section, payload)
        else:
            parts += (before, section, payload)
    if parts:
        of.put(b"".join(parts))
        of.link.wake()
    sent = door.counts.sent
    for qos in range(3):
        sent[qos] += by_qos[qos]
    door.counts.too_long += len(too_long)
    door.totals.messages_out += sum(by_qos)
    return too_long


def _are_alike(those: Sequence[Sent]) -> bool:
    """Whether all messages have one topic, require an acknowledgement and share their
    properties.
    """
    names, _, qos, _, dup, retain, ids, said = zip(*those, strict=True)
    columns: tuple[tuple[object, ...], ...] = (names, said, ids, qos, dup, retain)
    return qos[0] > 0 and all(it.count(it[0]) == len(it) for it in columns)


def _alike(of: Carrier, those: Sequence[Sent]) -> None:
    """As ``messages``, for messages that share topic and properties."""
    door, count = of.door, len(those)
    name, _, qos, _, dup, retain, ids, said = those[0]
    section = door.forms.section(said, ids, door.clock()) if of.version == V5 else b""
    of.put(
        writing.publishes_with_ids(
            writing.opening(name), [it[1] for it in those], [it[3] for it in those], section,
            writing.flags(qos, retain=retain, dup=dup),
        )
    )  # fmt: skip
    of.link.wake()
    door.counts.sent[qos] += count
    door.totals.messages_out += count
