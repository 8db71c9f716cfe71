"""CLIENT: lists, names and closes connections."""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.names import USER_BYTES_MAX
from logstore.protocols.resp import tracking
from logstore.protocols.resp.client import REPLY_OFF, REPLY_ON, REPLY_SKIP_NEXT, RespClient, Run
from logstore.protocols.resp.command import Command, help_of, table
from logstore.protocols.resp.door import DEFAULT_USER
from logstore.protocols.resp.line import kind, line
from logstore.protocols.resp.login import BAD_NAME, is_plain
from logstore.protocols.resp.onlookers.waiting import TIMED_OUT
from logstore.protocols.resp.replies import OK, bulk, integer, verbatim
from logstore.protocols.resp.requests import as_integer
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

TYPES: Final = (b"normal", b"master", b"replica", b"slave", b"pubsub")
PAUSE_MS_MAX: Final = 2**53  # about the precision of a clock in seconds

HELP: Final = [
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME, SETNAME <name>, ID, INFO",
    "    What this connection is called, its number, its line of LIST.",
    "LIST [TYPE (NORMAL|PUBSUB)] [ID <id> ...]",
    "    A line for each connection.",
    "KILL <ip:port>, KILL [ID <id>] [TYPE <type>] [ADDR <ip:port>] [LADDR <ip:port>]",
    "     [USER <name>] [SKIPME (YES|NO)]",
    "    Ends connections.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether commands get replies.",
    "PAUSE <milliseconds> [WRITE|ALL], UNPAUSE",
    "    Holds up publishers, or everyone.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> ...] [OPTIN] [OPTOUT] [NOLOOP]",
    "CACHING (YES|NO), TRACKINGINFO, GETREDIR",
    "    Whether the client is told when values change that it has read.",
    "SETINFO (LIB-NAME|LIB-VER) <value>, NO-EVICT (ON|OFF), NO-TOUCH (ON|OFF)",
    "    What client libraries say of themselves.",
]


