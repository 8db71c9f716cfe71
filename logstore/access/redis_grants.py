"""What Redis's rules of a user allow: compiled to predicates when they are asked first. Pure.

A command is allowed where one selector allows all of it: the command, its keys and its channels.
To other doors, and to who has other rules beside, they say what they grant (``covers``).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from logstore.access.redis_rules import BadModifier, RedisRules, Selector, parse
from logstore.access.resources import CHANNEL, DESCRIBE, KEY, READ, WRITE
from logstore.patterns import Pattern

COMPILED_MAX: Final = 1024  # texts; more users are compiled again at their next command


class Called(NamedTuple):
    """A command that is to be carried out."""

    name: str  # ``publish``, ``config|set``
    categories: frozenset[str]  # of it and of the command that it is a part of, with their ``@``
    argument: str = ""  # the first, in small letters; of a subcommand: none


class Named(NamedTuple):
    """A key or a channel that it names."""

    kind: str  # KEY, CHANNEL
    name: bytes
    read: bool
    write: bool
    pattern: bool = False  # of PSUBSCRIBE: allowed where it is literally one that is granted


class Denied(NamedTuple):
    """What of a command is not allowed."""

    kind: str  # COMMAND, KEY, CHANNEL
    at: int = 0  # which of the names, of those that were given

    @property
    def rank(self) -> tuple[int, int]:
        """Of several selectors, the one told is that which came furthest."""
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


class _Asked:
    """A selector, ready to be asked."""

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self._keys = [(flags, Pattern(it.encode())) for flags, it in selector.keys]
        self._channels = [Pattern(it.encode()) for it in selector.channels]
        self._literal = frozenset(it.text for it in self._channels)

    def allows(self, called: Called) -> bool:
        """Whether the command is allowed, whatever it names: the last rule that fits decides."""
        parent, _, _ = called.name.partition("|")
        fitting = {called.name, parent, f"{called.name}|{called.argument}", *called.categories}
        for rule in reversed(self.selector.commands):
            if rule[1:] in fitting:
                return rule[0] == "+"
        return self.selector.all_commands

    def covers(self, named: Named) -> bool:
        if named.kind == KEY:
            return self.selector.all_keys or any(
                (not named.read or "R" in flags)
                and (not named.write or "W" in flags)
                and _matches(pattern, named.name)
                for flags, pattern in self._keys
            )
        if self.selector.all_channels:
            return True
        if named.pattern:
            return named.name in self._literal
        return any(_matches(pattern, named.name) for pattern in self._channels)

    def denied(self, called: Called, names: Sequence[Named]) -> Denied | None:
        if not self.allows(called):
            return Denied(COMMAND)
        for at, named in enumerate(names):
            if not self.covers(named):
                return Denied(named.kind, at)
        return None


def _matches(pattern: Pattern, name: bytes) -> bool:
    """A name so long that it would hold up everyone is not allowed by more than a prefix."""
    return pattern.is_quick(name) and pattern.matches(name)


class Compiled:
    """A user's rules, ready to be asked."""

    def __init__(self, rules: RedisRules) -> None:
        self.rules = rules
        self._selectors = [_Asked(it) for it in (rules.root, *rules.more)]

    def denied(self, called: Called, names: Sequence[Named] = ()) -> Denied | None:
        """What of it no selector allows; None: all of it is allowed."""
        told = Denied(COMMAND)
        for selector in self._selectors:
            found = selector.denied(called, names)
            if found is None:
                return None
            told = max(told, found, key=lambda it: it.rank)
        return told

    def covers(self, operation: str, kind: str, name: str) -> bool:
        """Whether they grant this, in the words of the other rules: a channel or key, by name."""
        if kind not in (CHANNEL, KEY) or operation not in _MEANT:
            return False
        asked = name.encode(errors="surrogateescape")
        return any(
            self._grants(Named(kind, asked, READ in meant, WRITE in meant))
            for meant in _MEANT[operation]
        )

    def covers_pattern(self, pattern: str) -> bool:
        """Whether they grant PSUBSCRIBE with this pattern."""
        named = Named(CHANNEL, pattern.encode(errors="surrogateescape"), True, False, True)
        return any(it.allows(PATTERN_READING) and it.covers(named) for it in self._selectors)

    def _grants(self, named: Named) -> bool:
        by: Sequence[Called] = ()
        if named.kind == CHANNEL:
            by = READING if named.read else WRITING
        return any(
            it.covers(named) and (not by or any(map(it.allows, by))) for it in self._selectors
        )


_MEANT: Final = {READ: ((READ,),), WRITE: ((WRITE,),), DESCRIBE: ((READ,), (WRITE,))}
_NOTHING: Final = Compiled(RedisRules())


@lru_cache(COMPILED_MAX)
def compiled(text: str) -> Compiled:
    """What was kept of a user; what can't be read allows nothing."""
    try:
        return Compiled(parse(text))
    except BadModifier:
        return _NOTHING


def is_off(text: str | None) -> bool:
    """Whether a user with these rules may not log in, through whatever door."""
    return text is not None and not compiled(text).rules.on
