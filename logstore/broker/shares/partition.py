"""One partition as a share group reads it: which member holds which records, and their outcome.

A record is given to one member at a time, for a limited time. It is then accepted, rejected, or
available again, until it has reached the limit of deliveries. Every delivery counts, whatever ended
it: a release, a timeout, or the end of a session.

A member's acknowledgements for a partition take effect completely or not at all: they are checked
first, and then no one holds the records until the journal has them. A record is settled, or counts
as failed, only once this would survive a restart; if the journal refuses the entry, everything is
as before.

Deliveries are not stored: after a start, all unsettled records are available, and a member that
held some is told that it no longer does. Settled and failed records are returned to the caller,
which writes them to the journal.

If a group has a dead-letter topic (KIP-1191), a rejected record is not settled yet. It counts as
failed more often than allowed, and is dead, like records that were delivered too often. It stays
dead, even after a restart, until its dead letter is safe.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.bits import BLOCK_SHIFT, Bits, include, offsets_of, runs
from logstore.broker.queues.counts import ByCount
from logstore.broker.queues.settlement import Purged, Settlement
from logstore.broker.shares.acknowledgement import Said, Type, cut
from logstore.broker.shares.locks import NEVER, Lock, Locks
from logstore.errors import InvalidRecordState

_NOBODY: Final = ""  # has what waits for the journal; no member is called so
_POISON_MIN: Final = 2  # deliveries: a record that was delivered once has done nothing yet
# Failures, beside its deliveries, of a record that was rejected and has not gone where it is to go.
REJECTED: Final = 1 << 15


class Limits(NamedTuple):
    """The settings of a group that apply to its partitions."""

    deliveries: int = 5  # share.delivery.count.limit
    locks: int = 2000  # share.partition.max.record.locks
    lock_ms: int = 30_000  # share.record.lock.duration.ms
    renews: bool = True  # share.renew.acknowledge.enable
    letters: bool = False  # there is an errors.deadletterqueue.topic.name


class Acquired(NamedTuple):
    """Offsets given to a member: from ``first`` to ``last``, in their n-th delivery."""

    first: int
    last: int
    deliveries: int


class Changed(NamedTuple):
    """Changed states of records, for the journal.

    ``dead`` records have reached the limit of deliveries. They are delivered to no one, and must be
    passed to ``bury``: immediately, or once their dead letters are safe.
    """

    settled: Bits
    failed: ByCount  # those that are available again, or dead: how often they were delivered
    dead: Bits
    letters: bool = False  # dead records must be copied elsewhere first

    def __bool__(self) -> bool:
        return bool(self.settled or self.failed)


class Death(NamedTuple):
    """A dead record and the reason."""

    offset: int
    deliveries: int
    rejected: bool  # by a member; otherwise delivered too often


class Acknowledging(NamedTuple):
    """A member's acknowledgements, until the journal has them."""

    changed: Changed
    released: Bits
    limit: int  # of deliveries, by which some of them are dead
    locks: list[Lock]  # as they were


