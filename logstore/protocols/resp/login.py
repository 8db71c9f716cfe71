"""AUTH and HELLO: the login of a client."""

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from logstore.access.audit import LOGIN, REFUSED
from logstore.access.identity import Identity
from logstore.kept.users import KeptUser
from logstore.names import USER_BYTES_MAX
from logstore.protocols.resp import replies
from logstore.protocols.resp.acl_log import AUTH
from logstore.protocols.resp.client import MECHANISM, RespClient
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.denials import log
from logstore.protocols.resp.door import DEFAULT_USER, REDIS_VERSION, without_password
from logstore.protocols.resp.replies import OK, Version, bulk, integer
from logstore.protocols.resp.requests import BULK_BYTES_BEFORE_LOGIN, as_integer
from logstore.slices import Steps, Wait

SHOWN_BYTES_MAX: Final = 4096  # of data that a client gives about itself
BAD_NAME: Final = "Client names cannot contain spaces, newlines or special characters."
WRONG_PASSWORD: Final = "WRONGPASS", "invalid username-password pair or user is disabled."
NO_PASSWORD: Final = (
    "AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
FIRST: Final = (
    "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
    "<user> <pass> option can be used to authenticate the client and select the RESP protocol "
    "version at the same time"
)
_VERSIONS: Final[dict[int, Version]] = {2: 2, 3: 3}


def is_plain(text: bytes) -> bool:
    """Whether the text is short, visible ASCII, so that CLIENT LIST can show it.

    The limit on the length keeps the lines of all clients from filling the memory.
    """
    return len(text) <= SHOWN_BYTES_MAX and all(0x21 <= byte <= 0x7E for byte in text)


# HELLO


class Greeting(NamedTuple):
    """The arguments of a HELLO."""

    version: Version
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None


def _greeting(client: RespClient, arguments: Sequence[bytes]) -> Greeting | None:
    """The parsed HELLO; None after an error reply."""
    asked = Greeting(client.version)
    if len(arguments) > 1:
        number = as_integer(arguments[1])
        if number is None:
            client.fail("Protocol version is not an integer or out of range")
            return None
        if number not in _VERSIONS:
            client.refuse("NOPROTO", "unsupported protocol version")
            return None
        asked = Greeting(_VERSIONS[number])
    at = 2
    while at < len(arguments):
        left = len(arguments) - at - 1
        option = arguments[at].upper()
        if option == b"AUTH" and left >= 2:
            asked = asked._replace(credentials=(arguments[at + 1], arguments[at + 2]))
            at += 3
        elif option == b"SETNAME" and left >= 1:
            if not is_plain(arguments[at + 1]):
                client.fail(BAD_NAME)
                return None
            asked = asked._replace(name=arguments[at + 1])
            at += 2
        else:
            client.fail(b"Syntax error in HELLO option '%b'" % arguments[at])
            return None
    return asked


def _hello(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    asked = _greeting(client, arguments)
    if asked is None:
        return None
    if asked.credentials is not None:
        return _greet_who(client, asked, *asked.credentials)
    _greet(client, asked)
    return None


def _greet_who(client: RespClient, asked: Greeting, name: bytes, password: bytes) -> Steps:
    if (yield from _come_in(client, b"HELLO", name, password)):
        _greet(client, asked)


def _greet(client: RespClient, asked: Greeting) -> None:
    if not client.known:
        client.refuse("NOAUTH", FIRST)
        return
    if asked.name is not None:
        client.name = asked.name
    client.speak(asked.version)
    about = {
        b"server": bulk(b"redis"),
        b"version": bulk(REDIS_VERSION.encode()),
        b"proto": integer(client.version),
        b"id": integer(client.number),
        b"mode": bulk(b"standalone"),
        b"role": bulk(b"master"),
        b"modules": replies.array([]),
    }
    client.say(replies.mapping(about, client.version))


# AUTH


def _auth(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    if len(arguments) > 3:
        client.fail("syntax error")
        return None
    if len(arguments) == 3:
        return _auth_who(client, *arguments[1:])
    if _without_password(client, DEFAULT_USER.encode()):
        client.fail(NO_PASSWORD)
        return None
    return _auth_who(client, DEFAULT_USER.encode(), arguments[1])


def _auth_who(client: RespClient, name: bytes, password: bytes) -> Steps:
    if (yield from _come_in(client, b"AUTH", name, password)):
        client.say(OK)


def _user(client: RespClient, name: bytes) -> KeptUser | None:
    return client.door.access.users.get(name.decode(errors="surrogateescape"))


def _without_password(client: RespClient, name: bytes) -> bool:
    """Whether any password is accepted; without users, true for the default user."""
    if not client.door.access.required:
        return name == DEFAULT_USER.encode()
    user = _user(client, name)
    return user is not None and without_password(user)


def _by_hash(client: RespClient, name: bytes, password: bytes) -> bool:
    """Whether the password matches one of the unsalted hashes that Redis uses."""
    user = _user(client, name)
    if user is None or not user.weak_sha256 or len(password) > BULK_BYTES_BEFORE_LOGIN:
        return False  # a longer one cannot be given before a login
    from hashlib import sha256  # a server without users needs none
    from hmac import compare_digest

    found = sha256(password).hexdigest()
    return sum(compare_digest(found, it) for it in user.weak_sha256) > 0  # all, always


def _is_right(client: RespClient, name: bytes, password: bytes) -> bool:
    """Whether the login is known to be right without a slow check."""
    if not (_without_password(client, name) or _by_hash(client, name, password)):
        return False
    user = _user(client, name)
    return user is None or client.door.logins.admits(user.name)


def _come_in(
    client: RespClient, verb: bytes, name: bytes, password: bytes
) -> Generator[int | Wait, Any, bool]:
    """Log in; returns False after an error reply."""
    door, host = client.door, client.permits.who.host
    name = name[: USER_BYTES_MAX + 1]  # no user has a name as long, and megabytes take seconds
    right, delay_s = _is_right(client, name, password), 0.0
    if not right and door.access.required:  # a refusal costs the same for any user
        login = yield lambda go_on: door.logins.check(name, password, host, go_on)
        # He may have been deleted since.
        right = login.user is not None and door.access.knows(
            Identity(login.user, host, MECHANISM, door.name)
        )
        delay_s = login.delay_s
    most = client.seat.take(name.decode()) if right and door.access.required else None
    if most is not None:
        door.audit.tell(LOGIN, _tried(client, name), outcome=REFUSED)
        client.fail(f"user connection limit ({most}) is reached")
        return False
    if right:
        if door.access.required:
            client.come_in(name.decode())
            door.audit.tell(LOGIN, client.permits.who)
        return True
    log(client, AUTH, verb, name)
    door.audit.tell(LOGIN, _tried(client, name), outcome=REFUSED)
    if delay_s:
        yield lambda go_on: client.rest(delay_s, go_on)
    client.refuse(*WRONG_PASSWORD)
    return False


def _tried(client: RespClient, name: bytes) -> Identity:
    """The identity that the client claimed."""
    host, door = client.permits.who.host, client.door
    return Identity(name.decode(errors="backslashreplace"), host, MECHANISM, door.name)


_FAST: Final = ("noscript", "loading", "stale", "fast", "no_auth", "allow_busy")
_CONNECTION: Final = ("@fast", "@connection")

COMMANDS: Final = (
    Command("hello", -1, _hello, "Chooses the version of the protocol.", "6.0.0", "connection",
            _FAST, _CONNECTION),
    Command("auth", -2, _auth, "Says who one is.", "1.0.0", "connection", _FAST, _CONNECTION),
)  # fmt: skip
