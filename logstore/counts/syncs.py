"""What is counted of the disk: how long syncs take, and what waits for them."""

from logstore.counts.histogram import SYNC_MS, Histogram


class Syncs:
    """Of one process. Changed by whoever syncs, one at a time."""

    __slots__ = ("failed", "lengths_ms", "safe_ms")

    def __init__(self) -> None:
        self.lengths_ms = Histogram(SYNC_MS)  # of each sync, however many logs it was for
        # From when a log is first asked to be synced until it is: what an append has to wait at
        # most. One of each log and sync; without those that nobody waits for.
        self.safe_ms = Histogram(SYNC_MS)
        self.failed = 0  # syncs of logs
