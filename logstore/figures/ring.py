"""The last hour of some figures, in steps of ten seconds."""

from array import array
from math import isnan, nan
from typing import Final

STEP_S: Final = 10
STEPS: Final = 360  # an hour

_NONE: Final = array("f", [nan]) * STEPS


class Ring:
    """Each step has an increasing number; skipped steps have no values."""

    __slots__ = ("_columns", "_last")

    def __init__(self, columns: int) -> None:
        self._columns = [_NONE[:] for _ in range(columns)]
        self._last: int | None = None

    def put(self, step: int, values: tuple[float, ...]) -> None:
        """One value a column, NaN where it is not known. A step that is over is not changed."""
        last = self._last
        if last is not None and step <= last:
            return
        for column, value in zip(self._columns, values, strict=True):
            if last is not None:
                for left_out in range(max(last + 1, step - STEPS + 1), step):
                    column[left_out % STEPS] = nan
            column[step % STEPS] = value
        self._last = step

    def column(self, number: int, upto: int, steps: int = STEPS) -> list[float | None]:
        """The values of so many steps, the last one being ``upto``; None: not known."""
        column, last = self._columns[number], self._last
        found: list[float | None] = []
        for step in range(upto - steps + 1, upto + 1):
            known = last is not None and last - STEPS < step <= last
            value = column[step % STEPS] if known else nan
            found.append(None if isnan(value) else value)
        return found
