"""A queue against a plain list, over any history: also of restarts, kills and time going by."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_parts import Channel, Consumer, Lives

HIGHEST = 2
OVERFLOWS = ["drop-head", "reject-publish"]


class Entry:
    """One message, as the list knows it."""

    def __init__(self, number, priority, deadline_ms):
        self.number, self.priority, self.deadline_ms = number, priority, deadline_ms
        self.place = (-priority, number)
        self.failures = 0
        self.given = False

    @property
    def body(self):
        return b"%d" % self.number


class Plain:
    """What a queue does, in the simplest words."""

    def __init__(self, limit, length, overflow):
        self.limit, self.length, self.overflow = limit, length, overflow
        self.ready = []
        self.out = []

    def publish(self, entry):
        """Whether it is taken."""
        rejects = self.length is not None and self.overflow == "reject-publish"
        if rejects and len(self.ready) >= self.length:
            return False
        self.ready.append(entry)
        return True

    def tidy(self, now_ms):
        """The heads of each priority that have expired, and what is too much."""
        self.ready.sort(key=lambda it: it.place)
        for priority in range(HIGHEST + 1):
            for it in [it for it in self.ready if it.priority == priority]:
                if it.deadline_ms > now_ms:
                    break
                self.ready.remove(it)
        if self.length is not None and self.overflow == "drop-head":
            del self.ready[: max(0, len(self.ready) - self.length)]

    def take(self):
        self.tidy(0)
        return self.ready.pop(0) if self.ready else None

    def give_back(self, entry, *, failed):
        self.out.remove(entry)
        entry.failures += failed
        if self.limit is None or entry.failures <= self.limit:
            self.ready.append(entry)


class QueueHistory(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lives = Lives(Path(self.folder.name))
        self.node = self.lives.open()
        self.number = 0
        self.tags = {}  # by delivery tag: the entry that is out

    def teardown(self):
        self.lives.end()
        self.folder.cleanup()

    @initialize(
        limit=st.none() | st.integers(0, 2),
        length=st.none() | st.integers(1, 6),
        overflow=st.sampled_from(OVERFLOWS),
        ttl=st.none() | st.sampled_from([0, 100, 1000]),
        durable=st.booleans(),
    )
    def declare(self, limit, length, overflow, ttl, durable):
        given = {"max_priority": HIGHEST, "overflow": overflow}
        given |= {} if limit is None else {"delivery_limit": limit}
        given |= {} if length is None else {"max_length": length}
        given |= {} if ttl is None else {"message_ttl": ttl}
        self.given, self.durable, self.ttl = given, durable, ttl
        self.node.declare(b"q", durable=durable, **given)
        self.plain = Plain(limit, length, overflow)
        self.channel = Channel()

    @property
    def now_ms(self):
        return self.node.clock.now_ms

    @rule(
        count=st.integers(1, 5),
        priority=st.integers(0, HIGHEST + 1),
        expiration=st.none() | st.sampled_from([0, 50, 500]),
    )
    def publish(self, count, priority, expiration):
        times = [it for it in (self.ttl, expiration) if it is not None]
        deadline_ms = self.now_ms + min(times, default=10**15)
        entries = [
            Entry(self.number + n, min(priority, HIGHEST), deadline_ms) for n in range(count)
        ]
        self.number += count
        taken = [self.plain.publish(it) for it in entries]
        given = {} if expiration is None else {"expiration": str(expiration)}
        published = self.node.publish(
            b"q", *(it.body for it in entries), priority=priority, **given
        )
        assert published.rejected == [n for n, it in enumerate(taken) if not it]

    @rule()
    def get(self):
        self.plain.tidy(self.now_ms)
        expected = self.plain.take()
        got = self.node.get(b"q", self.channel, no_ack=False)
        assert (got is None) == (expected is None)
        if got is not None:
            assert got.delivery.body == expected.body
            assert got.delivery.redelivered or not expected.given
            expected.given = True
            self.plain.out.append(expected)
            self.tags[got.tag] = expected

    @rule(room=st.integers(1, 4))
    def consume(self, room):
        """A consumer that comes, has some, and goes."""
        consumer = Consumer(self.channel, prefetch=room)
        queue = self.node.vhost.queue(b"q")
        queue.subscribe(consumer)
        self.node.run()
        queue.unsubscribe(consumer)
        self.plain.tidy(self.now_ms)
        for tag, delivery in consumer.had:
            self.plain.tidy(self.now_ms)
            expected = self.plain.take()
            assert delivery.body == expected.body
            expected.given = True
            self.plain.out.append(expected)
            self.tags[tag] = expected
        assert len(consumer.had) == room or not self.plain.ready

    def some(self, data):
        return data.draw(st.sampled_from(sorted(self.tags)))

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), multiple=st.booleans())
    def ack(self, data, multiple):
        tag = self.some(data)
        self.channel.ack(tag, multiple=multiple)
        for it in [it for it in self.tags if it == tag or (multiple and it < tag)]:
            self.plain.out.remove(self.tags.pop(it))

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), multiple=st.booleans())
    def requeue(self, data, multiple):
        tag = self.some(data)
        self.channel.requeue(tag, multiple=multiple)
        for it in [it for it in self.tags if it == tag or (multiple and it < tag)]:
            self.plain.give_back(self.tags.pop(it), failed=True)
        self.node.run()

    @precondition(lambda self: self.tags)
    @rule(data=st.data())
    def reject(self, data):
        tag = self.some(data)
        self.channel.reject(tag)
        self.plain.out.remove(self.tags.pop(tag))

    @rule(ms=st.sampled_from([1, 49, 50, 100, 499, 1000]))
    def time_goes_by(self, ms):
        self.node.later(ms)

    @rule()
    def purge(self):
        self.plain.tidy(self.now_ms)
        found = []
        self.node.run()
        self.node.vhost.queue(b"q").purge(found.append)
        self.node.run()
        assert found == [len(self.plain.ready)]
        self.plain.ready = []

    @rule(end=st.sampled_from(["again", "kill"]))
    def restart(self, end):
        self.node.run()
        self.node = getattr(self.lives, end)()
        self.channel, self.tags = Channel(), {}
        if self.durable:
            for it in list(self.plain.out):
                self.plain.give_back(it, failed=False)
        else:
            self.plain.ready, self.plain.out = [], []
        self.node.declare(b"q", durable=self.durable, **self.given)

    @invariant()
    def the_same_is_there(self):
        if not hasattr(self, "plain"):
            return
        self.node.run()
        self.plain.tidy(self.now_ms)
        assert self.node.ready(b"q") == len(self.plain.ready)
        assert self.node.vhost.queue(b"q").out == len(self.plain.out)


QueueHistory.TestCase.settings = settings(max_examples=12, stateful_step_count=20)
TestQueueHistory = QueueHistory.TestCase
