"""``logstore consume``: records to standard output, as far as somebody reads them."""

import os
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    HERE,
    TIMES,
    At,
    Bootstrap,
    Format,
    OnDamageOption,
    damage_option,
    format_option,
    place_option,
)
from .place import last_of

if TYPE_CHECKING:
    from logstore.broker.start import Starts
    from logstore.log import TopicPartition
    from logstore.records.record import Record

    from .output import Output
    from .printing import Lines
    from .site import Site, Source
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
    "to": "--to",
    "key": "--key",
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
            help="Read as a member of this share group and accept each printed record. --from"
            " (earliest or latest) and --isolation are saved in the group.",
        ),
    ] = None,
    format_: Format = "raw",
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="The place to begin at: earliest, latest, an offset, a time, or -N for the last N"
            " offsets of each partition. With --group, this option applies only to partitions"
            f" without a committed offset. {TIMES}",
        ),
    ] = "earliest",
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="The place before which to stop in each partition: latest, an offset or a time;"
            f" defaults to the end of the topic. {TIMES}",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Print only records with this key."),
    ] = None,
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
            help="The action for a partition whose log no longer has the group's offset: stop,"
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
    $ logstore consume flights --from -1h --to now --key N14228 --format csv:timestamp,value
    """
    lines = format_option(format_)
    last, damage = last_of(from_), damage_option(on_damage)
    start: Starts = "earliest" if last is not None else place_option(from_, "--from")
    end = None if to is None else place_option(to, "--to")
    if follow and end is not None:
        raise typer.BadParameter("cannot be combined with --follow", param_hint="'--to'")
    if len(set(topics)) < len(topics):
        raise typer.BadParameter("a topic is given twice", param_hint="'TOPIC...'")

    if share is not None:
        given = {name for name in ctx.params if _is_given(ctx, name)}
        for name, option in _NOT_SHARED.items():
            if name in given:
                raise typer.BadParameter("cannot be combined with --share", param_hint=option)
        if "from_" in given and from_ not in SHARED_PLACES:
            raise typer.BadParameter("must be earliest or latest with --share", param_hint="--from")
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

    if group is not None and last is not None:
        raise typer.BadParameter("-N cannot be combined with --group", param_hint="'--from'")

    from .group_note import note_for
    from .output import Output
    from .stop import Stop

    note = note_for(group, topics, from_ if _is_given(ctx, "from_") else None)
    with Stop() as stop, data.reach_group(group) as store:
        output = Output(stop)
        if note is not None:
            note.look(store)
        if last is not None:
            start = _last_offsets(store, topics, partition, last)
        with store.consumer(
            *topics,
            group=group,
            start=start,
            follow=follow,
            partitions=partition or None,
            on_damage=damage,
            on_out_of_range=on_out_of_range.value,
            isolation=isolation.value,
            end=end,
        ) as consumer:
            printed = print_records(
                consumer, lines, output, stop,
                key=None if key is None else os.fsencode(key), records_max=max_, follow=follow,
            )  # fmt: skip
        output.check()
        stop.check()
        if note is not None:
            note.tell(printed)


def _last_offsets(
    site: "Site", topics: Sequence[str], partitions: Sequence[int] | None, count: int
) -> "dict[TopicPartition, int]":
    """The start of the last ``count`` offsets of each partition. Raises LogstoreError."""
    return {
        (topic, it.partition): max(it.start, it.safe - count)
        for topic in topics
        for it in site.sizes(topic)
        if not partitions or it.partition in partitions
    }


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def print_records(
    consumer: "Source",
    lines: "Lines",
    output: "Output",
    stop: "Stop",
    *,
    key: bytes | None,
    records_max: int | None,
    follow: bool,
) -> int:
    """Print until the end, the maximum, a signal or the reader's end; returns the number.

    ``key``: print only records with this key. The consumer's position is then after the last record
    that was printed completely, so that closing it commits that position.
    """
    lines.begin(output)
    printed = 0
    while printed != records_max and not stop.asked:
        left = None if records_max is None else records_max - printed
        count = POLL_RECORDS_MAX if left is None or key is not None else min(left, POLL_RECORDS_MAX)
        records = consumer.poll(count, timeout_s=POLL_S)
        if not records:
            # A group's partitions may still be on their way here from another consumer.
            if (not follow and consumer.ended) or output.abandoned():
                break
            continue
        wanted = records if key is None else [it for it in records if it.key == key][:left]
        written = lines.write(wanted, output)
        printed += written
        if written < len(wanted):
            give_back(consumer, records[records.index(wanted[written]) :])
            break
        if wanted and written == left:
            give_back(consumer, records[records.index(wanted[-1]) + 1 :])
        # The records may be large: release them before the next ones arrive.
        records.clear()
        wanted.clear()
    return printed


def give_back(consumer: "Source", records: "Sequence[Record]") -> None:
    """Seek back to these records, as if they had not been returned."""
    from logstore.errors import UnknownPartition

    first: dict[tuple[str, int], int] = {}
    for record in records:
        first.setdefault((record.topic, record.partition), record.offset)
    for (topic, partition), offset in first.items():
        # A partition that went to another consumer of the group is read from there by that one.
        with suppress(UnknownPartition):
            consumer.seek(topic, partition, offset)
