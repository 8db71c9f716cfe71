"""What a member of a share group may have done in one turn, with partitions that are there.

Counted are calls of functions in the sessions' thread, not time.
"""

from dataclasses import replace

import pytest
from counted_turns import Thread
from door_kit import Talk
from share_kit import ACCEPT, RELEASE, RENEW, Sharer, append
from shares_kit import places

from logstore.broker.queues.share_groups import Place, begun_state
from logstore.errors import StorageFull
from logstore.kafka.messages import (
    alter_share_group_offsets,
    delete_groups,
    delete_share_group_offsets,
    describe_share_group_offsets,
    share_fetch,
)
from logstore.kafka.schema import codec
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.apis import APIS
from logstore.protocols.kafka.session import KafkaSession
from logstore.slices import Slices

CALLS_MAX = 39_900  # some 10 ms
PARTITIONS = 5000

pytestmark = pytest.mark.long


@pytest.fixture
def thread(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    return Thread()


def a_sharer(thread):
    """What it sends is taken in a turn."""
    talk = Talk(work=thread.work)
    talk.door = replace(talk.door, slices=Slices(thread.soon))
    talk.shares_of.work = thread.work
    talk.session = KafkaSession(talk.door, talk._wake, ("127.0.0.1", 9092), ("192.0.2.1", 50_000))
    feed = talk.feed
    talk.feed = lambda data: thread.turn(lambda: feed(data))
    return Sharer(talk=talk)


def answer(thread, sharer, key=78):
    """What is answered; where nothing happens any more, once its time is up."""
    talk, out = sharer.talk, []
    for _ in range(10 * PARTITIONS):
        went_on = thread.go_on()
        thread.turn(talk.shares_of.step)
        out += thread.turn(lambda: talk.session.outgoing(1 << 30))
        if not talk.session.busy:
            return b"".join(map(bytes, out))
        if not (went_on or talk.shares_of.busy or talk.woken):
            talk.pass_time(1)
        talk.woken = 0
    raise AssertionError("no answer")


def test_many_partitions_with_records(thread):
    sharer = a_sharer(thread)
    topic = sharer.topic(partitions=100)
    topics = [topic, *(sharer.topic(f"t{n}", 100) for n in range(PARTITIONS // 100 - 1))]
    asked = [(it, number) for it in topics for number in range(100)]
    sharer.send(asked, wait_ms=500)
    answer(thread, sharer)
    shares = sharer.talk.shares_of.opened
    for epoch in range(1, PARTITIONS):  # as many as there is time for
        if len(places(shares)) == PARTITIONS:
            break
        sharer.epoch = epoch
        sharer.send()
        answer(thread, sharer)
    sharer.epoch = epoch
    for it, number in asked:
        append(it, 1, number)
    sharer.send(most=100_000, max_bytes=1 << 30)
    data = answer(thread, sharer)
    found = sharer.talk.read(78, 2, share_fetch.Response, data[8:])
    assert sum(len(it.partitions) for it in found.responses) == PARTITIONS
    sharer.epoch += 1
    sharer.say(*((it, number, [(0, 0, [ACCEPT])]) for it, number in asked[::2]))
    answer(thread, sharer)
    thread.turn(sharer.talk.session.close)  # and the others are available again
    while thread.go_on() or sharer.talk.shares_of.busy:
        thread.turn(sharer.talk.shares_of.step)
    left = sum(shares.at_hand(it).available() for it in places(shares))
    assert left == PARTITIONS // 2
    assert thread.most <= CALLS_MAX


class Begun:
    """A group that has begun with many partitions, of which some were asked for."""

    def __init__(self, thread):
        self.thread = thread
        self.sharer = a_sharer(thread)
        self.talk = self.sharer.talk
        self.topics = [self.sharer.topic(f"t{n}", 100) for n in range(PARTITIONS // 100)]
        self.shares = self.talk.shares_of.open()
        for it in self.topics:
            for number in range(100):
                place = Place("g", it.uuid, number)
                if number % 2:
                    self.shares._known.put(place, begun_state(0))
                else:
                    self.shares.find(place, lambda _: None)
        while thread.go_on() or self.talk.shares_of.busy:
            self.talk.shares_of.step()
        assert len(places(self.shares)) == PARTITIONS
        thread.most = 0

    def ask(self, key, request, response):
        version = APIS[key].high
        out = bytearray()
        codec(type(request), version, True).write(out, request)
        self.talk.feed(self.talk.frame(key, version, out))
        data = answer(self.thread, self.sharer)
        return self.talk.read(key, version, response, data[8:])


@pytest.fixture
def begun(thread):
    return Begun(thread)


def test_where_a_group_of_many_partitions_is(begun):
    m = describe_share_group_offsets
    named = [m.RequestTopic(it.name, list(range(100))) for it in begun.topics]
    for topics in (None, named):
        found = begun.ask(90, m.Request([m.RequestGroup("g", topics)]), m.Response)
        [group] = found.groups
        assert [
            it.start_offset for topic in group.topics for it in topic.partitions
        ] == [0] * PARTITIONS  # fmt: skip
    assert begun.thread.most <= CALLS_MAX


def test_a_group_is_moved_in_many_partitions(begun):
    m = alter_share_group_offsets
    for it in begun.topics:
        for number in range(100):
            append(it, 3, number)
    asked = [
        m.RequestTopic(it.name, [m.RequestPartition(number, 2) for number in range(100)])
        for it in begun.topics
    ]
    found = begun.ask(91, m.Request("g", asked), m.Response)
    assert {it.error_code for topic in found.responses for it in topic.partitions} == {0}
    assert {begun.shares.standing(it, 3) for it in places(begun.shares)} == {(2, 1)}
    assert begun.thread.most <= CALLS_MAX


def test_a_group_is_moved_many_times_in_one_partition(begun):
    """Each after the one before it, as they were asked for."""
    m = alter_share_group_offsets
    append(begun.topics[0], PARTITIONS)
    parts = [m.RequestPartition(0, it) for it in range(PARTITIONS)]
    asked = m.Request("g", [m.RequestTopic("t0", parts)])
    found = begun.ask(91, asked, m.Response)
    assert {it.error_code for topic in found.responses for it in topic.partitions} == {0}
    place = Place("g", begun.topics[0].uuid, 0)
    assert begun.shares.standing(place, PARTITIONS) == (PARTITIONS - 1, 1)
    assert begun.thread.most <= CALLS_MAX


def test_a_group_is_forgotten_in_many_topics(begun):
    m = delete_share_group_offsets
    asked = [m.RequestTopic(it.name) for it in begun.topics]
    found = begun.ask(92, m.Request("g", asked), m.Response)
    assert {it.error_code for it in found.responses} == {0}
    assert not begun.shares.has("g")
    assert begun.thread.most <= CALLS_MAX


@pytest.mark.parametrize("full", [False, True])
def test_a_group_of_many_partitions_is_deleted(begun, full):
    m = delete_groups
    if full:
        begun.talk.shares_of.journal.append = refused
    [it] = begun.ask(42, m.Request(["g"]), m.Response).results
    assert it.error_code == (errors.KAFKA_STORAGE_ERROR if full else errors.NONE)
    assert len(places(begun.shares)) == (PARTITIONS if full else 0)
    assert begun.thread.most <= CALLS_MAX


def refused(batch):
    raise StorageFull("journal: full")


def test_topics_are_deleted_that_many_groups_have_begun_with(begun):
    topic = begun.topics[0]
    for number in range(PARTITIONS):
        begun.shares._known.put(Place(f"g{number}", topic.uuid, 0), begun_state(0))
    begun.talk.topics.delete(topic.name)
    begun.thread.turn(lambda: begun.shares.topic_gone(topic.uuid))
    while begun.talk.shares_of.busy:
        begun.thread.turn(begun.talk.shares_of.step)
    assert not begun.shares.has("g1")
    assert len(places(begun.shares)) == PARTITIONS - 100
    assert begun.thread.most <= CALLS_MAX


@pytest.mark.parametrize(
    "told",
    [
        [(o, o, [ACCEPT]) for o in range(4000)],
        [(o, o, [ACCEPT if o % 2 else RELEASE]) for o in range(4000)],
        [(0, 3999, [ACCEPT, RENEW] * 2000)],
        [(o, o, [ACCEPT]) for o in range(0, 4000, 2)],
        [(o, o, [RELEASE]) for o in range(0, 4000, 2)],
    ],
    ids=["in a row", "in turns", "with renewals", "every other", "every other one back"],
)
def test_4000_records_one_by_one(thread, told):
    sharer = a_sharer(thread)
    topic = sharer.topic()
    sharer.setting("share.partition.max.record.locks", "4000")
    append(topic, 4000)
    sharer.send([(topic, 0)], most=4000)
    answer(thread, sharer)
    sharer.epoch = 1
    sharer.say((topic, 0, told), renews=True)
    data = answer(thread, sharer)
    assert len(data) > 40
    assert thread.most <= CALLS_MAX


def test_records_that_come_back_one_by_one(thread):
    """All of them scattered, each by itself, and poisonous."""
    sharer = a_sharer(thread)
    topic = sharer.topic()
    sharer.setting("share.partition.max.record.locks", "4000")
    for _ in range(4000):
        append(topic, 1)
    sharer.send([(topic, 0)], most=4000, mode=1)
    answer(thread, sharer)
    sharer.epoch = 1
    told = (topic, 0, [(o, o, [RELEASE if o % 2 else ACCEPT]) for o in range(4000)])
    for _ in range(3):
        sharer.send(said=[told], most=4000)
        answer(thread, sharer)
        sharer.epoch += 1
        told = (topic, 0, [(o, o, [RELEASE]) for o in range(1, 4000, 2)])
    assert thread.most <= CALLS_MAX
