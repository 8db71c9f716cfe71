"""The grammar of Redis's rules of a user. Pure.

Rules are stored as Redis itself writes them (ACL LIST), without passwords; ``redis_grants.py``
evaluates them. Grammar and texts are those of Redis 7.2 (redis.io/docs, "ACL").

    on off nopass resetpass >password <password #sha256 !sha256 reset
    skip-sanitize-payload sanitize-payload         accepted; no payload is ever restored here
    ~pattern %R~pattern %W~pattern allkeys resetkeys
    &pattern allchannels resetchannels
    +command -command +command|sub -command|sub +@category -@category allcommands nocommands
    (rules of a selector) clearselectors

The caller that sets rules provides the known commands (``Known``); stored rules are read without
them.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from logstore.errors import InvalidName, LogstoreError
from logstore.patterns import Pattern

ALL_CATEGORIES: Final = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
    "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous",
    "connection", "transaction", "scripting",
)  # fmt: skip
HASH_SIGNS: Final = 64  # of a SHA-256
RULES_BYTES_MAX: Final = 16 << 10  # of a user's text: each pattern is asked in turn

# The subcommands of a command, () where it has none; None: there is no such command.
Known = Callable[[str], Collection[str] | None]

UNKNOWN: Final = "Unknown command or category name in ACL"
SYNTAX: Final = "Syntax error"
AFTER_ALL: Final = (
    "Adding a pattern after the * pattern (or the 'all{0}' flag) is not valid and does not have "
    "any effect. Try 'reset{0}' to start with an empty list of {1}"
)
NO_PASSWORD: Final = "The password you are trying to remove from the user does not exist"
BAD_HASH: Final = (
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
    "characters"
)
UNMATCHED: Final = "Unmatched parenthesis in acl selector starting at '%b'."
OF_SUBCOMMAND: Final = "Allowing first-arg of a subcommand is not supported"
TOO_LONG: Final = f"The rules of a user have at most {RULES_BYTES_MAX} bytes"


class BadModifier(LogstoreError):
    """A word in the given rules that has no meaning, with Redis's own message."""

    def __init__(self, modifier: bytes, reason: str) -> None:
        super().__init__(reason)
        # A password is no part of an error: it would be told to logs, too.
        self.modifier = modifier[:1] if modifier[:1] in (b">", b"<") else modifier
        self.reason = reason

    @property
    def text(self) -> bytes:
        """The message in ACL SETUSER's form."""
        if self.reason == UNMATCHED:
            return UNMATCHED.encode() % self.modifier
        return b"Error in ACL SETUSER modifier '%b': %b" % (self.modifier, self.reason.encode())


class PasswordChange(NamedTuple):
    """The changes of a user's passwords, in the order given."""

    sign: str  # ">", "<", "#", "!" as Redis has them; "": all of them are gone
    secret: bytes = b""


class Selector(Struct, frozen=True):
    """Commands, and the keys and channels that they may name."""

    keys: tuple[tuple[str, str], ...] = ()  # "R", "W" or "RW", and a pattern
    all_keys: bool = False
    channels: tuple[str, ...] = ()
    all_channels: bool = False
    commands: tuple[str, ...] = ()  # after the first word, which is about all: the last that fits
    all_commands: bool = False

    @property
    def key_words(self) -> str:
        """The words for keys, as Redis shows them; the other methods likewise."""
        if self.all_keys:
            return "~*"
        return " ".join(key_word(*it) for it in self.keys)

    @property
    def channel_words(self) -> str:
        return "&*" if self.all_channels else " ".join("&" + it for it in self.channels)

    @property
    def command_words(self) -> str:
        return " ".join(("+@all" if self.all_commands else "-@all", *self.commands))

    def __str__(self) -> str:
        channels = self.channel_words
        if not self.all_channels:
            channels = f"resetchannels {channels}".rstrip()
        return " ".join(filter(None, (self.key_words, channels, self.command_words)))


_OF_KEYS: Final = {"RW": "~", "R": "%R~", "W": "%W~"}


def key_word(flags: str, pattern: str) -> str:
    """As Redis shows it."""
    return _OF_KEYS[flags] + pattern


