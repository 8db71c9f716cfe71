"""ACL: users of the store in Redis's form.

A user may have rules in other languages besides; the Redis door shows only the Redis rules. A
password is stored as the SCRAM keys that other doors use, so no hash of it is shown. A password
given as ``#hash`` is valid at this door only.
"""

from collections.abc import Sequence
from typing import Final

from logstore.access.redis_grants import COMMAND
from logstore.access.redis_rules import ALL_CATEGORIES, RedisRules, Selector
from logstore.access.resources import ALTER, CLUSTER, CLUSTER_NAME
from logstore.errors import InvalidName
from logstore.kept.users import KeptUser
from logstore.protocols.resp import denials, users
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import EVERY, Command, found, help_of, table
from logstore.protocols.resp.door import DEFAULT_USER
from logstore.protocols.resp.line import word
from logstore.protocols.resp.permits import Permits, Refusal
from logstore.protocols.resp.replies import OK, array, bulk, double, integer, mapping, members
from logstore.protocols.resp.requests import as_integer
from logstore.slices import Steps

GENPASS_BITS: Final = 256
GENPASS_BITS_MAX: Final = 4096
LOG_COUNT: Final = 10
SHOWN_BYTES: Final = 128

HELP: Final = [
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "WHOAMI",
    "    The name of the user of this connection.",
    "LIST, USERS, GETUSER <username>",
    "    Users with their rules, as Redis has them; their names; one of them.",
    "SETUSER <username> [<rule> ...], DELUSER <username> [<username> ...]",
    "    Makes or changes a user; deletes users, and ends their connections.",
    "CAT [<category>]",
    "    Categories of commands, or the commands of one.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Whether the user may carry this out.",
    "GENPASS [<bits>]",
    "    A random password.",
    "LOG [<count> | RESET]",
    "    What was refused lately.",
    "LOAD, SAVE",
    "    Not done here: users are kept in the store.",
]
NO_FILE: Final = (
    "This Redis instance is not configured to use an ACL file. You may want to specify users via "
    "the ACL SETUSER command: logstore keeps them in its data directory."
)

# Users shown


