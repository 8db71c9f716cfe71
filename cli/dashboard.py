"""What a server is at, as lines for a terminal. Pure: colours are words, and nothing is printed.

The same facts as on the page's first view: is all well, what flows, what is stuck, what is nearly
full. A fact that is not known yet is a dash.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .show import counted, number, size, span

BARS: Final = "▁▂▃▄▅▆▇█"
UNKNOWN: Final = "-"
LABEL: Final = 8  # characters of the first column
POINTS: Final = 30  # of a history, the newest
WARN, BAD, GOOD, DIM, HEAD = "yellow", "red", "green", "dim", "bold"
_STYLE: Final = {"ok": GOOD, "warning": WARN, "error": BAD}
NEARLY: Final = 0.9  # share of a limit from which on it is shown as bad
COUNTS: Final = ("topics", "groups", "queues", "exchanges", "channels", "connections")


class Piece(NamedTuple):
    text: str
    style: str = ""


Line = Sequence[Piece]
Facts = Mapping[str, Any]


def lines(overview: Facts, now_ms: int) -> list[Line]:
    """``overview``: the server's answer to GET /api/v1/overview."""
    found = [*_head(overview), []]
    for label, rows in (
        ("FLOWS", _flows(overview)),
        ("STUCK", _stuck(overview, now_ms)),
        ("FULL", _full(overview.get("full", ()))),
        ("DOORS", _doors(overview)),
        ("JOBS", _jobs(overview.get("jobs", ()))),
    ):
        found += _labelled(label, rows)
    return found


def _labelled(label: str, rows: Iterable[Line]) -> Iterator[Line]:
    for row in rows:
        yield [Piece(label.ljust(LABEL), HEAD), *row]
        label = ""


def _head(overview: Facts) -> Iterator[Line]:
    health = overview.get("health") or {}
    warnings, state = health.get("warnings", ()), health.get("state", "")
    total = _whole(health.get("warnings_total") or len(warnings))
    told = {"ok": "healthy", "": UNKNOWN}.get(state) or counted(max(total, 1), state)
    up = overview.get("uptime_s")
    yield [
        Piece(f"logstore {_text(overview.get('version', ''))}", HEAD),
        Piece(f"  up {UNKNOWN if up is None else span(float(up))}  "),
        Piece(told, _STYLE.get(state, DIM)),
    ]
    for it in warnings:
        yield [Piece(f"  {_text(it.get('what'))} {_text(it.get('object'))}".rstrip(), WARN)]
    yield from _more(total - len(warnings))
    counts = overview.get("counts") or {}
    known = (counted(_whole(counts[it]), it.removesuffix("s")) for it in COUNTS if it in counts)
    yield [Piece("  ".join(known), DIM)]


def _more(left: int) -> Iterator[Line]:
    if left > 0:
        yield [Piece(f"  and {number(left)} more", DIM)]


def _flows(overview: Facts) -> Iterator[Line]:
    flows, history = overview.get("flows") or {}, overview.get("history") or {}
    doors = flows.get("doors") or {}
    for way in ("in", "out"):
        rates = ((name, it.get(f"{way}_per_s")) for name, it in doors.items())
        by = " ".join(f"{_text(name)} {grouped(rate)}" for name, rate in rates if rate)
        yield [
            Piece(f"{way:<4}{grouped(flows.get(f'{way}_per_s')):>11}/s  "),
            Piece(spark(history.get(way, ())), GOOD),
            Piece(f"  {by}", DIM),
        ]
    yield [Piece(f"waiting {grouped(flows.get('waiting')):>7}")]


def _stuck(overview: Facts, now_ms: int) -> Iterator[Line]:
    rows, slow = overview.get("stuck", ()), _whole(overview.get("slow_clients"))
    if not rows and not slow:
        yield [Piece("nothing", DIM)]
    for it in rows:
        since = it.get("since_ms")
        time = f", for {span((now_ms - float(since)) / 1000)}" if since else ""
        what = f"{_text(it.get('kind'))} {_text(it.get('object'))}"
        yield [Piece(what, WARN), Piece(f"  {_text(it.get('detail'))}{time}")]
    yield from _more(_whole(overview.get("stuck_total") or len(rows)) - len(rows))
    if slow:
        yield [Piece(f"{counted(slow, 'client')} too slow, cut off within the hour", WARN)]


def _full(rows: Sequence[Facts]) -> Iterator[Line]:
    if not rows:
        yield [Piece("nothing that has a limit is known", DIM)]
    width = max((len(_text(it.get("what"))) for it in rows), default=0)
    for it in rows:
        share, left = float(it.get("share") or 0), it.get("full_in_s")
        of = size if it.get("unit") in ("bytes", "B") else grouped
        when = "" if left is None else f", full in ~ {span(float(left))}"
        amount = f"{of(_whole(it.get('used')))} of {of(_whole(it.get('limit')))}"
        yield [
            Piece(f"{_text(it.get('what')):<{width}} "),
            Piece(f"{share:>4.0%}  ", BAD if share >= NEARLY else WARN if it.get("nearly") else ""),
            Piece(f"{amount}{when}", DIM),
        ]


def _doors(overview: Facts) -> Iterator[Line]:
    rates = (overview.get("flows") or {}).get("doors") or {}
    for it in overview.get("doors", ()):
        its = rates.get(it.get("name"), {})
        bytes_ = "  ".join(
            f"{size(_whole(its[key]))}/s {way}"
            for way, key in (("in", "bytes_in_per_s"), ("out", "bytes_out_per_s"))
            if its.get(key)
        )
        name = f"{_text(it.get('name'))}{' TLS' if it.get('tls') else ''}"
        connections = _whole(it.get("connections"))
        yield [
            Piece(f"{name:<10} {_text(it.get('address')):<22} "),
            Piece(f"{counted(connections, 'connection'):<18}"),
            Piece(f"{bytes_}", DIM),
        ]


def _jobs(rows: Sequence[Facts]) -> Iterator[Line]:
    if not rows:
        yield [Piece("none runs", DIM)]
    for it in rows:
        share = it.get("share")
        done = "" if share is None else f"  {float(share):.0%}"
        yield [Piece(f"{_text(it.get('name'))} {_text(it.get('object'))}{done}")]


def spark(values: Sequence[float | None]) -> str:
    """The newest values as bars, from zero to the maximum; a space for an unknown value."""
    shown = [None if it is None else float(it) for it in values[-POINTS:]]
    while shown and shown[0] is None:  # it was not there yet
        del shown[0]
    most = max((it for it in shown if it is not None), default=0.0)
    return "".join(
        " " if it is None else BARS[round(it / most * (len(BARS) - 1)) if most > 0 else 0]
        for it in shown
    )


def grouped(count: Any) -> str:  # noqa: ANN401  a number, as a number or as a text
    return UNKNOWN if count is None else number(_whole(count))


def _whole(count: Any) -> int:  # noqa: ANN401
    if isinstance(count, str):
        return int(count)
    return round(count or 0)


def _text(value: object) -> str:
    from logstore.printable import printable

    return "" if value is None else printable(str(value))