class RedisRules(Struct, frozen=True):
    """All Redis rules of a user except name and passwords; by default those of a new user."""

    on: bool = False
    nopass: bool = False
    sanitize: bool = True
    root: Selector = Selector()
    more: tuple[Selector, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """As Redis shows them."""
        return (
            "on" if self.on else "off",
            *(("nopass",) if self.nopass else ()),
            "sanitize-payload" if self.sanitize else "skip-sanitize-payload",
        )

    def text(self, passwords: Iterable[str] = ()) -> str:
        """The rules as ACL LIST shows them, with these hashes; the stored form has none."""
        hashes = (f"#{it}" for it in passwords)
        selectors = (f"({it})" for it in self.more)
        return " ".join((*self.flags, *hashes, str(self.root), *selectors))


# For users with all rights, and users without Redis rules: commands are not limited.
EVERYTHING: Final = RedisRules(on=True, root=Selector((), True, (), True, (), True))
NO_RULES: Final = RedisRules(on=True, root=Selector(all_commands=True))


# Reading modifiers


def changed(
    rules: RedisRules, modifiers: Sequence[bytes], known: Known
) -> tuple[RedisRules, list[PasswordChange]]:
    """The rules after these words, all or none of them. Raises BadModifier."""
    draft = _Draft(rules)
    for modifier in _merged(modifiers):
        draft.take(modifier, known)
    rules = draft.rules()
    if len(rules.text()) > RULES_BYTES_MAX:
        raise BadModifier(modifiers[-1], TOO_LONG)
    return rules, draft.passwords


def parse(text: str) -> RedisRules:
    """Decode stored rules. Raises BadModifier for an invalid text."""
    draft = _Draft(RedisRules())
    for modifier in _merged(text.encode(errors="surrogateescape").split(b" ")):
        draft.take(modifier, _anything)
    return draft.rules()


def _anything(_: str) -> Collection[str] | None:
    """Every command: it was known when the rules were given."""
    return _ALL_SUBCOMMANDS


class _All(frozenset[str]):
    def __contains__(self, _: object) -> bool:
        return True


_ALL_SUBCOMMANDS: Final = _All({"..."})


def _merged(modifiers: Sequence[bytes]) -> list[bytes]:
    """Joins a selector that is split into several words."""
    merged: list[bytes] = []
    begun: list[bytes] = []
    for word in modifiers:
        if begun or (word.startswith(b"(") and not word.endswith(b")")):
            begun.append(word)
            if word.endswith(b")"):
                merged.append(b" ".join(begun))
                begun = []
        else:
            merged.append(word)
    if begun:
        raise BadModifier(begun[0], UNMATCHED)
    return merged


class _DraftSelector:
    """A selector under construction: each word costs the same, however many there are."""

    def __init__(self, made: Selector) -> None:
        self.keys = {pattern: flags for flags, pattern in made.keys}
        self.channels = dict.fromkeys(made.channels)
        self.commands: dict[str, str] = {}  # rules by what they are about
        self._parts: dict[str, set[str]] = {}  # of commands: subcommands and first arguments
        self.all_keys, self.all_channels = made.all_keys, made.all_channels
        self.all_commands = made.all_commands
        for rule in made.commands:
            self._add_rule(rule)

    def made(self) -> Selector:
        return Selector(
            tuple((flags, pattern) for pattern, flags in self.keys.items()),
            self.all_keys,
            tuple(self.channels),
            self.all_channels,
            tuple(self.commands.values()),
            self.all_commands,
        )

    def take(self, text: str, known: Known) -> None:
        """Apply one more word. Raises ValueError with the reason."""
        word = text.lower()
        if word in _KEYS:
            self.all_keys = _KEYS[word]
            self.keys.clear()
        elif word in _CHANNELS:
            self.all_channels = _CHANNELS[word]
            self.channels.clear()
        elif word in _COMMANDS:
            self.all_commands = _COMMANDS[word]
            self.commands.clear()
            self._parts.clear()
        elif text[0] in "~%":
            self._add_keys(text)
        elif text[0] == "&":
            self._add_channel(text[1:])
        elif text[0] in "+-":
            self._add_rule(_command_rule(word, known))
        else:
            raise ValueError(SYNTAX)

    def _add_keys(self, text: str) -> None:
        if self.all_keys:
            raise ValueError(AFTER_ALL.format("keys", "patterns"))
        head, tilde, pattern = text.partition("~")
        flags = head[1:].upper() if head else "RW"
        if not tilde or "".join(sorted(flags)) not in _OF_KEYS:
            raise ValueError(SYNTAX)
        _check_pattern(pattern)
        self.keys[pattern] = "".join(sorted({*self.keys.get(pattern, ""), *flags}))

    def _add_channel(self, pattern: str) -> None:
        if self.all_channels:
            raise ValueError(AFTER_ALL.format("channels", "channels"))
        _check_pattern(pattern)
        self.channels[pattern] = None

    def _add_rule(self, rule: str) -> None:
        """Replaces earlier rules that have no effect after this one."""
        name = rule[1:]
        parent, bar, _ = name.partition("|")
        for part in () if bar else self._parts.pop(parent, ()):
            del self.commands[part]
        self.commands.pop(name, None)
        self.commands[name] = rule
        if bar:
            self._parts.setdefault(parent, set()).add(name)


_KEYS: Final = {"allkeys": True, "~*": True, "resetkeys": False}
_CHANNELS: Final = {"allchannels": True, "&*": True, "resetchannels": False}
_COMMANDS: Final = {"allcommands": True, "+@all": True, "nocommands": False, "-@all": False}


class _Draft:
    """A user's rules under construction."""

    def __init__(self, rules: RedisRules) -> None:
        self.passwords: list[PasswordChange] = []
        self._on, self._nopass, self._sanitize = rules.on, rules.nopass, rules.sanitize
        self._root, self._more = _DraftSelector(rules.root), list(rules.more)

    def rules(self) -> RedisRules:
        return RedisRules(
            self._on, self._nopass, self._sanitize, self._root.made(), tuple(self._more)
        )

    def take(self, modifier: bytes, known: Known) -> None:
        """Apply one more word. Raises BadModifier."""
        if not modifier:
            return
        sign = modifier[:1].decode("latin-1")
        if sign in _PASSWORDS:
            self._take_password(sign, modifier)
            return
        try:
            text = modifier.decode()
            if not self._is_about_user(text.lower()):
                self._take_rule(text, known)
        except UnicodeDecodeError:
            raise BadModifier(modifier, SYNTAX) from None
        except ValueError as error:
            raise BadModifier(modifier, str(error)) from None

    def _take_password(self, sign: str, modifier: bytes) -> None:
        if sign in "#!" and not _is_hash(modifier[1:]):
            raise BadModifier(modifier, BAD_HASH)
        self.passwords.append(PasswordChange(sign, modifier[1:]))
        if sign in ">#":
            self._nopass = False

    def _is_about_user(self, word: str) -> bool:
        match word:
            case "on" | "off":
                self._on = word == "on"
            case "sanitize-payload" | "skip-sanitize-payload":
                self._sanitize = word == "sanitize-payload"
            case "nopass" | "resetpass":
                self._nopass = word == "nopass"
                self.passwords.append(PasswordChange(""))
            case "clearselectors":
                self._more.clear()
            case "reset":
                self.passwords.append(PasswordChange(""))
                self._on, self._nopass, self._sanitize = False, False, True
                self._root, self._more = _DraftSelector(Selector()), []
            case _:
                return False
        return True

    def _take_rule(self, text: str, known: Known) -> None:
        if not (text.startswith("(") and text.endswith(")")):
            self._root.take(text, known)
            return
        selector = _DraftSelector(Selector())
        for word in text[1:-1].split():
            # Else nobody could tell where the selector ends, when it is read again.
            if word.endswith(")"):
                raise ValueError(SYNTAX)
            selector.take(word, known)
        self._more.append(selector.made())


_PASSWORDS: Final = frozenset("><#!")


def _is_hash(data: bytes) -> bool:
    return len(data) == HASH_SIGNS and all(sign in b"0123456789abcdef" for sign in data)


def _check_pattern(pattern: str) -> None:
    if any(sign.isspace() or not sign.isprintable() for sign in pattern):
        raise ValueError(SYNTAX)
    try:
        Pattern(pattern.encode())
    except InvalidName as error:
        raise ValueError(str(error)) from None


def _command_rule(text: str, known: Known) -> str:
    sign, name = text[0], text[1:]
    if name.startswith("@"):
        if name[1:] not in ALL_CATEGORIES:
            raise ValueError(UNKNOWN)
        return text
    name, bar, argument = name.rpartition("|") if "|" in name else (name, "", "")
    parent, _, sub = name.partition("|")
    subcommands = known(parent) if parent else None
    if subcommands is None or (sub and sub not in subcommands):
        raise ValueError(UNKNOWN)
    if not bar:
        return text
    if sub and sign == "+":
        raise ValueError(OF_SUBCOMMAND)
    if not argument and sign == "+":
        raise ValueError(SYNTAX)
    # Of a command without subcommands, its first argument: that can be allowed only.
    if argument not in subcommands if subcommands else sign == "-":
        raise ValueError(UNKNOWN)
    if any(it.isspace() or not it.isprintable() for it in argument):
        raise ValueError(SYNTAX)
    return text
