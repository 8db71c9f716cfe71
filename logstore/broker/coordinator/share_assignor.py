"""Who of a share group reads which partition. Pure: the same answer for the same question.

Each partition that anyone wants has at least one member that wants it, and each member that wants
any has one of these. Where there are more members than partitions, several have the same one.
"""

from collections.abc import Mapping, Set
from typing import Final

from logstore.broker.coordinator.assignor import Assignment, Place, shared_out

SIMPLE: Final = "simple"  # its name, which is Kafka's


def simple(
    wanted: Mapping[str, Set[str]], partitions: Mapping[str, int], before: Mapping[str, Set[Place]]
) -> Assignment:
    """Topics that the same members want are shared out evenly among these, with few moves.

    ``wanted``: the topics of each member, by id; ``before``: what it had. Of partitions and members
    whichever there is more of is shared out: so nobody of the others is left out.
    """
    wanting: dict[str, list[str]] = {}
    for member, topics in wanted.items():
        for topic in topics:
            wanting.setdefault(topic, []).append(member)
    alike: dict[tuple[str, ...], list[Place]] = {}
    for topic in sorted(wanting.keys() & partitions.keys()):
        places = [(topic, number) for number in range(partitions[topic])]
        alike.setdefault(tuple(wanting[topic]), []).extend(places)
    assignment: Assignment = {member: set() for member in wanted}
    for members, places in alike.items():
        # Who has least yet is the first to get one more.
        takers = sorted(members, key=lambda it: len(assignment[it]))
        if len(takers) <= len(places):
            kept = {member: before.get(member, set()) for member in takers}
            for member, given in shared_out(takers, places, kept).items():
                assignment[member].update(given)
        else:
            having: dict[Place, set[str]] = {place: set() for place in places}
            for member in takers:
                for place in before.get(member, ()):
                    if place in having:
                        having[place].add(member)
            for place, given_to in shared_out(places, takers, having).items():
                for member in given_to:
                    assignment[member].add(place)
    return assignment
