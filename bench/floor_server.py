"""The least that a server for channels does in Python: ``python -m bench.floor_server PORT``.

It reads, has hiredis parse, joins one chunk for the subscribers of a channel, and sends. It knows
SUBSCRIBE and PUBLISH by name, believes its clients, keeps no limit and waits for who reads slowly:
what a real server does beside that, it does not. It answers each PUBLISH by itself, in order, as
any server must. Its rate is what is left to gain.
"""

import asyncio
import socket
import sys
from collections import defaultdict

import hiredis
import uvloop

RECEIVE_BYTES = 256 << 10
HEAD = b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$"


class Floor:
    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.loop = loop
        self.room = bytearray(RECEIVE_BYTES)
        self.subscribers: dict[bytes, list[socket.socket]] = defaultdict(list)
        self.heads: dict[bytes, bytes] = {}
        self.listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listening.setblocking(False)
        loop.add_reader(self.listening.fileno(), self.accept)

    def accept(self) -> None:
        sock, _ = self.listening.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop.add_reader(sock.fileno(), self.read, sock, hiredis.Reader())

    def read(self, sock: socket.socket, reader: hiredis.Reader) -> None:
        size = sock.recv_into(self.room)
        if not size:
            self.loop.remove_reader(sock.fileno())
            for there in self.subscribers.values():
                if sock in there:
                    there.remove(sock)
            sock.close()
            return
        reader.feed(memoryview(self.room)[:size].tobytes())
        published = defaultdict(list)
        replies = []
        for request in iter(reader.gets, False):
            if request[0] == b"PUBLISH":
                published[request[1]].append(request[2])
                replies.append(b":%d\r\n" % len(self.subscribers.get(request[1], ())))
            else:
                self.subscribers[request[1]].append(sock)
                sock.sendall(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (
                    len(request[1]), request[1],
                ))  # fmt: skip
        for channel, payloads in published.items():
            there = self.subscribers.get(channel)
            if there:
                head = self.heads.setdefault(channel, HEAD % (len(channel), channel))
                chunk = b"".join([b"%b%d\r\n%b\r\n" % (head, len(it), it) for it in payloads])
                for subscriber in there:
                    subscriber.sendall(chunk)
        if replies:
            sock.sendall(b"".join(replies))


async def serve(port: int) -> None:
    floor = Floor(asyncio.get_running_loop(), port)
    await asyncio.Event().wait()
    del floor


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
