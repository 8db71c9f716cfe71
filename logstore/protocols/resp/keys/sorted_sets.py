"""ZADD, ZSCORE, ZPOPMIN and other commands on members of sorted sets."""

import math
from collections.abc import Generator, Sequence
from typing import Final

from logstore.broker.keys.collection import some_of
from logstore.broker.keys.numerals import double_text
from logstore.broker.keys.ranking import Entry
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.chance import places, say_drawn
from logstore.protocols.resp.keys.collection_rows import (
    CHANGE,
    DELETE,
    LOOK,
    POP,
    RO,
    UPDATE,
    reads,
    writes,
)
from logstore.protocols.resp.keys.element_scans import scan
from logstore.protocols.resp.keys.long_replies import saying
from logstore.protocols.resp.keys.reach import CHANCE, find, first_of, make, see, wrote
from logstore.protocols.resp.keys.rows import in_parts
from logstore.protocols.resp.keys.scores import (
    entries_in_parts,
    flat,
    say_entries,
    score_reply,
)
from logstore.protocols.resp.keys.words import (
    LONG_MAX,
    SYNTAX,
    count,
    double,
    within,
    wrong_count,
)
from logstore.protocols.resp.replies import array, bulk, null_array
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

NOT_A_NUMBER: Final = "resulting score is not a number (NaN)"
NX_XX: Final = "XX and NX options at the same time are not compatible"
GT_LT: Final = "GT, LT, and/or NX options at the same time are not compatible"
ONE_PAIR: Final = "INCR option supports a single increment-element pair"
MIN, MAX = b"min", b"max"
POPPED: Final = {MIN: "zpopmin", MAX: "zpopmax"}
ADD_OPTIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})


# Adding


