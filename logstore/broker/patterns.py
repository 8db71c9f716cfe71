"""Redis's glob patterns: ``news.*``, ``h?llo``, ``h[ae]llo``, ``h[^e]llo``, ``h[a-c]llo``.

The rules are those of Redis to the letter, its oddities included, since programs rely on them
without knowing: a class that is never closed ends with the pattern; ``[a-]`` is a range up to
``]``; bytes in a range count as signed; nothing but the empty pattern matches the empty name. A
backslash takes its meaning from the next byte.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final

from logstore.errors import InvalidName

# Compiling takes about a microsecond a byte; the longest names in use have some hundred bytes.
PATTERN_BYTES_MAX: Final = 4096

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
    """One pattern, ready to be asked."""

    __slots__ = ("__dict__", "_rest", "head", "text")

    def __init__(self, text: bytes, *, any_case: bool = False) -> None:
        """``any_case``: ASCII letters match whatever their case is. Raises InvalidName."""
        if len(text) > PATTERN_BYTES_MAX:
            raise InvalidName(
                f"a pattern of {len(text)} bytes; at most {PATTERN_BYTES_MAX} are taken"
            )
        self.text = text
        found = list(tokens(text.lower() if any_case else text))
        if any_case:
            found = [None if it is None else _both_cases(it) for it in found]
        literal = 0
        while literal < len(found) and (token := found[literal]) is not None and len(token) == 1:
            literal += 1
        self.head = b"".join(bytes(it) for it in found[:literal] if it is not None)
        self._rest = found[literal:]

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
    """Many patterns, found by what they begin with: most of ten thousand need no look at all."""

    def __init__(self) -> None:
        self._by_head: dict[bytes, dict[bytes, Pattern]] = {}
        self._lengths: dict[int, int] = {}  # of heads: how many there are of each length

    def add(self, pattern: Pattern) -> None:
        """One that is not in it."""
        same_head = self._by_head.get(pattern.head)
        if same_head is None:
            same_head = self._by_head[pattern.head] = {}
            length = len(pattern.head)
            self._lengths[length] = self._lengths.get(length, 0) + 1
        same_head[pattern.text] = pattern

    def remove(self, pattern: Pattern) -> None:
        """One that is in it."""
        same_head = self._by_head[pattern.head]
        del same_head[pattern.text]
        if not same_head:
            del self._by_head[pattern.head]
            length = len(pattern.head)
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]

    def matching(self, name: bytes) -> Iterable[bytes]:
        """The texts of the patterns that match."""
        for length in self._lengths:
            same_head = self._by_head.get(name[:length])
            if same_head is not None and length <= len(name):
                for text, pattern in same_head.items():
                    if pattern.matches(name):
                        yield text
