"""What a read brings, taken apart: alike however it is cut, and nothing behind a bad packet."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_drawn import PIDS, VERSIONS, acks, any_of, of_clients, publishes

from logstore.mqtt import fields, kinds, packets, properties, reading, reasons, writing
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.reading import Acked, Other, Run, Topics

MAX = 1 << 28
MANY = 1 << 20


def read(raw, version=V5, bytes_max=MAX, most=MANY, **more):
    return reading.read(raw, version, bytes_max, Topics(), most=most, **more)


def packets_of(items, version):
    """One by one, as they are when nobody gathers them."""
    for it in items:
        if isinstance(it, Other):
            yield packets.read(it.first, it.body, version)
        elif isinstance(it, Acked):
            yield from (packets.Ack(it.kind, pid) for pid in it.pids)
        else:
            yield from messages_of(it)


def messages_of(run):
    pids = run.pids or [0] * len(run.payloads)
    found = run.properties or [b""] * len(run.payloads)
    for topic, pid, raw, payload in zip(run.topics, pids, found, run.payloads, strict=True):
        yield packets.Publish(
            topic, payload, run.qos, run.retain, run.dup, pid, properties.of_publish(raw)
        )


def in_order(those):
    """What acknowledges what the client was sent may stand before other packets, if it says
    success: so each kind by itself.
    """
    those = list(those)
    found = {
        kind: [it for it in those if it == packets.Ack(kind, getattr(it, "pid", 0))]
        for kind in (kinds.PUBACK, kinds.PUBREC, kinds.PUBCOMP)
    }
    return found, [it for it in those if not any(it in acked for acked in found.values())]


# Few topics and sizes, so that runs come about.
LIKE_EACH_OTHER = st.sampled_from([b"a", b"b", b"a/b"])


@st.composite
def streams(draw, version):
    some = st.one_of([acks(version, it) for it in kinds.ACKS])
    one = of_clients(version) | publishes(version, LIKE_EACH_OTHER) | some
    drawn = draw(st.lists(one, max_size=12))
    return [it for it in drawn for _ in range(draw(st.sampled_from([1, 1, 1, 3])))]


@given(st.data(), VERSIONS)
def test_a_read_is_its_packets(data, version):
    drawn = data.draw(streams(version))
    raw = b"".join(packets.write(it, version) for it in drawn)
    found = read(raw, version)
    assert (found.taken, found.wants, found.broken) == (len(raw), 0, None)
    assert in_order(packets_of(found.items, version)) == in_order(drawn)


@given(st.data(), VERSIONS)
def test_any_split_gives_the_same_packets(data, version):
    drawn = data.draw(streams(version))
    raw = b"".join(packets.write(it, version) for it in drawn)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    topics, got, left = Topics(), [], b""
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        left += raw[begin:end]
        found = reading.read(left, version, MAX, topics)
        assert found.broken is None
        got += packets_of(found.items, version)
        left = left[found.taken :]
        if left and found.wants:
            assert found.wants > len(left)
    assert left == b""
    assert in_order(got) == in_order(drawn)


@given(st.data(), VERSIONS)
def test_byte_by_byte(data, version):
    drawn = data.draw(st.lists(of_clients(version), max_size=3))
    raw = b"".join(packets.write(it, version) for it in drawn)
    topics, got, left = Topics(), [], b""
    for byte in raw:
        left += bytes((byte,))
        found = reading.read(left, version, MAX, topics)
        got += packets_of(found.items, version)
        left = left[found.taken :]
    assert (left, got) == (b"", drawn)


@given(st.data(), VERSIONS)
def test_what_comes_before_a_bad_packet_is_taken(data, version):
    drawn = data.draw(st.lists(publishes(version, LIKE_EACH_OTHER), max_size=6))
    bad = data.draw(st.sampled_from([
        b"\x36\x06\0\1a\0\1\0", b"\x00\x00", b"\x41\x02\0\1", b"\x30\x80\x00", b"\x32\x00",
        b"\x30\xff\xff\xff\xff\x01", b"\x30\x03\0\1#", b"\x30\x03\0\1\xff", b"\x30\x03\0\1\0",
    ]))  # fmt: skip
    raw = b"".join(packets.write(it, version) for it in drawn)
    found = read(raw + bad, version)
    assert found.broken is not None
    assert found.taken == len(raw)
    assert list(packets_of(found.items, version)) == drawn


@given(st.binary(max_size=200), VERSIONS)
def test_garbage_is_packets_or_nothing_yet_or_broken(raw, version):
    found = read(raw, version)
    assert 0 <= found.taken <= len(raw)
    assert found.broken is not None or found.wants == 0 or found.wants > len(raw) - found.taken


@given(st.data(), VERSIONS, st.integers(0, 255), st.integers(0, 10_000))
def test_a_flipped_byte_harms_no_other_packet(data, version, value, place):
    drawn = data.draw(st.lists(any_of(version), min_size=1, max_size=4))
    raw = bytearray(b"".join(packets.write(it, version) for it in drawn))
    raw[place % len(raw)] = value
    found = read(bytes(raw), version)
    assert sum(len(it.payloads) for it in found.items if isinstance(it, Run)) <= len(raw)


def test_a_run_that_breaks_within_keeps_its_columns_alike():
    good = packets.write(packets.Publish(b"a", b"x", 1, pid=99), V5)
    bad = good.replace(b"c", b"\0")
    found = read(good * 3 + bad)
    assert found.items == [Run(0x32, [b"a"] * 3, [b"x"] * 3, [99] * 3, None)]
    assert found.broken.code == reasons.PROTOCOL_ERROR
    assert found.taken == 3 * len(good)


def test_a_run_whose_first_is_bad_is_none():
    found = read(packets.write(packets.Publish(b"a", b"x", 1, pid=99), V5).replace(b"c", b"\0"))
    assert found.items == []
    assert found.broken.code == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("count", [1, 2, 3, 1024, 1025, 5000])
@pytest.mark.parametrize("kind", kinds.ACKS)
def test_acknowledgements_in_a_row(version, count, kind):
    pids = [it % 0xFFFF + 1 for it in range(count)]
    raw = writing.acks(kind, pids)
    found = read(raw + writing.PINGRESP, version)
    *acked, last = found.items
    assert last == Other(0xD0, b"")
    assert all(it.kind == kind for it in acked)
    assert [pid for it in acked for pid in it.pids] == pids
    assert len(acked) == (1 if kind != kinds.PUBREL else -(-count // 1024))
    cut = read(raw[:-1], version)
    assert cut.taken == len(raw) - 4
    assert [pid for it in cut.items for pid in it.pids] == pids[:-1]


def test_an_acknowledgement_of_id_0_among_many():
    found = read(writing.acks(kinds.PUBACK, [1, 2, 3]) + b"\x40\x02\0\0")
    assert found.broken.code == reasons.PROTOCOL_ERROR


@given(st.lists(PIDS, min_size=1, max_size=20), st.sampled_from([4, 5, 6, 7]))
def test_acknowledgements_written_together_are_those_written_alone(pids, kind):
    assert writing.acks(kind, pids) == b"".join(
        packets.write(packets.Ack(kind, pid), V311) for pid in pids
    )


@given(st.data(), VERSIONS)
def test_messages_written_together_are_those_written_alone(data, version):
    drawn = data.draw(publishes(version, st.just(b"a/b")))
    payloads = data.draw(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
    pids = data.draw(st.lists(PIDS, min_size=len(payloads), max_size=len(payloads)))
    alike = drawn._replace(qos=0, dup=False, pid=0)
    found = properties.write(drawn.properties) if version == V5 else b""
    opened = writing.opening(b"a/b")
    flags = writing.flags(0, retain=drawn.retain)
    alone = [packets.write(alike._replace(payload=it), version) for it in payloads]
    assert writing.publishes(opened, payloads, found, flags) == b"".join(alone)
    assert writing.publish(b"a/b", payloads[0], found, flags=flags) == alone[0]
    assert writing.size(3, len(payloads[0]), 0, found) == len(alone[0])
    flags = writing.flags(1, retain=drawn.retain, dup=True)
    alike = drawn._replace(qos=1, dup=True)
    alone = [
        packets.write(alike._replace(payload=it, pid=pid), version)
        for it, pid in zip(payloads, pids, strict=True)
    ]
    assert writing.publishes_with_ids(opened, payloads, pids, found, flags) == b"".join(alone)
    assert writing.publish(b"a/b", payloads[0], found, flags=flags, pid=pids[0]) == alone[0]
    assert writing.size(3, len(payloads[0]), 1, found) == len(alone[0])


@pytest.mark.parametrize("version", [V311, V5])
def test_a_packet_that_is_too_long_is_refused_by_its_head(version):
    raw = packets.write(packets.Publish(b"a", bytes(1000)), version)
    assert read(raw, version, len(raw)).broken is None
    found = read(raw[:3], version, len(raw) - 1)
    assert found.broken.code == reasons.TOO_LARGE
    assert str(len(raw)) in str(found.broken)


def test_what_is_wanted_is_the_whole_packet():
    raw = packets.write(packets.Publish(b"a", bytes(1000)), V5)
    assert read(raw[:1]).wants == read(raw[:2]).wants == 0
    assert read(raw[:3]).wants == read(raw[:-1]).wants == len(raw)


def test_a_first_byte_of_no_packet_is_refused_before_the_rest_is_there():
    for raw in (b"\x00", b"\x41", b"\x62\x80"):
        found = read(raw)
        assert (found.broken is None) == (raw[0] in kinds.FIRST.values())


def test_topics_are_looked_at_once_and_are_the_same_object():
    topics = Topics()
    raw = packets.write(packets.Publish(b"a/b", b"x"), V5)
    first = reading.read(raw + raw.replace(b"x", b"y"), V5, MAX, topics).items[0].topics[0]
    assert reading.read(raw, V5, MAX, topics).items[0].topics[0] is first
    for number in range(reading.KNOWN_MAX + 10):  # it forgets rather than grow
        topics.checked(b"%d" % number)
    assert topics.checked(b"a/b") == b"a/b"


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (b"a/+", reasons.BAD_TOPIC), (b"#", reasons.BAD_TOPIC), (b"a\0", reasons.MALFORMED),
        (b"\xff", reasons.MALFORMED), (b"\xed\xa0\x80", reasons.MALFORMED),
    ],
)  # fmt: skip
def test_names_that_no_topic_has(topic, code):
    raw = writing.publish(topic, b"x", b"\0")
    assert read(raw).broken.code == code


def test_a_topic_is_empty_only_where_an_alias_may_stand_for_it():
    assert read(writing.publish(b"", b"x", b"\0")).items[0].topics[0] == b""
    assert read(writing.publish(b"", b"x"), V311).broken.code == reasons.MALFORMED


def test_only_as_many_as_are_asked_for():
    raw = packets.write(packets.Ping(kinds.PINGREQ), V5) * 10
    assert read(raw, most=3).taken == 6
    assert read(raw, at=6, most=100).taken == len(raw)
    raw = writing.publish(b"a", b"x", b"\0") * 5 + writing.publish(b"b", b"x", b"\0") * 5
    found = read(raw, most=7)
    assert found.taken == 7 * len(raw) // 10
    assert [it.topics for it in found.items] == [[b"a"] * 5 + [b"b"] * 2]
    raw = writing.acks(kinds.PUBACK, range(1, 3000))
    assert 1000 <= read(raw, most=1000).taken // 4 <= 1000 + reading.WINDOW // 4


def test_the_longest_topic_has_its_length():
    topic = b"/" * 65_535
    raw = writing.publish(topic, b"x", b"\0")
    assert read(raw).items[0].topics[0] == topic
    assert writing.size(len(topic), 1, 0, b"\0") == len(raw)
    assert fields.data(topic)[:2] == b"\xff\xff"


def test_a_read_of_one_topic_makes_one_run():
    """The cost goes by bytes, not by messages: one object for all of them."""
    raw = reduce(bytes.__add__, (writing.publish(b"t", b"%03d" % it, b"\0") for it in range(500)))
    [run] = read(raw).items
    assert [*map(int, run.payloads)] == list(range(500))
    assert (run.pids, run.properties) == (None, None)
