"""A queue with consumers against a plain list: who may have what, what dies, what waits.

With ``x-ordering-key``, too: then a message may go when no other of its key stands before it, and
those that are out are with the same consumer.
"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_parts import Channel, Consumer, Lives

from logstore.amqp import properties
from logstore.broker.queues.peeking import READY, places

pytestmark = pytest.mark.long  # test_queue_model.py is the short one

HIGHEST = 2
CHANNELS = 2
KEYS = st.lists(st.integers(0, 2), min_size=5, max_size=5)
DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}


class Entry:
    """One message, as the list knows it."""

    def __init__(self, number, priority, deadline_ms, key):
        self.number, self.deadline_ms, self.key = number, deadline_ms, key
        self.offset = None
        self.priority = priority
        self.place = (-priority, number)
        self.failures = 0
        self.fresh = True  # no consumer was looked for since it came

    @property
    def body(self):
        return b"%d" % self.number


class Plain:
    """What a queue does, in the simplest words."""

    def __init__(self, limit, length, retry_ms):
        self.limit, self.length, self.retry_ms = limit, length, retry_ms
        self.ready, self.waiting, self.dead = [], [], []  # entries; when and which; which and why

    def die(self, entry, reason):
        self.dead.append((entry.body, reason))

    def drop(self):
        if self.length is not None:
            while len(self.ready) > self.length:
                self.die(self.ready.pop(0), "maxlen")

    def give_back(self, entry, now_ms):
        entry.failures += 1
        entry.fresh = False  # what comes back expired goes at once
        if self.limit is not None and entry.failures > self.limit:
            self.die(entry, "delivery_limit")
        elif self.retry_ms:
            self.waiting.append((now_ms + min(self.retry_ms * entry.failures, 250), entry))
        else:
            self.back(entry)

    def back(self, entry):
        self.ready.append(entry)
        self.ready.sort(key=lambda it: it.place)

    def due(self, now_ms):
        """Those that have waited long enough; whether there were some."""
        due = [it for it in self.waiting if it[0] <= now_ms]
        self.waiting = [it for it in self.waiting if it[0] > now_ms]
        for _, entry in due:
            self.back(entry)
        return bool(due)

    def expire(self, now_ms):
        """The heads of each priority."""
        for priority in range(HIGHEST + 1):
            for it in [it for it in self.ready if it.priority == priority]:
                if it.deadline_ms > now_ms or (it.fresh and it.deadline_ms == now_ms):
                    break
                self.ready.remove(it)
                self.die(it, "expired")


class QueueOfConsumers(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lives = Lives(Path(self.folder.name))
        self.node = self.lives.open()
        self.number = 0
        self.channels = [Channel() for _ in range(CHANNELS)]
        self.consumers = []
        self.out = [{} for _ in range(CHANNELS)]  # by delivery tag: entry, and who has it

    def teardown(self):
        try:
            if hasattr(self, "plain"):
                self.look_at_the_dead()
        finally:
            self.end()

    def look_at_the_dead(self):
        found = []
        while (got := self.node.get(b"dead")) is not None:
            headers = properties.read(got.delivery.properties).headers
            found.append((got.delivery.body, headers["x-death"][0]["reason"]))
        assert sorted(found) == sorted(self.plain.dead)

    def end(self):
        self.lives.end()
        self.folder.cleanup()

    @initialize(
        limit=st.sampled_from([None, None, 0, 2]),
        length=st.sampled_from([None, None, 1, 4]),
        retry_ms=st.sampled_from([0, 0, 0, 100]),
        ttl=st.sampled_from([None, None, 100, 1000]),
        single=st.sampled_from([False, False, True]),
        consumers=st.lists(
            st.tuples(st.integers(0, CHANNELS - 1), st.integers(0, 3), st.sampled_from([0, 0, 5])),
            max_size=4,
        ),
        limits=st.tuples(*[st.sampled_from([0, 0, 2, 4])] * CHANNELS),
        ordering=st.sampled_from([None, 0, 0, 1, 2]),
    )
    def declare(self, limit, length, retry_ms, ttl, single, consumers, limits, ordering):
        given = {"max_priority": HIGHEST, **DEAD}
        given |= {} if limit is None else {"delivery_limit": limit}
        given |= {} if length is None else {"max_length": length}
        given |= {} if ttl is None else {"message_ttl": ttl}
        given |= {"single_active_consumer": True} if single else {}
        if retry_ms:
            given |= {"delayed_retry_type": "all", "delayed_retry_min": retry_ms,
                      "delayed_retry_max": 250}  # fmt: skip
        if ordering is not None:
            given |= {"ordering_key": "header:k", "ordering_prefetch": ordering}
        self.ttl, self.single, self.ordering = ttl, single, ordering
        self.ends = [0] * (HIGHEST + 1)  # of each lane
        self.node.declare(b"dead")
        self.queue = self.node.declare(b"q", durable=False, **given)
        self.plain = Plain(limit, length, retry_ms)
        for channel, prefetch in zip(self.channels, limits, strict=True):
            channel.prefetch = prefetch
        for place, prefetch, priority in consumers:
            self.subscribed(place, prefetch, priority)

    @property
    def now_ms(self):
        return self.node.clock.now_ms

    # Who may have something

    def active(self):
        """In the order in which they may be served."""
        there = sorted(self.consumers, key=lambda it: -it.priority)
        if not self.single:
            return there
        if self.chosen not in there:
            self.chosen = there[0] if there else None
        return [it for it in there if it is self.chosen]

    chosen = None

    def room(self, consumer):
        held = self.out[consumer.place]
        of_channel = self.channels[consumer.place].prefetch - len(held)
        if consumer.no_ack:  # it takes no room, and waits where there is none
            full = self.channels[consumer.place].prefetch and of_channel <= 0
            return 0 if full else 10**9
        own = consumer.prefetch - sum(it is consumer for _, it in held.values())
        rooms = [own] * bool(consumer.prefetch)
        rooms += [of_channel] * bool(self.channels[consumer.place].prefetch)
        return min(rooms, default=10**9)

    def settled(self, *, returned=False):
        """All that follows from what was done, in both."""
        if self.ordering is not None:
            self.settled_in_order(returned)
            return
        self.node.run()
        plain, now_ms = self.plain, self.now_ms
        if plain.due(now_ms) or returned:
            plain.drop()
        given, had_room = {}, {it for it in self.consumers if self.room(it) > 0}
        for consumer in self.consumers:
            for tag, delivery in consumer.forget():
                given[int(delivery.body)] = consumer, tag, delivery
        for entry in list(plain.ready):
            if not given:
                break
            late = entry.deadline_ms <= now_ms and not entry.fresh
            if entry.number not in given:
                # Passed over for a later one: it had expired at the head.
                assert late, (entry.body, sorted(given))
                plain.ready.remove(entry)
                plain.die(entry, "expired")
                continue
            consumer, tag, delivery = given.pop(entry.number)
            assert not late
            # What is dealt at once may fill the channel of who takes no room.
            assert consumer in had_room if consumer.no_ack else self.room(consumer) > 0
            better = [it for it in self.active() if it.priority > consumer.priority]
            assert all(self.room(it) <= 0 for it in better)
            assert consumer in self.active()
            assert delivery.redelivered or not entry.failures
            self.shows(delivery, entry)
            plain.ready.remove(entry)
            if not consumer.no_ack:
                self.out[consumer.place][tag] = entry, consumer
        assert not given
        for entry in plain.ready:
            entry.fresh = False
        plain.expire(now_ms)
        assert not plain.ready or all(self.room(it) <= 0 for it in self.active())
        plain.drop()

    def settled_in_order(self, returned):
        self.node.run()
        plain, now_ms = self.plain, self.now_ms
        if plain.due(now_ms) or returned:
            plain.drop()
        given, free = {}, []
        for consumer in self.consumers:
            for tag, delivery in consumer.forget():
                given[int(delivery.body)] = consumer, tag, delivery
        there = {it.spot for it in places(self.queue, None, 500).found if it.state == READY}
        had_room = {it for it in self.consumers if self.room(it) > 0}
        blocked = {it.key for _, it in plain.waiting}
        for entry in list(plain.ready):
            late = entry.deadline_ms <= now_ms and not entry.fresh
            if entry.number in given:
                consumer, tag, delivery = given.pop(entry.number)
                assert not late
                assert consumer in self.active()
                assert entry.key not in blocked, "another of its key stands before it"
                out = self.out_of(entry.key)
                assert {it for _, it in out} <= {consumer}
                assert not self.ordering or len(out) < self.ordering
                assert consumer in had_room if consumer.no_ack else self.room(consumer) > 0
                assert delivery.redelivered == bool(entry.failures)
                self.shows(delivery, entry)
                plain.ready.remove(entry)
                if not out:
                    free.append(consumer)
                if not consumer.no_ack:
                    self.out[consumer.place][tag] = entry, consumer
            elif late and (entry.priority, entry.offset) not in there:
                plain.ready.remove(entry)
                plain.die(entry, "expired")
            else:
                blocked.add(entry.key)
        assert not given
        for consumer in free:  # what is nobody's goes to the highest that have room
            better = [it for it in self.active() if it.priority > consumer.priority]
            assert all(self.room(it) <= 0 for it in better)
        for entry in plain.ready:
            entry.fresh = False
        plain.expire(now_ms)
        self.nobody_waits_in_vain()
        plain.drop()

    def out_of(self, key):
        return [it for held in self.out for it in held.values() if it[0].key == key]

    def nobody_waits_in_vain(self):
        blocked = {it.key for _, it in self.plain.waiting}
        for entry in self.plain.ready:
            if entry.key not in blocked:
                out = self.out_of(entry.key)
                may = {it for _, it in out} & set(self.active()) if out else self.active()
                if not self.ordering or len(out) < self.ordering:
                    assert all(self.room(it) <= 0 for it in may), entry.body
            blocked.add(entry.key)

    def shows(self, delivery, entry):
        headers = properties.read(delivery.properties).headers or {}
        assert headers.get("x-delivery-count", 0) == entry.failures

    # What happens

    @rule(count=st.integers(1, 5), keys=KEYS)
    def publish_some(self, count, keys):
        self.published(count, 0, None, keys)

    @rule(
        count=st.integers(1, 5),
        priority=st.integers(0, HIGHEST + 1),
        expiration=st.sampled_from([None, None, 50, 500]),
        keys=KEYS,
    )
    def publish(self, count, priority, expiration, keys):
        self.published(count, priority, expiration, keys)

    def published(self, count, priority, expiration, keys):
        times = [it for it in (self.ttl, expiration) if it is not None]
        deadline_ms = self.now_ms + min(times, default=10**15)
        entries = [
            Entry(self.number + n, min(priority, HIGHEST), deadline_ms, keys[n])
            for n in range(count)
        ]
        self.number += count
        given = {} if expiration is None else {"expiration": str(expiration)}
        if self.ordering is None:
            self.node.publish(b"q", *(it.body for it in entries), priority=priority, **given)
        for it in entries if self.ordering is not None else ():
            it.offset = self.ends[it.priority]
            self.ends[it.priority] += 1
            headers = {"k": it.key}
            self.node.publish_soon(b"q", it.body, priority=priority, headers=headers, **given)
        for it in entries:
            self.plain.back(it)
        self.settled()

    @precondition(lambda self: len(self.consumers) < 4)
    @rule(
        place=st.integers(0, CHANNELS - 1), prefetch=st.integers(0, 3),
        priority=st.sampled_from([0, 0, 5]), no_ack=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def subscribe(self, place, prefetch, priority, no_ack):
        self.subscribed(place, prefetch, priority, no_ack=no_ack)

    def subscribed(self, place, prefetch, priority, *, no_ack=False):
        consumer = Consumer(self.channels[place], prefetch, priority=priority, no_ack=no_ack)
        consumer.place = place
        self.queue.subscribe(consumer)
        self.consumers.append(consumer)
        self.active()
        self.settled()

    def some_consumer(self, data):
        return data.draw(st.sampled_from(self.consumers))

    @precondition(lambda self: len(self.consumers) > 2)
    @rule(data=st.data())
    def cancel(self, data):
        """What it has stays out."""
        consumer = self.some_consumer(data)
        self.consumers.remove(consumer)
        self.queue.unsubscribe(consumer)
        self.active()
        self.settled()

    @rule(place=st.integers(0, CHANNELS - 1), prefetch=st.sampled_from([0, 1, 2, 4]))
    def limit_channel(self, place, prefetch):
        self.channels[place].prefetch = prefetch
        self.queue.wake()
        self.settled()

    @precondition(lambda self: sum(map(len, self.out)) > 2)
    @rule(place=st.integers(0, CHANNELS - 1))
    def channel_ends(self, place):
        self.channels[place].end()
        gone = [it for it in self.consumers if it.place == place]
        self.consumers = [it for it in self.consumers if it.place != place]
        for it in gone:
            self.queue.unsubscribe(it)
        self.active()
        entries = [entry for entry, _ in self.out[place].values()]
        self.channels[place], self.out[place] = Channel(self.channels[place].prefetch), {}
        for entry in entries:
            self.plain.give_back(entry, self.now_ms)
        self.settled(returned=True)

    @precondition(lambda self: any(self.out))
    @rule(data=st.data(), how=st.sampled_from(["ack", "requeue"]))
    def settle_one(self, data, how):
        self.settle(data, how, multiple=False)

    @precondition(lambda self: any(self.out))
    @rule(data=st.data(), how=st.sampled_from(["ack", "requeue", "reject"]), multiple=st.booleans())
    def settle_some(self, data, how, multiple):
        self.settle(data, how, multiple=multiple)

    def settle(self, data, how, *, multiple):
        place = data.draw(st.sampled_from([n for n, it in enumerate(self.out) if it]))
        held = self.out[place]
        tag = data.draw(st.sampled_from(sorted(held)))
        getattr(self.channels[place], how)(tag, multiple=multiple)
        tags = [it for it in sorted(held) if it == tag or (multiple and it < tag)]
        for entry, _ in [held.pop(it) for it in tags]:
            if how == "requeue":
                self.plain.give_back(entry, self.now_ms)
            elif how == "reject":
                self.plain.die(entry, "rejected")
        self.settled(returned=how == "requeue")

    @rule(ms=st.sampled_from([1, 49, 50, 100, 200, 499]))
    def time_goes_by(self, ms):
        self.node.later(ms)
        self.settled()

    @invariant()
    def the_same_is_there(self):
        if not hasattr(self, "plain"):
            return
        assert self.queue.ready == len(self.plain.ready)
        held = sum(map(len, self.out)) + len(self.plain.waiting)
        assert self.queue.out == held
        assert self.node.ready(b"dead") == len(self.plain.dead)


QueueOfConsumers.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestQueueOfConsumers = QueueOfConsumers.TestCase
