"""Reads the audit log: newest entries first, a page at a time, filtered by event, user and time."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from logstore.access.resources import READ
from logstore.broker.looking import LookedFor
from logstore.broker.search import Search
from logstore.broker.start import offset_of
from logstore.broker.topic import Topic
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.log import Log
from logstore.names import AUDIT_TOPIC
from logstore.protocols.http.call import PAGE_QUERY, Call, Page
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.objects import offset_given, require_topic
from logstore.protocols.http.native.partitions import moment
from logstore.protocols.http.paging import paged
from logstore.records.record import Record

BUDGET_S: Final = 2.0  # of a worker's time, as of any search
BUDGET_BYTES: Final = 64 << 20
PART_S: Final = 0.03
FOUND_MAX: Final = 10_000  # entries that are looked for: so deep goes the last page
ENTRIES_MAX: Final = 10**9  # that are looked at: bytes and time are the bound
EXACT: Final = ("event", "outcome", "user", "host", "door")  # fields that a query may name
QUERY: Final = ("filter", *EXACT, "from_ms", "until_ms", *PAGE_QUERY)

Wanted = Callable[[dict[str, Any]], bool]


def shown(door: HttpDoor, call: Call) -> None:
    """Reply with entries; none exist before the first user. Raises Fault, Forbidden."""
    require_topic(door, call, READ, AUDIT_TOPIC)
    page = call.page()
    if page.number * page.size > FOUND_MAX:
        raise Fault(BAD_REQUEST, f"the newest {FOUND_MAX} entries are shown: say from_ms, until_ms")
    topic = door.topics.get(AUDIT_TOPIC)
    if topic is None:
        call.answer(paged([], 0, page) | {"complete": True})
        return
    _Look(door, call, topic, page).go_on()


def _ms(call: Call, name: str) -> int | None:
    """Raises Fault."""
    text = call.text(name)
    if not text:
        return None
    number = offset_given(text, name)
    moment(number)
    return number


def _wanted(call: Call) -> Wanted:
    """Whether an entry matches the query."""
    exact = {name: call.text(name) for name in EXACT if name in call.query}
    text = call.text("filter")

    def wanted(row: dict[str, Any]) -> bool:
        return all(row[name] == said for name, said in exact.items()) and (
            not text or any(text in row[name] for name in (*EXACT, "what"))
        )

    return wanted


def _needle(call: Call) -> LookedFor:
    """Bytes that each matching entry contains, so that others need not be decoded."""
    said = [call.text(name) for name in EXACT if call.text(name)]
    if not said:
        return LookedFor()
    try:
        return LookedFor(text=msgspec.json.encode(max(said, key=len))[1:-1])
    except UnicodeEncodeError:  # no entry has it
        return LookedFor(text=b"\xff")


class _Look:
    """One search through the log, in parts, in turn with other searches."""

    def __init__(self, door: HttpDoor, call: Call, topic: Topic, page: Page) -> None:
        """Raises Fault."""
        self._door, self._call, self._page = door, call, page
        self._wanted = _wanted(call)
        self._all = not any(name in call.query for name in QUERY if name not in PAGE_QUERY)
        self._topic = topic
        self._search = Search(
            topic, [0], _needle(call), _row, ENTRIES_MAX, back=True,
            begin=_place(_ms(call, "from_ms"), lambda log: log.start),
            end=_place(_ms(call, "until_ms"), lambda log: log.safe),
        )  # fmt: skip
        self._rows: list[dict[str, Any]] = []
        self._used_s = 0.0

    def go_on(self) -> None:
        """Read one more part."""
        self._door.searches(self._part, self._done)

    @property
    def _enough(self) -> bool:
        """Whether one entry more than a page was found, which shows that another page exists."""
        return len(self._rows) > self._page.number * self._page.size

    @property
    def _used_up(self) -> bool:
        search = self._search
        spent = self._used_s >= BUDGET_S or search.counts.bytes >= BUDGET_BYTES
        return search.opened and spent

    @property
    def _spent(self) -> bool:
        """Whether the search has ended."""
        return self._used_up and not self._search.halfway

    def _part(self) -> LogstoreError | None:
        """Read a part, in a worker."""
        stopwatch = self._door.stopwatch
        began = stopwatch()
        try:
            while not (self._search.over or self._enough):
                hits = self._search.step(lambda: False, last=self._used_up)
                found = [it.row for it in hits]
                self._rows += [row for row in found if row is not None and self._wanted(row)]
                if stopwatch() - began >= PART_S or self._spent:
                    break
        except LogstoreError as error:
            return error
        self._used_s += stopwatch() - began
        return None

    def _done(self, error: LogstoreError | None) -> None:
        if self._call.over:
            return
        if error is not None:
            self._call.fail(error)
        elif self._search.over or self._enough or self._spent:
            self._call.attempt(self._answer)
        else:
            self.go_on()

    def _answer(self) -> None:
        page, rows, log = self._page, self._rows, self._topic.partition(0)
        total = log.safe - log.start if self._all else len(rows)
        first = (page.number - 1) * page.size
        about = paged(rows[first : first + page.size], total, page)
        self._call.answer(about | {
            "complete": self._all or self._search.over,  # False: total is what was found so far
            "damages": [why for _, why in self._search.counts.damages],
        })  # fmt: skip


def _place(time_ms: int | None, otherwise: Callable[[Log], int]) -> Callable[[Log, int], int]:
    if time_ms is None:
        return lambda log, number: otherwise(log)
    at = moment(time_ms)
    return lambda log, number: offset_of(log, at, damaged=True)


def _row(record: Record) -> dict[str, Any] | None:
    """The entry as a row; None if the record is not an entry."""
    try:
        entry = msgspec.json.decode(record.value or b"", type=_Entry)
    except (ValueError, RecursionError):
        return None
    return {
        "offset": str(record.offset),
        "time_ms": entry.last_ms,
        "first_ms": entry.first_ms,
        "event": entry.event,
        "outcome": entry.outcome,
        "user": entry.user,
        "host": entry.host,
        "door": entry.door,
        "mechanism": entry.mechanism,
        "what": "; ".join(entry.what),
        "count": entry.count,
    }


class _Entry(msgspec.Struct):
    """An entry as ``access.audit.Entry.fields`` writes it."""

    event: str
    outcome: str = ""
    user: str = ""
    host: str = ""
    door: str = ""
    mechanism: str = ""
    what: list[str] = []
    count: int = 1
    first_ms: int = 0
    last_ms: int = 0
