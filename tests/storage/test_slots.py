"""Places in the watermarks file that nobody has, against a set."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.slots import Slots

NUMBERS = st.sets(st.integers(0, 30))


@given(NUMBERS, st.lists(st.tuples(st.booleans(), st.integers(0, 8))))
def test_the_lowest_free_ones_are_found(used, calls):
    slots = Slots(used)
    used = set(used)
    for adds, count in calls:
        free = [n for n in range(100) if n not in used][:count]
        assert slots.free(count) == free
        if adds:
            slots.taken(free)
            used.update(free)
        else:
            gone = sorted(used)[:count]
            slots.given_back(gone)
            used.difference_update(gone)


def test_a_new_topic_does_not_read_all_others(tmp_path, monkeypatch):
    catalog = Catalog(Disk(), str(tmp_path / "catalog"), create=True, write=True)
    for number in range(5):
        catalog.add("topic", f"t{number}", catalog.free_slots(2), {}, 0)
    reads = []
    monkeypatch.setattr(catalog, "entries", lambda: reads.append(1))
    assert catalog.free_slots(3) == [10, 11, 12]
    catalog.remove("topic", "t1")
    assert catalog.free_slots(3) == [2, 3, 10]
    catalog.change("topic", "t2", added_slots=[2, 3, 10])
    assert catalog.free_slots(1) == [11]
    assert reads == []
    catalog.close()
