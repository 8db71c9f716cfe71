"""Where reading begins: an offset, a time, or one end of what a log holds."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from logstore.errors import OffsetAboveEnd, OffsetBelowStart, Refused
from logstore.log import TopicPartition

Start = Literal["earliest", "latest"] | int | datetime
Starts = Start | Mapping[TopicPartition, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class Held(Protocol):
    """What is to be known of a log to find a place in it."""

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
    """The offset to begin at. A datetime without zone is UTC; an int is an offset.

    ``damaged``: at a batch that can't be read, too, if it may hold the time. Else that raises.

    Raises OffsetBelowStart, OffsetAboveEnd; Refused for any other word.
    """
    if isinstance(start, datetime):
        zoned = start if start.tzinfo else start.replace(tzinfo=UTC)
        wanted_ms = -((_EPOCH - zoned) // _MS)  # rounded up: nothing before it is wanted
        return log.find(wanted_ms, damaged=damaged)
    if start == "earliest":
        return log.start
    if start == "latest":
        return log.safe
    if not isinstance(start, int):
        raise Refused(f"start {start!r}: takes earliest, latest, an offset or a datetime")
    return check_offset(log, start)


def check_offset(log: Held, offset: int) -> int:
    """The same offset, if reading can begin there. Raises OffsetBelowStart, OffsetAboveEnd."""
    if offset < log.start:
        raise OffsetBelowStart(
            f"{log.name}: offset {offset} is below the start, {log.start}: those records are gone"
        )
    if offset > log.end:
        raise OffsetAboveEnd(f"{log.name}: offset {offset} is above the end, {log.end}")
    return offset
