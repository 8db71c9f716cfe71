"""Partitions of a topic with their segments; trimming of their records."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

import msgspec

from logstore.access.audit import RECORDS
from logstore.broker.ledger import Ledger, producers_of
from logstore.broker.start import Start
from logstore.broker.topics import SegmentSeen
from logstore.broker.trimming import trim
from logstore.errors import Damaged, Failed, Refused
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native.objects import offset_given, topic_of
from logstore.protocols.http.replies.shown import repeats

SEGMENTS_MAX: Final = 100  # of a partition that are shown, the newest: each takes a look into it
SEGMENTS_TOGETHER: Final = 1000  # of all partitions of a page
TIME_MS_MAX: Final = 253_402_300_799_999  # the year 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LogPlace(msgspec.Struct, forbid_unknown_fields=True):
    """A position in a partition: exactly one of these fields."""

    offset: str | int | None = None
    time_ms: int | None = None

    def start(self) -> Start:
        """Raises Fault."""
        if (self.offset is None) == (self.time_ms is None):
            raise Fault(
                BAD_REQUEST, "a place in a log is an offset or a time_ms: say one of the two"
            )
        if self.offset is not None:
            return offset_given(self.offset)
        assert self.time_ms is not None
        return moment(self.time_ms)


def moment(time_ms: int) -> datetime:
    """Raises Fault."""
    if not 0 <= time_ms <= TIME_MS_MAX:
        raise Fault(BAD_REQUEST, f"time_ms {time_ms}: must be 0 to {TIME_MS_MAX}")
    return _EPOCH + timedelta(milliseconds=time_ms)


class TopicTrim(msgspec.Struct, forbid_unknown_fields=True):
    """Records below this position are deleted. ``before`` "latest": all existing records."""

    before: LogPlace | Literal["latest"]
    partition: int | None = None  # of all, each below the same place
    dry_run: bool = False


# Shown


def shown(door: HttpDoor, call: Call) -> None:
    """List partitions with their newest segments, and open their logs. Raises UnknownTopic."""
    name, page = topic_of(door, call.word("name")).name, call.page()

    def look() -> dict[str, Any]:
        count = len(topic_of(door, name).partitions)
        numbers = paging.part(range(count), page)
        most = min(SEGMENTS_MAX, max(1, SEGMENTS_TOGETHER // max(len(numbers), 1)))
        return paging.paged([_row(door, name, it, most) for it in numbers], count, page)

    elsewhere(door, call, look, call.answer)


def described(door: HttpDoor, call: Call) -> None:
    """Describe one partition, with more of its segments. Raises UnknownTopic, UnknownPartition."""
    name, number = topic_of(door, call.word("name")).name, partition_number(call)

    def look() -> dict[str, Any]:
        topic_of(door, name).at_hand(number)  # whether there is one
        return _row(door, name, number, SEGMENTS_TOGETHER)

    elsewhere(door, call, look, call.answer)


def partition_number(call: Call) -> int:
    """The number in the path. Raises Fault."""
    return offset_given(call.word("partition"), "partition")


def _row(door: HttpDoor, name: str, number: int, segments_max: int) -> dict[str, Any]:
    """The row of a partition, with the error of a broken one. Raises UnknownTopic,
    UnknownPartition.
    """
    about: dict[str, Any] = {
        "partition": number, "start": None, "safe": None, "end": None, "bytes": None,
        "segments": [], "segments_total": None, "error": None, "repeats": None, "stable": None,
        "held_by": None,
    }  # fmt: skip
    try:
        log = topic_of(door, name).partition(number)
        about |= {"start": str(log.start), "safe": str(log.safe), "end": str(log.end)}
        its = producers_of(log)
        about["repeats"] = repeats(None if its is None else its.repeats)
        about["stable"] = str(log.stable)
        about["held_by"] = None if its is None else _holder(door, its)
        found = door.topics.segments(name, number, segments_max)
    except (Damaged, Failed) as error:
        about["error"] = str(error)
        return about
    about["segments"] = [_segment(it) for it in found.newest]
    about |= {"bytes": str(found.bytes), "segments_total": found.total}
    return about


def _holder(door: HttpDoor, its: Ledger) -> dict[str, Any] | None:
    """The producer whose open transaction holds back readers of committed records."""
    holder = its.holder
    if holder is None:
        return None
    pid, _ = holder
    model = door.transactions_of.opened
    known = None if model is None else model.table.of_pid(pid)
    return {
        "producer_id": str(pid),
        "transactional_id": None if known is None else known.name,
        "began_ms": None if known is None or not known.is_open else known.began_ms,
    }


def _segment(it: SegmentSeen) -> dict[str, Any]:
    return {
        "base_offset": str(it.base_offset),
        "bytes": str(it.bytes),
        "records": str(it.end_offset - it.base_offset),  # no more than these
        "last_ms": None if it.max_timestamp_ms < 0 else it.max_timestamp_ms,
        "active": it.active,
    }


# Trimmed


def trimmed(door: HttpDoor, call: Call) -> None:
    """Delete records at the start; durable when answered.

    Raises UnknownTopic, UnknownPartition, OffsetOutOfRange; Refused for a compacted topic.
    """
    name, asked = topic_of(door, call.word("name")).name, call.json(TopicTrim)
    before = asked.before if isinstance(asked.before, str) else asked.before.start()
    numbers = None if asked.partition is None else [asked.partition]
    elsewhere(door, call, partial(_trim, door, call, name, before, numbers, asked), call.answer)


def _trim(
    door: HttpDoor,
    call: Call,
    name: str,
    before: Start,
    numbers: Sequence[int] | None,
    asked: TopicTrim,
) -> dict[str, Any]:
    topic = topic_of(door, name)
    if topic.settings.cleanup_policy == ("compact",):
        raise Refused(f"topic {name!r} is compacted: the last value of each key is to be kept")
    trims = trim(topic, before, numbers, dry_run=asked.dry_run)
    gone = [it for it in trims if it.start_after > it.start_before]
    if not asked.dry_run:
        for it in gone:
            what = f"deleted of {name}-{it.partition} those before {it.start_after}"
            door.audit.tell(RECORDS, call.who, what)
    return {
        "name": name,
        "partitions": [
            {
                "partition": it.partition,
                "from": str(it.start_before),
                "to": str(it.start_after),
                "records": str(max(it.start_after - it.start_before, 0)),
            }
            for it in trims
        ],
        "records": str(sum(it.start_after - it.start_before for it in gone)),
        "dry_run": asked.dry_run,
    }
