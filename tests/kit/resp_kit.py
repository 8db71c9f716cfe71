"""Sessions of the Redis door without sockets: what they are given, what they send."""

from functools import cache
from types import SimpleNamespace

from heard_audit import Heard
from memory_log import MemoryLog
from redis_parts import request

from logstore.access.access import Access, Unkept
from logstore.access.passwords import Passwords
from logstore.access.refusals import Refusals
from logstore.access.scram_keys import keys_of
from logstore.broker.channel import Channels
from logstore.broker.keys.key_topics import load
from logstore.broker.keys.keys import Keys
from logstore.broker.keys.levels import Levels
from logstore.kept.users import KeptAccess, KeptUser
from logstore.protocols.resp.door import Facts, RespDoor, RespLimits, Unread
from logstore.protocols.resp.review import review
from logstore.protocols.resp.session import RespSession


@cache
def _keys(password):
    return keys_of(password.encode(), 1)


def user(name, password=None, *, redis=None, tags=(), weak=()):
    """A user whose password is cheap to check."""
    scram = {} if password is None else _keys(password)
    return KeptUser(name, scram, tuple(tags), redis, tuple(weak))


def boss():
    return user("boss", "secret", tags=["administrator"])


class FakeLink:
    """Takes all, unless told to be ``blocked``; ``sent`` is what the peer has got."""

    def __init__(self, number, host="127.0.0.1"):
        self.peer, self.address = f"{host}:{number}", ("127.0.0.1", 6379)
        self.peer_address = host, number
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


class AtHand:
    """What keys ask of a process: a turn ends when it is said, work is done at once."""

    def __init__(self):
        self.calls = {}
        self.alarms = []
        self.worker = lambda job, done: done(job())

    def soon(self, call):
        self.calls[call] = None

    def step(self):
        """Run the pending calls; calls that they add run in the next turn."""
        calls, self.calls = self.calls, {}
        for call in calls:
            call()

    def end_turn(self):
        while self.calls:
            self.step()

    def work(self, job, done):
        self.worker(job, done)

    def alarm(self, at_ms):
        self.alarms.append(at_ms)


class InMemory:
    """The logs of keys: each a log in memory."""

    def __init__(self, logs=None):
        self.logs = {} if logs is None else logs

    def is_there(self, database):
        return database in self.logs

    def open(self, database):
        return self.logs.setdefault(database, MemoryLog(f"__keys.{database}-0"))

    def load(self, log, levels, now_ms):
        return load(log, levels, now_ms)


class FakeDoor:
    """Sessions around one set of channels; a turn ends after each call."""

    def __init__(
        self, pubsub="32mb 8mb 60", bulk_bytes_max=512 << 20, users=(), rules=(), delay_s=0.0,
        protected=False, logs=None, keys_rules=(), value_bytes_max=16 << 20, apart=None,
    ):  # fmt: skip
        self.access = Access(Unkept(KeptAccess(users=users, rules=rules)))
        self.access.audit = self.heard = Heard()
        self.later = None  # jobs that a test keeps for later
        self.channels = Channels()
        self.channels.attach(lambda call: None)
        self.now = 100.0
        self.wall_ms = 5000
        limits = RespLimits(
            SimpleNamespace(connections_max=100),
            bulk_bytes_max,
            value_bytes_max,
            Unread.parse(pubsub),
        )
        self.door = RespDoor(
            self.channels, limits, Facts(1, "a-b", "data"), lambda: 5000, self.work,
            lambda: self.keys,
            access=self.access, protected=protected,
            logins=Passwords(self.access, self.work, lambda: self.now, b"secret", delay_s),
            refusals=Refusals(lambda: 0.0, self.heard), audit=self.heard,
        )  # fmt: skip
        self.around = AtHand()
        levels = Levels(keys_rules)
        logs = logs if isinstance(logs, InMemory) else InMemory(logs)
        self.keys = Keys(logs, lambda: self.wall_ms, self.around, levels, apart)
        self.keys.lost = self._lost
        self.sessions, self.everyone = [], {}
        self.access.watch(lambda: review(self.door, self.everyone))

    def _lost(self, journal, turn, error):
        for client in self.everyone.values():
            client.lose((journal, turn), str(error).encode())

    def work(self, job, done):
        """Run the job at once, unless the test keeps it for later."""
        if self.later is None:
            done(job())
        else:
            self.later.append((job, done))

    def do_jobs(self):
        jobs, self.later = self.later, None
        for job, done in jobs:
            done(job())

    def log_in(self, name="boss", password="secret"):
        """A connection of this user."""
        peer = self.connect()
        assert peer.ask("AUTH", name, password) == b"+OK\r\n"
        return peer

    def connect(self, host="127.0.0.1"):
        link = FakeLink(1000 + len(self.sessions), host)
        session = link.session = RespSession(self.door, self.everyone, link)
        self.sessions.append(session)
        return Peer(self, session, link)


class Peer:
    """A client's end of a session."""

    def __init__(self, door, session, link):
        self.door, self.session, self.link = door, session, link
        self.left = b""
        self.seen = 0
        self.prompted = True  # input is answered at once if the session can

    def send(self, data):
        """Give data as the server does: unprocessed bytes are given again with later ones."""
        if data and self.prompted and not self.left and not self.link.unsent:
            replies = self.session.prompt(bytes(data), self.door.now)
            if replies is not None:
                self.link.sent += replies
                data = b""
        self.left += data
        while self.left and self.link.cut_for is None and self.session.closed is None:
            woken = self.link.woken
            taken = self.session.receive(memoryview(bytearray(self.left)), self.door.now)
            self.left = self.left[taken:]
            out = b"".join(self.session.outgoing(1 << 20))
            self.link.sent += out
            if not taken and not out and self.link.woken == woken:  # otherwise given again
                break
        self.link.sent += b"".join(self.session.outgoing(1 << 20))
        self.door.channels.flush()
        self.door.around.end_turn()
        self.link.sent += b"".join(self.session.outgoing(1 << 20))
        return self.new()

    def new(self):
        """The output since the last call."""
        found, self.seen = self.link.sent[self.seen :], len(self.link.sent)
        return found

    def ask(self, *words):
        return self.send(request(*words))

    def wait(self, seconds):
        self.door.now += seconds
        self.session.wake(self.door.now)
        return self.send(b"")
