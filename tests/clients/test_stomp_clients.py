"""Clients of STOMP that know nothing of us, against a real server; and a server that is killed."""

import json
import signal
import ssl
import threading
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
import stomp
from kept_users_kit import keep, usual
from node_clients import needs_node, printed
from serving import Serving
from signed import Authority
from stomp_wire import frame, said
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from logstore.kept.users import KeptPermission

NODE_STOMP = Path(__file__).parent / "node_stomp"
WAIT_S = 30
CONNECT = frame("CONNECT", {"accept-version": "1.2", "host": "/"})
CLASSES = {
    "1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Serving(tmp_path_factory.mktemp("stomp") / "data", stomp_port=0, http_port=0)
    yield made
    code, told = made.stop()
    assert code == 0, told
    assert "Traceback" not in told


class Heard(stomp.ConnectionListener):
    """What a client is told; ``wait`` until there are so many messages or receipts."""

    def __init__(self):
        self.messages, self.receipts, self.errors = [], [], []
        self._news = threading.Condition()

    def _note(self, where, what):
        with self._news:
            where.append(what)
            self._news.notify_all()

    def on_message(self, frame):
        self._note(self.messages, frame)

    def on_receipt(self, frame):
        self._note(self.receipts, frame.headers["receipt-id"])

    def on_error(self, frame):
        self._note(self.errors, frame)

    def wait(self, of, count):
        with self._news:
            assert self._news.wait_for(lambda: len(of) >= count or self.errors, WAIT_S)
        assert not self.errors, self.errors[0].body
        return of[:count]


def client_of(address, version="1.2", login=("guest", "guest"), **given):
    made = CLASSES[version]([address], **given)
    heard = Heard()
    made.set_listener("heard", heard)
    made.connect(*login, wait=True)
    return made, heard


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "version", [pytest.param("1.0", marks=LONG), pytest.param("1.1", marks=LONG), "1.2"]
)
def test_stomp_py_in_each_version(server, version):
    client, heard = client_of(server.stomp, version)
    queue = f"/queue/py-{version}"
    client.subscribe(queue, id="1", ack="client-individual")
    headers = {"persistent": "true", "kind": "a\\b" if version == "1.0" else "a:b\\c\nd"}
    for n in range(3):
        client.send(queue, f"gr\u00fc\u00dfe {n}", headers=headers)
    got = heard.wait(heard.messages, 3)
    assert [it.body for it in got] == [f"gr\u00fc\u00dfe {n}" for n in range(3)]
    assert {it.headers["kind"] for it in got} == {headers["kind"]}
    for it in got[:2]:
        if version == "1.0":
            client.ack(it.headers["message-id"])
        elif version == "1.1":
            client.ack(it.headers["message-id"], "1")
        else:
            client.ack(it.headers["ack"])
    client.disconnect(receipt="bye")
    assert heard.wait(heard.receipts, 1) == ["bye"]
    again, left = client_of(server.stomp)
    again.subscribe(queue, id="1", ack="auto")
    [last] = left.wait(left.messages, 1)
    assert (last.body, last.headers["redelivered"]) == ("gr\u00fc\u00dfe 2", "true")
    again.disconnect()


@pytest.mark.long
def test_stomp_py_with_transactions_and_receipts(server):
    client, heard = client_of(server.stomp)
    name = client.begin()
    for n in range(10):
        client.send("/queue/tx", str(n), transaction=name)
    client.commit(name, headers={"receipt": "committed"})
    assert heard.wait(heard.receipts, 1) == ["committed"]
    name = client.begin()
    client.send("/queue/tx", "never", transaction=name)
    client.abort(name)
    client.subscribe("/queue/tx", id="1", ack="auto", headers={"receipt": "heard"})
    assert [it.body for it in heard.wait(heard.messages, 10)] == list("0123456789")
    client.disconnect()


