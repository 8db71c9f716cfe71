"""Redis's rules of a user: their grammar. Pure.

They are kept as Redis itself writes them (ACL LIST), but for passwords; ``redis_grants.py`` asks
them. Grammar and texts are those of Redis 7.2 (redis.io/docs, "ACL").

    on off nopass resetpass >password <password #sha256 !sha256 reset
    skip-sanitize-payload sanitize-payload         accepted; no payload is ever restored here
    ~pattern %R~pattern %W~pattern allkeys resetkeys
    &pattern allchannels resetchannels
    +command -command +command|sub -command|sub +@category -@category allcommands nocommands
    (rules of a selector) clearselectors

Which commands there are says who gives the rules (``Known``): what is kept needs no look at them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from logstore.errors import InvalidName, LogstoreError
from logstore.patterns import Pattern

ALL_CATEGORIES: Final = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
    "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous",
    "connection", "transaction", "scripting",
)  # fmt: skip
HASH_SIGNS: Final = 64  # of a SHA-256
RULES_BYTES_MAX: Final = 32 << 10  # of a user's text: thousands of patterns; each is asked in turn

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
    """What one of the words given does not stand for, in Redis's words."""

    def __init__(self, modifier: bytes, reason: str) -> None:
        super().__init__(reason)
        # A password is no part of an error: it would be told to logs, too.
        self.modifier = modifier[:1] if modifier[:1] in (b">", b"<") else modifier
        self.reason = reason

    @property
    def text(self) -> bytes:
        """As ACL SETUSER says it."""
        if self.reason == UNMATCHED:
            return UNMATCHED.encode() % self.modifier
        return b"Error in ACL SETUSER modifier '%b': %b" % (self.modifier, self.reason.encode())


class PasswordChange(NamedTuple):
    """What is to be done with a user's passwords, in the order given."""

    sign: str  # ">", "<", "#", "!" as Redis has them; "": all of them are gone
    secret: bytes = b""


@dataclass(frozen=True, slots=True)
class Selector:
    """Commands with the keys and channels that they may name."""

    keys: tuple[tuple[str, str], ...] = ()  # "R", "W" or "RW", and a pattern
    all_keys: bool = False
    channels: tuple[str, ...] = ()
    all_channels: bool = False
    commands: tuple[str, ...] = ()  # after the first word, which is about all: the last that fits
    all_commands: bool = False

    @property
    def key_words(self) -> str:
        """As Redis shows them; so with the others."""
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


@dataclass(frozen=True, slots=True)
class RedisRules:
    """All that Redis knows of a user but for his name and passwords. As it is: a new user."""

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
        """As ACL LIST shows it, with these hashes; without them it is what is kept."""
        hashes = (f"#{it}" for it in passwords)
        selectors = (f"({it})" for it in self.more)
        return " ".join((*self.flags, *hashes, str(self.root), *selectors))


# Who may do everything, and who has no rules of Redis: his commands are not limited.
EVERYTHING: Final = RedisRules(on=True, root=Selector((), True, (), True, (), True))
NO_RULES: Final = RedisRules(on=True, root=Selector(all_commands=True))


# Reading modifiers


def changed(
    rules: RedisRules, modifiers: Sequence[bytes], known: Known
) -> tuple[RedisRules, list[PasswordChange]]:
    """What these make of it, all or nothing. Raises BadModifier."""
    passwords: list[PasswordChange] = []
    for modifier in _merged(modifiers):
        rules = _changed(rules, modifier, known, passwords)
    if len(rules.text()) > RULES_BYTES_MAX:
        raise BadModifier(modifiers[-1], TOO_LONG)
    return rules, passwords


def parse(text: str) -> RedisRules:
    """What was kept. Raises BadModifier of what is no such text."""
    rules = RedisRules()
    for modifier in _merged(text.encode(errors="surrogateescape").split(b" ")):
        rules = _changed(rules, modifier, _anything, [])
    return rules


def _anything(_: str) -> Collection[str] | None:
    """It was known when it was given."""
    return _ALL_SUBCOMMANDS


class _All(frozenset[str]):
    def __contains__(self, _: object) -> bool:
        return True


_ALL_SUBCOMMANDS: Final = _All({"..."})


def _merged(modifiers: Sequence[bytes]) -> list[bytes]:
    """A selector may come in several words."""
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


