"""Acknowledgements of a member: batches of offsets, each with types. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import Final, NamedTuple

from logstore.errors import Refused


class Type(IntEnum):
    """What happens to a record, with the numbers of ShareFetch and ShareAcknowledge."""

    GAP = 0  # there is no record
    ACCEPT = 1
    RELEASE = 2  # it may be delivered again
    REJECT = 3  # it must not be delivered again
    RENEW = 4  # more time (KIP-1222)


_TYPES: Final = frozenset(map(int, Type))
_BY_NUMBER: Final = tuple(Type)


class Acknowledged(NamedTuple):
    """A batch in a request: ``types`` has one type for all of its offsets, or one for each."""

    first: int
    last: int
    types: Sequence[int]


class Said(NamedTuple):
    """Offsets from ``first`` to before ``upto`` with the same acknowledgement."""

    first: int
    upto: int
    type: Type


_upto = attrgetter("upto")


def said(batches: Sequence[Acknowledged], *, renews: bool = True) -> list[Said]:
    """Return all acknowledgements of a request, ascending; adjacent ones of one type are joined.

    ``renews``: renewals are allowed. The batches must ascend and be disjoint. Raises Refused; then
    none counts.
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
        if not renews and Type.RENEW in it.types:
            raise Refused(
                f"acknowledged offsets {it.first} to {it.last} ask for more time, and the request "
                f"says nothing of that"
            )
        for one in _runs(it):
            if found and found[-1].upto == one.first and found[-1].type is one.type:
                found[-1] = Said(found[-1].first, one.upto, one.type)
            else:
                found.append(one)
        at = it.last
    return found


def _runs(batch: Acknowledged) -> Iterator[Said]:
    types = batch.types
    if len(types) == 1:
        yield Said(batch.first, batch.last + 1, _BY_NUMBER[types[0]])
        return
    begin = 0
    for at in range(1, len(types) + 1):
        if at == len(types) or types[at] != types[begin]:
            yield Said(batch.first + begin, batch.first + at, _BY_NUMBER[types[begin]])
            begin = at


def cut(told: Sequence[Said], start: int, end: int) -> Sequence[Said]:
    """Return the acknowledgements of offsets from ``start`` on. Raises Refused.

    Only offsets below ``end`` were delivered. Those below ``start`` are settled, and
    acknowledgements of them are ignored, as in Kafka.
    """
    if told and told[-1].upto > end:
        raise Refused(
            f"offset {told[-1].upto - 1} was acknowledged, and only those below {end} were given "
            f"out"
        )
    begin = bisect_right(told, start, key=_upto)
    if begin < len(told) and told[begin].first < start:
        return [told[begin]._replace(first=start), *told[begin + 1 :]]
    return told[begin:]
