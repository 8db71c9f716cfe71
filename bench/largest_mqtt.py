"""The largest requests of the MQTT door: what ``bench.turns`` and the tests send.

A request is packets of a client of version 5 that is let in, after others that have prepared it;
of each kind of packet that a client sends there is one at least. Some are refused, once they have
been looked at: what is longer than may be, not UTF-8, of properties that there are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from logstore.mqtt import kinds, packets, writing
from logstore.mqtt.fields import varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import FILTERS_MAX, Ack, Connect, Disconnect, Options, Packet, Will
from logstore.mqtt.properties import COUNT_MAX, Properties

PACKET_BYTES: Final = 16 << 20  # mqtt.max.packet.size
TEXT_BYTES: Final = 65_535
LEVELS: Final = 200  # of a filter with wildcards
WILL_BYTES: Final = 60_000  # a CONNECT has 64 KiB
LONGEST: Final = b"\xff\xff\xff\x7f"  # the length of a packet of 256 MiB, and no packet is longer
BAD_TEXT: Final = b"a" * (TEXT_BYTES - 1) + b"\xff"  # of which the last byte is looked at last
NO_PROPERTY: Final = b"\x7f"
IN_FLIGHT: Final = 65_535  # packet identifiers
ENDED: Final = ": ended"  # suffix of the names of requests that end the connection

CONNECT: Final = Connect(V5, True, 0, "largest")
CONNECT_PACKET: Final = packets.write(CONNECT, V5)
# Answered last: an UNSUBSCRIBE, in its order after acknowledgements.
MARK: Final = packets.write(packets.Unsubscribe(0xABCD, [b"mark"]), V5)
MARKED: Final = b"\xb0\x04\xab\xcd\0\x11"
PING: Final = packets.write(packets.Ping(kinds.PINGREQ), V5)
# A user property whose value is not UTF-8.
_BAD_TOLD: Final = b"\x26\0\1a\xff\xff" + BAD_TEXT


@dataclass(frozen=True, slots=True)
class Large:
    """One request, as it is sent once those before it are answered."""

    name: str  # begins with the packet's
    data: bytes
    before: Sequence[bytes] = ()  # one after the other
    connect: bool = False  # it is the first of its connection


def sent(*those: Packet) -> bytes:
    return b"".join([packets.write(it, V5) for it in those])


def subscribe(filters: Sequence[bytes], qos: int = 0, pid: int = 1) -> bytes:
    """SUBSCRIBE packets with the maximum number of filters each."""
    return b"".join([
        sent(packets.Subscribe(pid, [(it, Options(qos)) for it in filters[at : at + FILTERS_MAX]]))
        for at in range(0, len(filters), FILTERS_MAX)
    ])  # fmt: skip


def mqtt(elements: int = 100_000, size: int = PACKET_BYTES) -> Iterator[Large]:
    """``elements``: messages and acknowledgements; there are at most 10,000 filters.

    ``size``: of a packet.
    """
    yield from _connects()
    yield from _publishes(elements, size)
    yield from _subscriptions(min(elements, FILTERS_MAX))
    for kind in (kinds.PUBACK, kinds.PUBREC, kinds.PUBREL, kinds.PUBCOMP):
        name = kinds.NAMES[kind]
        yield Large(f"{name} of nothing", writing.acks(kind, [1]) * elements)
        full = Ack(kind, 1, 0, crowd())
        yield Large(f"{name} with properties", sent(full) * (elements // 1000 or 1))
        every = range(1, 1 + min(elements, IN_FLIGHT))
        yield Large(f"{name} of all identifiers", writing.acks(kind, [*every]) * 2)
    yield Large("PINGREQ", PING * elements)
    yield Large("DISCONNECT", sent(Disconnect(0, crowd())))
    yield Large("AUTH", sent(packets.Auth(0x18, crowd())))
    yield from _ended(elements)


def crowd(count: int = COUNT_MAX) -> Properties:
    """As many properties as a packet may have."""
    return Properties(user_properties=tuple([(f"{it:x}", "") for it in range(count)]))


def _connects() -> Iterator[Large]:
    will = Will(b"w/" + b"/" * 1000, bytes(WILL_BYTES), 1, True, crowd(200))
    for name, it in {
        "with a will": CONNECT._replace(will=will),
        "with properties": CONNECT._replace(properties=crowd()),
        "with a password": CONNECT._replace(user=b"u" * 30_000, password=bytes(30_000)),
    }.items():
        yield Large(f"CONNECT {name}", sent(it), connect=True)


def _ended(elements: int) -> Iterator[Large]:
    """Invalid or too large packets, each of which ends its connection."""
    head = packets.write(CONNECT, V5)
    will = bytes((head[0],)) + LONGEST + head[2:9] + b"\x06" + head[10:]  # flags: it has a will
    yield Large("CONNECT, a will of 256 MiB: ended", will + bytes(1 << 20), connect=True)
    odd = NO_PROPERTY * (WILL_BYTES // 2)
    body = head[2:12] + varint(len(odd)) + odd + head[13:]
    yield Large(
        "CONNECT, unknown properties: ended", head[:1] + varint(len(body)) + body, connect=True
    )
    for name, text in (("unknown properties", odd), ("properties that are not UTF-8", _BAD_TOLD)):
        body = b"\0\1t" + varint(len(text)) + text
        yield Large(f"PUBLISH, {name}: ended", b"\x30" + varint(len(body)) + body)
        body = b"\0\1" + varint(len(text)) + text + b"\0\1t\0"
        yield Large(f"SUBSCRIBE, {name}: ended", b"\x82" + varint(len(body)) + body)
    body = b"\xff\xff" + BAD_TEXT + b"\0"
    yield Large("PUBLISH, a topic that is not UTF-8: ended", b"\x30" + varint(len(body)) + body)
    many = [b"t"] * (FILTERS_MAX - 1) + [BAD_TEXT]
    yield Large("SUBSCRIBE, the last filter not UTF-8: ended", subscribe(many))
    yield Large("UNSUBSCRIBE, the last filter not UTF-8: ended", sent(packets.Unsubscribe(1, many)))
    flight = [
        writing.publish(b"t", b"", b"\0", flags=writing.flags(2), pid=it)
        for it in range(1, 1 + min(elements, IN_FLIGHT))
    ]
    yield Large("PUBLISH of QoS 2, 65,535 in flight: ended", b"".join(flight))
    yield Large("PUBLISH of 256 MiB: ended", b"\x30" + LONGEST + bytes(1 << 20))


def _publishes(elements: int, size: int) -> Iterator[Large]:
    for qos in (0, 1, 2):
        flags, pid = writing.flags(qos), 1 if qos else 0
        tiny = writing.publish(b"t", b"", b"\0", flags=flags, pid=pid)
        # More of QoS 1 and 2 would be unacknowledged than may be.
        count = elements if not qos else min(elements, 1000)
        yield Large(f"PUBLISH of QoS {qos}, many", tiny * count)
        own = [writing.publish(b"%x" % it, b"", b"\0", flags=flags, pid=pid) for it in range(count)]
        yield Large(f"PUBLISH of QoS {qos}, topics of their own", b"".join(own))
        heard = [subscribe([b"#", b"+", b"+/#"], qos)]
        yield Large(f"PUBLISH of QoS {qos}, heard", b"".join(own), heard)
        said = [
            sent(packets.Publish(b"t", b"", qos, pid=pid, properties=Properties(
                user_properties=((f"{it:x}", ""),), message_expiry_s=1000, response_topic="r",
            )))
            for it in range(count)
        ]  # fmt: skip
        yield Large(f"PUBLISH of QoS {qos}, properties of their own", b"".join(said), heard)
        full = packets.Publish(b"t", b"", qos, pid=pid, properties=crowd())
        yield Large(f"PUBLISH of QoS {qos}, properties", sent(full) * (count // 1000 or 1), heard)
        whole = size - writing.size(1, 0, qos, b"\0") - 3
        yield Large(
            f"PUBLISH of QoS {qos}, the longest",
            writing.publish(b"t", bytes(whole), b"\0", flags=flags, pid=pid), heard,
        )  # fmt: skip
    deep = b"/" * TEXT_BYTES
    levels = [b"+/" * it + b"#" for it in range(LEVELS)]
    yield Large(
        "PUBLISH, 65,535 levels", sent(packets.Publish(deep, b"")) * 10, [subscribe(levels)]
    )
    aliased = [
        sent(packets.Publish(b"%x" % it, b"", properties=Properties(topic_alias=it)))
        for it in range(1, min(elements, TEXT_BYTES))
    ]
    yield Large("PUBLISH, aliases", b"".join(aliased))
    yield Large("PUBLISH, retained", b"".join([
        sent(packets.Publish(b"r/%x" % it, b"x", retain=True)) for it in range(elements // 10)
    ]))  # fmt: skip
    kept = b"".join(
        [sent(packets.Publish(b"%x" % it + deep[:-1], b"x", retain=True)) for it in range(10)]
    )
    yield Large("PUBLISH, retained at 65,535 levels", kept)
    yield Large("SUBSCRIBE, retained at 65,535 levels", subscribe([b"#", b"+/#", b"+/+/#"]), [kept])


def _subscriptions(count: int) -> Iterator[Large]:
    deep = LEVELS - 2
    for name, filters in {
        "names": [b"%x" % it for it in range(count)],
        "wildcards": [b"%x/+/#" % it for it in range(count)],
        "levels": [b"+/" * deep + b"%x" % it for it in range(count // 100 or 1)],
        "of 65,535 levels": [b"/" * TEXT_BYTES] * 10,
        "with wildcards, too many levels": [b"+/" * 32_767] * 10,
        "refused": [b"#/"] * count,
    }.items():
        for qos in (0, 1):
            yield Large(f"SUBSCRIBE, {name}, QoS {qos}", subscribe(filters, qos))
        gone = sent(packets.Unsubscribe(2, filters))
        yield Large(f"UNSUBSCRIBE, {name}", gone, [subscribe(filters)])
    full = packets.Subscribe(1, [(b"a", Options(0))], crowd())
    yield Large("SUBSCRIBE, properties", sent(full))
