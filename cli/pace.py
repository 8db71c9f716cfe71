"""How far a replay is: the time it has come to, and how long it still takes."""

import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .ends import say
from .progress import is_watched
from .show import counted, span
from .times import iso

if TYPE_CHECKING:
    from logstore.records.record import Record

    from .site import Site

EVERY_S: Final = 1.0
ERASE_LINE: Final = "\r\x1b[K"


class Pace:
    """Nothing is shown; the other shows it."""

    def slept(self, sleep: Callable[[float], object], seconds: float) -> None:
        """Sleep, and show the progress meanwhile."""
        sleep(seconds)

    def through(self, past: "Iterable[list[Record]]") -> "Generator[list[Record]]":
        """Yield the records, and note the progress."""
        yield from past


class ShownPace(Pace):
    """A line of standard error, written anew every second; on no terminal, a line each."""

    def __init__(
        self,
        speed: float,
        end_ms: Callable[[], int | None],
        *,
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``end_ms()``: the time of the last record, if known; called once, when needed."""
        self._speed = speed
        self._ask_end, self._end_ms, self._asked = end_ms, 0, False
        self._terminal = terminal
        self._clock = clock
        self._began = self._next = clock() + EVERY_S
        self._first_ms: int | None = None
        self._at_ms = self._count = 0
        self._drawn = False

    def slept(self, sleep: Callable[[float], object], seconds: float) -> None:
        """As Pace.slept."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            sleep(min(left, EVERY_S))
            self._tick()

    def through(self, past: "Iterable[list[Record]]") -> "Generator[list[Record]]":
        """As Pace.through."""
        try:
            for records in past:
                self._hide()  # they may be printed on the same terminal
                if self._first_ms is None:
                    self._began, self._first_ms = self._clock(), records[0].timestamp_ms
                yield records
                self._passed(records)
        finally:
            self._hide()

    def _passed(self, records: "Sequence[Record]") -> None:
        self._count += len(records)
        self._at_ms = records[-1].timestamp_ms
        self._tick()

    def _tick(self) -> None:
        now = self._clock()
        if self._first_ms is None or now < self._next:
            return
        self._next = now + EVERY_S
        if not self._asked:
            self._asked, self._end_ms = True, self._ask_end() or 0
        self._show(self._text(now - self._began, self._first_ms))

    def _text(self, passed_s: float, first_ms: int) -> str:
        at_ms = self._at_ms
        if self._speed:  # it moves between records, too
            at_ms = max(at_ms, first_ms + int(passed_s * self._speed * 1000))
        if self._end_ms:
            at_ms = min(at_ms, self._end_ms)
        said = f"at {iso(at_ms)}, {counted(self._count, 'record')}"
        left_s = self._left_s(passed_s, at_ms - first_ms, self._end_ms - at_ms)
        return said if left_s is None else f"{said}, {span(left_s)} left"

    def _left_s(self, passed_s: float, behind_ms: int, ahead_ms: int) -> float | None:
        if ahead_ms < 0 or not (self._speed or behind_ms > 0):
            return None
        return ahead_ms / 1000 / self._speed if self._speed else passed_s * ahead_ms / behind_ms

    def _show(self, text: str) -> None:
        if not self._terminal:
            say(text, "info")
            return
        width = shutil.get_terminal_size().columns - 1  # one more would begin another line
        self._write(ERASE_LINE + text[:width])
        self._drawn = True

    def _hide(self) -> None:
        if self._drawn:
            self._write(ERASE_LINE)
            self._drawn = False

    def _write(self, text: str) -> None:
        assert sys.stderr is not None
        sys.stderr.write(text)
        sys.stderr.flush()


def pace_for(wanted: bool | None, speed: float, end_ms: Callable[[], int | None]) -> Pace:
    """``wanted``: None shows progress only on a terminal. ``end_ms``: as in ShownPace."""
    watched = is_watched()
    if not (watched if wanted is None else wanted):
        return Pace()
    return ShownPace(speed, end_ms, terminal=watched)


def latest_of(site: "Site", topic: str, to_ms: int | None) -> int | None:
    """The time of a topic's last record before ``to_ms``; None if unknown."""
    from logstore.errors import LogstoreError
    from logstore.store import Store

    try:
        if isinstance(site, Store):
            latest = max(log.latest_timestamp() for log in site.topic(topic).partitions)
        else:
            from .cluster.cluster import Cluster

            assert isinstance(site, Cluster)
            latest = site.latest_timestamp(topic)
    except LogstoreError:  # the replay itself reports the error later
        return None
    return latest if to_ms is None else min(latest, to_ms)


def span_text(site: "Site", topic: str) -> str:
    """The times of a topic's first and last record, for users who gave no time range."""
    from logstore.errors import LogstoreError

    latest_ms = latest_of(site, topic, None)
    try:
        first = next(iter(site.replay(topic)), None)
    except LogstoreError as error:  # of another time than the one that was read
        return str(error)
    if first is None or latest_ms is None:
        return f"{topic} is empty"
    return f"{topic} spans {iso(first[0].timestamp_ms)} to {iso(latest_ms)}"
