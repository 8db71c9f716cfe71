"""The MQTT door of a real server: what only sockets and processes show."""

import socket

import pytest
from serving import Serving, resident_bytes

from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.fields import read_varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Ack, Connect, Disconnect, Options, Publish, Subscribe, Will

DEADLINE_S = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(
        tmp_path_factory.mktemp("mqtt") / "data", resp_port=-1, mqtt_port=0, http_port=-1
    )
    yield serving
    assert serving.stop()[0] == 0


class Raw:
    """A client that sends and reads packets."""

    def __init__(self, server, client="", *, connect=True, **given):
        self.socket = socket.create_connection(server.mqtt, DEADLINE_S)
        self.data = b""
        if connect:
            self.send(Connect(V5, True, 0, client, **given))
            assert self.read().reason == 0

    def send(self, *those):
        self.socket.sendall(b"".join(packets.write(it, V5) for it in those))

    def read(self):
        """The next packet; None: the server has closed the connection."""
        while True:
            found = read_varint(self.data, 1, len(self.data)) if self.data else None
            if found is not None and len(self.data) >= sum(found):
                size, at = found
                body, first = self.data[at : at + size], self.data[0]
                self.data = self.data[at + size :]
                return packets.read(first, body, V5)
            more = self.socket.recv(1 << 16)
            if not more:
                return None
            self.data += more

    def close(self):
        self.socket.close()


@pytest.fixture
def client(server):
    made = []

    def connect(*words, **given):
        made.append(Raw(server, *words, **given))
        return made[-1]

    yield connect
    for it in made:
        it.close()


def test_messages_come_and_are_acknowledged(client):
    hearer, peer = client("h"), client("p")
    hearer.send(Subscribe(1, [(b"a/#", Options(1))]))
    assert hearer.read().reasons == b"\1"
    peer.send(Publish(b"a/b", b"x"), Publish(b"a/b", b"y", 1, pid=7))
    assert peer.read() == Ack(kinds.PUBACK, 7)
    got = [hearer.read(), hearer.read()]  # in order within one QoS [MQTT-4.6.0-5]
    assert sorted((it.payload, it.qos) for it in got) == [(b"x", 0), (b"y", 1)]


def test_who_still_sends_hears_why_it_ends(client):
    """A connection that is closed with unread bytes would take the reason with it."""
    peer = client("p")
    peer.send(*(Publish(b"a", bytes(1000)) for _ in range(500)), Publish(b"a", b"", 1, pid=0))
    for _ in range(50):
        peer.send(*(Publish(b"a", bytes(1000)) for _ in range(500)))
    found = peer.read()
    assert (type(found), found.reason) == (Disconnect, reasons.PROTOCOL_ERROR)


@pytest.mark.parametrize("raw", [b"\x10\xff\xff\xff\x7f\0\4MQTT\5", b"\x10\x10\0\4MQTT\5\2\0\0"])
def test_a_connect_that_never_ends_costs_nothing(server, raw):
    before = resident_bytes(server)
    held = [Raw(server, connect=False) for _ in range(20)]
    for it in held:
        it.socket.sendall(raw)
    other = Raw(server)
    other.close()
    assert resident_bytes(server) < before + (8 << 20)
    for it in held:
        it.close()


@pytest.mark.long
def test_a_will_of_256_mib_is_refused_by_its_head(client):
    peer = client(connect=False)
    whole = packets.write(Connect(V5, True, 0, "c", Will(b"w", bytes(60_000), 0, False)), V5)
    head = whole[:1] + b"\xff\xff\xff\x7f" + whole[4:]
    peer.socket.sendall(head)
    assert peer.read().reason == reasons.TOO_LARGE
    assert peer.read() is None


@pytest.mark.long
def test_a_server_that_stops_says_so_and_wills_are_sent(tmp_path):
    serving = Serving(tmp_path / "data", resp_port=-1, mqtt_port=0, http_port=-1)
    peer = Raw(serving, "p", will=Will(b"w", b"gone", 1, True))
    peer.send(Publish(b"a", b"x", 1, pid=1))
    assert peer.read().pid == 1
    assert serving.stop() == (0, "")
    assert peer.read().reason == reasons.SHUTTING_DOWN
    assert peer.read() is None
    peer.close()
    again = Serving(tmp_path / "data", resp_port=-1, mqtt_port=0, http_port=-1)
    late = Raw(again, "late")
    late.send(Subscribe(1, [(b"w", Options(1))]))
    assert late.read().reasons == b"\1"
    assert late.read().payload == b"gone"
    late.close()
    assert again.stop()[0] == 0
