"""The HTTP API over topics on disk and groups in memory, without sockets and threads."""

import json
from base64 import b64encode
from queue import SimpleQueue
from types import SimpleNamespace

import msgspec
from coordinator_parts import MemoryKeeper
from heard_audit import Heard
from http_kit import HttpPeer, answers, request

import logstore
from logstore.access.access import Access, Unkept, open_access
from logstore.access.identity import OWNER
from logstore.access.logins import Login
from logstore.access.refusals import Refusals
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.fresh import FRESH_S
from logstore.broker.group_lags import GroupLags
from logstore.config import Config
from logstore.kept.groups import OffsetToCommit
from logstore.kept.users import KeptAccess, KeptRule, KeptUser, ScramKey
from logstore.protocols.http.description import API
from logstore.protocols.http.native.answers import ANSWERS
from logstore.protocols.http.routes import ROUTER
from logstore.protocols.kafka.subscription import SPEECH

DEADLINE_S = 30


class HandTimer:
    """The sessions' clock; it stands still until a test moves it."""

    def __init__(self):
        self.seconds = 1000.0
        self._due = []

    def now(self):
        return self.seconds

    def call_at(self, at, call):
        alarm = [at, call]
        self._due.append(alarm)
        return SimpleNamespace(cancel=lambda: alarm in self._due and self._due.remove(alarm))

    def go_on(self, seconds):
        """Let time pass, and run due calls at their times."""
        until = self.seconds + seconds
        while due := [it for it in self._due if it[0] <= until]:
            first = min(due, key=lambda it: it[0])
            self._due.remove(first)
            self.seconds = max(self.seconds, first[0])
            first[1]()
        self.seconds = until


class Anybody:
    """Everyone's password is his name."""

    def check(self, name, password, host, then):
        then(Login(name.decode() if name == password else None))

    def admits(self, name):
        return True


KEY = ScramKey(b"salt", 4096, b"stored", b"server")


def users(**rules):
    """``root``, ``mon`` who sees all facts, and others, each with (operation, kind, name)s."""
    keys = {"SCRAM-SHA-256": KEY}
    rows = [KeptUser("root", keys, ("administrator",)), KeptUser("mon", keys, ("monitoring",))]
    rows += [KeptUser(name, keys, ("management",)) for name in rules]
    ruled = [KeptRule(name, *it) for name, them in rules.items() for it in them]
    return Access(Unkept(KeptAccess(rows, ruled)))


def check(method, path, body):
    """Check that an answer matches its description."""
    route = ROUTER.find(method, f"{API}/{path}".encode()).route
    gives = ANSWERS.get(f"{method} {route.path.removeprefix(API)}")
    if gives is not None and b"\\ud" not in body:  # half a character, which msgspec does not read
        msgspec.json.decode(body, type=gives)


class Topical:
    """A store, and one who asks it by HTTP: its owner, or with ``access`` who ``user`` is then."""

    def __init__(self, path, access=None, stopwatch=lambda: 0.0, **settings):
        given = {name.replace("_", "."): (str(text), "test") for name, text in settings.items()}
        self.store = logstore.open(path, config=Config(given))
        self.topics = self.store.internals().topics
        self.timer, self.keeper, self.audit = HandTimer(), MemoryKeeper(), Heard()
        self.coordinator = Coordinator(
            Config().store, self.keeper, self.topics.facts, names=self.topics.names, speech=SPEECH
        )
        self.access = access or open_access()
        self.user = ""
        self.held = None  # jobs that are still to be done in another thread; None: at once
        self.stopwatch = stopwatch
        self._soon = SimpleQueue()
        self.peer = self.new_peer()

    def new_peer(self, **more):
        lags = GroupLags(self.topics, self.coordinator, self._work, self.timer.now)
        return HttpPeer(
            access=self.access, who=None if self.access.required else OWNER, logins=Anybody(),
            refusals=Refusals(lambda: 0.0, self.audit), topics=self.topics,
            coordinator=self.coordinator, lags=lags, timer=self.timer, audit=self.audit,
            jobs=self.store.internals().doing.facts, work=self._work, stopwatch=self.stopwatch,
            soon=self._soon.put, **more,
        )  # fmt: skip

    @property
    def timer_ms(self):
        return int(self.timer.seconds * 1000)

    def _work(self, job, done):
        if self.held is None:
            done(job())
        else:
            self.held.append((job, done))

    def work(self):
        """Run held jobs and their results."""
        while self.held:
            job, done = self.held.pop(0)
            done(job())

    def close(self):
        self.store.close()

    def raw(self, method, path, value=None):
        said = self.begin(method, path, value)
        while not said:  # a log is synced by a thread of its own
            self._soon.get(timeout=DEADLINE_S)()
            said = self.peer.out()
        [answer] = answers(said)
        return answer

    def begin(self, method, path, value=None):
        """Send a request; returns what is answered at once, as bytes."""
        body = b"" if value is None else json.dumps(value).encode()
        return self.peer.say(self.request(method, path, body))

    def request(self, method, path, body, *headers):
        login = b64encode(f"{self.user}:{self.user}".encode()).decode()
        login = [f"authorization: Basic {login}"] if self.user else []
        return request(method, f"/api/v1/{path}", body, *login, *headers)

    def settle(self):
        """Run the calls left for the end of the turn."""
        while not self._soon.empty():
            self._soon.get()()

    def ask(self, method, path, value=None, status=200):
        found, _, body = self.raw(method, path, value)
        assert found == status, body
        if status < 300:
            check(method, path, body)
        return json.loads(body)

    def items(self, path):
        return self.ask("GET", path)["items"]

    def lines(self, path, value):
        status, _, body = self.raw("POST", path, value)
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]

    def commit(self, group, offsets):
        """``offsets``: by topic and partition. Earlier look-ups are then outdated."""
        self.timer.go_on(FRESH_S + 1)
        results = []
        given = {place: OffsetToCommit(offset) for place, offset in offsets.items()}
        self.coordinator.commit(OffsetCommit(group, given), 0, results.append)
        assert not any(results[0].values()), results
