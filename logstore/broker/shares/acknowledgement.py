"""What a member says of the records that it has: batches of offsets, each with types. Pure."""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import groupby
from typing import Final, NamedTuple

from logstore.errors import Refused


class Type(IntEnum):
    """What becomes of a record, as ShareFetch and ShareAcknowledge number it."""

    GAP = 0  # there is no record
    ACCEPT = 1
    RELEASE = 2  # it may be given to somebody again
    REJECT = 3  # nobody can do anything with it
    RENEW = 4  # more time (KIP-1222)


_TYPES: Final = frozenset(map(int, Type))


class Acknowledged(NamedTuple):
    """A batch of a request: ``types`` has one for all of its offsets, or one for each."""

    first: int
    last: int
    types: Sequence[int]


class Said(NamedTuple):
    """Offsets from ``first`` to before ``upto`` of which the same is said."""

    first: int
    upto: int
    type: Type


def said(batches: Sequence[Acknowledged], start: int, end: int) -> list[Said]:
    """All that a member says of offsets from ``start`` on, ascending. Raises Refused: nothing is.

    Batches ascend and lie apart, and only what lies below ``end`` was given out. Of what lies below
    ``start`` all is done with, whatever is said of it (as Kafka has it).
    """
    found: list[Said] = []
    at = -1
    for it in batches:
        if not at < it.first <= it.last:
            raise Refused(
                f"acknowledged offsets {it.first} to {it.last} do not come after offset {at}"
            )
        if len(it.types) not in (1, it.last - it.first + 1):
            raise Refused(
                f"acknowledged offsets {it.first} to {it.last} have {len(it.types)} types: give "
                f"one, or one for each"
            )
        if not _TYPES.issuperset(it.types):
            raise Refused(
                f"acknowledged offsets {it.first} to {it.last} have a type that is none of 0 to 4"
            )
        if it.last >= end:
            raise Refused(
                f"offset {it.last} was acknowledged, and only those below {end} were given out"
            )
        if it.last >= start:
            found += _runs(it, max(start, it.first))
        at = it.last
    return found


def _runs(batch: Acknowledged, first: int) -> Iterator[Said]:
    if len(batch.types) == 1:
        yield Said(first, batch.last + 1, Type(batch.types[0]))
        return
    for kind, same in groupby(batch.types[first - batch.first :]):
        upto = first + sum(1 for _ in same)
        yield Said(first, upto, Type(kind))
        first = upto
