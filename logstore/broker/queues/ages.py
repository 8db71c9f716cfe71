"""Durations in RabbitMQ's form: ``7D``, a number and one letter. Pure."""

import re
from typing import Final

SECOND_MS: Final = 1000
DAY_MS: Final = 86_400 * SECOND_MS
# A year and a month are 365 and 30 days, as RabbitMQ counts them.
UNITS_MS: Final = {
    "Y": 365 * DAY_MS,
    "M": 30 * DAY_MS,
    "D": DAY_MS,
    "h": 3600 * SECOND_MS,
    "m": 60 * SECOND_MS,
    "s": SECOND_MS,
}
# Nine digits of years are more than 64 bits of milliseconds hold.
AGE_MAX_MS: Final = 2**63 - 1

_AGE = re.compile(r"([0-9]{1,19})([YMDhms])")


def age_ms(text: str) -> int | None:
    """Parse an age to ms, such as ``5m``; None: it is not an age, or above 64 bits."""
    found = _AGE.fullmatch(text)
    if found is None:
        return None
    age = int(found[1]) * UNITS_MS[found[2]]
    return age if age <= AGE_MAX_MS else None
