"""Offsets that are pending: seen once their transaction is committed, if none came after them."""

from contextlib import suppress
from itertools import count

import pytest
from clock import NOW_MS
from hypothesis import given, note
from hypothesis import strategies as st
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC

from logstore.broker.packed import Packed
from logstore.broker.transactions.operations import Decision, Offset, Offsets, Place
from logstore.broker.transactions.staged import BYTES_MAX, Committed, Staged, size_of
from logstore.broker.transactions.transactional_id import TV1, TV2
from logstore.errors import CorruptStore
from logstore.slices import in_one_go

A, B = 7, 8  # producers


def staged(*offsets, group="g", epoch=0):
    return Offsets(epoch, NOW_MS, group, tuple(offsets))


def decided(pid, outcome, epoch=0, version=TV1):
    raised = epoch + (version == TV2)
    return Decision(pid, raised, outcome, version, pid, raised, NOW_MS)


def one(offset, partition=0, topic=TOPIC):
    return Offset(topic, partition, offset)


def read(it):
    data = Packed(it.encode(), "it")
    found = Staged.read(data)
    assert not data
    return found


@pytest.fixture
def it():
    return Staged()


def test_a_commit_shows_offsets_and_an_abort_none(it):
    it.stage(A, staged(one(5), one(6, 1)), 1)
    it.stage(B, staged(one(9, 2)), 2)
    assert (TOPIC, 0) in it.partitions("g")
    assert (TOPIC, 3) not in it.partitions("g")
    assert (OTHER_TOPIC, 0) not in it.partitions("g")
    assert (TOPIC, 0) not in it.partitions("h")
    assert it.end(decided(A, COMMIT), 3) == [Committed("g", (one(5), one(6, 1)))]
    assert it.has("g")
    assert it.end(decided(B, ABORT), 4) == []
    assert not it.has("g")
    assert it.bytes == 0


def test_t24_what_a_transaction_commits_last_counts(it):
    it.stage(A, staged(one(5)), 1)
    it.stage(A, staged(one(3)), 2)
    assert it.end(decided(A, COMMIT), 3) == [Committed("g", (one(3),))]


def test_t27_a_commit_outside_overtakes_what_is_pending(it):
    it.stage(A, staged(one(5), one(6, 1)), 1)
    assert it.overtakes("g", [(TOPIC, 0)])
    assert not it.overtakes("g", [(TOPIC, 2), (OTHER_TOPIC, 0)])
    assert not it.overtakes("h", [(TOPIC, 0)])
    it.overtake("g", [(TOPIC, 0)], 2)
    assert not it.overtakes("g", [(TOPIC, 0)])
    assert (TOPIC, 0) in it.partitions("g")  # until the transaction ends
    assert it.end(decided(A, COMMIT), 3) == [Committed("g", (one(6, 1),))]
    assert (TOPIC, 0) not in it.partitions("g")


def test_t27_what_was_staged_later_stays_whoever_commits_first(it):
    it.stage(A, staged(one(5)), 1)
    it.stage(B, staged(one(9)), 2)
    assert it.end(decided(B, COMMIT), 3) == [Committed("g", (one(9),))]
    assert it.end(decided(A, COMMIT), 4) == []
    it.stage(A, staged(one(5)), 5)
    it.stage(B, staged(one(9)), 6)
    assert it.end(decided(A, COMMIT), 7) == [Committed("g", (one(5),))]
    assert it.end(decided(B, COMMIT), 8) == [Committed("g", (one(9),))]


def test_an_abort_overtakes_nothing(it):
    it.stage(A, staged(one(5)), 1)
    it.stage(B, staged(one(9)), 2)
    it.end(decided(B, ABORT), 3)
    assert it.end(decided(A, COMMIT), 4) == [Committed("g", (one(5),))]


def test_t26_each_partition_is_unstable_by_itself(it):
    it.stage(A, staged(one(5)), 1)
    it.stage(B, staged(one(5, 1)), 2)
    it.end(decided(A, ABORT), 3)
    assert (TOPIC, 0) not in it.partitions("g")
    assert (TOPIC, 1) in it.partitions("g")


def test_groups_have_nothing_to_do_with_each_other(it):
    it.stage(A, staged(one(5)), 1)
    it.stage(A, staged(one(6), group="h"), 2)
    it.overtake("g", [(TOPIC, 0)], 3)
    assert it.end(decided(A, COMMIT), 4) == [Committed("h", (one(6),))]


def test_t23_a_transaction_of_offsets_alone_leaks_nothing_into_the_next(it):
    it.stage(A, staged(one(5), epoch=3), 1)
    assert it.producers() == [(A, 3, NOW_MS)]
    it.end(decided(A, ABORT, 3, TV2), 2)
    assert it.producers() == []
    it.stage(A, staged(one(6, 1), epoch=4), 3)
    assert it.end(decided(A, COMMIT, 4, TV2), 4) == [Committed("g", (one(6, 1),))]


