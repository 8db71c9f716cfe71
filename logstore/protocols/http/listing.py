"""Filters, sorts and pages lists by the query parameters ``filter``, ``regex``, ``sort``, ``page``.

Rows are objects of the models; only those of the requested page are converted. Tens of thousands of
rows are sorted in slices, so that no other client waits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from logstore.config import nearest
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import PAGE_QUERY, Call, Page
from logstore.protocols.http.door import HttpDoor
from logstore.slices import Steps, parts

LIST_QUERY: Final = ("filter", "regex", "sort", *PAGE_QUERY)
ROWS_AT_ONCE: Final = 200  # that are looked at, at some 2 us each, between yields
RUN_ROWS: Final = 2000  # sorted at once: 1 ms
REGEX_BYTES_MAX: Final = 1000
_REGEX_MEMORY: Final = 1 << 20

_T = TypeVar("_T")


class Columns(NamedTuple, Generic[_T]):
    """How rows of one kind are filtered and sorted."""

    name: Callable[[_T], str]  # what a filter looks at
    by: Mapping[str, Callable[[_T], Any]]  # what they can be sorted by; numbers or texts
    default: Callable[[_T], Any]  # what they are sorted by where nothing is said, and among equals


class Listed(NamedTuple, Generic[_T]):
    """The rows of a page, and the total number of rows."""

    rows: Sequence[_T]
    total: int
    page: Page

    def paged(self, items: Sequence[Any]) -> dict[str, Any]:
        """As JSON: each row as one of the items."""
        return {
            "items": items,
            "page": self.page.number,
            "page_size": self.page.size,
            "pages": -(-self.total // self.page.size),
            "total": self.total,
        }


def listed(
    door: HttpDoor,
    call: Call,
    rows: Iterable[_T],
    columns: Columns[_T],
    then: Callable[[Listed[_T]], object],
    sees: Callable[[_T], bool] | None = None,
) -> None:
    """``then`` gets the page that is asked for: now, or in a later turn. Raises Fault.

    ``rows`` is gone through in parts: of what may change meanwhile give a copy. Those that whoever
    asks may not know of are left out by ``sees``, and not before: it may be none of ten thousand.
    """
    page, wanted = call.page(), _filter(call)
    steps = _found(rows, columns, sees, wanted, _order(call, columns), page)

    def done(found: Listed[_T] | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: then(found))

    door.slices.begin(steps, done)


def show(
    door: HttpDoor,
    call: Call,
    rows: Iterable[_T],
    columns: Columns[_T],
    shown: Callable[[_T], Any],
    sees: Callable[[_T], bool] | None = None,
) -> None:
    """Answer with the page that is asked for. Raises Fault."""

    def answer(found: Listed[_T]) -> None:
        call.answer(found.paged([shown(it) for it in found.rows]))

    listed(door, call, rows, columns, answer, sees)


def _found(
    rows: Iterable[_T],
    columns: Columns[_T],
    sees: Callable[[_T], bool] | None,
    wanted: Callable[[str], object] | None,
    order: "_Order[_T]",
    page: Page,
) -> Steps:
    found: list[tuple[Any, int, _T]] = []  # in the default order, then as they came
    begun = seen = 0
    for seen, row in enumerate(rows, 1):
        if (sees is None or sees(row)) and (wanted is None or wanted(columns.name(row))):
            found.append((columns.default(row), seen, row))
        if seen % ROWS_AT_ONCE == 0:
            yield ROWS_AT_ONCE
        if len(found) - begun >= RUN_ROWS:  # runs, which the last sort only has to merge
            found[begun:] = sorted(found[begun:], key=_BY_DEFAULT)
            begun = len(found)
    yield seen % ROWS_AT_ONCE
    found.sort(key=_BY_DEFAULT)
    if order.key is not None:
        keys = []
        for part in parts(found, ROWS_AT_ONCE):
            keys += [order.key(row) for _, _, row in part]
            yield len(part)
        places = sorted(range(len(found)), key=keys.__getitem__, reverse=order.downwards)
        found = [found[it] for it in _of(places, page)]
        return Listed([row for _, _, row in found], len(places), page)
    return Listed([row for _, _, row in _of(found, page)], len(found), page)


_BY_DEFAULT: Final = itemgetter(0, 1)


def _of(rows: Sequence[_T], page: Page) -> Sequence[_T]:
    begin = (page.number - 1) * page.size
    return rows[begin : begin + page.size]


class _Order(NamedTuple, Generic[_T]):
    key: Callable[[_T], Any] | None  # None: the default order
    downwards: bool


def _order(call: Call, columns: Columns[_T]) -> _Order[_T]:
    """Raises Fault."""
    text = call.text("sort")
    if not text:
        return _Order(None, downwards=False)
    name = text.removeprefix("-")
    key = columns.by.get(name)
    if key is None:
        raise Fault(
            BAD_REQUEST,
            f"sort={text[:30]}: no such column{nearest(name, columns.by)}; it takes "
            f"{', '.join(columns.by)}, with - before it for the other way round",
        )
    return _Order(key, downwards=text.startswith("-"))


def _filter(call: Call) -> Callable[[str], object] | None:
    """Whether a name is wanted; None: each is. Raises Fault."""
    text = call.text("filter")
    if not text:
        return None
    if not flag(call, "regex"):
        return lambda name: text in name
    import re2  # no expression can stall it; 15 ms that only such filters pay

    if len(text) > REGEX_BYTES_MAX:
        raise Fault(BAD_REQUEST, f"filter: an expression of over {REGEX_BYTES_MAX} bytes")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY
    options.encoding = re2.Options.Encoding.LATIN1  # names are bytes, of any encoding
    try:
        search = re2.compile(_bytes(text), options).search
    except re2.error as error:
        [reason] = error.args
        raise Fault(
            BAD_REQUEST, f"filter={text[:60]!r}: {reason.decode(errors='replace')}"
        ) from None
    return lambda name: search(_bytes(name))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def flag(call: Call, name: str) -> bool:
    """A parameter of the query that is true or false; false without one. Raises Fault."""
    text = call.text(name)
    if text not in ("", "true", "false"):
        raise Fault(BAD_REQUEST, f"{name}={text[:20]}: must be true or false")
    return text == "true"
