"""``logstore dump``: what stands in one segment file, whether or not a store is around it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from .ends import CommandFailed, put
from .options import HERE, Data, Json
from .show import as_line, counted, names, size
from .times import iso

if TYPE_CHECKING:
    from logstore.records.record import Record

    from .segment import Damage, Entry, Whole, Zeros

    Item = Whole | Damage | Zeros | Entry | Record

SUFFIXES = (".log", ".index", ".timeindex")


def dump(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    records: Annotated[
        bool, typer.Option("--records", help="Print the records of each batch as well.")
    ] = False,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Show the contents of a segment file.

    Reads a .log, .index or .timeindex file. Exits with 1 if the file is damaged.

    $ logstore dump logstore-data/flights-0/00000000000000000000.log --records
    """
    if file.suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"{file.name!r} is not a segment file: its name must end in one of"
            f" {', '.join(SUFFIXES)}",
            param_hint="'FILE'",
        )
    with file.open("rb") as opened:
        items = _items(opened, file, with_records=records)
        damages = _print_json(items) if json_ else _print_text(items, file.suffix)
    if damages:
        first = f"byte {damages[0].position}: {damages[0].reason}"
        more = f" (and {counted(len(damages) - 1, 'more place')})" if len(damages) > 1 else ""
        raise CommandFailed(f"{file} is damaged at {first}{more}")


def _items(file: BinaryIO, path: Path, *, with_records: bool) -> "Iterator[Item]":
    from . import segment

    base = segment.base_offset(path) or 0
    if path.suffix == ".index":
        yield from segment.index_entries(file, base)
    elif path.suffix == ".timeindex":
        yield from segment.time_entries(file, base)
    else:
        for item in segment.batches(file, base):
            yield item
            if with_records and isinstance(item, segment.Whole):
                yield from segment.records(item)


# For machines ------------------------------------------------------------------------------------


def _print_json(items: "Iterable[Item]") -> "list[Damage]":
    from .segment import Damage

    damages = []
    for item in items:
        put(as_line(_as_object(item)) + "\n")
        if isinstance(item, Damage):
            damages.append(item)
    return damages


def _as_object(item: "Item") -> dict[str, object]:
    from . import formats, segment

    if isinstance(item, segment.Damage):
        return {"damage": {"position": item.position, "bytes": item.size, "reason": item.reason}}
    if isinstance(item, segment.Zeros):
        return {"zeros": {"position": item.position, "bytes": item.size}}
    if isinstance(item, segment.Entry):
        return {"entry": {"offset": item.offset, item.leads_to: item.value}}
    if isinstance(item, segment.Whole):
        return {"batch": _batch_object(item)}
    record = formats.as_object(item)
    return {"record": {k: v for k, v in record.items() if k not in ("topic", "partition")}}


def _batch_object(whole: "Whole") -> dict[str, object]:
    batch = whole.batch
    return {
        "position": whole.position,
        "bytes": batch.size,
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset,
        "records": batch.record_count,
        "compression": batch.compression.name.lower(),
        "base_timestamp_ms": batch.base_timestamp_ms,
        "max_timestamp_ms": batch.max_timestamp_ms,
        "log_append_time": batch.is_log_append_time,
        "transactional": batch.is_transactional,
        "control": batch.is_control,
        "leader_epoch": batch.leader_epoch,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "crc": batch.crc,
    }


# For people --------------------------------------------------------------------------------------

HEADS = {
    ".log": "  POSITION      BYTES        FIRST         LAST  RECORDS  CODEC   MAX TIMESTAMP",
    ".index": "      OFFSET    POSITION",
    ".timeindex": "      OFFSET  TIMESTAMP",
}


def _print_text(items: "Iterable[Item]", suffix: str) -> "list[Damage]":
    from .segment import Damage, Entry, Whole

    damages: list[Damage] = []
    batches = records = entries = bytes_ = 0
    put(HEADS[suffix] + "\n")
    for item in items:
        put(names([_as_text(item)]))
        if isinstance(item, Damage):
            damages.append(item)
        elif isinstance(item, Entry):
            entries += 1
        elif isinstance(item, Whole):
            batches += 1
            records += item.batch.record_count
            bytes_ += item.batch.size
    if suffix == ".log":
        what = (
            f"{counted(batches, 'batch', 'batches')}, {counted(records, 'record')}, {size(bytes_)}"
        )
    else:
        what = counted(entries, "entry", "entries")
    put(what + "\n")
    return damages


def _as_text(item: "Item") -> str:
    from . import segment

    if isinstance(item, segment.Damage):
        return f"{item.position:>10} {item.size:>10}  DAMAGED: {item.reason}"
    if isinstance(item, segment.Zeros):
        return f"{item.position:>10} {item.size:>10}  zeros, in advance of what will be written"
    if isinstance(item, segment.Entry):
        value = iso(item.value) if item.leads_to == "timestamp_ms" else f"{item.value:>10}"
        return f"{item.offset:>12}  {value}"
    return _batch_text(item) if isinstance(item, segment.Whole) else _record_text(item)


def _batch_text(whole: "Whole") -> str:
    batch = whole.batch
    flags = "".join(
        f"  {name}"
        for name, is_set in (
            ("LogAppendTime", batch.is_log_append_time),
            ("transactional", batch.is_transactional),
            ("control", batch.is_control),
        )
        if is_set
    )
    return (
        f"{whole.position:>10} {batch.size:>10} {batch.base_offset:>12} {batch.last_offset:>12}"
        f" {batch.record_count:>8}  {batch.compression.name.lower():<6}"
        f"  {iso(batch.max_timestamp_ms)}{flags}"
    )


def _record_text(record: "Record") -> str:
    from .formats import header_name

    headers = "".join(
        f" {header_name(name).decode('utf-8', 'backslashreplace')}={_bytes_text(value)}"
        for name, value in record.headers
    )
    return (
        f"{'':21} {record.offset:>12}  {iso(record.timestamp_ms)}"
        f"  {_bytes_text(record.key)}: {_bytes_text(record.value)}{headers}"
    )


def _bytes_text(data: bytes | None) -> str:
    """A quoted text with escaped control characters; other bytes in hexadecimal."""
    if data is None:
        return "null"
    try:
        return as_line(data.decode())
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
