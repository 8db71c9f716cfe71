"""ZRANGE and all other commands on ranges of sorted sets: by rank, score or name."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.collection import some_of
from logstore.broker.keys.ranking import Entry
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.keys.collection_rows import (
    DELETE,
    LOOK,
    PAIR,
    STORE,
    reads,
    writes,
)
from logstore.protocols.resp.keys.long_replies import say
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.reach import find, see, store, wrote
from logstore.protocols.resp.keys.rows import in_parts
from logstore.protocols.resp.keys.scores import (
    BY_LEX,
    BY_RANK,
    BY_SCORE,
    Among,
    entries_in_parts,
)
from logstore.protocols.resp.keys.words import (
    SYNTAX,
)
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps


class Asked(NamedTuple):
    """The range that ZRANGE or a related command selects."""

    by: bytes  # RANK, SCORE or LEX
    reverse: bool
    scored: bool = False
    offset: int = 0
    most: int = -1


def _asked(
    words: Sequence[bytes], by: bytes | None, reverse: bool | None, *, stored: bool
) -> Asked:
    """Parse the options. ``by``, ``reverse``: implied by the command's name. Raises Wrong."""
    scored, offset, most, at = False, 0, -1, 0
    while at < len(words):
        word = words[at].upper()
        if word == b"WITHSCORES" and not stored:
            scored = True
        elif word == b"LIMIT" and at + 2 < len(words):
            offset, most = integer_of(words[at + 1]), integer_of(words[at + 2])
            at += 2
        elif word == b"REV" and reverse is None:
            reverse = True
        elif word in (b"BYLEX", b"BYSCORE") and by is None:
            by = BY_LEX if word == b"BYLEX" else BY_SCORE
        else:
            raise Wrong(SYNTAX)
        at += 1
    by = by or BY_RANK
    if most != -1 and by == BY_RANK:
        raise Wrong(
            "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if scored and by == BY_LEX:
        raise Wrong("syntax error, WITHSCORES not supported in combination with BYLEX")
    return Asked(by, bool(reverse), scored, offset, most)


def _chosen(client: RespClient, key: bytes, ends: Sequence[bytes], asked: Asked) -> list[Entry]:
    """The selected entries in order. Raises Wrong."""
    low, high = reversed(ends) if asked.reverse and asked.by != BY_RANK else ends
    among = Among.of(asked.by, low, high)
    found = see(client, key, SortedSet)
    if found is None:
        return []
    start, stop = among.ranks(found)
    size = stop - start
    if asked.by == BY_RANK:
        if asked.reverse:
            start, stop = len(found) - stop, len(found) - start
    else:
        offset = asked.offset if asked.offset >= 0 else size
        count_ = size - offset if asked.most < 0 else min(asked.most, size - offset)
        if count_ <= 0:
            return []
        if asked.reverse:
            start, stop = stop - offset - count_, stop - offset
        else:
            start, stop = start + offset, start + offset + count_
    entries = found.ranking.slice(start, stop)
    if asked.reverse:
        entries.reverse()
    return entries


def _range(by: bytes | None = None, reverse: bool | None = None) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
        asked = _asked(arguments[4:], by, reverse, stored=False)
        entries = _chosen(client, arguments[1], arguments[2:4], asked)
        head, written = entries_in_parts(entries, client.version, scored=asked.scored)
        return say(client, head, entries, written)

    return run


@in_parts
def _store_range(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """ZRANGESTORE."""
    asked = _asked(arguments[5:], None, None, stored=True)
    made = SortedSet()
    for some in some_of(_chosen(client, arguments[2], arguments[3:5], asked)):
        for score, member in some:
            made.set(member, score)
        yield len(some)
    store(client, arguments[1], made, "zrangestore")
    client.say(number(len(made)))


def _count(by: bytes) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        among = Among.of(by, arguments[2], arguments[3])
        found = see(client, arguments[1], SortedSet)
        start, stop = (0, 0) if found is None else among.ranks(found)
        client.say(number(stop - start))

    return run


def _remove_range(by: bytes) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        key = arguments[1]
        among = Among.of(by, arguments[2], arguments[3])
        found = find(client, key, SortedSet)
        entries = [] if found is None else found.ranking.slice(*among.ranks(found))
        if found is not None and entries:
            yield from found.removing(entries)
            wrote(client, key, found, arguments[0].lower().decode())
        client.say(number(len(entries)))

    return in_parts(steps)


GROUP: Final = "sorted-set"


def _ranging(
    name: str, summary: str, since: str, by: bytes | None = None, *, reverse: bool | None = None
) -> Command:
    run = _range(by, reverse)
    return reads(GROUP, name, -4, run, summary, since, LOOK, fast=False)


COMMANDS: Final = (
    _ranging("zrange", "Members in a range of ranks, scores or names.", "1.2.0"),
    _ranging("zrevrange", "Members in a range of ranks, from the end.", "1.2.0", BY_RANK,
             reverse=True),
    _ranging("zrangebyscore", "Members in a range of scores.", "1.0.5", BY_SCORE, reverse=False),
    _ranging("zrevrangebyscore", "The same from the end.", "2.2.0", BY_SCORE, reverse=True),
    _ranging("zrangebylex", "Members in a range of names.", "2.8.9", BY_LEX, reverse=False),
    _ranging("zrevrangebylex", "The same from the end.", "2.8.9", BY_LEX, reverse=True),
    writes(GROUP, "zrangestore", -5, _store_range, "Stores what ZRANGE would say.", "6.2.0",
           STORE, keys=PAIR, fast=False, oom=True),
    reads(GROUP, "zcount", 4, _count(BY_SCORE), "How many members have a score in a range.",
          "2.0.0", LOOK),
    reads(GROUP, "zlexcount", 4, _count(BY_LEX), "How many members have a name in a range.",
          "2.8.9", LOOK),
    writes(GROUP, "zremrangebyrank", 4, _remove_range(BY_RANK),
           "Removes members in a range of ranks.", "2.0.0", DELETE, fast=False),
    writes(GROUP, "zremrangebyscore", 4, _remove_range(BY_SCORE),
           "Removes members with a score in a range.", "1.2.0", DELETE, fast=False),
    writes(GROUP, "zremrangebylex", 4, _remove_range(BY_LEX),
           "Removes members with a name in a range.", "2.8.9", DELETE, fast=False),
)  # fmt: skip
