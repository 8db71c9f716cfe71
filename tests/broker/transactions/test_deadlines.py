"""Names with times: which are over."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.transactions.deadlines import Deadlines


def all_due(it, now):
    found = []
    while (name := it.due(now)) is not None:
        found.append(name)
    return found


def test_a_name_is_due_once():
    it = Deadlines()
    it.set("a", 10)
    it.set("b", 5)
    assert it.next == 5
    assert all_due(it, 4) == []
    assert all_due(it, 10) == ["b", "a"]
    assert all_due(it, 100) == []
    assert it.next is None


def test_the_last_time_counts():
    it = Deadlines()
    it.set("a", 10)
    it.set("a", 20)
    assert all_due(it, 15) == []
    it.drop("a")
    it.drop("unknown")
    assert all_due(it, 30) == []
    assert not it


def test_times_that_count_no_more_are_not_kept():
    """A producer of a transaction a millisecond would leave a minute of them."""
    it = Deadlines()
    for n in range(10_000):
        it.set("busy", n + 60_000)
        it.set(f"id-{n % 7}", n + 60_000)
    assert len(it._heap) <= 2 * len(it) + 64
    assert len(it) == 8


steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abcd"), st.integers(0, 20)),
        st.tuples(st.just("drop"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("due"), st.just(""), st.integers(0, 20)),
    )
)


@given(steps)
def test_as_a_plain_dictionary(steps):
    it, model = Deadlines(), {}
    for step, name, time in steps:
        if step == "set":
            it.set(name, time)
            model[name] = time
        elif step == "drop":
            it.drop(name)
            model.pop(name, None)
        else:
            expected = sorted((at, name) for name, at in model.items() if at <= time)
            assert all_due(it, time) == [name for _, name in expected]
            for _, name in expected:
                del model[name]
        assert len(it) == len(model)
        assert it.next == min(model.values(), default=None)
