"""Where reading begins: an offset, a time, or an end of the log."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

from logstore.errors import OffsetAboveEnd, OffsetBelowStart, OffsetOutOfRange, Refused
from logstore.log import TopicPartition

Start = Literal["earliest", "latest"] | int | datetime
Starts = Start | Mapping[TopicPartition, int]
# What becomes of a partition whose offset is not in the log any more: raise, or go on there.
OnOutOfRange = Literal["stop", "earliest", "latest"]
_ON_OUT_OF_RANGE: Final = ("stop", "earliest", "latest")

_log = logging.getLogger("logstore.consumer")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class Held(Protocol):
    """The facts about a log that are needed to find a position in it."""

    @property
    def name(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def safe(self) -> int: ...
    @property
    def end(self) -> int: ...
    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int: ...


def offset_of(log: Held, start: Start, *, damaged: bool = False) -> int:
    """Return the offset to begin at. A datetime without zone is UTC; an int is an offset.

    ``damaged``: return a damaged batch too, if it may hold the time; otherwise that raises.

    Raises OffsetBelowStart, OffsetAboveEnd; Refused for any other word.
    """
    if isinstance(start, datetime):
        return log.find(time_ms(start), damaged=damaged)
    if start == "earliest":
        return log.start
    if start == "latest":
        return log.safe
    if not isinstance(start, int):
        raise Refused(f"start {start!r}: must be earliest, latest, an offset or a datetime")
    return check_offset(log, start)


def start_of(log: Held, place: TopicPartition, starts: Starts, *, damaged: bool = False) -> int:
    """Return the offset to begin at, as ``offset_of``; from a mapping, the one of ``place``."""
    if isinstance(starts, Mapping):
        return check_offset(log, starts.get(place, log.start))
    return offset_of(log, starts, damaged=damaged)


def end_of(log: Held, end: Start, *, damaged: bool = False) -> int:
    """Return the offset to end at, as ``offset_of``; a log may begin after it, or end before it."""
    return end if isinstance(end, int) else offset_of(log, end, damaged=damaged)


def time_ms(moment: datetime) -> int:
    """Return the time in ms since 1970; a datetime without a zone is UTC."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return -((_EPOCH - zoned) // _MS)  # rounded up: nothing before it is wanted


def check_offset(log: Held, offset: int) -> int:
    """Check that reading can begin there; return it. Raises OffsetBelowStart, OffsetAboveEnd."""
    if offset < log.start:
        raise OffsetBelowStart(
            f"{log.name}: offset {offset} is below the start, {log.start}: those records are gone"
        )
    if offset > log.end:
        raise OffsetAboveEnd(f"{log.name}: offset {offset} is above the end, {log.end}")
    return offset


def check_on_out_of_range(word: str) -> None:
    """Check the word. Raises Refused."""
    if word not in _ON_OUT_OF_RANGE:
        raise Refused(f"on_out_of_range {word!r}: must be one of {', '.join(_ON_OUT_OF_RANGE)}")


def narrowed(error: OffsetOutOfRange, group: str | None) -> OffsetOutOfRange:
    """Return the error with the command that moves the group in this partition only."""
    from shlex import quote  # rarely used

    if group is None:
        return error
    return type(error)(
        f"{error}; `logstore group reset-offsets {quote(group)} --out-of-range earliest` (or"
        " latest) moves the group only in partitions where it is out of range; `logstore"
        " consume --on-out-of-range` does so while it consumes"
    )


def is_in_range(log: Held, offset: int) -> bool:
    """Whether a group with this committed offset can go on there."""
    return log.start <= offset <= log.end


def committed_offset(
    log: Held, offset: int, group: str | None, on_out_of_range: OnOutOfRange
) -> int:
    """Return where a group with this committed offset goes on.

    Raises OffsetOutOfRange, for "stop".
    """
    try:
        return check_offset(log, offset)
    except OffsetOutOfRange as error:
        if on_out_of_range == "stop":
            raise narrowed(error, group) from None
        return moved_to(log, error, on_out_of_range)


def moved_to(log: Held, error: OffsetOutOfRange, to: Literal["earliest", "latest"]) -> int:
    """Return the offset to go on from, and log a line."""
    after = offset_of(log, to)
    _log.warning("%s; going on at the %s, %d", error, to, after)
    return after