def _id(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(integer(client.number))


def _info(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(verbatim(line(client, client.now).encode(), client.version))


def _list(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    chosen = list(client.everyone.values())
    option = arguments[2].upper() if len(arguments) > 2 else b""
    if option == b"TYPE" and len(arguments) == 4:
        wanted = arguments[3].lower()
        if wanted not in TYPES:
            client.fail(b"Unknown client type '%b'" % arguments[3])
            return
        chosen = [it for it in chosen if kind(it) == wanted]
    elif option == b"ID" and len(arguments) > 3:
        numbers = [as_integer(text) for text in arguments[3:]]
        if None in numbers:
            client.fail("Invalid client ID")
            return
        found = [client.everyone.get(number or 0) for number in numbers]
        chosen = [it for it in found if it is not None]
    elif option:
        client.fail("syntax error")
        return
    lines = []
    for it in chosen:
        lines.append(line(it, client.now))
        yield 1
    client.say(verbatim("".join(lines).encode(), client.version))


def _kill(client: RespClient, arguments: Sequence[bytes]) -> None:
    everyone = list(client.everyone.values())
    if len(arguments) == 3:
        found = [it for it in everyone if it.link.peer.encode() == arguments[2]]
        if not found:
            client.fail("No such client")
            return
        client.say(OK)
        _end(client, found)
        return
    tests = _filters(client, arguments[2:])
    if tests is not None:
        found = [it for it in everyone if all(test(it) for test in tests)]
        client.say(integer(len(found)))
        _end(client, found)


def _end(client: RespClient, found: Sequence[RespClient]) -> None:
    for it in found:
        if it is client:
            client.closed = ""  # after its reply
        else:
            it.cut_off = True
            it.link.cut("")


def _filters(
    client: RespClient, words: Sequence[bytes]
) -> list[Callable[[RespClient], bool]] | None:
    """The conditions for clients to disconnect; None after an error reply."""
    tests: dict[bytes, Callable[[RespClient], bool]] = {b"SKIPME": lambda it: it is not client}
    if len(words) % 2:
        client.fail("syntax error")
        return None
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.upper()
        if name == b"ID":
            number = as_integer(value)
            if number is None or number < 1:
                client.fail("client-id should be greater than 0")
                return None
            tests[name] = lambda it, number=number: it.number == number  # type: ignore[misc]
        elif name == b"TYPE":
            if value.lower() not in TYPES:
                client.fail(b"Unknown client type '%b'" % value)
                return None
            tests[name] = lambda it, wanted=value: kind(it) == wanted.lower()  # type: ignore[misc]
        elif name == b"ADDR":
            tests[name] = lambda it, value=value: it.link.peer.encode() == value  # type: ignore[misc]
        elif name == b"LADDR":
            tests[name] = lambda it, value=value: _local(it) == value  # type: ignore[misc]
        elif name == b"USER":
            if not _is_user(client, value):
                client.fail(b"No such user '%b'" % value)
                return None
            tests[name] = lambda it, value=value: it.user.encode() == value  # type: ignore[misc]
        elif name == b"SKIPME" and value.lower() == b"yes":
            tests[name] = lambda it: it is not client
        elif name == b"SKIPME" and value.lower() == b"no":
            tests[name] = lambda _: True
        else:
            client.fail("syntax error")
            return None
    return list(tests.values())


def _is_user(client: RespClient, name: bytes) -> bool:
    """Whether the user exists; without users, only the default user does."""
    access = client.door.access
    if not access.required:
        return name == DEFAULT_USER.encode()
    return name[: USER_BYTES_MAX + 1].decode(errors="replace") in access.users


def _local(client: RespClient) -> bytes:
    return b"%b:%d" % (client.link.address[0].encode(), client.link.address[1])


def _set_name(client: RespClient, arguments: Sequence[bytes]) -> None:
    if not is_plain(arguments[2]):
        client.fail(BAD_NAME)
        return
    client.name = arguments[2]
    client.say(OK)


def _get_name(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(bulk(client.name) if client.name else client.null())


def _set_info(client: RespClient, arguments: Sequence[bytes]) -> None:
    option, value = arguments[2].upper(), arguments[3]
    if option not in client.library:
        client.fail(b"Unrecognized option '%b'" % arguments[2])
    elif not is_plain(value):
        what = arguments[2].decode("latin-1").lower()
        client.fail(f"{what} cannot contain spaces, newlines or special characters.")
    else:
        client.library[option] = value
        client.say(OK)


def _switch(attribute: str) -> Callable[[RespClient, Sequence[bytes]], None]:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        word = arguments[2].lower()
        if word not in (b"on", b"off"):
            client.fail("syntax error")
            return
        setattr(client, attribute, word == b"on")
        client.say(OK)

    return run


def _reply(client: RespClient, arguments: Sequence[bytes]) -> None:
    word = arguments[2].lower()
    if word == b"on":
        client.replying = REPLY_ON
        client.say(OK)
    elif word == b"off":
        client.replying = REPLY_OFF
    elif word == b"skip":
        if client.replying != REPLY_OFF:
            client.replying = REPLY_SKIP_NEXT
    else:
        client.fail("syntax error")


def _pause(client: RespClient, arguments: Sequence[bytes]) -> None:
    word = arguments[3].upper() if len(arguments) == 4 else b"ALL"
    if len(arguments) > 4:
        client.fail("syntax error")
        return
    if word not in (b"ALL", b"WRITE"):
        client.fail("CLIENT PAUSE mode must be WRITE or ALL")
        return
    milliseconds = as_integer(arguments[2])
    if milliseconds is None or milliseconds > PAUSE_MS_MAX:
        client.fail("timeout is not an integer or out of range")
    elif milliseconds < 0:
        client.fail("timeout is negative")
    else:
        client.door.pause(client.now + milliseconds / 1000, everyone=word == b"ALL")
        client.say(OK)


def _unpause(client: RespClient, _: Sequence[bytes]) -> None:
    client.door.resume()
    for it in client.everyone.values():
        it.link.wake()
    client.say(OK)


def _unblock(client: RespClient, arguments: Sequence[bytes]) -> None:
    reason = arguments[3].lower() if len(arguments) == 4 else b"timeout"
    number = as_integer(arguments[2])
    if len(arguments) > 4 or reason not in (b"timeout", b"error"):
        client.fail("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        return
    if number is None:
        client.fail("value is not an integer or out of range")
        return
    other = client.everyone.get(number)
    waits = other is not None and other.blocked is not None
    if other is not None and waits:
        error = Wrong("client unblocked via CLIENT UNBLOCK", "UNBLOCKED")
        client.door.onlookers.waiting.end(other, TIMED_OUT if reason == b"timeout" else error)
    client.say(integer(int(waits)))


def _sub(
    name: str, arity: int, run: Run, summary: str,
    since: str = "2.4.0", *, admin: bool = False,
) -> Command:  # fmt: skip
    flags = ("admin",) * admin + ("noscript", "loading", "stale")
    categories = ("@admin", "@slow", "@dangerous") if admin else ("@slow",)
    return Command(
        f"client|{name}", arity, run, summary, since, "connection", flags,
        (*categories, "@connection"),
    )  # fmt: skip


COMMANDS: Final = (
    Command(
        "client", -2, None, "Connections.", "2.4.0", "connection", (),
        subcommands=table(
            _sub("id", 2, _id, "The connection's number.", "5.0.0"),
            _sub("info", 2, _info, "The connection's line of CLIENT LIST.", "6.2.0"),
            _sub("list", -2, _list, "A line for each connection.", admin=True),
            _sub("kill", -3, _kill, "Ends connections.", admin=True),
            _sub("setname", 3, _set_name, "Names the connection.", "2.6.9"),
            _sub("getname", 2, _get_name, "The connection's name.", "2.6.9"),
            _sub("setinfo", 4, _set_info, "What a library says of itself.", "7.2.0"),
            _sub("no-evict", 3, _switch("no_evict"), "Taken; who holds most is.", "7.0.0",
                 admin=True),
            _sub("no-touch", 3, _switch("no_touch"), "Taken; there are no keys here.", "7.2.0"),
            _sub("reply", 3, _reply, "Whether commands get replies.", "3.2.0"),
            _sub("pause", -3, _pause, "Holds up publishers, or everyone.", "3.0.0", admin=True),
            _sub("unpause", 2, _unpause, "Ends that.", "6.2.0", admin=True),
            _sub("unblock", -3, _unblock, "Ends that a client waits.", "5.0.0", admin=True),
            _sub("tracking", -3, tracking.track, "Whether the client keeps copies of values.",
                 "6.0.0"),
            _sub("caching", 3, tracking.cache, "Whether what is read next is copied.", "6.0.0"),
            _sub("trackinginfo", 2, tracking.describe, "What CLIENT TRACKING has asked for.",
                 "6.2.0"),
            _sub("getredir", 2, tracking.redirection, "Which client is told of changes instead.",
                 "6.0.0"),
            _sub("help", 2, help_of(*HELP), "What subcommands there are.", "5.0.0"),
        ),
    ),
)  # fmt: skip