@pytest.mark.long
def test_stomp_py_keeps_a_connection_with_heart_beats(server):
    client, heard = client_of(server.stomp, heartbeats=(1000, 1000))
    silent = threading.Event()
    assert not silent.wait(3.5)  # it says nothing for longer than three of them
    client.send("/queue/beats", "still here")
    client.subscribe("/queue/beats", id="1")
    heard.wait(heard.messages, 1)
    client.disconnect()


@pytest.mark.long
def test_an_error_reaches_the_client(server):
    client, heard = client_of(server.stomp)
    client.send("/exchange/none/k", "x")
    with pytest.raises(AssertionError, match="no exchange 'none' in vhost '/'"):
        heard.wait(heard.messages, 1)
    assert heard.errors[0].headers["message"] == "not_found"


@pytest.mark.long
def test_stomp_py_with_tls_and_a_certificate_in_place_of_a_login(tmp_path):
    authority = Authority(tmp_path / "signed")
    cert, key = authority.server()
    usual(tmp_path / "data")
    keep(tmp_path / "data", KeptPermission("al", "/", ".*", ".*", ".*"))
    server = Serving(
        tmp_path / "data", tls_cert=cert, tls_key=key, tls_client_ca=authority.path,
        tls_client_user_rules="RULE:CN=([^,]*).*/$1/", stomp_tls_port=0,
    )  # fmt: skip
    try:
        port = server.tls["stomp"][1]
        mine, secret = authority.client("al")
        client = stomp.StompConnection12([("localhost", port)])
        client.set_ssl(
            [("localhost", port)], ca_certs=str(authority.path), cert_file=str(mine),
            key_file=str(secret), ssl_version=ssl.PROTOCOL_TLS_CLIENT,
        )  # fmt: skip
        heard = Heard()
        client.set_listener("", heard)
        client.connect(wait=True)
        client.send("/queue/tls", "sealed", headers={"user-id": "al"})
        client.subscribe("/queue/tls", id="1")
        [message] = heard.wait(heard.messages, 1)
        assert (message.body, message.headers["user-id"]) == ("sealed", "al")
        client.disconnect()
    finally:
        server.stop()


def test_stomp_over_websocket_as_browsers_speak_it(server):
    host, port = server.http
    with connect(f"ws://{host}:{port}/ws/stomp", subprotocols=["v12.stomp", "v11.stomp"]) as it:
        assert it.subprotocol == "v12.stomp"
        it.send(CONNECT.decode())
        connected = it.recv(WAIT_S)
        assert connected.startswith("CONNECTED\n")  # a message of text
        it.send("SUBSCRIBE\nid:0\ndestination:/queue/ws\n\n\0")
        it.send("SEND\ndestination:/queue/ws\n\nhel")
        it.send("lo\0\n")
        assert it.recv(WAIT_S).endswith("\n\nhello\0")
        it.send(b"SEND\ndestination:/queue/ws\ncontent-length:2\n\n\xff\0\0")
        assert it.recv(WAIT_S).endswith(b"\n\n\xff\0\0")
        it.send("DISCONNECT\nreceipt:bye\n\n\0")
        assert "receipt-id:bye" in it.recv(WAIT_S)
        with pytest.raises(ConnectionClosed):
            it.recv(WAIT_S)
        assert it.close_code == 1000


@needs_node
@pytest.mark.long
def test_stompjs_over_websocket(server, tmp_path):
    host, port = server.http
    got = printed(tmp_path, "stompjs.js", f"ws://{host}:{port}/ws/stomp", of=NODE_STOMP)
    assert got == [
        ["version", "1.2"], ["text", "gr\u00fc\u00dfe\n:\\"], ["bytes", [0, 255, 10]],
        ["in a transaction", "x"], ["last", ""],
    ]  # fmt: skip


@needs_node
@pytest.mark.long
def test_stompit(server, tmp_path):
    host, port = server.stomp
    got = printed(tmp_path, "stompit.js", host, str(port), of=NODE_STOMP)
    assert got == ["text/plain", "hello"]


