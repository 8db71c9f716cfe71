"""Decides what a user's Redis rules allow; rules are compiled to predicates at first use. Pure.

A command is allowed if one selector allows all of it: the command, its keys and its channels. For
other doors and languages of rules, ``allows`` says what these rules grant.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from logstore.access.redis_rules import BadModifier, RedisRules, Selector, key_word, parse
from logstore.access.resources import CHANNEL, DELETE, DESCRIBE, KEY, READ, WRITE
from logstore.patterns import Pattern

REDIS_RULE: Final = "Redis rule "  # begins what is told of one
COMPILED_MAX: Final = 1024  # texts; more users are compiled again at their next command


class Called(NamedTuple):
    """A command that a client wants to execute."""

    name: str  # ``publish``, ``config|set``
    categories: frozenset[str]  # of it and of the command that it is a part of, with their ``@``
    argument: str = ""  # the first, in small letters; of a subcommand: none


class Named(NamedTuple):
    """A key or a channel that a command names."""

    kind: str  # KEY, CHANNEL
    name: bytes
    read: bool
    write: bool
    pattern: bool = False  # of PSUBSCRIBE: allowed where it is literally one that is granted


class Denied(NamedTuple):
    """The part of a command that is not allowed."""

    kind: str  # COMMAND, KEY, CHANNEL
    at: int = 0  # which of the names, of those that were given

    @property
    def rank(self) -> tuple[int, int]:
        """Of several selectors, the denial of the one that came furthest is reported."""
        return _RANKS.index(self.kind), self.at


COMMAND: Final = "command"
_RANKS: Final = (COMMAND, KEY, CHANNEL)
# What reads and writes channels: a pattern grants what its selector's commands can do with it.
_LISTENING: Final = frozenset({"@pubsub", "@slow"})
READING: Final = tuple(
    Called(name, _LISTENING) for name in ("subscribe", "ssubscribe", "channel.read")
)
PATTERN_READING: Final = Called("psubscribe", _LISTENING)
WRITING: Final = tuple(
    Called(name, frozenset({"@pubsub", "@fast"})) for name in ("publish", "spublish")
)


class Granting:
    """A compiled selector."""

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self._keys = [(flags, Pattern(it.encode())) for flags, it in selector.keys]
        self._channels = [Pattern(it.encode()) for it in selector.channels]
        self._literal = frozenset(it.text for it in self._channels)

    def allows(self, called: Called) -> bool:
        """Whether the command is allowed, whatever it names: the last matching rule decides."""
        parent, _, _ = called.name.partition("|")
        fitting = {called.name, parent, f"{called.name}|{called.argument}", *called.categories}
        for rule in reversed(self.selector.commands):
            if rule[1:] in fitting:
                return rule[0] == "+"
        return self.selector.all_commands

    def looks_at_arguments(self, command: str) -> bool:
        """Whether some rule concerns a first argument of this command."""
        return any(it[1:].startswith(command + "|") for it in self.selector.commands)

    def grant(self, named: Named) -> str | None:
        """The word that covers it; None: no word does."""
        if named.kind == KEY:
            if self.selector.all_keys:
                return "~*"
            return next(
                (
                    key_word(flags, pattern.text.decode())
                    for flags, pattern in self._keys
                    if (not named.read or "R" in flags)
                    and (not named.write or "W" in flags)
                    and _matches(pattern, named.name)
                ),
                None,
            )
        if self.selector.all_channels:
            return "&*"
        if named.pattern:
            return f"&{named.name.decode()}" if named.name in self._literal else None
        found = next((it for it in self._channels if _matches(it, named.name)), None)
        return None if found is None else f"&{found.text.decode()}"

    def names_some(self, kind: str) -> bool:
        chosen = self.selector
        if kind == KEY:
            return chosen.all_keys or bool(chosen.keys)
        return chosen.all_channels or bool(chosen.channels)

    def denied(self, called: Called, names: Sequence[Named]) -> Denied | None:
        if not self.allows(called):
            return Denied(COMMAND)
        for at, named in enumerate(names):
            if self.grant(named) is None:
                return Denied(named.kind, at)
        return None


def _matches(pattern: Pattern, name: bytes) -> bool:
    """A very long name is allowed only by a prefix, because matching it would delay everyone."""
    return pattern.is_quick(name) and pattern.matches(name)


class Compiled:
    """A user's compiled rules."""

    def __init__(self, rules: RedisRules) -> None:
        self.rules = rules
        self._selectors = [Granting(it) for it in (rules.root, *rules.more)]

    @property
    def several(self) -> bool:
        """Whether there are selectors besides the user's own rules."""
        return len(self._selectors) > 1

    def denied(self, called: Called, names: Sequence[Named] = ()) -> Denied | None:
        """The part that no selector allows; None: everything is allowed."""
        told = Denied(COMMAND)
        for selector in self._selectors:
            found = selector.denied(called, names)
            if found is None:
                return None
            told = max(told, found, key=lambda it: it.rank)
        return told

    def allowing(self, called: Called) -> list["Granting"]:
        """The selectors that allow the command, whatever it names."""
        return [it for it in self._selectors if it.allows(called)]

    def looks_at_arguments(self, command: str) -> bool:
        """Whether some rule concerns a first argument of this command."""
        return any(it.looks_at_arguments(command) for it in self._selectors)

    def grant(self, named: Named, by: Sequence[Called] = ()) -> str | None:
        """The word that grants this, in a selector with one of these commands; None: no word."""
        for selector in self._selectors:
            if not by or any(map(selector.allows, by)):
                word = selector.grant(named)
                if word is not None:
                    return word
        return None

    def grants_some(self, kind: str, by: Sequence[Called]) -> bool:
        """Whether some name of this kind may be granted."""
        return any(
            (not by or any(map(it.allows, by))) and it.names_some(kind) for it in self._selectors
        )


