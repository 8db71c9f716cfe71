"""A partition that this process alone appends to, as a log: over a takeover that owns it."""

from collections.abc import Sequence

from logstore.cluster.takeover import Takeover
from logstore.log import ABORTED_MAX, Aborted, Extent, Log, Notes, Wake
from logstore.records.batch import Batch


class TakenLog:
    """A ``Log`` over one takeover. Used in the loop's thread."""

    notes: Notes | None = None

    def __init__(self, takeover: Takeover) -> None:
        assert takeover.log is not None
        self._takeover = takeover
        self._log: Log = takeover.log

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._log!r}>"

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises FencedProducer, ClusterBehind, LogFailed."""
        return self._takeover.append(batch)

    # Where it stands, and all else: as the partition has it

    @property
    def name(self) -> str:
        """As Log.name."""
        return self._log.name

    @property
    def start(self) -> int:
        """As Log.start."""
        return self._log.start

    @property
    def safe(self) -> int:
        """As Log.safe."""
        return self._log.safe

    @property
    def stable(self) -> int:
        """As Log.stable."""
        return self._log.stable

    @property
    def end(self) -> int:
        """As Log.end."""
        return self._takeover.next_offset

    @property
    def done(self) -> int:
        """As Log.done."""
        return self._log.done

    @property
    def synced(self) -> int:
        """As Log.synced."""
        return self._log.synced

    def offset_of(self, mark: int) -> int:
        """As Log.offset_of."""
        return self._log.offset_of(mark)

    def check_failure(self) -> None:
        """As Log.check_failure. Raises FencedProducer, too."""
        if self._takeover.failure is not None:
            raise self._takeover.failure
        self._log.check_failure()

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """As Log.sync_soon."""
        self._log.sync_soon(hurry=hurry, always=always)

    def show_soon(self) -> None:
        """As Log.show_soon."""
        self._log.show_soon()

    def wait(self, upto: int) -> None:
        """As Log.wait."""
        self._log.wait(upto)

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""
        return self._log.watch(wake)

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As Log.read."""
        return self._log.read(at, bytes_max)

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """As Log.extent."""
        return self._log.extent(at, bytes_max)

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """As Log.aborted."""
        return self._log.aborted(at, below, most)

    def where(self, offset: int) -> str:
        """As Log.where."""
        return self._log.where(offset)

    def following(self, at: int) -> int | None:
        """As Log.following."""
        return self._log.following(at)

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        return self._log.find(timestamp_ms, damaged=damaged)

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        return self._log.latest_timestamp()

    def trim(self, before: int) -> None:
        """As Log.trim."""
        self._log.trim(before)
