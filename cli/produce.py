"""``logstore produce``: its options, and what they come to. The work itself is in ``intake``."""

import gc
import os
import sys
from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .command import INPUT, OUTPUT
from .ends import say
from .line_options import (
    File,
    HeaderField,
    InputFormat,
    ProducedFormat,
    Progress,
    field,
    input_format,
)
from .line_options import header as header_option
from .options import HERE, At, Bootstrap, Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from .lines import Parser, Wanted

DEAD_LETTER = "dead-letter"


class Compression(StrEnum):
    """The codecs that a producer may choose."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


def produce(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)],
    file: File = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            metavar="TEXT",
            rich_help_panel=INPUT,
            help="Append this text as one record instead of input lines.",
        ),
    ] = None,
    format_: Annotated[
        ProducedFormat,
        input_format(
            "value",
            "record: each line is a record as printed by consume --format json, with key, value,"
            " headers, timestamp, and partition if the topic has that partition; ",
        ),
    ] = ProducedFormat.AUTO,
    key_field: Annotated[str | None, field("--key-field", "the record's key")] = None,
    timestamp_field: Annotated[
        str | None,
        field(
            "--timestamp-field",
            "the record's timestamp: ISO 8601 (UTC without a zone), or a number since 1970 in"
            " seconds, milliseconds, microseconds or nanoseconds, told apart by its size",
        ),
    ] = None,
    value_field: Annotated[
        str | None, field("--value-field", "the record's value", "the whole line")
    ] = None,
    header: Annotated[list[str] | None, header_option("record")] = None,
    header_field: HeaderField = None,
    key: Annotated[str | None, typer.Option("--key", help="The key for every record.")] = None,
    tombstone: Annotated[
        bool,
        typer.Option(
            "--tombstone",
            rich_help_panel=INPUT,
            help="Append one record with the key of --key and without a value, instead of reading"
            " input; compaction then removes that key.",
        ),
    ] = False,
    partition: Annotated[
        int | None,
        typer.Option(
            "--partition",
            min=0,
            metavar="N",
            rich_help_panel=OUTPUT,
            help="The partition to append to; defaults to a partition chosen by the key.",
        ),
    ] = None,
    compression: Annotated[
        Compression | None,
        typer.Option(
            "--compression",
            help="The compression codec of batches; the topic's own codec, if set, takes"
            " precedence.",
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            "--on-error",
            metavar="stop|skip|dead-letter",
            help="The action for a line that is not a record: stop (the default), skip and"
            " count the line, or append the line to the topic of --dead-letter. Reading"
            " continues at the next line, even within a CSV row of several lines.",
        ),
    ] = None,
    dead_letter: Annotated[
        str | None,
        typer.Option(
            "--dead-letter",
            metavar="TOPIC",
            help="The topic to which bad lines are appended, with the reason as a header.",
        ),
    ] = None,
    batch_bytes: Annotated[
        int | None,
        typer.Option(
            "--batch-bytes",
            min=1,
            metavar="BYTES",
            help="The size at which a batch of records is sent.",
        ),
    ] = None,
    progress: Progress = None,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Append each input line as one record.

    Exits with 0 only after every record is on disk. A line from a pipe or a terminal is on disk at
    most 0.1 s after it was read, even while more lines arrive.

    $ logstore produce flights --key-field tailnum < flights.jsonl
    $ tail -f access.log | logstore produce access
    """
    wanted = wanted_of(key_field, timestamp_field, value_field, header, header_field, key)
    if tombstone or message is not None:
        formed = format_ is not ProducedFormat.AUTO
        reads = bool(file or wanted.fields or on_error or dead_letter or formed)
        if tombstone and (wanted.key is None or reads or message is not None):
            raise typer.BadParameter("--tombstone needs --key KEY, and reads no input")
        if reads:
            raise typer.BadParameter("--message takes the place of FILE, its format and its fields")
        _append_one(data, topic, wanted, message, partition)
        return
    choose = chooser(format_, wanted)
    policy, dead_letter = _policy(on_error, dead_letter)
    codec = "uncompressed" if compression is Compression.NONE else compression

    from .intake import DeadLetters, Input, Intake, Skipped
    from .lines import LineInput
    from .progress import progress_for
    from .stop import Stop

    # The flusher's thread needs the interpreter twice a sync: at Python's 5 ms it would wait longer
    # for it than for the disk.
    sys.setswitchinterval(0.0002)
    # A chunk's messages all die together and hold no cycles; looking for some among them every 700
    # allocations takes a sixth of the whole time.
    gc.freeze()
    gc.set_threshold(50_000)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        source = stack.enter_context(Input(file, stop))
        store = stack.enter_context(data.reach("write"))
        rows = format_ is ProducedFormat.CSV
        bad_lines = None if policy == "stop" else Skipped(rows=rows)
        if dead_letter is not None:
            bad_lines = DeadLetters(store.producer(dead_letter), dead_letter, topic, rows=rows)
        its = store.topic(topic)
        if partition is not None:
            its.partition(partition)  # or it is known too late
        batches = {} if batch_bytes is None else {"batch_bytes": batch_bytes}
        sink = store.producer(topic, compression=codec, **batches)
        Intake(
            source,
            LineInput(choose),
            sink,
            topic=topic,
            partition=partition,
            partitions=len(its.partitions),
            bad_lines=bad_lines,
            progress=progress_for(progress, source.size, typed=source.typed),
        ).run()