_NOTHING: Final = Compiled(RedisRules())


@lru_cache(COMPILED_MAX)
def compiled(text: str) -> Compiled:
    """The compiled form of a user's stored rules; unreadable rules allow nothing."""
    try:
        return Compiled(parse(text))
    except BadModifier:
        return _NOTHING


def is_off(text: str | None) -> bool:
    """Whether a user with these rules may not log in, at any door."""
    return text is not None and not compiled(text).rules.on


# In the words of the other rules: what they grant of channels and keys

# What an operation does, each of which is enough.
_OF_CHANNELS: Final[Mapping[str, tuple[str, ...]]] = {
    READ: (READ,), WRITE: (WRITE,), DESCRIBE: (READ, WRITE),
}  # fmt: skip
_OF_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    READ: (READ,), WRITE: (WRITE,), DELETE: (WRITE,), DESCRIBE: (READ, WRITE),
}  # fmt: skip


def _meant(operation: str, kind: str) -> tuple[str, ...]:
    if kind == CHANNEL:
        return _OF_CHANNELS.get(operation, ())
    return _OF_KEYS.get(operation, ()) if kind == KEY else ()


def _by(kind: str, use: str) -> Sequence[Called]:
    """The commands without which a pattern grants none of this."""
    if kind == KEY:
        return ()
    return READING if use == READ else WRITING


def allows(text: str, operation: str, kind: str, name: str) -> str | None:
    """The rule that allows this, to be shown to people; None: none does."""
    asked = name.encode(errors="surrogateescape")
    for use in _meant(operation, kind):
        named = Named(kind, asked, use == READ, use == WRITE)
        word = compiled(text).grant(named, _by(kind, use))
        if word is not None:
            return REDIS_RULE + word
    return None


def allows_all(text: str, operation: str, kind: str, pattern: str) -> str | None:
    """The same for all channels that match the pattern: PSUBSCRIBE with it is granted."""
    if kind != CHANNEL or READ not in _meant(operation, kind):
        return None
    named = Named(kind, pattern.encode(errors="surrogateescape"), True, False, True)
    word = compiled(text).grant(named, (PATTERN_READING,))
    return None if word is None else REDIS_RULE + word


def allows_some(text: str, operation: str, kind: str) -> bool:
    """Whether the rules may allow this for some name."""
    return any(compiled(text).grants_some(kind, _by(kind, use)) for use in _meant(operation, kind))
