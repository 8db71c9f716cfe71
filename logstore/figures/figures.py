"""The figures of one process: its counters, and their rates and histories.

Counters can be read at any time. Rates and histories begin with the first request for them;
``look`` then reads all counters every ten seconds, in slices. The last hour is stored for doors,
for limited resources, and for up to ``RINGS_MAX`` active objects; an object that somebody views
takes the place of the one that was viewed least recently.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import isnan
from typing import Final, NamedTuple, Protocol

from logstore.counts.doors import DoorCounts
from logstore.counts.mqtt import MqttCounts
from logstore.counts.publishes import AmqpCounts
from logstore.counts.queues import QueueTotals
from logstore.counts.recoveries import Recoveries
from logstore.counts.syncs import Syncs
from logstore.figures.full import Full, Room, forecast
from logstore.figures.ring import STEP_S, STEPS
from logstore.figures.series import KINDS, Series, Values
from logstore.figures.stuck import Stuck
from logstore.slices import Steps
from logstore.turns import Turns

STUCK_MAX: Final = 500  # that are remembered; of more how many there are
RINGS_MAX: Final = 512  # of objects; each takes 7 KiB at most
# Between two times that somebody asks for flows: a shorter time makes rates that jump.
PULSE_S_MIN: Final = 0.9
PULSE_S_MAX: Final = 5.0
LOOKED_AT_ONCE: Final = 50  # objects, between yields


class DoorTotals(NamedTuple):
    """The counters of a door, including its open connections."""

    opened: int
    closed: int
    refused: int
    slow: int
    connections: int
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int


class Flow(NamedTuple):
    """The rates of a door, in units a second. None: not known yet."""

    messages_in: float | None
    messages_out: float | None
    bytes_in: float | None
    bytes_out: float | None


class Pulse:
    """Rates between two requests for them."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._totals: Mapping[str, DoorTotals] = {}
        self._flows: dict[str, Flow] | None = None

    def flows(
        self, now: float, totals: Mapping[str, DoorTotals], otherwise: Callable[[str], Flow]
    ) -> dict[str, Flow]:
        """``otherwise``: where nobody has asked lately."""
        at, before, known = self._at, self._totals, self._flows
        passed_s = PULSE_S_MAX + 1 if at is None else now - at
        if passed_s >= PULSE_S_MIN:
            self._at, self._totals = now, totals
            known = None
            if passed_s <= PULSE_S_MAX:
                known = {
                    name: _flow(before[name], it, passed_s)
                    for name, it in totals.items() if name in before
                }  # fmt: skip
            self._flows = known
        return {
            name: known[name] if known is not None and name in known else otherwise(name)
            for name in totals
        }


def _flow(before: DoorTotals, after: DoorTotals, passed_s: float) -> Flow:
    return Flow(*(
        max(0.0, (getattr(after, it) - getattr(before, it)) / passed_s) for it in Flow._fields
    ))  # fmt: skip


class Connection(Protocol):
    """A connection as needed for a door's sums."""

    @property
    def door(self) -> str: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...


class Seen(NamedTuple):
    """An object as a source sees it now."""

    key: Hashable
    values: Values
    judge: Callable[[Series, int], Stuck | None] | None = None  # whether it is stuck, in this step


# What objects of one kind there are, and their values; may yield none for a long time.
Source = Callable[[], Iterable[Seen]]


