"""A cluster of one node, our own Kafka door, and what is around its client, without sockets."""

import heapq
import itertools
from random import Random
from types import SimpleNamespace

from door_kit import Talk
from transacting_talk import TransactingTalk

from logstore.cluster.client import Client
from logstore.cluster.frames import SHARED_BYTES, Frames
from logstore.cluster.offsets import EARLIEST, LATEST
from logstore.errors import ClusterUnreachable, LogstoreError

ADDRESS = ("127.0.0.1", 9092)


class OneNode:
    """``Around`` of its client; time passes, and bytes go over, when a test says so."""

    def __init__(self, seed=0, beside=None, transactions=False, talk=None):
        """``beside``: another client of the same broker; ``transactions``: of its broker."""
        self.first = (
            beside.first if beside else TransactingTalk() if transactions else talk or Talk()
        )
        self.topics = self.first.topics
        self.random = Random(seed)
        self.up = True  # whether it can be reached
        self.speaks = {}  # the highest version of requests, by key, where its broker is older
        self.worked = 0  # jobs that another thread was given
        self.deaf = False  # whether its answers are lost, although requests are carried out
        self.held = False  # whether its answers come later
        self._calls, self._numbers = [], itertools.count()
        self._ends = []  # (link, talk, frames)
        self._soon = {}
        self.client = client = Client([ADDRESS], self, self.random)
        self.brokers, self.identities = client.brokers, client.identities
        self.writer, self.fetcher, self.offsets = client.writer, client.fetcher, client.offsets

    # Around

    def now(self):
        return self.first.now

    def call_at(self, at, call):
        due = [at, next(self._numbers), call]
        heapq.heappush(self._calls, due)
        return SimpleNamespace(cancel=lambda: due.__setitem__(2, lambda: None))

    def connect(self, address, link):
        assert address == ADDRESS
        if not self.up:
            self.soon(lambda: link.lose(ClusterUnreachable("connection refused")))
            return lambda: None
        talk = type(self.first)(beside=self.first)
        ready = link.when_ready
        link.when_ready = lambda: (self._grow_old(link), ready())
        self._ends.append((link, talk, Frames(memoryview(bytearray(SHARED_BYTES)))))
        return lambda: None

    def _grow_old(self, link):
        """Limit the API versions of the broker."""
        for key, high in self.speaks.items():
            low, known = link._versions[key]
            link._versions[key] = low, min(known, high)

    def soon(self, call):
        self._soon[call] = None

    def work(self, job, done):
        self.worked += 1
        done(job())

    # What a test does

    def log(self, topic="t", partition=0, partitions=1):
        """The partition as a log; its topic is created if it does not exist."""
        if self.topics.get(topic) is None:
            self.topics.create(topic, partitions, {})
        place = topic, partition
        start, safe = (
            self.wait_for(lambda then, it=it: self.offsets.at_time(place, it, then))[0]
            for it in (EARLIEST, LATEST)
        )
        return self.client.shared_log(place, start, safe, self.wait_for)

    def wait_for(self, begin):
        """As WaitFor; time passes meanwhile."""
        heard = []
        begin(heard.append)
        for _ in range(1000):
            if heard:
                break
            self.pass_time(0.05)
        [found] = heard
        if isinstance(found, LogstoreError):
            raise found
        return found

    def run(self):
        """Run until no side has anything to send; no time passes."""
        moved = True
        while moved:
            moved = bool(self._soon)
            calls, self._soon = self._soon, {}
            for call in calls:
                call()
            while self._calls and self._calls[0][0] <= self.now():
                moved = True
                heapq.heappop(self._calls)[2]()
            for link, talk, frames in list(self._ends):
                moved |= self._pump(link, talk, frames)

    def _pump(self, link, talk, frames):
        if link.failure is not None:
            self._ends = [it for it in self._ends if it[0] is not link]
            return False
        sent = b"".join(map(bytes, link.outgoing()))
        talk.feed(sent)
        if sent and isinstance(talk, TransactingTalk):
            talk.node.settle()
        if self.held:
            return bool(sent)
        answered = talk.out()
        if talk.session.closed is not None and not answered:
            link.lose(ClusterUnreachable(f"it closes the connection: {talk.session.closed}"))
            return True
        if self.deaf:
            answered = b""
        while answered:
            room = frames.room()
            count = min(len(room), len(answered))
            room[:count] = answered[:count]
            for frame in frames.taken(count):
                link.received(frame)
            answered = answered[count:]
            sent = sent or b"something"
        return bool(sent)

    def cut(self):
        """Lose all connections."""
        for link, _, _ in self._ends:
            link.lose(ClusterUnreachable("connection lost"))
        self._ends = []

    def pass_time(self, seconds, beside=()):
        """Let time pass in steps, and do what is due in each; ``beside``: of other clients, too."""
        end = self.now() + seconds
        clients = self, *beside
        while self.now() < end - 1e-9:
            self.first.pass_time(min(0.05, end - self.now()))
            for it in (*clients, *clients):
                it.run()
            for it in clients:
                it.run()
