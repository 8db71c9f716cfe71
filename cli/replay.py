"""``logstore replay``: a topic's past again, to standard output or into another topic."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from logstore.broker.reading import OnDamage
    from logstore.records.record import Record

    from .pace import Pace
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
            " of the first one.",
        ),
    ] = None,
    into_data: Annotated[
        Path | None,
        typer.Option(
            "--into-data", metavar="DIR", help="The data directory of the topic of --into."
        ),
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
            help="The timestamps in the topic of --into: original, or the time of the append.",
        ),
    ] = Timestamps.KEEP,
    format_: Format = "raw",
    progress: Progress = None,
    on_damage: OnDamageOption = "stop",
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Read a topic's past again, in order of time.

    Partitions are merged by timestamp. Within a partition, records keep the order of their offsets,
    even if their timestamps do not rise.

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
        raise typer.BadParameter("a topic cannot be replayed into itself", param_hint="'--into'")
    lines, damage = format_option(format_), damage_option(on_damage)

    from .copying import Copy
    from .output import Output
    from .pace import latest_of, pace_for
    from .stop import Stop

    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        same_store = into is not None and into_data is None
        store = stack.enter_context(data.reach("write" if same_store else "read"))
        pace = pace_for(progress, speed, lambda: latest_of(store, topic, to_ms))
        past = stack.enter_context(
            closing(pace.through(_past(store, topic, from_ms, to_ms, speed, stop, pace, damage)))
        )
        if into is None:
            output = Output(stop)
            lines.begin(output)
            for records in past:
                if lines.write(records, output) < len(records):
                    break
            output.check()
            stop.check()
            return
        target = store
        if into_data is not None:
            target = stack.enter_context(data.beside(into_data).reach("write", create=True))
        copy = Copy(store, target, topic, into, restamp=timestamps is Timestamps.RESTAMP)
        copy.run(past, paced=speed > 0)


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
