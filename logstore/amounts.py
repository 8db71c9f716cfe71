"""Sizes and durations as people write them: ``10MB``, ``512KiB``, ``7d``, ``500ms``. Pure.

kB, MB, GB and TB are powers of 1000, as in SI; KiB, MiB, GiB and TiB are powers of 1024, as all
that is printed here. Clients of protocols have forms of their own, and do not come here.
"""

import re
from typing import Final

_BYTES: Final = {
    "B": 1,
    **{f"{it}B": 1000**power for it, power in (("k", 1), ("K", 1), ("M", 2), ("G", 3), ("T", 4))},
    **{f"{it}iB": 1024**power for power, it in enumerate("KMGT", 1)},
}
_MS: Final = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000,
}  # fmt: skip
# By the unit of a setting: what a text may count in, and how much of that is one of the unit.
_UNITS: Final = {
    "bytes": (_BYTES, 1),
    "bytes/s": (_BYTES, 1),
    "ms": (_MS, 1),
    "s": (_MS, 1000),
    "minutes": (_MS, 60_000),
}
_AMOUNT: Final = re.compile(r"(\d{1,19})(?:\.(\d{1,9}))? ?([A-Za-z]{1,3})", re.ASCII)


def has_amounts(unit: str) -> bool:
    """Whether what is counted in this unit of a setting can be said with another one."""
    return unit in _UNITS


def examples(unit: str) -> str:
    """Amounts for a setting of this unit, in words."""
    return "512KiB or 10MB (MB: 10^6, MiB: 2^20)" if _UNITS[unit][0] is _BYTES else "90s, 1h or 7d"


def amount(text: str, unit: str) -> int | None:
    """How many of the unit a text stands for; None where it is no whole number of them."""
    found, (scales, one) = _AMOUNT.fullmatch(text), _UNITS[unit]
    scale = None if found is None else scales.get(found[3])
    if found is None or scale is None:
        return None
    fraction = found[2] or ""
    number, rest = divmod(int(found[1] + fraction) * scale, one * 10 ** len(fraction))
    return None if rest else number
