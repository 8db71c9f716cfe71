"""Lists in RabbitMQ's form: complete, or paged; sorted; with chosen columns.

Rows that are not shown cost next to nothing: names are filtered and keys compared, in slices,
before any row is made. A long list without paging is made in parts, as the peer reads them.
"""

from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from logstore.errors import LogstoreError
from logstore.http.bodies import JSON, encode
from logstore.http.faults import BAD_REQUEST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit.words import RabbitFault, bad_request
from logstore.slices import Steps, Wait, parts

_T = TypeVar("_T")

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500
NUMBER_CHARACTERS: Final = 9
PATTERN_CHARACTERS_MAX: Final = 1024
PATTERN_BYTES_MAX: Final = 1 << 20  # that a compiled one may take
ROWS_AT_ONCE: Final = 200  # that are looked at, at some 2 us each, between yields
RUN_ROWS: Final = 2000  # sorted at once: 1 ms
ROWS_OF_A_PART: Final = 20  # at some 30 us each
WHOLE_MAX: Final = 100  # rows that are one part

Row = dict[str, Any]


class Kind(NamedTuple, Generic[_T]):
    """The kind of a list's rows."""

    show: Callable[[_T], Row]
    name: Callable[[_T], str]  # what a page's filter looks at
    order: Callable[[_T], Any]  # how they are sorted where nothing is said
    keys: Mapping[str, Callable[[_T], Any]] = {}  # the columns that they can be sorted by
    sees: Callable[[_T], bool] = lambda _: True  # whether whoever asks may know of it
    is_there: Callable[[_T], bool] = lambda _: True  # still, when it is shown
    # What is to be done before one is shown, and its columns are compared whose names are these.
    is_ready: Callable[[_T], bool] = lambda _: True
    prepare: Callable[[Sequence[_T], Callable[[], None]], None] = lambda _, then: then()
    counted: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The requested page of a list."""

    number: int  # from 1
    size: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a list was requested."""

    page: Page | None  # None: all of it
    matches: Callable[[str], object] | None  # its name
    sort: str
    descending: bool
    columns: tuple[tuple[str, ...], ...]  # each a path; none: all

    @classmethod
    def of(cls, call: Call) -> "Wanted":
        """Raises RabbitFault."""
        page = _page(call)
        matches = _matcher(call) if page is not None and call.text("name") else None
        sort, descending = call.text("sort"), call.text("sort_reverse") == "true"
        return cls(page, matches, sort, descending, columns_of(call))


def columns_of(call: Call) -> tuple[tuple[str, ...], ...]:
    """The requested columns, each as a path of member names."""
    return tuple(tuple(it.split(".")) for it in call.text("columns").split(",") if it)


def _page(call: Call) -> Page | None:
    if not call.text("page"):
        return None
    number, size = _number(call.text("page")), PAGE_SIZE
    if call.text("page_size"):
        size = _number(call.text("page_size"))
    if number < 1 or not 1 <= size <= PAGE_SIZE_MAX:
        raise RabbitFault(
            BAD_REQUEST, "invalid_pagination_parameters",
            f"Invalid pagination parameters: page number {number}, page size {size}; a page has 1 "
            f"to {PAGE_SIZE_MAX} rows",
        )  # fmt: skip
    return Page(number, size)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARACTERS):
        raise bad_request("Pagination parameters are invalid")
    return int(text)


def _matcher(call: Call) -> Callable[[str], object]:
    """Matches a text anywhere in a name, ignoring case."""
    wanted = call.text("name")
    if call.text("use_regex") != "true":
        low = wanted.lower()
        return lambda name: low in name.lower()
    import re2  # no pattern can stall it, as Python's own can be; few lists have one

    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    try:
        if len(wanted) > PATTERN_CHARACTERS_MAX:
            raise bad_request("Pagination parameters are invalid: the pattern is too long")
        pattern = re2.compile(wanted, options)
    except (re2.error, UnicodeEncodeError):
        raise bad_request("Pagination parameters are invalid") from None
    search: Callable[[str], object] = pattern.search
    return lambda name: search(name.encode("utf-8", "replace").decode())


class Found(NamedTuple, Generic[_T]):
    """The requested rows; the number of matching rows, and of all that the caller may see."""

    rows: Sequence[_T]
    filtered: int
    total: int


def answer(door: HttpDoor, call: Call, rows: Iterable[_T], kind: Kind[_T]) -> None:
    """Reply with these rows, perhaps filtered. Raises RabbitFault.

    ``rows`` is traversed in slices, so pass a copy of anything that may change meanwhile.
    """
    wanted = Wanted.of(call)

    def done(found: Found[_T] | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: _show(call, found, kind, wanted))

    door.slices.begin(_found(rows, kind, wanted), done)


