"""The table of all commands, and COMMAND, which lists it."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from logstore.errors import InvalidName
from logstore.patterns import Pattern
from logstore.protocols.resp import (
    acl,
    channel_read,
    clients,
    configuration,
    connection,
    information,
    keyspace,
    login,
    pubsub,
)
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import EVERY, Command, help_of, table
from logstore.protocols.resp.keys import (
    blocking,
    deadlines,
    generic,
    hashes,
    lists,
    saving,
    scanning,
    scripting,
    sets,
    sorted_set_ranges,
    sorted_sets,
    strings,
    transactions,
    unions,
)
from logstore.protocols.resp.replies import (
    Version,
    array,
    bulk,
    integer,
    mapping,
    members,
    simple,
)

HELP: Final = [
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand), INFO [<name> ...]",
    "    Commands, and what they take.",
    "COUNT, LIST [FILTERBY (PATTERN <pattern>|ACLCAT <category>|MODULE <name>)]",
    "    How many there are, and their names.",
    "DOCS [<name> ...]",
    "    What they do.",
]


def _texts(words: Iterable[str], version: Version) -> bytes:
    return members([simple(word.encode()) for word in words], version)


def _described(command: Command, version: Version) -> bytes:
    first, last, step = command.keys
    return array(
        [
            bulk(command.name.encode()),
            integer(command.arity),
            _texts(command.flags, version),
            *map(integer, (first, last, step)),
            _texts(command.categories, version),
            members([bulk(tip.encode()) for tip in command.tips], version),
            _key_specs(command, version),
            members([_described(it, version) for it in command.subcommands.values()], version),
        ]
    )


def _key_specs(command: Command, version: Version) -> bytes:
    """The positions of the command's keys, in the terms of Redis 7."""
    first, last, step = command.keys
    if command.numkeys:
        return members([*_apart(command, version), _counted(command, version)], version)
    if not first:
        return members([], version)
    if len(command.key_flags) == 1:
        after = last if last < 0 else last - first
        return members([_key_spec(command.key_flags[0], first, after, step, version)], version)
    specs = _apart(command, version)
    after = first + len(specs)
    if last < 0:  # the last flags are those of all that follow
        return members(
            [*specs, _key_spec(command.key_flags[-1], after, last, step, version)], version
        )
    return members([*specs, _key_spec(command.key_flags[-1], after, 0, 1, version)], version)


def _apart(command: Command, version: Version) -> list[bytes]:
    """Specs of keys with flags of their own, one for each key."""
    first = command.keys[0]
    return [
        _key_spec(it, first + at, 0, 1, version) for at, it in enumerate(command.key_flags[:-1])
    ]


def _spec(kind: bytes, numbers: dict[bytes, int], version: Version) -> bytes:
    inner = mapping({name: integer(number) for name, number in numbers.items()}, version)
    return mapping({b"type": bulk(kind), b"spec": inner}, version)


def _counted(command: Command, version: Version) -> bytes:
    """The spec of keys that follow their number."""
    numbers = {b"keynumidx": 0, b"firstkey": 1, b"keystep": 1}
    return mapping(
        {
            b"flags": _texts(command.key_flags[-1], version),
            b"begin_search": _spec(b"index", {b"index": command.numkeys}, version),
            b"find_keys": _spec(b"keynum", numbers, version),
        },
        version,
    )


def _key_spec(flags: Sequence[str], first: int, last: int, step: int, version: Version) -> bytes:
    numbers = {b"lastkey": last, b"keystep": step, b"limit": 0}
    return mapping(
        {
            b"flags": _texts(flags, version),
            b"begin_search": _spec(b"index", {b"index": first}, version),
            b"find_keys": _spec(b"range", numbers, version),
        },
        version,
    )


def _documented(command: Command, version: Version) -> bytes:
    about = {
        b"summary": bulk(command.summary.encode()),
        b"since": bulk(command.since.encode()),
        b"group": bulk(command.group.encode()),
    }
    if command.subcommands:
        parts = {it.name.encode(): _documented(it, version) for it in command.subcommands.values()}
        about[b"subcommands"] = mapping(parts, version)
    return mapping(about, version)


