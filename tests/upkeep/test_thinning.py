"""Compaction of a queue's lane behind messages that nobody settles."""

import random

import pytest
from clock import NOW_MS
from lossy_queues import kinds
from queue_parts import Channel, Node, Time
from storage_kit import Opened

from logstore.broker.queues.state import LaneState
from logstore.settings import TopicSettings
from logstore.storage.disk import Disk
from logstore.storage.segment import SegmentFacts
from logstore.storage.verify import verify
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job
from logstore.upkeep.jobs import Jobs
from logstore.upkeep.thinning import plan

HOUR_MS = 3_600_000
SETTINGS = TopicSettings(retention_ms=0)


class Places:
    """A store in one life after the other, and upkeep of it."""

    def __init__(self, path):
        self.opened, self.clock = Opened(path), Time()
        self.open()

    def open(self):
        self.directory = self.opened.writer(kinds=kinds())
        self.node = Node(self.directory, self.clock)
        disk = Disk()
        self.jobs = Jobs(self.directory, self.clock, lambda groups: {}, lambda: Here(disk))

    def again(self):
        self.node.close()
        self.opened.close()
        self.open()

    def killed(self):
        self.node.committer.close()
        self.opened.crash()
        self.open()

    def lane(self, name=b"q"):
        return self.node.vhost.queue(name).stock.order[0].log

    def upkeep(self, name="compact"):
        """What became of each lane."""
        outcomes = list(self.jobs.run(Job(name), bytes_per_second=-1))
        assert not [it.broke for it in outcomes if it.broke is not None]
        return {it.topic: it for it in outcomes if it.topic.startswith("queues/")}

    def close(self):
        self.node.committer.close()
        self.opened.close_all()


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "data")
    yield places
    places.close()


def given_out(places, count, name=b"q", batch=3):
    """Published, so many in a batch, and given out to a channel."""
    node = places.node
    node.declare(name)
    for first in range(0, count, batch):
        node.publish(name, *(b"%d" % n for n in range(first, min(count, first + batch))))
    channel = Channel()
    for _ in range(count):
        node.get(name, channel, no_ack=False)
    return channel


def settled(places, channel, numbers):
    for n in numbers:
        channel.ack(n + 1)
    places.node.run()


def found(places, name=b"q"):
    return [int(it) for it in places.node.bodies(name)]


def test_one_old_message_keeps_next_to_nothing_of_what_is_settled_behind_it(places):
    channel = given_out(places, 120)
    settled(places, channel, range(1, 120))
    lane = places.lane()
    before = lane.bytes()
    assert len(lane.bases()) > 15
    [done] = places.upkeep().values()
    assert done.due
    assert done.records_removed >= 110
    assert lane.start == 0
    assert len(lane.bases()) <= 3
    assert lane.bytes() < before / 10
    assert not [it for report in verify(places.directory) for it in report.findings]
    places.again()
    assert found(places) == [0]
    assert places.node.ready(b"q") == 0


def test_nothing_is_written_again_that_was_thinned_out_before(places):
    channel = given_out(places, 60)
    settled(places, channel, (n for n in range(60) if n % 9))
    [first] = places.upkeep().values()
    lane = places.lane()
    files = [(it.path, it.written_ms) for it in lane.segments()]
    [second] = places.upkeep().values()
    assert first.due
    assert not second.due
    assert second.records_removed == 0
    assert [(it.path, it.written_ms) for it in lane.segments()] == files


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 12))]
)
def test_what_is_not_settled_keeps_its_place_whatever_is(places, seed):
    choose = random.Random(seed)
    channel = given_out(places, 90, batch=choose.choice([1, 4, 30]))
    kept = sorted(choose.sample(range(90), choose.choice([1, 5, 30, 60])))
    settled(places, channel, sorted(set(range(90)) - set(kept), key=lambda it: choose.random()))
    places.upkeep()
    if choose.random() < 0.5:
        places.upkeep("retention")
    places.node.publish(b"q", b"90", b"91")
    if choose.random() < 0.5:
        places.killed()
    else:
        places.again()
    assert not [it for report in verify(places.directory) for it in report.findings]
    assert found(places) == [*kept, 90, 91]


