"""Who has which offsets, against one entry for each offset."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.shares.locks import Lock, Locks

SIZE = 12


def test_what_nobody_has_is_dropped_without_a_trace():
    it = Locks()
    it.put(Lock(0, 2, "a", 5))
    it.put(Lock(6, 8, "b", 5))
    assert it.drop(3, 5) == it.drop(2, 6) == []
    assert not it.owned(2, 3, "a")
    assert it.take(lambda _: True) == [Lock(0, 2, "a", 5), Lock(6, 8, "b", 5)]


ranges = st.tuples(st.integers(0, SIZE), st.integers(1, SIZE)).map(lambda it: (it[0], sum(it)))
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "drop", "owner", "due"]),
        ranges,
        st.sampled_from("ab"),
        st.integers(0, 9),
    )
)


@given(steps, ranges)
def test_as_one_entry_for_each_offset(steps, asked):
    it, model = Locks(), {}
    for step, (first, upto), owner, time in steps:
        if step == "put" and not model.keys() & set(range(first, upto)):
            it.put(Lock(first, upto, owner, time))
            model |= dict.fromkeys(range(first, upto), (owner, time))
        elif step == "drop":
            dropped = it.drop(first, upto)
            expected = sorted(model.keys() & set(range(first, upto)))
            found = {
                o: (one.owner, one.deadline_ms)
                for one in dropped
                for o in range(one.first, one.upto)
            }
            assert found == {offset: model[offset] for offset in expected}
            for offset in expected:
                del model[offset]
        elif step in ("owner", "due"):
            if step == "owner":
                taken = it.take(lambda lock, owner=owner: lock.owner == owner)
                gone = [offset for offset, (who, _) in model.items() if who == owner]
            else:
                taken = it.take(lambda lock, time=time: lock.deadline_ms <= time)
                gone = [offset for offset, (_, due) in model.items() if due <= time]
            found = [offset for lock in taken for offset in range(lock.first, lock.upto)]
            assert found == sorted(gone)
            for offset in gone:
                del model[offset]
        assert it.deadline_ms == min((due for _, due in model.values()), default=None)
        for owner in "ab":
            wanted = all(model.get(offset, "")[:1] == (owner,) for offset in range(*asked))
            assert it.owned(*asked, owner) is wanted
