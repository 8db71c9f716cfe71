"""Who of a queue's consumers gets which messages: each in turn, as far as it has room. Pure."""

from collections.abc import Sequence


def deal(count: int, rooms: Sequence[int]) -> list[list[int]]:
    """The numbers 0 to ``count - 1``, dealt in turn to as many hands as there are rooms.

    A hand that is full is passed over; there is room for all of them.
    """
    hands: list[list[int]] = [[] for _ in rooms]
    waiting = [n for n, room in enumerate(rooms) if room > 0]
    dealt = 0
    while dealt < count:
        most = min(rooms[n] - len(hands[n]) for n in waiting)
        rounds = min(most, -(-(count - dealt) // len(waiting)))
        upto = min(count, dealt + rounds * len(waiting))
        for place, n in enumerate(waiting):
            hands[n] += range(dealt + place, upto, len(waiting))
        dealt = upto
        waiting = [n for n in waiting if len(hands[n]) < rooms[n]]
    return hands


def strides(offsets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Ascending offsets as runs: the first, how many, how far apart."""
    found: list[tuple[int, int, int]] = []
    at, total = 0, len(offsets)
    while at < total:
        if at + 1 == total:
            found.append((offsets[at], 1, 1))
            break
        stride = offsets[at + 1] - offsets[at]
        if stride <= 0:
            found.append((offsets[at], 1, 1))
            at += 1
            continue
        end = at + 2
        while end < total and offsets[end] - offsets[end - 1] == stride:
            end += 1
        found.append((offsets[at], end - at, stride))
        at = end
    return found
