"""How a client comes in: versions, ids, sessions, and every CONNECT that is refused."""

import pytest
from mqtt_kit import PACKET_BYTES_MAX, VERSIONS, connect

from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.packets import Connack, Disconnect, Ping, Will
from logstore.mqtt.properties import NONE, Properties

PROMISED = Properties(
    receive_maximum=1024, topic_alias_maximum=65_535, maximum_packet_size=PACKET_BYTES_MAX
)


def refused(found):
    """The reason of a CONNACK that lets nobody in."""
    assert isinstance(found, Connack)
    assert not found.session_present  # [MQTT-3.2.2-6]
    assert found.reason
    return found.reason


def test_a_client_of_version_5_is_told_what_it_may_send(door):
    _, found = door.come()
    assert found == Connack(False, 0, PROMISED)


def test_a_client_of_version_3_is_told_that_it_is_in(door):
    _, found = door.come(version=V311)
    assert found == Connack(False, 0, NONE)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_an_id_gets_one(door, version):
    peer, found = door.come("", version=version)
    assert found.reason == 0
    if version == V5:
        assert found.properties.assigned_client_id == "auto-0"
    assert peer.session.come.client == "auto-0"


def test_a_client_of_version_3_without_an_id_has_no_session_that_lasts(door):
    peer, found = door.come("", version=V311, clean=False)
    assert refused(found) == 2
    assert peer.over


def test_a_client_id_has_up_to_256_bytes(door):
    assert door.come("ü" * 128)[1].reason == 0
    assert refused(door.come("ü" * 128 + "x")[1]) == reasons.BAD_CLIENT_ID
    assert refused(door.come("x" * 257, version=V311)[1]) == 2


def test_an_authentication_by_steps_is_refused(door):
    _, found = door.come(authentication_method="SCRAM-SHA-256")
    assert refused(found) == reasons.BAD_METHOD


# [MQTT-3.1.2-2]: other versions, which are told so in the words of theirs
@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"\x10\x0f\0\6MQIsdp\3\2\0\0\0\1c", b"\x20\2\0\1"),
        (b"\x10\x0d\0\4MQTT\x84\2\0\0\0\1c", b""),
        (b"\x10\x0d\0\4MQTT\3\2\0\0\0\1c", b"\x20\2\0\1"),
        (b"\x10\x0e\0\4MQTT\6\2\0\0\0\0\1c", None),
        (b"\x10\x0e\0\4MQTX\5\2\0\0\0\0\1c", b""),
        (b"\x10\x02\0\4", b""),
    ],
)
def test_other_versions_of_the_protocol(door, raw, answer):
    peer = door.connect()
    peer.give(raw)
    assert peer.over
    if raw[8:9] == b"\x84":
        answer = peer.got  # of a bridge, which tries 4 when that ends
        assert answer[:2] in (b"\x20\2", b"\x20\x2f") or answer[0] == 0x20
    elif answer is None:
        [found] = peer.packets()
        assert refused(found) == reasons.UNSUPPORTED_VERSION
    else:
        assert peer.got == answer


# What the standard calls malformed, and a will that can't be published: a row each
CONNECT = b"\0\4MQTT\5"
WILL = b"\x06\0\0\0\0\1c"
REFUSED = {
    "reserved flag": (CONNECT + b"\3\0\0\0\0\1c", reasons.MALFORMED),
    "will of QoS 3": (CONNECT + b"\x1e\0\0\0\0\1c\0\0\1w\0\0", reasons.MALFORMED),
    "twice the same property": (
        CONNECT + b"\2\0\0\x06\x21\0\1\x21\0\1\0\1c", reasons.PROTOCOL_ERROR),
    "receive maximum 0": (CONNECT + b"\2\0\0\3\x21\0\0\0\1c", reasons.PROTOCOL_ERROR),
    "client id is no UTF-8": (CONNECT + b"\2\0\0\0\0\1\xff", reasons.MALFORMED),
    "something behind": (CONNECT + b"\2\0\0\0\0\1cx", reasons.MALFORMED),
    "will at a wildcard": (CONNECT + WILL + b"\0\0\1#\0\0", reasons.BAD_TOPIC),
    "will at no topic": (CONNECT + WILL + b"\0\0\0\0\0", reasons.BAD_TOPIC),
    "will at $SYS": (CONNECT + WILL + b"\0\0\4$SYS\0\0", reasons.BAD_TOPIC),
    "will with a NUL": (CONNECT + WILL + b"\0\0\1\0\0\0", reasons.MALFORMED),
    "will that is to be answered at a wildcard": (
        CONNECT + WILL + b"\4\x08\0\1#\0\1w\0\0", reasons.PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_connect_has_its_reason_code(door, row):
    body, code = row
    peer = door.connect()
    peer.give(bytes((0x10, len(body))) + body)
    [found] = peer.packets()
    assert refused(found) == code
    assert peer.over
    assert peer.session.closed


def test_a_malformed_connect_of_version_3_just_ends(door):
    peer = door.connect()
    peer.give(b"\x10\x0d\0\4MQTT\4\3\0\0\0\1c")
    assert (peer.got, peer.over) == (b"", True)


@pytest.mark.parametrize("raw", [b"\xc0\0", b"\x30\5\0\1ab", b"\x11\0", b"\0", b"\xff"])
def test_the_first_packet_is_a_connect(door, raw):
    """[MQTT-3.1.0-1]"""
    peer = door.connect()
    peer.give(raw)
    assert (peer.got, peer.over) == (b"", True)
    assert "not a CONNECT" in peer.session.closed


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP"),
        (b"\x16\3\1\0\5hello", "mqtt.tls.port"),
        (b"\0\0\0\x1a\0\x12\0\4\0\0\0\1", "the peer speaks the Kafka protocol: MQTT is served"),
    ],
)
def test_another_protocol_is_told_from_this_one(door, raw, words):
    peer = door.connect()
    peer.give(raw)
    assert words in peer.session.closed


