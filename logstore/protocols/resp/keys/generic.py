"""Commands on keys of any type: DEL, EXISTS, RENAME, COPY, OBJECT and others."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.keys.collection import twin_of
from logstore.broker.keys.keys import DATABASES
from logstore.broker.keys.keyspace import DEADLINE_BYTES, KEY_BYTES, size_of
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, help_of, table
from logstore.protocols.resp.keys import rows
from logstore.protocols.resp.keys.look import (
    all_seen,
    database_of,
    integer_of,
    keyspace,
    look,
)
from logstore.protocols.resp.replies import OK, bulk, integer, simple
from logstore.protocols.resp.requests import as_integer
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

SAME: Final = "source and destination objects are the same"
NO_KEY: Final = "no such key"
SYNTAX: Final = "syntax error"
NO_DUMPS: Final = "values are not written in the form of Redis's dumps here"
SHARED: Final = 10_000  # smaller numbers are shared objects in Redis
SHARED_COUNT: Final = 2**31 - 1  # of references to such a one
EMBEDDED_MAX: Final = 44  # bytes of a string that Redis keeps in one piece with its head
NOT_TRACKED: Final = (
    "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
    "switching between policies at runtime LRU and LFU data will take some time to adjust."
)
NO_IDLE_TIME: Final = (
    "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching "
    "between policies at runtime LRU and LFU data will take some time to adjust."
)
OBJECT_HELP: Final = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    What a value is to Redis: int, embstr, raw, ...",
    "FREQ <key>, IDLETIME <key>",
    "    How often it was looked at, or not for how long, where a policy asks for it.",
    "REFCOUNT <key>",
    "    1; of a small number, which Redis has once for all, a large one.",
]
MEMORY_HELP: Final = [
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    About how many bytes a key and its value take.",
]


def _remove(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    count = 0
    for some in rows.parts(arguments[1:]):
        for key in some:
            count += look(client, key) is not None and keyspace(client).remove(key)
        yield len(some)
    client.say(integer(count))


def _exists(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    count = 0
    for some in rows.parts(arguments[1:]):
        count += sum([look(client, key) is not None for key in some])
        yield len(some)
    client.say(integer(count))


def kind_of(value: object | None) -> bytes:
    """The type of a value as TYPE names it."""
    if value is None:
        return b"none"
    return b"string" if type(value) is bytes else value.kind.encode()  # type: ignore[attr-defined]


def _type(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    return simple(kind_of(look(client, arguments[1])))


def _rename(*, fresh: bool) -> Run:
    """The RENAME command; ``fresh``: only to a name that does not exist."""

    def run(client: RespClient, arguments: Sequence[bytes]) -> bytes:
        key, name, space = arguments[1], arguments[2], keyspace(client)
        value = look(client, key)
        if value is None:
            raise Wrong(NO_KEY)
        if key == name:
            return integer(0) if fresh else OK
        if fresh and look(client, name) is not None:
            return integer(0)
        space.move(key, name)
        return integer(1) if fresh else OK

    return rows.says(run)


@rows.in_parts
def _move(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    database = database_of(arguments[2], DATABASES)
    if database == client.database:
        raise Wrong(SAME)
    key, keys = arguments[1], client.door.keys
    value = look(client, key)
    if value is None or look(client, key, database) is not None:
        client.say(integer(0))
        return
    twin = yield from twin_of(value)
    keys.together((client.database, database))
    keyspace(client).give(key, keyspace(client, database), twin)
    client.say(integer(1))


def _swap(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    numbers = []
    for text, which in ((arguments[1], "first"), (arguments[2], "second")):
        number = as_integer(text)
        if number is None or not -(2**31) <= number < 2**31:
            raise Wrong(f"invalid {which} DB index")
        numbers.append(number)
    if not all(0 <= number < DATABASES for number in numbers):
        raise Wrong("DB index is out of range")
    first, second = numbers
    if first != second:
        for number in (first, second):
            keyspace(client, number)
        client.door.keys.swap(first, second)
    return OK


@rows.in_parts
def _copy(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    database, at, replaces = client.database, 3, False
    while at < len(arguments):
        option = arguments[at].upper()
        if option == b"REPLACE":
            replaces = True
            at += 1
        elif option == b"DB" and at + 1 < len(arguments):
            database = database_of(arguments[at + 1], DATABASES)
            at += 2
        else:
            raise Wrong(SYNTAX)
    key, name = arguments[1], arguments[2]
    if database == client.database and key == name:
        raise Wrong(SAME)
    value = look(client, key)
    if value is None or (look(client, name, database) is not None and not replaces):
        client.say(integer(0))
        return
    twin = yield from twin_of(value)
    target = keyspace(client, database)
    if target.told is not None and name in target.values:
        target.told(database, name, "new")  # Redis removes it and adds it again
    target.put(name, twin, keyspace(client).deadline(key), "copy_to")
    client.say(integer(1))


def _dump(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if look(client, arguments[1]) is None:
        return client.null()
    raise Wrong(NO_DUMPS)


# OBJECT, MEMORY


def _small(value: object) -> int | None:
    """The number in a string that Redis would store as a number; otherwise None."""
    return as_integer(value) if type(value) is bytes and len(value) <= 20 else None


def _encoding(value: object) -> bytes:
    if type(value) is not bytes:
        return value.encoding.encode()  # type: ignore[attr-defined,no-any-return]
    if _small(value) is not None:
        return b"int"
    return b"embstr" if len(value) <= EMBEDDED_MAX else b"raw"


def _object_encoding(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    value = look(client, arguments[2])
    return client.null() if value is None else bulk(_encoding(value))


def _object_refcount(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    value = look(client, arguments[2])
    if value is None:
        return client.null()
    number = _small(value)
    return integer(SHARED_COUNT if number is not None and 0 <= number < SHARED else 1)


def _object_idletime(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if look(client, arguments[2]) is None:
        return client.null()
    eviction = client.door.keys.eviction
    if eviction.noted == "lfu":
        raise Wrong(NO_IDLE_TIME)
    return integer(eviction.idle_s(keyspace(client), arguments[2]))


def _object_freq(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if look(client, arguments[2]) is None:
        return client.null()
    eviction = client.door.keys.eviction
    if eviction.noted != "lfu":
        raise Wrong(NOT_TRACKED)
    return integer(eviction.frequency(keyspace(client), arguments[2]))


def _memory_usage(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    at = 3
    while at < len(arguments):
        if arguments[at].upper() != b"SAMPLES" or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        if integer_of(arguments[at + 1]) < 0:
            raise Wrong(SYNTAX)
        at += 2
    key, space = arguments[2], keyspace(client)
    value = look(client, key)
    if value is None:
        return client.null()
    dated = DEADLINE_BYTES if space.deadline(key) is not None else 0
    return integer(KEY_BYTES + dated + len(key) + size_of(value))


def _select(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    client.database = database_of(arguments[1], DATABASES)
    return OK


def _size(client: RespClient, _: Sequence[bytes]) -> bytes:
    return integer(len(all_seen(client)))


def _object(name: str, run: rows.Reply, since: str) -> Command:
    return Command(
        f"object|{name}", 3, rows.says(run), "What is known of a value.", since, "generic",
        ("readonly",), ("@keyspace", "@read", "@slow"), ("nondeterministic_output",), (2, 2, 1),
        rows.RO,
    )  # fmt: skip


_DANGEROUS: Final = ("@dangerous",)
_TAKE: Final = ("RW", "access", "delete")

COMMANDS: Final = (
    rows.write("del", -2, rows.in_parts(_remove), "Removes keys; how many.", "1.0.0",
               keys=rows.ALL, key_flags=rows.DELETE, fast=False, tips=rows.SUM),
    rows.write("unlink", -2, rows.in_parts(_remove), "Removes keys; how many.", "4.0.0",
               keys=rows.ALL, key_flags=rows.DELETE, tips=rows.SUM),
    rows.read("exists", -2, rows.in_parts(_exists), "How many of these keys there are.", "1.0.0",
              keys=rows.ALL, key_flags=rows.RO, tips=rows.SUM),
    rows.read("touch", -2, rows.in_parts(_exists), "How many of these keys there are.", "3.2.1",
              keys=rows.ALL, key_flags=rows.RO, tips=rows.SUM),
    rows.read("type", 2, rows.says(_type), "What is kept under a key.", "1.0.0",
              key_flags=rows.RO),
    rows.read("dump", 2, rows.says(_dump), "A value as bytes: of one that is not there.", "2.6.0",
              fast=False, tips=("nondeterministic_output",)),
    rows.write("rename", 3, _rename(fresh=False), "Renames a key.", "1.0.0", keys=rows.PAIR,
               fast=False, key_flags=(_TAKE, ("OW", "update"))),
    rows.write("renamenx", 3, _rename(fresh=True), "Renames a key to a new name.", "1.0.0",
               keys=rows.PAIR, key_flags=(_TAKE, ("OW", "insert"))),
    rows.write("move", 3, _move, "Moves a key to another database.", "1.0.0",
               keys=rows.FIRST, key_flags=(("RW", "access", "update"),)),
    rows.write("copy", -3, _copy, "Copies a value.", "6.2.0", keys=rows.PAIR,
               fast=False, key_flags=(("RO", "access"), ("OW", "update")), grows=True),
    rows.write("swapdb", 3, rows.says(_swap), "Swaps two databases.", "4.0.0", more=_DANGEROUS),
    rows.read("dbsize", 1, rows.says(_size), "How many keys there are.", "1.0.0", keys=rows.NONE,
              tips=("request_policy:all_shards", "response_policy:agg_sum")),
    Command("select", 2, rows.says(_select), "Chooses a database.", "1.0.0", "connection",
            ("loading", "stale", "fast"), ("@fast", "@connection")),
    Command("object", -2, None, "What is known of values.", "2.2.3", "generic", (),
            subcommands=table(
                _object("encoding", _object_encoding, "2.2.3"),
                _object("freq", _object_freq, "4.0.0"),
                _object("idletime", _object_idletime, "2.2.3"),
                _object("refcount", _object_refcount, "2.2.3"),
                Command("object|help", 2, help_of(*OBJECT_HELP), "What subcommands there are.",
                        "6.2.0", "generic", ("loading", "stale"), ("@keyspace", "@slow")),
            )),
    Command("memory", -2, None, "What takes memory.", "4.0.0", "server", (),
            subcommands=table(
                Command("memory|usage", -3, rows.says(_memory_usage),
                        "About how many bytes a key and its value take.", "4.0.0", "server",
                        ("readonly",), ("@read", "@slow"), (), (2, 2, 1), rows.RO),
                Command("memory|help", 2, help_of(*MEMORY_HELP), "What subcommands there are.",
                        "4.0.0", "server"),
            )),
)  # fmt: skip
