"""One connection to the RabbitMQ door: sends frames as they are given, and waits for their end."""

import socket
import threading
from collections.abc import Sequence
from typing import Final

from logstore.amqp import methods
from logstore.amqp.frames import PROTOCOL, method_frame

DEADLINE_S: Final = 120
ASKED: Final = method_frame(1, methods.BasicQos(0, 0, False))
ANSWERED: Final = method_frame(1, methods.BasicQosOk())
CONFIRMED: Final = b"\0\x3c\0\x50"  # how the method of a confirm begins; the tag follows
CLOSED: Final = method_frame(0, methods.ConnectionCloseOk())
DELIVERED: Final = b"\0\x3c\0\x3c\1c"  # how the method of a delivery begins, to the consumer "c"


class AmqpLine:
    """As guest, with channel 1."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        told = methods.ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", "en_US")
        tuned = methods.ConnectionTuneOk(0, 131_072, 0)
        opened = methods.ConnectionOpen("/")
        for number, given in ((0, told), (0, tuned), (0, opened), (1, methods.ChannelOpen())):
            data = method_frame(number, given)
            self._sock.sendall(PROTOCOL + data if given is told else data)
        self.send(b"")

    def send(self, data: bytes) -> None:
        """Send, and wait until everything is carried out, or the connection or channel has
        ended.
        """
        asked = data if data.endswith(CLOSE) else data + ASKED
        sender = threading.Thread(target=self._send, args=(asked,))
        sender.start()
        last = b""
        try:
            while ANSWERED not in last and CLOSED not in last and b"\0\x14\0\x28" not in last:
                got = self._sock.recv(1 << 20)
                if not got:
                    return
                last = last[-len(ANSWERED) :] + got
        except ConnectionResetError:
            return
        finally:
            sender.join()

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):  # ended; the reader sees why
            return

    def confirmed(self, messages: Sequence[bytes], tag: int, at_once: int) -> int:
        """Publish in groups of ``at_once``, wait for each group's confirms, and return the last
        tag.

        ``tag``: of the last message published before on this confirming channel.
        """
        for begin in range(0, len(messages), at_once):
            some = messages[begin : begin + at_once]
            tag += len(some)
            self._sock.sendall(b"".join(some))
            ack, got = CONFIRMED + tag.to_bytes(8, "big"), b""
            while ack not in got:
                more = self._sock.recv(1 << 20)
                assert more, "the server has ended the connection"
                got = got[-len(ack) :] + more
        return tag

    def take(self, queue: str, count: int) -> None:
        """Have exactly this many messages delivered."""
        consume = methods.BasicConsume(0, queue, "c", False, False, False, True, {})
        self._sock.sendall(method_frame(1, consume))
        got, last = 0, b""
        while got < count:
            last = last[-len(DELIVERED) + 1 :] + self._sock.recv(1 << 20)
            got += last.count(DELIVERED)
        self.send(method_frame(1, methods.BasicCancel("c", True)))

    def close(self) -> None:
        self._sock.close()


CLOSE: Final = method_frame(0, methods.ConnectionClose(200, "", 0, 0))
