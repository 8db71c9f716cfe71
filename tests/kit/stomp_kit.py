"""Sessions of the STOMP door without sockets, over real queues in a directory."""

from amqp_kit import FakeLink, Node
from fed_peer import FedPeer
from stomp_wire import frame, said

from logstore.protocols.stomp.door import StompDoor
from logstore.protocols.stomp.session import StompSession
from logstore.stomp.frames import data

SERVER = "RabbitMQ/3.13.7"


class Door:
    """A node's queues and the door to them."""

    def __init__(self, path, message_bytes_max=16 << 20, node=None, **given):
        """``given``: as in ``StompDoor``."""
        self._path, self._message_bytes_max = path, message_bytes_max
        self._given = given
        self.now = 100.0
        self.tokens = iter(range(100_000))
        self._own = node is None
        self._begin(Node(path) if node is None else node)

    def _begin(self, node):
        self.node = node
        self.door = StompDoor(
            node, SERVER, self._message_bytes_max,
            token=lambda: f"token{next(self.tokens)}", **self._given,
        )  # fmt: skip
        self.peers = []

    def again(self):
        """Stop the process cleanly, and start another one on the directory."""
        for peer in self.peers:
            peer.over = True
        self.node.close()
        self._begin(Node(self._path, self.node.now_ms))

    def kill(self):
        """Kill the process, and start another one on the directory."""
        self.node.kill()
        self._begin(Node(self._path, self.node.now_ms))

    @property
    def vhost(self):
        return self.node.queues.vhosts[b"/"]

    def names(self):
        """The names of all queues."""
        return sorted(it.facts.name.decode() for it in self.vhost.queues())

    def connect(self, **tls):
        self.peers.append(Peer(self, **tls))
        return self.peers[-1]

    def open(self, version="1.2", **headers):
        """A connected client."""
        peer = self.connect()
        (connected,) = peer.shake_hands(version, **headers)
        assert connected.command == "CONNECTED", connected
        return peer

    def run(self):
        """Run until nothing is left, everything is safe, and all waiting peers were told."""
        self.node.run(until=lambda: not any(peer.waits for peer in self.peers))

    def close(self):
        for peer in self.peers:
            peer.end()
        self.run()
        if self._own:
            self.node.close()


class Peer(FedPeer):
    """A client's end."""

    def __init__(self, door, **tls):
        super().__init__(door, FakeLink(door.node, 1000 + len(door.peers)), tls)
        self.session = StompSession(door.door, self.link)
        self.client = self.session.client
        self.version = "1.2"
        self.raw = b""

    @property
    def waits(self):
        return not self.over and (bool(self.client.receipts) or self.client._holds > 0)

    def hear(self, data):
        self.raw += data

    @property
    def closed(self):
        return self.session.closed

    # Frames

    def shake_hands(self, version="1.2", **headers):
        self.version = version
        given = {} if version == "1.0" else {"accept-version": version, "host": "/"}
        return self.ask("CONNECT", given | named(headers))

    def send(self, command, headers=(), body=b""):
        self.give(frame(command, headers, body, self.version))

    def ask(self, command, headers=(), body=b""):
        """Send a frame; returns the frames received once all is done."""
        self.send(command, headers, body)
        self.door.run()
        return self.got()

    def got(self):
        raw, self.raw = self.raw, b""
        return said(raw, self.version)

    def publish(self, destination, *bodies, **headers):
        """Publish these messages in one read."""
        self.give(b"".join(
            frame("SEND", {"destination": destination} | named(headers), it, self.version)
            for it in bodies
        ))  # fmt: skip

    def subscribe(self, destination, id="0", **headers):
        return self.ask("SUBSCRIBE", {"destination": destination, "id": id} | named(headers))

    def settle(self, command, message, **headers):
        """Send an ACK or a NACK of this message."""
        name = {"1.2": "id"}.get(self.version, "message-id")
        value = message["ack"] if self.version == "1.2" else message["message-id"]
        return self.ask(command, {name: value} | named(headers))

    def refused(self):
        """The one ERROR, after which the connection ends."""
        self.door.run()
        *_, error = self.got()
        assert error.command == "ERROR", error
        assert self.closed is not None
        return error


def named(headers):
    return {name.replace("_", "-"): str(value) for name, value in headers.items()}


def raw_of(text):
    return data(text)


def bodies(frames):
    return [it.body for it in frames if it.command == "MESSAGE"]
