"""One queue: the life of its messages.

``append`` adds messages, and ``look`` delivers them. ``look`` is called at the end of a turn with
news, and again in the next turn if there was too much, so that no queue delays others. Used in the
sessions' thread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from logstore.amqp.fields import text
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.policies import Policy
from logstore.broker.queues import lifetimes
from logstore.broker.queues.bits import BLOCK_SHIFT, parts
from logstore.broker.queues.chunk import Chunk
from logstore.broker.queues.consumers import Consumers
from logstore.broker.queues.deaths import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED, DeadLetter
from logstore.broker.queues.delays import Delayed, Delays
from logstore.broker.queues.dying import RETRY_MS, Commit, DeadLetters, Sent
from logstore.broker.queues.in_order import InOrder
from logstore.broker.queues.lane import Lane, Windows
from logstore.broker.queues.limits import NO_DEFINITION, Limits, QueueFacts, limits_of
from logstore.broker.queues.message import Delivery, Showing
from logstore.broker.queues.opening import Logs
from logstore.broker.queues.ordering import Hands
from logstore.broker.queues.pace import EACH_MS, FAILING, MESSAGES, Pace
from logstore.broker.queues.pending import NO_TIME, Pending
from logstore.broker.queues.refusals import NotOfType, SingleActive
from logstore.broker.queues.stock import Stock
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Delivered
from logstore.counts.queues import QueueCounts, QueueTotals, died, gave
from logstore.errors import Damaged, LogstoreError
from logstore.log import Log

if TYPE_CHECKING:  # few queues keep repeats out
    from logstore.broker.queues.repeats import QueueRepeats

LOOK_MAX: Final = 2000  # messages that a look gives out: a look of 2 ms
IN_ORDER_MAX: Final = 1000  # the same where each is looked at by its key
STEP_MAX: Final = 1000  # and at once
SINGLE_COST: Final = 10  # of a message that is taken alone, of many that are taken at once

STREAM_OFFSET: Final = b"x-stream-offset"  # what only a stream's consumers may ask for

Then = Callable[[Got | None], None]
Group = Delivered[Any, Any]


class Home(Protocol):
    """What a queue needs from its virtual host and from the process."""

    @property
    def windows(self) -> Windows: ...
    @property
    def showing(self) -> Showing: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def totals(self) -> QueueTotals: ...
    @property
    def deduplication(self) -> Deduplication: ...
    @property
    def gone(self) -> bool: ...
    def clock(self) -> int:
        """The time in ms since 1970."""

    def soon(self, call: Callable[[], object]) -> None:
        """Make the call at the end of the turn; from any thread."""

    def touched(self, queue: "Queue") -> None:
        """Note that the queue has changes for the journal."""

    def used(self) -> None:
        """Note that a durable message was delivered."""

    def alarm(self, queue: "Queue", at_ms: int) -> None:
        """Call ``look`` at this time, at the latest."""

    def send(self, letters: Sequence[DeadLetter], held: Transaction | None = None) -> Sent:
        """Publish dead letters, or add them to a transaction."""

    @property
    def commit(self) -> Commit | None:
        """As ``Holding.begin``; None if there are no held transactions."""

    def goes(self, queue: "Queue") -> None:
        """Delete the queue: it has expired, or its last consumer has gone."""


class _Getter(NamedTuple):
    """A caller that waits for one message."""

    channel: Channel
    no_ack: bool
    then: Then
    behind: bool  # consumers that have been there already: a message that they wait for is theirs


class Queue:
    """One queue of a virtual host, which creates it."""

    topic_name: str | None = None  # as Named.topic_name
    not_in_transactions: LogstoreError | None = None  # as Named.not_in_transactions

    def __init__(
        self,
        number: int,
        facts: QueueFacts,
        home: Home,
        owner: object | None = None,
        lanes: Sequence[int] = (),
        policy: Policy | None = None,
    ) -> None:
        """``lanes``: the priorities of existing messages. ``policy``: the one that applies.

        Raises InvalidQueueArgument.
        """
        self.id = number
        self.facts = facts
        self.policy = policy
        self.limits = _limits(facts, policy)
        self.owner = owner  # the connection that an exclusive one is of
        self.kept: Pending | None = None  # until it is durable, if it is to be
        self.gone = False
        self._has_left = False
        self._when_left: list[Callable[[], None]] = []
        self.counts = QueueCounts()
        self.totals = home.totals  # of all queues
        self.repeats: QueueRepeats | None = None
        self._home = home
        self._wake: Callable[[], None] = lambda: home.soon(self.look)
        self.stock = Stock(
            number, home.logs, home.windows, home.showing, self._wake_from_afar,
            lasts=facts.lasts, ttl_ms=self.limits.ttl_ms,
            sized=self.limits.max_bytes is not None, lanes=lanes, retention=self.limits.retention,
            ordering_key=self.limits.ordering_key,
            ordering_prefetch=self.limits.ordering_prefetch,
        )  # fmt: skip
        if self.limits.once is not None:
            self.repeats = self.stock.repeats = self._keeping_out(known=not lanes)
        self.dead_letters = DeadLetters(
            self, self.limits, home.showing, home.send, home.commit, self._wake_from_afar
        )
        self._delays = Delays()
        self._pace = Pace()
        self._consumers = Consumers(self, home.showing, home.used)
        self._getters: list[_Getter] = []  # few, and a deque takes 600 bytes
        self._awake = False  # a look is coming
        self._returned = False  # something has come back since the last one
        self._used_ms = home.clock()  # for x-expires

    def _keeping_out(self, *, known: bool) -> "QueueRepeats":
        from logstore.broker.queues.repeats import QueueRepeats  # few queues keep repeats out

        home = self._home
        return QueueRepeats(
            self.facts.name, self.stock, lambda: self.limits.once, home.showing, home.clock,
            home.deduplication, known=known,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Queue {self.facts.name!r} {self.id}>"

    # What there is

    @property
    def ready(self) -> int:
        """The number of undelivered messages. Correct once it is open (``when_open``)."""
        return self.stock.ready

    @property
    def out(self) -> int:
        """The number of delivered, unsettled messages."""
        return self.stock.out

    @property
    def failed(self) -> LogstoreError | None:
        """Why it cannot be used, only deleted."""
        return self.stock.failed

    @property
    def not_known(self) -> LogstoreError | None:
        """As Named.not_known."""
        return self.failed

    @property
    def unreadable(self) -> LogstoreError | None:
        """Why ready messages are not delivered: they are damaged."""
        if not any(lane.damaged and lane.ready for lane in self.stock.order):
            return None
        return Damaged(f"messages of queue {text(self.facts.name)!r} can't be read; see the log")

    @property
    def to_be_opened(self) -> bool:
        """Whether no message can be accepted before all existing ones are known."""
        return self.limits.rejects or (self.repeats is not None and not self.repeats.known)

    @property
    def opened(self) -> bool:
        """As Named.opened."""
        return self.stock.opened

    @property
    def dropped(self) -> int:
        """As Named.dropped."""
        return self.dead_letters.dropped

    @property
    def dying(self) -> int:
        """As Named.dying."""
        return len(self.dead_letters)

    @property
    def lanes(self) -> Sequence[Lane]:
        """As Named.lanes."""
        return self.stock.order

    def heads(self) -> Sequence[tuple[Log, int]]:
        """As Named.heads."""
        return [
            (it.log, head)
            for it in self.stock.order
            if it.log is not None and (head := it.head) is not None
        ]

    def logs(self) -> Sequence[Log]:
        """As ``Named.logs``: of its lanes, the highest priority first."""
        return [lane.log for lane in self.stock.order if lane.log is not None]

    def is_open(self) -> bool:
        """Whether its counts are known or it has failed; otherwise its lanes are being opened."""
        return self.stock.open()

    def when_open(self, call: Callable[[], None]) -> None:
        """Call this once the counts are known, or it has failed; usually immediately."""
        self.stock.when_open(lambda: self._up_to_date(call))

    def when_known(self, call: Callable[[], None]) -> None:
        """As ``Named.when_known``: all messages come through this process."""
        self.when_open(call)

    def _up_to_date(self, call: Callable[[], None]) -> None:
        """Call this when the messages of this turn have been passed on.

        As in RabbitMQ, a message for which a consumer was waiting never counts as ready.
        """
        self._flush()
        if (self._awake or self.stock.unseen) and not self.gone:
            self._pass_on(self._home.clock(), STEP_MAX)
        call()

    def used(self) -> None:
        """Note a use, for x-expires: it was declared again, or fetched from."""
        self._used_ms = self._home.clock()
        self._arm()

    def plain(self, act: str) -> "Queue":
        """As Named.plain."""
        return self

    # Its policy

    def govern(self, policy: Policy | None) -> None:
        """Apply another policy, or none: the limits change, also for existing messages."""
        self.policy = policy
        before, limits = self.limits, _limits(self.facts, policy)
        if limits == before or self.gone:
            return
        self.limits = limits
        if limits.ttl_ms != before.ttl_ms:
            self.stock.live(limits.ttl_ms, self._home.clock())
        self.stock.retain(limits.retention)
        self.stock.count_bytes(wanted=limits.max_bytes is not None)
        self.dead_letters.limit(limits)
        self._consumers.timeouts.timeout_ms = limits.consumer_timeout_ms
        if limits.expires_ms != before.expires_ms:
            self._used_ms = self._home.clock()  # as in RabbitMQ, it has all of the new time
        self.wake()

    def lifetimes(self) -> tuple[int, ...]:
        """The lifetimes of its messages, as stored; empty: as its arguments say."""
        earlier, ttl_ms = self.stock.earlier, self.limits.ttl_ms
        if not earlier and ttl_ms == limits_of(self.facts).ttl_ms:
            return ()
        return tuple(lifetimes.kept(earlier, ttl_ms))

    def resume_lifetimes(self, numbers: Sequence[int]) -> bool:
        """Restore the stored lifetimes; return whether another limit applies now."""
        earlier: lifetimes.Lifetimes = ()
        ttl_ms = limits_of(self.facts).ttl_ms
        if numbers:
            earlier, ttl_ms = lifetimes.read(numbers)
        differs = ttl_ms != self.limits.ttl_ms
        now_ms = self._home.clock()
        self.stock.earlier = lifetimes.changed(earlier, ttl_ms, now_ms) if differs else earlier
        return differs

    # Its consumers

    @property
    def subscriptions(self) -> list[Subscription]:
        """The consumers by priority, then in the order of arrival."""
        return self._consumers.there

    @property
    def active(self) -> Subscription | None:
        """The consumer that is served, if only one is."""
        return self._consumers.active

    def subscribe(self, subscription: Subscription) -> None:
        """Serve this consumer from the end of the turn on.

        Raises ExclusiveUse, NotOfType, and ``failed``.
        """
        self._check_use()
        if subscription.arguments.get(STREAM_OFFSET) is not None:
            raise NotOfType(self.facts.name, STREAM_OFFSET, self.facts.type_name)
        self._consumers.add(subscription)
        self.wake()

    def _check_use(self) -> None:
        """Check that messages can be delivered. Raises ``failed``."""
        if self.failed is not None:
            raise self.failed

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a consumer; its unsettled messages stay delivered. An auto-delete queue is deleted
        with its last consumer.
        """
        if subscription not in self._consumers.there:
            return
        self._consumers.remove(subscription)
        if not self._consumers.there and not self.gone:
            if self.facts.auto_delete:
                self._home.goes(self)
                return
            self.used()
        self.wake()

    def wake(self) -> None:
        """Look at the end of the turn: there is news, or a consumer may have room."""
        if not self._awake and not self.gone:
            self._awake = True
            self._wake()

    def _wake_from_afar(self) -> None:
        """Schedule ``look``. Called from any thread."""
        self._home.soon(self.look)

    # Fetching

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """Get the first message; ``then`` is called with it, at once or after it was read from
        disk.

        Raises SingleActive, and ``failed``.
        """
        if self.limits.single_active:
            raise SingleActive(self.facts.name)
        self._check_use()
        self._used_ms = self._home.clock()
        self._getters.append(_Getter(channel, no_ack, then, bool(self._consumers.there)))
        if len(self._getters) == 1:
            self._serve()
        if not self._getters:
            self._arm()

    def _serve(self) -> None:
        """Answer fetches in order, as far as possible now."""
        while self._getters and not self.gone:
            if not self.stock.open():
                return
            self._flush()
            now_ms = self._home.clock()
            if self._awake or self.stock.unseen:
                behind = self._getters[0].behind
                left = self._deliver(now_ms, STEP_MAX) if behind else STEP_MAX
                self._make_room(now_ms, self._expire(now_ms, left))
            if self._over() and self.stock.unsafe:  # what is first now is to be dropped
                self._sync()
                return
            getter = self._getters[0]
            chunks = self._taken(getter.channel, 1, now_ms, binds=not getter.no_ack)
            if chunks and chunks[0].expired:
                self._bury(chunks)
                self.wake()  # they go in a look
                continue
            if not chunks and self.stock.more:
                self.wake()
                return
            if not chunks and (self.stock.cold or (self.stock.unsafe and self.stock.ready)):
                self._sync()
                return
            channel, no_ack, then, _ = self._getters.pop(0)
            if not chunks:
                self.counts.got_empty += 1
                self.totals.got_empty += 1
                then(None)
                continue
            tag = self._consumers.hand(channel, None, no_ack, chunks)
            delivery = self._consumers.deliveries(chunks)[0]
            if self._expire(now_ms, STEP_MAX) < STEP_MAX:  # the next message is gone
                self.wake()
            then(Got(tag, delivery, self.ready))

    def _taken(self, holder: object, most: int, now_ms: int, *, binds: bool = True) -> list[Chunk]:
        """Deliver the first ready messages that this holder may have."""
        in_order = self.stock.in_order
        if in_order is None:
            return self.stock.take(most, now_ms, fresh=False)
        dealt = in_order.deal(Hands([holder], [most], 1, [binds]), LOOK_MAX, now_ms, fresh=False)
        if self._bury(dealt.expired):
            self.wake()  # they go in a look
        return dealt.chunks

    def take_out(self, most: int) -> list[Chunk]:
        """Deliver the first ready messages to a caller that moves and then settles them.

        Returns fewer messages, or none, if some must first be read or synced: its logs tell when
        that is done. Raises SingleActive, and ``failed``.
        """
        if self.limits.single_active and self._consumers.there:
            raise SingleActive(self.facts.name)
        if self.failed is not None:
            raise self.failed
        self._flush()
        chunks = self._taken(self, most, self._home.clock())
        self._bury([it for it in chunks if it.expired])
        good = [it for it in chunks if not it.expired]
        if good and self.facts.lasts:
            self._home.used()
        if not good:
            self._sync()
        return good

    def moved(self, count: int) -> None:
        """Note that ``count`` messages that were taken out are at their destination."""
        for counts in (self.counts, self.totals):
            gave(counts, count, fetched=True, no_ack=True)

    def _sync(self) -> None:
        for lane in self.stock.order:
            if lane.log is not None and lane.log.safe < lane.log.end:
                lane.log.sync_soon()

    # What comes back

    def settle(self, delivered: Group) -> None:
        """Settle these messages."""
        if self.gone:
            self.settled_late()
            return
        self.stock.settle(delivered.lane, delivered.first, delivered.bits)
        self.count_acked(delivered)
        if not self._awake:
            self.wake()

    def settled_late(self) -> None:
        """Handle that messages were settled that it had delivered before it was gone."""

    def count_acked(self, delivered: Group) -> None:
        """Count settled messages, here or in a transaction."""
        count = delivered.bits.bit_count()
        self.counts.acked += count
        self.totals.acked += count

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """Make the messages ready again at their own places; or let them die at the delivery limit.

        ``failed``: counts as a failure, unless the server stops.
        """
        if self.gone:
            self.settled_late()
            return
        number, first, bits = delivered.lane, delivered.first, delivered.bits
        self.counts.returned += bits.bit_count()
        self.totals.returned += bits.bit_count()
        limit = self.limits.delivery_limit
        dead_at = 0 if limit is None else limit + 1
        if self.limits.retried_later(failed=failed) or self._fails(number, first, bits):
            self._delay(number, first, bits, failed, dead_at)
        else:
            self._release(number, first, bits, failed, dead_at)
        self.wake()

    def _release(self, number: int, first: int, bits: int, failed: bool, dead_at: int) -> None:
        self._returned = True
        dead = self.stock.release(number, first, bits, failed=failed, dead_at=dead_at)
        lane = self.stock.lanes[number]
        for block, mask in dead.items():
            self.dead_letters.die(lane, block << BLOCK_SHIFT, mask, DELIVERY_LIMIT)
            self._count_died(mask, DELIVERY_LIMIT)
        self.touch()

    def _delay(self, number: int, first: int, bits: int, failed: bool, dead_at: int) -> None:
        now_ms = self._home.clock()
        for before, group, those in self._by_failures(number, first, bits):
            failures = before + failed
            if failed and dead_at and failures >= dead_at:
                self._release(number, group, those, True, dead_at)
                continue
            if self.limits.retried_later(failed=failed):
                wait_ms = min(self.limits.retry_min_ms * max(failures, 1), self.limits.retry_max_ms)
            else:
                wait_ms = EACH_MS * (1 + len(self._delays) // MESSAGES)
            self.stock.delay(number, group, those)
            self._delays.add(Delayed(now_ms + wait_ms, number, group, those, failed))

    def _fails(self, number: int, first: int, bits: int) -> bool:
        """Return whether some messages have failed so often that only they wait for a while.

        Without an order by key, all messages wait when they are delivered (``Pace``).
        """
        if self.stock.in_order is None:
            return False
        failures = self.stock.lanes[number].settlement.failures_of(dict(parts(first, bits)))
        return max(failures, default=0) >= FAILING

    def _by_failures(self, number: int, first: int, bits: int) -> Iterator[tuple[int, int, int]]:
        """Yield these messages in groups with equal numbers of failures, and these numbers."""
        left = dict(parts(first, bits))
        for failures, those in self.stock.lanes[number].settlement.failures_of(left).items():
            for block, mask in those.items():
                left[block] &= ~mask
                yield failures, block << BLOCK_SHIFT, mask
        for block, mask in left.items():
            if mask:
                yield 0, block << BLOCK_SHIFT, mask

    def again(self, delivered: Group) -> Delivery | None:
        """The first of these delivered messages once more, because its consumer may have lost it.

        None: it must be read first, which begins now, and its lane's log tells when that is done;
        or it is damaged, and the lane reports that.
        """
        lane = self.stock.lanes[delivered.lane]
        record = self.stock.record(lane, delivered.first)
        return None if record is None else self._consumers.again(lane, record)

    def reject(self, delivered: Group) -> None:
        """Reject these messages: they die."""
        if self.gone:
            self.settled_late()
            return
        lane = self.stock.lanes[delivered.lane]
        self.stock.part(delivered.lane, delivered.first, delivered.bits)
        self.dead_letters.die(lane, delivered.first, delivered.bits, REJECTED)
        self._count_died(delivered.bits, REJECTED)
        self.touch()
        self.wake()

    def reject_with(self, delivered: Group, held: Transaction) -> bool:
        """Let them die as a part of a transaction if possible, otherwise after it."""
        lane = self.stock.lanes[delivered.lane]
        first, bits = delivered.first, delivered.bits
        if not self.facts.lasts:
            return False
        now_ms = self._home.clock()
        if self.limits.dead_letter_exchange is None:
            held.settle(self, lane.number, first, bits)
        elif not self.dead_letters.die_with(held, lane, first, bits, REJECTED, now_ms):
            return False
        self._count_died(bits, REJECTED)
        return True

    def _count_died(self, bits: int, reason: str) -> None:
        for counts in (self.counts, self.totals):
            died(counts, bits.bit_count(), reason)

    def purge(self, then: Callable[[int], None]) -> None:
        """Settle all ready messages; ``then`` is called with their number."""

        def now() -> None:
            total = 0 if self.gone else self.stock.purge()
            if not self.gone:
                self.touch()
                self.wake()
            then(total)

        self.when_open(now)

    # The end of a turn

    def look(self) -> None:
        """Do the pending work, within bounds."""
        self._awake = False
        if self.gone:
            if not self._has_left:
                self._leave()
            return
        now_ms = self._home.clock()
        self._flush()
        if self.stock.stuck:
            self.stock.unstick()
        for _, number, first, bits, failed in self._delays.due(now_ms):
            self._release(number, first, bits, failed, 0)
        if not self._time_out(now_ms):
            return
        more = False
        wanted = self._getters or self._consumers.there or self.stock.order
        if wanted and self.stock.open():
            left = LOOK_MAX
            if self._returned:  # surplus is dropped before consumers are served, as in RabbitMQ
                self._returned = False
                left = self._make_room(now_ms, left)
            if self._getters and not self._getters[0].behind:
                self._serve()
            more = self._pass_on(now_ms, left) <= 0
            self._serve()
        more = self.dead_letters.step(now_ms) or more
        self._flush()
        if self._expires_at() <= now_ms and not self._consumers.there:
            self._home.goes(self)
            return
        if more:
            self.wake()
        self._arm()

    def _flush(self) -> None:
        if self.stock.flush():
            self.touch()

    def touch(self) -> None:
        """Note that something was settled, or must be written to the journal."""
        self._home.touched(self)

    def _pass_on(self, now_ms: int, left: int) -> int:
        """Pass on what does not stay: to consumers, or because it has expired or exceeds a limit.

        Returns how many more messages may be handled in this turn.
        """
        left = self._deliver(now_ms, left)
        left = self._expire(now_ms, left)
        return self._make_room(now_ms, left)

    def _deliver(self, now_ms: int, left: int) -> int:
        """Deliver to consumers with room; returns how many more may be delivered."""
        if self.stock.in_order is not None:
            return self._deliver_in_order(self.stock.in_order, now_ms, left)
        self._pace.look()
        while left > 0:
            rooms = self._consumers.rooms()
            if not rooms:
                self._consumers.none_has_room()
                break
            most = min(left, STEP_MAX, sum(room for _, room in rooms))
            failing = self.stock.head_failures() >= FAILING
            if failing and (most := min(most, self._pace.room(now_ms))) <= 0:
                break
            chunks = self.stock.take(most, now_ms, fresh=True)
            if not chunks:
                break
            count = sum(len(it.records) for it in chunks)
            left -= count
            if failing:
                self._pace.took(count)
            good = [it for it in chunks if not it.expired]
            if len(good) < len(chunks):
                self._bury([it for it in chunks if it.expired])
            if good:
                self._consumers.push(rooms, good, now_ms)
        if left > 0 and not self.stock.cold:
            self.stock.all_seen()
        return left

    def _deliver_in_order(self, in_order: InOrder, now_ms: int, left: int) -> int:
        """Deliver messages if those of one key go to one consumer at a time."""
        more = max(0, left - IN_ORDER_MAX)  # in another look
        left -= more
        while left > 0:
            hands = self._consumers.hands()
            if hands is None:
                self._consumers.none_has_room()
                break
            dealt = in_order.deal(hands, min(left, STEP_MAX), now_ms, fresh=True)
            left -= dealt.looked
            self._bury(dealt.expired)
            if dealt.chunks:
                self._consumers.push_dealt(hands, dealt, now_ms)
            elif not dealt.looked:
                break
        if left > 0 and not self.stock.cold:
            self.stock.all_seen()
        return left + more if left > 0 else left

    def _bury(self, chunks: Iterable[Chunk], reason: str = EXPIRED) -> int:
        total = 0
        for chunk in chunks:
            bits = (1 << len(chunk.records)) - 1
            self.dead_letters.die(chunk.lane, chunk.first, bits, reason)
            self._count_died(bits, reason)
            total += len(chunk.records)
        if total:
            self.touch()
            self.wake()  # a look sends them
        return total

    def _expire(self, now_ms: int, left: int) -> int:
        if left <= 0:
            return left
        return left - self._bury(list(self.stock.expired(left, now_ms)))

    def _make_room(self, now_ms: int, left: int) -> int:
        """Drop the next messages to be delivered, if there are too many."""
        while left > 0 and (over := self._over()):
            chunks = self.stock.take(min(over, left, STEP_MAX), now_ms, fresh=True)
            if not chunks:
                break
            buried = self._bury(chunks, MAXLEN)
            left -= buried if over > 1 else SINGLE_COST * buried
        return left

    def _over(self) -> int:
        """Return a lower bound for the number of surplus messages, if such messages are dropped."""
        limits, over = self.limits, 0
        if limits.rejects:
            return 0
        if limits.max_length is not None:
            over = max(0, self.ready - limits.max_length)
        too_large = limits.max_bytes is not None and self.stock.ready_bytes > limits.max_bytes
        if too_large and not self.stock.sizing:
            over = max(over, 1)
        return over

    def accepts(self, sizes: Sequence[int]) -> list[bool] | None:
        """Return which messages of these sizes fit, if the queue refuses surplus ones.

        None: all of them. Waiting consumers take some of them immediately.
        """
        limits = self.limits
        if not limits.rejects:
            return None
        credit = 0
        if limits.max_length != 0 and not self.stock.blocked:
            credit = sum(room for _, room in self._consumers.rooms())
        there, there_bytes = self.ready + self.stock.coming, self.stock.ready_bytes
        room = None if limits.max_length is None else limits.max_length + credit - there
        room_bytes = None
        if limits.max_bytes is not None and not self.stock.sizing:
            room_bytes = limits.max_bytes - there_bytes - self.stock.coming_bytes
        found = []
        for size in sizes:
            good = (room is None or room > 0) and (room_bytes is None or room_bytes >= size)
            found.append(good)
            if good:
                room = None if room is None else room - 1
                room_bytes = None if room_bytes is None else room_bytes - size
        return None if all(found) else found

    # Time

    def _expires_at(self) -> int:
        expires_ms = self.limits.expires_ms
        return NO_TIME if expires_ms is None else self._used_ms + expires_ms

    def _arm(self) -> None:
        """Set the alarm for the next of its deadlines."""
        at_ms = min(self.dead_letters.deadline_ms, self._delays.deadline_ms)
        if self.stock.stuck:
            at_ms = min(at_ms, self._home.clock() + RETRY_MS)
        if not self._consumers.there:
            at_ms = min(at_ms, self._expires_at())
        at_ms = min(at_ms, self._consumers.timeouts.deadline_ms, self._pace.deadline_ms)
        if not self.stock.busy:
            for lane in self.stock.order:
                if lane.log is not None and lane.settlement.ready(lane.log.safe):
                    at_ms = min(at_ms, self.stock.head_deadline(lane))
        if at_ms < NO_TIME:
            self._home.alarm(self, at_ms)

    def _time_out(self, now_ms: int) -> bool:
        """Cancel consumers that have held a message too long; the message returns.

        Returns whether the queue still exists.
        """
        for consumer in self._consumers.timeouts.due(now_ms):
            for delivered in consumer.channel.unacked.drain_consumer(consumer):
                delivered.queue.release(delivered)
            consumer.cancelled()
            self.unsubscribe(consumer)
        return not self.gone

    # Its end

    def drop(self) -> None:
        """Delete the queue: consumers are told, and no call waits for it any more.

        Its dead letters are still moved, some in each turn; then ``when_left`` is due.
        """
        self.gone = True
        for subscription in self._consumers.clear():
            subscription.cancelled()
        while self._getters:
            self._getters.pop(0).then(None)
        self.dead_letters.leave()
        self._leave()

    def vacate(self) -> Sequence[Subscription]:
        """Forget everything without notice: another process serves the queue from now on.

        Returns the consumers, which are served there.
        """
        self.gone = True
        while self._getters:
            self._getters.pop(0).then(None)
        self.dead_letters.close()
        self.stock.drop()
        self._has_left = True
        return self._consumers.clear()

    def _leave(self) -> None:
        dead_letters = self.dead_letters
        if dead_letters.unsent and not self._home.gone:
            if dead_letters.step(self._home.clock()):
                self._wake()
            if dead_letters.unsent:
                return
        dead_letters.close()
        self.stock.drop()
        if self.repeats is not None:
            self.repeats.drop()
        self._has_left = True
        calls, self._when_left = self._when_left, []
        for call in calls:
            call()

    def when_left(self, call: Callable[[], None]) -> None:
        """Call ``call`` once a deleted queue no longer needs its logs; usually immediately."""
        if self._has_left:
            call()
        else:
            self._when_left.append(call)


def _limits(facts: QueueFacts, policy: Policy | None) -> Limits:
    return limits_of(facts, NO_DEFINITION if policy is None else policy.definition)
