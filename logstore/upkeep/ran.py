"""The facts of one finished run of upkeep: what it did, and what failed."""

from collections.abc import Collection, Sequence

from logstore.storage.ran import FAILURES_MAX, Ran
from logstore.upkeep.job import Name, Outcome, Retained, Rewritten


def summed(
    began_ms: int,
    ended_ms: int,
    outcomes: Sequence[tuple[Name, Outcome]],
    expired: Collection[str] = (),
    failure: str = "",
) -> Ran:
    """The totals of the outcomes of each job. ``failure``: the error that ended the run early."""
    dropped = [it for _, one in outcomes if isinstance(one, Retained) for it in one.dropped]
    rewritten = [
        (name, it) for name, it in outcomes if isinstance(it, Rewritten) and it.broke is None
    ]
    due = [(name, it) for name, it in rewritten if it.due]
    failures = [it.broke.text for _, it in outcomes if it.broke is not None]
    failures += [failure] if failure else []
    return Ran(
        began_ms,
        ended_ms,
        segments_dropped=len(dropped),
        bytes_dropped=sum(it.segment.bytes for it in dropped),
        logs_compacted=sum(name == "compact" for name, _ in due),
        records_removed=sum(it.records_removed for _, it in due),
        logs_recompressed=sum(name == "recompress" for name, _ in due),
        bytes_saved=sum(it.bytes_before - it.bytes_after for _, it in rewritten),
        groups_expired=len(expired),
        failures=tuple(failures[:FAILURES_MAX]),
        failed=len(failures),
    )
