"""Commands about keys, answered as Redis answers them where there are none: nothing is kept here
but what channels keep. Test harnesses and pools of clients send some of them to any server.

Commands that would store or fetch a value are refused; ``unserved.py`` says why.
"""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, KeyFlags, help_of, table
from logstore.protocols.resp.connection import DATABASES
from logstore.protocols.resp.replies import OK, array, bulk, integer, simple
from logstore.protocols.resp.requests import as_integer
from logstore.protocols.resp.tracking import tell_flushed

TIME_MAX: Final = 2**63 - 1  # ms since 1970, or from now
CURSOR_MAX: Final = 2**64 - 1
NO_TTL: Final = -2  # what TTL says of a key that is not there
BAD_INTEGER: Final = "value is not an integer or out of range"
BAD_DATABASE: Final = "DB index is out of range"
SAME: Final = "source and destination objects are the same"

HELP: Final = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>, FREQ <key>, IDLETIME <key>, REFCOUNT <key>",
    "    What is known of a value; there are none here.",
]


def _always(reply: bytes) -> Run:
    def run(client: RespClient, _: Sequence[bytes]) -> None:
        client.say(reply)

    return run


def _null(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(client.null())


def _database(client: RespClient, text: bytes) -> int | None:
    """Which one is meant; None: the client was told what is wrong."""
    number = as_integer(text)
    if number is None or not -(2**31) <= number < 2**31:
        client.fail(BAD_INTEGER)
    elif not 0 <= number < DATABASES:
        client.fail(BAD_DATABASE)
    else:
        return number
    return None


def _scan(client: RespClient, arguments: Sequence[bytes]) -> None:
    cursor = arguments[1]
    if not _is_cursor(cursor):
        client.fail("invalid cursor")
        return
    at = 2
    while at < len(arguments):
        option = arguments[at].upper()
        if option not in (b"MATCH", b"COUNT", b"TYPE") or at + 1 == len(arguments):
            client.fail("syntax error")
            return
        if option == b"COUNT":
            count = as_integer(arguments[at + 1])
            if count is None or count < 1:
                client.fail(BAD_INTEGER if count is None else "syntax error")
                return
        at += 2
    client.say(array([bulk(b"0"), array([])]))


def _is_cursor(text: bytes) -> bool:
    """As C's ``strtoul`` reads it, up to the last byte and without a space."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    return not text or (digits.isdigit() and int(digits[:21]) <= CURSOR_MAX)


def _flush(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) > 2 or (
        len(arguments) == 2 and arguments[1].lower() not in (b"async", b"sync")
    ):
        client.fail("syntax error")
        return
    client.say(OK)
    tell_flushed(client)


def _expire(unit_ms: int, *, from_now: bool) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        words = [word.lower() for word in arguments[3:]]
        for word, shown in zip(words, arguments[3:], strict=True):
            if word not in (b"nx", b"xx", b"gt", b"lt"):
                client.fail(b"Unsupported option %b" % shown)
                return
        if b"nx" in words and len(set(words)) > 1:
            client.fail("NX and XX, GT or LT options at the same time are not compatible")
            return
        if b"gt" in words and b"lt" in words:
            client.fail("GT and LT options at the same time are not compatible")
            return
        time = as_integer(arguments[2])
        if time is None:
            client.fail(BAD_INTEGER)
            return
        limit_ms = TIME_MAX - (client.door.clock() if from_now else 0)
        if not -TIME_MAX - 1 <= time * unit_ms <= limit_ms:
            name = arguments[0].decode().lower()
            client.fail(f"invalid expire time in '{name}' command")
            return
        client.say(integer(0))

    return run


def _no_such_key(client: RespClient, _: Sequence[bytes]) -> None:
    client.fail("no such key")


def _move(client: RespClient, arguments: Sequence[bytes]) -> None:
    database = _database(client, arguments[2])
    if database is None:
        return
    if database == client.database:
        client.fail(SAME)
    else:
        client.say(integer(0))


def _copy(client: RespClient, arguments: Sequence[bytes]) -> None:
    database, at = client.database, 3
    while at < len(arguments):
        option = arguments[at].upper()
        if option == b"REPLACE":
            at += 1
        elif option == b"DB" and at + 1 < len(arguments):
            found = _database(client, arguments[at + 1])
            if found is None:
                return
            database, at = found, at + 2
        else:
            client.fail("syntax error")
            return
    if database == client.database and arguments[1] == arguments[2]:
        client.fail(SAME)
    else:
        client.say(integer(0))


def _swap(client: RespClient, arguments: Sequence[bytes]) -> None:
    for text, which in ((arguments[1], "first"), (arguments[2], "second")):
        number = as_integer(text)
        if number is None or not -(2**31) <= number < 2**31:
            client.fail(f"invalid {which} DB index")
            return
    if all(0 <= int(text) < DATABASES for text in arguments[1:]):
        client.say(OK)
    else:
        client.fail(BAD_DATABASE)


def _watch(client: RespClient, _: Sequence[bytes]) -> None:
    """No key changes, so no transaction is given up for it."""
    if client.queue is not None:
        client.fail("WATCH inside MULTI is not allowed")
    else:
        client.say(OK)


_READ: Final = ("@keyspace", "@read")
_WRITE: Final = ("@keyspace", "@write")
_ALL: Final = (1, -1, 1)
_FIRST: Final = (1, 1, 1)
_PAIR: Final = (1, 2, 1)
_SUM: Final = ("request_policy:multi_shard", "response_policy:agg_sum")
_EVERYWHERE: Final = ("request_policy:all_shards", "response_policy:all_succeeded")
_RO: Final[KeyFlags] = (("RO",),)
_LOOK: Final[KeyFlags] = (("RO", "access"),)
_UPDATE: Final[KeyFlags] = (("RW", "update"),)
_DELETE: Final[KeyFlags] = (("RM", "delete"),)


def _read(
    name: str, arity: int, run: Run, summary: str, since: str, *, keys: tuple[int, int, int],
    key_flags: KeyFlags = _LOOK, fast: bool = True, tips: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    return Command(
        name, arity, run, summary, since, "generic", ("readonly", "fast")[: 1 + fast],
        (*_READ, "@fast" if fast else "@slow", *more), tips, keys, key_flags, many=keys == _ALL,
    )  # fmt: skip


def _write(
    name: str, arity: int, run: Run, summary: str, since: str, *,
    keys: tuple[int, int, int] = (0, 0, 0), key_flags: KeyFlags = _UPDATE, fast: bool = True,
    tips: tuple[str, ...] = (), more: tuple[str, ...] = (), flags: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    return Command(
        name, arity, run, summary, since, "generic", ("write", *flags, *("fast",) * fast),
        (*_WRITE, "@fast" if fast else "@slow", *more), tips, keys, key_flags, publishes=True,
        many=keys == _ALL,
    )  # fmt: skip


def _object(name: str, since: str) -> Command:
    return Command(
        f"object|{name}", 3, _null, "What is known of a value.", since, "generic", ("readonly",),
        (*_READ, "@slow"), ("nondeterministic_output",), (2, 2, 1), _RO,
    )  # fmt: skip


def _time(client: RespClient, _: Sequence[bytes]) -> None:
    seconds, milliseconds = divmod(client.door.clock(), 1000)
    client.say(array([bulk(b"%d" % seconds), bulk(b"%d" % (milliseconds * 1000))]))


_NONE_DELETED: Final = _always(integer(0))
_TTL: Final = _always(integer(NO_TTL))

COMMANDS: Final = (
    _write("flushdb", -1, _flush, "Removes all keys; there are none.", "1.0.0", fast=False,
           tips=_EVERYWHERE, more=("@dangerous",)),
    _write("flushall", -1, _flush, "Removes all keys; there are none.", "1.0.0", fast=False,
           tips=_EVERYWHERE, more=("@dangerous",)),
    _read("dbsize", 1, _always(integer(0)), "How many keys there are: none.", "1.0.0",
          keys=(0, 0, 0), tips=("request_policy:all_shards", "response_policy:agg_sum")),
    _read("keys", 2, _always(array([])), "The keys that match: none.", "1.0.0", keys=(0, 0, 0),
          fast=False, tips=("request_policy:all_shards", "nondeterministic_output_order"),
          more=("@dangerous",)),
    _read("scan", -2, _scan, "The keys, a part at a time: none.", "2.8.0", keys=(0, 0, 0),
          fast=False,
          tips=("nondeterministic_output", "request_policy:special", "response_policy:special")),
    _read("randomkey", 1, _null, "Any key: none.", "1.0.0", keys=(0, 0, 0), fast=False,
          tips=("request_policy:all_shards", "response_policy:special",
                "nondeterministic_output")),
    _read("exists", -2, _NONE_DELETED, "How many of these keys there are.", "1.0.0", keys=_ALL,
          key_flags=_RO, tips=_SUM),
    _read("touch", -2, _NONE_DELETED, "How many of these keys there are.", "3.2.1", keys=_ALL,
          key_flags=_RO, tips=_SUM),
    _read("type", 2, _always(simple(b"none")), "What is kept under a key.", "1.0.0", keys=_FIRST,
          key_flags=_RO),
    _read("ttl", 2, _TTL, "How long a key will still live, in seconds.", "1.0.0", keys=_FIRST,
          tips=("nondeterministic_output",)),
    _read("pttl", 2, _TTL, "The same in milliseconds.", "2.6.0", keys=_FIRST,
          tips=("nondeterministic_output",)),
    _read("expiretime", 2, _TTL, "When a key expires, in seconds since 1970.", "7.0.0",
          keys=_FIRST),
    _read("pexpiretime", 2, _TTL, "The same in milliseconds.", "7.0.0", keys=_FIRST),
    _read("dump", 2, _null, "A value as bytes.", "2.6.0", keys=_FIRST, fast=False,
          tips=("nondeterministic_output",)),
    _write("del", -2, _NONE_DELETED, "Removes keys; how many.", "1.0.0", keys=_ALL,
           key_flags=_DELETE, fast=False, tips=_SUM),
    _write("unlink", -2, _NONE_DELETED, "Removes keys; how many.", "4.0.0", keys=_ALL,
           key_flags=_DELETE, tips=_SUM),
    _write("expire", -3, _expire(1000, from_now=True), "Has a key expire in so many seconds.",
           "1.0.0", keys=_FIRST),
    _write("pexpire", -3, _expire(1, from_now=True), "The same in milliseconds.", "2.6.0",
           keys=_FIRST),
    _write("expireat", -3, _expire(1000, from_now=False), "Has a key expire at a time.", "1.2.0",
           keys=_FIRST),
    _write("pexpireat", -3, _expire(1, from_now=False), "The same in milliseconds.", "2.6.0",
           keys=_FIRST),
    _write("persist", 2, _NONE_DELETED, "Has a key never expire.", "2.2.0", keys=_FIRST),
    _write("rename", 3, _no_such_key, "Renames a key.", "1.0.0", keys=_PAIR, fast=False,
           key_flags=(("RW", "access", "delete"), ("OW", "update"))),
    _write("renamenx", 3, _no_such_key, "Renames a key to a new name.", "1.0.0", keys=_PAIR,
           key_flags=(("RW", "access", "delete"), ("OW", "insert"))),
    _write("move", 3, _move, "Moves a key to another database.", "1.0.0", keys=_FIRST,
           key_flags=(("RW", "access", "update"),)),
    _write("copy", -3, _copy, "Copies a value.", "6.2.0", keys=_PAIR, fast=False,
           key_flags=(("RO", "access"), ("OW", "update")), flags=("denyoom",)),
    _write("swapdb", 3, _swap, "Swaps two databases; both are empty.", "4.0.0",
           more=("@dangerous",)),
    Command("object", -2, None, "What is known of values.", "2.2.3", "generic", (),
            subcommands=table(
                _object("encoding", "2.2.3"),
                _object("freq", "4.0.0"),
                _object("idletime", "2.2.3"),
                _object("refcount", "2.2.3"),
                Command("object|help", 2, help_of(*HELP), "What subcommands there are.", "6.2.0",
                        "generic", ("loading", "stale"), ("@keyspace", "@slow")),
            )),
    Command("watch", -2, _watch, "Taken; no key ever changes here.", "2.2.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), ("@fast", "@transaction"),
            keys=_ALL, key_flags=_RO, at_once=True, many=True),
    Command("unwatch", 1, _always(OK), "Taken; nothing is watched.", "2.2.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), ("@fast", "@transaction")),
    Command("time", 1, _time, "What time it is here.", "2.6.0", "server",
            ("loading", "stale", "fast"), ("@fast",), ("nondeterministic_output",)),
    Command("role", 1, _always(array([bulk(b"master"), integer(0), array([])])),
            "A server without replicas.", "2.8.12", "server",
            ("noscript", "loading", "stale", "fast"), ("@admin", "@fast", "@dangerous")),
)  # fmt: skip
