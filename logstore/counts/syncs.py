"""Counters of the disk: durations of syncs, and waits for them."""

from logstore.counts.histogram import SYNC_MS, Histogram


class Syncs:
    """The counters of one process. Changed by the thread that syncs, one at a time."""

    __slots__ = ("failed", "lengths_ms", "safe_ms")

    def __init__(self) -> None:
        self.lengths_ms = Histogram(SYNC_MS)  # of each sync, for one log or several
        # The time from the first request to sync a log until it is synced: the longest wait of an
        # append. One entry for each log and sync, without syncs that no one waits for.
        self.safe_ms = Histogram(SYNC_MS)
        self.failed = 0  # syncs of logs
