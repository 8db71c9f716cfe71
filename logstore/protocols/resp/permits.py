"""The rights that commands need, and whether a client has them.

Each command is in one of these tables, or names keys (``Command.keys``); other commands are
refused. A user's Redis rules say which commands the user may use; users without such rules need the
right in ``SERVER`` for commands about the server. For the objects that a command names, all rules
are consulted: one grant in any language is enough.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.access.redis_grants import COMMAND, REDIS_RULE, Called, Compiled, Named, compiled
from logstore.access.resources import (
    ALTER,
    ALTER_CONFIGS,
    CHANNEL,
    CLUSTER,
    CLUSTER_NAME,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    KEY,
    READ,
    WRITE,
    name_text,
)
from logstore.access.rules import NO_GRANT, Decision
from logstore.patterns import PATTERN_BYTES_MAX
from logstore.slices import in_one_go

ARGUMENT_BYTES_MAX: Final = 256  # of a first argument that rules may name: no word is longer
KNOWN_MAX: Final = 1000  # channels that one connection is known to publish to
KNOWN_BYTES_MAX: Final = 512  # of such a name
# Limit on a name that is checked by rules. No real name is longer; converting one of 64 MB, which a
# client may send, can delay all other clients for seconds.
NAME_BYTES_MAX: Final = 64 << 10
NAMES_A_UNIT: Final = 4  # asked about: some microseconds

# Commands on channels: the positions of their names, and whether these are patterns.
CHANNELS: Final = {
    "publish": (slice(1, 2), WRITE, False),
    "spublish": (slice(1, 2), WRITE, False),
    "subscribe": (slice(1, None), READ, False),
    "ssubscribe": (slice(1, None), READ, False),
    "psubscribe": (slice(1, None), READ, True),
    "channel.read": (slice(1, 2), READ, False),
}
# Commands about the server. Redis's own rules grant them with the command.
SERVER: Final = {
    "client|kill": ALTER, "client|list": DESCRIBE, "client|no-evict": ALTER,
    "client|pause": ALTER, "client|unblock": ALTER, "client|unpause": ALTER,
    "config|get": DESCRIBE_CONFIGS, "config|resetstat": ALTER_CONFIGS,
    "config|rewrite": ALTER_CONFIGS, "config|set": ALTER_CONFIGS, "info": DESCRIBE,
    "flushall": ALTER, "flushdb": ALTER, "swapdb": ALTER, "save": ALTER, "bgsave": ALTER,
    "bgrewriteaof": ALTER, "script|flush": ALTER, "script|kill": ALTER,
}  # fmt: skip
# Commands about users, who also use other doors: no rule of Redis's grants them.
USERS: Final = {
    "acl|deluser": ALTER, "acl|dryrun": DESCRIBE, "acl|getuser": DESCRIBE, "acl|list": DESCRIBE,
    "acl|load": ALTER, "acl|log": DESCRIBE, "acl|save": ALTER, "acl|setuser": ALTER,
    "acl|users": DESCRIBE,
}  # fmt: skip
# Commands about the client's own connection, or about nothing. PUBSUB shows only visible channels.
FREE: Final = frozenset({
    "acl|cat", "acl|genpass", "acl|help", "acl|whoami", "auth", "hello", "ping", "echo", "select",
    "quit", "reset", "multi", "exec", "discard", "unwatch", "client|caching", "client|getname",
    "client|getredir", "client|help", "client|id", "client|info", "client|no-touch",
    "client|reply", "client|setinfo", "client|setname", "client|tracking", "client|trackinginfo",
    "config|help", "object|help", "command", "command|count", "command|docs", "command|help",
    "command|info", "command|list", "unsubscribe", "punsubscribe", "sunsubscribe",
    "pubsub|channels", "pubsub|help", "pubsub|numpat", "pubsub|numsub", "pubsub|shardchannels",
    "pubsub|shardnumsub", "dbsize", "keys", "scan", "randomkey", "time", "role", "memory|help",
    "lastsave", "script|exists", "script|help", "script|load",
})  # fmt: skip
TOO_LONG: Final = f"the name has over {NAME_BYTES_MAX} bytes, or is a pattern that is too long"
NO_AUTH: Final = "no_auth"  # the flag of commands that need no login
NOT_A_KEY: Final = "not_key"
VARIABLE: Final = "variable_flags"
_READS: Final = frozenset({"access"})
_WRITES: Final = frozenset({"insert", "update", "delete"})
_ALL_SUBCOMMANDS: Final = "@slow"  # the category of each command that is nothing but these


class Asks(Protocol):
    """The facts about a command that rights depend on: a ``Command``."""

    @property
    def name(self) -> str: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def keys(self) -> tuple[int, int, int]: ...
    @property
    def key_flags(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def numkeys(self) -> int: ...


class Refusal(NamedTuple):
    """The part of a command that is not allowed."""

    kind: str  # COMMAND, KEY or CHANNEL
    operation: str  # of other rules
    object: bytes
    pattern: bool = False
    why: str = ""  # where it is not what the rules say of a name: ``Permits.why``


def declared(command: Asks) -> bool:
    """Whether the rights that the command needs are known."""
    named = command.name in CHANNELS or _names_keys(command)
    return named or command.name in FREE or command.name in SERVER or command.name in USERS


def _names_keys(command: Asks) -> bool:
    if command.numkeys:
        return True
    return bool(command.keys[0]) and NOT_A_KEY not in command.key_flags[0]


def names(command: Asks, arguments: Sequence[bytes]) -> Iterator[Named]:
    """The channels or keys that the command names, which may be many."""
    found = CHANNELS.get(command.name)
    if found is not None:
        where, use, pattern = found
        for name in arguments[where]:
            yield Named(CHANNEL, name, use == READ, use == WRITE, pattern)
        return
    if not _names_keys(command):
        return
    first, last, step = command.keys
    keys = arguments[first : len(arguments) + last + 1 if last < 0 else last + 1 : step or 1]
    if command.numkeys:
        keys = [*(keys if first else ()), *_counted(arguments, command.numkeys)]
    uses = [_uses(flags) for flags in command.key_flags]
    if VARIABLE in command.key_flags[0] and not any(it.upper() == b"GET" for it in arguments[3:]):
        uses = [(False, True)]  # SET, which reads only with the option GET
    for at, key in enumerate(keys):
        yield Named(KEY, key, *uses[min(at, len(uses) - 1)])


def _counted(arguments: Sequence[bytes], at: int) -> Sequence[bytes]:
    """The keys that follow their number at this position; empty if the number is invalid."""
    text = arguments[at] if at < len(arguments) else b""
    if not text.isdigit() or len(text) > 9 or int(text) > len(arguments) - at - 1:
        return ()
    return arguments[at + 1 : at + 1 + int(text)]


def _uses(flags: Sequence[str]) -> tuple[bool, bool]:
    """Whether a key is read, and whether it is written."""
    return not _READS.isdisjoint(flags), not _WRITES.isdisjoint(flags)


def _is_too_long(named: Named) -> bool:
    return len(named.name) > (PATTERN_BYTES_MAX if named.pattern else NAME_BYTES_MAX)


def _reads_and_writes(command: Asks) -> bool:
    return _names_keys(command) and any(all(_uses(flags)) for flags in command.key_flags)


def called(command: Asks, arguments: Sequence[bytes]) -> Called:
    """The command in the form that rules use."""
    if "|" in command.name:
        return Called(command.name, frozenset((*command.categories, _ALL_SUBCOMMANDS)))
    argument = arguments[1] if len(arguments) > 1 else b""
    if len(argument) > ARGUMENT_BYTES_MAX:
        argument = b""
    text = argument.decode(errors="replace").lower()
    return Called(command.name, frozenset(command.categories), text)


Asking = Generator[int, None, Refusal | None]  # yields units of work
_NOT_ASKED: Final = object()
_NO_CHANNELS: Final[set[bytes]] = set()  # shared by most connections, and never added to
_NO_COMMANDS: Final[dict[str, object]] = {}


class Permits:
    """The rights of one identity at present."""

    __slots__ = (
        "_access",
        "_commands",
        "_publishable",
        "_redis",
        "_rights",
        "free",
        "who",
    )

    def __init__(self, access: Access, who: Identity) -> None:
        self.who = who
        self._access = access
        self._rights = access.rights(who)
        self.look_anew()

    def look_anew(self) -> None:
        """Apply changed rules."""
        self.free: bool = self._rights.all
        user = self._access.users.get(self.who.user)
        text = None if user is None else user.redis
        self._redis: Compiled | None = None if text is None else compiled(text)
        # Remembered decisions; none for a client that may do everything.
        self._publishable: set[bytes] = _NO_CHANNELS if self.free else set()
        self._commands: dict[str, object] = _NO_COMMANDS if self.free else {}

    # Whole commands

    def refusal(self, command: Asks, arguments: Sequence[bytes]) -> Refusal | None:
        """The refusal, or None if allowed. For commands with few names; for others see
        ``asking``.
        """
        if self.free:
            return None
        refusal = self._of_command(command, arguments)
        if refusal is None and (command.name in CHANNELS or _names_keys(command)):
            return in_one_go(self._of_names(command, arguments))
        return refusal

    def asking(self, command: Asks, arguments: Sequence[bytes]) -> Asking:
        """As ``refusal``, in steps; yields units of work."""
        if self.free:
            return None
        refusal = self._of_command(command, arguments)
        if refusal is None:
            refusal = yield from self._of_names(command, arguments)
        return refusal

    def _of_command(self, command: Asks, arguments: Sequence[bytes]) -> Refusal | None:
        """Whether the command itself is allowed; remembered if its arguments do not matter."""
        name = command.name
        known = self._commands.get(name, _NOT_ASKED)
        if known is _NOT_ASKED:
            known = self._look_at(command, called(command, arguments))
            if self._redis is None or not self._redis.looks_at_arguments(name):
                self._commands[name] = known
        assert known is None or isinstance(known, Refusal)
        return known

    def _look_at(self, command: Asks, asked: Called) -> Refusal | None:
        name = command.name.encode()
        if NO_AUTH in command.flags:
            return None
        if not declared(command):
            return Refusal(COMMAND, ALTER, name, why="it is not said what this asks")
        if self._redis is not None and self._redis.denied(asked) is not None:
            return Refusal(COMMAND, "run", name, why="the user's Redis rules do not allow it")
        operation = USERS.get(command.name)
        if operation is not None:
            return self._of_server(operation, name, ())
        operation = SERVER.get(command.name)
        if operation is not None:
            return self._of_server(operation, name, () if self._redis is None else (NO_GRANT,))
        return None

    def _of_names(self, command: Asks, arguments: Sequence[bytes]) -> Asking:
        apart = yield from self._is_apart(command, arguments)
        for at, it in enumerate(names(command, arguments), 1):
            refusal = self._of_name(it, apart)
            if refusal is not None:
                return refusal
            if at % NAMES_A_UNIT == 0:
                yield 1
        return None

    def _is_apart(self, command: Asks, arguments: Sequence[bytes]) -> Generator[int, None, bool]:
        """Whether only several of Redis's rules together allow the command.

        These are selectors, or patterns of a key that is read and written.
        """
        if self._redis is None or not (self._redis.several or _reads_and_writes(command)):
            return False
        left = self._redis.allowing(called(command, arguments))
        for at, it in enumerate(names(command, arguments), 1):
            if _is_too_long(it):
                return True
            left = [selector for selector in left if selector.grant(it) is not None]
            if not left:
                return True
            if at % NAMES_A_UNIT == 0:
                yield 1
        return False

    def _of_server(self, operation: str, name: bytes, enough: Sequence[object]) -> Refusal | None:
        decision = self._rights.decision(operation, CLUSTER, CLUSTER_NAME)
        if decision.allowed or decision in enough:
            return None
        return Refusal(COMMAND, operation, name, why=decision.why)

    def _of_name(self, named: Named, apart: bool) -> Refusal | None:
        """``apart``: no single one of Redis's rules allows the command."""
        uses = (READ,) * named.read + (WRITE,) * named.write or (DESCRIBE,)
        if _is_too_long(named):
            return Refusal(named.kind, uses[0], named.name, named.pattern, TOO_LONG)
        text = name_text(named.name)
        for use in uses:
            may = self._rights.may_matching if named.pattern else self._rights.may
            if not may(use, named.kind, text) or (apart and self._by_redis(use, named, text)):
                return Refusal(named.kind, use, named.name, named.pattern)
        return None

    def _by_redis(self, use: str, named: Named, text: str) -> bool:
        return self._decision(use, named.kind, text, named.pattern).why.startswith(REDIS_RULE)

    def _decision(self, use: str, kind: str, text: str, pattern: bool) -> Decision:
        if pattern:
            return self._access.decision_matching(self.who, use, kind, text)
        return self._rights.decision(use, kind, text)

    def why(self, refusal: Refusal) -> str:
        """The rule behind the refusal, in text for people."""
        if refusal.kind == COMMAND or refusal.why:
            return refusal.why
        text = name_text(refusal.object)
        decision = self._decision(refusal.operation, refusal.kind, text, refusal.pattern)
        return "no selector allows all of it" if decision.allowed else decision.why

    # Channels

    def may_publish(self, channel: bytes) -> bool:
        """Whether a PUBLISH to the channel is allowed; the answer is remembered."""
        if self.free or channel in self._publishable:
            return True
        if len(channel) > NAME_BYTES_MAX:
            return False
        words = (b"publish", channel, b"")
        if self._redis is not None and self._redis.several:
            allowed = self.refusal(_PUBLISH, words) is None
        else:
            allowed = self._of_command(_PUBLISH, words) is None and (
                self._rights.may(WRITE, CHANNEL, name_text(channel))
            )
        if not allowed:
            return False
        if len(channel) <= KNOWN_BYTES_MAX:
            if len(self._publishable) >= KNOWN_MAX:
                self._publishable.clear()
            self._publishable.add(channel)
        return True

    def may_see(self, channel: bytes) -> bool:
        """Whether the client may learn that the channel has subscribers."""
        return self.free or (
            len(channel) <= NAME_BYTES_MAX
            and self._rights.may(DESCRIBE, CHANNEL, name_text(channel))
        )

    @property
    def sees_all_keys(self) -> bool:
        """Whether KEYS and its kin return all keys: Redis's rules permit them as a whole."""
        return self.free or self._redis is not None

    def may_see_key(self, key: bytes) -> bool:
        """Whether the client may learn that the key exists."""
        return len(key) <= NAME_BYTES_MAX and self._rights.may(DESCRIBE, KEY, name_text(key))

    def may_hear(self, name: bytes, *, pattern: bool = False) -> bool:
        """Whether the client may stay subscribed to the channel or pattern."""
        if self.free:
            return True
        if len(name) > NAME_BYTES_MAX:
            return False
        may = self._rights.may_matching if pattern else self._rights.may
        return may(READ, CHANNEL, name_text(name))


class _Publish(NamedTuple):
    """PUBLISH, as in the table of commands."""

    name: str = "publish"
    flags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("@pubsub", "@fast")
    keys: tuple[int, int, int] = (0, 0, 0)
    key_flags: tuple[tuple[str, ...], ...] = ((NOT_A_KEY,),)
    numkeys: int = 0


_PUBLISH: Final = _Publish()
