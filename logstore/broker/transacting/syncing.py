"""Waits until many logs are synced up to given marks.

All syncs are requested together, and then awaited one after another. So each log is checked only
once, however often there is news, and some of them in each turn. Used in one thread.
"""

from logstore.errors import LogstoreError, UnknownPartition
from logstore.log import Log, Wake


class Syncing:
    """The logs of one kind that one decision waits for."""

    __slots__ = ("_asked", "_at", "_logs", "_stop", "failed")

    def __init__(self) -> None:
        self.failed: LogstoreError | None = None  # why one of them never will be: no other counts
        self._logs: list[tuple[Log, int]] = []  # each with the mark below which all is to be synced
        self._asked = 0  # of those: how many
        self._at = 0  # that is waited for
        self._stop: Wake | None = None  # for that one

    def add(self, log: Log, upto: int) -> None:
        """Wait also until this log is synced up to ``upto``."""
        self._logs.append((log, upto))

    @property
    def done(self) -> bool:
        """Whether all logs are synced, or one of them has failed: see ``failed``."""
        return self.failed is not None or self._at == len(self._logs)

    def ask(self, most: int) -> int:
        """Request a sync of the next ``most`` logs; return how many these were."""
        some = self._logs[self._asked : self._asked + most]
        for log, upto in some:
            if log.synced < upto:
                log.sync_soon(always=True)
        self._asked += len(some)
        return len(some)

    @property
    def asked(self) -> bool:
        """Whether a sync of all logs was requested."""
        return self._asked == len(self._logs)

    def look(self, most: int, wake: Wake) -> int:
        """Pass over up to ``most`` logs that are synced; return how many.

        If they are fewer and it is not ``done``, ``wake`` is called from any thread when to look
        again.
        """
        for count in range(most):
            if self.done:
                return count
            log, upto = self._logs[self._at]
            if log.synced < upto:
                try:
                    log.check_failure()
                except UnknownPartition:  # no one waits for a deleted log
                    pass
                except LogstoreError as error:
                    self.failed = error
                else:
                    if self._stop is None:
                        self._stop = log.watch(wake)
                    if log.synced < upto:  # otherwise it was synced before the watch
                        return count
            self._leave()
            self._at += 1
        return most

    def _leave(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
