"""Each refusal, asked of a real rabbitmq-server: it says the same, but for what is named."""

import socket

import pytest
from amqp_refused import FULL, REFUSED, SETUP, STATE_ERRORS, Publish
from amqp_wire import ASKED, Closed, Line
from rabbit_differences import SILENT, TEXTS
from rabbit_parts import RealRabbit, needs_rabbitmq

from logstore.amqp import frames, methods

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

EVERYTHING = REFUSED | {
    name: (asked, expected)
    for name, (number, asked, expected) in STATE_ERRORS.items()
    if number == 1
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    server = RealRabbit(tmp_path_factory.mktemp("rabbit"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def other(real):
    """A connection that has made what the cases need."""
    line = Line(real.amqp, "/", [1])
    for method in SETUP:
        assert not isinstance(line.tell(1, method), Closed), method
    line.tell(1, FULL.method, FULL.properties, b"x")
    line.tell(1, methods.QueueDeclare(0, "q", True, False, False, False, False, {}))
    yield line
    line.end()


def said(line, asked):
    """What it closes the channel or the connection with."""
    if isinstance(asked, Publish):
        line.tell(1, asked.method, asked.properties, b"x")
    elif type(asked) not in ASKED or asked == methods.ChannelOpen():
        line._send(1, asked)
    else:
        return closing(line.tell(1, asked))
    return closing(line.tell(1, methods.BasicQos(0, 0, False)))


def closing(found):
    if not isinstance(found, Closed):
        return found
    kind = methods.ChannelClose if found.what == "channel" else methods.ConnectionClose
    return kind(found.code, found.text, found.class_id, found.method_id)


@pytest.mark.parametrize("name", EVERYTHING)
def test_rabbitmq_says_the_same(real, other, name):
    asked, expected = EVERYTHING[name]
    line = Line(real.amqp, "/", [1])
    found = said(line, asked)
    line.end()
    if name in TEXTS:
        assert repr(found) == TEXTS[name].theirs
    else:
        assert found == expected


def test_what_is_said_to_be_otherwise_is_among_the_cases():
    assert TEXTS.keys() <= EVERYTHING.keys()


HANDSHAKES = {
    "no such host": ([methods.ConnectionTuneOk(2047, 131_072, 0), methods.ConnectionOpen("no")],
        methods.ConnectionClose(530, "NOT_ALLOWED - vhost no not found", 10, 40)),
    "frames that are too small": ([methods.ConnectionTuneOk(2047, 1024, 0)],
        methods.ConnectionClose(530, "NOT_ALLOWED - negotiated frame_max = 1024 is lower than the "
        "minimum allowed value (4096)", 10, 31)),
    "frames that are too large": ([methods.ConnectionTuneOk(2047, 200_000, 0)],
        methods.ConnectionClose(530, "NOT_ALLOWED - negotiated frame_max = 200000 is higher than "
        "the maximum allowed value (131072)", 10, 31)),
    "too many channels": ([methods.ConnectionTuneOk(3000, 131_072, 0)],
        methods.ConnectionClose(530, "NOT_ALLOWED - negotiated channel_max = 3000 is higher than "
        "the maximum allowed value (2047)", 10, 31)),
}  # fmt: skip
PLAIN = b"\0guest\0guest"


def shake_hands(real, start, rest):
    """The server's last word."""
    with socket.create_connection(real.amqp, 20) as sock:
        sock.sendall(frames.PROTOCOL)
        data, sent, found = b"", False, None
        while not isinstance(found, methods.ConnectionClose):
            try:
                more = sock.recv(1 << 16)
            except ConnectionResetError:
                return found
            if not more:
                return found
            data += more
            while len(data) >= 7 and len(data) >= 8 + int.from_bytes(data[3:7]):
                size = int.from_bytes(data[3:7])
                found, data = methods.decode(data[7 : 7 + size]), data[8 + size :]
                if isinstance(found, methods.ConnectionStart):
                    sock.sendall(frames.method_frame(0, start))
                elif not sent:
                    sent = True
                    sock.sendall(b"".join(frames.method_frame(0, it) for it in rest))
        return found


@pytest.mark.parametrize("name", HANDSHAKES)
def test_rabbitmq_ends_a_handshake_with_the_same(real, name):
    rest, expected = HANDSHAKES[name]
    start = methods.ConnectionStartOk({}, "PLAIN", PLAIN, "en_US")
    found = shake_hands(real, start, rest)
    if name in SILENT:
        assert not isinstance(found, methods.ConnectionClose)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        (True, methods.ConnectionClose(
            403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For "
            "details see the broker logfile.", 0, 0)),
        (False, None),
    ],
)  # fmt: skip
def test_rabbitmq_refuses_a_login_with_the_same(real, able, expected):
    able = {"capabilities": {"authentication_failure_close": able}}
    start = methods.ConnectionStartOk(able, "PLAIN", b"\0guest\0no", "en_US")
    found = shake_hands(real, start, [])
    assert found == expected if expected else isinstance(found, methods.ConnectionStart)


def test_rabbitmq_refuses_an_unknown_mechanism_without_a_word(real):
    start = methods.ConnectionStartOk({}, "NOPE", b"", "en_US")
    assert isinstance(shake_hands(real, start, []), methods.ConnectionStart)
    assert "an unknown mechanism" in SILENT
