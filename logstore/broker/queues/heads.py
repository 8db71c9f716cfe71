"""The publishing time of a queue's first message. For a thread that may wait for the disk."""

from collections.abc import Sequence

from logstore.errors import LogstoreError
from logstore.log import Log


def oldest_ms(heads: Sequence[tuple[Log, int]]) -> int | None:
    """Return the timestamp of the oldest message; None: unknown, or there is none.

    ``heads``: as ``Named.heads``.
    """
    found = []
    for log, head in heads:
        try:
            found += [it.base_timestamp_ms for it in log.read(head, 1)[:1]]
        except LogstoreError:  # trimmed or deleted; damage is reported elsewhere
            continue
    return min(found, default=None)