def _whoami(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(bulk(client.user.encode()))


def _shown(client: RespClient) -> list[tuple[str, KeptUser | None]]:
    """All users, ordered by name; the user is None for the default user without access rules."""
    access = client.door.access
    if not access.required:
        return [(DEFAULT_USER, None)]
    return sorted(access.users.items(), key=lambda it: it[0].encode())


def _rules(user: KeptUser | None) -> RedisRules:
    return users.EVERYONE if user is None else users.rules_of(user)


def _hashes(user: KeptUser | None) -> Sequence[str]:
    return () if user is None else user.weak_sha256


def _users(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(array([bulk(name.encode()) for name, _ in _shown(client)]))


def _list(client: RespClient, _: Sequence[bytes]) -> Steps:
    lines = []
    for name, user in _shown(client):
        lines.append(bulk(f"user {word(name)} {_rules(user).text(_hashes(user))}".encode()))
        yield 1
    client.say(array(lines))


def _selector(selector: Selector) -> dict[bytes, bytes]:
    return {
        b"commands": bulk(selector.command_words.encode()),
        b"keys": bulk(selector.key_words.encode()),
        b"channels": bulk(selector.channel_words.encode()),
    }


def _get_user(client: RespClient, arguments: Sequence[bytes]) -> None:
    every = dict(_shown(client))
    name = arguments[2].decode(errors="surrogateescape")
    if name not in every:
        client.say(client.null())
        return
    user, version = every[name], client.version
    rules = _rules(user)
    about = {
        b"flags": members([bulk(flag.encode()) for flag in rules.flags], version),
        b"passwords": array([bulk(it.encode()) for it in _hashes(user)]),
        **_selector(rules.root),
        b"selectors": array([mapping(_selector(it), version) for it in rules.more]),
    }
    client.say(mapping(about, version))


# Users changed


def _set_user(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    name = arguments[2]
    if not name or any(byte in b" \t\n\v\f\r\0" for byte in name):
        client.fail("Usernames can't contain spaces or null characters")
        return
    yield from users.change(client, arguments, lambda: _setting(client, name, arguments[3:]))


def _setting(client: RespClient, name: bytes, modifiers: Sequence[bytes]) -> users.Changing:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise InvalidName("a user's name must be UTF-8") from None
    return users.setting(client.door, client.permits, text, modifiers)


def _delete_users(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    if DEFAULT_USER.encode() in arguments[2:]:
        client.fail("The 'default' user cannot be removed")
        return
    names = [it.decode(errors="surrogateescape") for it in dict.fromkeys(arguments[2:])]
    yield from users.change(
        client, arguments, lambda: users.deleting(client.door, client.permits, names)
    )


def _no_file(client: RespClient, _: Sequence[bytes]) -> None:
    client.fail(NO_FILE)


# Commands and passwords


def _categories(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) == 2:
        client.say(array([bulk(it.encode()) for it in ALL_CATEGORIES]))
        return
    if len(arguments) > 3:
        _wrong(client, arguments)
        return
    category = arguments[2].decode("latin-1").lower()
    if category not in ALL_CATEGORIES:
        client.fail(b"Unknown category '%b'" % arguments[2][:SHOWN_BYTES])
        return
    every = [it for each in EVERY.values() for it in (each, *each.subcommands.values())]
    chosen = [it for it in every if f"@{category}" in it.categories]
    client.say(array([bulk(it.name.encode()) for it in chosen]))


def _wrong(client: RespClient, arguments: Sequence[bytes]) -> None:
    shown = arguments[1][:SHOWN_BYTES]
    client.fail(b"unknown subcommand or wrong number of arguments for '%b'. Try ACL HELP." % shown)


def _generate(client: RespClient, arguments: Sequence[bytes]) -> None:
    from secrets import token_hex

    if len(arguments) > 3:
        _wrong(client, arguments)
        return
    bits = as_integer(arguments[2]) if len(arguments) == 3 else GENPASS_BITS
    if bits is None:
        client.fail("value is not an integer or out of range")
    elif not 0 < bits <= GENPASS_BITS_MAX:
        client.fail(
            f"ACL GENPASS argument must be the number of bits for the output password, a positive "
            f"number up to {GENPASS_BITS_MAX}"
        )
    else:
        signs = (bits + 3) // 4
        client.say(bulk(token_hex(-(-signs // 2))[:signs].encode()))


# What is refused


def _log(client: RespClient, arguments: Sequence[bytes]) -> None:
    count: int | None = LOG_COUNT
    if len(arguments) > 3:
        _wrong(client, arguments)
        return
    if len(arguments) == 3 and arguments[2].lower() == b"reset":
        _reset_log(client)
        return
    if len(arguments) == 3:
        count = as_integer(arguments[2])
        if count is None:
            client.fail("value is not an integer or out of range")
            return
    assert count is not None
    now_ms, version = client.door.clock(), client.version
    shown = []
    for entry in client.door.acl_log.newest(count):
        about = {
            b"count": integer(entry.count),
            b"reason": bulk(entry.reason.encode()),
            b"context": bulk(entry.context.encode()),
            b"object": bulk(entry.object),
            b"username": bulk(entry.user),
            b"age-seconds": double((now_ms - entry.updated_ms) / 1000, version),
            b"client-info": bulk(entry.info.encode()),
            b"entry-id": integer(entry.number),
            b"timestamp-created": integer(entry.created_ms),
            b"timestamp-last-updated": integer(entry.updated_ms),
        }
        shown.append(mapping(about, version))
    client.say(array(shown))


def _reset_log(client: RespClient) -> None:
    """Clear the log; requires the right to change what others see, not only to read it."""
    if not client.door.access.rights(client.permits.who).may(ALTER, CLUSTER, CLUSTER_NAME):
        refusal = Refusal(COMMAND, ALTER, b"acl|log", why="LOG RESET needs more than LOG")
        denials.tell(client, refusal)
        client.refuse("NOPERM", denials.text(client.user, refusal))
        return
    client.door.acl_log.clear()
    client.say(OK)


def _dry_run(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    name, words = arguments[2].decode(errors="surrogateescape"), arguments[3:]
    if name not in dict(_shown(client)):
        client.fail(b"User '%b' not found" % arguments[2][:SHOWN_BYTES])
        return
    command = found(words)
    if command is None:
        client.fail(b"Command '%b' not found" % words[0][:SHOWN_BYTES])
        return
    if not command.takes(len(words)):
        client.fail(f"wrong number of arguments for '{command.name}' command")
        return
    who = client.permits.who
    permits = Permits(client.door.access, users.as_user(who, name))
    refusal: Refusal | None = yield from permits.asking(command, words)
    client.say(OK if refusal is None else bulk(denials.text(name, refusal, whole=True)))


def _sub(
    name: str, arity: int, run: Run, summary: str, since: str = "6.0.0", *, admin: bool = True
) -> Command:
    flags = (*(("admin",) if admin else ()), "noscript", "loading", "stale")
    categories = ("@admin", "@slow", "@dangerous") if admin else ("@slow",)
    return Command(f"acl|{name}", arity, run, summary, since, "server", flags, categories)


COMMANDS: Final = (
    Command(
        "acl", -2, None, "Users and what they may do.", "6.0.0", "server", (),
        subcommands=table(
            _sub("cat", -2, _categories, "Categories of commands, or the commands of one.",
                 admin=False),
            _sub("deluser", -3, _delete_users, "Deletes users, and ends their connections."),
            _sub("dryrun", -4, _dry_run, "Whether a user may carry this out.", "7.0.0"),
            _sub("genpass", -2, _generate, "A random password.", admin=False),
            _sub("getuser", 3, _get_user, "A user's rules."),
            _sub("list", 2, _list, "All users with their rules."),
            _sub("load", 2, _no_file, "Not done here."),
            _sub("log", -2, _log, "What was refused lately."),
            _sub("save", 2, _no_file, "Not done here."),
            _sub("setuser", -3, _set_user, "Makes or changes a user."),
            _sub("users", 2, _users, "The names of all users."),
            _sub("whoami", 2, _whoami, "The name of the user of this connection.", admin=False),
            Command("acl|help", 2, help_of(*HELP), "What subcommands there are.", "6.0.0",
                    "server"),
        ),
    ),
)  # fmt: skip
