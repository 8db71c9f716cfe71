"""The state that the topic of facts describes: vhosts, exchanges, queues, users and others. Pure.

All nodes of a cluster read one compacted partition and reach the same state. A record's key is a
letter and the fact's identifier: a number that no other fact of the cluster ever has, or, for users
and rules, the key of their row. Its value is a head and the fact's row (``kept/queue_rows.py``,
``user_rows.py``); a record without a value deletes the fact. Only the last record of a key
counts, so compaction changes nothing.

Several nodes may create facts of the same name. The fact whose first record has the lowest offset
is valid, and the others are *second*; each later record of a fact states the offset of its first
one. A deleted fact never becomes valid again: a later record of it, from a node that had not read
the deletion, is a *stray*, and every node that reads a stray deletes it again. A fact that refers
to an invalid fact is invalid, too, until the other becomes valid. Users, rules, permissions and
quotas are identified by name, so for these the last record counts.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, cast

from logstore.amqp import fields
from logstore.errors import CorruptStore, SchemaTooNew
from logstore.kept import user_rows
from logstore.kept.queue_rows import (
    BINDINGS,
    DAMAGE,
    EXCHANGES,
    ID,
    POLICIES,
    QUEUES,
    VHOSTS,
    encode,
    parse,
    place,
)
from logstore.kept.queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptNews,
    KeptPolicy,
    KeptQueue,
    KeptRouting,
    KeptVhost,
)
from logstore.kept.users import AccessNews, KeptAccess
from logstore.kept.users import Kept as KeptOfAccess
from logstore.records.batch import Batch
from logstore.records.decode import decode

TOPIC: Final = "__logstore-facts"
FORMAT: Final = 1
NEW: Final = -1  # where the first record of a fact stands: it is this one
FORGOTTEN_KEPT: Final = 65_536  # keys of which strays are known: they are not much later
BY: Final = "by"  # the header of a batch's first record that says who has made it

_KEY_BYTES: Final = 1 + ID.size
_HEAD: Final = Struct(">Bq")  # format; offset of the fact's first record, or NEW
_LETTERS: Final = {
    VHOSTS: b"v", EXCHANGES: b"x", QUEUES: b"q", BINDINGS: b"b", POLICIES: b"p",
}  # fmt: skip
_KINDS: Final = {letter: kind for kind, letter in _LETTERS.items()}
_ACCESS: Final = b"a"  # users, rules, permissions and quotas
_LEADS: Final = {BINDINGS: ID.size}  # what stands in a row's key before its number
# What refers to others comes after them.
_LEVELS: Final = {b"v": 0, b"x": 1, b"q": 1, b"p": 1, b"b": 2}

Known = Kept | KeptOfAccess


def takes(fact: Kept) -> bool:
    """Whether the topic has facts of this kind."""
    return place(fact)[0] in _LETTERS


def key_of(fact: Known) -> bytes:
    """The key of its records. Raises InvalidName."""
    if not isinstance(fact, Kept):
        return access_key(user_rows.key_of(fact))
    kind, row_key = place(fact)
    return _LETTERS[kind] + row_key[_LEADS.get(kind, 0) :]


def level_of(fact: Kept) -> int:
    """The level of a fact: facts that refer to others have a higher one."""
    return _LEVELS[key_of(fact)[:1]]


def access_key(row_key: bytes) -> bytes:
    """The key of records for a row of users, rules, permissions or quotas."""
    return _ACCESS + row_key


def number_of(key: bytes) -> int | None:
    """The number of the fact with this key; None: it has none."""
    if key[:1] == _ACCESS:
        return None
    number: int = ID.unpack(key[1:])[0]
    return number


def with_number(key: bytes, number: int) -> bytes:
    """The key of another fact of the same kind."""
    return key[:1] + ID.pack(number)


def value_of(fact: Known, first: int = NEW) -> bytes:
    """The value of a record; ``first``: the offset of the fact's first record."""
    return headed(row_of(fact), first)


