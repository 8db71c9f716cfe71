"""Rules in Kafka's language, indexed by user and by the objects that they concern.

A decision costs a few look-ups, however many rules there are: the rules of one user about one kind
of object are stored together, by name, by prefix, and by pattern.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from logstore.access.covers import COVERED_BY, DENIED_BY
from logstore.access.identity import Identity
from logstore.access.overlap import Overlaps
from logstore.access.resources import name_bytes, name_text
from logstore.kept.users import ANYONE, GLOB, LITERAL, PREFIX, KeptRule
from logstore.patterns import AT_ONCE, Pattern, PatternIndex

# A longer name is compared with no pattern, since that could take long: it counts as matched where
# a rule denies, and as not matched where one allows. Topics have 249, queues 255.
COMPARED_BYTES_MAX: Final = 4096

# Rules that are all denied by others, looked at for one that is not: each may take 0.1 ms.
DENIED_MAX: Final = 100

ANY_NAME: Final = name_bytes(ANYONE)

# Of one user, kind and name: whether it allows, the operation, the host.
_Leaf = dict[tuple[bool, str, str], KeptRule]


class _Shelf:
    """The rules of one user about one kind of object."""

    __slots__ = ("by_glob", "by_name", "by_prefix", "index", "lengths")

    def __init__(self) -> None:
        self.by_name: dict[str, _Leaf] = {}
        self.by_prefix: dict[str, _Leaf] = {}
        self.lengths: dict[int, int] = {}  # of prefixes: how many there are of each length
        self.by_glob: dict[bytes, tuple[Pattern, _Leaf]] = {}
        self.index = PatternIndex()

    def leaf(self, rule: KeptRule) -> _Leaf:
        """The leaf of a rule, created on demand."""
        if rule.pattern == LITERAL:
            return self.by_name.setdefault(rule.name, {})
        if rule.pattern == PREFIX:
            if rule.name not in self.by_prefix:
                self.by_prefix[rule.name] = {}
                length = len(rule.name)
                self.lengths[length] = self.lengths.get(length, 0) + 1
            return self.by_prefix[rule.name]
        text = name_bytes(rule.name)
        if text not in self.by_glob:
            pattern = _pattern(text)
            self.by_glob[text] = pattern, {}
            self.index.add(pattern)
        return self.by_glob[text][1]

    def drop(self, rule: KeptRule) -> None:
        """Remove an empty leaf."""
        if rule.pattern == LITERAL:
            del self.by_name[rule.name]
        elif rule.pattern == PREFIX:
            del self.by_prefix[rule.name]
            length = len(rule.name)
            self.lengths[length] -= 1
            if not self.lengths[length]:
                del self.lengths[length]
        else:
            pattern, _ = self.by_glob.pop(name_bytes(rule.name))
            self.index.remove(pattern)

    def leaves(self, name: str, *, deny: bool) -> Iterator[_Leaf]:
        """The leaves whose rules concern the name. ``deny``: leaves that may."""
        for known in (name, ANYONE):
            if (leaf := self.by_name.get(known)) is not None:
                yield leaf
        for length in self.lengths:
            if length <= len(name) and (leaf := self.by_prefix.get(name[:length])) is not None:
                yield leaf
        if not self.by_glob:
            return
        data = name_bytes(name)
        if len(data) <= COMPARED_BYTES_MAX:
            for text in self.index.matching(data):
                yield self.by_glob[text][1]
        else:
            for pattern, leaf in self.by_glob.values():
                if pattern.matches(data) if pattern.is_simple else deny:
                    yield leaf

    def meeting(self, glob: bytes, wanted: Callable[[_Leaf], KeptRule | None]) -> KeptRule | None:
        """The first wanted rule that concerns some name that matches the pattern.

        If that could take long, a rule that may concern one, because wanted rules deny something.
        """
        left = AT_ONCE
        for size, leaf, meets in self._with_tests(_pattern(glob)):
            rule = wanted(leaf)
            if rule is not None and meets():
                return rule
            left -= 0 if rule is None else (len(glob) + 1) * (size + 1)
            if rule is not None and left < 0:
                return rule
        return None

    def _with_tests(self, glob: Pattern) -> Iterator[tuple[int, _Leaf, Callable[[], bool]]]:
        """Each leaf with the size of its text, and a test whether it meets the pattern."""
        overlaps = Overlaps(glob)
        for name, leaf in self.by_name.items():
            data = name_bytes(name)
            yield len(data), leaf, partial(_matches_literal, glob, data)
        for prefix, leaf in self.by_prefix.items():
            data = name_bytes(prefix)
            yield len(data), leaf, partial(overlaps.meets_prefix, data)
        for text, (pattern, leaf) in self.by_glob.items():
            yield len(text), leaf, partial(overlaps.meets, pattern)

    def allowed_leaves(self, pattern: Pattern) -> Iterator[_Leaf]:
        """The leaves that concern all names that match the pattern."""
        if (leaf := self.by_name.get(ANYONE)) is not None:
            yield leaf
        head = name_text(pattern.head)
        for length in self.lengths:
            if length <= len(head) and (leaf := self.by_prefix.get(head[:length])) is not None:
                yield leaf
        for text in (pattern.text, ANY_NAME):
            if text in self.by_glob:
                yield self.by_glob[text][1]

    def all_leaves(self) -> Iterator[_Leaf]:
        yield from self.by_name.values()
        yield from self.by_prefix.values()
        for _, leaf in self.by_glob.values():
            yield leaf


class Rulebook:
    """The index of all rules."""

    def __init__(self, rules: Iterable[KeptRule] = ()) -> None:
        self._rules: dict[KeptRule, None] = {}
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._shown: tuple[KeptRule, ...] | None = None
        self.hosts: dict[str, int] = {}  # that rules name: how many do
        for rule in rules:
            self.add(rule)

    @property
    def rules(self) -> Sequence[KeptRule]:
        """All rules in the order of their creation."""
        if self._shown is None:
            self._shown = tuple(self._rules)
        return self._shown

    def add(self, rule: KeptRule) -> None:
        """Add a rule, unless it already exists."""
        if rule in self._rules:
            return
        self._rules[rule] = None
        self._shown = None
        shelf = self._shelves.setdefault((rule.user, rule.kind), _Shelf())
        shelf.leaf(rule)[rule.allow, rule.operation, rule.host] = rule
        if rule.host != ANYONE:
            self.hosts[rule.host] = self.hosts.get(rule.host, 0) + 1

    def remove(self, rule: KeptRule) -> None:
        """Remove a rule, if it exists."""
        if rule not in self._rules:
            return
        del self._rules[rule]
        self._shown = None
        shelf = self._shelves[rule.user, rule.kind]
        leaf = shelf.leaf(rule)
        del leaf[rule.allow, rule.operation, rule.host]
        if not leaf:
            shelf.drop(rule)
            if not (shelf.by_name or shelf.by_prefix or shelf.by_glob):
                del self._shelves[rule.user, rule.kind]
        if rule.host != ANYONE:
            self.hosts[rule.host] -= 1
            if not self.hosts[rule.host]:
                del self.hosts[rule.host]

    def _of(self, who: Identity, kind: str) -> Iterator[_Shelf]:
        for user in (who.user, ANYONE):
            shelf = self._shelves.get((user, kind))
            if shelf is not None:
                yield shelf

    def about(self, who: Identity, kinds: Iterable[str]) -> Iterator[KeptRule]:
        """The rules of this user at this host, and of everyone, about these kinds of objects."""
        for kind in kinds:
            for shelf in self._of(who, kind):
                for leaf in shelf.all_leaves():
                    yield from (it for it in leaf.values() if it.host in (who.host, ANYONE))

    def denies(self, who: Identity, operation: str, kind: str, name: str) -> KeptRule | None:
        """A rule that denies this; None: there is none."""
        leaves = (it for shelf in self._of(who, kind) for it in shelf.leaves(name, deny=True))
        return _first(leaves, who, DENIED_BY[operation], allow=False)

    def allows(self, who: Identity, operation: str, kind: str, name: str) -> KeptRule | None:
        """A rule that allows this, unless another denies it; None: there is none."""
        leaves = (it for shelf in self._of(who, kind) for it in shelf.leaves(name, deny=False))
        return _first(leaves, who, COVERED_BY[operation], allow=True)

    # All names that a glob pattern matches

    def denies_some(self, who: Identity, operation: str, kind: str, glob: bytes) -> KeptRule | None:
        """A rule that denies this for one of the matching names."""
        operations = DENIED_BY[operation]
        for shelf in self._of(who, kind):
            rule = shelf.meeting(glob, lambda it: _first((it,), who, operations, allow=False))
            if rule is not None:
                return rule
        return None

    def allows_all(self, who: Identity, operation: str, kind: str, glob: bytes) -> KeptRule | None:
        """One rule that allows this for every matching name.

        A rule about any name, about a prefix of the pattern, or about an equal pattern.
        """
        pattern = _pattern(glob)
        if pattern.is_name:
            name = name_text(pattern.head)
            return self.allows(who, operation, kind, name)
        leaves = (it for shelf in self._of(who, kind) for it in shelf.allowed_leaves(pattern))
        return _first(leaves, who, COVERED_BY[operation], allow=True)

    # Any name at all

    def denies_any(self, who: Identity, operation: str, kind: str) -> KeptRule | None:
        """A rule that denies this for all names."""
        for shelf in self._of(who, kind):
            leaves = [shelf.by_name.get(ANYONE)]
            if ANY_NAME in shelf.by_glob:
                leaves.append(shelf.by_glob[ANY_NAME][1])
            found = _first((it for it in leaves if it), who, DENIED_BY[operation], allow=False)
            if found is not None:
                return found
        return None

    def allows_some(self, who: Identity, operation: str, kind: str) -> KeptRule | None:
        """A rule that allows this for names that no single other rule denies (KIP-679).

        None if one rule denies it for all names. After a maximum number of denied candidates, the
        next one counts as allowed.
        """
        if self.denies_any(who, operation, kind) is not None:
            return None
        left = DENIED_MAX
        for shelf in self._of(who, kind):
            for leaf in shelf.all_leaves():
                rule = _first((leaf,), who, COVERED_BY[operation], allow=True)
                if rule is not None:
                    left -= 1
                    if left < 0 or not self._all_denied(rule, who, operation):
                        return rule
        return None

    def _all_denied(self, rule: KeptRule, who: Identity, operation: str) -> bool:
        """Whether one denying rule concerns all names of this one."""
        if rule.name == ANYONE:
            return False
        if rule.pattern == LITERAL:
            return self.denies(who, operation, rule.kind, rule.name) is not None
        glob = name_bytes(rule.name)
        pattern = _pattern(_as_it_is(glob) + b"*" if rule.pattern == PREFIX else glob)
        leaves = (it for shelf in self._of(who, rule.kind) for it in _around(shelf, pattern))
        return _first(leaves, who, DENIED_BY[operation], allow=False) is not None


def _matches_literal(glob: Pattern, name: bytes) -> bool:
    return name == ANY_NAME or glob.matches(name)


def _pattern(text: bytes) -> Pattern:
    """Of any length, because the caller checks the length of names."""
    return Pattern(text, bytes_max=len(text))


def _around(shelf: _Shelf, pattern: Pattern) -> Iterator[_Leaf]:
    """Leaves that concern all names that match the pattern, found by a slower search."""
    if pattern.is_name:
        yield from shelf.leaves(name_text(pattern.head), deny=True)
        return
    yield from shelf.allowed_leaves(pattern)
    for theirs, leaf in shelf.by_glob.values():
        if theirs.is_simple and not theirs.is_name and pattern.head.startswith(theirs.head):
            yield leaf


def _as_it_is(text: bytes) -> bytes:
    """A pattern that matches only this name."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[\\" else bytes((byte,)) for byte in text)


def _first(
    leaves: Iterable[_Leaf], who: Identity, operations: Iterable[str], *, allow: bool
) -> KeptRule | None:
    for leaf in leaves:
        for operation in operations:
            for host in (who.host, ANYONE):
                rule = leaf.get((allow, operation, host))
                if rule is not None:
                    return rule
    return None


def matches(rule: KeptRule, name: str) -> bool:
    """Whether the rule concerns this name."""
    if rule.pattern == PREFIX:
        return name.startswith(rule.name)
    if rule.pattern == GLOB:
        return _pattern(name_bytes(rule.name)).matches(name_bytes(name))
    return rule.name in (name, ANYONE)
