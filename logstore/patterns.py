"""Redis's glob patterns: ``news.*``, ``h?llo``, ``h[ae]llo``, ``h[^e]llo``, ``h[a-c]llo``.

The rules are exactly those of Redis, including its oddities, because programs may rely on them: an
unclosed class ends with the pattern; ``[a-]`` is a range up to ``]``; bytes in a range are signed;
only the empty pattern matches the empty name. A backslash makes the next byte literal.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

from logstore.errors import InvalidName

# Compiling takes about a microsecond a byte; the longest names in use have some hundred bytes.
PATTERN_BYTES_MAX: Final = 4096

# Bytes of a name times bytes of a pattern: what matching takes at the worst; 1000 take 1 us to 10.
# What is more is done a part at a time.
AT_ONCE: Final = 1_000_000
PART_BYTES: Final = 256  # of a name; at the longest pattern 70 us
PART_UNITS: Final = 16  # of work in slices; so with the others
STEPS_A_UNIT: Final = 4000
PATTERNS_A_UNIT: Final = 4
LOOK_BYTES: Final = 16
ASKED_TOGETHER: Final = 100
BUCKET: Final = 1000  # patterns of the same head, to be looked through without a look at others

_STAR, _QUESTION, _OPEN, _CLOSE, _NOT, _RANGE, _ESCAPE = b"*?[]^-\\"
_STARS: Final = None  # among tokens: any number of any bytes
_ANY: Final = frozenset(range(256))

# The bytes that one byte of a name may be, or ``_STARS``.
Token = frozenset[int] | None


def tokens(pattern: bytes) -> Iterator[Token]:
    """What the pattern asks of a name, from left to right."""
    at, end = 0, len(pattern)
    while at < end:
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            while at < end and pattern[at] == _STAR:
                at += 1
            yield _STARS
        elif byte == _QUESTION:
            yield _ANY
        elif byte == _OPEN:
            allowed, at = _class(pattern, at)
            yield allowed
        elif byte == _ESCAPE and at < end:
            yield frozenset((pattern[at],))
            at += 1
        else:
            yield frozenset((byte,))


def _class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """The bytes of a class whose ``[`` stands before ``at``, and where the pattern goes on."""
    end = len(pattern)
    negated = at < end and pattern[at] == _NOT
    at += negated
    members: set[int] = set()
    while at < end and pattern[at] != _CLOSE:
        if pattern[at] == _ESCAPE and at + 1 < end:
            members.add(pattern[at + 1])
            at += 2
        elif at + 2 < end and pattern[at + 1] == _RANGE:
            low, high = sorted((_signed(pattern[at]), _signed(pattern[at + 2])))
            members.update(number & 0xFF for number in range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    return (_ANY - members if negated else frozenset(members)), at + 1


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


class Pattern:
    """One compiled pattern."""

    __slots__ = ("__dict__", "_rest", "bucket", "head", "text")

    def __init__(
        self, text: bytes, *, any_case: bool = False, bytes_max: int = PATTERN_BYTES_MAX
    ) -> None:
        """``any_case``: ASCII letters match whatever their case is. Raises InvalidName."""
        if len(text) > bytes_max:
            raise InvalidName(f"a pattern of {len(text)} bytes; at most {bytes_max} are allowed")
        self.text = text
        self.bucket: dict[bytes, Pattern] | None = None  # of the index that it is in
        found = list(tokens(text.lower() if any_case else text))
        if any_case:
            found = [None if it is None else _both_cases(it) for it in found]
        literal = 0
        while literal < len(found) and (token := found[literal]) is not None and len(token) == 1:
            literal += 1
        self.head = b"".join(bytes(it) for it in found[:literal] if it is not None)
        self._rest = found[literal:]

    @property
    def is_name(self) -> bool:
        """Whether it matches one name alone: ``head``."""
        return not self._rest

    @property
    def is_simple(self) -> bool:
        """Whether it is a name, or what names begin with: asked at once, however long they are."""
        return not self._rest or self._rest == [_STARS]

    def compile(self) -> None:
        """Do now what takes a millisecond, not when it is asked for the first time."""
        if self._rest and self._rest != [_STARS]:
            _ = self._compiled

    def matches(self, name: bytes) -> bool:
        """Whether the whole of ``name`` is as the pattern says."""
        if not self._rest:
            return name == self.head
        if not name:
            return False
        if self._rest == [_STARS]:
            return name.startswith(self.head)
        return self._compiled.fullmatch(name) is not None

    def is_quick(self, name: bytes) -> bool:
        """Whether ``matches`` holds up nobody."""
        return self.is_simple or len(name) * len(self.text) <= AT_ONCE

    def matching(self, name: bytes) -> Generator[int, None, bool]:
        """The same, a part at a time, however long both are; yields units of work.

        All places that the pattern may have come to are bits of one number, so that a byte of the
        name is four operations, whatever the pattern is.
        """
        if len(name) * len(self.text) <= AT_ONCE:
            yield 1 + len(name) * len(self.text) // STEPS_A_UNIT
            return self.matches(name)
        if not self._rest or self._rest == [_STARS]:
            return self.matches(name)
        yield PART_UNITS
        if not (name.startswith(self.head) and self._may_end(name)):
            return False
        steps, stars, end = self._places()
        yield PART_UNITS
        name, here = name[len(self.head) :], 1
        for at in range(0, len(name), PART_BYTES):
            for byte in name[at : at + PART_BYTES]:
                here = (here << 1 & steps[byte]) | (here & stars)
            if not here:
                return False
            yield PART_UNITS
        return bool(here & end)

    def _may_end(self, name: bytes) -> bool:
        """Whether what follows the last star is as the name ends."""
        for byte, token in zip(
            reversed(name[len(self.head) :]), reversed(self._rest), strict=False
        ):
            if token is _STARS:
                return True
            if byte not in token:
                return False
        return True

    def _places(self) -> tuple[list[int], int, int]:
        """Which places each byte leads to, at which any byte may stay, and the last place."""
        steps, stars, place = [0] * 256, 0, 1
        anything = 0
        for token in self._rest:
            if token is _STARS:
                stars |= place
                continue
            place <<= 1
            if token is _ANY or len(token) == len(_ANY):
                anything |= place
            else:
                for byte in token:
                    steps[byte] |= place
        return [it | anything for it in steps], stars, place

    @cached_property
    def _compiled(self) -> "re.Pattern[bytes]":
        """Between two stars the first place that fits is as good as any: no backtracking there."""
        parts: list[list[bytes]] = [[re.escape(self.head)]]
        for token in self._rest:
            if token is _STARS:
                parts.append([])
            else:
                parts[-1].append(_one_of(token))
        first, *middle = [b"".join(part) for part in parts]
        if not middle:
            return re.compile(first, re.DOTALL)
        *between, last = middle
        atoms = b"".join(b"(?>.*?%b)" % part for part in between)
        return re.compile(b"%b%b.*%b" % (first, atoms, last), re.DOTALL)


def _both_cases(token: frozenset[int]) -> frozenset[int]:
    return token | set(bytes(token).upper()) | set(bytes(token).lower())


def _one_of(token: frozenset[int]) -> bytes:
    if token == _ANY:
        return b"."
    if not token:
        return b"(?!)"  # a class without members: nothing is in it
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(token))


class PatternIndex:
    """Many patterns, indexed by their beginnings, so that most of them need not be tried."""

    def __init__(self) -> None:
        self._by_head: dict[bytes, list[dict[bytes, Pattern]]] = {}
        self._lengths: dict[int, int] = {}  # of heads: how many there are of each length
        self._bytes = 0  # of all texts, and as much again for each as a look at it takes
        self._added: list[Pattern] = []  # while anyone searches
        self._searches = 0

    def add(self, pattern: Pattern) -> None:
        """One that is not in it."""
        buckets = self._by_head.get(pattern.head)
        if buckets is None:
            buckets = self._by_head[pattern.head] = [{}]
            length = len(pattern.head)
            self._lengths[length] = self._lengths.get(length, 0) + 1
        if len(buckets[-1]) >= BUCKET:
            buckets.append({})
        pattern.bucket = buckets[-1]
        pattern.bucket[pattern.text] = pattern
        self._bytes += len(pattern.text) + LOOK_BYTES
        if self._searches:
            self._added.append(pattern)

    def remove(self, pattern: Pattern) -> None:
        """One that is in it."""
        bucket, pattern.bucket = pattern.bucket, None
        assert bucket is not None
        del bucket[pattern.text]
        self._bytes -= len(pattern.text) + LOOK_BYTES
        if bucket:
            return
        buckets = self._by_head[pattern.head]
        del buckets[next(at for at, it in enumerate(buckets) if it is bucket)]
        if not buckets:
            del self._by_head[pattern.head]
            length = len(pattern.head)
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]

    def is_quick(self, name: bytes) -> bool:
        """Whether ``matching`` is done at once: others need not have their turn meanwhile."""
        return self._bytes * (len(name) + LOOK_BYTES) <= AT_ONCE

    def matching(self, name: bytes) -> Iterable[bytes]:
        """The texts of the patterns that match."""
        for buckets in self._candidates(name):
            for bucket in buckets:
                for text, pattern in bucket.items():
                    if pattern.matches(name):
                        yield text

    def _candidates(self, name: bytes) -> Iterator[list[dict[bytes, Pattern]]]:
        """Those that begin as the name does; nothing for a length that is of none."""
        for length in list(self._lengths):
            if length <= len(name):
                yield self._by_head.get(name[:length], [])

    def searching(self, name: bytes) -> Generator[int, None, list[bytes]]:
        """The same, a part at a time; yields units of work.

        Patterns may come and go between the parts: found is what matches at the end.
        """
        found: list[Pattern] = []
        at = len(self._added)
        self._searches += 1
        try:
            for buckets in self._candidates(name):
                yield 1
                for bucket in list(buckets):
                    yield from _ask(list(bucket.values()), name, found)
            while at < len(self._added):
                some = self._added[at : at + BUCKET]
                at += len(some)
                yield from _ask(some, name, found)
            return [*dict.fromkeys(it.text for it in found if it.bucket is not None)]
        finally:
            self._searches -= 1
            if not self._searches:
                self._added.clear()


def _ask(patterns: Sequence[Pattern], name: bytes, found: list[Pattern]) -> Iterator[int]:
    """Add those that match."""
    for at in range(0, len(patterns), ASKED_TOGETHER):
        some = patterns[at : at + ASKED_TOGETHER]
        if len(name) * sum([len(it.text) for it in some]) <= AT_ONCE:
            found += [it for it in some if it.matches(name)]
            yield 1 + len(some) // PATTERNS_A_UNIT
            continue
        for pattern in some:
            if (yield from pattern.matching(name)):
                found.append(pattern)
