"""``logstore salvage``: what is still whole of a damaged segment, into a partition of its own."""

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ends import CommandFailed, put
from .options import HERE, Data, Json
from .show import as_json, counted, size

if TYPE_CHECKING:
    from logstore.upkeep.salvage import Lost, Salvaged

LOST_SHOWN = 20


def salvage(
    segment: Annotated[Path, typer.Argument(metavar="SEGMENT", show_default=False)],
    into: Annotated[
        Path,
        typer.Option(
            "--into",
            metavar="DIR",
            help="The partition directory to create, such as rescued/flights-0.",
        ),
    ],
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Copy intact batches out of a damaged file.

    Reads a .log file, which is not changed, and names the lost offsets. The copy can be read with
    --data set to the directory that contains DIR.

    $ logstore salvage logstore-data/flights-0/00000000000000000000.log --into rescued/flights-0
    """
    from logstore.storage.disk import Disk
    from logstore.storage.segment import INDEX_INTERVAL_BYTES
    from logstore.storage.whole_segment import write_segment
    from logstore.upkeep import salvage as upkeep

    from .segment import base_offset

    base = base_offset(segment)
    if base is None or segment.suffix != ".log":
        raise typer.BadParameter(
            f"{segment.name!r} is not a segment's name: 20 digits and .log", param_hint="'SEGMENT'"
        )
    target = into / segment.name
    if target.exists():
        raise CommandFailed(f"{target} already exists: choose another directory")
    with segment.open("rb") as file:
        if file.seek(0, 2) == 0:
            found = upkeep.salvage(b"", base)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                found = upkeep.salvage(mapped, base)
    if not found.intact:
        raise CommandFailed(f"{segment}: contains no intact batch; nothing was written")
    for folder in reversed((into, *into.parents)):
        folder.mkdir(0o700, exist_ok=True)  # as a data directory: there are records in it
    disk, batches = Disk(), [it.batch for it in found.intact]
    write_segment(disk, str(target.with_suffix("")), base, INDEX_INTERVAL_BYTES, batches)
    disk.sync_directory(str(into))
    if json_:
        put(as_json(_as_object(found, target)))
    else:
        put(_as_text(found, target))


def _as_text(found: "Salvaged", target: Path) -> str:
    records = sum(it.batch.record_count for it in found.intact)
    batches = counted(len(found.intact), "batch", "batches")
    lines = [f"copied {batches}, {counted(records, 'record')} into {target}"]
    lines += [f"lost {_range(it)}" for it in found.lost[:LOST_SHOWN]]
    if len(found.lost) > LOST_SHOWN:
        lines.append(f"lost {counted(len(found.lost) - LOST_SHOWN, 'range')} more (see --json)")
    if found.bytes_lost:
        lines.append(f"{size(found.bytes_lost)} of the file belong to no intact batch")
    if not found.lost:
        lines.append("nothing is lost")
    return "".join(line + "\n" for line in lines)


def _range(lost: "Lost") -> str:
    if lost.last is None:
        return f"every record from offset {lost.first} on"
    one = f"offset {lost.first}"
    return one if lost.first == lost.last else f"offsets {lost.first} to {lost.last}"


def _as_object(found: "Salvaged", target: Path) -> dict[str, object]:
    return {
        "path": str(target),
        "batches": len(found.intact),
        "records": sum(it.batch.record_count for it in found.intact),
        "bytes_lost": found.bytes_lost,
        "lost": [{"first": it.first, "last": it.last} for it in found.lost],
    }
