"""Limited resources: how full each is, and when it will be full at the last hour's rate. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.figures.ring import STEP_S

NEARLY: Final = 0.8  # of the limit
SOON_S: Final = 24 * 3600
STEPS_MIN: Final = 180  # half an hour: less, or a start, says nothing of a day


class Room(NamedTuple):
    """A resource with a limit."""

    what: str  # as it is shown: ``disk``, ``connections of kafka``, as people call doors
    used: int
    limit: int
    view: str = ""  # of the page, where more is said of it
    unit: str = ""  # bytes, or pieces of it


class Full(NamedTuple):
    """A resource with a limit, and its forecast."""

    what: str
    used: int
    limit: int
    share: float
    full_in_s: float | None  # None: it is not growing, or that is not known
    view: str = ""
    unit: str = ""

    @property
    def nearly(self) -> bool:
        """Whether somebody should know."""
        soon = self.full_in_s is not None and self.full_in_s < SOON_S
        return self.share >= NEARLY or soon


def forecast(room: Room, history: Sequence[float | None]) -> Full:
    """``history``: what was used, a step each, the last one being now."""
    share = room.used / room.limit if room.limit > 0 else 0.0
    return Full(*room[:3], share, _full_in_s(room, history), *room[3:])


def _full_in_s(room: Room, history: Sequence[float | None]) -> float | None:
    left = room.limit - room.used
    if left <= 0:
        return 0.0
    slope = _slope(history)
    if slope is None or slope <= 0:
        return None
    return left / slope


def _slope(history: Sequence[float | None]) -> float | None:
    """Growth a second, by least squares: what comes and goes within the hour is no growth."""
    known = [(n, it) for n, it in enumerate(history) if it is not None]
    if len(known) < STEPS_MIN:
        return None
    mean_n = sum(n for n, _ in known) / len(known)
    mean = sum(it for _, it in known) / len(known)
    above = sum((n - mean_n) * (it - mean) for n, it in known)
    return above / sum((n - mean_n) ** 2 for n, _ in known) / STEP_S
