"""Lists, a page at a time: rows outside of the page cost next to nothing."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from logstore.protocols.http.call import Page

_T = TypeVar("_T")


def part(rows: Sequence[_T], page: Page) -> Sequence[_T]:
    """The rows of a page; none behind the last one."""
    begin = (page.number - 1) * page.size
    return rows[begin : begin + page.size]


def paged(items: Sequence[Any], total: int, page: Page) -> dict[str, Any]:
    """A page as JSON: some of so many."""
    return {
        "items": items,
        "page": page.number,
        "page_size": page.size,
        "pages": -(-total // page.size),
        "total": total,
    }


def shown(rows: Sequence[_T], page: Page, show: Callable[[_T], Any]) -> dict[str, Any]:
    """A page of rows that are at hand."""
    return paged([show(it) for it in part(rows, page)], len(rows), page)
