"""Distributes messages among a queue's consumers: in turn, as far as each has room. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Ranked(Protocol):
    """A consumer as its place in the order sees it."""

    @property
    def priority(self) -> int:
        """The consumer's priority; higher ones are served first."""

    @property
    def channel(self) -> object: ...


Consumer = TypeVar("Consumer", bound=Ranked)


class Turns(Generic[Consumer]):
    """The order of serving a queue's consumers: the latest to receive a message comes last.

    A new consumer comes last, too. A consumer without room is skipped, and moves behind the others
    with the next message after it has room again (in RabbitMQ, immediately; the difference shows
    only if others join or get room meanwhile).
    """

    __slots__ = ("_passed", "order")

    def __init__(self, consumers: Iterable[Consumer] = (), *, passed: bool = False) -> None:
        """``passed``: messages wait, so all of these consumers were passed over."""
        self.order = list(consumers)  # by priority, and the next one first
        self._passed = list(self.order) if passed else []

    def add(self, consumer: Consumer) -> None:
        """Add a consumer, behind all of its priority."""
        place = sum(1 for it in self.order if it.priority >= consumer.priority)
        self.order.insert(place, consumer)

    def remove(self, consumer: Consumer) -> None:
        self.order.remove(consumer)
        if consumer in self._passed:
            self._passed.remove(consumer)

    def next(self, rooms: Sequence[tuple[Consumer, int]]) -> list[tuple[Consumer, int]]:
        """Return the consumers with room, given in ``order``, in the order of serving."""
        if not self._passed:
            return list(rooms)
        room_of = dict(rooms)
        again = [it for it in self._passed if it in room_of]
        for it in again:
            self._last(it)
            self._passed.remove(it)
        return [(it, room_of[it]) for it in self.order if it in room_of]

    def served(self, rooms: Sequence[tuple[Consumer, int]], hands: Sequence[list[int]]) -> None:
        """Note that the consumers from ``next`` were dealt these hands."""
        had = {it: hand for (it, _), hand in zip(rooms, hands, strict=True) if hand}
        priority = max(had, key=lambda it: had[it][0]).priority
        turns = [it for it in self.order if it.priority == priority]
        counts = [len(had.get(it, ())) for it in turns]
        # A consumer that was served in one round has a turn in the next: was any served after it?
        most, most_behind, passed = max(counts), 0, []
        for place in range(len(turns) - 1, -1, -1):
            count = counts[place]
            if most_behind > count or most > count + 1:
                passed.append((count, place))
            elif count > most_behind:
                most_behind = count
        for _, place in sorted(passed):
            self._pass(turns[place])
        for it in sorted(had, key=lambda it: had[it][-1]):
            self._last(it)

    def none_has_room(self) -> None:
        """Note that messages wait, and that no consumer can take them."""
        for it in self.order:
            self._pass(it)

    def _pass(self, consumer: Consumer) -> None:
        if consumer not in self._passed:
            self._passed.append(consumer)

    def _last(self, consumer: Consumer) -> None:
        self.order.remove(consumer)
        self.add(consumer)


def deal(count: int, rooms: Sequence[int]) -> list[list[int]]:
    """Deal the numbers 0 to ``count - 1`` in turn to as many hands as there are rooms.

    A full hand is passed over; the rooms are large enough for all numbers.
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


def in_order(
    consumers: Sequence[Consumer], hands: Sequence[list[int]]
) -> Iterator[tuple[Consumer, list[int]]]:
    """Yield each consumer with its numbers, so that each channel gets its messages in
    order (4.7).
    """
    by_channel: dict[object, list[int]] = {}
    for place, consumer in enumerate(consumers):
        if hands[place]:
            by_channel.setdefault(consumer.channel, []).append(place)
    for places in by_channel.values():
        if len(places) == 1:
            yield consumers[places[0]], hands[places[0]]
            continue
        whose = {n: consumers[place] for place in places for n in hands[place]}
        for n in sorted(whose):
            yield whose[n], [n]


def shared(total: int, rooms: Sequence[int]) -> list[int]:
    """Share a total room evenly among consumers, each up to its own room."""
    given = [0] * len(rooms)
    waiting = [n for n, room in enumerate(rooms) if room > 0]
    while total > 0 and waiting:
        each = min(total // len(waiting), min(rooms[n] - given[n] for n in waiting))
        if not each:
            waiting, each = waiting[:total], 1
        for n in waiting:
            given[n] += each
        total -= each * len(waiting)
        waiting = [n for n in waiting if given[n] < rooms[n]]
    return given


def strides(offsets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return ascending offsets as runs: the first offset, the count, and the distance."""
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
