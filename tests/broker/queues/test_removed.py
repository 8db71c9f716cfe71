"""What was purged of a lane, against a set of offsets; and in the journal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.packed import Packed, packed
from logstore.broker.queues import journal, past
from logstore.broker.queues import removed as removed_module
from logstore.broker.queues.journal import SettlementNotes, queue_key
from logstore.broker.queues.removed import Removed
from logstore.broker.queues.settled import Settled, apply
from logstore.broker.queues.settlement import Settlement
from logstore.broker.queues.state import QueueState
from logstore.errors import CorruptStore
from logstore.records.encode import encode
from logstore.storage import catalog
from logstore.storage.catalog import SCHEMA

OFFSETS = st.integers(0, 60)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), OFFSETS, OFFSETS),
        st.tuples(st.just("add_set"), st.dictionaries(st.just(0), st.integers(1, 2**60 - 1))),
        st.tuples(st.just("forget"), OFFSETS),
        st.tuples(st.just("clip"), OFFSETS),
    ),
    max_size=20,
)


def done(acts):
    it, plain = Removed(), set()
    for name, *facts in acts:
        getattr(it, name)(*facts)
        if name == "add":
            plain.update(range(*facts))
        elif name == "add_set":
            plain.update(n for bits in facts[0].values() for n in range(60) if bits >> n & 1)
        elif name == "forget":
            plain.update(range(facts[0]))
        else:
            plain = {n for n in plain if n < facts[0]}
    return it, plain


@given(ACTS, OFFSETS, OFFSETS)
def test_it_is_a_set_of_offsets(acts, first, upto):
    it, plain = done(acts)
    assert {n for n in range(61) if n in it} == plain
    left = [n for begin, end in it.left(first, upto) for n in range(begin, end)]
    assert left == [n for n in range(first, upto) if n not in plain]
    assert it.covers(first, upto) == plain.issuperset(range(first, upto))
    assert all(upto < first for upto, first in zip(it.uptos, it.firsts[1:], strict=False))
    assert Removed.decode(Packed(it.encode(), "this")) == it


@given(ACTS)
def test_too_many_ranges_hide_the_oldest_of_the_past_and_nothing_is_shown_that_was_removed(acts):
    most = removed_module.RANGES_MAX
    removed_module.RANGES_MAX = 3
    try:
        it, plain = done(acts)
        assert len(it.firsts) <= 3
        decoded = Removed.decode(Packed(it.encode(), "this"))
    finally:
        removed_module.RANGES_MAX = most
    assert all(n in it for n in plain)
    assert decoded == it


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\0", "cut off"),
        (b"\0\1\0", "cut off"),
        (b"\0" + packed(removed_module.RANGES_MAX + 1), "more than"),
        (packed(2**63 - 2) + b"\1\0\0", "more than 63 bits"),
    ],
)
def test_what_is_not_its_bytes_is_told(data, told):
    with pytest.raises(CorruptStore, match=told):
        Removed.decode(Packed(data, "this"))


def test_a_purge_and_what_is_settled_are_told_apart_after_a_replay():
    it, settled = Settlement(), Settled()
    it.take(10, 100)
    it.settle(0, 3)  # done with
    settled.settle(0, 0, 3)
    it.release(5, 2)
    settled.remove(0, it.purge(50), 0)
    it.settle(3, 2)
    it.settle(7, 3)
    settled.settle(0, 3, 2)
    settled.settle(0, 7, 3)
    state = QueueState()
    apply(settled.encode(), state)
    lane = QueueState.decode(state.encode()).lanes[0]
    assert not lane.held
    assert lane.cursor == 50
    assert lane.removed == it.removed
    assert [n for n in range(50) if n not in lane.removed] == [0, 1, 2, 3, 4, 7, 8, 9]


def test_what_was_purged_is_forgotten_where_the_log_begins_later():
    it, settled = Settlement(), Settled()
    for turn in range(5):
        it.take(2, 10 * turn + 2)  # stays out: each purge is a range
        settled.remove(0, it.purge(10 * turn + 10), 10 * turn)
    state = QueueState()
    apply(settled.encode(), state)
    assert (state.lanes[0].removed.below, state.lanes[0].removed.firsts) == (40, [42])


def notes_of(note, *values):
    notes = SettlementNotes()
    notes.load(note)
    for offset, value in enumerate(values):
        notes.appended(encode([(value, queue_key(5), (), 0)]), offset)
    return notes


def test_of_a_store_from_before_all_that_is_settled_is_hidden():
    """Its journal did not tell what was purged from what was done with."""
    old = b"\1\0" + packed(9) + b"\1\0\1\2" + b"\0"  # one lane: cursor 9, offset 2 is held
    note = b"\1" + packed(2) + b"Q\5" + packed(len(old)) + old
    settled = Settled()
    settled.settle(0, 9, 4)  # by the process from before, above its recovery point
    notes = notes_of(note, settled.encode())
    kept = notes.freeze()()
    lane = notes.state(5).lanes[0]
    assert {n for n in range(20) if n in lane.removed} == {*range(13)} - {2}
    assert dict(lane.held) == {0: 0b100}
    again = notes_of(kept, settled.encode())
    done_with = Settled()
    done_with.settle(0, 2)
    done_with.settle(0, 13)
    again.appended(encode([(done_with.encode(), queue_key(5), (), 0)]), 1)
    again.freeze()
    lane = again.state(5).lanes[0]
    assert [n for n in range(14) if n not in lane.removed] == [2, 13]


def test_of_an_older_store_that_was_killed_before_a_recovery_point_the_same_is_hidden(
    lives,
):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    node.get(b"q")
    node.run()
    environment = node.directory._catalog.environment
    assert not list(environment.items(b"notes"))  # of the journal: nothing was saved yet
    environment.commit([(b"meta", b"schema", b"5")])
    node = lives.kill()
    assert node.directory.schema == SCHEMA
    node.get(b"q")
    node.run()
    queue = node.vhost.queue(b"q")
    known = []
    queue.when_open(lambda: known.append(past.cuts(queue)))
    node.run(until=lambda: known)
    track = past.begin(known[0], None, None)
    page = past.read(past.spans(queue, track), track, past.Wanted(), 9, 1000)
    assert [(it.record.value, it.state) for it in page.found] == [(b"2", past.SETTLED)]


def test_the_catalogue_and_the_journal_agree_about_the_format_of_before():
    assert bytes((journal.WITHOUT_REMOVED,)) == catalog.OLD_JOURNAL
