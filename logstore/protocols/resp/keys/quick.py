"""GET and SET without the overhead of other commands: one at a time, or many together.

It is used if the client may do everything and no one must be notified of changes. Requests that are
not simple are left to the general execution of commands. A single request is parsed directly from
the bytes; many equal ones are executed column by column.
"""

from collections.abc import Sequence
from itertools import repeat
from types import NoneType
from typing import Any, Final, cast

from logstore.broker.keys.journal import Journal
from logstore.broker.keys.keyspace import KEY_BYTES, Keyspace
from logstore.broker.keys.levels import Level
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.replies import OK, bulk

_GET: Final = (b"GET", b"get")  # as programs spell it
_SET: Final = (b"SET", b"set")
VERBS: Final = _GET + _SET
REPLIES_BYTES_MAX: Final = 1 << 20  # beyond this, replies are sent first
MANY: Final = 4  # requests that are worth looking at together
_ENDS: Final = b"\r\n"
_BEGINS: Final = b"\r\n*"  # a request, behind another one
# How a GET or SET is written, up to the length of its key.
_HEADS: Final = frozenset(
    b"*%d\r\n$3\r\n%b\r\n$" % (words, verb)
    for words, verbs in ((2, _GET), (3, _SET))
    for verb in verbs
)
_HEAD_BYTES: Final = len(next(iter(_HEADS)))
_OF_GET: Final = b"*2"
_GET_PARTS: Final = 6  # parts between line ends, with the rest after the last
_SET_PARTS: Final = 8
_LENGTHS: Final = [b"$%d" % size for size in range(1024)]  # of most keys and values
_BYTES: Final = {bytes}
_STRINGS: Final = {bytes, NoneType}  # what may be under a key


def alike(data: bytes) -> int:
    """The number of requests that these bytes seem to be, all GET or all SET; otherwise 0.

    A key or a value may look like a request, so the caller must parse the bytes.
    """
    head = data[:_HEAD_BYTES]
    if head not in _HEADS:
        return 0
    count = data.count(_BEGINS) + 1
    return count if count == 1 or data.count(head) == count else 0


def answer(client: RespClient, data: bytes) -> bytes | None:
    """The reply to bytes that seem to be one request; None if they are not a simple one."""
    parts = data.split(_ENDS, _SET_PARTS - 1)
    count = len(parts)
    if parts[-1] or count < _GET_PARTS or not _is_length(parts[3], key := parts[4]):
        return None
    space = _simple_space(client)
    if space is None or key in space.deadlines:
        return None
    if count == _GET_PARTS and parts[0] == _OF_GET:
        return _get(client, space, key)
    if count == _SET_PARTS and parts[0] != _OF_GET and _is_length(parts[5], parts[6]):
        return _set(client, space, key, parts[6])
    return None


def answer_all(client: RespClient, requests: Sequence[Any]) -> Sequence[bytes] | None:
    """The replies to requests of one kind; None if they are not all simple."""
    if set(map(type, requests)) != {list}:
        return None
    [words, *others] = set(map(len, requests))
    if others or words not in (2, 3):
        return None
    space = _simple_space(client)
    verbs, keys, *values = zip(*requests, strict=True)
    verb, count = verbs[0], len(verbs)
    if space is None or verbs.count(verb) != count or set(map(type, keys)) != _BYTES:
        return None
    if space.deadlines and not space.deadlines.keys().isdisjoint(keys):
        return None
    if not values and verb in _GET:
        return _get_all(client, space, keys)
    if values and verb in _SET and set(map(type, values[0])) == _BYTES:
        return _set_all(client, space, keys, values[0])
    return None


def carry_out(client: RespClient, requests: Sequence[Any], at: int) -> tuple[int, int]:
    """Carry out requests from ``at`` on, up to one that is not simple; replies go to ``out``.

    Returns the index of that request, and the number of reply bytes.
    """
    begin = len(client.out)
    some = requests[at:] if at else requests
    replies = answer_all(client, some) if len(some) >= MANY else None
    if replies is None:
        replies = _one_by_one(client, some)
    client.out += replies
    client.door.counts.executed += len(replies)
    if client.depends:
        client.note_unsaved(begin, each=True)
    return at + len(replies), sum(map(len, replies))


