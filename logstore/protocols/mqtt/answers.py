"""Acknowledgements of published messages: PUBACK and PUBREC, with their reason codes."""

from collections.abc import Callable, Sequence

from logstore.errors import LogstoreError, StorageFull
from logstore.mqtt import reasons, writing
from logstore.mqtt.kinds import V5
from logstore.mqtt.reasons import Broken
from logstore.protocols.mqtt.carrier import Carrier


def unmatched(of: Carrier, matched: Sequence[int] | None, numbers: Sequence[int]) -> dict[int, int]:
    """The reason codes of the messages among these that match no subscription (3.4.2.1)."""
    if matched is None or of.version < V5 or 0 not in matched:
        return {}
    return {
        n: reasons.NO_MATCHING_SUBSCRIBERS
        for n, got in zip(numbers, matched, strict=True) if not got
    }  # fmt: skip


def saying(
    of: Carrier,
    kind: int,
    pids: Sequence[int],
    refused: dict[int, int],
    unmatched: dict[int, int],
) -> Callable[[LogstoreError | None], bytes]:
    """A function that makes the acknowledgements, given the reason codes other than success."""

    def said(error: LogstoreError | None) -> bytes:
        if error is None and not refused and not unmatched:
            return writing.acks(kind, pids)
        codes, failed = unmatched | refused, reasons.SUCCESS
        if error is not None:
            codes = refused
            failed = reasons.QUOTA if isinstance(error, StorageFull) else reasons.UNSPECIFIED
            if of.version < V5:
                of.fail(Broken(failed, f"its published messages can't be stored: {error}"))
                return b""
        return b"".join(
            writing.ack(kind, pid, codes.get(n, failed), of.version) for n, pid in enumerate(pids)
        )

    return said
