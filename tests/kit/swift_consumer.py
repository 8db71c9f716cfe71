"""A client of RabbitMQ that reads and acknowledges a great many short messages.

Frames are looked at, not decoded: a million deliveries take seconds.
"""

from struct import Struct

from amqp_wire import Line

from logstore.amqp import frames, methods, properties

PERSISTENT = properties.Properties(delivery_mode=2)
ACK = Struct(">BHIHHQBB")  # a whole frame
NUMBER = Struct(">Q")
READ_BYTES = 1 << 20
METHOD_OF_DELIVER = b"\x00\x3c\x00\x3c"
HEAD, HEAD_BYTES = frames.HEAD, frames.HEAD.size


class SwiftClient:
    """Of one queue; bodies are numbers."""

    def __init__(self, place, queue):
        self._line = Line(place, channels=(1,))
        self._socket, self._queue = self._line.socket, queue
        self._data = b""

    def fill(self, numbers):
        """Publish these numbers without waiting."""
        publish = frames.method_frame(1, methods.BasicPublish(0, "", self._queue, False, False))
        header = properties.header(NUMBER.size, properties.write(PERSISTENT))
        begin = publish + frames.frame(frames.HEADER, 1, header)
        body = frames.body_frames
        for at in range(0, len(numbers), 1000):
            self._socket.sendall(
                b"".join(
                    begin + body(1, NUMBER.pack(it), 4096)[0] for it in numbers[at : at + 1000]
                )
            )

    def consume(self):
        self._line.tell(1, methods.BasicConsume(0, self._queue, "", False, False, False, False, {}))
        channel = self._line.channels[1]
        assert not channel.deliveries, "read before anything was looked at"

    def deliveries(self):
        """The next deliveries, at least one: (tag, redelivered, number) of each."""
        found = []
        while not found:
            some = self._socket.recv(READ_BYTES)
            if not some:
                raise ConnectionError("the node has closed the connection")
            self._data += some
            found = self._frames()
        return found

    def _frames(self):
        found, at, data = [], 0, self._data
        tag = redelivered = None
        whole = 0  # up to where deliveries are
        while at + HEAD_BYTES <= len(data):
            kind, _, size = HEAD.unpack_from(data, at)
            begin = at + HEAD_BYTES
            at = begin + size + 1
            if at > len(data):
                break
            if kind == frames.METHOD and data[begin : begin + 4] == METHOD_OF_DELIVER:
                place = begin + 5 + data[begin + 4]
                tag, redelivered = NUMBER.unpack_from(data, place)[0], bool(data[place + 8])
            elif kind == frames.BODY:
                found.append((tag, redelivered, NUMBER.unpack_from(data, begin)[0]))
                whole = at
            elif kind == frames.HEARTBEAT:
                whole = at if tag is None else whole
        self._data = data[whole:]
        return found

    def ack(self, tags):
        self._socket.sendall(
            b"".join(ACK.pack(frames.METHOD, 1, 13, 60, 80, it, 0, 0xCE) for it in tags)
        )

    def close(self):
        self._socket.close()
