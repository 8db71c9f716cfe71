"""Commands on strings: SET, GET and others."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from logstore.broker.keys.keyspace import Keyspace
from logstore.broker.keys.numerals import as_long_double, long_double_sum, long_double_text
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, KeyFlags
from logstore.protocols.resp.keys import rows
from logstore.protocols.resp.keys.deadlines import UNITS, deadline_of
from logstore.protocols.resp.keys.look import (
    integer_of,
    keyspace,
    look,
    seen,
    string,
    string_there,
)
from logstore.protocols.resp.replies import OK, bulk, integer
from logstore.protocols.resp.wrong import TOO_LONG, Wrong
from logstore.slices import Steps

SYNTAX: Final = "syntax error"
INT64_MAX: Final = 2**63 - 1


class Options(NamedTuple):
    """The options of SET and GETEX."""

    found: frozenset[bytes]  # NX, XX, GET, KEEPTTL, PERSIST
    unit: bytes | None  # EX, PX, EXAT, PXAT
    time: bytes

    def deadline(self, space: Keyspace, name: str) -> int | None:
        """Raises Wrong."""
        if self.unit is None:
            return None
        unit_ms, from_now = UNITS[self.unit]
        return deadline_of(space, self.time, unit_ms, name, from_now=from_now)


# Options that exclude each other.
_LIVES: Final = frozenset({b"KEEPTTL", b"PERSIST"})
_EXCLUDE: Final = {b"NX": b"XX", b"XX": b"NX"}
_OF_SET: Final = frozenset({b"NX", b"XX", b"GET", b"KEEPTTL"})
_OF_GETEX: Final = frozenset({b"PERSIST"})


def _options(arguments: Sequence[bytes], known: frozenset[bytes]) -> Options:
    """Raises Wrong."""
    found: set[bytes] = set()
    unit, time, at = None, b"", 0
    while at < len(arguments):
        word = arguments[at].upper()
        if word in known:
            if _EXCLUDE.get(word) in found or (word in _LIVES and unit is not None):
                raise Wrong(SYNTAX)
            found.add(word)
        elif (
            word in UNITS
            and at + 1 < len(arguments)
            and unit in (None, word)
            and (not found & _LIVES)
        ):  # the same one twice is allowed, and the last one counts
            at += 1
            unit, time = word, arguments[at]
        else:
            raise Wrong(SYNTAX)
        at += 1
    return Options(frozenset(found), unit, time)


def _set(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    key, value, space = arguments[1], arguments[2], keyspace(client)
    if len(arguments) == 3:
        space.put(key, value)
        return OK
    options = _options(arguments[3:], _OF_SET)
    deadline = options.deadline(space, "set")
    gets, reply = b"GET" in options.found, OK
    if gets:
        before = string(client, key)
        reply = client.null() if before is None else bulk(before)
    there = look(client, key) is not None
    if (b"NX" in options.found and there) or (b"XX" in options.found and not there):
        return reply if gets else client.null()
    if b"KEEPTTL" in options.found:
        space.alter(key, value, "set")
    else:
        space.put(key, value)
        if deadline is not None:
            space.date(key, deadline)
    return reply


def _setnx(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if look(client, arguments[1]) is not None:
        return integer(0)
    keyspace(client).put(arguments[1], arguments[2])
    return integer(1)


def _setex(unit_ms: int, name: str) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> bytes:
        space = keyspace(client)
        deadline = deadline_of(space, arguments[2], unit_ms, name, from_now=True)
        space.put(arguments[1], arguments[3])
        space.date(arguments[1], deadline)
        return OK

    return rows.says(run)


def _shown(client: RespClient, value: bytes | None) -> bytes:
    return client.null() if value is None else bulk(value)


def _get(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    return _shown(client, string(client, arguments[1]))


def _getset(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    before = string(client, arguments[1])
    keyspace(client).put(arguments[1], arguments[2])
    return _shown(client, before)


def _getdel(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    before = string(client, arguments[1])
    if before is not None:
        keyspace(client).remove(arguments[1])
    return _shown(client, before)


def _getex(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    key, space = arguments[1], keyspace(client)
    options = _options(arguments[2:], _OF_GETEX)
    value = string(client, key)
    if value is None:
        return client.null()
    deadline = options.deadline(space, "getex")
    if deadline is not None and deadline <= space.clock():
        space.remove(key)
    elif deadline is not None:
        space.date(key, deadline)
    elif b"PERSIST" in options.found:
        space.persist(key)
    return bulk(value)


def _mget(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    found, null = [b"*%d\r\n" % (len(arguments) - 1)], client.null()
    for some in rows.parts(arguments[1:]):
        values = [seen(client, key) for key in some]
        found += [bulk(it) if type(it) is bytes else null for it in values]
        yield len(some)
    client.say(b"".join(found))


def _check_pairs(arguments: Sequence[bytes], name: str) -> None:
    if len(arguments) % 2 == 0:
        raise Wrong(f"wrong number of arguments for '{name}' command")


def _put_all(client: RespClient, pairs: Sequence[bytes]) -> Steps:
    put = keyspace(client).put
    for some in rows.parts(pairs):  # an even number at a time
        for key, value in zip(some[::2], some[1::2], strict=True):
            put(key, value)
        yield len(some)


def _mset(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    _check_pairs(arguments, "mset")
    yield from _put_all(client, arguments[1:])
    client.say(OK)


def _msetnx(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    _check_pairs(arguments, "msetnx")
    for some in rows.parts(arguments[1:]):
        if any(look(client, key) is not None for key in some[::2]):
            client.say(integer(0))
            return
        yield len(some)
    yield from _put_all(client, arguments[1:])
    client.say(integer(1))


def _check_length(client: RespClient, size: int) -> None:
    limits = client.door.limits
    if size > limits.bulk_bytes_max:  # no string in Redis is so long either
        raise Wrong("string exceeds maximum allowed size (proto-max-bulk-len)")
    if size > limits.value_bytes_max:
        raise Wrong(TOO_LONG)


def _append(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    before = string_there(client, arguments[1]) or b""
    _check_length(client, len(before) + len(arguments[2]))
    value = before + arguments[2]
    keyspace(client).alter(arguments[1], value, "append")
    return integer(len(value))


def _strlen(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    return integer(len(string(client, arguments[1]) or b""))


def _getrange(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    start, end = integer_of(arguments[2]), integer_of(arguments[3])
    value = string(client, arguments[1]) or b""
    if start < 0 and end < 0 and start > end:
        return bulk(b"")
    size = len(value)
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    return bulk(value[start : min(end, size - 1) + 1])


def _setrange(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    key, offset, part = arguments[1], integer_of(arguments[2]), arguments[3]
    if offset < 0:
        raise Wrong("offset is out of range")
    before = string_there(client, key)
    if not part:
        return integer(len(before or b""))
    _check_length(client, offset + len(part))
    known = before or b""
    value = known[:offset].ljust(offset, b"\0") + part + known[offset + len(part) :]
    keyspace(client).alter(key, value, "setrange")
    return integer(len(value))


def _add(client: RespClient, key: bytes, count: int) -> bytes:
    before = string_there(client, key)
    value = (0 if before is None else integer_of(before)) + count
    if not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise Wrong("increment or decrement would overflow")
    keyspace(client).alter(key, b"%d" % value, "incrby")
    return integer(value)


def _decrby(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    count = integer_of(arguments[2])
    if count < -INT64_MAX:
        raise Wrong("decrement would overflow")
    return _add(client, arguments[1], -count)


def _incrbyfloat(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    before = string_there(client, arguments[1])
    numbers = [as_long_double(it) for it in (b"0" if before is None else before, arguments[2])]
    if None in numbers:
        raise Wrong("value is not a valid float")
    finite = [it for it in numbers if isinstance(it, Fraction)]
    total = long_double_sum(*finite) if len(finite) == len(numbers) else None
    if total is None:
        raise Wrong("increment would produce NaN or Infinity")
    value = long_double_text(total)
    keyspace(client).alter(arguments[1], value, "incrbyfloat")
    return bulk(value)


def _read(
    name: str, arity: int, run: Run, summary: str, since: str, *,
    fast: bool = True, look: KeyFlags = rows.LOOK, keys: tuple[int, int, int] = rows.FIRST,
    tips: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    return rows.read(
        name, arity, run, summary, since, fast=fast, key_flags=look, keys=keys, tips=tips,
        group="string",
    )  # fmt: skip


def _write(
    name: str, arity: int, run: Run, summary: str, since: str, key_flags: KeyFlags, *,
    fast: bool = True, grows: bool = True, keys: tuple[int, int, int] = rows.FIRST,
    tips: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    return rows.write(
        name, arity, run, summary, since, key_flags=key_flags, fast=fast, grows=grows, keys=keys,
        tips=tips, group="string",
    )  # fmt: skip


_SHARDS: Final = "request_policy:multi_shard"
_SET: Final[KeyFlags] = (("RW", "access", "update", "variable_flags"),)

COMMANDS: Final = (
    _read("get", 2, rows.says(_get), "The string under a key.", "1.0.0"),
    _write("set", -3, rows.says(_set), "Puts a string under a key.", "1.0.0", _SET, fast=False),
    _write("setnx", 3, rows.says(_setnx), "The same, where there is none.", "1.0.0", rows.INSERT),
    _write("setex", 4, _setex(1000, "setex"), "Puts a string that expires in so many seconds.",
           "2.0.0", rows.PUT, fast=False),
    _write("psetex", 4, _setex(1, "psetex"), "The same in milliseconds.", "2.6.0", rows.PUT,
           fast=False),
    _write("getset", 3, rows.says(_getset), "Puts a string, and gives the one before.", "1.0.0",
           rows.UPDATE),
    _write("getdel", 2, rows.says(_getdel), "Gives a string, and removes it.", "6.2.0",
           (("RW", "access", "delete"),), grows=False),
    _write("getex", -2, rows.says(_getex), "Gives a string, and says when it expires.", "6.2.0",
           rows.UPDATE, grows=False),
    _read("mget", -2, rows.in_parts(_mget), "The strings under keys.", "1.0.0", keys=rows.ALL,
          tips=(_SHARDS,)),
    _write("mset", -3, rows.in_parts(_mset), "Puts strings under keys.", "1.0.1", rows.PUT,
           fast=False, keys=rows.PAIRS, tips=(_SHARDS, "response_policy:all_succeeded")),
    _write("msetnx", -3, rows.in_parts(_msetnx), "The same, where there are none.", "1.0.1",
           rows.INSERT, fast=False, keys=rows.PAIRS, tips=(_SHARDS, "response_policy:agg_min")),
    _write("append", 3, rows.says(_append), "Makes a string longer.", "2.0.0",
           (("RW", "insert"),)),
    _read("strlen", 2, rows.says(_strlen), "How long a string is.", "2.2.0", look=rows.RO),
    _read("getrange", 4, rows.says(_getrange), "A part of a string.", "2.4.0", fast=False),
    _read("substr", 4, rows.says(_getrange), "The same, as it was called.", "1.0.0", fast=False),
    _write("setrange", 4, rows.says(_setrange), "Overwrites a part of a string.", "2.2.0",
           rows.CHANGE, fast=False),
    _write("incr", 2, rows.says(lambda client, words: _add(client, words[1], 1)),
           "Adds one to a number.", "1.0.0", rows.UPDATE),
    _write("decr", 2, rows.says(lambda client, words: _add(client, words[1], -1)),
           "Takes one from a number.", "1.0.0", rows.UPDATE),
    _write("incrby", 3,
           rows.says(lambda client, words: _add(client, words[1], integer_of(words[2]))),
           "Adds to a number.", "1.0.0", rows.UPDATE),
    _write("decrby", 3, rows.says(_decrby), "Takes from a number.", "1.0.0", rows.UPDATE),
    _write("incrbyfloat", 3, rows.says(_incrbyfloat), "Adds to a number with a fraction.",
           "2.6.0", rows.UPDATE),
)  # fmt: skip
