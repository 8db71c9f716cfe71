"""Channels: the current subscribers receive each published message, and nothing is kept.

Messages are gathered for a turn and then handed out: each subscriber gets one chunk, and
subscribers with the same messages share a chunk. So the cost depends on turns and distinct chunks,
not on messages times subscribers. The turn ends before a subscriber comes or goes: no subscriber
gets a message from before it came, or misses one from before it left.

Knows no wire: a subscriber's ``Form`` makes the chunks.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from logstore.broker.channel_route import (
    NOBODY,
    HandOut,
    Route,
    Tally,
    View,
    merged,
    route_beside,
    route_of,
)
from logstore.broker.history import EVENTS, CatchUp, Histories, History, Kept
from logstore.broker.listeners import Beside, Match, Others, Receiver, Subscriber
from logstore.broker.roster import Roster
from logstore.broker.topics import Topics
from logstore.broker.unsafe import Unsafe
from logstore.errors import Closed, Forked, LogstoreError
from logstore.patterns import Pattern, PatternIndex
from logstore.settings import ChannelRule

TURN_BYTES_MAX: Final = 4 << 20  # what waits to be handed out, when many publish at once
FEW: Final = 8  # receivers: they are served faster than the loop turns
ALONE_TURNS: Final = 16  # before it is looked again whether others publish, too
FEW_NAMES: Final = 1000  # of a subscriber: of more it costs less to forget all routes
SENDS_AT_ONCE: Final = 1000  # in a turn, at some 6 us each; the other receivers wait for the next
TOGETHER_MAX: Final = 10_000  # receivers of a turn's channels, searched for shared ones
ROUTES_MAX: Final = 16_384  # remembered; names that are published to may be without number
ROUTE_RECEIVERS_MAX: Final = 1 << 20  # of all routes together: 8 MB, if each has thousands
SEARCHES_MAX: Final = 3  # for one message; what comes all the while is asked at once then
TALLIES_MAX: Final = 16_384  # likewise; beyond, all begin anew

_log = logging.getLogger("logstore.channels")

Soon = Callable[[Callable[[], object]], object]  # as Turn.soon
Needed = tuple[bytes, bool]  # a channel, and whether its history is made if there is none


class Channels:
    """All channels of a process: subscribed to by name or by pattern.

    Channels *apart* have a separate space of names; no pattern matches them, and they keep no
    history (Redis's sharded channels).

    Calls are made one at a time: if there are several threads, the caller holds ``lock``.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.names = Roster()
        self.patterns = Roster()
        self.apart = Roster()
        self.tallies: dict[bytes, Tally] = {}  # by channel, for channels with subscribers
        self.given_out = 0  # messages, once for each that got them
        self._closed: Closed | None = None  # the error for publishers
        self._histories: Histories | None = None
        self._soon: Soon | None = None  # None: a turn ends at once
        self._index = PatternIndex()
        self._compiled: dict[bytes, Pattern] = {}
        self._routes: dict[bytes, Route] = {}
        self._route_receivers = 0  # of all that were remembered since none were
        self._beside: Beside | None = None
        # Channels of routes, by what stands before the first slash; while there is anyone beside.
        self._levels: dict[bytes, dict[bytes, None]] = {}
        self._in_levels = 0
        self.came: Callable[[], object] | None = None  # called before the first subscriber comes
        # Called with messages that are published here, except those that it has itself passed on.
        self.onward: Callable[[bytes, Sequence[bytes]], object] | None = None
        # Likewise, for other nodes; of channels apart, too.
        self.abroad: Callable[[bytes, Sequence[bytes]], object] | None = None
        self.abroad_apart: Callable[[bytes, Sequence[bytes]], object] | None = None
        self._routes_apart: dict[bytes, Route] = {}
        self._turn: list[Route] = []
        self._payloads: list[bytes] = []
        self._turn_bytes = 0
        self._publishers = 0  # that have published in this turn
        self._alone = 0  # turns for which one publisher is taken to be the only one
        self._woken: deque[History] = deque()
        self._under_way: deque[HandOut] = deque()
        self._sends_left = SENDS_AT_ONCE  # in this turn
        # Called when nothing is under way; once, however often that was asked for.
        self._after: dict[Callable[[], object], None] = {}
        self._notify: frozenset[str] = frozenset()  # kinds of events that are told
        self._told: deque[tuple[bytes, bytes]] = deque()
        self._patterns_changed = 0  # times

    def forked(self, error: Forked) -> None:
        """As Forkable.forked."""
        self.lock = threading.RLock()
        self._closed, self._soon = error, None

    def keep(
        self, rules: Sequence[ChannelRule], topics: Topics, catch_up: CatchUp | None = None
    ) -> None:
        """Let channels that match the rules keep a history in these topics, from now on.

        ``catch_up``: fetches all that a log has now, if other processes append to it.
        """
        self.flush()
        self.forget_routes()
        self._histories = Histories(rules, topics, self.wake, catch_up)
        self._histories.look()

    def keeps_history(self, name: str) -> bool:
        """Whether the topic of this name is, or would be, a channel's history. Needs no lock."""
        return self._histories is not None and self._histories.is_kept(name)

    def history(self, name: bytes) -> History | None:
        """The existing history of a channel."""
        return None if self._histories is None else self._histories.find(name)

    def attach(self, soon: Soon, notify: Collection[str] = ()) -> None:
        """Serve subscribers in a thread of their own from now on, at the end of its turn.

        ``soon(call)``: schedules a call in that thread at that time. ``notify``: the kinds of
        events to publish.
        """
        self._soon, self._notify = soon, frozenset(notify)

    def detach(self) -> None:
        """Serve subscribers at once again, without a thread of their own; events are
        not published.
        """
        with self.lock:
            self._soon, self._notify = None, frozenset()
            self._hand_out_some()

    def close(self) -> None:
        """Stop reading histories, and refuse publishers of this process."""
        self._closed = Closed("the store of this channel is closed")
        if self._histories is not None:
            self._histories.close()

    def check_open(self) -> None:
        """Check that the process is not closing. Raises Closed."""
        if self._closed is not None:
            raise self._closed

    @property
    def keeps(self) -> bool:
        """Whether there may be channels with a history."""
        return self._histories is not None

    def unopened(self, needed: Iterable[Needed]) -> list[Needed]:
        """The histories that ``open_histories`` must open before these channels are used."""
        histories = self._histories
        if histories is None:
            return []
        return [
            (name, make)
            for name, make in needed
            if name not in self._routes and histories.needs(name, make=make)
        ]

    def all_unopened(self) -> list[Needed]:
        """Return the histories of all existing channels that must still be opened."""
        histories = self._histories
        return [] if histories is None else [(name, False) for name in histories.unopened()]

    def open_histories(self, needed: Iterable[Needed]) -> None:
        """Open logs, and create missing topics: may take long. Without the lock.

        An error is raised at the next use of that channel.
        """
        if self._histories is not None:
            for name, make in needed:
                self._histories.open(name, make=make)

    def follow(self, name: bytes, *, anew: bool = True) -> bool:
        """Deliver a history to its subscribers from now on; False: its log is not open.

        ``anew``: it was just created, and is delivered from its start.
        """
        with self.lock:
            if self._histories is not None and self._histories.needs(name, make=False):
                return False
            history = self.history(name)
            if history is not None:
                if anew:
                    history.rewind()
                self.forget_route(name)
                self.wake(history)
        return True

    # Subscriptions

    def subscribe(self, subscriber: Subscriber, name: bytes) -> None:
        """Subscribe to a channel; no effect if already subscribed, as with the following methods.

        Raises InvalidName, Failed for a channel with a history.
        """
        if not self.names.has(subscriber, name):
            if self._histories is not None:
                self._histories.make(name)
            self._end_turn_for(subscriber)
            if self.came is not None and not self.is_heard:
                self.came()
            self.names.add(subscriber, name)
            self._routes.pop(name, None)

    def unsubscribe(self, subscriber: Subscriber, name: bytes) -> None:
        if self.names.has(subscriber, name):
            self._end_turn_for(subscriber)
            self.names.remove(subscriber, name)
            self._routes.pop(name, None)

    def subscribe_pattern(self, subscriber: Subscriber, pattern: bytes) -> None:
        """Subscribe to a pattern. Raises InvalidName if it is too long."""
        if self.patterns.has(subscriber, pattern):
            return
        if pattern not in self._compiled:
            compiled = Pattern(pattern)
            compiled.compile()
            self._compiled[pattern] = compiled
            self._index.add(compiled)
        if self._histories is not None:
            self._histories.look()
        self._end_turn_for(subscriber)
        if self.came is not None and not self.is_heard:
            self.came()
        self.patterns.add(subscriber, pattern)
        self._patterns_changed += 1
        self.forget_routes()

    def unsubscribe_pattern(self, subscriber: Subscriber, pattern: bytes) -> None:
        if not self.patterns.has(subscriber, pattern):
            return
        self._end_turn_for(subscriber)
        self.patterns.remove(subscriber, pattern)
        self._patterns_changed += 1
        self.forget_routes()
        if pattern not in self.patterns:
            self._index.remove(self._compiled.pop(pattern))

    def subscribe_apart(self, subscriber: Subscriber, name: bytes) -> None:
        """Subscribe to a channel apart."""
        if not self.apart.has(subscriber, name):
            self._end_turn_for(subscriber)
            self.apart.add(subscriber, name)
            self._routes_apart.pop(name, None)

    def unsubscribe_apart(self, subscriber: Subscriber, name: bytes) -> None:
        if self.apart.has(subscriber, name):
            self._end_turn_for(subscriber)
            self.apart.remove(subscriber, name)
            self._routes_apart.pop(name, None)

    def leave(self, subscriber: Subscriber) -> None:
        """End all subscriptions of the subscriber."""
        for _ in self.leaving(subscriber):
            pass

    def leaving(self, subscriber: Subscriber) -> Iterator[None]:
        """Unsubscribe from everything, one at a time, so that others may hold the lock
        in between.
        """
        for name in self.names.names(subscriber):
            self.unsubscribe(subscriber, name)
            yield
        for pattern in self.patterns.names(subscriber):
            self.unsubscribe_pattern(subscriber, pattern)
            yield
        for name in self.apart.names(subscriber):
            self.unsubscribe_apart(subscriber, name)
            yield

    def reform(self, subscriber: Subscriber) -> None:
        """Must be called before the subscriber changes its form."""
        self._end_turn_for(subscriber)
        if self.patterns.names_count(subscriber) or self.names.names_count(subscriber) > FEW_NAMES:
            self.forget_routes()
        if self.apart.names_count(subscriber) > FEW_NAMES:
            self._routes_apart.clear()
            return
        for name in self.names.names(subscriber)[:FEW_NAMES]:
            self._routes.pop(name, None)
        for name in self.apart.names(subscriber):
            self._routes_apart.pop(name, None)

    @property
    def is_heard(self) -> bool:
        """Whether a name or a pattern has subscribers."""
        return bool(len(self.names) or len(self.patterns))

    def listens(self, subscriber: Subscriber) -> bool:
        rosters = (self.names, self.patterns, self.apart)
        return any(roster.names_count(subscriber) for roster in rosters)

    def _end_turn_for(self, subscriber: Receiver) -> None:
        """Deliver everything published so far to the subscriber, and nothing later."""
        self.flush()
        self.catch_up(subscriber)

    # Receivers besides subscribers

    def attend(self, beside: Beside) -> None:
        """Let ``beside`` name further receivers. It calls ``coming`` and ``forget...``."""
        self.flush()
        self.forget_routes()
        self._beside = beside

    def coming(self, receiver: Receiver) -> None:
        """Note that a further receiver is about to get other messages, or no more."""
        self._end_turn_for(receiver)

    def forget_routes(self) -> None:
        """Forget all routes, which must be found again."""
        self._routes.clear()
        self._levels.clear()
        self._in_levels = self._route_receivers = 0

    def forget_route(self, channel: bytes) -> None:
        """Forget the route of one channel."""
        self._routes.pop(channel, None)

    def forget_level(self, level: bytes) -> None:
        """Forget the routes of channels with this text before the first slash, or as their whole
        name.
        """
        names = self._levels.pop(level, None)
        if names is not None:
            self._in_levels -= len(names)
            for name in names:
                self._routes.pop(name, None)

    # Publishing

    def publish(self, channel: bytes, payload: bytes, unsafe: Unsafe) -> int:
        """Publish; returns the number of receivers. Raises InvalidRecord, InvalidName, Failed for a
        channel with a history.

        If the channel has a history, ``unsafe`` gets what must become safe before the publisher is
        answered.
        """
        route = self._routes.get(channel) or self._find(channel)
        if route.history is not None:
            self._keep(route, [payload], unsafe)
        elif route.receivers:
            self._turn.append(route)
            self._payloads.append(payload)
        if self.onward is not None:
            self.onward(channel, [payload])
        if self.abroad is not None:
            self.abroad(channel, [payload])
        return route.receivers

    def publish_many(self, channel: bytes, payloads: Sequence[bytes], unsafe: Unsafe) -> int:
        """Publish several; returns the receivers of each. As ``publish``; if it raises, none was
        published.
        """
        receivers = self.put(self.route(channel), payloads, unsafe)
        if self.onward is not None:
            self.onward(channel, payloads)
        if self.abroad is not None:
            self.abroad(channel, payloads)
        return receivers

    def route(self, channel: bytes) -> Route:
        """The receivers of a channel's messages. Raises InvalidName, Failed for a channel with a
        history.
        """
        return self._routes.get(channel) or self._find(channel)

    def put(self, route: Route, payloads: Sequence[bytes], unsafe: Unsafe) -> int:
        """Publish on a route that was just found; as ``publish_many``."""
        if route.history is not None:
            self._keep(route, payloads, unsafe)
        elif route.receivers:
            self._turn += [route] * len(payloads)
            self._payloads += payloads
        return route.receivers

    def _keep(self, route: Route, payloads: Sequence[bytes], unsafe: Unsafe) -> None:
        """Publish to a channel with a history."""
        assert route.history is not None
        self._append(route.history, payloads, unsafe)
        if route.beside is not None:
            self._turn += [route.beside] * len(payloads)
            self._payloads += payloads

    def _append(self, history: History, payloads: Sequence[bytes], unsafe: Unsafe) -> None:
        try:
            history.append(payloads, unsafe)
        except LogstoreError:
            self._routes.pop(history.name, None)  # its topic may have been deleted
            raise

    def publish_apart(self, channel: bytes, payload: bytes) -> int:
        """Publish to a channel apart; returns the number of receivers."""
        if self.abroad_apart is not None:
            self.abroad_apart(channel, [payload])
        return self.hand_out_apart(channel, [payload])

    def hand_out_apart(self, channel: bytes, payloads: Sequence[bytes]) -> int:
        """Publish each message as ``publish_apart``, to local receivers only."""
        route = self._routes_apart.get(channel)
        if route is None:
            if channel not in self.apart:
                return 0
            match = Match(channel, apart=True)
            matches: dict[Subscriber, tuple[Match, ...]] = dict.fromkeys(
                self.apart.subscribers(channel), (match,)
            )
            route = _remember(self._routes_apart, channel, route_of(matches))
        self._turn += [route] * len(payloads)
        self._payloads += payloads
        return route.receivers

    def is_quick(self, channel: bytes) -> bool:
        """Whether the receivers of the channel are found immediately."""
        quick = not self._compiled or channel in self._routes or self._index.is_quick(channel)
        if self._beside is None or not quick:
            return quick
        return channel in self._routes or self._beside.is_quick(channel)

    def count_by_pattern(self, channel: bytes) -> int | None:
        """The number of receivers by pattern; None: finding it takes long."""
        if not self.is_quick(channel):
            return None
        patterns = self._index.matching(channel) if self._compiled else ()
        return sum(self.patterns.count(it) for it in patterns)

    def searching(self, channel: bytes) -> Iterator[int]:
        """Find that number a part at a time; yields units of work, and then it is known."""
        if not self.is_quick(channel):
            patterns = yield from self._index.searching(channel)
            if channel in self._routes:
                return
            if self._beside is None or self._beside.is_quick(channel):
                self._find(channel, patterns)
                return
            for _ in range(SEARCHES_MAX):  # until no pattern comes while the others are found
                before = self._patterns_changed
                others = yield from self._beside.searching(channel)
                if before == self._patterns_changed:
                    break
                patterns = yield from self._index.searching(channel)
            if channel not in self._routes:
                self._find(channel, patterns, (others,))

    def settle(self, size: int = 0) -> None:
        """Call after publishing: subscribers receive it soon. ``size``: the bytes of the input.

        Messages wait for others of the same turn, so that a subscriber gets all of them together;
        but a lone publisher's message to few subscribers is delivered immediately.
        """
        if not self._turn:
            return
        self._turn_bytes += size
        self._publishers += 1
        if self._soon is None or self._turn_bytes > TURN_BYTES_MAX:
            self.flush()
        elif self._alone and self._turn[0].receivers <= FEW:
            self._alone -= 1
            self.flush()
        elif self._publishers == 1:
            self._soon(self.end_turn)

    def settle_elsewhere(self) -> None:
        """Settle for a publisher in another thread than the subscribers'."""
        if self._soon is None:
            self.flush()
        else:
            self._soon(self.end_turn)

    def end_turn(self) -> None:
        """End the subscribers' turn: count the publishers, and deliver."""
        with self.lock:
            self._alone = ALONE_TURNS if self._publishers <= 1 else 0
            self._sends_left = SENDS_AT_ONCE
            self._hand_out_some()
            self.flush()

    def _find(
        self,
        channel: bytes,
        patterns: Sequence[bytes] | None = None,
        known: tuple[Others | None] | None = None,
    ) -> Route:
        """Find the route. ``patterns``: the matching ones, and ``known``: further receivers, if
        known.
        """
        if patterns is None:
            patterns = list(self._index.matching(channel)) if self._compiled else []
        history = None if self._histories is None else self._histories.make(channel)
        others = known[0] if known else self._beside.others(channel) if self._beside else None
        if not patterns and channel not in self.names and history is None and others is None:
            # Not remembered where no pattern had to be looked at: finding it again costs less.
            looked = self._compiled or self._beside is not None
            return self._remember(channel, NOBODY) if looked else NOBODY
        route = self._made(channel, patterns, history, others)
        if route.receivers:
            self._tallied(route, channel)
        return self._remember(channel, route)

    def route_with(self, channel: bytes, others: Others | None) -> Route:
        """A route with these further receivers, valid only now."""
        patterns = list(self._index.matching(channel)) if self._compiled else []
        return self._made(channel, patterns, None, others)

    def _made(
        self,
        channel: bytes,
        patterns: Iterable[bytes],
        history: History | None,
        others: Others | None,
    ) -> Route:
        matches: dict[Subscriber, tuple[Match, ...]] = {}
        by_name = (Match(channel),)
        for subscriber in self.names.subscribers(channel):
            matches[subscriber] = by_name
        for pattern in patterns:
            match = (Match(channel, pattern),)
            for subscriber in self.patterns.subscribers(pattern):
                matches[subscriber] = matches.get(subscriber, ()) + match
        if others is None:
            route = route_of(matches)
            route.history = history
            return route
        route = route_beside(channel, matches, history, others.listening)
        route.beyond = others.beyond
        if others.quiet is not None:
            route.acked = route_beside(channel, matches, history, others.quiet)
        return route

    def _remember(self, channel: bytes, route: Route) -> Route:
        if (
            len(self._routes) >= ROUTES_MAX
            or self._route_receivers > ROUTE_RECEIVERS_MAX
            or self._in_levels > 2 * ROUTES_MAX
        ):
            self.forget_routes()
        self._routes[channel] = route
        self._route_receivers += route.receivers
        if self._beside is not None:
            names = self._levels.setdefault(channel.partition(b"/")[0], {})
            self._in_levels += channel not in names
            names[channel] = None
        return route

    def _tallied(self, route: Route, channel: bytes) -> None:
        """Let the route continue the channel's counters."""
        if len(self.tallies) >= TALLIES_MAX and channel not in self.tallies:
            self.tallies.clear()
        route.tally = self.tallies.setdefault(channel, route.tally)
        if route.acked is not None:
            route.acked.tally = route.tally

    def tell(self, kind: str, event: str, what: str) -> None:
        """Publish an event of the store itself, if events of this kind are enabled.

        From any thread, whatever locks it holds: the event is published at the end of the next
        turn.
        """
        soon = self._soon  # a node that stops takes it away meanwhile
        if kind in self._notify and soon is not None:
            self._told.append((EVENTS + event.encode(), what.encode()))
            soon(self.end_turn)

    def announce(self, channel: bytes, payload: bytes) -> None:
        """Publish to a channel without a history when the turn ends. As ``tell``."""
        soon = self._soon
        if soon is not None:
            self._told.append((channel, payload))
            soon(self.end_turn)

    # Handing out

    def wake(self, history: History) -> None:
        """Note that more of the history is safe. From any thread."""
        self._woken.append(history)
        soon = self._soon
        if soon is not None:
            soon(self.end_turn)
        else:
            with self.lock:
                self.flush()

    def flush(self) -> None:
        """End the turn: deliver everything published in it, and newly safe records of histories."""
        nothing = Unsafe()  # events keep no history
        while self._told:
            channel, payload = self._told.popleft()
            self.put(self.route(channel), [payload], nothing)
        assert not nothing
        self._flush_turn()
        while self._woken and not self._under_way:  # otherwise those are delivered first
            # Others may add to it meanwhile, so it is never exchanged for an empty one.
            for history in {self._woken.popleft(): None for _ in range(len(self._woken))}:
                self._hand_on(history)
            if self._soon is not None:
                if self._woken:
                    self._soon(self.end_turn)  # the others have their turn first
                return

    def _hand_on(self, history: History) -> None:
        for follower in list(history.followers):
            follower()
        try:
            route = self._routes.get(history.name) or self._find(history.name)
            if not route.views:
                history.skip()
                return
            records = history.pull()
        except LogstoreError as error:  # damaged: a reader of its own gets the error too
            _log.warning("channel %s: its subscribers get no more: %s", history.name, error)
            return
        if not records:
            return
        payloads = [record.value or b"" for record in records]
        self._count(route, len(payloads))
        kept = Kept(history, records[0].offset)
        for view in route.views:
            self._hand_out(HandOut(view.chunk(payloads), view.members, view.places, kept))
        if history.next < history.log.safe:
            self._woken.append(history)

    def view(self, subscriber: Subscriber, history: History) -> View | None:
        """Return how the subscriber gets the messages of this channel; None: it does not."""
        route = self._routes.get(history.name) or self._find(history.name)
        return next((view for view in route.views if subscriber in view.members), None)

    def _flush_turn(self) -> None:
        turn, payloads = self._turn, self._payloads
        self._turn_bytes = self._publishers = 0
        if not turn:
            return
        self._turn, self._payloads = [], []
        first = turn[0]
        if turn.count(first) == len(turn):
            self._hand_out_to(first, payloads)
            return
        routes = dict.fromkeys(turn)
        if sum(route.receivers for route in routes) > TOGETHER_MAX:
            # Too many to be looked through in a turn; each message by itself keeps the order, too.
            for route, run in groupby(zip(turn, payloads, strict=True), itemgetter(0)):
                self._hand_out_to(route, [payload for _, payload in run])
        else:
            self._flush_many(turn, payloads)

    def _count(self, route: Route, times: int) -> None:
        route.tally.messages += times
        beside = 0 if route.beside is None else route.beside.receivers  # they are counted there
        self.given_out += times * (route.receivers - beside)

    def _hand_out_to(self, route: Route, payloads: Sequence[bytes]) -> None:
        times = len(payloads)
        route.tally.messages += times
        self.given_out += times * route.receivers
        for view in route.views:
            chunk = view.chunk(payloads)
            if self._under_way or len(view.members) > FEW:
                self._hand_out(HandOut(chunk, view.members, view.places))
            else:
                for member in view.members:
                    member.deliver(chunk)

    def _flush_many(self, turn: Sequence[Route], payloads: Sequence[bytes]) -> None:
        """Deliver to many subscribers; those of the same channels in this turn share a chunk."""
        places: dict[Route, list[int]] = {}
        for place, route in enumerate(turn):
            places.setdefault(route, []).append(place)
        heard: dict[Receiver, list[View]] = {}
        for route, its in places.items():
            self._count(route, len(its))
            for view in route.views:
                for member in view.members:
                    heard.setdefault(member, []).append(view)
        groups: dict[tuple[View, ...], dict[Receiver, int]] = {}
        for member, views in heard.items():
            members = groups.setdefault(tuple(views), {})
            members[member] = len(members)
        for together, members in groups.items():
            chunk = merged(together, places, payloads)
            self._hand_out(HandOut(chunk, list(members), partial(_it, members)))

    # To many: some in each turn

    def _hand_out(self, it: HandOut) -> None:
        """Deliver after earlier chunks; immediately, as far as the turn permits."""
        self._under_way.append(it)
        if len(self._under_way) == 1:
            self._hand_out_some()

    def _hand_out_some(self) -> None:
        """Deliver as many messages as the turn still allows; all if no other work waits."""
        left = self._sends_left if self._soon is not None else sys.maxsize
        while self._under_way and left:
            left = self._under_way[0].some(left)
            if self._under_way[0].over:
                self._under_way.popleft()
        if self._soon is not None:
            self._sends_left = left
        if self._under_way:
            assert self._soon is not None
            self._soon(self.end_turn)
        elif self._after:
            after, self._after = self._after, {}
            for call in after:
                call()

    @property
    def under_way(self) -> bool:
        """Whether messages are being delivered, in this turn and the next ones."""
        return bool(self._under_way)

    def held_up(self, wake: Callable[[], object]) -> bool:
        """Whether too many deliveries are pending, so that publishers must wait until they are
        woken.
        """
        if not self._under_way:
            return False
        self._after[wake] = None
        return True

    def catch_up(self, subscriber: Receiver) -> None:
        """Deliver the subscriber's pending messages before any other output to it."""
        for it in self._under_way:
            it.now(subscriber)


def _it(places: dict[Receiver, int]) -> dict[Receiver, int]:
    return places


def _remember(routes: dict[bytes, Route], channel: bytes, route: Route) -> Route:
    if len(routes) >= ROUTES_MAX:
        routes.clear()
    routes[channel] = route
    return route
