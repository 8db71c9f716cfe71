"""``logstore consume``: records to standard output, as far as somebody reads them."""

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    HERE,
    At,
    Bootstrap,
    Format,
    OnDamageOption,
    damage_option,
    format_option,
    place_option,
)

if TYPE_CHECKING:
    from logstore.records.record import Record

    from .output import Output
    from .printing import Lines
    from .site import Source
    from .stop import Stop


class OnOutOfRange(StrEnum):
    """What becomes of a partition whose next record is gone."""

    STOP = "stop"
    EARLIEST = "earliest"
    LATEST = "latest"


class Isolation(StrEnum):
    """Which records of transactions are read."""

    COMMITTED = "committed"
    UNCOMMITTED = "uncommitted"


POLL_RECORDS_MAX = 5000  # some MB of output, and soon enough printed that a signal is heard
POLL_S = 0.1  # how long a signal may go unheard while nothing comes


_NOT_SHARED = {
    "group": "--group",
    "partition": "--partition",
    "on_damage": "--on-damage",
    "on_out_of_range": "--on-out-of-range",
}
SHARED_PLACES = ("earliest", "latest")  # where a share group begins


def consume(
    ctx: typer.Context,
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", show_default=False)],
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="GROUP",
            help="Continue where this consumer group stopped, and commit the offsets of printed"
            " records.",
        ),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            "--share",
            metavar="GROUP",
            help="Consume as a member of this share group: each printed record is accepted. The"
            " group keeps --from (earliest or latest) and --isolation as its settings.",
        ),
    ] = None,
    format_: Format = "raw",
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="The place to begin at: earliest, latest, an offset or a time"
            " (2013-01-05T00:00Z, @1357344000, -1h). With --group, this option counts only"
            " in partitions where the group has committed nothing yet.",
        ),
    ] = "earliest",
    max_: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many records.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more records at the end.")
    ] = False,
    partition: Annotated[
        list[int] | None,
        typer.Option(
            "--partition",
            min=0,
            metavar="N",
            help="A partition to read; may be repeated; defaults to all partitions.",
        ),
    ] = None,
    on_damage: OnDamageOption = "stop",
    on_out_of_range: Annotated[
        OnOutOfRange,
        typer.Option(
            "--on-out-of-range",
            metavar="stop|earliest|latest",
            help="The way to treat a partition whose log no longer has the group's offset: stop,"
            " or continue at the first record or after the last record.",
        ),
    ] = OnOutOfRange.STOP,
    isolation: Annotated[
        Isolation,
        typer.Option(
            "--isolation",
            metavar="committed|uncommitted",
            help="The records to print: committed leaves out records of aborted transactions and"
            " waits for open transactions; uncommitted prints every record.",
        ),
    ] = Isolation.COMMITTED,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Print the records of topics.

    Stops at the end of the topics, unless --follow is given.

    $ logstore consume flights --group billing --follow
    $ logstore consume flights --from -1h --format '{timestamp} {key} {value}'
    """
    lines = format_option(format_)
    start, damage = place_option(from_, "--from"), damage_option(on_damage)
    if len(set(topics)) < len(topics):
        raise typer.BadParameter("a topic is named twice", param_hint="'TOPIC...'")

    if share is not None:
        given = {name for name in ctx.params if _is_given(ctx, name)}
        for name, option in _NOT_SHARED.items():
            if name in given:
                raise typer.BadParameter("does not go with --share", param_hint=option)
        if "from_" in given and from_ not in SHARED_PLACES:
            raise typer.BadParameter("with --share: earliest or latest", param_hint="--from")
        from .share import consume_shared

        consume_shared(
            data,
            topics,
            share,
            lines,
            begins=from_ if "from_" in given else None,
            isolation=isolation.value if "isolation" in given else None,
            records_max=max_,
            follow=follow,
        )
        return

    from .output import Output
    from .stop import Stop

    with Stop() as stop, data.reach_group(group) as store:
        output = Output(stop)
        with store.consumer(
            *topics,
            group=group,
            start=start,
            follow=follow,
            partitions=partition or None,
            on_damage=damage,
            on_out_of_range=on_out_of_range.value,
            isolation=isolation.value,
        ) as consumer:
            print_records(consumer, lines, output, stop, records_max=max_, follow=follow)
        output.check()
        stop.check()


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def print_records(
    consumer: "Source",
    lines: "Lines",
    output: "Output",
    stop: "Stop",
    *,
    records_max: int | None,
    follow: bool,
) -> None:
    """Until the end, the maximum, a signal or the reader's going away.

    The consumer's position is then after the last record that was printed whole, so that closing
    it commits just that.
    """
    left = records_max
    while left != 0 and not stop.asked:
        count = POLL_RECORDS_MAX if left is None else min(left, POLL_RECORDS_MAX)
        records = consumer.poll(count, timeout_s=POLL_S)
        if not records:
            # A group's partitions may still be on their way here from another consumer.
            if (not follow and consumer.ended) or output.abandoned():
                return
            continue
        printed = lines.write(records, output)
        if printed < len(records):
            give_back(consumer, records[printed:])
            return
        if left is not None:
            left -= printed
        records.clear()  # they may be large, and the next ones come before this is a name for them


def give_back(consumer: "Source", records: "Sequence[Record]") -> None:
    """As if these had never been handed out."""
    from logstore.errors import UnknownPartition

    first: dict[tuple[str, int], int] = {}
    for record in records:
        first.setdefault((record.topic, record.partition), record.offset)
    for (topic, partition), offset in first.items():
        # A partition that went to another consumer of the group is read from there by that one.
        with suppress(UnknownPartition):
            consumer.seek(topic, partition, offset)
