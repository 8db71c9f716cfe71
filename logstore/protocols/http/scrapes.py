"""The answers with metrics that are under way: so many at a time."""

from typing import Final

from logstore.http.faults import UNAVAILABLE, Fault
from logstore.protocols.house import House

SCRAPES_MAX: Final = 4  # two Prometheus, and somebody who looks; each keeps what was looked up


class Scrapes:
    """What the answers share."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.under_way = 0

    def begin(self) -> None:
        """One more. Raises Fault where there are too many."""
        if self.under_way >= SCRAPES_MAX:
            raise Fault(UNAVAILABLE, f"{SCRAPES_MAX} scrapes are under way: try again")
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1
