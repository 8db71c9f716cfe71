"""Searches a topic's records: results as lines while they are found, within a budget.

A search that has used up its budget states its position and can be continued. It runs for a few
hundredths of a second at a time, in turn with others.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from logstore.access.resources import READ
from logstore.broker.looking import HeaderLookedFor, LookedFor
from logstore.broker.search import Hit, Place, Search, cursor, parsed_cursor
from logstore.broker.start import offset_of
from logstore.broker.topic import Topic
from logstore.errors import Forbidden, LogstoreError, Refused
from logstore.http.bodies import encode
from logstore.http.faults import BAD_REQUEST, UNAVAILABLE, Fault
from logstore.log import Log
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native import record_rows
from logstore.protocols.http.native.asked import asked
from logstore.protocols.http.native.objects import may_topic, topic_of
from logstore.protocols.http.native.partitions import LogPlace
from logstore.protocols.http.replies import contents
from logstore.records.record import Record

BUDGET_S: Final = 2.0  # of a worker's time
BUDGET_BYTES: Final = 64 << 20  # of batches that are looked at
OUT_BYTES: Final = 4 << 20  # of lines: they may wait for a slow peer
PART_S: Final = 0.03  # of one piece of work
PART_BYTES: Final = 4 << 20
LIMIT: Final = 50  # of hits
LIMIT_MAX: Final = 500
SEARCHES_MAX: Final = 64  # at one door: each may hold a megabyte, and its lines
PARTITIONS_MAX: Final = 1000  # at once: each has its log opened, and may hold a hit
NEEDLE_BYTES_MAX: Final = 1024


class TextOrBytes(msgspec.Struct, forbid_unknown_fields=True):
    """A text or bytes: exactly one of these fields."""

    text: str | None = None
    base64: str | None = None

    def data(self, what: str) -> bytes:
        """Raises Fault."""
        if (self.text is None) == (self.base64 is None):
            raise Fault(BAD_REQUEST, f"{what}: say text or base64")
        if self.text is not None:
            return contents.given(self.text, contents.TEXT, what)
        assert self.base64 is not None
        return contents.given(self.base64, contents.BASE64, what)


class HeaderSearch(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str | TextOrBytes | None = None  # None: any


class SearchFrom(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly one of these fields. ``last``: this many of the newest records, newest first."""

    offset: str | int | None = None
    time_ms: int | None = None
    last: int | None = None
    cursor: str | None = None  # that a search has given


class RecordSearch(msgspec.Struct, forbid_unknown_fields=True):
    """A record must satisfy all given conditions."""

    partitions: list[int] | None = None
    begin: SearchFrom = msgspec.field(name="from", default_factory=SearchFrom)
    until: LogPlace | None = None  # the first place that is not looked at any more
    key: str | TextOrBytes | None = None
    text: str | TextOrBytes | None = None  # in the value, the key, or the value of a header
    header: HeaderSearch | None = None
    limit: int | None = None  # of hits


def searched(door: HttpDoor, call: Call) -> None:
    """Search a topic. Raises Fault, UnknownTopic, UnknownPartition, Refused."""
    given = asked(call, RecordSearch)
    topic = topic_of(door, call.word("name"))
    search, back = made(topic, given)
    if len(door.searching) >= SEARCHES_MAX:
        raise Fault(UNAVAILABLE, f"{SEARCHES_MAX} searches are under way: try again later")
    _Run(door, call, topic.name, search, back).go_on()


def made(topic: Topic, given: RecordSearch) -> tuple[Search[bytes], bool]:
    """The search, and whether it goes backward. Raises Fault, UnknownPartition, Refused."""
    positions, back = _positions(given.begin)
    limit = _limit(given)
    begin, end = _place(given.begin, positions), _until(given.until)
    if back:
        begin, end = _start_of, _lower(end, positions)
    return (
        Search(
            topic, _numbers(topic, given.partitions), looked_for(given), _line, limit,
            begin=begin, end=end, back=back,
        ),
        back,
    )  # fmt: skip


def looked_for(given: RecordSearch) -> LookedFor:
    """Raises Fault."""
    header = given.header
    return LookedFor(
        _needle(given.key, "key"),
        _needle(given.text, "text"),
        None if header is None
        else HeaderLookedFor(header.name, _needle(header.value, "value of the header")),
    )  # fmt: skip


def _needle(given: str | TextOrBytes | None, what: str) -> bytes | None:
    if given is None:
        return None
    data = (
        contents.given(given, contents.TEXT, what) if isinstance(given, str) else given.data(what)
    )
    if len(data) > NEEDLE_BYTES_MAX and what == "text":
        raise Fault(BAD_REQUEST, f"the text has over {NEEDLE_BYTES_MAX} bytes")
    return data


def _numbers(topic: Topic, given: Sequence[int] | None) -> Sequence[int]:
    """Raises UnknownPartition, Refused."""
    numbers = range(len(topic.partitions)) if given is None else given
    if len(numbers) > PARTITIONS_MAX:
        raise Refused(f"{PARTITIONS_MAX} partitions are searched at once: name some of them")
    for number in numbers:
        topic.at_hand(number)
    return list(dict.fromkeys(numbers))


def _limit(given: RecordSearch) -> int:
    """Raises Fault."""
    last = given.begin.last
    for what, number in (("limit", given.limit), ("last", last)):
        if number is not None and not 1 <= number <= LIMIT_MAX:
            raise Fault(BAD_REQUEST, f"{what} {number}: must be 1 to {LIMIT_MAX}")
    if last is not None:
        return last if given.limit is None else min(last, given.limit)
    return LIMIT if given.limit is None else given.limit


