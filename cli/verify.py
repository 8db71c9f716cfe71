"""``logstore verify``: read everything, and say what is not as it was written."""

from typing import TYPE_CHECKING, Annotated

import typer

from .ends import CommandFailed, put
from .options import HERE, Data, Json
from .show import as_json, counted, size

if TYPE_CHECKING:
    from logstore.storage.verify import Finding


def verify(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", show_default=False, help="Else all.")
    ] = None,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Check every batch and every index entry; changes nothing. Damage ends in exit code 1."""
    findings: list[Finding] = []
    segments = batches = records = bytes_ = 0
    with data.open("read") as store:
        for report in store.verify(topic):
            segments += 1
            batches += report.batches
            records += report.records
            bytes_ += report.bytes
            findings += report.findings
            if not json_:
                for finding in report.findings:
                    put(_as_text(finding) + "\n")
    if json_:
        found = [
            {"path": one.path, "message": one.message, "derived": one.derived} for one in findings
        ]
        counts = {"segments": segments, "batches": batches, "records": records, "bytes": bytes_}
        put(as_json({**counts, "findings": found}))
    damaged = [finding for finding in findings if not finding.derived]
    what = (
        f"{counted(segments, 'segment')}, {counted(batches, 'batch', 'batches')},"
        f" {counted(records, 'record')}, {size(bytes_)}"
    )
    if damaged:
        places = counted(len(damaged), "place")
        raise CommandFailed(f"{what}: damaged at {places}, the first: {_where(damaged[0])}")
    if not json_:
        put(f"{what}: nothing is damaged\n")


def _as_text(finding: "Finding") -> str:
    kind = "index" if finding.derived else "DAMAGED"
    note = " (rebuilt as it is used)" if finding.derived else ""
    return f"{kind}  {_where(finding)}{note}"


def _where(finding: "Finding") -> str:
    return f"{finding.path}: {finding.message}"
