"""``logstore retention``: drop what is past its time or size, or say what would go."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ends import put
from .options import HERE, Data, Json
from .show import as_json, counted, size

if TYPE_CHECKING:
    from logstore.errors import LogstoreError
    from logstore.upkeep.retention import Retained, Verdict

app = typer.Typer(no_args_is_help=True)

Topic = Annotated[str | None, typer.Option("--topic", metavar="TOPIC", help="Else all.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.callback()
def retention(data: Data = HERE) -> None:
    """Drop what is past its time or size."""


@app.command("run")
def run(
    topic: Topic = None, dry_run: DryRun = False, json_: Json = False, data: Data = HERE
) -> None:
    """Drop whole segments by retention.ms, retention.bytes and retention.groups."""
    found: list[Retained] = []
    with data.open("read" if dry_run else "write") as store:
        for retained in store.retention(topic, dry_run=dry_run):
            found.append(retained)
            if not json_:
                for verdict in retained.dropped:
                    put(f"{'would drop' if dry_run else 'dropped'} {_line(verdict)}\n")
    if json_:
        put(as_json([_as_object(it) for it in found]))
    else:
        put(_summary(found, dry_run=dry_run))
    failure: LogstoreError | None = next((it.error for it in found if it.error), None)
    if failure is not None:
        raise failure


def _line(verdict: "Verdict") -> str:
    segment = verdict.segment
    offsets = f"offsets {segment.base_offset} to {segment.end_offset - 1}"
    path = Path(segment.path)
    return f"{path.parent.name}/{path.name} ({offsets}, {size(segment.bytes)}): {verdict.why}"


def _summary(found: "list[Retained]", *, dry_run: bool) -> str:
    dropped = [verdict.segment for it in found for verdict in it.dropped]
    before = sum(verdict.segment.bytes for it in found for verdict in it.verdicts)
    after = before - sum(segment.bytes for segment in dropped)
    what = "would drop" if dry_run else "dropped"
    return (
        f"{what} {counted(len(dropped), 'segment')}: {size(before)} before, {size(after)} after\n"
    )


def _as_object(retained: "Retained") -> dict[str, object]:
    return {
        "topic": retained.topic,
        "partition": retained.partition,
        "error": None if retained.error is None else str(retained.error),
        "bytes_before": sum(it.segment.bytes for it in retained.verdicts),
        "bytes_after": sum(it.segment.bytes for it in retained.verdicts if not it.goes),
        "segments": [
            {
                "path": it.segment.path,
                "base_offset": it.segment.base_offset,
                "end_offset": it.segment.end_offset,
                "bytes": it.segment.bytes,
                "active": it.segment.active,
                "drop": it.goes,
                "why": it.why,
            }
            for it in retained.verdicts
        ],
    }
