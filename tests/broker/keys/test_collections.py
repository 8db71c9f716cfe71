"""Hashes, lists, sets and sorted sets beside the plain ones of Python; what is written of them is
enough to have them again, and what could not be written can be taken back."""

import math
from collections import deque
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.broker.keys.dense import Dense
from logstore.broker.keys.elements import ELEMENT, TYPE, Elements, Made, gone, rows
from logstore.broker.keys.hashes import Hash
from logstore.broker.keys.lists import List
from logstore.broker.keys.ranking import BLOCK_MAX, Ranking
from logstore.broker.keys.sets import Set
from logstore.broker.keys.sorted_sets import SortedSet

NAMES = st.sampled_from([b"", b"a", b"b", b"c", b"7", b"-3", b"10", b"x" * 70])
SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, math.inf, -math.inf])
PLACES = st.integers(0, 12)


def shown(value):
    """All that can be seen of it."""
    if isinstance(value, Hash):
        return dict(value.fields)
    if isinstance(value, List):
        return list(value.items)
    if isinstance(value, Set):
        return set(value.members)
    return dict(value.scores), list(value.ranking)


def whole(steps):
    """What they come to, with nobody else between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Log:
    """Where a collection's records lie: the last word on each element."""

    def __init__(self, kind):
        self.kind = kind
        self.kept = {}

    def write(self, value):
        for name, written in value.changes():
            if written is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = written

    def read(self):
        value = self.kind()
        for name, written in reversed(self.kept.items()):
            value.restore(name, written)
        value.restored()
        return value


def check(value, log):
    assert value.held_bytes == log.read().held_bytes
    assert shown(log.read()) == shown(value)
    assert dict(value.elements()) == log.kept
    assert shown(whole(value.copying())) == shown(value)
    twin = whole(value.copying())
    assert (twin.held_bytes, twin.encoding) == (value.held_bytes, value.encoding)
    elements = dict(twin.elements())
    assert dict(twin.changes()) == (elements if isinstance(value, List) else log.kept)


def changed_by(value, steps, apply):
    """Turns of several steps each: written after some, taken back after others."""
    log = Log(type(value))
    for turn, fails in steps:
        before = shown(value)
        for step in turn:
            apply(value, step)
        if fails:
            value.take_back(value.before)
            value.before = {}
            assert shown(value) == before
        else:
            log.write(value)
        check(value, log)


