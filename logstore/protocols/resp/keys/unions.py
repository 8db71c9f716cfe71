"""ZUNION, ZINTER, ZDIFF: sorted sets made of several, sets among them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.sets import Set
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.collection_rows import LOOK, STORE, reads, writes
from logstore.protocols.resp.keys.look import integer_of, seen
from logstore.protocols.resp.keys.reach import store
from logstore.protocols.resp.keys.scores import entries_reply
from logstore.protocols.resp.keys.words import (
    SYNTAX,
    count,
    double,
)
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong, wrong_type

UNION, INTER, DIFF = "union", "inter", "diff"
NO_WEIGHT: Final = "weight value is not a float"
NO_LIMIT: Final = "LIMIT can't be negative"
Scores = Mapping[bytes, float]


def _sum(one: float, other: float) -> float:
    both = one + other
    return 0.0 if math.isnan(both) else both  # of infinities with different signs


AGGREGATES: Final[dict[bytes, Callable[[float, float], float]]] = {
    b"sum": _sum,
    b"min": min,
    b"max": max,
}


class Asked(NamedTuple):
    """What is to be combined, and how."""

    sources: list[Scores]
    weights: list[float]
    aggregate: bytes = b"sum"
    scored: bool = False
    most: int = 0  # members that are counted; 0: all


def _sources(client: RespClient, keys: Sequence[bytes]) -> list[Scores]:
    found: list[Scores] = []
    for key in keys:
        value = seen(client, key)
        if value is None:
            found.append({})
        elif isinstance(value, SortedSet):
            found.append(value.scores)
        elif isinstance(value, Set):
            found.append(dict.fromkeys(value.members, 1.0))
        else:
            raise wrong_type()
    return found


def _asked(
    client: RespClient,
    arguments: Sequence[bytes],
    at: int,
    how: str,
    *,
    stored: bool,
    counted: bool,
) -> Asked:
    """``at``: where the number of keys stands. Raises Wrong."""
    many = integer_of(arguments[at])
    if many < 1:
        name = arguments[0].decode().lower()
        raise Wrong(f"at least 1 input key is needed for '{name}' command")
    if many > len(arguments) - at - 1:
        raise Wrong(SYNTAX)
    asked = Asked(_sources(client, arguments[at + 1 : at + 1 + many]), [1.0] * many)
    at += 1 + many
    while at < len(arguments):
        word, left = arguments[at].lower(), len(arguments) - at
        if how != DIFF and not counted and word == b"weights" and left >= many + 1:
            weights = [double(it, NO_WEIGHT) for it in arguments[at + 1 : at + 1 + many]]
            asked, at = asked._replace(weights=weights), at + 1 + many
        elif how != DIFF and not counted and word == b"aggregate" and left >= 2:
            aggregate = arguments[at + 1].lower()
            if aggregate not in AGGREGATES:
                raise Wrong(SYNTAX)
            asked, at = asked._replace(aggregate=aggregate), at + 2
        elif not stored and not counted and word == b"withscores":
            asked, at = asked._replace(scored=True), at + 1
        elif counted and word == b"limit" and left >= 2:
            asked, at = asked._replace(most=count(arguments[at + 1], NO_LIMIT)), at + 2
        else:
            raise Wrong(SYNTAX)
    return asked


def _weighted(score: float, weight: float) -> float:
    value = score * weight
    return 0.0 if math.isnan(value) else value


def _combined(asked: Asked, how: str) -> dict[bytes, float]:
    """As Redis does it: from the smallest to the largest, since the order of sums counts."""
    if how == DIFF:
        first, *others = asked.sources
        return {
            member: score
            for member, score in first.items()
            if not any(member in other for other in others)
        }
    aggregate = AGGREGATES[asked.aggregate]
    sources = sorted(zip(asked.sources, asked.weights, strict=True), key=lambda it: len(it[0]))
    found: dict[bytes, float] = {}
    for at, (source, weight) in enumerate(sources):
        if how == INTER and at:
            found = {
                member: aggregate(score, _weighted(source[member], weight))
                for member, score in found.items()
                if member in source
            }
            continue
        for member, score in source.items():
            value = _weighted(score, weight)
            before = found.get(member)
            found[member] = value if before is None else aggregate(before, value)
    return found


def _said(how: str) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        asked = _asked(client, arguments, 1, how, stored=False, counted=False)
        entries = sorted((score, member) for member, score in _combined(asked, how).items())
        client.say(entries_reply(entries, client.version, scored=asked.scored))

    return run


def _stored(how: str) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        made = SortedSet()
        asked = _asked(client, arguments, 2, how, stored=True, counted=False)
        for member, score in _combined(asked, how).items():
            made.set(member, score)
        store(client, arguments[1], made, arguments[0].lower().decode())
        client.say(number(len(made)))

    return run


def _common(client: RespClient, arguments: Sequence[bytes]) -> None:
    """ZINTERCARD."""
    asked = _asked(client, arguments, 1, INTER, stored=False, counted=True)
    first, *others = sorted(asked.sources, key=len)
    size = sum(all(member in other for other in others) for member in first)
    client.say(number(min(size, asked.most) if asked.most else size))


GROUP: Final = "sorted-set"

COMMANDS: Final = (
    reads(GROUP, "zunion", -3, _said(UNION), "Members of any of these sets.", "6.2.0", LOOK,
          numkeys=1, fast=False, many=True),
    reads(GROUP, "zinter", -3, _said(INTER), "Members of all these sets.", "6.2.0", LOOK,
          numkeys=1, fast=False, many=True),
    reads(GROUP, "zdiff", -3, _said(DIFF), "Members of the first set alone.", "6.2.0", LOOK,
          numkeys=1, fast=False, many=True),
    writes(GROUP, "zunionstore", -4, _stored(UNION), "Stores what ZUNION would say.", "2.0.0",
           STORE, numkeys=2, fast=False, oom=True, many=True),
    writes(GROUP, "zinterstore", -4, _stored(INTER), "Stores what ZINTER would say.", "2.0.0",
           STORE, numkeys=2, fast=False, oom=True, many=True),
    writes(GROUP, "zdiffstore", -4, _stored(DIFF), "Stores what ZDIFF would say.", "6.2.0", STORE,
           numkeys=2, fast=False, oom=True, many=True),
    reads(GROUP, "zintercard", -3, _common, "How many members all these sets have in common.",
          "7.0.0", LOOK, numkeys=1, fast=False, many=True),
)  # fmt: skip
