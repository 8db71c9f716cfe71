"""Sessions of the HTTP door without sockets: what a server does, in a few lines."""

from types import SimpleNamespace

from logstore.access.access import open_access
from logstore.access.identity import OWNER
from logstore.broker.channel import Channels
from logstore.broker.queues.refusals import NoVhost
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.routes import ROUTER
from logstore.protocols.http.session import HttpSession


class NoQueues:
    """No virtual host, not even the default one."""

    def __init__(self):
        self.vhosts = {}

    def vhost(self, name):
        raise NoVhost(name)


class HttpPeer:
    """A client, and the server's side of its connection."""

    def __init__(
        self,
        queues=None,
        facts=None,
        job=None,
        log_bytes=None,
        access=None,
        keeps_history=lambda name: False,
        who=OWNER,
        router=ROUTER,
        stopwatch=lambda: 0.0,
        logins=None,
        door=None,
        address=("127.0.0.1", 15672),
        peer_address=("192.0.2.1", 50_000),
        work=lambda job, done: done(job()),
        **more,
    ):
        """``who``: the owner, or None for a network client; ``more``: arguments of the door."""
        self.now = 1000.0
        self.woken = self.unsent = 0
        self.cut_for = None
        self.jobs = []
        self.address, self.peer_address = address, peer_address
        self.secure, self.certificate = False, None
        self.door = door or HttpDoor(
            SimpleNamespace(when_open=lambda then: then(queues or NoQueues())),
            facts or (lambda: {"version": "test"}),
            job or (lambda body, reply: self.jobs.append((body, reply))),
            log_bytes or (lambda log: 0),
            access or open_access(),
            logins or SimpleNamespace(ticket=lambda: "a ticket"),
            work,
            keeps_history,
            stopwatch=stopwatch,
            **(
                {
                    "topics": None,
                    "coordinator": None,
                    "lags": None,
                    "timer": self,
                    "channels": Channels(),
                }
                | more
            ),
        )
        self.session = HttpSession(self.door, self, who, router)
        self._left = b""

    def wake(self):
        self.woken += 1

    def let_be(self):
        self.is_let_be = True

    def cut(self, reason):
        self.cut_for = reason
        self.session.close()

    def feed(self, data):
        """Feed data as a server does: unprocessed bytes are given again, also after answers."""
        self._left += data
        taken = self.session.receive(memoryview(bytearray(self._left)), self.now)
        assert taken <= len(self._left)
        self._left = self._left[taken:]
        return taken

    def out(self, bytes_max=1 << 20):
        """The session's present output."""
        parts = []
        while True:
            if found := self.session.outgoing(bytes_max):
                parts += map(bytes, found)
            elif not (self._left and self.session.closed is None and self.feed(b"")):
                return b"".join(parts)

    def say(self, data):
        self.feed(data)
        return self.out()

    def pass_time(self, seconds):
        self.now += seconds
        self.session.wake(self.now)
        return self.out()


def request(method, target, body=b"", *headers):
    lines = [f"{method} {target} HTTP/1.1", "host: x", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(data, heads=()):
    """(status, headers, body) of each answer; ``heads``: numbers of answers to a HEAD."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        status = int(first.split()[1])
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        if len(found) in heads or status < 200 or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size, _, data = data.partition(b"\r\n")
                length = int(size, 16)
                body, data = body + data[:length], data[length + 2 :]
                if not length:
                    break
        else:
            length = int(headers["content-length"])
            assert len(data) >= length
            body, data = data[:length], data[length:]
        found.append((status, headers, body))
    return found
