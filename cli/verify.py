"""``logstore verify``: read everything, and say what is not as it was written."""

from typing import TYPE_CHECKING, Annotated

import typer

from .ends import CommandFailed, put
from .options import HERE, UPKEEP, Data, Json
from .show import as_json, counted, names, size

if TYPE_CHECKING:
    from logstore.storage.verify import Finding


def verify(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC", show_default=False, help="The topic to check; defaults to all topics."
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild wrong indexes; no other file is changed.")
    ] = False,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Check every batch and every index entry.

    Exits with 1 if there is damage.

    $ logstore verify
    $ logstore verify flights --repair
    """
    findings: list[Finding] = []
    segments = batches = records = bytes_ = 0
    repaired: set[str] = set()
    data.check_own(*UPKEEP)
    with data.open("write" if repair else "read") as store:
        for report in store.verify(topic, repair=repair):
            if report.repaired:
                repaired.add(report.path)
            segments += 1
            batches += report.batches
            records += report.records
            bytes_ += report.bytes
            findings += report.findings
            if not json_:
                for finding in report.findings:
                    put(names([_as_text(finding, repaired=report.repaired)]))
    if json_:
        found = [
            {
                "path": one.path, "message": one.message, "derived": one.derived, "left": one.left,
            }
            for one in findings
        ]  # fmt: skip
        counts = {"segments": segments, "batches": batches, "records": records, "bytes": bytes_}
        put(as_json({**counts, "findings": found, "repaired": sorted(repaired)}))
    damaged = [finding for finding in findings if not (finding.derived or finding.left)]
    what = (
        f"{counted(segments, 'segment')}, {counted(batches, 'batch', 'batches')},"
        f" {counted(records, 'record')}, {size(bytes_)}"
    )
    if damaged:
        places = counted(len(damaged), "place")
        raise CommandFailed(f"{what}: damaged at {places}, the first: {_where(damaged[0])}")
    if not json_:
        put(f"{what}: nothing is damaged\n")


def _as_text(finding: "Finding", *, repaired: bool) -> str:
    if finding.left:
        return f"left  {_where(finding)} (removed when queues are used next)"
    if not finding.derived:
        return f"DAMAGED  {_where(finding)}"
    if finding.path.endswith(".log"):
        note = "made by the records" if repaired else "--repair makes it by the records"
        return f"header  {_where(finding)} (the time index: {note})"
    note = "made anew" if repaired else "rebuilt as it is used; or use --repair"
    return f"index  {_where(finding)} ({note})"


def _where(finding: "Finding") -> str:
    return f"{finding.path}: {finding.message}"
