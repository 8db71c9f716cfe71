"""What callers wait for: a change that is being stored, or everything that a run of messages needs.

A ``Keeping`` notifies one caller; here several callers may wait for the same thing.
"""

from collections.abc import Callable
from typing import Final

from logstore.broker.unsafe import Unsafe
from logstore.errors import LogstoreError, UnknownPartition
from logstore.kept.keeping import Keeping
from logstore.log import Log, Wake


class Pending:
    """A change that is becoming durable. Used in one thread."""

    __slots__ = ("_calls", "done", "error")

    def __init__(self, keeping: Keeping | None = None) -> None:
        self.done = False
        self.error: LogstoreError | None = None  # the error if it was not stored
        self._calls: list[Callable[[Pending], None]] = []
        if keeping is not None:
            keeping.then(lambda it: self.finish(it.error))

    def then(self, call: Callable[["Pending"], None]) -> None:
        """Call ``call`` once it is done, perhaps at once."""
        if self.done:
            call(self)
        else:
            self._calls.append(call)

    def finish(self, error: LogstoreError | None) -> None:
        """Note the result. Call once."""
        assert not self.done
        self.done, self.error = True, error
        calls, self._calls = self._calls, []
        for call in calls:
            call(self)


def both(first: Pending, second: Pending) -> Pending:
    """Return what finishes when both have; it has failed if either has."""
    joined, left = Pending(), [first, second]

    def done(pending: Pending) -> None:
        left.remove(pending)
        if not left:
            joined.finish(first.error or second.error)

    first.then(done)
    second.then(done)
    return joined


class Waiting:
    """Everything that must happen before a run of messages is confirmed.

    Appended records must become safe; records parked for a lane that is being opened must be
    appended first; queues that were just declared must be stored.
    """

    __slots__ = ("_parked", "_synced", "_unsafe", "_wake", "failed")

    def __init__(self, *, synced: bool = False) -> None:
        """``synced``: it must survive a power cut, whatever the sync policy of the logs."""
        self.failed: LogstoreError | None = None  # the error if a part failed
        self._synced = synced
        self._unsafe = Unsafe(synced=synced)
        self._parked = 0
        self._wake: Wake | None = None

    # What the model says

    def appended(self, log: Log, upto: int) -> None:
        """Wait until all below this mark of the log is safe."""
        self._unsafe.add(log, upto)

    def park(self) -> None:
        """Wait for an append that is not possible yet."""
        self._parked += 1

    def unparked(self, log: Log | None, upto: int, error: LogstoreError | None = None) -> None:
        """Note that a parked append was made or has failed; without log and error, it is not
        needed.
        """
        self._parked -= 1
        if error is not None:
            self.failed = self.failed or error
        elif log is not None:
            self._unsafe.add(log, upto)
        self._news()

    def pending(self, pending: Pending) -> None:
        """Wait for a declaration that must be stored."""
        if not pending.done:
            self._parked += 1
            pending.then(self._kept)
        elif pending.error is not None:
            self.failed = self.failed or pending.error

    def _kept(self, pending: Pending) -> None:
        self.unparked(None, 0, pending.error)

    def _news(self) -> None:
        if self._wake is not None:
            self._unsafe.watch(self._wake)
            self._wake()

    # What others ask

    def settled(self) -> bool:
        """Return whether all is safe, or some part has failed: see ``failed``."""
        for error in self._unsafe.settle().values():
            # What a queue had that was deleted counts as consumed, as in RabbitMQ.
            if not isinstance(error, UnknownPartition):
                self.failed = self.failed or error
        if self.failed is not None:
            self.close()
            return True
        return not self._parked and not self._unsafe

    def watch(self, wake: Wake) -> None:
        """Request a sync; ``wake`` is called, from any thread, when to look again."""
        self._wake = wake
        self._unsafe.watch(wake)

    @property
    def parked(self) -> bool:
        """Whether some part is not appended or not stored yet."""
        return self._parked > 0

    @property
    def marks(self) -> list[tuple[Log, int]]:
        """The logs and the marks to wait for, if nothing is parked."""
        return [(log, self._unsafe.mark(log)) for log in self._unsafe]

    def wait(self) -> None:
        """Block until all is safe; nothing may be parked. Raises ``failed``.

        Raises what ``failed`` is.
        """
        assert not self._parked
        for log in list(self._unsafe):
            try:
                log.wait(self._unsafe.mark(log))
            except UnknownPartition:  # as above
                continue
            except LogstoreError as error:
                self.failed = self.failed or error
        if not self._synced:  # otherwise it may not be: the caller checks
            self._unsafe.close()
        if self.failed is not None:
            raise self.failed

    def close(self) -> None:
        """Stop waiting."""
        self._wake = None
        self._unsafe.close()


NO_TIME: Final = 1 << 62  # later than any deadline, in ms
