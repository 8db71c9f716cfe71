"""ZUNION, ZINTER, ZDIFF: combines sorted sets, and also sets."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.collection import parts_of, some_of
from logstore.broker.keys.ranking import Ranking
from logstore.broker.keys.sets import Set
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.collection_rows import LOOK, STORE, reads, writes
from logstore.protocols.resp.keys.look import integer_of, seen
from logstore.protocols.resp.keys.reach import store
from logstore.protocols.resp.keys.rows import (
    LOOKED_AT_ONCE,
    LOOKS_A_UNIT,
    UNITS_A_COMMAND,
    in_parts,
)
from logstore.protocols.resp.keys.scores import say_entries
from logstore.protocols.resp.keys.words import (
    SYNTAX,
    count,
    double,
)
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong, wrong_type
from logstore.slices import Steps

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
    """The sets to combine, and how."""

    sources: list[Scores]
    weights: list[float]
    aggregate: bytes = b"sum"
    scored: bool = False
    most: int = 0  # members that are counted; 0: all


def _sources(client: RespClient, keys: Sequence[bytes]) -> Generator[int, None, list[Scores]]:
    found: list[Scores] = []
    for some in some_of(keys):
        for key in some:
            value = seen(client, key)
            if value is None:
                found.append({})
            elif isinstance(value, SortedSet):
                found.append(value.scores)
            elif isinstance(value, Set):
                found.append((yield from _of_set(value)))
            else:
                raise wrong_type()
        yield len(some)
    return found


def _of_set(value: Set) -> Generator[int, None, Scores]:
    scores: dict[bytes, float] = {}
    for some in parts_of(value.members, LOOKED_AT_ONCE):
        scores.update(dict.fromkeys(some, 1.0))
        yield len(some) // LOOKS_A_UNIT
    return scores


def _asked(
    client: RespClient,
    arguments: Sequence[bytes],
    at: int,
    how: str,
    *,
    stored: bool,
    counted: bool,
) -> Generator[int, None, Asked]:
    """Parse the arguments. ``at``: the position of the number of keys. Raises Wrong."""
    many = integer_of(arguments[at])
    if many < 1:
        name = arguments[0].decode().lower()
        raise Wrong(f"at least 1 input key is needed for '{name}' command")
    if many > len(arguments) - at - 1:
        raise Wrong(SYNTAX)
    sources = yield from _sources(client, arguments[at + 1 : at + 1 + many])
    asked = Asked(sources, [1.0] * many)
    at += 1 + many
    while at < len(arguments):
        word, left = arguments[at].lower(), len(arguments) - at
        if how != DIFF and not counted and word == b"weights" and left >= many + 1:
            weights: list[float] = []
            for texts in some_of(arguments[at + 1 : at + 1 + many]):
                weights += [double(it, NO_WEIGHT) for it in texts]
                yield len(texts)
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


def _combined(asked: Asked, how: str) -> Generator[int, None, Scores]:
    """Combine the sets as Redis does, from the smallest: the order of floating-point sums
    matters.
    """
    if how == DIFF:
        return (yield from _difference(asked.sources))
    return (yield from _aggregated(asked, how))


def _difference(sources: Sequence[Scores]) -> Generator[int, None, Scores]:
    found, *others = sources
    for other in others:
        left: dict[bytes, float] = {}
        for some in parts_of(found.items(), LOOKED_AT_ONCE):
            left.update([it for it in some if it[0] not in other])
            yield UNITS_A_COMMAND + len(some) // LOOKS_A_UNIT
        found = left
    return found


def _aggregated(asked: Asked, how: str) -> Generator[int, None, Scores]:
    aggregate = AGGREGATES[asked.aggregate]
    sources, weights = asked.sources, asked.weights
    sizes = list(map(len, sources))
    found: dict[bytes, float] = {}
    for number_, at in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        source, weight = sources[at], weights[at]
        if how == INTER and number_:
            left: dict[bytes, float] = {}
            for both in some_of(found.items()):
                for member, score in both:
                    if member in source:
                        left[member] = aggregate(score, _weighted(source[member], weight))
                yield UNITS_A_COMMAND + len(both)
            found = left
            continue
        for some in some_of(source.items()):
            for member, score in some:
                value = _weighted(score, weight)
                before = found.get(member)
                found[member] = value if before is None else aggregate(before, value)
            yield UNITS_A_COMMAND + len(some)
    return found


def _said(how: str) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        asked = yield from _asked(client, arguments, 1, how, stored=False, counted=False)
        ranking = Ranking()
        for some in some_of((yield from _combined(asked, how)).items()):
            for member, score in some:
                ranking.add((score, member))
            yield len(some)
        yield from say_entries(client, list(ranking), scored=asked.scored)

    return in_parts(steps)


def _stored(how: str) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        asked = yield from _asked(client, arguments, 2, how, stored=True, counted=False)
        made = SortedSet()
        for some in some_of((yield from _combined(asked, how)).items()):
            for member, score in some:
                made.set(member, score)
            yield len(some)
        store(client, arguments[1], made, arguments[0].lower().decode())
        client.say(number(len(made)))

    return in_parts(steps)


@in_parts
def _common(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """ZINTERCARD."""
    asked = yield from _asked(client, arguments, 1, INTER, stored=False, counted=True)
    found = yield from _aggregated(asked, INTER)
    client.say(number(min(len(found), asked.most) if asked.most else len(found)))


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
