"""Ranges of sorted sets in commands, and replies with members and scores."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.numerals import double_text, strtod
from logstore.broker.keys.ranking import Entry
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys.long_replies import plain, saying
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.replies import Version, array, bulk
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

BY_RANK, BY_SCORE, BY_LEX = b"RANK", b"SCORE", b"LEX"
NO_SCORES: Final = "min or max is not a float"
NO_NAMES: Final = "min or max not valid string range item"


class End(NamedTuple):
    """One end of a range of scores or names."""

    score: float = 0.0
    name: bytes = b""
    open: bool = False  # without the value itself
    least: bool = False  # of names: before all of them
    most: bool = False  # after all of them


def _score_end(text: bytes) -> End:
    is_open = text.startswith(b"(")
    shown = text[is_open:].partition(b"\0")[0]  # to C, a text ends there
    value, size, _ = strtod(shown)
    if size != len(shown) or math.isnan(value):
        raise Wrong(NO_SCORES)
    return End(value, open=is_open)


def _name_end(text: bytes) -> End:
    mark = text[:1]
    if mark in (b"[", b"("):
        return End(name=text[1:], open=mark == b"(")
    if text.partition(b"\0")[0] not in (b"-", b"+"):
        raise Wrong(NO_NAMES)
    return End(least=mark == b"-", most=mark == b"+")


class Among(NamedTuple):
    """The members that are selected."""

    by: bytes
    low: End | int
    high: End | int

    @classmethod
    def of(cls, by: bytes, low: bytes, high: bytes) -> "Among":
        """Parse a range from a command's words. Raises Wrong."""
        if by == BY_RANK:
            return cls(by, integer_of(low), integer_of(high))
        read = _score_end if by == BY_SCORE else _name_end
        return cls(by, read(low), read(high))

    def ranks(self, found: SortedSet) -> tuple[int, int]:
        """The range as ranks, from the first to one past the last."""
        low, high = self.low, self.high
        size = len(found)
        if isinstance(low, int) or isinstance(high, int):
            assert isinstance(low, int)
            assert isinstance(high, int)
            start = max(low + size * (low < 0), 0)
            stop = high + size * (high < 0)
            return (start, min(stop, size - 1) + 1) if start <= stop and start < size else (0, 0)
        start, stop = _scored(found, low, high) if self.by == BY_SCORE else _named(found, low, high)
        return (start, stop) if start < stop else (0, 0)


def _after(score: float) -> tuple[float]:
    """A bound just above all members with this score."""
    return (math.nextafter(score, math.inf),)


def _scored(found: SortedSet, low: End, high: End) -> tuple[int, int]:
    ranking, size = found.ranking, len(found)
    if low.open and low.score == math.inf:
        return 0, 0
    start = ranking.rank(_after(low.score) if low.open else (low.score,))
    if not high.open and high.score == math.inf:
        return start, size
    return start, ranking.rank((high.score,) if high.open else _after(high.score))


def _named(found: SortedSet, low: End, high: End) -> tuple[int, int]:
    """The range by name of members with equal scores; with others, as far as Redis defines it."""
    if low.most or high.least:
        return 0, 0
    size, ranking = len(found), found.ranking
    if not (low.least or high.most) and (
        low.name > high.name or (low.name == high.name and (low.open or high.open))
    ):
        return 0, 0
    if found.order is None:
        return _walked([member for _, member in ranking], low, high)
    score = ranking.at(0)[0]
    start = 0 if low.least else ranking.rank((score, low.name), after=low.open)
    stop = size if high.most else ranking.rank((score, high.name), after=not high.open)
    return start, stop


def _walked(members: Sequence[bytes], low: End, high: End) -> tuple[int, int]:
    """As ``_named``, for few members: up to the first member after the range."""
    start = 0
    while start < len(members) and not (
        low.least or (members[start] > low.name if low.open else members[start] >= low.name)
    ):
        start += 1
    stop = start
    while stop < len(members) and (
        high.most or (members[stop] < high.name if high.open else members[stop] <= high.name)
    ):
        stop += 1
    return start, stop


# Answers


def score_reply(score: float, version: Version) -> bytes:
    text = double_text(score)
    return b",%b\r\n" % text if version == 3 else bulk(text)


def flat(entries: Sequence[Entry], version: Version) -> list[bytes]:
    """The replies of each member followed by its score."""
    parts: list[bytes] = []
    for score, member in entries:
        parts += (bulk(member), score_reply(score, version))
    return parts


def entries_in_parts(
    entries: Sequence[Entry], version: Version, *, scored: bool
) -> tuple[bytes, Callable[[Sequence[Entry]], bytes]]:
    """The head of the reply, and a function that encodes some of the entries.

    With scores the entries are pairs in RESP3, and alternate in RESP2.
    """

    def members(some: Sequence[Entry]) -> bytes:
        return plain([member for _, member in some])

    def following(some: Sequence[Entry]) -> bytes:
        return b"".join(flat(some, version))

    def pairs(some: Sequence[Entry]) -> bytes:
        return b"".join([array(flat([entry], version)) for entry in some])

    if scored and version == 2:
        return b"*%d\r\n" % (2 * len(entries)), following
    return b"*%d\r\n" % len(entries), pairs if scored else members


def say_entries(client: RespClient, entries: Sequence[Entry], *, scored: bool) -> Steps:
    """Reply with entries."""
    head, written = entries_in_parts(entries, client.version, scored=scored)
    yield from saying(client, head, entries, written)
