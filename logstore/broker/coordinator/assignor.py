"""Assigns the partitions of a group to its members: pure, deterministic functions.

A partition is (topic id, number). ``Wants`` says which partitions a member may be given. Both
assignors give each wanted partition to exactly one member that wants it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

Place = tuple[str, int]  # topic id, partition
Assignment = dict[str, set[Place]]  # by member

_T = TypeVar("_T", bound=Hashable)
_G = TypeVar("_G", bound=Hashable)


class Wants(NamedTuple):
    """The partitions that a member may be given: those of these topics, by id."""

    topics: frozenset[str]
    only: frozenset[int] | None = None  # of each topic, these; None: all

    def takes(self, place: Place) -> bool:
        return place[0] in self.topics and (self.only is None or place[1] in self.only)


Assignor = Callable[
    [Mapping[str, Wants], Mapping[str, int], Mapping[str, "set[Place]"]], Assignment
]


def by_range(
    members: Mapping[str, Wants],
    partitions: Mapping[str, int],
    before: Mapping[str, set[Place]],
) -> Assignment:
    """Assign each member a run of partitions of each topic, in the order of ``members``.

    If a topic does not divide evenly, the first members get one more. In topics with the same
    number of partitions and the same members, partitions with one number go to one member, so that
    a join of two topics is local.
    """
    assignment: Assignment = {member: set() for member in members}
    for topic, count in sorted(partitions.items()):
        for takers, numbers in _alike(members, topic, count):
            size, rest = divmod(len(numbers), len(takers))
            at = 0
            for turn, member in enumerate(takers):
                upto = at + size + (turn < rest)
                assignment[member].update((topic, number) for number in numbers[at:upto])
                at = upto
    return assignment


def _alike(
    members: Mapping[str, Wants], topic: str, count: int
) -> list[tuple[list[str], list[int]]]:
    """Return the topic's partitions grouped by the members that want them."""
    wanting = {name: wants for name, wants in members.items() if topic in wants.topics}
    if all(wants.only is None for wants in wanting.values()):
        return [(list(wanting), list(range(count)))] if wanting else []
    found: dict[tuple[str, ...], list[int]] = {}
    for number in range(count):
        takers = tuple(name for name, wants in wanting.items() if wants.takes((topic, number)))
        if takers:
            found.setdefault(takers, []).append(number)
    return [(list(takers), numbers) for takers, numbers in found.items()]


def uniform(
    members: Mapping[str, Wants],
    partitions: Mapping[str, int],
    before: Mapping[str, set[Place]],
) -> Assignment:
    """Assign partitions as evenly as possible, and move as few as possible from ``before``."""
    if not members:
        return {}
    if len(set(members.values())) == 1:
        return _uniform_alike(members, partitions, before)
    return _uniform_general(members, partitions, before)


def _uniform_alike(
    members: Mapping[str, Wants],
    partitions: Mapping[str, int],
    before: Mapping[str, set[Place]],
) -> Assignment:
    wants = next(iter(members.values()))
    shares = shared_out(list(members), _all(wants, partitions), before)
    return {member: set(shares[member]) for member in members}


def shared_out(
    takers: Sequence[_T], goods: Sequence[_G], before: Mapping[_T, Set[_G]]
) -> dict[_T, list[_G]]:
    """Assign each of the goods to one taker; a taker keeps up to its quota of what it had.

    If several had one of the goods, one of them keeps it. If the goods do not divide evenly, takers
    that had more get one more, then the first ones.
    """
    free = {it: nth for nth, it in enumerate(goods)}
    quota, rest = divmod(len(free), len(takers))
    shares: dict[_T, list[_G]] = {}
    # Members that had most may have one more than the quota: that moves the fewest.
    for taker in sorted(takers, key=lambda it: -len(before.get(it, ()))):
        kept = sorted((it for it in before.get(taker, ()) if it in free), key=free.__getitem__)
        limit = quota + (rest > 0 and len(kept) > quota)
        rest -= limit > quota
        shares[taker] = kept[:limit]
        for it in kept[:limit]:
            del free[it]
    left = iter(free)
    for taker in takers:
        missing = quota - len(shares[taker])
        shares[taker] += [next(left) for _ in range(missing)]
    for taker in takers:
        if rest and len(shares[taker]) == quota:
            shares[taker].append(next(left))
            rest -= 1
    return shares


def _all(wants: Wants, partitions: Mapping[str, int]) -> list[Place]:
    return [
        (topic, number)
        for topic, count in sorted(partitions.items())
        if topic in wants.topics
        for number in range(count)
        if wants.only is None or number in wants.only
    ]


def _uniform_general(
    members: Mapping[str, Wants],
    partitions: Mapping[str, int],
    before: Mapping[str, set[Place]],
) -> Assignment:
    """Assign partitions to members with different subscriptions.

    Members keep theirs, a free partition goes to the member with the fewest, then the shares are
    evened out.
    """
    places = [(topic, number) for topic, count in partitions.items() for number in range(count)]
    takers = {
        place: names
        for place in sorted(places)
        if (names := [name for name, wants in members.items() if wants.takes(place)])
    }
    assignment: Assignment = {member: set() for member in members}
    owner: dict[Place, str] = {}
    for member in members:
        for place in sorted(before.get(member, ())):
            if place not in owner and place in takers and members[member].takes(place):
                owner[place] = member
                assignment[member].add(place)
    # Partitions with few possible takers first: the others can still even out the shares.
    for place in sorted(takers.keys() - owner.keys(), key=lambda it: (len(takers[it]), it)):
        owner[place] = min(takers[place], key=lambda name: len(assignment[name]))
        assignment[owner[place]].add(place)
    _even_out(assignment, takers, owner)
    return assignment


def _even_out(
    assignment: Assignment, takers: Mapping[Place, Sequence[str]], owner: dict[Place, str]
) -> None:
    """Move partitions to members that have at least two fewer, as long as there are any.

    It ends: each move makes the sum of the squares of all sizes smaller.
    """
    moved = True
    while moved:
        moved = False
        for place, names in takers.items():
            giver = owner[place]
            taker = min(names, key=lambda name: len(assignment[name]))
            if len(assignment[giver]) >= len(assignment[taker]) + 2:
                assignment[giver].remove(place)
                assignment[taker].add(place)
                owner[place] = taker
                moved = True


ASSIGNORS: dict[str, Assignor] = {"uniform": uniform, "range": by_range}
