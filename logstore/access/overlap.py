"""Decides whether two glob patterns can match the same name. Pure.

A subscriber to a pattern receives every channel that matches it. So a rule that denies some of
these channels must be found without knowing their names.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

from logstore.patterns import Pattern, Token, tokens


class Overlaps:
    """One pattern, ready to be compared with many others."""

    def __init__(self, pattern: Pattern) -> None:
        self._head = pattern.head
        self._tokens = [*tokens(pattern.text)]

    def meets(self, other: Pattern) -> bool:
        """Whether some name matches both patterns."""
        return self._may_meet(other.head) and self._reads([*tokens(other.text)])

    def meets_prefix(self, prefix: bytes) -> bool:
        """Whether some matching name has this prefix."""
        begun: list[Token] = [frozenset((byte,)) for byte in prefix]
        return self._may_meet(prefix) and self._reads([*begun, None])

    def _may_meet(self, head: bytes) -> bool:
        """Whether the patterns' literal beginnings permit it, which rules out most pairs."""
        return head.startswith(self._head) or self._head.startswith(head)

    @cached_property
    def _places(self) -> dict[Token, int]:
        """The places of each token: a bit for each place."""
        found: dict[Token, list[int]] = {}
        for place, token in enumerate(self._tokens):
            found.setdefault(token, []).append(place)
        return {token: _bits(at, len(self._tokens)) for token, at in found.items()}

    def _reads(self, other: Sequence[Token]) -> bool:
        """Read the other pattern; a bit for each place of this one that is reachable.

        A token of None stands for any number of any bytes; no two such tokens are neighbours.
        """
        places, end = self._places, len(self._tokens)
        if frozenset() in other or frozenset() in places:  # a class without members
            return False
        stars, every = places.get(None, 0), (1 << end + 1) - 1
        common: dict[frozenset[int], int] = {}
        here = 1
        for token in other:
            if token is None:  # it takes whatever this one asks for, as far as it likes
                here = every & -(here & -here)
                continue
            here |= (here & stars) << 1
            if token not in common:
                common[token] = _in_common(token, places)
            here = (here & common[token]) << 1 | (here & stars)
            if not here:
                return False
        here |= (here & stars) << 1
        return bool(here >> end)


def _bits(places: Sequence[int], size: int) -> int:
    """Built as bytes first, because a number of this size for each place would take long."""
    data = bytearray(size // 8 + 1)
    for place in places:
        data[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(data, "little")


def _in_common(token: frozenset[int], places: Mapping[Token, int]) -> int:
    """The places that accept one of these bytes."""
    common = 0
    for theirs, at in places.items():
        if theirs is not None and not token.isdisjoint(theirs):
            common |= at
    return common
