"""Headers of every reply of the door: what a browser may do with it, and its date."""

from datetime import UTC, datetime
from typing import Final

from logstore.http.server_end import Headers

# Nothing of an answer may be run, framed, guessed at, kept or read by pages of others.
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
# Of the page: what it loads is ours, and no text of anybody's is ever taken for a script.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def complete(kind: str, headers: Headers, now_ms: int) -> list[tuple[str, str]]:
    """All headers of an answer; those that are given count instead of the usual ones."""
    found = _ALWAYS | {"content-type": kind, "date": date(now_ms)}
    for name, _ in headers:
        found.pop(name, None)
    return [*found.items(), *headers]


def date(now_ms: int) -> str:
    """As HTTP writes it (RFC 9110, 5.6.7)."""
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} GMT"
