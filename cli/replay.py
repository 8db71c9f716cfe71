"""``logstore replay``: a topic's past again, to standard output or into another topic."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ends import say
from .line_options import Progress
from .options import (
    HERE,
    TIMES,
    At,
    Bootstrap,
    Format,
    OnDamageOption,
    damage_option,
    format_option,
    moment_option,
)
from .progress import is_watched

if TYPE_CHECKING:
    from logstore.broker.reading import OnDamage
    from logstore.records.record import Record

    from .pace import Pace
    from .printing import Lines
    from .site import Site
    from .stop import Stop


class Timestamps(StrEnum):
    """What becomes of a record's timestamp."""

    KEEP = "keep"
    RESTAMP = "restamp"


def replay(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help=f"The time to begin at; defaults to the topic's first record. {TIMES}",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TIME",
            help=f"The time before which to stop; defaults to the end of the topic. {TIMES}",
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="TOPIC",
            help="Append the records to this topic; a missing topic is created with the settings"
            " of the replayed topic.",
        ),
    ] = None,
    into_data: Annotated[
        Path | None,
        typer.Option(
            "--into-data", metavar="DIR", help="The data directory that has the topic of --into."
        ),
    ] = None,
    max_: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many records.")
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=0,
            metavar="X",
            help="The pace: 1 is real time, 3600 is an hour per second, 0 is as fast as possible.",
        ),
    ] = 0,
    timestamps: Annotated[
        Timestamps,
        typer.Option(
            "--timestamps",
            help="The timestamps in the topic of --into: keep the original ones, or restamp records"
            " with the time of the append.",
        ),
    ] = Timestamps.KEEP,
    format_: Format = "raw",
    progress: Progress = None,
    on_damage: OnDamageOption = "stop",
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Read a topic again, in time order.

    Partitions are merged by timestamp. Within a partition, records keep the order of their offsets,
    even if their timestamps are out of order.

    $ logstore replay flights --from 2013-01-05 --to 2013-01-06
    $ logstore replay flights --into flights-again --speed 3600
    """
    from_ms, to_ms = moment_option(from_, "--from"), moment_option(to, "--to")
    if into is None and (into_data is not None or timestamps is Timestamps.RESTAMP):
        raise typer.BadParameter("--into-data and --timestamps need --into TOPIC")
    if from_ms is not None and to_ms is not None and to_ms < from_ms:
        raise typer.BadParameter("--to is before --from", param_hint="'--to'")
    if not speed < float("inf"):  # nor is NaN
        raise typer.BadParameter("must be 0 or more", param_hint="'--speed'")
    if into == topic and into_data is None:
        raise typer.BadParameter(
            f"{topic!r} is the same topic in {data}; name another store with --into-data, or"
            " another topic",
            param_hint="'--into'",
        )
    lines, damage = format_option(format_), damage_option(on_damage)

    from .copying import Copy
    from .pace import latest_of, pace_for, span_text
    from .stop import Stop

    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        same_store = into is not None and into_data is None
        store = stack.enter_context(data.reach("write" if same_store else "read"))
        pace = pace_for(progress, speed, lambda: latest_of(store, topic, to_ms))
        found = _past(store, topic, from_ms, to_ms, speed, stop, pace, damage)
        past = stack.enter_context(closing(pace.through(_first(found, max_))))
        if into is None:
            count = _print(past, lines, stop)
        else:
            target = store
            if into_data is not None:
                there = data.beside(into_data)
                there.check_new(into, {})  # nothing is made for a copy that there can't be
                store.topic(topic)
                target = stack.enter_context(there.reach("write", create=True))
            copy = Copy(store, target, topic, into, restamp=timestamps is Timestamps.RESTAMP)
            count = copy.run(past, paced=speed > 0)
        if not count and is_watched():
            say(f"0 records; {span_text(store, topic)}", "info")


def _print(past: "Generator[list[Record]]", lines: "Lines", stop: "Stop") -> int:
    """Print records; returns how many were passed to the output. Raises CommandFailed, Stopped."""
    from .output import Output

    output, count = Output(stop), 0
    lines.begin(output)
    for records in past:
        count += len(records)
        if lines.write(records, output) < len(records):
            break
    output.check()
    stop.check()
    return count


def _past(
    store: "Site",
    topic: str,
    from_ms: int | None,
    to_ms: int | None,
    speed: float,
    stop: "Stop",
    pace: "Pace",
    on_damage: "OnDamage",
) -> "Generator[list[Record]]":
    sleep = partial(pace.slept, stop.sleep)
    past = store.replay(
        topic, from_ms=from_ms, to_ms=to_ms, speed=speed, sleep=sleep, on_damage=on_damage
    )
    for records in past:  # the waiting ends when a signal comes
        stop.check()
        yield records


def _first(past: "Generator[list[Record]]", records_max: int | None) -> "Generator[list[Record]]":
    """The first ``records_max`` records; None for all."""
    left = records_max
    for records in past:
        if left is not None and len(records) >= left:
            yield records[:left]
            return
        left = None if left is None else left - len(records)
        yield records
