"""Which node of a group should own which partitions: even, and with no more moves than needed."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.cluster.assignor import Holding, assign, holders
from logstore.cluster.assignor import given as told

NAMES = st.sampled_from("abcdefg")
HOLDINGS = st.builds(Holding, st.frozensets(st.integers(0, 14)), st.integers(0, 3))
MEMBERS = st.dictionaries(NAMES, HOLDINGS, min_size=1)
PARTITIONS = st.integers(0, 12)


@given(MEMBERS, PARTITIONS)
def test_each_partition_is_given_to_one_and_evenly(members, partitions):
    target = assign(members, partitions)
    assert sorted(it for some in target.values() for it in some) == list(range(partitions))
    sizes = [len(target[it]) for it in members]
    assert max(sizes) - min(sizes) <= 1


@given(MEMBERS, PARTITIONS)
def test_no_more_partitions_move_than_evenness_needs(members, partitions):
    holder = holders(members, partitions)
    target = assign(members, partitions)
    stay = sum(1 for number, name in holder.items() if number in target[name])
    had = sorted((list(holder.values()).count(it) for it in members), reverse=True)
    least, more = divmod(partitions, len(members))
    assert stay == sum(min(it, least + (n < more)) for n, it in enumerate(had))


@given(MEMBERS, PARTITIONS)
def test_two_rounds_give_all_and_a_third_moves_nothing(members, partitions):
    target = assign(members, partitions)
    first = told(members, partitions)
    holder = holders(members, partitions)
    for name, numbers in first.items():
        assert numbers <= target[name]
        assert all(holder.get(it, name) == name for it in numbers)
    after = {name: Holding(numbers, 4) for name, numbers in first.items()}
    second = told(after, partitions)
    assert second == assign(after, partitions)  # all of them are somebody's
    assert all(numbers <= second[name] for name, numbers in first.items())
    at_last = {name: Holding(numbers, 5) for name, numbers in second.items()}
    assert told(at_last, partitions) == second


def test_of_two_that_say_they_have_it_the_one_that_was_told_last_has():
    members = {"a": Holding({0, 1}, 7), "b": Holding({0, 1, 2}, 3)}
    assert holders(members, 3) == {0: "a", 1: "a", 2: "b"}
    assert told(members, 3) == {"a": {0, 1}, "b": {2}}
    assert assign({}, 3) == {}