def test_a_second_connect_is_a_protocol_error(door):
    """[MQTT-3.1.0-2]"""
    peer, _ = door.come()
    assert peer.ask(connect()).reason == reasons.PROTOCOL_ERROR
    assert peer.over


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connect_that_is_too_long_is_refused_by_its_head(door, version):
    peer = door.connect()
    raw = packets.write(connect(version=version, will=Will(b"w", bytes(65_535), 0, False)), version)
    peer.version = version
    peer.give(raw[:20])
    found = peer.packets()
    assert [refused(it) for it in found] == ([reasons.TOO_LARGE] if version == V5 else [])
    assert peer.over


def test_a_connect_byte_by_byte(door):
    peer = door.connect()
    raw = packets.write(connect(will=Will(b"w", b"gone", 1, True), user=b"al", password=b"x"), V5)
    for byte in raw:
        assert peer.packets() == []
        peer.give(bytes((byte,)))
    assert peer.packets() == [Connack(False, 0, PROMISED)]


def test_what_comes_right_behind_the_connect_is_taken_once_it_is_in(door):
    door.is_closed = True
    peer = door.connect()
    peer.send(connect(), Ping(kinds.PINGREQ))
    assert peer.packets() == []
    for then in door.opening:
        then(door.model)
    door.run()
    assert peer.packets() == [Connack(False, 0, PROMISED), Ping(kinds.PINGRESP)]


def test_what_comes_in_one_read_with_the_connect_is_taken(door):
    peer = door.connect()
    peer.send(connect(), Ping(kinds.PINGREQ), Ping(kinds.PINGREQ))
    assert [type(it) for it in peer.packets()] == [Connack, Ping, Ping]


def test_who_says_nothing_has_ten_seconds(door):
    peer = door.connect()
    peer.look()
    door.later(9.9)
    assert not peer.over
    door.later(0.2)
    assert peer.over


# Sessions


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_present_where_it_lasts(door, version):
    lasting = {"clean": False} | ({"expiry_s": 60} if version == V5 else {})
    for present in (False, True):
        peer, found = door.come(version=version, **lasting)
        assert found.session_present == present
        peer.send(Disconnect())
        assert peer.over


def test_a_clean_start_ends_the_session_that_there_is(door):
    door.come(clean=False, expiry_s=60)[0].send(Disconnect())
    assert not door.come(clean=True, expiry_s=60)[1].session_present


def test_a_client_that_comes_again_takes_over(door):
    first, _ = door.come(clean=False, expiry_s=60)
    second, found = door.come(clean=False, expiry_s=60)
    assert found.session_present
    [told] = first.packets()
    assert (told.reason, first.over) == (reasons.TAKEN_OVER, True)
    assert not second.over


def test_a_client_of_version_3_that_is_taken_over_just_ends(door):
    first, _ = door.come(version=V311)
    door.come(version=V311)
    assert (first.packets(), first.over) == ([], True)


@pytest.mark.parametrize("asked", [0, None])
def test_a_session_without_an_expiry_gets_none_as_it_leaves(door, asked):
    """3.14.2.2.2"""
    peer, _ = door.come(expiry_s=asked)
    found = peer.ask(Disconnect(0, Properties(session_expiry_s=60)))
    assert found.reason == reasons.PROTOCOL_ERROR


def test_an_expiry_may_be_another_one_at_the_end(door):
    peer, _ = door.come(clean=False, expiry_s=60)
    peer.send(Disconnect(0, Properties(session_expiry_s=0)))
    assert not door.come(clean=False)[1].session_present


# Wills


@pytest.mark.parametrize(
    ("how", "event"),
    [
        (Disconnect(), "forgotten"),
        (Disconnect(reasons.DISCONNECT_WITH_WILL), "left"),
        (Disconnect(reasons.UNSPECIFIED), "left"),
        (connect(), "left"),  # a protocol error
        (None, "left"),  # the socket is lost
    ],
)
def test_a_will_is_wanted_unless_the_client_says_goodbye(door, how, event):
    peer, _ = door.come(will=Will(b"w", b"gone", 1, True, Properties(will_delay_s=5)))
    will, session_s = door.model.wills.there["c"]
    assert (will.topic, will.payload, will.qos, will.retain) == (b"w", b"gone", 1, True)
    assert (will.delay_s, session_s) == (5, 0)
    if how is None:
        peer.end()
    else:
        peer.send(how)
    door.run()
    assert door.model.wills.events == [(event, "c")]


def test_a_client_that_is_not_let_in_leaves_no_will(door):
    door.is_closed = True
    peer = door.connect()
    peer.send(connect(clean=False, expiry_s=60, will=Will(b"w", b"gone", 1, True)))
    door.opening[0](door.model)  # its session is being kept
    peer.end()
    door.run()
    assert door.model.wills.events == [("given up", "c")]
