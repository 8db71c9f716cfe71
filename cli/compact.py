"""``logstore compact``: of each key the latest record stays."""

from typing import TYPE_CHECKING

import typer

from .ends import put
from .options import HERE, Data, Json
from .retention import DryRun, Topic
from .show import as_json, counted, size

if TYPE_CHECKING:
    from logstore.errors import LogstoreError
    from logstore.upkeep.compaction import Compaction

app = typer.Typer(no_args_is_help=True)


@app.callback()
def compact(data: Data = HERE) -> None:
    """Keep the latest record of each key."""


@app.command("run")
def run(
    topic: Topic = None, dry_run: DryRun = False, json_: Json = False, data: Data = HERE
) -> None:
    """Compact the topics whose cleanup.policy says so, where it is time."""
    found: list[Compaction] = []
    with data.open("read" if dry_run else "write") as store:
        for compaction in store.compaction(topic, dry_run=dry_run):
            found.append(compaction)
            if not json_ and compaction.done is not None:
                put(_line(compaction, dry_run=dry_run) + "\n")
    if json_:
        put(as_json([_as_object(it) for it in found]))
    elif not found:
        put("nothing to do: no topic's cleanup.policy is compact\n")
    failure: LogstoreError | None = next((it.error for it in found if it.error), None)
    if failure is not None:
        raise failure


def _line(compaction: "Compaction", *, dry_run: bool) -> str:
    done = compaction.done
    assert done is not None
    name = f"{compaction.topic}-{compaction.partition}"
    if not done.due:
        return f"{name}: left as it is: {done.why}"
    if dry_run:
        return f"{name}: would be compacted: {done.why}"
    return (
        f"{name}: {counted(done.records_removed, 'record')} removed in"
        f" {counted(done.passes, 'pass', 'passes')}, {size(done.bytes_before)} before,"
        f" {size(done.bytes_after)} after: {done.why}"
    )


def _as_object(compaction: "Compaction") -> dict[str, object]:
    done = compaction.done
    return {
        "topic": compaction.topic,
        "partition": compaction.partition,
        "error": None if compaction.error is None else str(compaction.error),
        "due": done is not None and done.due,
        "why": None if done is None else done.why,
        "records_removed": 0 if done is None else done.records_removed,
        "bytes_before": None if done is None else done.bytes_before,
        "bytes_after": None if done is None else done.bytes_after,
    }
