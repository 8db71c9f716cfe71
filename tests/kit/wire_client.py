"""A client that says exactly what a test wants, one request at a time."""

import socket
import struct

from logstore.kafka.messages import init_producer_id, metadata
from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import APIS
from logstore.records.encode import encode

DEADLINE_S = 30


class WireClient:
    """One connection."""

    def __init__(self, endpoint, context=None):
        """``context``: of TLS, if the connection uses it."""
        self.socket = socket.create_connection(endpoint, DEADLINE_S)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Frames

    def send(self, key, version, body, *, flexible=False):
        self._correlation += 1
        head = struct.pack(">hhih", key, version, self._correlation, -1) + b"\0" * flexible
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        return self._correlation

    def receive(self):
        """(correlation id, the rest)"""
        size = struct.unpack(">i", self._exactly(4))[0]
        frame = self._exactly(size)
        return struct.unpack(">i", frame[:4])[0], frame[4:]

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionResetError("the server closed the connection")
            data += more
        return data

    def ended(self):
        """Whether the server closes the connection without sending more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    # Requests

    def ask(self, key, version, request, response_kind):
        flexible = version >= APIS[key].flexible
        out = bytearray()
        codec(type(request), version, flexible).write(out, request)
        asked = self.send(key, version, bytes(out), flexible=flexible)
        correlation, body = self.receive()
        assert correlation == asked
        if flexible and key != 18:
            assert body[0] == 0
            body = body[1:]
        found, end = codec(response_kind, version, flexible).read(body, 0)
        assert end == len(body)
        return found

    def new_producer_id(self):
        answer = self.ask(22, 1, init_producer_id.Request(None, 1000), init_producer_id.Response)
        assert answer.error_code == 0
        return answer.producer_id

    def create(self, topic):
        self.ask(3, 4, metadata.Request([metadata.Topic(name=topic)]), metadata.Response)

    def produce(self, topic, values, producer=(-1, -1, -1), acks=-1):
        """(error code, base offset)"""
        self.create(topic)
        messages = [(value, None, (), 1_700_000_000_000) for value in values]
        producer_id, epoch, sequence = producer
        batch = encode(
            messages, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence
        )
        self.send(0, 3, produce_body(topic, 0, bytes(batch.data), acks))
        _, body = self.receive()
        return struct.unpack_from(">hq", body, 4 + 2 + len(topic) + 4 + 4)


def produce_body(topic, partition, records, acks=-1, timeout_ms=10_000):
    """The body of a Produce request, version 3."""
    name = topic.encode()
    return (
        struct.pack(">hhii", -1, acks, timeout_ms, 1)
        + struct.pack(">h", len(name)) + name
        + struct.pack(">iii", 1, partition, len(records)) + records
    )  # fmt: skip
