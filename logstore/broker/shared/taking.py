"""Selects the records of a partition for a member: whole batches, and offsets in them."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.queues.settled import Settled
from logstore.broker.queues.share_groups import LANE
from logstore.broker.shares.partition import Acquired, SharePartition
from logstore.log import Log
from logstore.records.batch import Batch

# Others have their turn after so much, and the rest is given the next time.
PASSED_AT_ONCE: Final = 64  # batches without records, or gaps, that stand between others
GIVEN_AT_ONCE: Final = 1000  # batches


class Taking:
    """One delivery to one member."""

    def __init__(
        self,
        state: SharePartition,
        owner: str,
        most: int,
        bytes_max: int,
        now_ms: int,
        *,
        whole: bool,
        first: bool,
    ) -> None:
        """As SharedPartition.take."""
        self.batches: list[Batch] = []
        self.acquired: list[Acquired] = []
        self.passed = Settled()  # offsets without a record for members
        self.cold = False
        self.more = False
        self._state = state
        self._owner = owner
        self._most = most
        self._left = bytes_max
        self._now_ms = now_ms
        self._whole = whole
        self._first = first
        self._passed = 0

    def read(self, log: Log, bytes_max: int) -> bool:
        """Take records from the next batches; return whether to go on. Raises LogstoreError."""
        below = log.safe
        head = self._state.head(below)
        first = self._first and not self.batches
        if head is None or self._most <= 0 or (self._left <= 0 and not first):
            return False
        batches = log.read(head, max(1, min(bytes_max, self._left)))
        if not batches:
            log.check_failure()  # or a waiting fetch would be answered at once forever
            self.cold = True
            return False
        if batches[0].size > self._left and not first:
            return False
        return self._take(batches, head)

    def _take(self, batches: Sequence[Batch], at: int) -> bool:
        run: list[Batch] = []
        for batch in batches:
            empty, base, following = _lacks_records(batch), batch.base_offset, batch.next_offset
            if empty or base > at:  # compaction leaves gaps
                if not self._give(run):
                    return False
                run = []
                if not self._pass_over(at, following if empty else base):
                    return False
            if not empty:
                run.append(batch)
            at = following
        return self._give(run)

    def _pass_over(self, first: int, upto: int) -> bool:
        gone = self._state.skip(first, upto)
        self.passed.settle_set(LANE, gone.back)
        self.passed.settle(LANE, gone.first, gone.length)
        self._passed += 1
        self.more = self._passed > PASSED_AT_ONCE
        return not self.more

    def _give(self, run: Sequence[Batch]) -> bool:
        """Take the available records of these adjacent batches; return whether to go on."""
        if not run:
            return True
        upto = run[-1].next_offset
        ends = [it.next_offset for it in run] if self._whole else ()
        found = self._state.acquire(self._owner, self._most, upto, self._now_ms, ends)
        self.acquired += found
        self._most -= sum(it.last - it.first + 1 for it in found)
        at = 0
        for batch in run:
            while at < len(found) and found[at].last < batch.base_offset:
                at += 1
            if at < len(found) and found[at].first < batch.next_offset:
                self.batches.append(batch)
                self._left -= batch.size
        self.more = len(self.batches) >= GIVEN_AT_ONCE
        return (
            not self.more
            and self._most > 0
            and self._state.head(upto) is None
            and not self._state.isolated(found)
        )


def _lacks_records(batch: Batch) -> bool:
    return batch.is_control or not batch.record_count
