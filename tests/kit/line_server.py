"""A server with a protocol of five lines, with TLS and without."""

import asyncio
import functools

import pytest
import uvloop

from logstore.budget import Budget
from logstore.errors import BrokenProtocol
from logstore.protocols.session import Doorway, Limits
from logstore.server import Server
from logstore.turn import Turn

DEADLINE_S = 20


class Piece:
    """A part of a file, as an ``Extent`` is one."""

    held = 0

    def __init__(self, file, size):
        self.file, self.position, self.left = file, 0, size
        Piece.held += 1

    def __len__(self):
        return self.left

    def fileno(self):
        return self.file.fileno()

    def sent(self, size):
        self.position += size
        self.left -= size

    def release(self):
        Piece.held -= 1


class Lines:
    """Each line is answered with itself in capitals. ``hold`` lines wait for ``release``."""

    line_max = 1 << 24
    living = 0
    held_bytes = seen = 0
    kept = False

    def __init__(self, link):
        self.link, self.wake_me = link, link.wake
        self.address, self.peer = link.address, link.peer_address
        self.wants, self.deadline, self.closed = 0, None, None
        self.out, self.held, self.taken, self.views = [], False, 0, []
        self.finished = self.released = False
        self.asked = []  # what ``prompt`` was given
        type(self).living += 1
        type(self).last = self

    @property
    def busy(self):
        return self.held

    def receive(self, data, now):
        whole, self.kept = bytes(data), False
        self.seen = len(whole)
        at = 0
        while not self.held and (end := whole.find(b"\n", at)) >= 0:
            if whole[at:end].startswith(b"keep"):
                self.kept, self.views = True, [*self.views, data[at:end]]
            self._take(whole[at:end], now)
            at = end + 1
        self.wants = self.line_max if len(whole) - at > 1000 and not self.held else 0
        self.taken += at
        return at

    def _take(self, line, now):
        if line == b"bug":
            raise ZeroDivisionError("a bug")
        if line == b"broken":
            raise BrokenProtocol("that is no line")
        if line == b"end":
            self.closed = "asked to"
        if line.startswith(b"because "):
            self.closed = line[8:].decode()
        if line == b"hold":
            self.held = True
        elif line == b"later":
            self.held, self.deadline = True, now + 0.05
        elif line.startswith(b"file "):
            size = int(line[5:])
            self.out += [b"<", Piece(type(self).file, size), b"|", Piece(type(self).file, 3), b">"]
        elif line.startswith(b"give "):
            self.out += [bytes(1000)] * int(line[5:])
        else:
            self.out.append(line.upper() + b"\n")

    def prompt(self, data, now):
        """As Doorway.prompt: of lines that begin with ``prompt``."""
        if not data:
            if not self.released:
                return b""
            self.released = self.held = False
            return b"AT ONCE\n"
        self.asked.append(data)
        words = data.split()
        if not words or words[0] != b"prompt":
            return None
        if words[1] == b"bug":
            raise ZeroDivisionError("a bug")
        if words[1] == b"broken":
            raise BrokenProtocol("that is no line")
        if words[1] == b"hold":
            self.held = True
            return b""
        return words[1] * int(words[2])

    def release(self):
        """Release the line; later ones must not overtake it. Callable from any thread."""
        self.released = True
        self.wake_me()

    def wake(self, now):
        if self.released:
            self.released = self.held = False
            self.out.append(b"RELEASED\n")
        if self.deadline is not None and now >= self.deadline:
            self.held, self.deadline = False, None
            self.out.append(b"LATE\n")

    def outgoing(self, bytes_max):
        out, self.out = self.out[: bytes_max // 1000 + 1], self.out[bytes_max // 1000 + 1 :]
        return out

    def leave(self, now):
        return False

    def finish(self, now):
        self.finished = True
        if self.held:
            self.held, self.deadline = False, None
            self.out.append(b"FINISHED\n")

    def close(self):
        type(self).living -= 1


BOTH = pytest.mark.parametrize("tls", ["plain", "tls"], indirect=True)
PLAIN = pytest.mark.parametrize("tls", ["plain"], indirect=True)
TLS = pytest.mark.parametrize("tls", ["tls"], indirect=True)


def serving(test, ways=BOTH):
    """Run ``test(server, connect)`` with TLS and without; every connection ends after it."""

    async def run(tls, **limits):
        given = {"connections_max": 100, "idle_s": 600.0, **limits}
        asks = None if tls is None else tls.asks
        loop = asyncio.get_running_loop()
        gate, name = given.pop("gate", None), given.pop("name", "")
        server = Server(loop, Turn(loop), Budget(given.pop("budget", 1 << 30)), gate=gate)
        prompt = given.pop("prompt", None)
        doorway = Doorway(Lines, Limits(**given), name, prompt=prompt)
        host, port = server.listen("127.0.0.1", 0, doorway, tls)

        async def connect(ssl=asks):
            return await asyncio.open_connection(host, port, ssl=ssl)

        connect.tls = tls
        try:
            await asyncio.wait_for(test(server, connect), DEADLINE_S)
        finally:
            await server.stop(1.0)
        assert Lines.living == 0

    def started(tls):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(tls, **getattr(test, "limits", {})))

    started.__name__ = test.__name__
    return ways(started)


plainly = functools.partial(serving, ways=PLAIN)
secured = functools.partial(serving, ways=TLS)


def limited(**limits):
    def mark(test):
        test.limits = limits
        return test

    return mark


async def line(reader):
    return await reader.readline()
