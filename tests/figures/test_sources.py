"""What the figures of objects are read from."""

from types import SimpleNamespace

import pytest

from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.counts.queues import QueueCounts
from logstore.errors import UnknownTopic
from logstore.figures import sources
from logstore.figures.figures import Figures
from logstore.figures.full import Room
from logstore.figures.sources import GROUPS_AT_ONCE, GroupSource, QueueSource


class Groups:
    """A coordinator whose groups a test makes."""

    def __init__(self):
        self.stirred = None
        self.offsets = {}  # by group: place -> offset
        self.damaged = set()
        self.read = []

    def kinds(self):
        return dict.fromkeys(self.offsets, "simple")

    def fetch(self, name, now_ms):
        self.read.append(name)
        if name in self.damaged:
            raise Refusal(GroupError.GROUP_ID_NOT_FOUND, "damaged")
        found = self.offsets.get(name, {})
        return {place: SimpleNamespace(offset=it) for place, it in found.items()}


class Topics:
    def __init__(self, **ends):
        self.ends = ends

    def offsets(self, name):
        if name not in self.ends:
            raise UnknownTopic(f"no topic {name!r}", name)
        return [(0, it) if it is not None else None for it in self.ends[name]]


def step(source, groups):
    """As a node does: what a worker reads, and then the look."""
    groups.read.clear()
    source.take(source.begin()())
    return {it.key: it.values for it in source.seen()}


def test_a_group_is_as_far_behind_as_all_its_partitions_together():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10, 20], u=[5]))
    groups.offsets["g"] = {("t", 0): 4, ("t", 1): 20, ("u", 0): 5}
    assert step(source, groups) == {}  # which groups there are is known now
    assert step(source, groups) == {"g": (29, 35, 6)}
    assert source.unread == 6


def test_of_partitions_that_are_gone_or_not_known_nothing_counts():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10, None]))
    groups.offsets["g"] = {("t", 0): 4, ("t", 1): 4, ("t", 9): 1, ("gone", 0): 3}
    step(source, groups)
    assert step(source, groups) == {"g": (4, 10, 6)}


def test_an_offset_beyond_the_end_is_no_lag():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10]))
    groups.offsets["g"] = {("t", 0): 15}
    step(source, groups)
    assert step(source, groups) == {"g": (15, 10, 0)}


def test_those_that_have_committed_are_read_again_and_of_the_others_some():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10]))
    groups.offsets = {f"g{n}": {("t", 0): 1} for n in range(200)}
    step(source, groups)
    step(source, groups)
    groups.offsets["g150"] = {("t", 0): 7}
    groups.stirred.add("g150")
    found = step(source, groups)
    assert "g150" in groups.read
    assert len(groups.read) <= 1 + sources.GROUPS_IN_TURN
    assert found["g150"] == (7, 10, 3)
    groups.offsets["g151"] = {("t", 0): 9}  # without a word
    for _ in range(200 // sources.GROUPS_IN_TURN):
        found = step(source, groups)
    assert found["g151"] == (9, 10, 1)


def test_a_crowd_of_groups_is_read_in_several_steps():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10]))
    groups.offsets = {f"g{n}": {("t", 0): 1} for n in range(GROUPS_AT_ONCE + 1)}
    step(source, groups)
    assert len(step(source, groups)) == GROUPS_AT_ONCE
    assert len(step(source, groups)) == GROUPS_AT_ONCE + 1


def test_a_group_that_is_gone_or_damaged_is_left_out():
    groups = Groups()
    source = GroupSource(groups, Topics(t=[10]))
    groups.offsets = {"g": {("t", 0): 1}, "bad": {("t", 0): 1}}
    groups.damaged.add("bad")
    step(source, groups)
    assert step(source, groups) == {"g": (1, 10, 9)}
    del groups.offsets["g"]
    for _ in range(sources.NAMES_EVERY):
        found = step(source, groups)
    assert found == {}


def a_queue(number, name, ready, out=0, most=None):
    counts = QueueCounts()
    counts.published, counts.delivered, counts.acked = ready + out, out, 0
    return SimpleNamespace(
        id=number, topic_name=None, gone=False, counts=counts, ready=ready, out=out,
        subscriptions=[],
        facts=SimpleNamespace(name=name), limits=SimpleNamespace(max_length=most),
    )  # fmt: skip


def queues_of(*them):
    vhost = SimpleNamespace(name=b"/", queues=lambda: them)
    return SimpleNamespace(vhosts={b"/": vhost})


def test_queues_are_seen_with_what_waits_in_them():
    source = QueueSource(lambda: queues_of(a_queue(1, b"a", 3), a_queue(2, b"b", 4, 2)))
    found = {it.key: it.values for it in source.seen()}
    assert found == {1: (3, 0, 0, 3, 0), 2: (6, 2, 0, 4, 2)}
    [it] = sources.waiting(source, SimpleNamespace(unread=5))
    assert it.values == (12,)


def test_queues_that_are_not_open_or_gone_are_none():
    assert list(QueueSource(lambda: None).seen()) == []
    gone = a_queue(1, b"a", 3)
    gone.gone = True
    assert list(QueueSource(lambda: queues_of(gone)).seen()) == []


@pytest.mark.parametrize(("ready", "told"), [(79, False), (80, True), (100, True)])
def test_a_queue_that_is_near_to_its_length_is_told_of(ready, told):
    source = QueueSource(lambda: queues_of(a_queue(1, b"a", ready, most=100)))
    list(source.seen())
    assert source.near == ([Room("queue a", ready, 100, "#/queues/%2F/a")] if told else [])


def test_a_connection_is_judged_only_where_it_leaves_much_unread():
    asked = []

    def about():
        asked.append(1)
        return SimpleNamespace(unread_max=1 << 20)

    def connection(unsent):
        return SimpleNamespace(
            id=1, door="resp", peer="x", bytes_in=1, bytes_out=2, unsent=unsent, gone=False,
            about=about,
        )  # fmt: skip

    [little] = sources.connections(lambda: [connection(1000)])
    assert little.judge is None
    [much] = sources.connections(lambda: [connection(1 << 20)])
    assert much.judge(None, 5).object == "resp x"
    assert asked == [1]


def test_doors_are_seen_with_their_sums():
    figures = Figures()
    figures.door("kafka").messages_in = 5
    [it] = sources.doors(figures)
    assert (it.key, it.values) == ("kafka", (5, 0, 0, 0, 0, 0))


def test_what_a_stream_has_waits_for_nobody():
    stream = a_queue(1, b"s", ready=100)
    stream.topic_name = "s"
    source = QueueSource(lambda: queues_of(stream, a_queue(2, b"q", ready=3)))
    seen = {it.key: it.judge for it in source.seen()}
    assert seen[1] is None
    assert seen[2] is not None
    assert source.waiting == 3
