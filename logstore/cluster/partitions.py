"""The logs of a topic's partitions in a cluster, each opened at its first use.

Opening a log asks the cluster for its start and end. A log that has failed is released, and the
next use opens a new one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, overload

from logstore.cluster.client import Client
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.offsets import EARLIEST, LATEST
from logstore.cluster.waiters import WaitFor
from logstore.errors import LogFailed, LogstoreError

Then = Callable[[Any], None]  # gets the log, or a LogstoreError
# Begins what has to be known before a log is opened; calls back when it is.
Prepare = Callable[[Callable[[], None]], None]

DELETED: Final = "its topic was deleted"


class Partitions(Sequence[ClusterLog]):
    """The logs of one topic. Opened in the loop's thread; looked up from any thread."""

    def __init__(
        self,
        topic: str,
        count: int,
        client: Client,
        wait_for: WaitFor,
        prepare: Prepare,
        failed: Callable[[int], object],
    ) -> None:
        """``failed`` is called with a log that has failed and was released."""
        self._topic = topic
        self._count = count
        self._client = client
        self._wait_for = wait_for
        self._prepare = prepare
        self._failed = failed
        self._logs: dict[int, ClusterLog] = {}
        self._opening: dict[int, list[Then]] = {}
        self._closed: str | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> ClusterLog: ...
    @overload
    def __getitem__(self, at: slice) -> list[ClusterLog]: ...
    def __getitem__(self, at: int | slice) -> ClusterLog | list[ClusterLog]:
        """The log. Not in the loop's thread, unless it is open. Raises ClusterUnreachable,
        LogFailed.
        """
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number = range(len(self))[at]
        log = self._logs.get(number)
        if log is None:
            log = self._wait_for(partial(self.open, number))
        return log

    def grow(self, count: int) -> None:
        """Set a higher number of partitions."""
        self._count = max(self._count, count)

    def stands(self) -> list[tuple[int, int] | None]:
        """Start and safe of each open log."""
        logs = map(self._logs.get, range(self._count))
        return [None if it is None else (it.start, it.safe) for it in logs]

    # In the loop's thread

    def open(self, number: int, then: Then) -> None:
        """``then`` gets the log, immediately if it is open."""
        log = self._logs.get(number)
        if log is not None:
            then(log)
        elif self._closed is not None:
            then(LogFailed(f"{self._topic}-{number}: {self._closed}"))
        elif number in self._opening:
            self._opening[number].append(then)
        else:
            self._opening[number] = [then]
            self._client.brokers.want(self._topic)
            self._prepare(partial(self._prepared, number))

    def _prepared(self, number: int) -> None:
        if number not in self._opening:  # closed meanwhile
            return
        self._client.offsets.at_time((self._topic, number), EARLIEST, partial(self._begins, number))

    def _begins(self, number: int, found: Any) -> None:  # noqa: ANN401
        if isinstance(found, LogstoreError):
            self._opened(number, found)
            return
        if number not in self._opening:
            return
        start, _ = found
        self._client.offsets.at_time(
            (self._topic, number), LATEST, partial(self._ends, number, start)
        )

    def _ends(self, number: int, start: int, found: Any) -> None:  # noqa: ANN401
        if isinstance(found, LogstoreError):
            self._opened(number, found)
            return
        if number not in self._opening:
            return
        safe, _ = found
        log = self._client.shared_log((self._topic, number), start, safe, self._wait_for)
        self._logs[number] = log
        log.watch(partial(self._look, number, log))
        self._opened(number, log)

    def _opened(self, number: int, found: ClusterLog | LogstoreError) -> None:
        for then in self._opening.pop(number, ()):
            then(found)

    def _look(self, number: int, log: ClusterLog) -> None:
        """There is news of a log."""
        try:
            log.check_failure()
        except LogstoreError as error:
            if self._logs.get(number) is log:
                del self._logs[number]
                self._failed(number)
                # Where only its appends have failed, who reads it is told, too.
                self._client.around.soon(partial(log.close, str(error)))

    def close(self, why: str) -> None:
        """Close all logs; their users and waiting callers get the reason."""
        self._closed = why
        for number in list(self._opening):
            self._opened(number, LogFailed(f"{self._topic}-{number}: {why}"))
        for log in list(self._logs.values()):
            log.close(why)
        self._client.brokers.unwant(self._topic)
