"""MQTT wills, in LMDB."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.kept.wills import KeptWill
from logstore.storage import wills
from logstore.storage.verify import verify
from logstore.storage.wills import TABLES, WILLS

FULL = KeptWill(
    2**63, "client ä", b"a/b", b"\0\xff", 2, True, 2**32 - 1, 2**32 - 1, 10**13, 1, b"text/plain",
    b"reply", b"\0", ((b"a", b"1"), (b"a", b"2")), 0,
)  # fmt: skip
BARE = KeptWill(0, "c", b"t", b"")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with logstore.open(tmp_path_factory.mktemp("wills") / "data") as store:
        yield store


@pytest.fixture
def environment(store):
    environment = store.internals().groups.environment
    yield environment
    keys = [key for key, _ in environment.items(WILLS)] if environment.has(WILLS) else []
    environment.transact(TABLES, lambda it: [it.change(WILLS, key, None) for key in keys])


def change(environment, keep=(), forget=()):
    environment.transact(TABLES, lambda it: wills.change(it, keep, forget))


def test_a_new_store_has_none_and_no_table_is_made_by_looking(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        environment = store.internals().groups.environment
        assert not wills.used(environment)
        assert wills.load(environment) == ((), ())
        assert not environment.has(WILLS)


def test_they_are_as_they_were_kept_until_they_are_forgotten(environment):
    change(environment, [FULL, BARE])
    assert wills.used(environment)
    assert sorted(wills.load(environment).wills) == [BARE, FULL]
    change(environment, [BARE._replace(due_ms=7)], [FULL.number, 12345])
    assert wills.load(environment) == ([BARE._replace(due_ms=7)], [])


BYTES = st.binary(max_size=9)
COUNTS = st.integers(0, 2**32 - 1)


@given(
    st.builds(
        KeptWill, st.just(9), st.text(max_size=9), BYTES, BYTES, st.integers(0, 2), st.booleans(),
        COUNTS, COUNTS, st.none() | st.integers(0, 2**62), st.none() | st.integers(0, 1),
        st.none() | BYTES, st.none() | BYTES, st.none() | BYTES,
        st.lists(st.tuples(BYTES, BYTES), max_size=3).map(tuple), st.none() | COUNTS,
    )
)  # fmt: skip
def test_any_will(store, will):
    environment = store.internals().groups.environment
    change(environment, [will])
    assert wills.load(environment) == ([will], [])
    change(environment, (), [9])


def test_a_flipped_bit_is_named_and_leaves_the_others(store, environment):
    change(environment, [FULL, BARE])
    (bare_key, bare), (key, value) = environment.items(WILLS)
    for at in range(len(value)):
        with pytest.raises(ValueError, match="checksum"):
            wills._will(key, value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :])
    environment.transact(TABLES, lambda it: it.change(WILLS, key, value[:-1]))
    found = wills.load(environment)
    assert found.wills == [BARE]
    assert "MQTT will 8000000000000000 is damaged" in str(found.damaged[0])
    for bad, it in ((b"short", bare), (bare_key, b"\0" * 9)):
        environment.transact(TABLES, lambda t, key=bad, value=it: t.change(WILLS, key, value))
    assert len(wills.load(environment).damaged) == 3
    told = [
        str(it.message) for report in verify(store.internals().directory) for it in report.findings
    ]
    assert sum("MQTT will" in it for it in told) == 3


@pytest.mark.parametrize(
    "change_of_row",
    [
        {"qos": 3}, {"qos": "1"}, {"payload": "text"}, {"client": b"c"}, {"more": 1},
        {"user": [b"a"]}, {"user": b"ab"}, {"delay_s": -1}, {"expiry_s": 2**40}, {"format": 2},
    ],
)  # fmt: skip
def test_a_row_that_says_what_no_will_can_is_damaged(environment, monkeypatch, change_of_row):
    row = wills._row(BARE)
    monkeypatch.setattr(wills, "_row", lambda will: {**row, **change_of_row})
    change(environment, [BARE])
    found = wills.load(environment)
    assert found.wills == []
    assert len(found.damaged) == 1
