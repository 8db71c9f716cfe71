"""The replies with metrics that are being written: a bounded number at a time."""

from collections.abc import Callable
from typing import Final

from logstore.http.faults import UNAVAILABLE, Fault
from logstore.protocols.house import House

UNREAD_S: Final = 10.0  # as long as Prometheus waits for all of an answer
SCRAPES_MAX: Final = 4  # two Prometheus, and somebody who looks; each keeps what was looked up


class Scrape:
    """One such reply."""

    def __init__(self, cut: Callable[[], object]) -> None:
        self.cut = cut  # nothing more of it
        self.taken_at: float | None = None  # when its peer took the last piece; None: none yet


class Scrapes:
    """What these replies share."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._under_way: dict[Scrape, None] = {}

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def begin(self, now: float, cut: Callable[[], object]) -> Scrape:
        """One more; one that nobody reads makes room for it. Raises Fault where all are read."""
        if self.under_way >= SCRAPES_MAX:
            self._make_room(now)
        it = Scrape(cut)
        self._under_way[it] = None
        return it

    def _make_room(self, now: float) -> None:
        """Raises Fault."""
        for it in self._under_way:
            if it.taken_at is not None and now - it.taken_at >= UNREAD_S:
                self.end(it)
                it.cut()
                return
        raise Fault(UNAVAILABLE, f"{SCRAPES_MAX} scrapes are under way: try again")

    def end(self, it: Scrape) -> None:
        self._under_way.pop(it, None)
