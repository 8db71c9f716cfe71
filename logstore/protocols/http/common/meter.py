"""Rates of counters, measured between the times at which somebody asks."""

from collections.abc import Mapping
from typing import Final

LOOK_S: Final = 5.0  # between looks: a shorter time makes rates that jump


class Meter:
    """Several sets of counters, each by name. Counters only rise."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, Mapping[str, int], Mapping[str, float]]] = {}

    def rates(self, which: str, now: float, values: Mapping[str, int]) -> Mapping[str, float]:
        """A second, since they were asked for some seconds ago; 0 the first time."""
        seen = self._seen.get(which)
        if seen is None:
            rates = dict.fromkeys(values, 0.0)
        else:
            at, before, rates_then = seen
            if now - at < LOOK_S:
                return rates_then
            passed_s = now - at
            rates = {name: (it - before.get(name, it)) / passed_s for name, it in values.items()}
        self._seen[which] = now, dict(values), rates
        return rates
