"""A partition that a share group reads: delivers records from its log, and settles them durably.

A member's acknowledgements are written to the journal, and take effect once they are safe there.
Other events (a record was returned, or an offset has no record) are written, too, but no one waits
for them. Nothing is written about records that are not safe in their log: after a crash, other
records could have these offsets, and would count as settled.

A dead record that must first be moved elsewhere stays in flight until ``dead_letters.py`` has moved
it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from logstore.broker.queues.bits import Bits, size
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.settlement import Purged, Settlement
from logstore.broker.queues.share_groups import LANE, Place, share_key
from logstore.broker.shared.rules import Rules
from logstore.broker.shared.taking import Taking
from logstore.broker.shares.acknowledgement import Said
from logstore.broker.shares.partition import (
    Acknowledging,
    Acquired,
    Changed,
    Death,
    SharePartition,
    join,
)
from logstore.errors import InvalidRecordState, LogstoreError, OffsetBelowStart
from logstore.log import Log, Wake
from logstore.records.batch import Batch

# Batches are read some at a time, and more each time: most of a megabyte would be read for nothing
# where a member wants few records, or records far apart.
READ_BYTES: Final = 32 << 10
READS_AT_ONCE: Final = 8  # 8 MiB in all, before others have their turn

Done = Callable[[LogstoreError | None], None]


class Around(Protocol):
    """The surroundings of a share partition."""

    def rules(self, group: str) -> Rules:
        """Return the present rules of the group."""

    def now_ms(self) -> int:
        """Return the time in ms, by a clock that only goes forward."""

    def lives(self, owner: str) -> bool:
        """Whether the owner's session still exists."""

    def due(self, partition: "SharedPartition", at_ms: int) -> None:
        """Schedule a call of ``expire`` at that time or later."""

    def tell(self, key: bytes, value: bytes, done: Done) -> None:
        """Journal an entry; ``done`` is called once it is safe, in order, or with the error."""

    def dying(self, partition: "SharedPartition") -> None:
        """Note that the partition has dead records that must be moved to another topic."""

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call in this thread. From any thread."""


class Taken(NamedTuple):
    """The records of a partition that a member is given."""

    batches: Sequence[Batch]  # as they stand in the log; also with records that are not given
    acquired: Sequence[Acquired]
    cold: bool = False  # there may be something, and it has to be fetched first
    more: bool = False  # it was not looked at everything: ask again


NOTHING: Final = Taken((), ())


class SharedPartition:
    """A partition for one group. Used in one thread."""

    def __init__(self, place: Place, log: Log, settlement: Settlement, around: Around) -> None:
        """``settlement``: the state from the journal."""
        self.place = place
        self.log = log
        self.due_ms: int | None = None  # when it is to be called, at the latest; kept by ``around``
        self.gone = False  # it begins again elsewhere, or never
        self._around = around
        self._rules = around.rules(place.group)
        self._state = SharePartition(settlement, self._rules.limits)
        self._looked_at = 0  # the limit of deliveries by which those that are over it were found
        self._dying: Bits = {}  # dead, and not gone where they are to go
        self._still: list[Callable[[], object]] | None = None  # calls that wait for the move
        self._watchers: dict[object, Wake] = {}

    def begin(self) -> None:
        """Go on with dead records of an earlier process."""
        self._follow_rules()

    # What there is

    def start(self) -> int:
        """Return the first offset that is not settled (SPSO)."""
        self._follow_log()
        return self._state.start

    def lag(self) -> int:
        """Return the number of records that are not settled."""
        self._follow_log()
        return self._state.lag(self._rules.seen(self.log).safe)

    def available(self) -> bool:
        """Return whether ``take`` may return records."""
        self._follow_rules()
        return not self.gone and self._state.available(self._rules.seen(self.log).safe)

    def available_bytes(self, upto: int) -> int:
        """Return about how many bytes can be taken, at least 1 if there are any records.

        It counts up to ``upto`` bytes, of batches in a row. Raises LogstoreError.
        """
        if not self.available():
            return 0
        seen = self._rules.seen(self.log)
        head = self._state.head(seen.safe)
        if upto <= 1 or head is None or head < seen.start:
            return 1
        return max(1, sum(it.size for it in seen.read(head, upto)))

    def watch(self, wake: Wake) -> Wake:
        """Call ``wake`` when records become available in other ways than by the log. Returns
        "stop".
        """
        key = object()
        self._watchers[key] = wake

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop

    def _news(self) -> None:
        for wake in list(self._watchers.values()):
            wake()

    def leave(self) -> None:
        """Stop delivering records of the partition."""
        self.gone = True
        self._news()

    def back(self) -> None:
        """Undo ``leave``."""
        self.gone = False
        self.look_at_dead()
        self._news()

    # Giving out

    def take(self, owner: str, most: int, bytes_max: int, *, whole: bool, first: bool) -> Taken:
        """Acquire about ``most`` records or fewer for the owner, for a limited time.

        ``whole``: new records come in whole batches. ``first``: at least one batch, however large.
        Raises LogstoreError if the log cannot be read.
        """
        self._follow_rules()
        if self.gone or most <= 0:
            return NOTHING
        self._follow_log()
        seen, now_ms = self._rules.seen(self.log), self._around.now_ms()
        it = Taking(self._state, owner, most, bytes_max, now_ms, whole=whole, first=first)
        try:
            it.more = _read(it, seen)
        except LogstoreError:
            if not it.acquired:  # else they are given, and it is told when that comes first
                raise
        finally:
            self._tell(it.passed)
        if it.acquired:
            self._around.due(self, now_ms + self._rules.limits.lock_ms)
        return Taken(it.batches, it.acquired, it.cold, it.more)

    def _follow_rules(self) -> None:
        rules = self._around.rules(self.place.group)
        if rules != self._rules:
            self._rules, self._state.limits = rules, rules.limits
        if rules.limits.deliveries != self._looked_at:
            self._looked_at = rules.limits.deliveries
            self._change(self._state.overdue())

    def _follow_log(self) -> None:
        """Settle the records that were removed from the start of the log."""
        start = self.log.start
        if self._state.start < start:
            settled = Settled()
            _purged(settled, self._state.trim(start))
            self._tell(settled)

    # What members say

    def acknowledge(self, owner: str, told: Sequence[Said], done: Done) -> None:
        """Acknowledge all of these records or none.

        ``done`` gets InvalidRecordState, Refused, or the result of the journal.
        """
        try:
            if self.gone:
                raise self._anew()
            self._follow_rules()
            said = self._state.acknowledge(owner, told, self._around.now_ms())
        except LogstoreError as error:
            done(error)
            return
        self._alarm()  # it has more time for some
        if not said.changed:
            done(None)
            return
        kept = partial(self._said, said, owner, done)

        def safe(error: LogstoreError | None) -> None:
            if error is None and not self.gone:
                self._around.tell(share_key(self.place), _told(said.changed).encode(), kept)
            else:
                kept(error or self._anew())

        self._once_synced(told[-1].upto, safe)

    def _anew(self) -> InvalidRecordState:
        return InvalidRecordState(
            f"share group {self.place.group!r} was reset in {self.log.name}: none of its"
            " records is held by a member"
        )

    def _once_synced(self, upto: int, then: Done) -> None:
        """Call ``then`` once the log is synced up to ``upto``."""
        if self.log.synced >= upto:
            then(None)
            return
        waiting = Waiting(synced=True)
        waiting.appended(self.log, upto)
        told = False

        def look() -> None:
            nonlocal told
            if not told and waiting.settled():
                told = True
                waiting.close()
                then(waiting.failed)

        waiting.watch(lambda: self._around.soon(look))
        look()

    def _said(
        self, said: Acknowledging, owner: str, done: Done, error: LogstoreError | None
    ) -> None:
        if error is None:
            self._state.done(said)
            self._die(said.changed)
        else:
            self._state.undo(said)
            if not self._around.lives(owner):
                self._change(self._state.release(owner))
            if (due_ms := self._state.deadline_ms) is not None:  # perhaps it was over meanwhile
                self._around.due(self, due_ms)
        self._news()
        done(error)

    def _alarm(self) -> None:
        if self.due_ms is None and (due_ms := self._state.deadline_ms) is not None:
            self._around.due(self, due_ms)

    def release(self, owner: str) -> int:
        """Release the owner's records, after its session; return how many runs were looked at."""
        runs = self._state.runs
        self._change(self._state.release(owner))
        return runs

    def expire(self) -> int:
        """Release records that were held too long; return how many runs were looked at."""
        runs = self._state.runs
        self._change(self._state.expire(self._around.now_ms()))
        self._alarm()
        self.look_at_dead()
        return runs

    def _change(self, changed: Changed) -> None:
        """Journal a change that no caller waits for."""
        if not changed and not changed.dead:
            return
        self._die(changed)
        if not self.gone:
            self._tell(_told(changed))
        self._news()

    def _tell(self, settled: Settled) -> None:
        if settled:
            self._around.tell(share_key(self.place), settled.encode(), lambda _: None)

    # Dead records

    def _die(self, changed: Changed) -> None:
        if not changed.letters:
            self._state.bury(changed.dead)
        elif changed.dead:
            join(self._dying, changed.dead)
            self.look_at_dead()

    def look_at_dead(self) -> None:
        """Announce dead records, if there are any."""
        if self._dying and not self.gone:
            self._around.dying(self)

    @property
    def dying(self) -> int:
        """How many dead records are not moved yet."""
        return size(self._dying)

    def deaths(self, most: int) -> list[Death]:
        """Return about the first ``most`` dead records that are not moved yet, ascending."""
        some: Bits = {}
        for block in sorted(self._dying):
            if size(some) >= most:
                break
            some[block] = self._dying[block]
        return self._state.deaths(some)[:most]

    def move(self) -> None:
        """Begin to move dead records; ``moved`` must be called next.

        The journal is told of them together with their letters.
        """
        assert self._still is None
        self._still = []

    def moved(self, dead: Bits) -> None:
        """End ``move``: these records are safe at their target, and settled; empty: the move
        failed.
        """
        still, self._still = self._still, None
        assert still is not None, "move was called before"
        for block, mask in dead.items():
            if left := self._dying[block] & ~mask:
                self._dying[block] = left
            else:
                del self._dying[block]
        self._state.bury(dead)
        if dead:
            self._news()
        for call in still:
            call()

    def when_still(self, call: Callable[[], object]) -> None:
        """Call ``call`` when no move is in progress: at once, or later."""
        if self._still is None:
            call()
        else:
            self._still.append(call)


def _read(it: Taking, log: Log) -> bool:
    """Read batches; return whether there may be more."""
    for n in range(READS_AT_ONCE):
        try:
            if not it.read(log, READ_BYTES << n):
                return it.more
        except OffsetBelowStart:  # it has lost its start this very moment
            break
    return True


def _told(changed: Changed) -> Settled:
    settled = Settled()
    settled.settle_set(LANE, changed.settled)
    if not changed.letters:
        settled.settle_set(LANE, changed.dead)
    settled.failed(LANE, changed.failed)
    return settled


def _purged(settled: Settled, gone: Purged) -> None:
    settled.settle_set(LANE, gone.back)
    settled.settle(LANE, gone.first, gone.length)
