"""The HTTP door of a real server: clients that are slow, large, many or no clients at all.

None of them is of any consequence to the one who asks beside them.
"""

import contextlib
import json
import socket
import ssl
import subprocess

import pytest
from http_kit import answers, request
from serving import COMMAND, DEADLINE_S, Serving, resident_bytes

from logstore.protocols.http.replies.tail import TAILS_MAX

READY = request("GET", "/readyz").replace(b"host: x", b"host: localhost")
WHOAMI = request("GET", "/api/v1/whoami").replace(b"host: x", b"host: localhost")
CHUNK = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
TAIL = request("GET", "/api/v1/channels/tail?pattern=*").replace(b"host: x", b"host: localhost")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("http") / "data", resp_port=0, http_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "a bug" not in errors


def connect(server, receive_bytes=0):
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(DEADLINE_S)
    sock.connect(server.http)
    return sock


def read(sock):
    """One answer, whole."""
    data = b""
    while True:
        piece = sock.recv(1 << 16)
        data += piece
        with contextlib.suppress(AssertionError, KeyError, ValueError, IndexError):
            if found := answers(data):
                return found[0]
        assert piece, data


def ask(server, data=READY):
    with connect(server) as sock:
        sock.sendall(data)
        return read(sock)


def send_all_or_less(sock, data):
    """A server may close a connection before it has read everything."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def test_a_server_is_alive_ready_and_asks_for_no_login_without_users(server):
    assert ask(server)[0] == 200
    status, _, body = ask(server, WHOAMI)
    assert (status, json.loads(body)["login_needed"]) == (200, False)
    status, headers, body = ask(server, request("GET", "/").replace(b"host: x", b"host: [::1]"))
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert ask(server, request("GET", "/api/v1/whoami"))[0] == 403  # of a host that is not known
    nothing = request("GET", "/api/v1/groups/").replace(b"host: x", b"host: localhost")
    status, _, body = ask(server, nothing)
    assert (status, json.loads(body)["kind"]) == (404, "UnknownGroup")


@pytest.mark.long
def test_status_says_whether_a_server_is_ready(server, tmp_path):
    done = subprocess.run(
        [COMMAND, "status", "--ready", "--data", server.data], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"ready\n")
    done = subprocess.run(
        [COMMAND, "status", "--ready", "--data", tmp_path], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"no process that writes this store answers at this socket" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /api/v1/session HTTP/1.1\r\nhost: localhost\r\nx-logstore: 1\r\n"
         b"content-length: 2147483648\r\n\r\n" + bytes(1 << 20), 413),
        (b"POST /api/v1/session HTTP/1.1\r\nhost: localhost\r\nx-logstore: 1\r\n"
         b"transfer-encoding: chunked\r\n\r\n" + CHUNK * 50, 413),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * (1 << 20) + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 100_000, 431),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        (b"BREW / HTTP/1.1\r\nhost: localhost\r\nx-logstore: 1\r\n\r\n", 404),
        (b"POST /api/v1/session HTTP/1.1\r\nhost: localhost\r\nx-logstore: 1\r\n"
         b"content-length: 8000\r\n\r\n" + b"[" * 8000, 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)  # fmt: skip
def test_what_is_too_large_or_no_request_has_its_status(server, sent, status):
    before = resident_bytes(server)
    with connect(server) as sock:
        send_all_or_less(sock, sent)
        found, _, body = read(sock)
    assert found == status
    assert "Traceback" not in body.decode()
    assert ask(server)[0] == 200
    assert resident_bytes(server) - before < 8 << 20


@pytest.mark.long
def test_clients_that_send_a_byte_now_and_then_keep_nobody_out(server):
    slow = [connect(server) for _ in range(200)]
    for at in range(8):
        for sock in slow:
            sock.sendall(READY[at : at + 1])
        assert ask(server)[0] == 200
    slow[0].settimeout(DEADLINE_S)
    assert read(slow[0])[0] == 408
    for sock in slow:
        sock.close()


@pytest.mark.long
def test_a_thousand_streams_that_are_never_read_cost_little_and_keep_nobody_out(server):
    before = resident_bytes(server)
    streams = [connect(server, receive_bytes=4096) for _ in range(1000)]
    for sock in streams:
        sock.sendall(TAIL)
    begun = {sock: sock.recv(12) for sock in streams}
    listen = [sock for sock, data in begun.items() if data == b"HTTP/1.1 200"]
    assert len(listen) == TAILS_MAX
    assert set(begun.values()) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    with socket.create_connection(server.redis, DEADLINE_S) as redis:
        for _ in range(50):
            words = [b"PUBLISH", b"a", bytes(1 << 16)]
            parts = b"".join(b"$%d\r\n%b\r\n" % (len(it), it) for it in words)
            redis.sendall(b"*3\r\n" + parts)
            assert redis.recv(100) == b":%d\r\n" % TAILS_MAX
    assert ask(server)[0] == 200
    assert resident_bytes(server) - before < 100 << 20
    for sock in streams:
        sock.close()
    with connect(server) as reader:
        while b"retry" not in (said := reader.recv(1 << 16) if reader.send(TAIL) else b""):
            assert said
            while b"again later" not in said:
                said += reader.recv(1 << 16)
        with socket.create_connection(server.redis, DEADLINE_S) as redis:
            redis.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nb\r\n$5\r\nhello\r\n")
            assert redis.recv(100) == b":1\r\n"
        heard = b""
        while b"hello" not in heard:
            heard += reader.recv(1 << 16)


@pytest.mark.long
def test_a_thousand_who_never_read_the_news_keep_nobody_from_reading_them(server):
    news = TAIL.replace(b"channels/tail?pattern=*", b"events?view=overview")
    before = resident_bytes(server)
    streams = [connect(server, receive_bytes=4096) for _ in range(1000)]
    for sock in streams:
        sock.sendall(news)
    assert {sock.recv(12) for sock in streams} == {b"HTTP/1.1 200"}
    with connect(server) as reader:
        reader.sendall(news)
        heard = b""
        while heard.count(b"event: figures") < 2:
            heard += reader.recv(1 << 16)
    assert ask(server)[0] == 200
    assert resident_bytes(server) - before < 64 << 20
    for sock in streams:
        sock.close()


@pytest.mark.long
def test_requests_may_follow_each_other_without_waiting(server):
    with connect(server) as sock:
        sock.sendall(WHOAMI * 500)
        data = b""
        while data.count(b'"login_needed":false') < 500:
            data += sock.recv(1 << 16)
    assert len(answers(data)) == 500


@pytest.mark.long
def test_by_tls_it_is_the_same(tmp_path):
    made = [COMMAND, "tls", "self-signed", "--into", tmp_path / "tls"]
    subprocess.run(made, capture_output=True, check=True)
    cert, key = tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server.key"
    server = Serving(tmp_path / "data", http_port=0, tls_cert=cert, tls_key=key, http_tls_port=0)
    try:
        context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
        with (
            socket.create_connection(server.tls["http"], DEADLINE_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(READY)
            assert read(sock)[0] == 200
    finally:
        server.stop()


@pytest.mark.long
def test_a_server_whose_directory_was_moved_away_is_alive_and_not_ready(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1, http_port=0)
    try:
        assert ask(server)[0] == 200
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        while (found := ask(server))[0] == 200:  # it was seen a moment ago
            pass
        assert found[0] == 503
        assert "directory" in json.loads(found[2])["failed"]
        assert ask(server, READY.replace(b"readyz", b"healthz"))[0] == 200
    finally:
        server.stop()
