"""Reads the topic of facts as it grows: this node's copy of what all nodes share.

Each batch is reported once. A caller that does not find a name first requests that the topic be
read to its end, because another node may have created the object a moment ago. Everything runs in
one thread.
"""

from collections.abc import Callable
from typing import Any, Final

from logstore.cluster.facts import Changes, Facts
from logstore.errors import LogFailed, LogstoreError
from logstore.log import Log

READ_BYTES: Final = 64 << 10
TURN_RECORDS: Final = 128  # applied and shown in one turn, of some 60 us each

Then = Callable[[LogstoreError | None], object]


class FactsFollower:
    """Follows one partition."""

    def __init__(
        self,
        log: Log,
        soon: Callable[[Callable[[], object]], object],
        ask_end: Callable[[Callable[[Any], None]], None],
    ) -> None:
        """``soon`` makes a call once, at the end of this turn, from any thread.

        ``ask_end``: requests the present end of the partition, as ``Offsets.at_time`` does.
        """
        self.facts = Facts(log.where(log.start))
        self.at = 0  # all below is applied
        self.failure: LogstoreError | None = None  # nothing more is read
        self.told: Callable[[Changes], object] = lambda it: None
        self.looked: Callable[[], object] = lambda: None  # it has looked for news
        self.failed: Callable[[LogstoreError], object] = lambda error: None  # for good
        self._log = log
        self._soon = soon
        self._ask_end = ask_end
        self._waiting: list[tuple[int, Then]] = []  # until so much is read
        self._asking: list[Then] = []  # where it ends
        self._to_ask: list[Then] = []  # that came since: it may end elsewhere by now
        self._stop = log.watch(self._news)
        soon(self._look)

    def read_to_end(self, then: Then) -> None:
        """``then`` is called once everything that exists now was read, or with the error."""
        if self.failure is not None:
            then(self.failure)
            return
        self._to_ask.append(then)
        if not self._asking:
            self._begin_asking()

    def _begin_asking(self) -> None:
        self._asking, self._to_ask = self._to_ask, []
        self._ask_end(self._ends_at)

    def _ends_at(self, found: Any) -> None:  # noqa: ANN401
        asking, self._asking = self._asking, []
        if self.failure is not None:
            found = self.failure
        if isinstance(found, LogstoreError):
            for then in asking:
                then(found)
        else:
            offset, _ = found
            self._waiting += [(offset, then) for then in asking]
            self._tell_waiting()
        if self._to_ask and not self._asking:
            self._begin_asking()

    def _tell_waiting(self) -> None:
        there = [then for offset, then in self._waiting if offset <= self.at]
        self._waiting = [it for it in self._waiting if it[0] > self.at]
        for then in there:
            then(None)

    # What comes

    def _news(self) -> None:
        """From any thread."""
        self._soon(self._look)

    def _look(self) -> None:
        if self.failure is not None:
            return
        try:
            self._log.check_failure()
            more = self._read()
        except LogstoreError as error:
            self.fail(error)
            return
        self.looked()
        self._tell_waiting()
        if more:
            self._soon(self._look)

    def _read(self) -> bool:
        """Read; returns whether there may be more immediately."""
        start = self._log.start
        if 0 < self.at < start:
            raise LogFailed(
                f"{self._log.name}: records at {self.at} to {start} were deleted before this"
                " node read them: restart the node, and let the topic be compacted, not trimmed"
            )
        self.at = max(self.at, start)
        left = TURN_RECORDS
        batches = self._log.read(self.at, READ_BYTES) if self.at < self._log.safe else ()
        for batch in batches:
            if left <= 0:
                break
            changes = self.facts.apply(batch)
            self.at = batch.next_offset
            left -= batch.record_count
            self.told(changes)
        return bool(batches)

    def fail(self, error: LogstoreError) -> None:
        """Read nothing more, and report that to waiting callers."""
        if self.failure is not None:
            return
        self.failure = error
        self._stop()
        waiting = [*(then for _, then in self._waiting), *self._to_ask]
        self._waiting, self._to_ask = [], []
        for then in waiting:
            then(error)
        self.looked()
        self.failed(error)
