"""What strangers can do to a server that has users: nothing that fills it or holds it up."""

import random
import socket
import struct
from time import monotonic

import pytest
from kept_users_kit import usual
from serving import Serving, resident_bytes

from logstore.protocols.kafka.sasl import EARLY_BYTES_MAX

DEADLINE_S = 30
VERSIONS = struct.pack(">ihhih", 10, 18, 99, 1, -1)  # of a version that nobody knows: answered
SLACK_BYTES = 24 << 20  # what a thousand connections take, and what the interpreter keeps


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    data = tmp_path_factory.mktemp("secured") / "data"
    usual(data)
    running = Serving(data, resp_port=-1)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def connect(server):
    sock = socket.create_connection(server.endpoint, DEADLINE_S)
    sock.settimeout(DEADLINE_S)
    return sock


def ended(sock):
    """Whether the server has closed it, once all that it has sent is read."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    sock.close()
    return True


def logs_in(server):
    """Whether others are served."""
    with connect(server) as sock:
        sock.sendall(struct.pack(">ihhihh5s", 17, 17, 1, 1, -1, 5, b"PLAIN"))
        assert sock.recv(1 << 16)
        token = b"\0al\0pencil"
        sock.sendall(struct.pack(">ihhihi", 14 + len(token), 36, 0, 2, -1, len(token)) + token)
        answer = sock.recv(1 << 16)
        return answer[8:10] == b"\0\0"


@pytest.mark.long
def test_a_stranger_who_asks_for_something_is_closed_and_others_log_in(secured):
    with connect(secured) as sock:
        sock.sendall(struct.pack(">ihhihi", 14, 3, 1, 1, -1, -1))
        assert sock.recv(100) == b""
    assert logs_in(secured)


@pytest.mark.long
@pytest.mark.parametrize("size", [2**31 - 1, 100 << 20, EARLY_BYTES_MAX + 1])
def test_a_thousand_sizes_that_no_login_has_take_no_memory(secured, size):
    before = resident_bytes(secured)
    socks = [connect(secured) for _ in range(1000)]
    for sock in socks:
        sock.sendall(struct.pack(">i", size) + b"x" * 100)
    assert all(ended(sock) for sock in socks)
    assert resident_bytes(secured) < before + SLACK_BYTES
    assert logs_in(secured)


@pytest.mark.long
def test_a_thousand_half_tokens_take_no_memory_and_are_given_up(secured):
    before = resident_bytes(secured)
    socks = [connect(secured) for _ in range(1000)]
    for sock in socks:
        sock.sendall(struct.pack(">ihhih", EARLY_BYTES_MAX, 17, 1, 1, -1))
        sock.sendall(bytes(EARLY_BYTES_MAX - 100))  # and nothing more
    assert logs_in(secured)
    assert resident_bytes(secured) < before + SLACK_BYTES + 1000 * (EARLY_BYTES_MAX + 8192)
    assert all(ended(sock) for sock in socks)  # ten seconds later


@pytest.mark.long
def test_who_says_nothing_is_given_up(secured):
    socks = [connect(secured) for _ in range(10)]
    assert all(ended(sock) for sock in socks)


@pytest.mark.long
def test_who_reads_no_answers_makes_the_server_keep_none(secured):
    before = resident_bytes(secured)
    sock = connect(secured)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(1)
    until, sent = monotonic() + DEADLINE_S, 0
    try:
        while monotonic() < until and sent < 200 << 20:
            sent += sock.send(VERSIONS * 1000)
    except OSError:  # it is not read from, or it is closed
        pass
    assert resident_bytes(secured) < before + SLACK_BYTES
    assert logs_in(secured)
    sock.close()


@pytest.mark.long
def test_garbage_from_strangers_harms_nobody(secured):
    seed = 12
    chance = random.Random(seed)
    starts = [b"", VERSIONS, struct.pack(">ihhihh5s", 17, 17, 0, 1, -1, 5, b"PLAIN")]
    for _ in range(300):
        with connect(secured) as sock:
            body = chance.randbytes(chance.randrange(1, 300))
            framed = struct.pack(">i", len(body)) + body
            sock.sendall(chance.choice(starts) + chance.choice([body, framed]))
            sock.shutdown(socket.SHUT_WR)
            assert ended(sock)
    assert logs_in(secured)