def asked(server, path, method="GET"):
    host, port = server.http
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    request.add_header("authorization", "Basic " + b64encode(b"guest:guest").decode())
    request.add_header("x-logstore", "1")
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        body = answer.read()
    return json.loads(body) if body else None


@pytest.mark.long
def test_rabbitmqs_api_lists_stomp_connections_and_closes_them(server):
    client, heard = client_of(server.stomp)
    client.subscribe("/queue/listed", id="1", ack="client", headers={"receipt": "r"})
    heard.wait(heard.receipts, 1)
    [it] = [it for it in asked(server, "/api/connections") if it["protocol"] == "STOMP 1.2"]
    assert (it["user"], it["vhost"], it["channels"]) == ("guest", "/", 1)
    assert it["recv_oct"] > 0
    [channel] = asked(server, "/api/channels")
    assert (channel["consumer_count"], channel["name"]) == (1, f"{it['name']} (1)")
    [consumer] = asked(server, "/api/consumers")
    assert consumer["queue"]["name"] == "listed"
    [own] = [it for it in asked(server, "/api/v1/connections")["items"] if it["door"] == "stomp"]
    assert own["user"] == "guest"
    asked(server, f"/api/connections/{quote(it['name'])}", "DELETE")
    with pytest.raises(AssertionError, match="Closed via management plugin"):
        heard.wait(heard.messages, 1)


# A server that is killed


def conversation(address, *frames):
    """What is answered to these, until all receipts that they ask for have come."""
    import socket

    raw, wanted = b"", sum(b"\nreceipt:" in it for it in frames)
    with socket.create_connection(address, WAIT_S) as it:
        it.sendall(b"".join(frames))
        while raw.count(b"RECEIPT\n") < wanted:
            part = it.recv(1 << 16)
            assert part, raw
            raw += part
    return said(raw[: raw.rfind(b"\0") + 1], "1.2")


@pytest.mark.long
def test_what_has_its_receipt_outlives_kill_9(tmp_path):
    """Messages, transactions, acknowledgements, durable subscriptions."""
    data = tmp_path / "data"
    server = Serving(data, stomp_port=0)
    lasting = {"destination": "/topic/t", "id": "d", "durable": "true", "auto-delete": "false"}
    sent = [frame("SEND", {"destination": "/queue/a"}, b"%d" % n) for n in range(200)]
    begun = frame("SUBSCRIBE", {**lasting, "receipt": "1"})
    conversation(server.stomp, CONNECT, begun, frame("DISCONNECT", {"receipt": "bye"}))
    got = conversation(
        server.stomp, CONNECT,
        *sent,
        frame("SEND", {"destination": "/queue/a", "receipt": "2"}, b"last"),
        frame("BEGIN", {"transaction": "t"}),
        *[frame("SEND", {"destination": "/queue/b", "transaction": "t"}, b"x") for _ in range(9)],
        frame("COMMIT", {"transaction": "t", "receipt": "3"}),
        frame("BEGIN", {"transaction": "u"}),
        frame("SEND", {"destination": "/queue/b", "transaction": "u"}, b"never"),
        frame("SEND", {"destination": "/topic/t", "receipt": "4"}, b"kept"),
    )  # fmt: skip
    assert [it["receipt-id"] for it in got if it.command == "RECEIPT"] == list("234")
    server.stop(signal.SIGKILL)
    server = Serving(data, stomp_port=0)
    try:
        client, heard = client_of(server.stomp)
        client.subscribe("/queue/a", id="a", ack="auto")
        expected = [*map(str, range(200)), "last"]
        assert [it.body for it in heard.wait(heard.messages, 201)] == expected
        client.subscribe("/queue/b", id="b", ack="auto")
        heard.wait(heard.messages, 210)
        client.subscribe(
            "/topic/t", id="d", ack="auto", headers={"durable": "true", "auto-delete": "false"}
        )
        last = heard.wait(heard.messages, 211)[-1]
        assert (last.body, last.headers["subscription"]) == ("kept", "d")
        client.disconnect()
    finally:
        server.stop()
