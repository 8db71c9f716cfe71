"""The time at which a message is due, by its headers. Pure.

    x-delay        milliseconds from its arrival on
    x-deliver-at   a moment: milliseconds since 1970, or ISO 8601; without a zone it is UTC

Either is a number, or its text. If both are present, ``x-deliver-at`` applies. A message with
another value, or with a time in the past, is not delayed, as in RabbitMQ's plugin.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

DELAY: Final = "x-delay"
DELIVER_AT: Final = "x-deliver-at"
# Ten years, RabbitMQ's limit for any time: what is further away is hardly meant.
WAIT_MAX_MS: Final = 315_360_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"\s*([+-]?\d{1,19})\s*", re.ASCII)
# As ``fromisoformat`` takes more than these shapes: "20130105" is a number.
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d.{0,30})?", re.ASCII)
DIGITS_MAX: Final = 19
_TEXT_MAX: Final = 64  # longer is none of them


def delay_of(given: object) -> int | None:
    """Return a delay in ms, perhaps negative; None: it is not a number.

    Takes int, float (rounded towards 0), and text or UTF-8 of a whole number.
    """
    if isinstance(given, bytes) and given.isdigit() and len(given) < DIGITS_MAX:
        return int(given)  # as most are
    if isinstance(given, bool):
        return None
    if isinstance(given, int):
        return int(given)
    if isinstance(given, float):
        return int(given) if abs(given) < 2**63 else None  # nor NaN
    text = _text(given)
    match = None if text is None else _NUMBER.fullmatch(text)
    return None if match is None else int(match[1])


def moment_of(given: object) -> int | None:
    """Return a time in ms since 1970, from a number or ISO 8601; None: it is neither."""
    found = delay_of(given)
    if found is not None:
        return found
    text = _text(given)
    if text is None or not _ISO.fullmatch(text.strip()):
        return None
    try:
        moment = datetime.fromisoformat(text.strip().upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None


def milliseconds_of(moment: datetime | int) -> int:
    """Return a time in ms since 1970. Raises ValueError without a zone, or before 1970."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"deliver_at {moment}: a datetime needs a zone, such as timezone.utc")
        moment = (moment - _EPOCH) // _MILLISECOND
    if not 0 <= moment < 2**63:
        raise ValueError(f"deliver_at {moment}: must be milliseconds since 1970")
    return moment


def _text(given: object) -> str | None:
    if isinstance(given, str):
        return given if len(given) <= _TEXT_MAX else None
    if isinstance(given, bytes | bytearray | memoryview) and len(given) <= _TEXT_MAX:
        try:
            return bytes(given).decode()
        except UnicodeDecodeError:
            return None
    return None


def due_of(delay: object, deliver_at: object, now_ms: int) -> int | None:
    """Return when a message with arrival time ``now_ms`` is due, in ms since 1970; None: at once.

    ``delay`` and ``deliver_at`` are the values of the headers; None: there is none.
    """
    moment = None if deliver_at is None else moment_of(deliver_at)
    if moment is None:
        wait = None if delay is None else delay_of(delay)
        if wait is None:
            return None
        moment = now_ms + wait
    return moment if moment > now_ms else None


def says_nothing(delay: object, deliver_at: object) -> bool:
    """Whether one of the headers is illegal, so that it has no effect and must be reported."""
    return (delay is not None and delay_of(delay) is None) or (
        deliver_at is not None and moment_of(deliver_at) is None
    )
