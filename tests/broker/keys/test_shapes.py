"""Changes of keys as rows of a batch."""

import pytest

from logstore.broker.keys import journal
from logstore.broker.keys.journal import Bounds
from logstore.broker.keys.keyspace import Keyspace
from logstore.broker.keys.levels import Levels
from logstore.broker.keys.shapes import EXPIRES, TOGETHER_MAX, _rows_of_strings, rows
from logstore.errors import RecordTooLarge


def keyspace_of(values, deadlines=None):
    keyspace = Keyspace(0, lambda: 5, Levels(), lambda _: None)
    for key, value in values.items():
        keyspace.put(key, value, (deadlines or {}).get(key))
    return keyspace


PLAIN = {b"a": b"1", b"\1": b"", b"b\0": b"x"}


def test_strings_that_never_expire_are_taken_together():
    keyspace = keyspace_of(PLAIN)
    assert _rows_of_strings(keyspace, keyspace.dirty) is not None
    assert list(rows(keyspace, keyspace.dirty)) == [(key, PLAIN[key], ()) for key in PLAIN]


@pytest.mark.parametrize(("key", "written"), [(b"\0n", b"\0\0n"), (b"", b""), (b"\0", b"\0\0")])
def test_a_key_that_may_look_like_something_else_is_written_apart(key, written):
    keyspace = keyspace_of({**PLAIN, key: b"y"})
    assert _rows_of_strings(keyspace, keyspace.dirty) is None
    assert list(rows(keyspace, keyspace.dirty))[-1] == (written, b"y", ())


def test_what_is_gone_or_expires_is_written_as_such():
    keyspace = keyspace_of(PLAIN)
    keyspace.take()
    keyspace.remove(b"a")
    keyspace.put(b"new", b"1")
    keyspace.remove(b"new")
    assert list(rows(keyspace, keyspace.dirty)) == [(b"a", None, ())]
    other = keyspace_of(PLAIN, {b"a": 7})
    headers = [it for _, _, it in rows(other, other.dirty)]
    assert headers == [((EXPIRES, b"7"),), (), ()]


def test_more_than_can_be_looked_at_in_one_go_are_listed_one_by_one():
    many = {b"%d" % number: b"x" for number in range(TOGETHER_MAX + 1)}
    keyspace = keyspace_of(many)
    assert _rows_of_strings(keyspace, keyspace.dirty) is None
    assert len(list(rows(keyspace, keyspace.dirty))) == len(many)


def test_rows_of_more_than_a_batch_are_cut():
    listed = [(b"k", b"12345678", ()), (b"k", None, ()), (b"k", b"12345678", ())]
    assert list(journal._parts(listed, journal.ON_DISK)) == [listed]
    assert list(journal._parts(listed, Bounds(12, alone=True))) == [listed[:2], listed[2:]]
    assert list(journal._parts(listed, Bounds(16, row_bytes=3))) == [listed[:2], listed[2:]]


def test_a_row_that_is_more_than_a_batch_goes_alone_where_it_may():
    listed = [(b"k", None, ()), (b"k", b"12345678", ())]
    assert list(journal._parts(listed, Bounds(5, alone=True))) == [listed[:1], listed[1:]]
    with pytest.raises(RecordTooLarge, match="has 9 bytes: the maximum is 5"):
        list(journal._parts(listed, Bounds(5)))