def test_messages_that_are_settled_later_go_with_the_next_upkeep(places):
    channel = given_out(places, 120)
    settled(places, channel, (n for n in range(120) if n % 4))
    places.upkeep()
    lane, before = places.lane(), places.lane().bytes()
    settled(places, channel, (n for n in range(4, 120) if n % 4 == 0))
    places.upkeep()
    assert lane.bytes() < before / 3
    assert places.node.ready(b"q") == 0
    channel.end()
    places.node.run()
    assert found(places) == [0]


def test_what_is_taken_while_it_is_written_anew_is_neither_lost_nor_twice(places):
    """Consumers read on in the files that were there, and then in the new ones."""
    channel = given_out(places, 60)
    channel.requeue(60, multiple=True)
    places.node.run()
    channel = Channel()

    def took():
        return [int(places.node.get(b"q", channel, no_ack=False).delivery.body) for _ in range(30)]

    consumed = took()
    settled(places, channel, range(1, 30))
    steps = places.jobs.run(Job("compact"), bytes_per_second=-1)
    next(steps)
    consumed += took()
    list(steps)
    assert consumed == list(range(60))
    assert places.node.get(b"q") is None


def test_retention_takes_what_is_below_the_first_message_that_is_not_settled(places):
    channel = given_out(places, 60)
    settled(places, channel, range(40))
    [done] = places.upkeep("retention").values()
    assert done.dropped
    assert 30 < places.lane().start <= 40
    channel.end()
    places.node.run()
    assert found(places) == list(range(40, 60))


def test_upkeep_takes_nothing_that_no_journal_says_is_settled(places):
    """The journal is lost: all is given out again, gaps and all."""
    channel = given_out(places, 60)
    settled(places, channel, (n for n in range(60) if n % 9))
    places.upkeep()
    places.node.close()
    places.opened.close()
    journal = places.opened.writer(kinds=kinds())
    journal.delete("journal", "settled")
    places.opened.close()
    places.open()
    for name in ("retention", "compact"):
        places.upkeep(name)
    again = found(places)
    assert set(range(0, 60, 9)) <= set(again)
    assert again == sorted(again)


# The plan


def segments(*ends, age_ms=0):
    bases = [0, *ends]
    return [
        SegmentFacts(f"{base}", base, end, 100, NOW_MS - age_ms, NOW_MS - age_ms,
                     active=end == ends[-1])
        for base, end in zip(bases, ends, strict=False)
    ]  # fmt: skip


def state(cursor, *unsettled):
    lane = LaneState()
    first = 0
    for offset in unsettled:
        lane.settle_run(first, offset - first) if offset > first else None
        lane.hold(offset + 1)
        first = offset + 1
    if cursor > first:
        lane.settle_run(first, cursor - first)
    return lane


def chosen(those, lane, secure=1000, settings=SETTINGS):
    found, why = plan(those, lane, secure, NOW_MS, settings)
    assert why
    return [it.base_offset for it in found]


def test_sealed_segments_above_the_floor_are_chosen_where_most_is_settled():
    those = segments(10, 20, 30, 40, 50)
    assert chosen(those, state(50, 5)) == [0, 10, 20, 30]
    assert chosen(those, state(50, 25)) == [20, 30]
    assert chosen(those, state(50, 5, *range(10, 15))) == [0, 20, 30]
    assert chosen(those, state(35, 5)) == [0, 10, 20]
    assert chosen(those, state(50, 5), secure=20) == [0, 10]
    assert chosen(those, state(50)) == []


def test_what_is_retained_is_left_alone():
    those = segments(10, 20, 30)
    kept = TopicSettings(retention_ms=HOUR_MS)
    assert chosen(those, state(30, 5), settings=kept) == []
    assert chosen(segments(10, 20, 30, age_ms=HOUR_MS + 1), state(30, 5), settings=kept) == [0, 10]


def test_the_last_records_stay_where_nothing_follows():
    assert chosen(segments(10, 20, 20), state(20, 5)) == [0]