def _append_one(
    data: Where, topic: str, wanted: "Wanted", text: str | None, partition: int | None
) -> None:
    """Append a record with this text, or a tombstone."""
    from logstore.records.record import Message

    value = None if text is None else os.fsencode(text)  # whatever bytes the command line holds
    with data.reach("write") as store:
        sink = store.producer(topic)
        sink.send_many([Message(value, wanted.key, wanted.headers)], partition)
        sink.flush()
    say(f"produced 1 {'tombstone' if text is None else 'record'} to {topic}")


def wanted_of(
    key_field: str | None,
    timestamp_field: str | None,
    value_field: str | None,
    header: list[str] | None,
    header_field: list[str] | None,
    key: str | None,
) -> "Wanted":
    from .lines import Wanted

    if key is not None and key_field is not None:
        raise typer.BadParameter("use --key or --key-field, not both")
    headers = []
    for text in header or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="'--header'")
        headers.append((name, os.fsencode(value)))  # whatever bytes the command line holds
    return Wanted(
        key_field,
        timestamp_field,
        value_field,
        tuple(header_field or ()),
        None if key is None else os.fsencode(key),
        tuple(headers),
    )


def chooser(format_: str, wanted: "Wanted") -> "Callable[[bytes], Parser]":
    """``format_``: an InputFormat or a ProducedFormat."""
    from .fields import BOM, JsonLines
    from .lines import RawLines
    from .record_lines import RecordLines
    from .rows import CsvRows

    if format_ == InputFormat.RAW and wanted.fields:
        raise typer.BadParameter("raw lines have no fields: use --format json or csv")
    if format_ == ProducedFormat.RECORD and (wanted.fields or wanted.key is not None):
        raise typer.BadParameter(
            "lines of --format record have a key, a value, headers and a timestamp of their own:"
            " leave out --key, --key-field, --value-field, --header-field and --timestamp-field"
        )

    def choose(first_line: bytes) -> "Parser":
        if format_ == ProducedFormat.RECORD:
            return RecordLines(wanted)
        if format_ == InputFormat.CSV:
            return CsvRows(wanted)
        by_looks = format_ == InputFormat.AUTO and first_line.removeprefix(BOM).lstrip().startswith(
            b"{"
        )
        if format_ == InputFormat.JSON or wanted.fields or by_looks:
            return JsonLines(wanted)
        return RawLines(wanted)

    return choose


def _policy(on_error: str | None, dead_letter: str | None) -> tuple[str, str | None]:
    """The policy and the topic of dead letters; ``dead-letter:TOPIC`` gives both."""
    policy, colon, topic = (on_error or "").partition(":")
    if policy == DEAD_LETTER and colon:
        if dead_letter is not None:
            raise typer.BadParameter("the topic of --dead-letter is given twice")
        dead_letter = topic
    elif colon or policy not in ("", "stop", "skip", DEAD_LETTER):
        raise typer.BadParameter(
            f"{on_error!r} is neither stop, skip nor dead-letter", param_hint="'--on-error'"
        )
    if policy == DEAD_LETTER and not dead_letter:
        raise typer.BadParameter("--on-error dead-letter needs --dead-letter TOPIC")
    if dead_letter is not None and policy in ("stop", "skip"):
        raise typer.BadParameter(f"--dead-letter needs --on-error dead-letter, not {policy}")
    return (DEAD_LETTER if dead_letter else policy or "stop"), dead_letter
