"""The logs to which messages for a roaming queue are appended.

Each is opened at its first message; messages wait until then, and their bytes are counted.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from logstore.broker.queues.pending import Waiting
from logstore.errors import LogstoreError, RecordTooLarge
from logstore.log import Log
from logstore.records.batch import Batch

BATCH_BYTES: Final = 256  # of a batch that waits, beside what it holds
BATCH_BYTES_MAX: Final = 16 << 20  # the cluster takes none that is larger


class Opener(Protocol):
    """The source of the logs."""

    def open(self, queue: int, lane: int, then: Callable[[Log | LogstoreError], None]) -> None:
        """Open the log of a lane, or create it; ``then`` is called in this thread, now or later."""

    def unmake(self, queue: int) -> None:
        """Delete the logs of a deleted queue: this node may have created them after the
        deletion.
        """

    def parked(self, size: int) -> None:
        """Change the count of bytes that wait for logs being opened by ``size``, which may be
        negative.
        """


class Taking(Protocol):
    """What receives the messages of one queue."""

    def append(self, lane: int, batch: Batch, waiting: Waiting) -> None:
        """Append a batch to a lane. Raises LogstoreError."""

    def drop(self) -> None:
        """Handle the deletion of the queue."""


class _Parked(NamedTuple):
    batch: Batch
    waiting: Waiting


class _Outlet:
    """The log of one lane."""

    __slots__ = ("log", "parked")

    def __init__(self) -> None:
        self.log: Log | None = None
        self.parked: list[_Parked] = []

    @property
    def has_failed(self) -> bool:
        try:
            if self.log is not None:
                self.log.check_failure()
        except LogstoreError:
            return True
        return False


class Outlets:
    """The logs of one queue. In the sessions' thread."""

    def __init__(self, queue: int, opener: Opener) -> None:
        self._queue = queue
        self._opener = opener
        self._lanes: dict[int, _Outlet] = {}
        self._dropped = False

    def append(self, lane: int, batch: Batch, waiting: Waiting) -> None:
        """Append a batch to a lane. Raises RecordTooLarge, ClusterBehind, LogFailed."""
        if batch.size > BATCH_BYTES_MAX:
            raise RecordTooLarge(
                f"a message of {batch.size} bytes, including its envelope; at most "
                f"{BATCH_BYTES_MAX} go into a queue that nodes share"
            )
        outlet = self._lanes.get(lane)
        if outlet is None or outlet.has_failed:  # closed, or made anew: there may be another
            outlet = self._lanes[lane] = _Outlet()
            self._park(outlet, batch, waiting)
            self._opener.open(self._queue, lane, lambda found: self._opened(lane, found))
        elif outlet.log is None:
            self._park(outlet, batch, waiting)
        else:
            waiting.appended(outlet.log, outlet.log.append(batch) + batch.record_count)

    def _park(self, outlet: _Outlet, batch: Batch, waiting: Waiting) -> None:
        waiting.park()
        outlet.parked.append(_Parked(batch, waiting))
        self._opener.parked(batch.size + BATCH_BYTES)

    def _opened(self, lane: int, found: Log | LogstoreError) -> None:
        outlet = self._lanes[lane]
        parked, outlet.parked = outlet.parked, []
        if self._dropped or isinstance(found, LogstoreError):
            del self._lanes[lane]  # the next message tries again
        else:
            outlet.log = found
        for batch, waiting in parked:
            self._opener.parked(-batch.size - BATCH_BYTES)
            if self._dropped:  # no one waits for a deleted queue
                waiting.unparked(None, 0)
            elif isinstance(found, LogstoreError):
                waiting.unparked(None, 0, found)
            else:
                self._put(found, batch, waiting)
        if self._dropped:
            self._opener.unmake(self._queue)

    @staticmethod
    def _put(log: Log, batch: Batch, waiting: Waiting) -> None:
        try:
            mark = log.append(batch)
        except LogstoreError as error:
            waiting.unparked(None, 0, error)
        else:
            waiting.unparked(log, mark + batch.record_count)

    def drop(self) -> None:
        """Handle the deletion of the queue.

        Another node may have deleted it before messages of this node came, so their logs are
        deleted too.
        """
        self._dropped = True
        if any(it.log is not None for it in self._lanes.values()):
            self._opener.unmake(self._queue)