def test_the_end_of_another_epoch_ends_nothing(it):
    it.stage(A, staged(one(5), epoch=3), 1)
    assert it.end(decided(A, COMMIT, 2), 2) == []
    assert it.end(decided(A, COMMIT, 2, TV2), 3) == []
    assert it.end(decided(A, COMMIT, 3, TV2), 4) == [Committed("g", (one(5),))]


def test_offsets_of_an_epoch_before_go_with_it(it):
    it.stage(A, staged(one(5), epoch=3), 1)
    it.stage(A, staged(one(6, 1), epoch=4), 2)
    assert (TOPIC, 0) not in it.partitions("g")
    assert it.end(decided(A, COMMIT, 4), 3) == [Committed("g", (one(6, 1),))]


@pytest.mark.parametrize(
    ("group", "places", "left"),
    [
        ("g", [Place(TOPIC, 0)], {("g", 1), ("g", 2), ("h", 0)}),
        ("g", [Place(TOPIC)], {("g", 2), ("h", 0)}),
        ("g", [], {("h", 0)}),
        ("", [Place(TOPIC)], {("g", 2)}),
        ("", [Place(OTHER_TOPIC)], {("g", 0), ("g", 1), ("h", 0)}),
        ("k", [], {("g", 0), ("g", 1), ("g", 2), ("h", 0)}),
    ],
)
def test_what_is_deleted_is_not_committed(it, group, places, left):
    """A topic, offsets, a group."""
    it.stage(A, staged(one(0), one(1, 1), one(2, 0, OTHER_TOPIC)), 1)
    it.stage(A, staged(one(0), group="h"), 2)
    dropped = len(left) < 4
    assert it.drops(group, places) is dropped
    it.drop(group, places, 3)
    assert not it.drops(group, places)
    assert it.producers() == [(A, 0, NOW_MS)]
    found = it.end(decided(A, COMMIT), 4)
    assert {(name, offset.offset) for name, offsets in found for offset in offsets} == left
    assert it.bytes == 0


def test_t16_a_topic_made_anew_has_nothing_pending(it):
    it.stage(A, staged(one(5)), 1)
    it.drop("", [Place(TOPIC)], 2)
    assert (TOPIC, 0) not in it.partitions("g")
    it.stage(A, staged(one(1, 0, OTHER_TOPIC)), 3)
    assert it.end(decided(A, COMMIT), 4) == [Committed("g", (one(1, 0, OTHER_TOPIC),))]


