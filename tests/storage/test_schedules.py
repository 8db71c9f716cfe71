"""What waits for its time, in LMDB."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.errors import CorruptStore
from logstore.kept.schedules import (
    Entry,
    Moving,
    exchange_of,
    of_exchange,
    of_partition,
    partition_of,
)
from logstore.storage.schedules import SCHEDULES, TABLES, ScheduleTable

LOG, OTHER = of_exchange(7), of_partition(bytes(range(16)), 3)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with logstore.open(tmp_path_factory.mktemp("schedules") / "data") as store:
        yield store.internals().groups.environment


@pytest.fixture
def table(environment):
    table = ScheduleTable(environment)
    yield table
    for log in (LOG, OTHER):
        while not environment.transact(TABLES, lambda it, log=log: table.forget(it, log, 100)):
            pass


def write(table, log, put=(), gone=(), mark=None):
    table.environment.transact(TABLES, lambda it: table.write(it, log, put, gone, mark))


def test_a_new_store_has_none_and_no_table_is_made_by_looking(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        table = ScheduleTable(store.internals().groups.environment)
        assert (table.logs(), table.mark(LOG), table.moving(LOG)) == ([], 0, None)
        assert table.page(LOG, Entry(0, 0), 10) == ([], False)
        assert not table.environment.has(SCHEDULES)


entries = st.builds(Entry, st.integers(0, 2**63), st.integers(0, 2**63))


@given(st.lists(entries, unique=True, max_size=20), entries, st.integers(1, 10))
def test_a_page_has_the_entries_from_one_on_in_the_order_of_their_times(
    environment, those, first, most
):
    table = ScheduleTable(environment)
    write(table, LOG, those)
    write(table, OTHER, [Entry(5, 5)])
    expected = sorted(it for it in those if it >= first)
    assert table.page(LOG, first, most) == (expected[:most], len(expected) > most)
    write(table, LOG, gone=those)
    assert table.page(LOG, Entry(0, 0), 100) == ([], False)


def test_the_mark_and_what_is_under_way_are_kept(table):
    write(table, LOG, [Entry(9, 1)], mark=12)
    moving = Moving(100, 7, (Entry(9, 1), Entry(9, 2)))
    table.environment.transact(TABLES, lambda it: table.move(it, LOG, moving))
    assert (table.logs(), table.mark(LOG), table.moving(LOG)) == ([LOG], 12, moving)
    table.environment.transact(TABLES, lambda it: table.move(it, LOG, None))
    assert table.moving(LOG) is None


def test_a_log_is_forgotten_some_entries_at_a_time(table):
    write(table, LOG, [Entry(n, n) for n in range(25)], mark=25)
    write(table, OTHER, [Entry(1, 1)], mark=2)
    done = [table.environment.transact(TABLES, lambda it: table.forget(it, LOG, 10)) for _ in "123"]
    assert done == [False, False, True]
    assert (table.logs(), table.mark(LOG)) == ([OTHER], 0)
    assert table.page(OTHER, Entry(0, 0), 10) == ([Entry(1, 1)], False)


def test_damage_is_named(table):
    for kind, look in ((b"m", table.mark), (b"i", table.moving)):
        table.environment.commit([(SCHEDULES, kind + LOG, b"123")])
        with pytest.raises(CorruptStore, match="is damaged: restore"):
            look(LOG)
        table.environment.commit([(SCHEDULES, kind + LOG, None)])


def test_keys_say_whose_log_it_is():
    assert exchange_of(LOG) == 7
    assert partition_of(OTHER) == (bytes(range(16)), 3)
    assert exchange_of(OTHER) is None
    assert partition_of(LOG) is None
