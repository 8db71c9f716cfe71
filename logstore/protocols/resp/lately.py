"""The rates of counters since they were last read."""

from collections.abc import Sequence
from typing import Final

APART_MS: Final = 1000  # looks that are closer together give what the one before gave
LONG_MS: Final = 120_000  # older values are not used


class Lately:
    """A fixed set of counters."""

    def __init__(self) -> None:
        self._looked_ms: int | None = None
        self._values: Sequence[float] = ()
        self._rates: Sequence[float] = ()

    def rates(self, now_ms: int, values: Sequence[float]) -> Sequence[float]:
        """The increase of each value per second; 0 after a long time without calls, or after a
        reset.
        """
        before, since = self._values, self._looked_ms
        if since is None or not 0 <= now_ms - since <= LONG_MS:
            self._rates = [0.0] * len(values)
        elif now_ms - since < APART_MS:
            return self._rates
        else:
            self._rates = [
                max(it - was, 0) * 1000 / (now_ms - since)
                for it, was in zip(values, before, strict=True)
            ]
        self._looked_ms, self._values = now_ms, values
        return self._rates
