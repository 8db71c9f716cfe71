"""A view of a log: the records of another log, within other limits. It owns nothing."""

from collections.abc import Sequence

from logstore.log import ABORTED_MAX, Aborted, Extent, Log, Notes, Wake
from logstore.records.batch import Batch


class LogView:
    """A ``Log``: everything is passed to the other log, including appends."""

    __slots__ = ("_log",)

    def __init__(self, log: Log) -> None:
        self._log = log

    @property
    def behind(self) -> Log:
        """The log itself."""
        return self._log

    @property
    def name(self) -> str:
        return self._log.name

    @property
    def start(self) -> int:
        return self._log.start

    @property
    def safe(self) -> int:
        return self._log.safe

    @property
    def stable(self) -> int:
        return self._log.stable

    @property
    def end(self) -> int:
        return self._log.end

    @property
    def notes(self) -> Notes | None:
        return self._log.notes

    @property
    def done(self) -> int:
        return self._log.done

    @property
    def synced(self) -> int:
        return self._log.synced

    def append(self, batch: Batch) -> int:
        return self._log.append(batch)

    def offset_of(self, mark: int) -> int:
        return self._log.offset_of(mark)

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        return self._log.read(at, bytes_max)

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        return self._log.extent(at, bytes_max)

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        return self._log.aborted(at, below, most)

    def where(self, offset: int) -> str:
        return self._log.where(offset)

    def following(self, at: int) -> int | None:
        return self._log.following(at)

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        return self._log.find(timestamp_ms, damaged=damaged)

    def latest_timestamp(self) -> int:
        return self._log.latest_timestamp()

    def trim(self, before: int) -> None:
        self._log.trim(before)

    def wait(self, upto: int) -> None:
        self._log.wait(upto)

    def check_failure(self) -> None:
        self._log.check_failure()

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        self._log.sync_soon(hurry=hurry, always=always)

    def show_soon(self) -> None:
        self._log.show_soon()

    def watch(self, wake: Wake) -> Wake:
        return self._log.watch(wake)
