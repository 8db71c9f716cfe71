"""Lists as RabbitMQ gives them: whole, or a page at a time, sorted, some columns of each row.

What is not shown costs next to nothing: names are looked at and keys are compared before any row is
made. A long list that is asked for as a whole is made in parts, as its peer takes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from logstore.http.bodies import JSON, encode
from logstore.http.faults import BAD_REQUEST
from logstore.protocols.http.call import Call
from logstore.protocols.http.rabbit.words import RabbitFault, bad_request

_T = TypeVar("_T")

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500
NUMBER_CHARACTERS: Final = 9
PATTERN_CHARACTERS_MAX: Final = 1024
PATTERN_BYTES_MAX: Final = 1 << 20  # that a compiled one may take
ROWS_OF_A_PART: Final = 20  # at some 30 us each
WHOLE_MAX: Final = 100  # rows that are one part

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind(Generic[_T]):
    """What a list is of."""

    show: Callable[[_T], Row]
    name: Callable[[_T], str]  # what a page's filter looks at
    keys: Mapping[str, Callable[[_T], Any]]  # the columns that it can be sorted by


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int  # from 1
    size: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a list is asked for."""

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
    """Each a path of names of members."""
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
    """Of small letters and large ones alike, anywhere in a name."""
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


def answer(call: Call, rows: Sequence[_T], kind: Kind[_T], wanted: Wanted | None = None) -> None:
    """Answer with these rows, of which some may be left out. Raises RabbitFault."""
    wanted = Wanted.of(call) if wanted is None else wanted
    found = picked(rows, kind, wanted)
    if wanted.page is not None:
        part = cut(found, wanted.page)
        call.answer(paged([shown(it, kind, wanted) for it in part], found, rows, wanted.page))
    elif len(found) <= WHOLE_MAX:
        call.answer([shown(it, kind, wanted) for it in found])
    else:
        call.stream(JSON, _parts(found, kind, wanted))


def picked(rows: Sequence[_T], kind: Kind[_T], wanted: Wanted) -> Sequence[_T]:
    """Those that match, in the order that is asked for."""
    matches = wanted.matches
    found = rows if matches is None else [it for it in rows if matches(kind.name(it))]
    key = kind.keys.get(wanted.sort)
    if key is not None:
        return sorted(found, key=key, reverse=wanted.descending)
    return found[::-1] if wanted.descending and not wanted.sort else found


def cut(found: Sequence[_T], page: Page) -> Sequence[_T]:
    """The rows of a page. Raises RabbitFault where there is no such page."""
    begin = (page.number - 1) * page.size
    if begin >= len(found) and page.number > 1:
        raise RabbitFault(
            BAD_REQUEST, "page_out_of_range",
            f"Page out of range, page: {page.number} page size: {page.size}, len: {len(found)}",
        )  # fmt: skip
    return found[begin : begin + page.size]


def paged(items: Sequence[Row], found: Sequence[object], rows: Sequence[object], page: Page) -> Row:
    """A page, with how many there are."""
    return {
        "filtered_count": len(found),
        "item_count": len(items),
        "items": items,
        "page": page.number,
        "page_count": -(-len(found) // page.size),
        "page_size": page.size,
        "total_count": len(rows),
    }


def shown(it: _T, kind: Kind[_T], wanted: Wanted) -> Row:
    return picked_columns(kind.show(it), wanted.columns)


def picked_columns(row: Row, columns: Sequence[tuple[str, ...]]) -> Row:
    """Those that are asked for, of those that there are."""
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
    before = b"["
    for at in range(0, len(found), ROWS_OF_A_PART):
        rows = (encode(shown(it, kind, wanted)) for it in found[at : at + ROWS_OF_A_PART])
        yield before + b",".join(rows)
        before = b","
    yield b"]\n"