@in_parts
def _add(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    at = 2
    options: set[bytes] = set()
    while at < len(arguments) and arguments[at].upper() in ADD_OPTIONS:
        options.add(arguments[at].upper())
        at += 1
    yield from _add_pairs(client, arguments[1], arguments[at:], options)


@in_parts
def _add_one(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """ZINCRBY."""
    yield from _add_pairs(client, arguments[1], arguments[2:], {b"INCR"})


def _check(pairs: Sequence[bytes], options: set[bytes]) -> None:
    if len(pairs) % 2 or not pairs:
        raise Wrong(SYNTAX)
    if {b"NX", b"XX"} <= options:
        raise Wrong(NX_XX)
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise Wrong(GT_LT)
    if b"INCR" in options and len(pairs) > 2:
        raise Wrong(ONE_PAIR)


def _add_pairs(
    client: RespClient, key: bytes, pairs: Sequence[bytes], options: set[bytes]
) -> Steps:
    _check(pairs, options)
    scores: list[float] = []
    for texts in some_of(pairs[::2]):
        scores += [double(text) for text in texts]
        yield len(texts)
    found = make(client, key, SortedSet)
    adding = Adding(found, frozenset(options))
    for some in some_of(zip(scores, pairs[1::2], strict=True)):
        for score, member in some:
            adding.put(score, member)
        yield len(some)
    by_one = b"INCR" in options
    if adding.added or adding.updated:
        wrote(client, key, found, "zincr" if by_one else "zadd")
    if adding.faulty:
        raise Wrong(NOT_A_NUMBER)
    if by_one:
        last = adding.last
        client.say(client.null() if last is None else score_reply(last, client.version))
    else:
        client.say(number(adding.added + (adding.updated if b"CH" in options else 0)))


class Adding:
    """The options of a ZADD, and its results so far."""

    __slots__ = ("_found", "_options", "added", "faulty", "last", "updated")

    def __init__(self, found: SortedSet, options: frozenset[bytes]) -> None:
        self._found, self._options = found, options
        self.added = self.updated = 0
        self.last: float | None = None  # what became of the last score; None: nothing
        self.faulty = False  # a score would be no number; nothing is done after that

    def put(self, score: float, member: bytes) -> None:
        """Add one pair."""
        if self.faulty:
            return
        found, options = self._found, self._options
        before = found.scores.get(member)
        self.last = None
        if before is None:
            if b"XX" not in options:
                self.added += found.set(member, score)
                self.last = score
            return
        if b"NX" in options:
            return
        after = before + score if b"INCR" in options else score
        if math.isnan(after):
            self.faulty = True
            return
        if (b"LT" in options and after >= before) or (b"GT" in options and after <= before):
            return
        self.last = after
        if after != before:
            found.set(member, after)
            self.updated += 1


# One member


@in_parts
def _remove(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    key, gone = arguments[1], 0
    found = find(client, key, SortedSet)
    if found is not None:
        for some in some_of(arguments[2:]):
            gone += sum(map(found.remove, some))
            yield len(some)
    if found is not None and gone:
        wrote(client, key, found, "zrem")
    client.say(number(gone))


def _size(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], SortedSet)
    client.say(number(0 if found is None else len(found)))


def _score(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], SortedSet)
    score = None if found is None else found.scores.get(arguments[2])
    client.say(client.null() if score is None else score_reply(score, client.version))


@in_parts
def _scores(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """ZMSCORE."""
    found = see(client, arguments[1], SortedSet)
    known = {} if found is None else found.scores
    null, version = client.null(), client.version

    def written(some: Sequence[bytes]) -> bytes:
        scores = map(known.get, some)
        return b"".join([null if it is None else score_reply(it, version) for it in scores])

    asked = arguments[2:]
    yield from saying(client, b"*%d\r\n" % len(asked), asked, written)


def _rank(*, reverse: bool) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        if len(arguments) > 4:
            raise wrong_count(arguments[0].decode().lower())
        scored = len(arguments) == 4
        if scored and arguments[3].upper() != b"WITHSCORE":
            raise Wrong(SYNTAX)
        member = arguments[2]
        found = see(client, arguments[1], SortedSet)
        rank = None if found is None else found.rank(member)
        if found is None or rank is None:
            client.say(null_array(client.version) if scored else client.null())
            return
        rank = len(found) - 1 - rank if reverse else rank
        score = score_reply(found.scores[member], client.version)
        client.say(array([number(rank), score]) if scored else number(rank))

    return run


# Taking from the ends


def pop_some(
    client: RespClient, key: bytes, found: SortedSet, end: bytes, most: int
) -> Generator[int, None, list[Entry]]:
    """Remove and return up to ``most`` entries from this end."""
    size = len(found)
    most = min(most, size)
    entries = found.ranking.slice(0, most) if end == MIN else found.ranking.slice(size - most, size)
    if end == MAX:
        entries.reverse()
    yield from found.removing(entries)
    if entries:
        wrote(client, key, found, POPPED[end])
    return entries


def _pop(end: bytes) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        if len(arguments) > 3:
            raise Wrong(SYNTAX)
        counted = len(arguments) == 3
        most = count(arguments[2]) if counted else 1
        found = find(client, arguments[1], SortedSet)
        entries: list[Entry] = []
        if found is not None:
            entries = yield from pop_some(client, arguments[1], found, end, most)
        if counted:
            yield from say_entries(client, entries, scored=True)
        else:
            client.say(array(flat(entries, client.version)))

    return in_parts(steps)


def end_of(word: bytes) -> bytes:
    """Parse MIN or MAX. Raises Wrong."""
    end = word.lower()
    if end not in POPPED:
        raise Wrong(SYNTAX)
    return end


def popped(
    client: RespClient, keys: Sequence[bytes], end: bytes, most: int
) -> Generator[int, None, bytes | None]:
    """The reply of ZMPOP; None if all sets are empty. Raises Wrong."""
    key, found = yield from first_of(client, keys, SortedSet)
    if found is None:
        return None
    entries = yield from pop_some(client, key, found, end, most)
    pairs = []
    for some in some_of(entries):
        pairs += [array(flat([entry], client.version)) for entry in some]
        yield len(some)
    return array([bulk(key), array(pairs)])


@in_parts
def _pop_many(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    from logstore.protocols.resp.keys.lists import many_pops

    found = yield from popped(client, *many_pops(arguments, 1, end_of))
    client.say(found or null_array(client.version))


# By chance, and all


@in_parts
def _random(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """ZRANDMEMBER."""
    if len(arguments) == 2:
        found = see(client, arguments[1], SortedSet)
        if found is None:
            client.say(client.null())
        else:
            client.say(bulk(found.ranking.at(CHANCE.randrange(len(found)))[1]))
        return
    asked = within(arguments[2], -LONG_MAX, LONG_MAX)
    scored = len(arguments) == 4 and arguments[3].lower() == b"withscores"
    if len(arguments) > 4 or (len(arguments) == 4 and not scored):
        raise Wrong(SYNTAX)
    if scored and not -LONG_MAX // 2 <= asked <= LONG_MAX // 2:
        raise Wrong("value is out of range")
    found = see(client, arguments[1], SortedSet)
    entries: list[Entry] = []
    if found is not None:
        size = len(found)
        if asked >= size:
            entries = list(found.ranking)
            entries.reverse()  # as Redis goes through it
        else:
            for some in some_of((yield from places(size, asked))):
                entries += map(found.ranking.at, some)
                yield len(some)
    head, written = entries_in_parts(entries, client.version, scored=scored)
    yield from say_drawn(client, head, entries, written)


def _scan(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    def some(found: SortedSet, cursor: int, most: int) -> tuple[int, list[bytes]]:
        if found.order is None:
            return 0, [member for _, member in found.ranking]
        return found.order.scan(cursor, most)

    def shown(found: SortedSet, member: bytes) -> Sequence[bytes]:
        score = found.scores[member]
        return member, double_text(score) if found.order is None else b"%.17g" % score

    return scan(client, arguments, SortedSet, some, shown)


GROUP: Final = "sorted-set"


COMMANDS: Final = (
    writes(GROUP, "zadd", -4, _add, "Adds members, or sets their scores.", "1.2.0", UPDATE,
           oom=True, many=True),
    writes(GROUP, "zincrby", 4, _add_one, "Adds to a member's score.", "1.2.0", CHANGE, oom=True),
    writes(GROUP, "zrem", -3, _remove, "Removes members; how many.", "1.2.0", DELETE, many=True),
    reads(GROUP, "zcard", 2, _size, "How many members there are.", "1.2.0", RO),
    reads(GROUP, "zscore", 3, _score, "A member's score.", "1.2.0", LOOK),
    reads(GROUP, "zmscore", -3, _scores, "Members' scores.", "6.2.0", LOOK, many=True),
    reads(GROUP, "zrank", -3, _rank(reverse=False), "How many members are before one.", "2.0.0",
          LOOK),
    reads(GROUP, "zrevrank", -3, _rank(reverse=True), "How many members are after one.", "2.0.0",
          LOOK),
    writes(GROUP, "zpopmin", -2, _pop(MIN), "Takes the members with the least scores.", "5.0.0",
           POP),
    writes(GROUP, "zpopmax", -2, _pop(MAX), "Takes the members with the greatest scores.", "5.0.0",
           POP),
    writes(GROUP, "zmpop", -4, _pop_many, "Takes members from the first set that is there.",
           "7.0.0", POP, numkeys=1, fast=False),
    reads(GROUP, "zrandmember", -2, _random, "Members by chance.", "6.2.0", LOOK, fast=False,
          tips=("nondeterministic_output",)),
    reads(GROUP, "zscan", -3, _scan, "The members and scores, a part at a time.", "2.8.0", LOOK,
          fast=False, tips=("nondeterministic_output",)),
)  # fmt: skip