def _one_by_one(client: RespClient, requests: Sequence[Any]) -> Sequence[bytes]:
    """The replies to the requests before the first that is not simple."""
    replies: list[bytes] = []
    space = _simple_space(client)
    if space is None:
        return replies
    deadlines, size = space.deadlines, 0
    for request in requests:
        if type(request) is not list or not 2 <= len(request) <= 3:
            break
        verb, key, *values = request
        if type(key) is not bytes or key in deadlines:
            break
        reply = None
        if not values and verb in _GET:
            reply = _get(client, space, key)
        elif values and verb in _SET and type(values[0]) is bytes:
            reply = _set(client, space, key, values[0])
        if reply is None:
            break
        replies.append(reply)
        size += len(reply)
        if size > REPLIES_BYTES_MAX:
            break
    return replies


def _simple_space(client: RespClient) -> Keyspace | None:
    """The client's database; None if GET and SET there have side effects."""
    space = client.door.keys.databases[client.database]
    if space.told is not None or space.touch is not None or space.levels.rules:
        return None
    return space


def _journal(client: RespClient) -> Journal:
    return client.door.keys.journals[client.database]


def _is_length(text: bytes, of: bytes) -> bool:
    size = len(of)
    return text == (_LENGTHS[size] if size < len(_LENGTHS) else b"$%d" % size)


def _get(client: RespClient, space: Keyspace, key: bytes) -> bytes | None:
    value = space.values.get(key)
    if type(value) is bytes:
        space.hits += 1
        reply = b"$%d\r\n%b\r\n" % (len(value), value)
    elif value is None:
        space.misses += 1
        reply = client.null()
    else:
        return None
    _count(client, "get", 1)
    journal = _journal(client)
    if journal.unsafe and (turn := journal.unsafe_since(key)):
        client.depend(journal, turn)
    return reply


def _get_all(client: RespClient, space: Keyspace, keys: Sequence[bytes]) -> Sequence[bytes] | None:
    values = cast("list[bytes | None]", list(map(space.values.get, keys)))
    kinds = set(map(type, values))
    if not kinds <= _STRINGS:
        return None
    misses = values.count(None) if NoneType in kinds else 0
    there = [it for it in values if it is not None] if misses else cast("list[bytes]", values)
    if sum(map(len, there)) > REPLIES_BYTES_MAX:
        return None
    if misses:
        null = client.null()
        replies = [null if it is None else bulk(it) for it in values]
    else:
        replies = [b"$%d\r\n%b\r\n" % (len(it), it) for it in there]
    space.hits += len(there)
    space.misses += misses
    _count(client, "get", len(keys))
    journal = _journal(client)
    if journal.unsafe:
        for turn in set(map(journal.unsafe_since, keys)) - {0}:
            client.depend(journal, turn)
    return replies


def _set(client: RespClient, space: Keyspace, key: bytes, value: bytes) -> bytes | None:
    old = space.values.get(key)
    if old is None:
        space.order.add(key)
        space.contents.bytes += KEY_BYTES + len(key) + len(value)
    elif type(old) is bytes:
        space.contents.bytes += len(value) - len(old)
    else:
        return None
    if space.levels.default is not Level.NONE:
        if key not in space.dirty:
            space.dirty[key] = old, None
        _wrote(client, space)
    space.values[key] = value
    _count(client, "set", 1)
    return OK


def _set_all(
    client: RespClient, space: Keyspace, keys: Sequence[bytes], values: Sequence[bytes]
) -> Sequence[bytes] | None:
    olds = cast("list[bytes | None]", list(map(space.values.get, keys)))
    kinds, found = set(map(type, olds)), dict(zip(keys, values, strict=True))
    if not kinds <= _STRINGS or len(found) < len(keys):
        return None
    grown = sum(map(len, values))
    if NoneType in kinds:
        new = [key for key, old in zip(keys, olds, strict=True) if old is None]
        for key in new:
            space.order.add(key)
        grown += KEY_BYTES * len(new) + sum(map(len, new))
        grown -= sum(len(old) for old in olds if old is not None)
    else:
        grown -= sum(map(len, cast("list[bytes]", olds)))
    space.contents.bytes += grown
    if space.levels.default is not Level.NONE:
        dirty, before = space.dirty, zip(keys, zip(olds, repeat(None)), strict=False)
        if dirty and not dirty.keys().isdisjoint(keys):
            for key, it in before:
                dirty.setdefault(key, it)
        else:
            dirty.update(before)
        _wrote(client, space)
    space.values.update(found)
    _count(client, "set", len(keys))
    return [OK] * len(keys)


def _wrote(client: RespClient, space: Keyspace) -> None:
    """Note that the database is dirty; the client waits for the sync if one is required."""
    if space.levels.default is Level.TURN:
        space.must = True
        journal = _journal(client)
        client.depend(journal, journal.turn)
    space.stir()


def _count(client: RespClient, name: str, count: int) -> None:
    calls = client.door.counts.calls
    calls[name] = calls.get(name, 0) + count
    client.last_command = name
