"""What a member of a share group may have done in one turn, with partitions that are there.

Counted are calls of functions in the sessions' thread, not time.
"""

from dataclasses import replace

import pytest
from counted_turns import Thread
from door_kit import Talk
from share_kit import ACCEPT, RELEASE, RENEW, Sharer, append

from logstore.kafka.messages import share_fetch
from logstore.protocols.kafka.session import KafkaSession
from logstore.slices import Slices

CALLS_MAX = 39_900  # some 10 ms
PARTITIONS = 2000

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
    places = [(it, number) for it in topics for number in range(100)]
    sharer.send(places, wait_ms=500)
    answer(thread, sharer)
    shares = sharer.talk.shares_of.opened
    for epoch in range(1, PARTITIONS):  # as many as there is time for
        if len(shares.places("g")) == PARTITIONS:
            break
        sharer.epoch = epoch
        sharer.send()
        answer(thread, sharer)
    sharer.epoch = epoch
    for it, number in places:
        append(it, 1, number)
    sharer.send(most=100_000, max_bytes=1 << 30)
    data = answer(thread, sharer)
    found = sharer.talk.read(78, 2, share_fetch.Response, data[8:])
    assert sum(len(it.partitions) for it in found.responses) == PARTITIONS
    thread.turn(sharer.talk.session.close)  # and all of it is available again
    while thread.go_on() or sharer.talk.shares_of.busy:
        thread.turn(sharer.talk.shares_of.step)
    assert all(shares.at_hand(it).available() for it in shares.places("g"))
    assert thread.most <= CALLS_MAX


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
