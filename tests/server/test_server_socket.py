"""Who asks the process that writes a directory: whatever is answered is a value or one line."""

import os
import threading

import pytest

from logstore import server_socket
from logstore.errors import Failed, LogstoreError, NoneOfThatName, Refused, UnknownTopic
from logstore.server_socket import ServerSocket, target_of
from logstore.storage.disk import Disk
from logstore.storage.names import DESK


class Answering:
    """A process that answers each request with these bytes."""

    def __init__(self, directory, answer):
        self.requests = []
        self._answer = answer
        self._hung = []
        self._listening = Disk().listen(os.path.join(directory, DESK))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65_536)
                self.requests.append(data)
                if self._answer is None:
                    self._hung.append(connection.dup())
                    continue
                connection.sendall(self._answer)

    def close(self):
        self._listening.shutdown(2)
        self._listening.close()
        self._thread.join()
        for connection in self._hung:
            connection.close()


@pytest.fixture
def answering(tmp_path):
    made = []

    def make(answer):
        made.append(Answering(str(tmp_path), answer))
        return made[-1], ServerSocket(str(tmp_path))

    yield make
    for it in made:
        it.close()


def whole(body, status=200):
    return b"HTTP/1.1 %d \r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_what_is_asked_and_answered(answering):
    server, ours = answering(whole(b'{"a":[1,"\\udcff"]}\n'))
    assert ours.get("queues", "a/b\udcff", vhost="/ ", filter=None, page=2) == {"a": [1, "\udcff"]}
    [line, *headers] = server.requests[0].decode().split("\r\n")
    assert line == "GET /api/v1/queues/a%2Fb%FF?vhost=%2F+&page=2 HTTP/1.1"
    assert "connection: close" in headers


def test_an_answer_without_a_body(answering):
    assert answering(b"HTTP/1.1 204 \r\n\r\n")[1].delete("vhosts", "v") is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (404, b'{"error":"no topic","kind":"UnknownTopic"}', UnknownTopic, "no topic"),
        (404, b'{"error":"no queue","kind":"NoQueue"}', NoneOfThatName, "no queue"),
        (404, b'{"error":"no such path"}', NoneOfThatName, "no such path"),
        (409, b'{"error":"it is there"}', Refused, "it is there"),
        (400, b'{"error":"a\\nb","kind":"__name__"}', Refused, "a\\nb"),
        (500, b'{"error":"internal error"}', Failed, "internal error"),
        (503, b"[]", Failed, "the process that writes the store refuses with status 503"),
        (500, b'{"kind":"x"}', Failed, "the process that writes the store refuses with status 500"),
        (502, b"<html>", Failed, "the process that writes the store refuses with status 502"),
    ],
)
def test_what_is_refused_is_raised(answering, status, body, kind, text):
    with pytest.raises(LogstoreError) as raised:
        answering(whole(body, status))[1].get("x")
    assert (type(raised.value), str(raised.value)) == (kind, text)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 \r\ncontent-le",
        b"HTTP/1.1 200 \r\ncontent-length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"garbage\r\n\r\n",
        b"+PONG\r\n",
        b"HTTP/1.1 200 \r\nx: " + b"y" * 100_000,
    ],
)
def test_half_an_answer_or_none_is_told_as_one(answering, answer):
    with pytest.raises(Failed, match=r"api\.sock: .* ended meanwhile, or does not answer: "):
        answering(answer)[1].get("queues")


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 500_000 + b"]" * 500_000])
def test_an_answer_that_is_no_json(answering, body):
    with pytest.raises(Failed, match=r"api\.sock: the answer is not JSON: "):
        answering(whole(body))[1].get("queues")


def test_a_process_that_hangs_is_waited_for_so_long(answering, monkeypatch):
    monkeypatch.setattr(server_socket, "ANSWER_S", 0.01)
    with pytest.raises(Failed, match=r"api\.sock: no reply within 0 s"):
        answering(None)[1].get("queues")


def test_lines_as_they_come(answering):
    head = b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"1\r\na\r\n", b"3\r\nb\nc\r\n", b"4\r\n\n\nd\n\r\n", b"0\r\n\r\n"]
    _, ours = answering(head + b"".join(chunks))
    assert list(ours.lines("jobs", value={})) == [b"ab", b"c", b"", b"d"]


def test_the_rows_of_all_pages(answering):
    _, ours = answering(whole(b'{"items":[1,2],"pages":3}'))
    assert list(ours.rows("queues")) == [1, 2] * 3


class Forbidden(Disk):
    def connect(self, path):
        raise PermissionError(13, "Permission denied", path)


def test_nobody_is_there_or_it_is_anothers(tmp_path):
    with pytest.raises(
        Failed, match="api\\.sock: no process that writes this store answers at this socket"
    ):
        ServerSocket(str(tmp_path)).get("server")
    Disk().listen(str(tmp_path / DESK)).close()  # as a killed process leaves it
    with pytest.raises(
        Failed, match="api\\.sock: no process that writes this store answers at this socket"
    ):
        ServerSocket(str(tmp_path)).get("server")
    with pytest.raises(Failed, match=r"api\.sock: ask the process .*: Permission denied"):
        ServerSocket(str(tmp_path), Forbidden()).get("server")
    with pytest.raises(Failed, match=r"api\.sock: no process"):
        ServerSocket(str(tmp_path / "none")).get("server")


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (("a",), {}, "/api/v1/a"),
        (("a", ""), {}, "/api/v1/a/"),
        (("a", "b/c?d#e%"), {"x": "1&2"}, "/api/v1/a/b%2Fc%3Fd%23e%25?x=1%262"),
        (("ü\udc80\n",), {"x": None}, "/api/v1/%C3%BC%80%0A"),
    ],
)
def test_targets(path, query, target):
    assert target_of(path, query) == target