class SharePartition:
    """A partition for one group. Calls are made one at a time; times are of a monotonic clock."""

    def __init__(self, settlement: Settlement, limits: Limits) -> None:
        """``settlement``: from the journal, so that no records are out."""
        assert not settlement.out
        self.limits = limits
        self.settlement = settlement
        self._locks = Locks()

    # What there is

    @property
    def start(self) -> int:
        """The first offset that is not settled (SPSO)."""
        return self.settlement.floor

    @property
    def end(self) -> int:
        """The offset after the last one that was ever delivered (SPEO)."""
        return self.settlement.cursor

    @property
    def deadline_ms(self) -> int | None:
        """When ``expire`` has something to do."""
        return self._locks.deadline_ms

    @property
    def runs(self) -> int:
        """The number of locked runs: the cost of a look at all of them."""
        return len(self._locks)

    def lag(self, end: int) -> int:
        """Return the number of unsettled records, if the log ends here."""
        return self.settlement.ready(end) + self.settlement.out

    def available(self, below: int) -> bool:
        """Whether records can be acquired. New offsets only while not too many are out."""
        return self.settlement.back > 0 or self.end < self._below(below)

    def head(self, below: int) -> int | None:
        """Return the offset that ``acquire`` would return first, or None."""
        return self.settlement.head(self._below(below))

    def _below(self, below: int) -> int:
        return min(below, max(self.end, self.start + self.limits.locks))

    # Giving out

    def acquire(
        self, owner: str, n: int, below: int, now_ms: int, ends: Sequence[int] = ()
    ) -> list[Acquired]:
        """Acquire the first ``n`` available records below ``below``.

        ``ends``: of batches, ascending: new records then go up to the next end, since a client gets
        whole batches (batch-optimized, KIP-1206); without it, ``n`` is exact. Records that were
        delivered so often that one of them may make members fail come alone, in ever smaller
        numbers.
        """
        found: list[Acquired] = []
        poison = self._poison()
        head = self.settlement.head(below)
        first_poison = next((first for first, _, _ in poison), None)
        if head is not None and head == first_poison:
            first, upto, failures = poison[0]
            upto = min(upto, first + self._halved(n, failures), below)
            taken = self.settlement.take_between(first, upto)
        elif first_poison is not None:
            taken = self.settlement.take(n, min(below, first_poison))
        else:
            end = self.end
            taken = self.settlement.take(n, self._below(below))
            if ends and self.end > end:
                upto = next((it for it in ends if it >= self.end), self.end)
                taken += self.settlement.take_between(self.end, min(upto, below))
        for first, upto in _joined((it.first, it.upto) for it in taken):
            self._locks.put(Lock(first, upto, owner, now_ms + self.limits.lock_ms))
            found += self._counted(first, upto)
        return found

    @property
    def _poison_from(self) -> int:
        return max(_POISON_MIN, (self.limits.deliveries + 1) // 2)

    def isolated(self, found: Sequence[Acquired]) -> bool:
        """Whether one of these records may make members fail, so that they are delivered alone.

        ``found``: from ``acquire``.
        """
        return any(it.deliveries > self._poison_from for it in found)

    def _poison(self) -> list[tuple[int, int, int]]:
        """Return ranges of returned records that were delivered often, each with its count."""
        if self.settlement.back == 0:
            return []
        least = self._poison_from
        by_count = self.settlement.failures_of(dict(self.settlement.backs()))
        return sorted(
            (first, first + length, count)
            for count, bits in by_count.items()
            if count >= least
            for first, length in runs(bits)
        )

    def _halved(self, n: int, failures: int) -> int:
        """Return how many records go together that have failed so often."""
        if failures >= self.limits.deliveries - 1:
            return 1
        return max(1, n >> failures - self._poison_from + 1)

    def _counted(self, first: int, upto: int) -> list[Acquired]:
        bits: Bits = {}
        include(bits, first, upto - first)
        pieces = [
            (begin, begin + length, count)
            for count, those in self.settlement.failures_of(bits).items()
            for begin, length in runs(those)
        ]
        found: list[Acquired] = []
        for begin, end, count in sorted(pieces):
            if first < begin:
                found.append(Acquired(first, begin - 1, 1))
            found.append(Acquired(begin, end - 1, count + 1))
            first = end
        if first < upto:
            found.append(Acquired(first, upto - 1, 1))
        return found

    # What members say

    def acknowledge(self, owner: str, told: Sequence[Said], now_ms: int) -> Acknowledging:
        """Acknowledge all or none: the caller journals ``changed``, then calls ``done``.

        Renewals take effect at once. Raises Refused, InvalidRecordState.
        """
        told = cut(told, self.start, self.end)
        if not self.limits.renews and any(it.type is Type.RENEW for it in told):
            raise InvalidRecordState(
                "the group does not allow renewals (share.renew.acknowledge.enable)"
            )
        ranges = _joined((first, upto) for first, upto, _ in told)
        for first, upto in ranges:
            if not self._locks.owned(first, upto, owner):
                raise InvalidRecordState(
                    f"offsets {first} to {upto - 1} are not all the member's: others have them, or "
                    f"they are done with"
                )
        locks: list[Lock] = []
        new = deque(self._locked(owner, told, now_ms))
        for first, upto in ranges:
            its = []
            while new and new[0].first < upto:
                its.append(new.popleft())
            locks += _within(self._locks.swap(first, upto, its), its)
        limit, letters = self.limits.deliveries, self.limits.letters
        settled: Bits = {}
        released: Bits = {}
        rejected: Bits = {}
        bits_of = {Type.RELEASE: released, Type.REJECT: rejected if letters else settled}
        for first, upto, kind in told:
            if kind is not Type.RENEW:
                include(bits_of.get(kind, settled), first, upto - first)
        failed = self._once_more(released)
        for count, bits in self._once_more(rejected).items():
            failed[REJECTED + count] = bits
        dead: Bits = {}
        for count, bits in failed.items():
            if count >= limit:
                join(dead, bits)
        return Acknowledging(Changed(settled, failed, dead, letters), released, limit, locks)

    def _locked(self, owner: str, told: Sequence[Said], now_ms: int) -> list[Lock]:
        """Return the locks after the acknowledgement: only renewed records stay locked."""
        locks: list[Lock] = []
        for first, upto, kind in told:
            if kind is Type.RENEW:
                locks.append(Lock(first, upto, owner, now_ms + self.limits.lock_ms))
            elif locks and locks[-1].upto == first and locks[-1].owner == _NOBODY:
                locks[-1] = Lock(locks[-1].first, upto, _NOBODY, NEVER)
            else:
                locks.append(Lock(first, upto, _NOBODY, NEVER))
        return locks

    def _once_more(self, bits: Bits) -> ByCount:
        """Return the number of failures of each record, increased by 1."""
        found: ByCount = {}
        first = bits.copy()
        for count, those in self.settlement.failures_of(bits).items():
            found[count + 1] = those
            for block, mask in those.items():
                first[block] &= ~mask
        if first := {block: mask for block, mask in first.items() if mask}:
            found[1] = first
        return found

    def done(self, said: Acknowledging) -> None:
        """Apply an acknowledgement that is journaled. Dead records must be passed to ``bury``."""
        for it in said.locks:
            self._locks.drop(it.first, it.upto)
        for block, mask in said.changed.settled.items():
            self.settlement.settle_bits(block << BLOCK_SHIFT, mask)
        for count, bits in said.changed.failed.items():
            if count >= REJECTED:
                self.settlement.failed(bits, count)
        for block, mask in said.released.items():
            self.settlement.release_bits(block << BLOCK_SHIFT, mask, dead_at=said.limit)

    def undo(self, said: Acknowledging) -> None:
        """Undo an acknowledgement that could not be journaled: the member holds the
        records again.
        """
        for it in said.locks:
            self._locks.drop(it.first, it.upto)
            self._locks.put(it)

    def release(self, owner: str) -> Changed:
        """Release all records of a member whose session has ended: they are available, or dead."""
        assert owner != _NOBODY
        return self._released(_bits(self._locks.take(lambda it: it.owner == owner)))

    def expire(self, now_ms: int) -> Changed:
        """Release the records that members have held too long."""
        return self._released(_bits(self._locks.take(lambda it: it.deadline_ms <= now_ms)))

    def _released(self, bits: Bits) -> Changed:
        dead: Bits = {}
        for block, mask in bits.items():
            first, limit = block << BLOCK_SHIFT, self.limits.deliveries
            dead |= self.settlement.release_bits(first, mask, dead_at=limit)
        return Changed({}, self.settlement.failures_of(bits), dead, self.limits.letters)

    def overdue(self) -> Changed:
        """Return available records that have reached the delivery limit: they are dead too.

        There are some after a start before they were buried, or if the limit was lowered.
        """
        dead: Bits = {}
        for first, upto, count in self._poison():
            if count >= self.limits.deliveries:
                self.settlement.take_between(first, upto)
                include(dead, first, upto - first)
        return Changed({}, {}, dead, self.limits.letters)

    def deaths(self, dead: Bits) -> list[Death]:
        """Return why each of these records died, ascending."""
        found: list[Death] = []
        for count, bits in self.settlement.failures_of(dead).items():
            rejected = count >= REJECTED
            deliveries = count - REJECTED if rejected else count
            found += [Death(it, deliveries, rejected) for it in offsets_of(bits)]
        return sorted(found)

    def bury(self, dead: Bits) -> None:
        """Settle dead records."""
        for block, mask in dead.items():
            self.settlement.settle_bits(block << BLOCK_SHIFT, mask)

    # What the log says

    def skip(self, first: int, upto: int) -> Purged:
        """Settle available offsets that have no record for members: control, aborted, or a gap.

        Offsets that were never delivered are settled if ``first`` is not above the end.
        """
        back: Bits = {}
        for it in self.settlement.take_between(first, min(upto, self.end)):
            self.settlement.settle(it.first, it.length)
            include(back, it.first, it.length)
        begin = self.end
        return Purged(back, begin, self.settlement.skip(upto) if first <= begin else 0)

    def trim(self, start: int) -> Purged:
        """Note that the log begins here. Members keep records below that they hold."""
        gone = self.settlement.purge(start)
        self.settlement.removed.forget(start)  # nobody asks
        return gone


def join(bits: Bits, more: Bits) -> None:
    """Add the second set to the first."""
    for block, mask in more.items():
        bits[block] = bits.get(block, 0) | mask


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, upto in ranges:
        if found and found[-1][1] == first:
            found[-1] = found[-1][0], upto
        else:
            found.append((first, upto))
    return found


def _within(locks: Sequence[Lock], new: Sequence[Lock]) -> list[Lock]:
    """Return the parts of the old locks that the new ones no longer cover.

    Both are of the same consecutive offsets.
    """
    found: list[Lock] = []
    at = 0
    for first, upto, owner, _ in new:
        while at < len(locks) and locks[at].upto <= first:
            at += 1
        if owner != _NOBODY:
            continue
        for n in range(at, len(locks)):
            if (lock := locks[n]).first >= upto:
                break
            its = max(first, lock.first), min(upto, lock.upto)
            found.append(Lock(*its, lock.owner, lock.deadline_ms))
    return found


def _bits(locks: Iterable[Lock]) -> Bits:
    bits: Bits = {}
    for it in locks:
        include(bits, it.first, it.upto - it.first)
    return bits