def row_of(fact: Known) -> bytes:
    """The row after the head of a value."""
    if not isinstance(fact, Kept):
        return user_rows.encode(fact)[1]
    kind, row_key = place(fact)
    return row_key[: _LEADS.get(kind, 0)] + encode(fact)


def headed(row: bytes, first: int) -> bytes:
    """The value with such a row."""
    return _HEAD.pack(FORMAT, first) + row


class _Said(NamedTuple):
    """The content of the last record of a fact."""

    fact: Kept
    first: int  # offset of its first record
    name: Hashable
    needs: tuple[tuple[bytes, ...], ...]  # of each of these one is to count: keys

    @property
    def refers_to(self) -> set[bytes]:
        return {it for needed in self.needs for it in needed}


class Changes(NamedTuple):
    """The changes of valid facts that a batch has made."""

    routing: KeptNews = KeptNews()
    access: AccessNews = AccessNews()
    by: bytes = b""  # who has made it, as the header ``BY`` says
    strays: Sequence[bytes] = ()  # keys


class Facts:
    """The state of one topic, as far as it was read."""

    def __init__(self, where: str = TOPIC) -> None:
        """``where``: the partition, for people."""
        self.damaged: dict[bytes, CorruptStore] = {}  # records that can't be read, by their keys
        self._where = where
        self._said: dict[bytes, _Said] = {}
        self._named: dict[Hashable, dict[bytes, None]] = {}
        self._referring: dict[bytes, dict[bytes, None]] = {}  # by what is referred to
        self._counting: dict[bytes, Kept] = {}
        self._forgotten: dict[bytes, None] = {}  # keys, the last ones
        self._strays: set[bytes] = set()  # keys
        self._rows: dict[bytes, bytes] = {}  # of users and so on, by their own keys

    # What is read

    def apply(self, batch: Batch) -> Changes:
        """Apply the next batch. Raises SchemaTooNew, after which nothing more can be read;
        CorruptBatch.
        """
        if batch.is_control or not batch.record_count:
            return Changes()
        found = decode(batch)
        records = [(it.key or b"", it.value, it.offset) for it in found]
        for key, value, offset in records:
            self._check_known(key, value, offset)
        touched: dict[bytes, None] = {}
        strays: dict[bytes, None] = {}
        rows: dict[bytes, bytes | None] = {}  # as they were, where they are other ones now
        for key, value, offset in records:
            if key[:1] == _ACCESS:
                rows.setdefault(key[1:], self._rows.get(key[1:]))
                self._put_row(key, value)
                continue
            self._remove(key, touched)
            if value is None:
                self._forget(key)
            elif key in self._forgotten:
                strays[key] = None
                self._strays.add(key)
                continue
            try:
                said = None if value is None else _said(key, value, offset)
            except DAMAGE as error:
                self.damaged[key] = self._damage(key, offset, error)
            else:
                self.damaged.pop(key, None)
                if said is not None:
                    self._put(key, said, touched)
        by = dict(found[0].headers).get(BY) or b""
        return Changes(self._counted(touched), self._access_news(rows), by, list(strays))

    def _check_known(self, key: bytes, value: bytes | None, offset: int) -> None:
        letter = key[:1]
        if letter and letter != _ACCESS and letter not in _KINDS:
            raise SchemaTooNew(
                f"{self._where}: offset {offset} has a fact of the kind {letter!r}, which this "
                f"logstore does not know: update this node"
            )
        if value and value[0] > FORMAT:
            raise SchemaTooNew(
                f"{self._where}: offset {offset} has format {value[0]}, known is {FORMAT}: update "
                f"this node"
            )

    def _damage(self, key: bytes, offset: int, error: Exception) -> CorruptStore:
        return CorruptStore(
            f"{self._where}: {_KINDS.get(key[:1], b'fact').decode()} {key[1:].hex()} at offset "
            f"{offset} is damaged: {error!r}: it is left out"
        )

    def _put(self, key: bytes, said: _Said, touched: dict[bytes, None]) -> None:
        self._said[key] = said
        named = self._named.setdefault(said.name, {})
        named[key] = None
        touched.update(named)
        for it in said.refers_to:
            self._referring.setdefault(it, {})[key] = None

    def _remove(self, key: bytes, touched: dict[bytes, None]) -> None:
        said = self._said.pop(key, None)
        if said is None:
            return
        named = self._named[said.name]
        touched.update(named)
        _drop(self._named, said.name, key)
        for it in said.refers_to:
            _drop(self._referring, it, key)

    def _forget(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            return  # it was no fact's, and is not to be forgotten by its number again
        self._strays.discard(key)
        self._forgotten.pop(key, None)
        self._forgotten[key] = None
        if len(self._forgotten) > FORGOTTEN_KEPT:
            del self._forgotten[next(iter(self._forgotten))]

    # What counts

    def _counted(self, touched: dict[bytes, None]) -> KeptNews:
        came: list[tuple[int, bytes]] = []
        changed: list[tuple[int, bytes]] = []
        gone: list[tuple[bytes, Kept]] = []
        for level in sorted(set(_LEVELS.values())):
            for key in [it for it in touched if _LEVELS.get(it[:1]) == level]:
                before, now = self._counting.get(key), self._counts(key)
                if before == now:
                    continue
                if now is None:
                    gone.append((key, self._counting.pop(key)))
                else:
                    (changed if before is not None else came).append((level, key))
                    self._counting[key] = now
                touched.update(self._referring.get(key, ()))
        gone.sort(key=lambda it: -_LEVELS[it[0][:1]])
        return KeptNews(self._in_order(came), self._in_order(changed), [it for _, it in gone])

    def _in_order(self, found: list[tuple[int, bytes]]) -> list[Kept]:
        found.sort(key=lambda it: (it[0], self._said[it[1]].first, it[1]))
        return [self._counting[key] for _, key in found]

    def _counts(self, key: bytes) -> Kept | None:
        """The fact if it is valid, judged by the known facts that it needs."""
        said = self._said.get(key)
        if said is None or self._first(said.name) != key or not self._has_needs(said):
            return None
        return said.fact

    def _first(self, name: Hashable) -> bytes:
        return min(self._named[name], key=lambda it: (self._said[it].first, it))

    def _has_needs(self, said: _Said) -> bool:
        found: set[int] = set()  # of bindings: the hosts of both ends
        for needed in said.needs:
            there = [self._counting[it] for it in needed if it in self._counting]
            if not there:
                return False
            found.update(it.vhost for it in there if isinstance(it, KeptExchange | KeptQueue))
        return len(found) <= 1

    # Users and so on

    def _put_row(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._rows.pop(key[1:], None)
        else:
            self._rows[key[1:]] = value[_HEAD.size :]

    def _access_news(self, before: Mapping[bytes, bytes | None]) -> AccessNews:
        keep: list[KeptOfAccess] = []
        forget: list[KeptOfAccess] = []
        damage = False
        for key, row in before.items():
            was, now = _access(key, row), _access(key, self._rows.get(key))
            damage = damage or (was is None) != (row is None)
            damage = damage or (now is None) != (key not in self._rows)
            if now is not None:
                if now != was:
                    keep.append(now)
            elif was is not None:
                forget.append(was)
        return AccessNews(keep, forget, damage)

    # What there is

    def routing(self) -> KeptRouting:
        """All valid facts of vhosts, exchanges, queues and bindings."""
        found: dict[type[Any], list[Any]] = {}
        for fact in self._counting.values():
            found.setdefault(type(fact), []).append(fact)
        most = max((ID.unpack(it[1:])[0] for it in self._said), default=0)
        return KeptRouting(
            found.get(KeptVhost, []), found.get(KeptExchange, []), found.get(KeptQueue, []),
            found.get(KeptBinding, []), most + 1, list(self.damaged.values()),
            found.get(KeptPolicy, []),
        )  # fmt: skip

    def access(self) -> KeptAccess:
        """All valid facts of users, rules, permissions and quotas."""
        return user_rows.access_of(self._where, self._rows.items())

    def has(self, key: bytes) -> bool:
        """Whether the fact has a record, valid or not."""
        if key[:1] == _ACCESS:
            return key[1:] in self._rows
        return key in self._said or key in self.damaged or key in self._strays

    def is_forgotten(self, key: bytes) -> bool:
        """Whether the fact was deleted recently: it never becomes valid again."""
        return key in self._forgotten

    def row(self, key: bytes) -> bytes | None:
        """The row of a user, rule, permission or quota, by its own key."""
        return self._rows.get(key)

    def counting(self, key: bytes) -> Kept | None:
        """The fact, if it is valid."""
        return self._counting.get(key)

    def first(self, key: bytes) -> int:
        """The offset of its first record; NEW: it has none."""
        said = self._said.get(key)
        return NEW if said is None else said.first

    def namesakes(self, key: bytes) -> Sequence[bytes]:
        """The other facts of its name, the earliest first."""
        said = self._said.get(key)
        if said is None:
            return ()
        named = sorted(self._named[said.name], key=lambda it: (self._said[it].first, it))
        return [it for it in named if it != key]

    def referring(self, keys: Iterable[bytes]) -> Sequence[bytes]:
        """The facts that refer to these, directly or indirectly; the most dependent first."""
        found: dict[bytes, None] = {}
        left = list(keys)  # grows while it is gone through
        for key in left:
            those = [it for it in self._referring.get(key, ()) if it not in found]
            found.update(dict.fromkeys(those))
            left += those
        return sorted(found, key=lambda it: -_LEVELS[it[:1]])


def _drop(of: dict[Any, dict[bytes, None]], name: Any, key: bytes) -> None:  # noqa: ANN401
    those = of[name]
    del those[key]
    if not those:
        del of[name]


def _said(key: bytes, value: bytes, offset: int) -> _Said:
    """Raises the errors in ``DAMAGE``."""
    if len(value) < _HEAD.size or len(key) != _KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes and a value of {len(value)}")
    _, first = _HEAD.unpack_from(value)
    kind = _KINDS[key[:1]]
    row = _HEAD.size + _LEADS.get(kind, 0)
    fact = parse(kind, value[_HEAD.size : row] + key[1:], value[row:])
    if not NEW <= first < offset:
        raise ValueError(f"its first record is at offset {first}")
    return _Said(fact, offset if first == NEW else first, _name(fact), _needs(fact))


def _name(fact: Kept) -> Hashable:
    match fact:
        case KeptVhost():
            return "vhost", fact.name
        case KeptBinding():
            table = fields.table(fact.arguments)
            return "binding", fact.source, fact.destination, fact.key, table
        case KeptExchange() | KeptQueue() | KeptPolicy():
            return type(fact).__name__, fact.vhost, fact.name
    raise AssertionError(fact)


def _needs(fact: Kept) -> tuple[tuple[bytes, ...], ...]:
    match fact:
        case KeptVhost():
            return ()
        case KeptBinding():
            to = fact.destination
            return (with_number(b"x", fact.source),), (with_number(b"q", to), with_number(b"x", to))
        case _:
            return ((with_number(b"v", fact.vhost),),)


def _access(key: bytes, row: bytes | None) -> KeptOfAccess | None:
    """The fact; None: it does not exist, or is damaged."""
    if row is None:
        return None
    try:
        return user_rows.parse(key, row)
    except user_rows.DAMAGE:
        return None


def named(fact: Kept) -> str:
    """A description of the fact for people."""
    match fact:
        case KeptVhost():
            return f"virtual host {fact.name!r}"
        case KeptExchange():
            return f"exchange {fact.name!r}"
        case KeptQueue():
            return f"queue {fact.name!r}"
        case KeptPolicy():
            return f"policy {fact.name!r}"
    return f"binding with key {cast(KeptBinding, fact).key!r}"
