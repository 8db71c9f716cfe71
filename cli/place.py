"""A place in a log as people write it: ``latest``, an offset, a time, ``-N``. Pure."""

import re
from datetime import datetime
from typing import Literal

from .times import EPOCH, MILLISECOND, moment_ms

# Start positions that the library accepts.
Start = Literal["earliest", "latest"] | int | datetime

_OFFSET = re.compile(r"\d{1,18}", re.ASCII)
_LAST = re.compile(r"-(\d{1,18})", re.ASCII)


def place(text: str, now_ms: int, *, offsets: bool = True) -> Start:
    """``offsets``: whether offsets are accepted. Raises ValueError, whose text lists what is
    accepted.
    """
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if offsets and _OFFSET.fullmatch(text):
        return int(text)
    try:
        return EPOCH + moment_ms(text, now_ms) * MILLISECOND
    except OverflowError:
        raise ValueError(f"{text!r} is not a time between the years 1 and 9999") from None
    except ValueError as error:
        words = "earliest, latest or an offset" if offsets else "earliest or latest"
        raise ValueError(f"{error}; or use {words}") from None


def last_of(text: str) -> int | None:
    """N of ``-N``, the last N in a log; None for any other text."""
    match = _LAST.fullmatch(text)
    return None if match is None else int(match[1])
