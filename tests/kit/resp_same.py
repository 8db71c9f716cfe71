"""Two servers of Redis's protocol, asked the same one request after the other."""

import socket

from redis_parts import DEADLINE_S, request


class Asker:
    """One connection; each reply as it was written, in parts that can be put in order."""

    def __init__(self, server, version=2):
        self.socket = socket.create_connection(server.redis, timeout=DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.pushed = []
        if version == 3:
            self.ask(b"HELLO", b"3")

    def send(self, *words):
        self.socket.sendall(request(*words))

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def reply(self):
        """The next reply that is not a push."""
        while True:
            found = self._read()
            if not (isinstance(found, tuple) and found[0] == b">"):
                return found
            self.pushed.append(found)

    def _read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if not line:
            return b"END"
        if kind in (b"$", b"=") and rest != b"-1":
            return line + self.file.read(int(rest) + 2)
        if kind in (b"*", b"~", b">", b"%") and rest != b"-1":
            return kind, [self._read() for _ in range(int(rest) * (1 + (kind == b"%")))]
        return line

    def close(self):
        self.file.close()
        self.socket.close()


def in_order(words, reply, unordered):
    """The reply, sorted if Redis defines no order for it."""
    name = words[0].upper()
    if name not in unordered or not isinstance(reply, tuple):
        return reply
    if name.endswith(b"SCAN") and len(reply[1]) == 2:
        cursor, (kind, parts) = reply[1]
        return cursor, kind, sorted(parts, key=repr)
    return reply[0], sorted(reply[1], key=repr)
