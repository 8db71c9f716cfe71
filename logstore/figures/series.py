"""The history of one object: a queue, a topic, a door.

Its figures are *counters*, which only rise, and *levels*, which go up and down. Counters are turned
into rates. A counter that has decreased belongs to a new object of the same name, or was reset, so
its rate is unknown for one step.
"""

from math import nan
from typing import Final, NamedTuple

from logstore.figures.ring import STEPS, Ring

Values = tuple[int, ...]


class Kind(NamedTuple):
    """The figures of objects of one kind."""

    counters: tuple[str, ...]
    levels: tuple[str, ...] = ()
    rings: bool = True  # whether the last hour is kept of them
    pinned: bool = False  # of each of them, for there are few


# By the name of the kind; values are given in this order, counters first.
KINDS: Final = {
    "door": Kind(("in", "out", "bytes_in", "bytes_out", "slow"), ("connections",), pinned=True),
    "all": Kind((), ("waiting",), pinned=True),
    "room": Kind((), ("used",), pinned=True),  # what may become full
    "topic": Kind(("in",)),
    "queue": Kind(("in", "out", "ack"), ("ready", "unacked")),
    "channel": Kind(("in",), ("subscribers",)),
    "group": Kind(("committed", "end"), ("lag",)),
    "connection": Kind(("bytes_in", "bytes_out"), rings=False),
}

COUNTERS_MAX: Final = max(len(it.counters) for it in KINDS.values())

_STILL: Final = tuple((0.0,) * width for width in range(1 + COUNTERS_MAX))
_UNKNOWN: Final = tuple((nan,) * width for width in range(1 + COUNTERS_MAX))


class Series:
    """The history of one object."""

    __slots__ = ("at", "changed", "positive", "rates", "ring", "seen", "values")

    def __init__(self, kind: Kind, values: Values, step: int, at: float) -> None:
        """``at``: seconds, when its values were read."""
        self.values = values
        self.at = at
        self.seen = step
        self.rates: tuple[float, ...] | None = None  # of counters, a second; None: not known yet
        self.ring: Ring | None = None
        # The steps in which each value has changed last, and since which each level is above 0 (-1:
        # it is not). Tuples, which objects that do not move share.
        self.changed = (step,) * len(values)
        self.positive = tuple([step if it > 0 else -1 for it in values[len(kind.counters) :]])

    def take(self, kind: Kind, values: Values, step: int, at: float) -> bool:
        """Its values now; whether one has changed."""
        before, passed_s, width = self.values, at - self.at, len(kind.counters)
        self.seen = step
        moved = values != before
        if moved:
            self._moved(values, step, width)
        if passed_s > 0:
            self.at = at
            if moved:
                self.values = values
                self.rates = tuple([
                    (after - was) / passed_s if after >= was else nan
                    for after, was in zip(values[:width], before, strict=False)
                ])  # fmt: skip
            else:
                self.rates = _STILL[width]
        if self.ring is not None:
            self.ring.put(step, (self.rates or _UNKNOWN[width]) + values[width:])
        return moved

    def _moved(self, values: Values, step: int, width: int) -> None:
        self.changed = tuple([
            step if after != was else last
            for after, was, last in zip(values, self.values, self.changed, strict=True)
        ])  # fmt: skip
        self.positive = tuple([
            -1 if level <= 0 else step if since < 0 else since
            for level, since in zip(values[width:], self.positive, strict=True)
        ])  # fmt: skip

    def begin_ring(self, kind: Kind) -> None:
        """Keep its last hour from now on."""
        if self.ring is None:
            self.ring = Ring(len(kind.counters) + len(kind.levels))

    def history(self, kind: Kind, upto: int, steps: int = STEPS) -> dict[str, list[float | None]]:
        """By the names of its figures: rates of counters, and levels. All None without a ring."""
        names = kind.counters + kind.levels
        if self.ring is None:
            return {name: [None] * steps for name in names}
        return {name: self.ring.column(n, upto, steps) for n, name in enumerate(names)}
