"""How a question is measured: sides take turns, the median of the rounds counts.

A question is a module with a docstring (the question, both sides, the bar) and
``measure(scratch, rounds) -> list[Figure]``; ``script`` runs it from the command line.
Knows nothing of what is measured, nor of how results are kept (``bench.results``).
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

ROUNDS = 5  # fewer make a median that one disturbed round can move
# Set where each script is only tried, so that none rots: its figures mean nothing then.
TINY = "BENCH_TINY" in os.environ
SCRATCH = Path(".bench")  # beside the data, not in /tmp: that may be memory

T = TypeVar("T")
NOT_HERE = 77  # the exit code of a question that this machine has not the means for


class NotHere(Exception):
    """What a question needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what each side reached, and the number that the bar is about."""

    what: str
    sides: dict[str, Spread]
    unit: str  # of the sides
    measured: Spread
    measured_unit: str  # "x" for a ratio
    bar: float | None = None  # None: shown, but nothing is asked of it
    at_least: bool = True  # False: at most

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        low_enough = self.measured.median <= self.bar
        return self.measured.median >= self.bar if self.at_least else low_enough


def size(usual: T, tiny: T) -> T:
    """The amount to measure; ``tiny`` if the script is only tried."""
    return tiny if TINY else usual


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def alternate(
    sides: Mapping[str, Callable[[], T]], rounds: int, warm: int = 0
) -> dict[str, list[T]]:
    """The results of each side, round by round; a side does its work once and returns its result.

    The order alternates (AB BA AB ...), so that neither side always runs after the other. ``warm``
    rounds come first and are not counted.
    """
    taken: dict[str, list[T]] = {name: [] for name in sides}
    for count in range(warm + rounds):
        order = list(sides) if count % 2 == 0 else list(reversed(sides))
        for name in order:
            value = sides[name]()
            if count >= warm:
                taken[name].append(value)
    return taken


def ratio(
    what: str,
    unit: str,
    taken: Mapping[str, Sequence[float]],
    *,
    ours: str,
    theirs: str,
    bar: float | None,
    at_least: bool = True,
) -> Figure:
    """Our value divided by theirs, within each round, so that a slow minute affects both."""
    # A tiny run may be over within one tick of the clock.
    by_round = [
        a / b if b or not TINY else 0.0 for a, b in zip(taken[ours], taken[theirs], strict=True)
    ]
    sides = {name: spread(taken[name]) for name in (ours, theirs)}
    return Figure(what, sides, unit, spread(by_round), "x", bar, at_least)


def bound(
    what: str, unit: str, values: Sequence[float], *, bar: float | None, at_least: bool = False
) -> Figure:
    """One side alone, compared with a fixed number."""
    measured = spread(values)
    return Figure(what, {}, unit, measured, unit, bar, at_least)


def better(taken: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """The side with the higher median."""
    return max(names, key=lambda name: statistics.median(taken[name]))


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def cpu_seconds(work: Callable[[], object]) -> float:
    """The processor time of work that does not wait; other processes hardly change it."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def settle(*paths: Path) -> None:
    """Remove the paths and let the disk finish, so that the next round does not pay for
    this one.
    """
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    os.sync()


def synced_writes(path: Path, data: bytes, count: int) -> float:
    """Seconds for ``count`` plain writes to a new file, each synced: the limit of the disk
    alone.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def write() -> None:
        for _ in range(count):
            os.write(fd, data)
            os.fdatasync(fd)

    took = seconds(write)
    os.close(fd)
    return took


# -- printing ------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A number with three significant digits and separated thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


def with_unit(value: float, unit: str) -> str:
    return number(value) + ("" if unit == "x" else " " + unit)


def verdict(figure: Figure) -> str:
    return {True: "met", False: "**missed**", None: ""}[figure.met]


def row(figure: Figure) -> list[str]:
    sides = "; ".join(
        f"{name} {number(side.median)} ({number(side.low)} - {number(side.high)})"
        for name, side in figure.sides.items()
    )
    measured = figure.measured
    between = f" ({number(measured.low)} - {number(measured.high)})"
    sign = ">=" if figure.at_least else "<="
    return [
        figure.what,
        f"{sides} {figure.unit}" if sides else "",
        with_unit(measured.median, figure.measured_unit) + between,
        "" if figure.bar is None else f"{sign} {with_unit(figure.bar, figure.measured_unit)}",
        verdict(figure),
    ]


HEADINGS = ["what", "sides: median (low - high)", "measured (low - high)", "bar", ""]


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table whose columns also line up in a terminal."""
    rows = [HEADINGS, *(row(figure) for figure in figures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEADINGS))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


# -- one question from the command line ----------------------------------------------------------


def options(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each side")
    parser.add_argument("--dir", type=Path, default=SCRATCH, help="where scratch files go")
    return parser


def script(doc: str | None, measure: Callable[[Path, int], list[Figure]]) -> None:
    """Measure in a scratch directory, which is always removed; print the table."""
    assert doc, "a question states itself in its docstring"
    parser = options(doc)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    scratch = arguments.dir.resolve() / f"{Path(sys.argv[0]).stem}-{os.getpid()}"
    scratch.mkdir(parents=True)
    try:
        figures = measure(scratch, arguments.rounds)
    except NotHere as error:
        print(f"not asked: {error}", file=sys.stderr)
        sys.exit(NOT_HERE)
    finally:
        settle(scratch)
    print(table(figures), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures]))


def figure_from(facts: dict) -> Figure:
    """The Figure from the dict that ``asdict`` made."""
    sides = {name: Spread(**side) for name, side in facts["sides"].items()}
    return Figure(**{**facts, "sides": sides, "measured": Spread(**facts["measured"])})
