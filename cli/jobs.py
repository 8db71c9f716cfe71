"""``retention``, ``compact``, ``recompress``: done here, or by who has the store open."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command import Command, Group
from .ends import found, put, say, tell
from .options import HERE, UPKEEP, Data, DataDir, Json
from .progress import progress_for
from .show import as_json, counted, size
from .similar import nearest

if TYPE_CHECKING:
    from logstore.upkeep.job import Job, Name, Outcome, Progress, Rewritten, Tell
    from logstore.upkeep.retention import Held, Verdict

Topics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        metavar="TOPIC",
        help="A topic to work on; may be repeated; defaults to all topics.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the planned changes without making any.")
]
Seal = Annotated[
    bool,
    typer.Option(
        "--seal",
        help="Seal the active segments first, so that every record is looked at, even if little is"
        " left to do.",
    ),
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress; defaults to yes if standard error is a terminal.",
    ),
]


def _group(name: "Name", does: str, run_does: str) -> typer.Typer:
    """The command group with ``logstore NAME run``."""
    app = typer.Typer(cls=Group, no_args_is_help=True)

    @app.callback(help=does)
    def group(data: Data = HERE) -> None: ...

    def run(
        topic: Topics = None,
        dry_run: DryRun = False,
        json_: Json = False,
        progress: ShowProgress = None,
        data: Data = HERE,
    ) -> None:
        _run(name, topic or (), data, dry_run=dry_run, json_=json_, progress=progress)

    def run_sealing(
        topic: Topics = None,
        seal: Seal = False,
        dry_run: DryRun = False,
        json_: Json = False,
        progress: ShowProgress = None,
        data: Data = HERE,
    ) -> None:
        _run(name, topic or (), data, dry_run=dry_run, json_=json_, progress=progress, seal=seal)

    body = run if name == "retention" else run_sealing  # retention seals by itself what goes
    app.command("run", cls=Command, help=run_does)(body)
    return app


retention = _group(
    "retention",
    "Delete records beyond the retention limits.",
    "Delete expired segments now.\n\nThe settings retention.ms, retention.bytes and"
    " retention.groups decide which segments are expired.\n\n"
    "$ logstore retention run --dry-run",
)
compact = _group(
    "compact",
    "Keep the latest record of each key.",
    "Compact topics now.\n\nCompacts topics whose cleanup.policy includes compact, if enough of the"
    " log is not\ncompacted yet. Small segments are merged.\n\n"
    "$ logstore compact run --topic states",
)
recompress = _group(
    "recompress",
    "Compress sealed segments again.",
    "Recompress sealed segments now.\n\nRewrites sealed segments in larger batches, in topics that"
    " set compression.sealed.\n\n"
    "$ logstore recompress run --topic flights",
)


def _run(
    name: "Name",
    topics: Sequence[str],
    data: DataDir,
    *,
    dry_run: bool,
    json_: bool,
    progress: bool | None,
    seal: bool = False,
) -> None:
    from logstore.upkeep.job import Job, failure, silent

    data.check_own(*UPKEEP)
    job = Job(name, tuple(dict.fromkeys(topics)), dry_run, seal)
    outcomes: list[Outcome] = []
    bar = _Bar(progress)
    show = found if dry_run else tell
    with closing(bar):
        for outcome in _outcomes(job, data, bar.tell):
            outcomes.append(outcome)
            bar.done(outcome)
            if not json_:
                bar.hide()
                for line in _lines(outcome, job):
                    show(line)
    if json_:
        put(as_json([_as_object(it) for it in outcomes]))
    elif (summary := _summary(job, outcomes)) is not None:
        show(summary)
    if missing := silent(outcomes):
        _warn_of_silent(missing, data)
    failed = failure(outcomes)
    if failed is not None:
        raise failed


def _warn_of_silent(missing: "list[tuple[str, str]]", data: DataDir) -> None:
    from logstore.upkeep.job import silence

    with data.open("read") as store:
        groups = store.groups()
    for topic, group in missing:
        near = None if group in groups else nearest(group, groups)
        say(f"logstore: {silence(topic, group)}{f' (did you mean {near}?)' if near else ''}")


def _outcomes(job: "Job", data: DataDir, tell: "Tell") -> "Iterator[Outcome]":
    """The outcomes of the job, run here or by the process that writes the store."""
    from logstore.errors import StoreLocked
    from logstore.storage.disk import Disk
    from logstore.upkeep.asking import ask

    try:
        with data.open("read" if job.dry_run else "write") as store:
            do: dict[Name, Callable[..., Iterator[Outcome]]] = {
                "retention": store.retention,
                "compact": partial(store.compaction, seal=job.seal),
                "recompress": partial(store.recompression, seal=job.seal),
            }
            yield from do[job.name](*job.topics, dry_run=job.dry_run, tell=tell)
    except StoreLocked as locked:
        with data.open("read") as store:  # a reader names the topic that was meant, if it is none
            for topic in job.topics:
                store.topic(topic)
        say(f"handed to {locked.owner}, which has the store open")
        yield from ask(Disk(), str(data.path), job, tell)


class _Bar:
    """How far a job is, over all logs."""

    def __init__(self, wanted: bool | None) -> None:
        self._progress = progress_for(wanted, None, "log", "done")
        self._logs = self._bytes = 0

    def tell(self, progress: "Progress") -> None:
        self._progress.expect(self._bytes + progress.bytes_total)
        self._progress.update(self._bytes + progress.bytes_done, self._logs)

    def done(self, outcome: "Outcome") -> None:
        self._logs += 1
        self._bytes += _before_after(outcome)[0]

    def hide(self) -> None:
        self._progress.hide()

    def close(self) -> None:
        self._progress.close()


def _before_after(outcome: "Outcome") -> tuple[int, int]:
    from logstore.upkeep.job import Rewritten

    if isinstance(outcome, Rewritten):
        return outcome.bytes_before, outcome.bytes_after
    sizes = [(it.segment.bytes, it.goes) for it in outcome.verdicts]
    return sum(it for it, _ in sizes), sum(it for it, goes in sizes if not goes)


def _lines(outcome: "Outcome", job: "Job") -> Iterator[str]:
    from logstore.upkeep.job import Rewritten

    if outcome.broke is not None:
        yield f"{outcome.topic}-{outcome.partition}: left as it is: {outcome.broke.error()}"
        return
    if isinstance(outcome, Rewritten):
        yield f"{outcome.topic}-{outcome.partition}: {_rewritten(outcome, job)}"
        return
    for verdict in outcome.dropped:
        yield f"{'would drop' if job.dry_run else 'dropped'} {_verdict(verdict)}"
    for held in outcome.held:
        log = f"{outcome.topic}-{outcome.partition}"
        yield f"{'would keep' if job.dry_run else 'kept'} {_held(held, log)}"


def _held(held: "Held", log: str) -> str:
    from .times import iso

    amount = f"{counted(held.segments, 'segment')}, {size(held.bytes)}"
    what = f"{log} offsets {held.base_offset} to {held.end_offset - 1} ({amount})"
    if held.at is None or held.commit_ms is None:
        return f"{what}: group {held.group} has committed no offset in this partition"
    since = f"committed offset {held.at} at {iso(held.commit_ms)}, and nothing since"
    return f"{what}: group {held.group} {since}"


def _verdict(verdict: "Verdict") -> str:
    segment = verdict.segment
    offsets = f"offsets {segment.base_offset} to {segment.end_offset - 1}"
    path = Path(segment.path)
    return f"{path.parent.name}/{path.name} ({offsets}, {size(segment.bytes)}): {verdict.why}"


def _rewritten(outcome: "Rewritten", job: "Job") -> str:
    rest = [*outcome.left_out]
    if outcome.tombstones_until_ms is not None:
        from .times import iso

        until = iso(outcome.tombstones_until_ms)
        rest.append(f"tombstones stay until {until} (delete.retention.ms)")
    if job.dry_run and outcome.due:
        return "; ".join((_would(outcome, job.name), *rest))
    merged = outcome.segments_after < outcome.segments_before and not job.dry_run
    if not outcome.due and not merged:
        return f"left as it is: {'; '.join((*rest, outcome.why))}"
    removed = counted(outcome.records_removed, "record")
    parts = [f"{removed} removed"] if outcome.passes else []
    parts.append(_change(outcome.bytes_before, outcome.bytes_after))
    if merged:
        before = counted(outcome.segments_before, "segment")
        parts.append(f"{before} -> {outcome.segments_after}")
    return "; ".join((", ".join(parts), *rest))


def _change(before: int, after: int) -> str:
    return f"{size(before)} -> {size(after)}"


def _would(outcome: "Rewritten", name: "Name") -> str:
    """The result of a dry run; for a partial result, the known minimum and an estimate."""
    if not outcome.tried:
        return f"would be rewritten: {outcome.why}"
    part = outcome.tried == "some"
    after = f"{'about ' if part else ''}{size(outcome.bytes_after)}"
    change = f"{size(outcome.bytes_before)} -> {after}"
    if name != "compact":
        return f"would be rewritten, {change}"
    removed = counted(outcome.records_removed, "record")
    return f"would remove {'at least ' if part else ''}{removed}, {change}"


def _summary(job: "Job", outcomes: "list[Outcome]") -> str | None:
    from logstore.upkeep.job import Retained

    sizes = [_before_after(it) for it in outcomes]
    change = _change(sum(it for it, _ in sizes), sum(it for _, it in sizes))
    if job.name == "retention":
        dropped = sum(len(it.dropped) for it in outcomes if isinstance(it, Retained))
        did = "would drop" if job.dry_run else "dropped"
        kept = [it.held_back for it in outcomes if isinstance(it, Retained)]
        segments, length = sum(it for it, _ in kept), sum(it for _, it in kept)
        held = f"; {counted(segments, 'segment')} ({size(length)}) kept for groups"
        return f"{did} {counted(dropped, 'segment')}: {change}{held if segments else ''}"
    if not outcomes:
        setting = (
            "cleanup.policy is compact" if job.name == "compact" else "compression.sealed is set"
        )
        return f"nothing to do: no topic's {setting}"
    return None if job.dry_run or len(outcomes) == 1 else f"in all {change}"


def _as_object(outcome: "Outcome") -> dict[str, object]:
    from logstore.upkeep.job import Rewritten

    before, after = _before_after(outcome)
    facts: dict[str, object] = {
        "topic": outcome.topic,
        "partition": outcome.partition,
        "error": None if outcome.broke is None else outcome.broke.text,
        "bytes_before": before,
        "bytes_after": after,
    }
    if isinstance(outcome, Rewritten):
        return facts | {
            "due": outcome.due,
            "why": outcome.why,
            "segments_before": outcome.segments_before,
            "segments_after": outcome.segments_after,
            "records_removed": outcome.records_removed,
            "passes": outcome.passes,
            "left_out": list(outcome.left_out),
            "tried": outcome.tried or None,
            "tombstones_until": _time(outcome.tombstones_until_ms),
        }
    return facts | {
        "segments": [_verdict_as_object(it) for it in outcome.verdicts],
        "held": [_held_as_object(it) for it in outcome.held],
        "groups_without_commits": list(outcome.silent),
    }


def _time(moment_ms: int | None) -> str | None:
    from .times import iso

    return None if moment_ms is None else iso(moment_ms)


def _held_as_object(held: "Held") -> dict[str, object]:
    return {
        "group": held.group,
        "committed": held.at,
        "commit_time": _time(held.commit_ms),
        "base_offset": held.base_offset,
        "end_offset": held.end_offset,
        "segments": held.segments,
        "bytes": held.bytes,
    }


def _verdict_as_object(verdict: "Verdict") -> dict[str, object]:
    segment = verdict.segment
    return {
        "path": segment.path,
        "base_offset": segment.base_offset,
        "end_offset": segment.end_offset,
        "bytes": segment.bytes,
        "active": segment.active,
        "drop": verdict.goes,
        "why": verdict.why,
    }
