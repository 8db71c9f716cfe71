"""Assignors against what they promise: all is given out, to one each, evenly, and little moves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.coordinator.assignor import ASSIGNORS, Wants, by_range, uniform

TOPICS = ["t", "u", "v"]

names = st.sampled_from("abcdefg")
topics = st.frozensets(st.sampled_from(TOPICS))
only = st.none() | st.frozensets(st.integers(0, 5))
counts = st.fixed_dictionaries({}, optional={name: st.integers(1, 7) for name in TOPICS})


def places_of(partitions):
    return [(topic, number) for topic, count in partitions.items() for number in range(count)]


@st.composite
def questions(draw, alike=False):
    wants = st.builds(Wants, topics, only)
    partitions = draw(counts)
    if alike:
        members = dict.fromkeys(sorted(draw(st.sets(names, min_size=1))), draw(wants))
    else:
        members = draw(st.dictionaries(names, wants))
    # What was before is of other members and other partitions, too, and never given out twice.
    before = {}
    for place in places_of(dict.fromkeys(TOPICS, 7)):
        owner = draw(st.none() | names)
        if owner is not None:
            before.setdefault(owner, set()).add(place)
    return members, partitions, before


@pytest.mark.parametrize("name", ASSIGNORS)
@given(question=questions())
def test_every_partition_that_anyone_wants_goes_to_one_that_wants_it(name, question):
    members, partitions, before = question
    assignment = ASSIGNORS[name](members, partitions, before)
    assert assignment.keys() == members.keys()
    given_out = list(itertools.chain(*assignment.values()))
    assert len(given_out) == len(set(given_out))
    for member, places in assignment.items():
        assert all(members[member].takes(place) for place in places)
    wanted = [it for it in places_of(partitions) if any(w.takes(it) for w in members.values())]
    assert sorted(given_out) == sorted(wanted)
    assert ASSIGNORS[name](members, partitions, before) == assignment


@given(question=questions())
def test_uniform_is_as_even_as_single_moves_can_make_it(question):
    members, partitions, before = question
    assignment = uniform(members, partitions, before)
    for giver, places in assignment.items():
        for place, taker in itertools.product(places, members):
            if members[taker].takes(place):
                assert len(places) - len(assignment[taker]) <= 1, (giver, taker, place)


@pytest.mark.long
@given(question=questions())
def test_uniform_moves_nothing_when_asked_again(question):
    members, partitions, before = question
    assignment = uniform(members, partitions, before)
    assert uniform(members, partitions, assignment) == assignment


@given(question=questions(alike=True))
def test_uniform_moves_as_little_as_can_be_where_all_want_the_same(question):
    members, partitions, before = question
    assignment = uniform(members, partitions, before)
    wants = next(iter(members.values()))
    places = [it for it in places_of(partitions) if wants.takes(it)]
    had = {name: len([it for it in before.get(name, ()) if it in places]) for name in members}
    quota, rest = divmod(len(places), len(members))
    # At best, `rest` members keep one more than the quota, where they had that many.
    most = sum(min(count, quota) for count in had.values())
    most += min(rest, sum(count > quota for count in had.values()))
    kept = sum(len(assignment[name] & before.get(name, set())) for name in members)
    assert kept == most


def test_range_gives_runs_and_the_first_one_more():
    wants = Wants(frozenset({"t", "u"}))
    assert by_range({"a": wants, "b": wants}, {"t": 3, "u": 3}, {}) == {
        "a": {("t", 0), ("t", 1), ("u", 0), ("u", 1)},
        "b": {("t", 2), ("u", 2)},
    }


def test_range_gives_a_topic_to_those_that_want_it():
    members = {"a": Wants(frozenset({"t"})), "b": Wants(frozenset({"t", "u"}))}
    assert by_range(members, {"t": 2, "u": 2}, {}) == {
        "a": {("t", 0)},
        "b": {("t", 1), ("u", 0), ("u", 1)},
    }


def test_uniform_fills_a_newcomer_from_those_with_most():
    wants = Wants(frozenset({"t"}))
    before = {"a": {("t", 0), ("t", 1), ("t", 2)}, "b": {("t", 3), ("t", 4), ("t", 5)}}
    assignment = uniform(dict.fromkeys("abc", wants), {"t": 6}, before)
    assert {name: len(places) for name, places in assignment.items()} == {"a": 2, "b": 2, "c": 2}
    assert assignment["a"] < before["a"]
    assert assignment["b"] < before["b"]


def test_uniform_makes_up_for_a_topic_that_only_one_wants():
    members = {"a": Wants(frozenset({"t", "u"})), "b": Wants(frozenset({"t"}))}
    assignment = uniform(members, {"t": 4, "u": 4}, {})
    assert assignment["b"] == {("t", number) for number in range(4)}
