"""Packets of MQTT: read as they were written, and whatever a peer sends."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_drawn import VERSIONS, any_of

from logstore.mqtt import kinds, packets, properties, reasons
from logstore.mqtt.fields import LENGTH_MAX, Cursor, read_varint, varint, varint_size
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.properties import Wire
from logstore.mqtt.reasons import Broken

A_PROPERTY = b"\x03\x26\x00\x00\x00\x00"  # its length is short by two


def body_of(raw):
    """The first byte, and what is behind the length."""
    size, at = read_varint(raw, 1, len(raw))
    assert at + size == len(raw)
    return raw[0], raw[at:]


@given(st.data(), VERSIONS)
def test_a_packet_is_read_as_it_was_written(data, version):
    drawn = data.draw(any_of(version))
    raw = packets.write(drawn, version)
    assert packets.read(*body_of(raw), version) == drawn
    assert packets.size_of(raw[:5]) == len(raw)


@given(st.data(), VERSIONS)
def test_a_packet_that_is_cut_is_malformed_or_another_one(data, version):
    drawn = data.draw(any_of(version))
    first, body = body_of(packets.write(drawn, version))
    for cut in (*range(min(len(body), 40)), max(len(body) - 1, 0)):
        with suppress(Broken):
            assert packets.read(first, body[:cut], version) != drawn or cut == len(body)
    with suppress(Broken):
        packets.read(first, body + b"\0", version)


@given(st.integers(0, 255), st.binary(max_size=100), VERSIONS)
def test_whatever_a_peer_sends_is_a_packet_or_broken(first, body, version):
    with suppress(Broken):
        packets.read(first, body, version)


@given(st.integers(0, LENGTH_MAX))
def test_a_number_takes_as_few_bytes_as_it_needs(value):
    raw = varint(value)
    assert len(raw) == varint_size(value)
    assert read_varint(raw, 0, len(raw)) == (value, len(raw))
    assert read_varint(raw, 0, len(raw) - 1) is None


@pytest.mark.parametrize("value", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, LENGTH_MAX])
def test_the_bounds_of_numbers(value):
    raw = varint(value)
    assert read_varint(raw + b"x", 0, 5) == (value, len(raw))
    assert len(raw) == varint_size(value)


def test_a_number_that_is_too_large_cannot_be_written():
    with pytest.raises(ValueError, match="268435456"):
        varint(LENGTH_MAX + 1)


# What the standard calls malformed, or a protocol error: a row each, with its reason code

MALFORMED, PROTOCOL_ERROR = reasons.MALFORMED, reasons.PROTOCOL_ERROR
CONNECT = b"\0\4MQTT\5"
ROWS = {
    "MQTT-3.1.2-3 reserved flag": (0x10, CONNECT + b"\3\0\0\0\0\0", V5, MALFORMED),
    "MQTT-3.1.2-12 will of QoS 3": (0x10, CONNECT + b"\x1c\0\0\0\0\0\0\0\1a\0\0", V5, MALFORMED),
    "MQTT-3.1.2-11 QoS of no will": (0x10, CONNECT + b"\x08\0\0\0\0\0", V5, MALFORMED),
    "MQTT-3.1.2-13 retained, and no will": (0x10, CONNECT + b"\x22\0\0\0\0\0", V5, MALFORMED),
    "3.1.1 password without user": (0x10, b"\0\4MQTT\4\x42\0\0\0\0\0\0", V311, MALFORMED),
    "3.1.2.2 another level": (0x10, b"\0\4MQTT\6\2\0\0\0\0\0", V5, reasons.UNSUPPORTED_VERSION),
    "3.1.2.1 another name": (0x10, b"\0\4MQTX\5\2\0\0\0\0\0", V5, reasons.UNSUPPORTED_VERSION),
    "after its last field": (0x10, CONNECT + b"\2\0\0\0\0\0x", V5, MALFORMED),
    "client id is no UTF-8": (0x10, CONNECT + b"\2\0\0\0\0\1\xff", V5, MALFORMED),
    "1.5.4-2 NUL in a client id": (0x10, CONNECT + b"\2\0\0\0\0\1\0", V5, MALFORMED),
    "1.5.4-1 surrogate": (0x10, CONNECT + b"\2\0\0\0\0\3\xed\xa0\x80", V5, MALFORMED),
    "user is no UTF-8": (0x10, CONNECT + b"\x82\0\0\0\0\0\0\1\xff", V5, MALFORMED),
    "will topic is no UTF-8": (0x10, CONNECT + b"\6\0\0\0\0\0\0\0\1\xff\0\0", V5, MALFORMED),
    "2.2.2.2 unknown property": (0x10, CONNECT + b"\2\0\0\2\x7f\0\0\0", V5, MALFORMED),
    "2.2.2.2 property of another packet": (0x10, CONNECT + b"\2\0\0\3\x23\0\1\0\0", V5, MALFORMED),
    "2.2.2.2 property of the will": (0x10, CONNECT + b"\2\0\0\5\x18\0\0\0\1\0\0", V5, MALFORMED),
    "properties longer than the packet": (0x10, CONNECT + b"\2\0\0\x7f\0\0", V5, MALFORMED),
    "property ends in the next field": (0x10, CONNECT + b"\2\0\0\2\x21\0\1\0\0", V5, MALFORMED),
    "non-minimal property length": (0x10, CONNECT + b"\2\0\0\x80\0\0\0", V5, MALFORMED),
    "3.1.2.11.2 twice": (
        0x10, CONNECT + b"\2\0\0\x0a\x11\0\0\0\1\x11\0\0\0\1\0\0", V5, PROTOCOL_ERROR),
    "3.1.2.11.3 receive maximum 0": (
        0x10, CONNECT + b"\2\0\0\3\x21\0\0\0\0", V5, PROTOCOL_ERROR),
    "3.1.2.11.4 maximum packet size 0": (
        0x10, CONNECT + b"\2\0\0\5\x27\0\0\0\0\0\0", V5, PROTOCOL_ERROR),
    "3.1.2.11.6 response information 2": (
        0x10, CONNECT + b"\2\0\0\2\x19\2\0\0", V5, PROTOCOL_ERROR),
    "3.1.2.11.7 problem information 2": (
        0x10, CONNECT + b"\2\0\0\2\x17\2\0\0", V5, PROTOCOL_ERROR),
    "3.1.2.11.10 data without a method": (
        0x10, CONNECT + b"\2\0\0\4\x16\0\1x\0\0", V5, PROTOCOL_ERROR),
    "3.1.3.2.3 payload format 2 of a will": (
        0x10, CONNECT + b"\6\0\0\0\0\0\2\1\2\0\1a\0\0", V5, PROTOCOL_ERROR),
    "MQTT-3.3.1-4 QoS 3": (0x36, b"\0\1a\0\1\0", V5, MALFORMED),
    "MQTT-3.3.1-2 DUP of QoS 0": (0x38, b"\0\1a\0", V5, MALFORMED),
    "MQTT-2.2.1-3 PUBLISH of id 0": (0x32, b"\0\1a\0\0\0", V5, PROTOCOL_ERROR),
    "3.3.2.3.4 alias 0": (0x30, b"\0\1a\3\x23\0\0", V5, PROTOCOL_ERROR),
    "3.3.2.3.4 alias twice": (0x30, b"\0\1a\6\x23\0\1\x23\0\1", V5, PROTOCOL_ERROR),
    "3.3.2.3.8 subscription id 0": (0x30, b"\0\1a\2\x0b\0", V5, PROTOCOL_ERROR),
    "3.3.2.3.2 payload format 2": (0x30, b"\0\1a\2\1\2", V5, PROTOCOL_ERROR),
    "2.1.3 PUBACK with flags": (0x41, b"\0\1", V5, MALFORMED),
    "2.1.3 PUBREL without flags": (0x60, b"\0\1", V5, MALFORMED),
    "2.1.3 kind 0": (0x00, b"", V5, MALFORMED),
    "2.1.3 AUTH in 3.1.1": (0xF0, b"", V311, MALFORMED),
    "MQTT-2.2.1-3 PUBACK of id 0": (0x40, b"\0\0", V5, PROTOCOL_ERROR),
    "3.4.2.1 PUBACK of no reason": (0x40, b"\0\1\x55", V5, PROTOCOL_ERROR),
    "PUBACK is short": (0x40, b"\0", V5, MALFORMED),
    "PUBACK is long in 3.1.1": (0x40, b"\0\1\0", V311, MALFORMED),
    "MQTT-3.8.1-1 SUBSCRIBE without flags": (0x80, b"\0\1\0\0\1a\0", V5, MALFORMED),
    "MQTT-3.8.3-2 no filter": (0x82, b"\0\1\0", V5, PROTOCOL_ERROR),
    "MQTT-2.2.1-3 SUBSCRIBE of id 0": (0x82, b"\0\0\0\0\1a\0", V5, PROTOCOL_ERROR),
    "MQTT-3.8.3-5 reserved bits": (0x82, b"\0\1\0\0\1a\x40", V5, MALFORMED),
    "3.1.1: MQTT-3-8.3-4 reserved bits": (0x82, b"\0\1\0\1a\4", V311, MALFORMED),
    "3.8.3.1 QoS 3": (0x82, b"\0\1\0\0\1a\3", V5, PROTOCOL_ERROR),
    "3.8.3.1 retain handling 3": (0x82, b"\0\1\0\0\1a\x30", V5, PROTOCOL_ERROR),
    "3.8.2.1.2 subscription id 0": (0x82, b"\0\1\2\x0b\0\0\1a\0", V5, PROTOCOL_ERROR),
    "3.8.2.1.2 two subscription ids": (0x82, b"\0\1\4\x0b\1\x0b\2\0\1a\0", V5, PROTOCOL_ERROR),
    "filter is no UTF-8": (0x82, b"\0\1\0\0\1\xff\0", V5, MALFORMED),
    "filter with a NUL": (0x82, b"\0\1\0\0\1\0\0", V5, MALFORMED),
    "filter without options": (0x82, b"\0\1\0\0\1a", V5, MALFORMED),
    "MQTT-3.10.3-2 no filter": (0xA2, b"\0\1\0", V5, PROTOCOL_ERROR),
    "MQTT-3.10.1-1 UNSUBSCRIBE without flags": (0xA0, b"\0\1\0\0\1a", V5, MALFORMED),
    "MQTT-2.2.1-3 UNSUBSCRIBE of id 0": (0xA2, b"\0\0\0\0\1a", V5, PROTOCOL_ERROR),
    "PINGREQ with a body": (0xC0, b"x", V5, MALFORMED),
    "MQTT-3.14.1-1 DISCONNECT with flags": (0xE1, b"", V5, MALFORMED),
    "3.14.2.1 DISCONNECT of no reason": (0xE0, b"\x55", V5, PROTOCOL_ERROR),
    "DISCONNECT with a body in 3.1.1": (0xE0, b"\0", V311, MALFORMED),
    "3.14.2.2.2 expiry twice": (
        0xE0, b"\0\x0a\x11\0\0\0\1\x11\0\0\0\1", V5, PROTOCOL_ERROR),
    "AUTH with flags": (0xF1, b"", V5, MALFORMED),
    "3.15.2.1 AUTH of no reason": (0xF0, b"\x55", V5, PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_wrong_with_a_packet_has_its_reason_code(row):
    first, body, version, code = row
    with pytest.raises(Broken) as caught:
        packets.read(first, body, version)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_many_properties_are_refused_before_they_fill_memory():
    pair = b"\x26\x00\x00\x00\x00"
    many = pair * (properties.COUNT_MAX + 1)
    with pytest.raises(Broken, match="over 1024 properties") as caught:
        properties.of_publish(many)
    assert caught.value.code == PROTOCOL_ERROR
    found = properties.of_publish(pair * properties.COUNT_MAX)
    assert found.user_properties == (("", ""),) * properties.COUNT_MAX


def test_each_property_has_one_row_and_one_field():
    names = [row.name for row in properties.ROWS]
    assert sorted(names) == sorted(properties.Properties._fields)
    assert len({row.id for row in properties.ROWS}) == len(names) == 27


def test_a_connect_is_shown_without_its_password():
    shown = packets.Connect(V5, True, 0, "me", user=b"al", password=b"secret")
    assert "secret" not in repr(shown)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", None), (b"\0\4MQT", None), (b"\0\4MQTT", None), (b"\0\4MQTT\5", (b"MQTT", 5)),
        (b"\0\6MQIsdp\3", (b"MQIsdp", 3)), (b"GET / HTTP/1.1", (b"T / HT", -1)),
    ],
)  # fmt: skip
def test_the_version_is_told_by_the_first_bytes(body, found):
    assert packets.level_of(body) == found


def test_a_cursor_tells_of_what_is_left():
    cursor = Cursor(b"\0\1ab", "X")
    assert cursor.utf8() == b"a"
    assert cursor.left == 1
    with pytest.raises(Broken, match="a X packet continues after its last field"):
        cursor.done()


def test_reason_codes_are_told_by_name():
    said = set().union(*reasons.OF.values())
    assert reasons.NAMES.keys() <= said | {reasons.PACKET_ID_NOT_FOUND}
    assert {it for it in said if it >= reasons.UNSPECIFIED} <= reasons.NAMES.keys()
    assert reasons.OF[kinds.DISCONNECT] > reasons.OF_CLIENTS


MOST = {
    Wire.BYTE: 1, Wire.TWO: 0xFFFF, Wire.FOUR: 0xFFFFFFFF, Wire.VARINT: LENGTH_MAX,
    Wire.TEXT: "x" * 65_535, Wire.BINARY: b"x" * 65_535, Wire.PAIR: ("x" * 65_535, ""),
}  # fmt: skip


@pytest.mark.parametrize("row", properties.ROWS, ids=lambda row: row.name)
def test_the_largest_value_of_a_property_is_read(row):
    value = MOST[row.wire]
    value = (value,) if row.name in ("subscription_ids", "user_properties") else value
    found = properties.Properties(**{row.name: value})
    if row.name == "authentication_data":
        found = found._replace(authentication_method="x")
    for packet in row.packets:
        cursor = Cursor(properties.write(found), "X")
        assert properties.read(cursor, packet) == found
        assert not cursor.left