class Figures:
    """The figures of one process. For the sessions' thread."""

    def __init__(
        self,
        stopwatch: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], int] = lambda: 0,
        turns: Turns | None = None,
        syncs: Syncs | None = None,
        recoveries: Recoveries | None = None,
    ) -> None:
        """``stopwatch``: seconds that only go forward; ``clock``: ms since 1970."""
        self.amqp = AmqpCounts()
        self.mqtt = MqttCounts()
        self.stomp = AmqpCounts()
        self.queues = QueueTotals()
        self.turns = Turns() if turns is None else turns
        self.syncs = Syncs() if syncs is None else syncs
        self.recoveries = Recoveries() if recoveries is None else recoveries
        self.started_ms = clock()
        self.stuck: Sequence[Stuck] = ()  # as it was looked at last: the first of them
        self.stuck_total = 0
        self.rooms: Sequence[Room] = ()  # what may become full
        # By door: why it takes nothing that is published; "": it does.
        self.alarms: dict[str, Callable[[], str]] = {}
        self.connections: Callable[[], Iterable[Connection]] = tuple
        self.begin: Callable[[], object] = lambda: None  # have ``look`` done from now on
        self.sources: dict[str, Source] = {}  # by kind
        # Messages of doors that do not count them themselves: in and out.
        self.messages: dict[str, Callable[[], tuple[int, int]]] = {}
        self._doors: dict[str, DoorCounts] = {}
        self._series: dict[str, dict[Hashable, Series]] = {kind: {} for kind in KINDS}
        self._rings: dict[tuple[str, Hashable], None] = {}  # the one looked at last is the last
        self._stopwatch = stopwatch
        self._clock = clock
        self._begun = False
        self._pulse = Pulse()
        self._full: list[Full] = []
        self._full_of: Sequence[Room] | None = None
        self.messages["amqp"] = lambda: (self.amqp.received, self.queues.given_out)

    # Counters

    def door(self, name: str) -> DoorCounts:
        """What is counted of a door."""
        return self._doors.setdefault(name, DoorCounts())

    @property
    def door_names(self) -> list[str]:
        """Of all doors of which something is counted."""
        return list(self._doors)

    def doors(self) -> dict[str, DoorTotals]:
        """All doors, with the connections that are there."""
        live = {name: [0, 0, 0] for name in self._doors}
        for it in self.connections():
            sums = live.setdefault(it.door, [0, 0, 0])
            sums[0] += 1
            sums[1] += it.bytes_in
            sums[2] += it.bytes_out
        found = {}
        for name, (connections, bytes_in, bytes_out) in live.items():
            counts = self.door(name)
            messages = self.messages.get(name)
            into, out = messages() if messages else (counts.messages_in, counts.messages_out)
            found[name] = DoorTotals(
                counts.opened, counts.closed, counts.refused, counts.slow, connections,
                counts.bytes_in + bytes_in, counts.bytes_out + bytes_out, into, out,
            )  # fmt: skip
        return found

    # Over time

    @property
    def step(self) -> int:
        """The number of the step that is now."""
        return int(self._stopwatch() // STEP_S)

    def time_of(self, step: int) -> int:
        """When a step was, as ms since 1970."""
        return self._clock() - int((self._stopwatch() - step * STEP_S) * 1000)

    def wanted(self) -> None:
        """Somebody asks for what comes of the counters over time."""
        if not self._begun:
            self._begun = True
            self.begin()

    def rates(self, kind: str, key: Hashable) -> Mapping[str, float | None]:
        """Of its counters, a second, over the last step; None: not known yet."""
        self.wanted()
        names, seen = KINDS[kind].counters, self._series[kind].get(key)
        if seen is None or seen.rates is None:
            return dict.fromkeys(names)
        return {name: None if isnan(it) else it for name, it in zip(names, seen.rates, strict=True)}

    def level(self, kind: str, key: Hashable, name: str) -> int | None:
        """One of its levels, as it was looked at last; None: it was not."""
        self.wanted()
        seen, at = self._series[kind].get(key), KINDS[kind]
        if seen is None:
            return None
        return seen.values[len(at.counters) + at.levels.index(name)]

    def idle_since_ms(self, kind: str, key: Hashable) -> int | None:
        """When one of its figures has changed last, as ms since 1970.

        None: just now, or it was not looked at.
        """
        self.wanted()
        seen = self._series[kind].get(key)
        if seen is None:
            return None
        last = max(seen.changed)
        return None if last >= seen.seen else self.time_of(last)

    def count(self, kind: str) -> int:
        """How many of them were looked at last."""
        self.wanted()
        return len(self._series[kind])

    def history(
        self, kind: str, key: Hashable, steps: int = STEPS
    ) -> dict[str, list[float | None]]:
        """Its last hour by the names of its figures, oldest first. From now on it is kept."""
        self.wanted()
        seen, of = self._series[kind].get(key), KINDS[kind]
        if seen is None:
            return {name: [None] * steps for name in of.counters + of.levels}
        if of.rings and not of.pinned:
            self._looked_at(kind, key, seen)
        return seen.history(of, self.step, steps)

    def column(self, kind: str, key: Hashable, name: str, steps: int = STEPS) -> list[float | None]:
        """One figure of an object of which the last hour is always kept, oldest first."""
        self.wanted()
        seen, of = self._series[kind].get(key), KINDS[kind]
        assert of.pinned
        if seen is None or seen.ring is None:
            return [None] * steps
        return seen.ring.column((of.counters + of.levels).index(name), self.step, steps)

    def flows(self) -> dict[str, Flow]:
        """What each door takes and gives, a second: now, while somebody asks every second or so;
        else over the last step. All None while it is not known.
        """
        self.wanted()
        return self._pulse.flows(self._stopwatch(), self.doors(), self._flow_of_step)

    def _flow_of_step(self, door: str) -> Flow:
        known = self.rates("door", door)
        return Flow(known["in"], known["out"], known["bytes_in"], known["bytes_out"])

    def slow_within(self, door: str) -> int:
        """Clients that were cut off for what they left unread, in the last hour."""
        rates = self.column("door", door, "slow")
        return round(sum(it * STEP_S for it in rates if it is not None))

    def full(self) -> list[Full]:
        """All that may become full."""
        if self._full_of is not self.rooms:  # they are looked at with every step
            self._full_of = self.rooms
            self._full = [forecast(it, self.column("room", it.what, "used")) for it in self.rooms]
        return self._full

    def _looked_at(self, kind: str, key: Hashable, seen: Series) -> None:
        place = kind, key
        if seen.ring is None:
            if len(self._rings) >= RINGS_MAX:
                self._give_up(next(iter(self._rings)))
            seen.begin_ring(KINDS[kind])
        self._rings.pop(place, None)
        self._rings[place] = None

    def _give_up(self, place: tuple[str, Hashable]) -> None:
        del self._rings[place]
        seen = self._series[place[0]].get(place[1])
        if seen is not None:
            seen.ring = None

    # Looking

    def look(self) -> Steps:
        """Read all counters: every ``STEP_S`` seconds. In slices."""
        step, stuck, total = self.step, list[Stuck](), 0
        for kind, source in list(self.sources.items()):
            found = self._series[kind]
            done = seen = 0
            for seen, it in enumerate(source(), 1):
                series = self._take(kind, it, step)
                if it.judge is not None and (one := it.judge(series, step)) is not None:
                    total += 1
                    if len(stuck) < STUCK_MAX:
                        stuck.append(one)
                if seen - done >= LOOKED_AT_ONCE:
                    done = seen
                    yield LOOKED_AT_ONCE
            yield seen - done
            if len(found) != seen:
                for key in [key for key, it in found.items() if it.seen != step]:
                    del found[key]
                    self._rings.pop((kind, key), None)
        self.stuck, self.stuck_total = stuck, total

    def _take(self, kind: str, it: Seen, step: int) -> Series:
        of, found, at = KINDS[kind], self._series[kind], self._stopwatch()
        series = found.get(it.key)
        if series is None:
            series = found[it.key] = Series(of, it.values, step, at)
            if of.pinned:
                series.begin_ring(of)
            return series
        moved = series.take(of, it.values, step, at)
        if moved and of.rings and not of.pinned and len(self._rings) < RINGS_MAX:
            if series.ring is None:
                series.begin_ring(of)
            self._rings.setdefault((kind, it.key))
        return series
