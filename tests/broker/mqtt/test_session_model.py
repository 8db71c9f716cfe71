"""A session against a plain list, over any history of takeovers, restarts and kills."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mqtt_sessions import Line, MqttLives

from logstore.broker.mqtt.filters import matches

TOPICS = [b"a", b"a/b", b"a/b/c", b"$a/b"]
FILTERS = [b"a", b"a/+", b"a/#", b"#", b"+/b"]
EXPIRY_S = 100


class Entry:
    """One message, as the list knows it."""

    def __init__(self, number, topic, qos):
        self.number, self.topic, self.qos = number, topic, qos
        self.dup = False
        self.pid = None  # once it was sent

    @property
    def body(self):
        return b"%d" % self.number


class Plain:
    """What a session does, in the simplest words."""

    def __init__(self, expiry_s):
        self.expiry_s = expiry_s
        self.grants = {}
        self.ready = []
        self.out = []  # as they were sent
        self.again = []  # of these, those that are to be sent on this connection

    def qos_for(self, topic):
        return max((it for f, it in self.grants.items() if matches(f, topic)), default=None)

    def wants(self, topic):
        return bool(self.qos_for(topic))

    def give_back(self, *, killed):
        """The process has ended."""
        for it in self.out:
            it.dup = True
            it.pid = None
        self.ready = sorted([*self.out, *self.ready], key=lambda it: it.number)
        if killed:
            for it in self.ready:
                it.dup = True
        self.out, self.again = [], []


class SessionHistory(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.path = tempfile.TemporaryDirectory()
        self.lives = MqttLives(Path(self.path.name))
        self.node = self.lives.open()
        self.plain = None  # the session, if there is one
        self.line = None
        self.session = None
        self.window = 0
        self.left_ms = None
        self.numbers = 0

    def teardown(self):
        if hasattr(self, "lives"):
            self.lives.end()
            self.path.cleanup()

    # What is seen of it

    def pump(self):
        """What the plain session sends now, compared with what has come down the line."""
        if self.line is None:
            return
        plain, sent = self.plain, self.line.forget()
        expected = []
        while plain.again and len(plain.out) - len(plain.again) < self.window:
            entry = plain.again.pop(0)
            expected.append((entry, 1, True))
        while not plain.again and plain.ready and len(plain.out) < self.window:
            entry = plain.ready.pop(0)
            qos = plain.qos_for(entry.topic)
            qos = 1 if qos is None else min(qos, entry.qos, 1)
            if qos:
                plain.out.append(entry)
            expected.append((entry, qos, entry.dup))
        assert [(it.payload, it.topic, it.qos, it.dup) for it in sent] == [
            (it.body, it.topic, qos, dup) for it, qos, dup in expected
        ]
        for it, (entry, qos, _) in zip(sent, expected, strict=True):
            if not qos:
                assert it.pid == 0
                continue
            if entry.pid is not None:
                assert it.pid == entry.pid, "it comes again with another id"
            entry.pid = it.pid
        ids = [it.pid for it in plain.out if it.pid is not None]
        assert len(ids) == len(set(ids))
        assert all(0 < it <= 65_535 for it in ids)

    @invariant()
    def the_counts_are_right(self):
        if not hasattr(self, "lives"):
            return
        known = list(self.node.sessions.there())
        assert len(known) == (self.plain is not None)
        if self.plain is None:
            assert list(self.node.vhost.queues()) == []
        elif known[0].queue is not None:
            queue = known[0].queue
            known = []
            queue.when_open(lambda: known.append(True))
            self.node.run(until=lambda: known)
            assert (queue.ready, queue.out) == (len(self.plain.ready), len(self.plain.out))

    # What happens

    @rule(
        clean=st.booleans(), expiry_s=st.sampled_from([0, EXPIRY_S]), window=st.integers(1, 4),
        room=st.booleans(),
    )  # fmt: skip
    def comes(self, clean, expiry_s, window, room):
        taken_over = self.line is not None
        if taken_over and self.plain.expiry_s == 0:
            self.plain = None
        if clean:
            self.plain = None
        had = self.plain is not None
        if not had:
            self.plain = Plain(expiry_s)
        self.plain.expiry_s = expiry_s
        self.plain.again = list(self.plain.out)
        line, self.window = Line(), window
        line.room = line.room if room else 0
        self.session, present, self.line = self.node.come(
            clean=clean, expiry_s=expiry_s, window=window, line=line
        )
        assert present == had
        if not room:
            assert line.sent == []
            line.room = Line().room
            self.session.out.drained()
            self.node.run()
        self.pump()

    @precondition(lambda self: self.line is not None)
    @rule(qos=st.integers(0, 2), chosen=st.sampled_from(FILTERS))
    def subscribes(self, qos, chosen):
        self.node.subscribe(self.session, chosen, qos=qos)
        self.plain.grants[chosen] = qos
        self.pump()

    @precondition(lambda self: self.line is not None and self.plain.grants)
    @rule(data=st.data())
    def unsubscribes(self, data):
        chosen = data.draw(st.sampled_from(sorted(self.plain.grants)))
        assert self.node.unsubscribe(self.session, chosen) == [True]
        del self.plain.grants[chosen]
        self.pump()

    @rule(topic=st.sampled_from(TOPICS), qos=st.integers(1, 2), count=st.integers(1, 5))
    def publish(self, topic, qos, count):
        entries = [Entry(self.numbers + n, topic, qos) for n in range(count)]
        self.numbers += count
        if self.plain is not None and self.plain.wants(topic):
            self.plain.ready += entries
        self.node.send(topic, *[it.body for it in entries], qos=qos)
        self.pump()

    @precondition(lambda self: self.line is not None and self.plain.out)
    @rule(data=st.data())
    def acknowledges(self, data):
        sent = [it for it in self.plain.out if it.pid is not None]
        those = data.draw(st.lists(st.sampled_from(sent), min_size=1, unique=True))
        self.node.ack(self.session, *[it.pid for it in those])
        for it in those:
            self.plain.out.remove(it)
            if it in self.plain.again:
                self.plain.again.remove(it)
        self.pump()

    @precondition(lambda self: self.line is not None)
    @rule(expiry_s=st.sampled_from([None, 0]))
    def goes(self, expiry_s):
        self.node.go(self.session, expiry_s=expiry_s)
        self._is_away(expiry_s)

    def _is_away(self, expiry_s=None):
        self.line = self.session = None
        if self.plain.expiry_s == 0 or expiry_s == 0:
            self.plain = None
        self.left_ms = self.node.clock()

    def _expire(self):
        now_ms = self.node.clock()
        if self.plain is None or self.line is not None:
            return
        if now_ms >= self.left_ms + 1000 * self.plain.expiry_s:
            self.plain = None

    @rule(seconds=st.integers(1, EXPIRY_S))
    def time_goes_by(self, seconds):
        self.node.later(1000 * seconds)
        self._expire()
        self.pump()

    @rule(seconds=st.integers(0, 2 * EXPIRY_S), killed=st.booleans())
    def the_process_starts_again(self, seconds, killed):
        if self.line is not None:
            self._is_away()
            if killed:  # nobody could note when that was, but that it was there
                self.left_ms = self.node.keeper.load().alive_ms
        if self.plain is not None:
            self.plain.give_back(killed=killed)
        self.node.run(until=lambda: not (self.node.committer._queue or self.node.committer._turn))
        if killed:
            self.lives.crash()
        else:
            self.lives.close()
        self.lives.clock.now_ms += 1000 * seconds
        self.node = self.lives.open()
        self.node.later(0)
        self._expire()


SessionHistory.TestCase.settings = settings(max_examples=6, stateful_step_count=30)
TestSessionHistory = SessionHistory.TestCase
