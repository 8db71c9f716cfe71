"""The receivers of one channel's messages, worked out in advance, and the hand-over to them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from logstore.broker.history import History, Kept
from logstore.broker.listeners import Chunk, Form, Match, Opening, Receiver, Subscriber


@dataclass(eq=False, slots=True)
class View:
    """The subscribers that receive a route's messages in the same form and for the same reasons."""

    route: "Route"
    form: Form
    openings: list[Opening]
    members: tuple[Receiver, ...]
    _places: dict[Receiver, int] | None = None  # in ``members``; made when it is asked for

    def places(self) -> dict[Receiver, int]:
        if self._places is None:
            self._places = {member: place for place, member in enumerate(self.members)}
        return self._places

    def chunk(self, payloads: Sequence[bytes]) -> Chunk:
        return self.form.chunk(self.openings, payloads)


@dataclass(eq=False, slots=True)
class Tally:
    """The number of messages published to one channel, and of those with receivers, while
    remembered.
    """

    messages: int = 0


@dataclass(eq=False, slots=True)
class Route:
    """The receivers of one channel's messages, valid until a subscriber comes or goes."""

    receivers: int = 0  # a subscriber by name and by pattern counts twice
    views: list[View] = field(default_factory=list)
    history: History | None = None
    tally: Tally = field(default_factory=Tally)
    beside: "Route | None" = None  # receivers that bypass the channel's history
    acked: "Route | None" = None  # receivers of QoS 1 and 2; None: the same
    beyond: Any = None  # as Others.beyond


NOBODY: Final = Route()


def route_of(
    matches: dict[Subscriber, tuple[Match, ...]],
    beside: Iterable[tuple[Form, Receiver]] = (),
    match: Match | None = None,
) -> Route:
    """Return a route. ``beside``: receivers that get messages in these forms, for ``match``."""
    alike: dict[tuple[Form, tuple[Match, ...]], list[Receiver]] = {}
    for subscriber, why in matches.items():
        alike.setdefault((subscriber.form, why), []).append(subscriber)
    if match is not None:
        for form, members in _alike(beside).items():
            alike[form, (match,)] = members
    route = Route(sum(len(why) * len(members) for (_, why), members in alike.items()))
    for (form, why), members in alike.items():
        openings = [form.opening(it) for it in why]
        route.views.append(View(route, form, openings, tuple(members)))
    return route


def _alike(beside: Iterable[tuple[Form, Receiver]]) -> dict[Form, list[Receiver]]:
    found: dict[Form, list[Receiver]] = {}
    for form, receiver in beside:
        found.setdefault(form, []).append(receiver)
    return found


def route_beside(
    channel: bytes,
    matches: dict[Subscriber, tuple[Match, ...]],
    history: History | None,
    beside: Sequence[tuple[Form, Receiver]],
) -> Route:
    """Return a route with receivers beside it. If there is a history, they get only new
    messages.
    """
    match = Match(channel)
    if history is None:
        return route_of(matches, beside, match)
    route = route_of(matches)
    route.history = history
    if beside:
        route.beside = route_of({}, beside, match)
        route.receivers += route.beside.receivers
    return route


def merged(
    views: Sequence[View], places: dict[Route, list[int]], payloads: Sequence[bytes]
) -> Chunk:
    """The messages of several routes in the order in which they were published."""
    if len(views) == 1:
        return views[0].chunk([payloads[place] for place in places[views[0].route]])
    in_order = sorted(
        ((place, number) for number, view in enumerate(views) for place in places[view.route])
    )
    chunks = [
        views[number].chunk([payloads[place] for place, _ in run])
        for number, run in groupby(in_order, itemgetter(1))
    ]
    return views[0].form.join(chunks)


class HandOut:
    """A chunk that is handed to many subscribers, in order, some of them in each turn."""

    __slots__ = ("_at", "_chunk", "_early", "_kept", "_members", "_places")

    def __init__(
        self,
        chunk: Chunk,
        members: Sequence[Receiver],
        places: Callable[[], dict[Receiver, int]],
        kept: Kept | None = None,
    ) -> None:
        """``places()``: returns each member's place; called only if a member cannot wait."""
        self._chunk, self._kept = chunk, kept
        self._members, self._places = members, places
        self._at = 0
        self._early: set[Receiver] = set()

    def some(self, most: int) -> int:
        """Hand the chunk to ``most`` more members; return how many are left."""
        end = min(self._at + most, len(self._members))
        for member in self._members[self._at : end]:
            if member not in self._early:
                self._hand(member)
        most -= end - self._at
        self._at = end
        return most

    @property
    def over(self) -> bool:
        return self._at == len(self._members)

    def now(self, member: Receiver) -> None:
        """Hand the chunk to this member before its turn, if it is one and has not got it."""
        place = self._places().get(member, -1)
        if place >= self._at and member not in self._early:
            self._early.add(member)
            self._hand(member)

    def _hand(self, member: Receiver) -> None:
        if self._kept is None:
            member.deliver(self._chunk)
        else:
            member.deliver_kept(self._chunk, self._kept)
