"""Peers at the wrong port: the log says what they speak."""

import struct

import pytest
from door_kit import Talk
from resp_kit import FakeDoor

from logstore.foreign import speaks_kafka

TLS = bytes.fromhex("16030100c2010000be0303") + bytes(range(40))
KAFKA = struct.pack(">ihhih", 26, 18, 4, 1, 7) + b"rdkafka" + bytes(9)  # ApiVersions of librdkafka
HTTP = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.0\r\n\r\n",
    b"POST /x HTTP/1.1\r\n",
    b"PUT /x HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"DELETE /x HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT x:443 HTTP/1.1\r\n",
    b"PATCH / HTTP/1.1\r\n",
    b"TRACE / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("sent", HTTP)
def test_http_at_the_kafka_port(sent):
    talk = Talk()
    talk.feed(sent)
    assert talk.session.closed == "the peer speaks HTTP: the Kafka protocol is served here"


@pytest.mark.parametrize("minor", range(5))
@pytest.mark.parametrize("frame_bytes_max", [100 << 20, 2**31 - 1])
def test_tls_at_the_kafka_port(minor, frame_bytes_max):
    talk = Talk(settings={"socket.request.max.bytes": frame_bytes_max})
    talk.feed(TLS[:2] + bytes([minor]) + TLS[3:])
    assert talk.session.closed == (
        "the peer speaks TLS: the Kafka protocol is served here, without TLS; see kafka.tls.port"
    )


def test_other_garbage_at_the_kafka_port_is_a_size_as_before():
    talk = Talk()
    talk.feed(b"\x7fELF1234")
    assert talk.session.closed.startswith("a request of 2135247942 bytes")


@pytest.mark.parametrize("sent", HTTP)
def test_http_at_the_redis_port(sent):
    one = FakeDoor().connect()
    assert one.send(sent) == b""
    assert one.session.closed == "the peer speaks HTTP: the Redis protocol is served here"


def test_tls_at_the_redis_port():
    one = FakeDoor().connect()
    assert one.send(TLS) == b""
    assert one.session.closed == (
        "the peer speaks TLS: the Redis protocol is served here, without TLS; see resp.tls.port"
    )


def test_a_kafka_client_at_the_redis_port():
    one = FakeDoor().connect()
    assert one.send(KAFKA) == b""
    assert one.session.closed == (
        "the peer speaks the Kafka protocol: the Redis protocol is served here; see kafka.port"
    )


@pytest.mark.parametrize("key", range(64))
@pytest.mark.parametrize("version", [0, 5, 40])
def test_only_what_a_client_asks_first_is_taken_for_kafka(key, version):
    assert speaks_kafka(struct.pack(">ihh", 30, key, version)) == (
        key in (3, 17, 18) and version < 32
    )


@pytest.mark.parametrize("sent", [b"\0" * 8, b"*1\r\n$4\r\n", KAFKA[:7], b"\xff" + KAFKA[1:], TLS])
def test_what_is_no_kafka(sent):
    assert not speaks_kafka(sent)


def test_a_line_that_only_begins_like_http_is_a_request_at_the_redis_port():
    one = FakeDoor().connect()
    assert one.send(b"GET HTTP\r\n") == b"$-1\r\n"
    assert one.session.closed is None
