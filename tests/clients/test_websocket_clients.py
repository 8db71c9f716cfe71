"""MQTT and STOMP over WebSocket, by clients that know nothing of us, at the HTTP port."""

import json
import socket
import threading
from contextlib import ExitStack

import paho.mqtt.client as paho
import pytest
import stomp
from serving import Serving, place_of
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.long  # one of them is in test_stomp_clients.py

CONNECT = "CONNECT\naccept-version:1.2\nhost:/\n\n\0"
WAIT_S = 30
CROSS_SITE = {"additional_headers": {"Sec-Fetch-Site": "cross-site"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Serving(
        tmp_path_factory.mktemp("ws") / "data", http_port=0, amqp_port=-1, stomp_port=0,
        mqtt_port=0,
    )  # fmt: skip
    yield made
    code, said = made.stop()
    assert code == 0, said
    assert "Traceback" not in said


def url(server, path="/ws/stomp"):
    host, port = server.http
    return f"ws://{host}:{port}{path}"


def test_an_error_comes_before_the_end_and_says_why(server):
    with connect(url(server)) as it:
        it.send("NONSENSE\n\n\0")
        assert it.recv(WAIT_S).startswith("ERROR\nmessage:Illegal command\n")
        with pytest.raises(ConnectionClosed):
            it.recv(WAIT_S)
        assert it.close_code == 1008


def test_many_clients_hear_the_same(server):
    with ExitStack() as stack:
        listeners = [stack.enter_context(connect(url(server))) for _ in range(20)]
        for it in listeners:
            it.send(CONNECT)
            it.recv(WAIT_S)
            it.send("SUBSCRIBE\nid:0\ndestination:/topic/all\nreceipt:r\n\n\0")
            assert "receipt-id:r" in it.recv(WAIT_S)
        listeners[0].send("SEND\ndestination:/topic/all\n\nnews\0")
        assert all(it.recv(WAIT_S).endswith("news\0") for it in listeners)


def test_a_large_message_goes_through_both_ways(server):
    body = bytes(range(256)) * 12_000
    with connect(url(server), max_size=None) as it:
        it.send(CONNECT)
        it.recv(WAIT_S)
        it.send("SUBSCRIBE\nid:0\ndestination:/queue/large\n\n\0")
        it.send(b"SEND\ndestination:/queue/large\ncontent-length:%d\n\n%b\0" % (len(body), body))
        assert it.recv(WAIT_S).endswith(body + b"\0")


def test_a_connection_that_says_nothing_is_not_cut_and_pings_are_answered(server):
    with connect(url(server)) as it:
        it.send(CONNECT)
        it.recv(WAIT_S)
        assert it.ping().wait(WAIT_S)


class Heard(stomp.ConnectionListener):
    def __init__(self):
        self.messages, self.came = [], threading.Event()

    def on_message(self, frame):
        self.messages.append(frame.body)
        self.came.set()


def test_stomp_py_over_websocket(server):
    client = stomp.WSStompConnection([server.http], ws_path="/ws/stomp")
    heard = Heard()
    client.set_listener("", heard)
    client.connect(wait=True)
    client.subscribe("/queue/py", id=1, ack="auto")
    client.send("/queue/py", "hello")
    assert heard.came.wait(WAIT_S)
    assert heard.messages == ["hello"]
    client.disconnect()


@pytest.mark.parametrize(
    ("path", "given", "status", "says"),
    [
        ("/ws/nothing", {}, 404, "no WebSocket at this path; use /ws/mqtt, /ws/stomp"),
        ("/ws/stomp", {"subprotocols": ["chat"]}, 400, "must be one of v12.stomp"),
        ("/ws/mqtt", {"subprotocols": ["v12.stomp"]}, 400, "must be one of mqtt, mqttv3.1"),
        ("/ws/stomp", {"origin": "https://evil.example"}, 403, "may not ask this"),
        (
            "/ws/stomp",
            {"additional_headers": {"Sec-Fetch-Site": "cross-site"}},
            403,
            "another site",
        ),
    ],
)
def test_what_may_not_begin_is_refused_in_one_line(server, path, given, status, says):
    with pytest.raises(InvalidStatus) as refused:
        connect(url(server, path), **given)
    assert refused.value.response.status_code == status
    assert says in json.loads(refused.value.response.body)["error"]


def test_a_page_of_our_own_may_connect(server):
    host, port = server.http
    with connect(url(server), origin=f"http://{host}:{port}") as it:
        it.send(CONNECT)
        assert it.recv(WAIT_S).startswith("CONNECTED")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], b"426"),
        (["connection: upgrade", "upgrade: websocket"], b"400"),
        (["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"], b"400"),
        (["connection: upgrade", "upgrade: h2c"], b"400"),
        (["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13",
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "content-length: 4"], b"400"),
    ],
)  # fmt: skip
def test_half_a_request_for_it_is_an_answer_like_others(server, lines, status):
    host, port = server.http
    with socket.create_connection(server.http, WAIT_S) as it:
        head = [f"GET /ws/stomp HTTP/1.1\r\nhost: {host}:{port}", *lines, "", "body"]
        it.sendall("\r\n".join(head).encode())
        assert it.recv(4096).split()[1] == status


