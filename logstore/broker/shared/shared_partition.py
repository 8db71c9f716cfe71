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
        """Those that count for it now."""

    def now_ms(self) -> int:
        """By a clock that only goes forward."""

    def lives(self, owner: str) -> bool:
        """Whether the owner's session goes on."""

    def due(self, partition: "SharedPartition", at_ms: int) -> None:
        """Have ``expire`` called then, or later."""

    def tell(self, key: bytes, value: bytes, done: Done) -> None:
        """Have the journal have it; ``done`` is called when it is safe, in order, or is not."""

    def dying(self, partition: "SharedPartition") -> None:
        """Some of its records are dead, and are to go elsewhere."""

    def soon(self, call: Callable[[], object]) -> None:
        """Have it called in this thread, from any."""


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
        """``settlement``: as the journal has it."""
        self.place = place
        self.log = log
        self.due_ms: int | None = None  # when it is to be called, at the latest; kept by ``around``
        self.gone = False  # it begins again elsewhere, or never
        self._around = around
        self._rules = around.rules(place.group)
        self._state = SharePartition(settlement, self._rules.limits)
        self._looked_at = 0  # the limit of deliveries by which those that are over it were found
        self._dying: Bits = {}  # dead, and not gone where they are to go
        self._still: list[Callable[[], object]] | None = None  # who waits until those have gone
        self._watchers: dict[object, Wake] = {}

    def begin(self) -> None:
        """What an earlier process has left dead goes where it is to go."""
        self._follow_rules()

    # What there is

    def start(self) -> int:
        """The first offset that is not done with (SPSO)."""
        self._follow_log()
        return self._state.start

    def lag(self) -> int:
        """How many records of the log are not done with."""
        self._follow_log()
        return self._state.lag(self._rules.seen(self.log).safe)

    def available(self) -> bool:
        """Whether ``take`` may give anything."""
        self._follow_rules()
        return not self.gone and self._state.available(self._rules.seen(self.log).safe)

    def available_bytes(self, upto: int) -> int:
        """How many bytes there are to be taken, about, at least 1 where there are any.

        Counted to so many, of batches that follow what comes first. Raises LogstoreError.
        """
        if not self.available():
            return 0
        seen = self._rules.seen(self.log)
        head = self._state.head(seen.safe)
        if upto <= 1 or head is None or head < seen.start:
            return 1
        return max(1, sum(it.size for it in seen.read(head, upto)))

    def watch(self, wake: Wake) -> Wake:
        """Have it called when there is more to be had than the log tells. Returns "stop"."""
        key = object()
        self._watchers[key] = wake

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop

    def _news(self) -> None:
        for wake in list(self._watchers.values()):
            wake()

    def leave(self) -> None:
        """Nobody is given anything of it any more."""
        self.gone = True
        self._news()

    def back(self) -> None:
        """It was not to be, after all."""
        self.gone = False
        self.look_at_dead()
        self._news()

    # Giving out

    def take(self, owner: str, most: int, bytes_max: int, *, whole: bool, first: bool) -> Taken:
        """Records that are the owner's from now on, for a while: about ``most``, or fewer.

        ``whole``: new ones come by whole batches. ``first``: at least one batch, however large.
        Raises LogstoreError where the log can't be read.
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
        """What the log has lost at its start is done with."""
        start = self.log.start
        if self._state.start < start:
            settled = Settled()
            _purged(settled, self._state.trim(start))
            self._tell(settled)

    # What members say

    def acknowledge(self, owner: str, told: Sequence[Said], done: Done) -> None:
        """All of it, or nothing: InvalidRecordState, Refused, or what the journal says."""
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
        """Once the log can't lose what is below any more."""
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
        """The owner's session has ended; how many runs of records there were to be looked at."""
        runs = self._state.runs
        self._change(self._state.release(owner))
        return runs

    def expire(self) -> int:
        """Who has had something for too long has it no more; returns as ``release``."""
        runs = self._state.runs
        self._change(self._state.expire(self._around.now_ms()))
        self._alarm()
        self.look_at_dead()
        return runs

    def _change(self, changed: Changed) -> None:
        """By itself: nobody waits until the journal has it."""
        if not changed and not changed.dead:
            return
        self._die(changed)
        if not self.gone:
            self._tell(_told(changed))
        self._news()

    def _tell(self, settled: Settled) -> None:
        if settled:
            self._around.tell(share_key(self.place), settled.encode(), lambda _: None)

    # What is dead

    def _die(self, changed: Changed) -> None:
        if not changed.letters:
            self._state.bury(changed.dead)
        elif changed.dead:
            join(self._dying, changed.dead)
            self.look_at_dead()

    def look_at_dead(self) -> None:
        """Have those go that are dead, if there are any."""
        if self._dying and not self.gone:
            self._around.dying(self)

    @property
    def dying(self) -> int:
        """How many are dead, and not gone where they are to go."""
        return size(self._dying)

    def deaths(self, most: int) -> list[Death]:
        """The first of those, about so many, ascending."""
        some: Bits = {}
        for block in sorted(self._dying):
            if size(some) >= most:
                break
            some[block] = self._dying[block]
        return self._state.deaths(some)[:most]

    def move(self) -> None:
        """Some are told to the journal, with what goes elsewhere; ``moved`` is called next."""
        assert self._still is None
        self._still = []

    def moved(self, dead: Bits) -> None:
        """These are safe where they went, and done with; none: it was in vain."""
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
        """Call it when the journal is told of none: at once, or later."""
        if self._still is None:
            call()
        else:
            self._still.append(call)


def _read(it: Taking, log: Log) -> bool:
    """Whether there may be more."""
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
