"""Assigns partitions to the nodes of a group whose members decide themselves. Pure.

The assignment is even and sticky: the numbers of partitions of two nodes differ by at most one, and
no more partitions move than that requires. A partition moves in two steps, because its old owner
gives it up first: it is assigned to no one (``given``) while the old owner still holds it, and
afterwards the nodes join again.
"""

from collections.abc import Mapping, Set
from typing import NamedTuple


class Holding(NamedTuple):
    """The partitions that a member says it holds."""

    partitions: Set[int]
    generation: int  # of the group in which it was told so


def holders(members: Mapping[str, Holding], partitions: int) -> dict[int, str]:
    """The holder of each partition: if several claim it, the one with the latest assignment."""
    found: dict[int, str] = {}
    for name in sorted(members, key=lambda it: (members[it].generation, it)):
        for number in members[name].partitions:
            if 0 <= number < partitions:
                found[number] = name
    return found


def assign(members: Mapping[str, Holding], partitions: int) -> dict[str, set[int]]:
    """The final owner of each partition."""
    target: dict[str, set[int]] = {name: set() for name in members}
    if not target:
        return target
    held: dict[str, list[int]] = {name: [] for name in members}
    for number, name in sorted(holders(members, partitions).items()):
        held[name].append(number)
    least, more = divmod(partitions, len(target))
    rest = set(range(partitions))
    # Those that have most are the ones that may have one more.
    order = sorted(held, key=lambda it: (-len(held[it]), it))
    for place, name in enumerate(order):
        target[name].update(held[name][: least + (place < more)])
        rest -= target[name]
    for place, name in enumerate(order):
        for _ in range(least + (place < more) - len(target[name])):
            number = min(rest)
            rest.remove(number)
            target[name].add(number)
    assert not rest
    return target


def given(members: Mapping[str, Holding], partitions: int) -> dict[str, set[int]]:
    """The present assignment of each member: its final partitions, except those that another still
    holds.
    """
    holder = holders(members, partitions)
    return {
        name: {it for it in numbers if holder.get(it, name) == name}
        for name, numbers in assign(members, partitions).items()
    }