def find(name: bytes) -> Command | None:
    """The command of this name, or the subcommand of a name such as ``config|get``."""
    first, _, second = name.lower().partition(b"|")
    command = COMMANDS.get(first)
    if command is None or not second:
        return command
    return command.subcommands.get(second)


@cache
def _all_described(version: Version) -> bytes:
    return array([_described(it, version) for it in COMMANDS.values()])


def _all(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(_all_described(client.version))


def _info(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) == 2:
        _all(client, arguments)
        return
    found = [find(name) for name in arguments[2:]]
    client.say(
        array([client.null() if it is None else _described(it, client.version) for it in found])
    )


@cache
def _all_documented(version: Version) -> bytes:
    docs = {it.name.encode(): _documented(it, version) for it in COMMANDS.values()}
    return mapping(docs, version)


def _docs(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) == 2:
        client.say(_all_documented(client.version))
        return
    found = [find(name) for name in arguments[2:]]
    docs = {it.name.encode(): _documented(it, client.version) for it in found if it is not None}
    client.say(mapping(docs, client.version))


def _count(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(integer(len(COMMANDS)))


def _list(client: RespClient, arguments: Sequence[bytes]) -> None:
    chosen = [it for each in COMMANDS.values() for it in (each, *each.subcommands.values())]
    if len(arguments) == 5 and arguments[2].upper() == b"FILTERBY":
        kind, value = arguments[3].upper(), arguments[4]
        if kind == b"PATTERN":
            try:
                pattern = Pattern(value, any_case=True)
            except InvalidName as error:
                client.fail(str(error))
                return
            chosen = [it for it in chosen if pattern.matches(it.name.encode())]
        elif kind == b"ACLCAT":
            category = "@" + value.decode("latin-1").lower()
            chosen = [it for it in chosen if category in it.categories]
        elif kind == b"MODULE":
            chosen = []
        else:
            client.fail("syntax error")
            return
    elif len(arguments) > 2:
        client.fail("syntax error")
        return
    client.say(array([bulk(it.name.encode()) for it in chosen]))


def _sub(name: str, arity: int, run: Run, summary: str, since: str) -> Command:
    return Command(
        f"command|{name}", arity, run, summary, since, "server", ("loading", "stale"),
        ("@slow", "@connection"),
    )  # fmt: skip


_COMMAND: Final = Command(
    "command", -1, _all, "Commands, and what they take.", "2.8.13", "server", ("loading", "stale"),
    ("@slow", "@connection"), ("nondeterministic_output_order",),
    subcommands=table(
        _sub("count", 2, _count, "How many commands there are.", "2.8.13"),
        _sub("info", -2, _info, "What these commands take.", "2.8.13"),
        _sub("docs", -2, _docs, "What these commands do.", "7.0.0"),
        _sub("list", -2, _list, "The names of commands.", "7.0.0"),
        _sub("help", 2, help_of(*HELP), "What subcommands there are.", "5.0.0"),
    ),
)  # fmt: skip


COMMANDS: Final = table(
    *pubsub.COMMANDS,
    *login.COMMANDS,
    *connection.COMMANDS,
    *clients.COMMANDS,
    *configuration.COMMANDS,
    *information.COMMANDS,
    *strings.COMMANDS,
    *hashes.COMMANDS,
    *lists.COMMANDS,
    *sets.COMMANDS,
    *sorted_sets.COMMANDS,
    *sorted_set_ranges.COMMANDS,
    *unions.COMMANDS,
    *blocking.COMMANDS,
    *transactions.COMMANDS,
    *scripting.COMMANDS,
    *deadlines.COMMANDS,
    *generic.COMMANDS,
    *scanning.COMMANDS,
    *saving.COMMANDS,
    *keyspace.COMMANDS,
    *channel_read.COMMANDS,
    *acl.COMMANDS,
    _COMMAND,
)
EVERY.update(COMMANDS)
