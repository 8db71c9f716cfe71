"""Assigns the partitions of a share group to its members. Pure and deterministic.

Each wanted partition gets at least one member that wants it, and each member gets at least one
partition that it wants. If there are more members than partitions, several members share a
partition.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final

from logstore.broker.coordinator.assignor import Assignment, Place, shared_out

SIMPLE: Final = "simple"  # its name, which is Kafka's


def simple(
    wanted: Mapping[str, frozenset[str]],
    partitions: Mapping[str, int],
    before: Mapping[str, Set[Place]],
) -> Assignment:
    """Share out topics that the same members want evenly among them, with few moves.

    ``wanted``: the topics of each member, by id; ``before``: its earlier assignment. The more
    numerous of partitions and members are shared out among the others, so that none is left out.
    """
    sets: dict[frozenset[str], list[str]] = {}
    for member, topics in wanted.items():
        sets.setdefault(topics, []).append(member)
    members_of = list(sets.values())
    wanting: dict[str, list[int]] = {}  # the sets that a topic is in, by number
    for number, topics in enumerate(sets):
        for topic in topics:
            wanting.setdefault(topic, []).append(number)
    kind = {topic: tuple(wanting[topic]) for topic in wanting.keys() & partitions.keys()}
    alike: dict[tuple[int, ...], list[Place]] = {}
    for topic in sorted(kind):
        places = [(topic, number) for number in range(partitions[topic])]
        alike.setdefault(kind[topic], []).extend(places)
    had: dict[tuple[int, ...], dict[str, set[Place]]] = {}
    for member in wanted.keys() & before.keys():
        for place in before[member]:
            if (numbers := kind.get(place[0])) is not None:
                had.setdefault(numbers, {}).setdefault(member, set()).add(place)
    assignment: Assignment = {member: set() for member in wanted}
    for numbers, places in alike.items():
        # The member with the fewest gets the next one.
        takers = sorted(
            (member for number in numbers for member in members_of[number]),
            key=lambda it: len(assignment[it]),
        )
        for member, place in _shared(takers, places, had.get(numbers, {})):
            assignment[member].add(place)
    return assignment


def _shared(
    members: Sequence[str], places: Sequence[Place], had: Mapping[str, set[Place]]
) -> Iterator[tuple[str, Place]]:
    """Yield members and places, for places that all of these members want."""
    if len(members) <= len(places):
        for member, given in shared_out(members, places, had).items():
            yield from ((member, place) for place in given)
        return
    having: dict[Place, set[str]] = {}
    for member in members:
        for place in had.get(member, ()):
            having.setdefault(place, set()).add(member)
    for place, given_to in shared_out(places, members, having).items():
        yield from ((member, place) for member in given_to)
