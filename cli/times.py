"""Texts that stand for a moment, and the text that a moment is printed as. Pure: "now" is given.

A moment is a number of milliseconds since 1970-01-01T00:00Z, as in every record.
"""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# datetime.fromisoformat takes more than these shapes: "20130105" could as well be a number.
_ISO = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d.*)?", re.ASCII)
_EPOCH_MS = re.compile(r"@(-?\d{1,18})", re.ASCII)
_AGO = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
# Fewer digits would be seconds or a date, and 12 are already the year 1973.
_DIGITS_MS = re.compile(r"\d{12,15}", re.ASCII)

MOMENT_FORMS = (
    "a date (2013-01-05), a date and time (2013-01-05T00:00Z), @epoch-ms, or -1h, -30m, -2d"
)


def moment_ms(text: str, now_ms: int) -> int:
    """The moment that an option's text stands for; without a zone it is UTC.

    Raises ValueError, whose text says what is taken.
    """
    if match := _EPOCH_MS.fullmatch(text):
        return int(match[1])
    if match := _AGO.fullmatch(text):
        return now_ms - int(match[1]) * _UNIT_MS[match[2]]
    if (moment := _iso_ms(text)) is None:
        raise ValueError(f"{text!r} is not a time: use {MOMENT_FORMS}")
    return moment


def timestamp_ms(value: str | int | None) -> int:
    """The moment that a field of the input stands for: epoch milliseconds or an ISO 8601 text.

    Raises ValueError, whose text says what is taken.
    """
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} is not a timestamp: it has more than 64 bits")
        return value
    moment = None
    if value is not None:
        moment = int(value) if _DIGITS_MS.fullmatch(value) else _iso_ms(value)
    if moment is None:
        raise ValueError(
            f"{value!r} is not a timestamp:"
            " use ISO 8601 (2013-01-05T00:00:00Z) or epoch milliseconds"
        )
    return moment


def _iso_ms(text: str) -> int | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // MILLISECOND
    except (ValueError, OverflowError):
        return None


def iso(moment_ms: int) -> str:
    """``2013-01-05T00:00:00.000Z``; ``@<ms>`` for moments that no calendar of four digits holds."""
    try:
        text = (EPOCH + moment_ms * MILLISECOND).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"@{moment_ms}"
    return text[: -len("+00:00")] + "Z"


class CachedTimestamps(dict[str | int | None, int]):
    """``timestamp_ms`` as a mapping: a text that repeats costs one look-up in C."""

    # Events come in time order, so a text either repeats soon or never again; 4096 texts of
    # 30 bytes stay in the processor's cache.
    ENTRIES_MAX = 4096

    def __missing__(self, value: str | int | None) -> int:
        if len(self) >= self.ENTRIES_MAX:
            self.clear()
        self[value] = moment = timestamp_ms(value)
        return moment


class CachedIso(dict[int, bytes]):
    """``iso`` as a mapping to ASCII bytes, bounded likewise."""

    ENTRIES_MAX = 4096

    def __missing__(self, moment: int) -> bytes:
        if len(self) >= self.ENTRIES_MAX:
            self.clear()
        self[moment] = text = iso(moment).encode()
        return text