# Places


def _positions(given: SearchFrom) -> tuple[dict[int, int], bool]:
    """Where a search continues, and whether it goes backward. Raises Fault, Refused."""
    said = [it for it in (given.offset, given.time_ms, given.last, given.cursor) if it is not None]
    if len(said) > 1:
        raise Fault(BAD_REQUEST, "from: say exactly one of an offset, a time_ms, last or a cursor")
    if given.cursor is None:
        return {}, given.last is not None
    return cursor_given(given.cursor)


def cursor_given(text: str) -> tuple[dict[int, int], bool]:
    """As ``parsed_cursor``. Raises Fault."""
    try:
        return parsed_cursor(text)
    except Refused as error:
        raise Fault(BAD_REQUEST, str(error)) from None


def _start_of(log: Log, number: int) -> int:
    return log.start


def _end_of(log: Log, number: int) -> int:
    return log.safe


def _place(given: SearchFrom, positions: dict[int, int]) -> Place:
    """Raises Fault."""
    if given.cursor is not None:
        return lambda log, number: positions.get(number, log.start)
    if given.offset is None and given.time_ms is None:
        return _start_of
    return _at(LogPlace(given.offset, given.time_ms))


def _until(given: LogPlace | None) -> Place:
    """Raises Fault."""
    return _end_of if given is None else _at(given)


def _at(given: LogPlace) -> Place:
    """The offset need not exist: a search begins or ends at the nearest one that does."""
    start = given.start()
    if isinstance(start, int):
        return lambda log, number: start
    return lambda log, number: offset_of(log, start, damaged=True)


def _lower(end: Place, positions: dict[int, int]) -> Place:
    return lambda log, number: min(end(log, number), positions.get(number, log.safe))


# Looking


def _line(record: Record) -> bytes:
    return encode({"record": record_rows.row(record)}) + b"\n"


class _Run:
    """One search for one client."""

    def __init__(
        self, door: HttpDoor, call: Call, topic: str, search: Search[bytes], back: bool
    ) -> None:
        self._door, self._call, self._topic = door, call, topic
        self._search, self._back = search, back
        self._used_s = 0.0
        self._out_bytes = self._found = 0
        door.searching.add(self)
        call.at_end(lambda: door.searching.discard(self))

    def go_on(self) -> None:
        """Run one more part."""
        self._door.searches(self._part, self._done)

    def _part(self) -> Sequence[Hit[bytes]] | LogstoreError:
        """Run a part, in a worker."""
        if self._call.over:
            return ()
        search, stopwatch = self._search, self._door.stopwatch
        opened, began, begun_bytes = search.opened, stopwatch(), search.counts.bytes

        def go_on() -> bool:
            return stopwatch() - began < PART_S and search.counts.bytes - begun_bytes < PART_BYTES

        try:
            hits = search.step(go_on, last=self._used_up)
        except LogstoreError as error:
            return error
        if opened:  # else it would not get on where there are many logs to be opened
            self._used_s += stopwatch() - began
        if self._spent:
            hits += search.rest()
        return hits

    @property
    def _used_up(self) -> bool:
        """Whether no further part is begun."""
        return self._search.opened and (
            self._used_s >= BUDGET_S
            or self._search.counts.bytes >= BUDGET_BYTES
            or self._out_bytes >= OUT_BYTES
        )

    @property
    def _spent(self) -> bool:
        """Whether the search has ended."""
        return self._used_up and not self._search.halfway

    def _done(self, hits: Sequence[Hit[bytes]] | LogstoreError) -> None:
        if self._call.over:
            return
        if not isinstance(hits, LogstoreError) and not may_topic(
            self._door, self._call, READ, self._topic
        ):
            hits = Forbidden(f"topic {self._topic!r} may no longer be read")
        if isinstance(hits, LogstoreError):
            self._break_off(hits)
            return
        for hit in hits:
            self._out_bytes += len(hit.row)
            self._call.line(hit.row)
        self._found += len(hits)
        if self._search.over or self._spent:
            self._call.line(encode(self._end()) + b"\n")
            self._call.end()
        else:
            self._call.line(encode(self._progress()) + b"\n", skip=True)
            self.go_on()

    def _break_off(self, error: LogstoreError) -> None:
        if not self._call.begun:
            self._call.fail(error)
            return
        about = {"error": str(error), "kind": type(error).__name__}
        self._call.line(encode(about) + b"\n")
        self._call.end()

    def _progress(self) -> dict[str, Any]:
        counts = self._search.counts
        return {
            "progress": round(self._search.share, 4),
            "scanned_records": str(counts.records),
            "scanned_bytes": str(counts.bytes),
        }

    def _end(self) -> dict[str, Any]:
        search, counts = self._search, self._search.counts
        positions = search.positions()
        return {
            "scanned_to": {str(number): str(offset) for number, offset in positions.items()},
            "cursor": cursor(positions, back=self._back),
            "newest": cursor(search.newest, back=False),  # for what comes after this
            "more": search.more,
            "found": self._found,
            "scanned_records": str(counts.records),
            "scanned_bytes": str(counts.bytes),
            "damages": [{"partition": it, "error": why} for it, why in counts.damages],
            "damages_left_out": counts.damages_left_out,
        }
