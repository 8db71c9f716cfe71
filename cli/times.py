"""Texts and numbers that stand for a moment, and the text that a moment is printed as. Pure.

A moment is a number of milliseconds since 1970-01-01T00:00Z, as in every record. What a plain
number counts since 1970 is told by its size, everywhere alike (``UNITS``); "now" is given.
"""

import re
from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# datetime.fromisoformat takes more than these shapes: "20130105" could as well be a number.
_ISO = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d.*)?", re.ASCII)
_DIGITS_MAX = 19  # more is no 64-bit number, and no fraction that counts
_NUMBER = rf"-?\d{{1,{_DIGITS_MAX}}}(?:\.\d{{1,{_DIGITS_MAX}}})?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_AT = re.compile(rf"@({_NUMBER})(s|ms|us|ns)?", re.ASCII)
_AGO = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_AGO_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}

# The unit of a number below each bound. Each bound is in the year 5138 in its own unit, and in 1973
# in the next one: so every time since 1973-03-03 is recognized, in any of the four.
UNITS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (2**63, "ns"))
_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_SCALES = tuple((bound, _NS[unit]) for bound, unit in UNITS)
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# An earlier time was hardly intended: the number is of another kind or unit.
EARLY_MS = 946_684_800_000  # 2000-01-01T00:00Z

MOMENT_FORMS = (
    "a date (2013-01-05), a date and time (2013-01-05T00:00Z), @1357344000 (seconds, or"
    " milliseconds, microseconds, nanoseconds, by the size of the number), -1h, -30m, -2d, or now"
)


def unit_of(number: float) -> str:
    """The unit of a plain number since 1970, by its size: ``s``, ``ms``, ``us`` or ``ns``."""
    return next((unit for bound, unit in UNITS if abs(number) < bound), "ns")


def epoch_ms(number: str, unit: str | None = None) -> int:
    """A number since 1970 in milliseconds, rounded down; decimals are accepted.

    ``unit``: None chooses by the number's size. Raises ValueError for a time of more than 64 bits,
    which no record can have.
    """
    whole, _, fraction = number.partition(".")
    if not fraction and unit is None:
        return _whole_ms(int(whole))
    scale = _NS[unit or unit_of(int(whole))]
    part = int(fraction.ljust(_DIGITS_MAX, "0")) * scale // 10**_DIGITS_MAX
    moment: int = (int(whole) * scale + (-part if number.startswith("-") else part)) // 10**6
    if not -(2**63) <= moment < 2**63 or not -(2**63) <= int(whole) < 2**63:
        raise ValueError(f"{number} is not a timestamp: it has more than 64 bits")
    return moment


def _whole_ms(number: int) -> int:
    """As ``epoch_ms`` for a whole number by size, ten times as fast: called for each record."""
    size = abs(number)
    for bound, scale in _SCALES:
        if size < bound:
            return number * scale // 10**6
    raise ValueError(f"{number} is not a timestamp: it has more than 64 bits")


def early(text: str, moment_ms: int) -> str | None:
    """A warning for a plain number that means a time before 2000, or None."""
    if moment_ms >= EARLY_MS:
        return None
    number = text.removeprefix("@")
    if not _PLAIN.fullmatch(number):
        return None
    unit = UNIT_NAMES[unit_of(float(number))]
    return f"the time {text} is read as {unit} since 1970: {iso(moment_ms)}"


def moment_ms(text: str, now_ms: int) -> int:
    """The time of an option's text in ms; UTC without a zone.

    Raises ValueError, whose text lists what is accepted.
    """
    if text == "now":
        return now_ms
    if match := _AGO.fullmatch(text):
        return now_ms - int(match[1]) * _AGO_MS[match[2]]
    if (moment := _text_ms(text)) is None:
        raise ValueError(f"{text!r} is not a time: use {MOMENT_FORMS}")
    return moment


def timestamp_ms(value: str | int | float | None) -> int:
    """The time of an input field in ms: an ISO 8601 text or a plain number.

    Raises ValueError, whose text lists what is accepted.
    """
    if isinstance(value, int):
        return _whole_ms(value)
    moment = None
    if isinstance(value, float):
        # repr: the shortest digits that mean this number, as it was written.
        value = format(value, "f") if "e" in repr(value) else repr(value)
    if value is not None and (moment := _iso_ms(value)) is None:
        if not _PLAIN.fullmatch(value):
            moment = _text_ms(value)
        elif not _is_date(value):
            moment = epoch_ms(value)
    if moment is None:
        raise ValueError(
            f"{value!r} is not a timestamp: use ISO 8601 (2013-01-05T00:00:00Z) or a number since"
            " 1970, in seconds, milliseconds, microseconds or nanoseconds"
        )
    return moment


def _is_date(digits: str) -> bool:
    """Whether eight digits may be a date such as ``20130105``, which is ambiguous."""
    try:
        return len(digits) == 8 and 1900 <= date.fromisoformat(digits).year < 2100
    except ValueError:
        return False


def _text_ms(text: str) -> int | None:
    if match := _AT.fullmatch(text):
        return epoch_ms(match[1], match[2])
    return _iso_ms(text)


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
    """``2013-01-05T00:00:00.000Z``; ``@<n>ms`` if the year does not have four digits."""
    try:
        text = (EPOCH + moment_ms * MILLISECOND).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"@{moment_ms}ms"
    return text[: -len("+00:00")] + "Z"


class CachedTimestamps(dict[str | float | None, int]):
    """``timestamp_ms`` as a mapping: a text that repeats costs one look-up in C."""

    # Events come in time order, so a text either repeats soon or never again; 4096 texts of
    # 30 bytes stay in the processor's cache.
    ENTRIES_MAX = 4096

    def __init__(self) -> None:
        super().__init__()
        self.early: str | None = None  # of the first plain number that means a moment before 2000

    def __missing__(self, value: str | float | None) -> int:
        if len(self) >= self.ENTRIES_MAX:
            self.clear()
        self[value] = moment = timestamp_ms(value)
        if moment < EARLY_MS and self.early is None:
            self.early = early(str(value), moment)
        return moment


class CachedIso(dict[int, bytes]):
    """``iso`` as a mapping to ASCII bytes, bounded likewise."""

    ENTRIES_MAX = 4096

    def __missing__(self, moment: int) -> bytes:
        if len(self) >= self.ENTRIES_MAX:
            self.clear()
        self[moment] = text = iso(moment).encode()
        return text
