"""Sessions of the Redis door without sockets: what they are given, what they send."""

from types import SimpleNamespace

from redis_parts import request

from logstore.broker.channel import Channels
from logstore.protocols.resp.door import Facts, RespDoor, RespLimits, Unread
from logstore.protocols.resp.session import RespSession


class FakeLink:
    """Takes all, unless told to be ``blocked``; ``sent`` is what the peer has got."""

    def __init__(self, number):
        self.peer, self.address = f"127.0.0.1:{number}", ("127.0.0.1", 6379)
        self.peer_address = "127.0.0.1", number
        self.sent = b""
        self.unsent = 0
        self.blocked = False
        self.woken = 0
        self.cut_for = None
        self.session = None

    def wake(self):
        self.woken += 1

    def push(self, data):
        if self.blocked:
            self.unsent += len(data)
        else:
            self.sent += data
        return self.unsent

    def cut(self, reason):
        self.cut_for = reason
        self.session.close()


class FakeDoor:
    """Sessions around one set of channels; a turn ends after each call."""

    def __init__(self, pubsub="32mb 8mb 60", bulk_bytes_max=512 << 20):
        self.channels = Channels()
        self.channels.attach(lambda call: None)
        self.now = 100.0
        limits = RespLimits(
            SimpleNamespace(connections_max=100), bulk_bytes_max, Unread.parse(pubsub)
        )
        self.door = RespDoor(
            self.channels, limits, Facts(1, "a-b", "data"), lambda: 5000, self.work
        )
        self.sessions, self.everyone = [], {}

    def work(self, job, done):
        """At once; a test may keep it for later."""
        done(job())

    def connect(self):
        link = FakeLink(1000 + len(self.sessions))
        session = link.session = RespSession(self.door, self.everyone, link)
        self.sessions.append(session)
        return Peer(self, session, link)


class Peer:
    """A client's end of a session."""

    def __init__(self, door, session, link):
        self.door, self.session, self.link = door, session, link
        self.left = b""
        self.seen = 0

    def send(self, data):
        """Give it, as the server would: what was not taken is given again with what follows."""
        self.left += data
        while self.left and self.link.cut_for is None and self.session.closed is None:
            woken = self.link.woken
            taken = self.session.receive(memoryview(bytearray(self.left)), self.door.now)
            self.left = self.left[taken:]
            out = b"".join(self.session.outgoing(1 << 20))
            self.link.sent += out
            if not taken and not out and self.link.woken == woken:  # else it is given again
                break
        self.link.sent += b"".join(self.session.outgoing(1 << 20))
        self.door.channels.flush()
        return self.new()

    def new(self):
        """What has come since the last look."""
        found, self.seen = self.link.sent[self.seen :], len(self.link.sent)
        return found

    def ask(self, *words):
        return self.send(request(*words))

    def wait(self, seconds):
        self.door.now += seconds
        self.session.wake(self.door.now)
        self.send(b"")