def test_memory_has_a_bound(it):
    large = Offset(TOPIC, 0, 5, metadata="x" * (BYTES_MAX // 2))
    assert it.has_room(size_of([large]))
    assert not it.has_room(size_of([large] * 2))
    it.stage(A, staged(large), 1)
    assert not it.has_room(size_of([large]))
    assert it.has_room(size_of([one(5)]))
    it.stage(A, staged(one(5)), 2)  # in the place of the large one
    assert it.has_room(size_of([large]))


@pytest.mark.parametrize("places", [[], [Place(TOPIC)]])
def test_what_is_deleted_again_and_again_takes_memory_until_its_transaction_ends(it, places):
    for number in range(3):
        it.stage(A, staged(one(5), one(6, 1), group=f"g{number}"), 2 * number)
        it.drop(f"g{number}", places, 2 * number + 1)
    assert (it.bytes, in_one_go(it.groups_of(A))) == (0, [])
    assert not it.has_room(BYTES_MAX)
    it.stage(A, staged(one(7), group="g1"), 7)  # one of them is pending again
    assert in_one_go(it.groups_of(A)) == ["g1"]
    assert read(it).encode() == it.encode()
    found, more = it.end_some(decided(A, COMMIT), 8, 2)
    while more:
        committed, more = it.end_some(decided(A, COMMIT), 8, 2)
        found += committed
    assert found == [Committed("g1", (one(7),))]
    assert it.producers() == []
    assert it.has_room(BYTES_MAX)


def test_partitions_of_a_group_are_looked_at_as_they_are(it):
    it.stage(A, staged(one(5), one(6, 1), one(7, 0, OTHER_TOPIC)), 1)
    it.stage(B, staged(one(5)), 2)
    found = it.partitions("g")
    assert set(found) == {(TOPIC, 0), (TOPIC, 1), (OTHER_TOPIC, 0)}
    assert (len(found), (TOPIC, 1) in found, (TOPIC, 2) in found) == (3, True, False)
    assert not it.partitions("h")


@given(st.integers(1, 4), st.lists(st.integers(0, 9), min_size=1, max_size=12), st.booleans())
def test_an_end_in_parts_comes_to_what_one_at_once_does(most, partitions, aborts):
    it = Staged()
    for place, number in enumerate(partitions):
        it.stage(A, staged(one(place, number), group="gh"[number % 2]), place)
    it.stage(B, staged(one(50), one(51, 1)), 20)
    whole, decision = it.copy(), decided(A, ABORT if aborts else COMMIT)
    expected = {(group, offset) for group, offsets in whole.end(decision, 30) for offset in offsets}
    found, more, parts = set(), True, 0
    while more:
        committed, more = it.end_some(decision, 30, most)
        found |= {(group, offset) for group, offsets in committed for offset in offsets}
        parts += 1
    assert found == expected
    assert parts == -(-len(set(partitions)) // most)
    assert (it.encode(), it.bytes) == (whole.encode(), whole.bytes)


def test_replay_that_begins_too_early_does_nothing_to_what_came_after(it):
    it.stage(A, staged(one(5)), 10)
    assert it.end(decided(A, COMMIT), 8) == []  # of the transaction before, of the same epoch
    it.overtake("g", [(TOPIC, 0)], 9)
    it.drop("g", [], 9)
    assert it.overtakes("g", [(TOPIC, 0)])
    assert it.end(decided(A, COMMIT), 11) == [Committed("g", (one(5),))]


# Against a list of all that was ever done


groups = st.sampled_from(["g", "h"])
producers = st.sampled_from([A, B, 9])
places = st.tuples(st.sampled_from([TOPIC, OTHER_TOPIC]), st.integers(0, 1))
STEPS = st.one_of(
    st.tuples(st.just("stage"), producers, groups, st.sets(places, min_size=1, max_size=2)),
    st.tuples(st.just("plain"), st.just(0), groups, st.sets(places, min_size=1, max_size=2)),
    st.tuples(st.just("commit"), producers, st.just(""), st.just(frozenset())),
    st.tuples(st.just("abort"), producers, st.just(""), st.just(frozenset())),
    st.tuples(st.just("drop"), st.just(0), groups, st.sets(places, min_size=1, max_size=1)),
)


class Everything:
    """All that was done, looked through anew for each question."""

    def __init__(self):
        self.steps = []

    def since_end(self, pid):
        """The steps of its open transaction."""
        ends = [
            n for n, it in enumerate(self.steps) if it[0] in ("commit", "abort") and it[1] == pid
        ]
        return range(ends[-1] + 1 if ends else 0, len(self.steps))

    def pending(self, pid):
        """By group and place: when it was staged."""
        found = {}
        for n in self.since_end(pid):
            step, who, group, keys = self.steps[n]
            if step == "stage" and who == pid:
                found |= {(group, key): n for key in keys}
            elif step == "drop":
                for key in keys:
                    found.pop((group, key), None)
        return found

    def committed_at(self, key):
        """When what counts now was staged, or committed outside; and at which step that was."""
        best = -1
        for n, (step, pid, group, keys) in enumerate(self.steps):
            if step == "plain" and key in {(group, it) for it in keys}:
                best = n
            elif step == "commit":
                before = Everything()
                before.steps = self.steps[:n]
                best = max(best, before.pending(pid).get(key, -1))
        return best


@given(st.lists(STEPS, max_size=25))
def test_as_a_list_of_all_that_was_done(steps):
    it, model, shown = Staged(), Everything(), {}
    replayed = Staged()
    for n, (step, pid, group, keys) in enumerate(steps):
        note(f"{n}: {step} {pid} {group} {sorted(keys)}")
        for each in (it, replayed):
            if step == "stage":
                each.stage(pid, staged(*(one(n, p, t) for t, p in sorted(keys)), group=group), n)
            elif step == "plain":
                each.overtake(group, keys, n)
            elif step == "drop":
                each.drop(group, [Place(t, p) for t, p in keys], n)
            else:
                found = each.end(decided(pid, COMMIT if step == "commit" else ABORT), n)
                for name, offsets in found:
                    shown |= {(name, (o.topic_id, o.partition)): o.offset for o in offsets}
        if step == "plain":
            shown |= {(group, key): n for key in keys}
        model.steps.append((step, pid, group, keys))
        unstable = set().union(*(model.pending(it) for it in (A, B, 9)))
        for name in ("g", "h"):
            for key in ((t, p) for t in (TOPIC, OTHER_TOPIC) for p in (0, 1)):
                assert (key in it.partitions(name)) is ((name, key) in unstable)
                assert shown.get((name, key), -1) == model.committed_at((name, key))
            assert it.has(name) is any(group == name for group, _ in unstable)
        replayed = read(it) if n % 2 else it.copy()
        assert replayed.encode() == it.encode()
        assert replayed.bytes == it.bytes


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 200))
def test_damaged_bytes_are_told(at, byte, size):
    it, numbers = Staged(), count(1)
    it.stage(A, staged(one(5), Offset(OTHER_TOPIC, 3, 300, 4, "text")), next(numbers))
    it.stage(B, staged(one(6), group="h"), next(numbers))
    it.overtake("g", [(TOPIC, 0)], next(numbers))
    kept = it.encode()
    damaged = (kept[:at] + bytes((byte,)) + kept[at + 1 :])[:size]
    with suppress(CorruptStore):
        Staged.read(Packed(damaged, "it")).encode()