def turns(step):
    return st.lists(st.tuples(st.lists(step, max_size=8), st.booleans()), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(turns(st.tuples(st.booleans(), NAMES, NAMES)))
def test_a_hash_is_a_dictionary(steps):
    plain = {}

    def apply(value, step):
        sets, field, text = step
        plain.clear()
        plain.update(value.fields)
        if sets:
            assert value.set(field, text) == (field not in plain)
            plain[field] = text
        else:
            assert value.remove(field) == (plain.pop(field, None) is not None)
        assert value.fields == plain

    changed_by(Hash(), steps, apply)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(turns(st.tuples(st.booleans(), NAMES)))
def test_a_set_is_a_set(steps):
    def apply(value, step):
        adds, member = step
        plain = set(value.members)
        if adds:
            assert value.add(member) == (member not in plain)
            assert set(value.members) == plain | {member}
        else:
            assert value.remove(member) == (member in plain)
            assert set(value.members) == plain - {member}

    changed_by(Set(), steps, apply)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(turns(st.tuples(st.booleans(), NAMES, SCORES)))
def test_a_sorted_set_is_in_order(steps):
    def apply(value, step):
        sets, member, score = step
        plain = dict(value.scores)
        if sets:
            assert value.set(member, score) == (member not in plain)
            plain[member] = score
        else:
            assert value.remove(member) == (plain.pop(member, None) is not None)
        assert value.scores == plain
        in_order = sorted((score, member) for member, score in plain.items())
        assert list(value.ranking) == in_order
        for at, (_, name) in enumerate(in_order):
            assert value.rank(name) == at

    changed_by(SortedSet(), steps, apply)


ENDS = st.sampled_from(["push_left", "push_right", "pop_left", "pop_right"])
LIST_STEPS = st.one_of(
    st.tuples(ENDS, NAMES),
    st.tuples(st.sampled_from(["replace", "inserting"]), NAMES, PLACES),
    st.tuples(st.just("removing"), st.sets(PLACES, min_size=1, max_size=4)),
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(turns(LIST_STEPS))
def test_a_list_is_a_list(steps):
    def apply(value, step):
        what, *more = step
        plain = list(value.items)
        if what.startswith("push"):
            getattr(value, what)(more[0])
            plain.insert(0 if what == "push_left" else len(plain), more[0])
        elif what.startswith("pop"):
            if plain:
                assert getattr(value, what)() == plain.pop(0 if what == "pop_left" else -1)
        elif what == "removing":
            places = sorted(it for it in more[0] if it < len(plain))
            if places:
                whole(value.removing(places))
                plain = [it for at, it in enumerate(plain) if at not in places]
        elif more[1] < len(plain) + (what == "inserting"):
            done = getattr(value, what)(more[1], more[0])
            if done is not None:
                whole(done)
            plain[more[1] : more[1] + (what == "replace")] = [more[0]]
        assert list(value.items) == plain
        for start in range(len(plain) + 1):
            assert value.slice(start, len(plain)) == plain[start:]

    changed_by(List(), steps, apply)


def test_to_take_from_a_lists_ends_writes_what_was_taken_and_no_more():
    value = List()
    for at in range(1000):
        value.push_right(b"%d" % at)
    value.changes()
    value.pop_left()
    value.push_left(b"again")
    value.pop_right()
    assert len(list(value.changes())) == 2
    whole(value.removing([3]))
    assert len(list(value.changes())) == 4  # those before it have moved, and not the 996 after it
    whole(value.inserting(997, b"new"))
    assert len(list(value.changes())) == 2


def test_a_ranking_of_many_blocks():
    ranking, plain = Ranking(), []
    for number in range(3 * BLOCK_MAX):
        entry = (float(number * 7919 % 1000), b"%d" % number)
        ranking.add(entry)
        plain.append(entry)
    plain.sort()
    assert list(ranking) == list(Ranking(plain)) == plain
    for at in range(0, len(plain), 97):
        assert ranking.rank(plain[at]) == at
        assert ranking.rank(plain[at], after=True) == at + 1
        assert ranking.at(at) == plain[at]
        assert ranking.slice(at, at + 700) == plain[at : at + 700]
    assert ranking.rank((500.0,)) == sum(score < 500 for score, _ in plain)
    assert ranking.rank((math.inf,)) == len(ranking)
    for entry in plain[::2]:
        ranking.remove(entry)
    assert list(ranking) == plain[1::2]
    for entry in plain[1::2]:
        ranking.remove(entry)
    assert not list(ranking)
    assert len(ranking) == 0


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(1, 300), st.data())
def test_a_scan_sees_all_that_is_there_from_its_start_to_its_end(size, data):
    dense = Dense(b"%d" % number for number in range(size))
    stays, seen, cursor, new = set(dense), set(), 0, size
    while True:
        cursor, some = dense.scan(cursor, data.draw(st.integers(1, 60)))
        seen.update(some)
        if not cursor:
            break
        for _ in range(data.draw(st.integers(0, 20))):
            if len(dense) and data.draw(st.booleans()):
                gone = dense.items[data.draw(st.integers(0, len(dense) - 1))]
                dense.discard(gone)
                stays.discard(gone)
            else:
                dense.add(b"%d" % new)
                new += 1
    assert stays <= seen


def test_what_is_taken_out_of_few_leaves_the_others_in_their_order():
    dense = Dense([b"a", b"b", b"c", b"d"])
    assert dense.discard(b"b")
    assert not dense.discard(b"b")
    assert dense.items == [b"a", b"c", b"d"]
    assert all(dense.scan(at + 1, 1) == (at, [name]) for at, name in enumerate(dense.items))


def test_encodings_are_those_of_redis():
    value = Set.of([b"3", b"1", b"2"])
    assert value.encoding == "intset"
    assert value.in_order() == [b"1", b"2", b"3"]
    value.add(b"x")
    assert value.encoding == "listpack"
    assert value.in_order() == [b"1", b"2", b"3", b"x"]
    value.add(b"x" * 65)
    assert value.encoding == "hashtable"
    assert Set.of(b"%d" % it for it in range(512)).encoding == "intset"
    assert Set.of(b"%d" % it for it in range(513)).encoding == "hashtable"
    for kind, large in ((Hash, "hashtable"), (SortedSet, "skiplist")):
        value = kind()
        value.set(b"x" * 64, b"1" if kind is Hash else 1.0)
        assert value.encoding == "listpack"
        value.set(b"x" * 65, b"1" if kind is Hash else 1.0)
        value.remove(b"x" * 65)
        assert value.encoding == large  # and that is how it stays
    value = List()
    assert value.encoding == "listpack"
    value.push_left(b"x" * 8200)
    assert value.encoding == "quicklist"


def test_sorted_members_of_a_scan_do_not_repeat():
    value = SortedSet()
    for number in range(1000):
        value.set(b"%d" % number, 0.0)
    assert value.order is not None
    names = [value.order.scan(cursor, 100)[1] for cursor in range(1000, 0, -100)]
    assert sorted(chain.from_iterable(names)) == sorted(value.scores)
    assert all(one != two for one, two in pairwise(names))


def test_a_score_of_minus_zero_is_kept_as_zero():
    """Redis writes whole numbers into its listpacks, which have no -0."""
    value = SortedSet()
    value.set(b"new", -0.0)
    value.set(b"changed", 1.0)
    value.set(b"changed", -0.0)
    assert [math.copysign(1, score) for score in value.scores.values()] == [1, 1]
    assert [math.copysign(1, score) for score, _ in value.ranking] == [1, 1]


def written_to_disk(value, records):
    value.version = 7
    for key, written, headers in rows(b"k", value, ((b"x", b"y"),), value.changes()):
        records.append((key, written, headers))
    return records


def test_a_collection_is_had_again_of_its_records_in_any_order_that_compaction_leaves():
    value = SortedSet()
    records = []
    for number in range(5):
        value.set(b"%d" % number, float(number))
    written_to_disk(value, records)
    value.remove(b"3")
    value.set(b"0", 9.5)
    written_to_disk(value, records)
    latest = {key: (written, headers) for key, written, headers in records}
    for order in (list(latest.items()), list(reversed(latest.items()))):
        elements, made = Elements(), None
        for key, (written, headers) in order:
            if key == b"k":
                made = Made(headers)
            else:
                elements.add(key, written)
        elements.add(ELEMENT + b"\0" * 7 + b"\x03other", b"1")  # of one that was deleted
        again = elements.take(made)
        assert shown(again) == shown(value)
        assert (again.version, elements.version) == (7, 7)
        assert elements.take(made) is None
        (left,) = elements.left()
        rows_of_it = list(gone(left.version, left.let_go(10)))
        assert rows_of_it == [(ELEMENT + b"\0" * 7 + b"\x03other", None, ())]
        assert not len(left)


NO_COLLECTION = [(), ((TYPE, b"nope"),), ((TYPE, b"set"), ("redis.version", b"x"))]


@pytest.mark.parametrize("headers", NO_COLLECTION)
def test_what_is_no_record_of_a_collection(headers):
    with pytest.raises(ValueError, match=r"type|int"):
        Made(headers)


PUTS = {
    Hash: lambda value, name: value.set(name, b""),
    List: lambda value, name: value.push_right(name),
    Set: lambda value, name: value.add(name),
    SortedSet: lambda value, name: value.set(name, 1.0),
}


@pytest.mark.parametrize("kind", list(PUTS))
def test_one_that_is_gone_is_let_go_of_a_part_at_a_time(kind):
    value = kind()
    for number in range(3000):
        PUTS[kind](value, b"%d" % number)
    names = {name for name, _ in value.elements()}
    value.changes()
    parts = [value.let_go(1000) for _ in range(3)]
    assert [len(part) for part in parts] == [1000] * 3
    assert set(chain.from_iterable(parts)) == names
    assert value.let_go(1000) == []
    assert not len(value)


def test_many_changes_of_a_list_are_looked_up_at_once():
    """One by one they would cost the square of their number: a COPY took minutes."""

    class Counted(deque):
        looks = 0

        def __getitem__(self, at):
            self.looks += 1
            return super().__getitem__(at)

    it = List()
    for n in range(1000):
        it.push_right(b"%d" % n)
    it.items = Counted(it.items)
    for _ in range(10):
        it.pop_left()
    found = list(it.changes())
    assert it.items.looks == 0
    assert it.before == {}
    assert [written for _, written in found] == [None] * 10 + [b"%d" % n for n in range(10, 1000)]
    it.push_left(b"x")
    assert [written for _, written in it.changes()] == [b"x"]