def test_an_http_request_may_come_before_it_on_the_same_connection(server):
    """As a proxy with kept connections sends it."""
    host, port = server.http
    with socket.create_connection(server.http, WAIT_S) as it:
        it.sendall(f"GET /healthz HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
        assert it.recv(4096).startswith(b"HTTP/1.1 200")
        asks = (
            f"GET /ws/stomp HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: keep-alive, Upgrade\r\n"
            "upgrade: websocket\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        frame = b"\x81\x92\0\0\0\0" + b"NONSENSE\nab:cd\n\n\0\n"
        it.sendall(asks.encode() + frame)  # at once: it does not wait for the answer
        raw = b""
        while part := it.recv(4096):
            raw += part
        assert raw.startswith(b"HTTP/1.1 101")
        assert b"ERROR\nmessage:Illegal command\n" in raw


def test_a_port_of_its_own_as_rabbitmq_has_it(tmp_path):
    """Nothing else is there: not the page, and not the other protocol."""
    made = Serving(tmp_path / "data", stomp_port=0, mqtt_port=0, web_stomp_port=0, web_mqtt_port=0)
    try:
        mqtt, stomp_ = (place_of(made.process.stdout.readline().decode()) for _ in range(2))
        with connect("ws://{}:{}/ws".format(*stomp_), subprotocols=["v12.stomp"]) as it:
            it.send(CONNECT)
            assert it.recv(WAIT_S).startswith("CONNECTED")
        for path, port in (("/ws/stomp", stomp_), ("/", stomp_), ("/api/v1/server", mqtt)):
            with pytest.raises(InvalidStatus) as refused:
                connect("ws://{}:{}{}".format(*port, path)).__enter__()
            assert refused.value.response.status_code == 404
        with pytest.raises(InvalidStatus) as refused:
            connect("ws://{}:{}/ws".format(*mqtt), subprotocols=["v12.stomp"]).__enter__()
        assert refused.value.response.status_code == 400
    finally:
        made.stop()


def test_a_door_that_is_not_open_is_not_there_over_websocket_either(tmp_path):
    made = Serving(tmp_path / "data", http_port=0)
    try:
        with pytest.raises(InvalidStatus) as refused:
            connect(url(made)).__enter__()
        assert refused.value.response.status_code == 404
        assert b"no STOMP is served: see stomp.port" in refused.value.response.body
    finally:
        made.stop()


def test_paho_over_websocket(server):
    """MQTT 5, QoS 1 both ways."""
    host, port = server.http
    came, messages = threading.Event(), []
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, "ws", transport="websockets", protocol=paho.MQTTv5
    )
    client.ws_set_options(path="/ws/mqtt")

    def on_message(_, __, message):
        messages.append((message.topic, message.payload, message.qos))
        came.set()

    def on_subscribe(it, *_):
        it.publish("ws/topic", b"\x00\xff" * 50_000, qos=1)

    client.on_message, client.on_subscribe = on_message, on_subscribe
    client.on_connect = lambda it, *_: it.subscribe("ws/#", qos=1)
    client.connect(host, port)
    client.loop_start()
    try:
        assert came.wait(WAIT_S)
        assert messages == [("ws/topic", b"\x00\xff" * 50_000, 1)]
    finally:
        client.disconnect()
        client.loop_stop()
