"""Appended records that must become safe before they are acknowledged."""

from collections.abc import Iterator
from itertools import islice

from logstore.errors import LogstoreError
from logstore.log import Log, Wake


class Unsafe:
    """Logs, each with the mark to wait for. Used by one thread at a time.

    Code that replies to others asks ``settled`` each time ``watch`` has woken it; code that may
    block its thread calls ``wait``.
    """

    __slots__ = ("_marks", "_synced", "_watched")

    def __init__(self, *, synced: bool = False) -> None:
        """``synced``: wait for the sync even if a log's policy counts records as safe before."""
        self._synced = synced
        self._marks: dict[Log, int] = {}
        self._watched: dict[Log, Wake] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def __len__(self) -> int:
        """The number of logs."""
        return len(self._marks)

    def __iter__(self) -> Iterator[Log]:
        """The logs."""
        return iter(self._marks)

    def add(self, log: Log, upto: int) -> None:
        """Also wait for everything below the mark ``upto`` of the log."""
        self._marks[log] = max(upto, self._marks.get(log, upto))

    def lower(self, log: Log, upto: int) -> None:
        """Wait only up to this mark of the log; 0: no longer wait for it."""
        if log in self._marks:
            if upto:
                self._marks[log] = min(upto, self._marks[log])
            else:
                self._forget(log)

    def mark(self, log: Log) -> int:
        """The mark to wait for in this log."""
        return self._marks[log]

    def settle(self, most: int | None = None) -> dict[Log, LogstoreError]:
        """Forget logs that are safe by now; returns those that never will be, with the errors.

        ``most``: check at most this many logs, in the order of their addition.
        """
        failed: dict[Log, LogstoreError] = {}
        for log, upto in list(islice(self._marks.items(), most)):
            if (log.synced if self._synced else log.done) < upto:
                try:
                    log.check_failure()
                except LogstoreError as error:
                    failed[log] = error
                else:
                    continue
            self._forget(log)
        return failed

    def settled(self) -> bool:
        """Whether everything is safe.

        Raises LogFailed, Damaged or Refused if a part of it never will be.
        """
        for error in self.settle().values():
            raise error
        return not self._marks

    def watch(self, wake: Wake) -> None:
        """Start the syncs, and call ``wake``, from any thread, when it is time to ask again.

        It is called immediately if something has become safe since the last check.
        """
        for log, upto in list(self._marks.items()):  # a woken caller may settle some
            if log not in self._watched:
                self._watched[log] = log.watch(wake)
                if log.done >= upto:
                    wake()
            log.sync_soon(always=self._synced)

    def wait(self) -> None:
        """Return once everything is safe. Raises as ``settled``."""
        for log, upto in list(self._marks.items()):
            log.wait(upto)
            self._forget(log)

    def give_up(self, most: int | None = None) -> list[Log]:
        """Wait for these logs no longer: all, or this many of those added first."""
        given_up = list(islice(self._marks, most))
        for log in given_up:
            self._forget(log)
        return given_up

    def close(self) -> None:
        """Wait for nothing any more."""
        self.give_up()

    def _forget(self, log: Log) -> None:
        del self._marks[log]
        stop = self._watched.pop(log, None)
        if stop is not None:
            stop()
