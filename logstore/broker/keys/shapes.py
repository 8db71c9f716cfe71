"""Converts keys to records of a topic, and back.

A string is a record with its key and its value; headers contain the expiry time, and the kind of
other values. A deleted key is a record without a value. A record's key is the key itself, so that
consumers in any language can read it; other records have keys that begin with NUL and a letter, and
a key that begins with NUL gets another NUL in front.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Final, cast

from logstore.broker.keys import elements
from logstore.broker.keys.collection import Collection
from logstore.broker.keys.elements import ELEMENT, TYPE, Elements, Left, Made
from logstore.broker.keys.keyspace import Before, Keyspace
from logstore.names import KEYS_EXPIRE
from logstore.records.encode import Columns
from logstore.records.record import Headers, Record

EXPIRES: Final = KEYS_EXPIRE
NUL: Final = b"\0"
FLUSH: Final = b"\0F"  # the key of the record that says: nothing before this counts
FLUSH_HEADERS: Final[Headers] = (("redis.op", b"flush"),)

# Keys of records that are about several databases, or topics.
DECIDED: Final = b"\0T"  # and a topic's number: what belongs in its log, as ``as_one.py`` has it
PLACES: Final = b"\0S"  # the topics that the databases are in, a byte each: they were swapped

TOGETHER_MAX: Final = 2000  # keys that are looked at in one go: a millisecond
_STRINGS: Final = {bytes}
_FIRST: Final = b"\1"  # no key that begins with a NUL comes after
_KEY, _VALUE, _HEADERS = itemgetter(4), itemgetter(5), itemgetter(6)  # of a record

Row = tuple[bytes, bytes | None, Headers]  # key, value, headers


def record_key(key: bytes) -> bytes:
    """Return the key of the record of this key."""
    return NUL + key if key.startswith(NUL) else key


def key_of(key: bytes) -> bytes | None:
    """Return the key that a record belongs to; None: it belongs to no key."""
    if not key.startswith(NUL):
        return key
    return key[1:] if key[1:2] == NUL else None


def deadline_of(headers: Headers) -> int | None:
    """Return the deadline in the headers of a record; None: the key never expires.

    Raises ValueError.
    """
    for name, value in headers:
        if name == EXPIRES:
            return int(value or b"")
    return None


def rows(keyspace: Keyspace, dirty: Mapping[bytes, Before]) -> Iterator[Row]:
    """Yield the rows to write for changed keys, as they are now."""
    return _rows_of_strings(keyspace, dirty) or _rows(keyspace, dirty)


def _rows_of_strings(keyspace: Keyspace, dirty: Mapping[bytes, Before]) -> Iterator[Row] | None:
    """Return the rows if all are strings that never expire, in a fifth of the time; None: they are
    not.

    Most turns have only such keys.
    """
    if len(dirty) > TOGETHER_MAX or keyspace.deadlines or (dirty and min(dirty) < _FIRST):
        return None
    found = list(map(keyspace.values.get, dirty))
    if set(map(type, found)) != _STRINGS:
        return None
    return zip(dirty, cast("list[bytes]", found), repeat(()), strict=False)


def _rows(keyspace: Keyspace, dirty: Mapping[bytes, Before]) -> Iterator[Row]:
    values, deadlines = keyspace.values, keyspace.deadlines
    for key, (before, _) in dirty.items():
        value = values.get(key)
        if value is None:
            if before is not None:  # otherwise it was set and removed again
                yield record_key(key), None, ()
            continue
        deadline = deadlines.get(key) if deadlines else None
        headers = () if deadline is None else ((EXPIRES, b"%d" % deadline),)
        if type(value) is bytes:
            yield record_key(key), value, headers
        else:
            assert isinstance(value, Collection)
            value.version = value.version or keyspace.new_version()
            yield from elements.rows(record_key(key), value, headers, value.changes())


def whole_rows(keyspace: Keyspace, key: bytes) -> Iterator[Row]:
    """Yield all rows of a key that has no unwritten changes, as they were written."""
    value, deadline = keyspace.values[key], keyspace.deadlines.get(key)
    headers = () if deadline is None else ((EXPIRES, b"%d" % deadline),)
    if type(value) is bytes:
        yield record_key(key), value, headers
    else:
        assert isinstance(value, Collection)
        yield from elements.rows(record_key(key), value, headers, value.elements())


def replaced(keyspace: Keyspace, dirty: Mapping[bytes, Before]) -> Iterator[Collection]:
    """Yield the collections that keys had before these changes and that no key has now."""
    had = [it for it, _ in dirty.values() if isinstance(it, Collection)]
    if had:
        values = keyspace.values
        there = {id(values.get(key)) for key in dirty}  # under another name, perhaps
        yield from (it for it in had if id(it) not in there)


def columns(written: Sequence[Row], now_ms: int) -> Columns:
    """Return the rows as columns, for ``encode_columns``."""
    keys, values, headers = zip(*written, strict=True)
    return Columns(values, keys, headers, [now_ms] * len(written))


class Loading:
    """The result of records that are read from the start, one after another."""

    def __init__(self, now_ms: int) -> None:
        self.values: dict[bytes, object] = {}
        self.deadlines: dict[bytes, int] = {}
        self.flushed_at: int | None = None  # the offset of the last flush
        self.left: list[Left] = []  # of collections that are gone
        self.places: bytes | None = None  # as the last record of that says
        self.decided: dict[bytes, bytes] = {}  # records by their keys: what other logs are to have
        self._elements = Elements()
        self._now_ms = now_ms

    @property
    def version(self) -> int:
        """The highest version of any collection."""
        return self._elements.version

    def add(self, records: list[Record]) -> None:
        """Load these records too. Raises ValueError if one is malformed."""
        values, deadlines = self.values, self.deadlines
        if not any(map(_HEADERS, records)):
            keys, strings = list(map(_KEY, records)), list(map(_VALUE, records))
            if keys and None not in strings and None not in keys and min(keys) >= _FIRST:
                values.update(zip(keys, strings, strict=True))
                if deadlines:
                    for key in keys:
                        deadlines.pop(key, None)
                return
        for _, _, offset, _, key, value, headers in records:
            if key is None:
                raise ValueError("a record without a key")
            if headers or key[:1] == NUL:
                self._add(offset, key, value, headers)
            elif value is None:
                values.pop(key, None)
                deadlines.pop(key, None)
            else:
                values[key] = value
                if deadlines:
                    deadlines.pop(key, None)

    def _add(self, offset: int, name: bytes, value: bytes | None, headers: Headers) -> None:
        key = key_of(name)
        if name == FLUSH:
            self.values.clear()
            self.deadlines.clear()
            self._elements.clear()
            self.flushed_at = offset
            return
        if name == PLACES:
            self.places = value
            return
        if name[:2] == DECIDED:
            self.decided.pop(name, None)
            if value is not None:
                self.decided[name] = value
            return
        if name[:2] == ELEMENT:
            self._elements.add(name, value)
            return
        if key is None:
            raise ValueError(f"a record of {name[:2]!r}")
        self.deadlines.pop(key, None)
        deadline = deadline_of(headers)
        if value is None or (deadline is not None and deadline < self._now_ms):
            self.values.pop(key, None)
            return
        self.values[key] = Made(headers) if _is_collection(headers) else value
        if deadline is not None:
            self.deadlines[key] = deadline

    def finish(self) -> None:
        """Give the collections their elements, after the last record. Raises ValueError."""
        values = self.values
        for key in [key for key, value in values.items() if type(value) is Made]:
            made = values[key]
            assert isinstance(made, Made)
            value = self._elements.take(made)
            if value is None:
                del values[key]
                self.deadlines.pop(key, None)
            else:
                values[key] = value
        self.left = self._elements.left()
        self._elements.clear()


def _is_collection(headers: Headers) -> bool:
    return any(name == TYPE for name, _ in headers)
