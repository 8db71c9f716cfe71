"""ZADD, ZSCORE, ZPOPMIN and others about the members of sorted sets."""

import math
from collections.abc import Sequence
from typing import Final

from logstore.broker.keys.numerals import double_text
from logstore.broker.keys.ranking import Entry
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
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
from logstore.protocols.resp.keys.reach import CHANCE, find, make, see, wrote
from logstore.protocols.resp.keys.scores import (
    entries_reply,
    flat,
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


def _add(client: RespClient, arguments: Sequence[bytes]) -> None:
    at = 2
    options: set[bytes] = set()
    while at < len(arguments) and arguments[at].upper() in ADD_OPTIONS:
        options.add(arguments[at].upper())
        at += 1
    _add_pairs(client, arguments[1], arguments[at:], options)


def _add_one(client: RespClient, arguments: Sequence[bytes]) -> None:
    """ZINCRBY."""
    _add_pairs(client, arguments[1], arguments[2:], {b"INCR"})


def _check(pairs: Sequence[bytes], options: set[bytes]) -> None:
    if len(pairs) % 2 or not pairs:
        raise Wrong(SYNTAX)
    if {b"NX", b"XX"} <= options:
        raise Wrong(NX_XX)
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise Wrong(GT_LT)
    if b"INCR" in options and len(pairs) > 2:
        raise Wrong(ONE_PAIR)


def _add_pairs(client: RespClient, key: bytes, pairs: Sequence[bytes], options: set[bytes]) -> None:
    _check(pairs, options)
    scores = [double(text) for text in pairs[::2]]
    found = make(client, key, SortedSet)
    by_one = b"INCR" in options
    added = updated = 0
    last: float | None = None  # what became of the score; None: nothing
    fault: Wrong | None = None
    for score, member in zip(scores, pairs[1::2], strict=True):
        before = found.scores.get(member)
        last = None
        if before is None:
            if b"XX" in options:
                continue
            added += found.set(member, score)
            last = score
            continue
        if b"NX" in options:
            continue
        after = before + score if by_one else score
        if math.isnan(after):
            fault = Wrong(NOT_A_NUMBER)
            break
        if (b"LT" in options and after >= before) or (b"GT" in options and after <= before):
            continue
        last = after
        if after != before:
            found.set(member, after)
            updated += 1
    if added or updated:
        wrote(client, key, found, "zincr" if by_one else "zadd")
    if fault is not None:
        raise fault
    if by_one:
        client.say(client.null() if last is None else score_reply(last, client.version))
    else:
        client.say(number(added + updated if b"CH" in options else added))


# One member


def _remove(client: RespClient, arguments: Sequence[bytes]) -> None:
    key = arguments[1]
    found = find(client, key, SortedSet)
    gone = 0 if found is None else sum(map(found.remove, arguments[2:]))
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


def _scores(client: RespClient, arguments: Sequence[bytes]) -> None:
    """ZMSCORE."""
    found = see(client, arguments[1], SortedSet)
    known = {} if found is None else found.scores
    scores = map(known.get, arguments[2:])
    null = client.null()
    client.say(array([null if it is None else score_reply(it, client.version) for it in scores]))


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
) -> list[Entry]:
    """Take up to so many from this end."""
    size = len(found)
    most = min(most, size)
    entries = found.ranking.slice(0, most) if end == MIN else found.ranking.slice(size - most, size)
    if end == MAX:
        entries.reverse()
    for _, member in entries:
        found.remove(member)
    if entries:
        wrote(client, key, found, POPPED[end])
    return entries


def _pop(end: bytes) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        if len(arguments) > 3:
            raise Wrong(SYNTAX)
        counted = len(arguments) == 3
        most = count(arguments[2]) if counted else 1
        found = find(client, arguments[1], SortedSet)
        entries = [] if found is None else pop_some(client, arguments[1], found, end, most)
        nested = counted and client.version == 3
        client.say(
            entries_reply(entries, client.version, scored=True)
            if nested or client.version == 2
            else array(flat(entries, client.version))
        )

    return run


def end_of(word: bytes) -> bytes:
    """MIN or MAX. Raises Wrong."""
    end = word.lower()
    if end not in POPPED:
        raise Wrong(SYNTAX)
    return end


def popped(client: RespClient, keys: Sequence[bytes], end: bytes, most: int) -> bytes | None:
    """What ZMPOP says, if one of the sets is there. Raises Wrong."""
    for key in keys:
        found = find(client, key, SortedSet)
        if found is not None:
            entries = pop_some(client, key, found, end, most)
            pairs = [array(flat([entry], client.version)) for entry in entries]
            return array([bulk(key), array(pairs)])
    return None


def _pop_many(client: RespClient, arguments: Sequence[bytes]) -> None:
    from logstore.protocols.resp.keys.lists import many_pops

    client.say(popped(client, *many_pops(arguments, 1, end_of)) or null_array(client.version))


# By chance, and all


def _random(client: RespClient, arguments: Sequence[bytes]) -> None:
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
        if asked < 0:
            entries = [found.ranking.at(it) for it in CHANCE.choices(range(size), k=-asked)]
        elif asked >= size:
            entries = list(found.ranking)
            entries.reverse()  # as Redis goes through it
        else:
            entries = [found.ranking.at(it) for it in CHANCE.sample(range(size), asked)]
    client.say(entries_reply(entries, client.version, scored=scored))


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