def _show(call: Call, found: Found[_T], kind: Kind[_T], wanted: Wanted) -> None:
    if wanted.page is None and len(found.rows) > WHOLE_MAX:
        call.stream(JSON, _parts(found.rows, kind, wanted))
        return
    items = [shown(it, kind, wanted) for it in found.rows if kind.is_there(it)]
    call.answer(items if wanted.page is None else paged(items, found, wanted.page))


def _found(rows: Iterable[_T], kind: Kind[_T], wanted: Wanted) -> Steps:
    seen: list[tuple[Any, int, _T]] = []  # in the usual order, then as they came
    total = begun = number = 0
    for number, row in enumerate(rows, 1):
        if kind.sees(row):
            total += 1
            if wanted.matches is None or wanted.matches(kind.name(row)):
                seen.append((kind.order(row), number, row))
        if number % ROWS_AT_ONCE == 0:
            yield ROWS_AT_ONCE
        if len(seen) - begun >= RUN_ROWS:  # runs, which the last sort only has to merge
            seen[begun:] = sorted(seen[begun:], key=_BY_ORDER)
            begun = len(seen)
    yield number % ROWS_AT_ONCE
    seen.sort(key=_BY_ORDER, reverse=wanted.descending and not wanted.sort)
    found: Sequence[_T] = [row for _, _, row in seen]
    if wanted.sort in kind.keys:
        found = yield from _sorted(found, kind, wanted)
    matching = len(found)
    if wanted.page is not None:
        found = cut(found, wanted.page)
    yield from _ready(found, kind)
    return Found(found, matching, total)


_BY_ORDER: Final = itemgetter(0, 1)


def _sorted(
    rows: Sequence[_T], kind: Kind[_T], wanted: Wanted
) -> Generator[int | Wait, Any, Sequence[_T]]:
    if wanted.sort in kind.counted:
        yield from _ready(rows, kind)
    key, keys = kind.keys[wanted.sort], []
    for part in parts(rows, ROWS_AT_ONCE):
        keys += [key(it) for it in part]
        yield len(part)
    places = sorted(range(len(rows)), key=keys.__getitem__, reverse=wanted.descending)
    return [rows[it] for it in places]


def _ready(rows: Sequence[_T], kind: Kind[_T]) -> Steps:
    waiting: list[_T] = []
    for part in parts(rows, ROWS_AT_ONCE):
        waiting += [it for it in part if not kind.is_ready(it)]
        yield len(part)
    if waiting:
        yield lambda go_on: kind.prepare(waiting, lambda: go_on(None))


def cut(found: Sequence[_T], page: Page) -> Sequence[_T]:
    """The rows of a page. Raises RabbitFault if the page does not exist."""
    begin = (page.number - 1) * page.size
    if begin >= len(found) and page.number > 1:
        raise RabbitFault(
            BAD_REQUEST, "page_out_of_range",
            f"Page out of range, page: {page.number} page size: {page.size}, len: {len(found)}",
        )  # fmt: skip
    return found[begin : begin + page.size]


def paged(items: Sequence[Row], found: Found[_T], page: Page) -> Row:
    """A page, with the number of rows."""
    return {
        "filtered_count": found.filtered,
        "item_count": len(items),
        "items": items,
        "page": page.number,
        "page_count": -(-found.filtered // page.size),
        "page_size": page.size,
        "total_count": found.total,
    }


def shown(it: _T, kind: Kind[_T], wanted: Wanted) -> Row:
    return picked_columns(kind.show(it), wanted.columns)


def picked_columns(row: Row, columns: Sequence[tuple[str, ...]]) -> Row:
    """The requested columns, as far as they exist."""
    if not columns:
        return row
    found: Row = {}
    for path in columns:
        _pick(row, path, found)
    return found


def _pick(row: Row, path: Sequence[str], into: Row) -> None:
    for name in path[:-1]:
        inner = row.get(name)
        if not isinstance(inner, dict):
            return
        row, into = inner, into.setdefault(name, {})
    if path[-1] in row:
        into[path[-1]] = row[path[-1]]


def _parts(found: Sequence[_T], kind: Kind[_T], wanted: Wanted) -> Iterator[bytes]:
    return parts_of(
        [shown(it, kind, wanted) for it in part if kind.is_there(it)]
        for part in parts(found, ROWS_OF_A_PART)
    )


def parts_of(groups: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """The parts of a reply with a list; each part is a group of rows."""
    before = b"["
    for rows in groups:
        if rows:
            yield before + b",".join([encode(it) for it in rows])
            before = b","
    yield b"[]\n" if before == b"[" else b"]\n"