def _changed(
    rules: RedisRules, modifier: bytes, known: Known, passwords: list[PasswordChange]
) -> RedisRules:
    if not modifier:
        return rules
    sign = modifier[:1].decode("latin-1")
    if sign in _PASSWORDS:
        if sign in "#!" and not _is_hash(modifier[1:]):
            raise BadModifier(modifier, BAD_HASH)
        passwords.append(PasswordChange(sign, modifier[1:]))
        return replace(rules, nopass=False) if sign in ">#" else rules
    try:
        text = modifier.decode()
    except UnicodeDecodeError:
        raise BadModifier(modifier, SYNTAX) from None
    word = text.lower()
    if word in _OF_USER:
        if word in _WITHOUT_PASSWORDS:
            passwords.append(PasswordChange(""))
        return RedisRules() if word == "reset" else replace(rules, **_OF_USER[word])
    try:
        if text.startswith("(") and text.endswith(")"):
            return replace(rules, more=(*rules.more, _selector(text[1:-1], known)))
        return replace(rules, root=_narrowed(rules.root, text, known))
    except ValueError as error:
        raise BadModifier(modifier, str(error)) from None


_PASSWORDS: Final = frozenset("><#!")
_OF_USER: Final[Mapping[str, Mapping[str, Any]]] = {
    "on": {"on": True},
    "off": {"on": False},
    "nopass": {"nopass": True},
    "resetpass": {"nopass": False},
    "skip-sanitize-payload": {"sanitize": False},
    "sanitize-payload": {"sanitize": True},
    "clearselectors": {"more": ()},
    "reset": {},
}
_WITHOUT_PASSWORDS: Final = frozenset({"nopass", "resetpass", "reset"})


def _is_hash(data: bytes) -> bool:
    return len(data) == HASH_SIGNS and all(sign in b"0123456789abcdef" for sign in data)


def _selector(text: str, known: Known) -> Selector:
    selector = Selector()
    for word in text.split():
        # Else nobody could tell where the selector ends, when it is read again.
        if word.endswith(")"):
            raise ValueError(SYNTAX)
        selector = _narrowed(selector, word, known)
    return selector


_KEYS: Final = {"all_keys": True, "keys": ()}
_CHANNELS: Final = {"all_channels": True, "channels": ()}
_COMMANDS: Final = {"all_commands": True, "commands": ()}
_NO_COMMANDS: Final = {"all_commands": False, "commands": ()}
_OF_SELECTOR: Final[Mapping[str, Mapping[str, Any]]] = {
    "allkeys": _KEYS,
    "~*": _KEYS,
    "resetkeys": {"all_keys": False, "keys": ()},
    "allchannels": _CHANNELS,
    "&*": _CHANNELS,
    "resetchannels": {"all_channels": False, "channels": ()},
    "allcommands": _COMMANDS,
    "+@all": _COMMANDS,
    "nocommands": _NO_COMMANDS,
    "-@all": _NO_COMMANDS,
}


def _narrowed(selector: Selector, text: str, known: Known) -> Selector:
    """With one word more. Raises ValueError: why not."""
    found = _OF_SELECTOR.get(text.lower())
    if found is not None:
        return replace(selector, **found)
    match text[0]:
        case "~" | "%":
            return _with_keys(selector, text)
        case "&":
            return _with_channel(selector, text[1:])
        case "+" | "-":
            rule = _command_rule(text.lower(), known)
            return replace(selector, commands=(*_without(selector.commands, rule), rule))
    raise ValueError(SYNTAX)


def _with_keys(selector: Selector, text: str) -> Selector:
    if selector.all_keys:
        raise ValueError(AFTER_ALL.format("keys", "patterns"))
    head, tilde, pattern = text.partition("~")
    flags = head[1:].upper() if head else "RW"
    if not tilde or "".join(sorted(flags)) not in _OF_KEYS:
        raise ValueError(SYNTAX)
    _check_pattern(pattern)
    keys = {pattern: flags for flags, pattern in selector.keys}
    keys[pattern] = "".join(sorted({*keys.get(pattern, ""), *flags}))
    return replace(selector, keys=tuple((flags, it) for it, flags in keys.items()))


def _with_channel(selector: Selector, pattern: str) -> Selector:
    if selector.all_channels:
        raise ValueError(AFTER_ALL.format("channels", "channels"))
    _check_pattern(pattern)
    return replace(selector, channels=tuple(dict.fromkeys((*selector.channels, pattern))))


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


def _without(rules: Sequence[str], rule: str) -> list[str]:
    """What still says something once ``rule`` stands behind it."""
    name = rule[1:]
    return [it for it in rules if it[1:] != name and not it[1:].startswith(name + "|")]
