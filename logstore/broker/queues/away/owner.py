"""The node that owns queues used by clients of this node, as this node sees it.

``Owner`` is what a queue that is away needs; ``FarOwner`` does it over the link. For whoever makes
both: a ``FarOwner`` is the ``Told`` of a ``relay.talk.Talk`` with ``to`` = that node, and lasts
while links to that node come and go (``cluster/peer.py`` makes them). In short::

    owner = FarOwner(ids, soon, showing, lost)     # ids: one count(1) for the process
    peer = Peer(address, around, Identity(...), owner)     # logstore.cluster.peer
    ...
    consumer = owner.subscribe(Wanted(vhost, name, number), queue, subscription, then)
    owner.wake(consumer)            # its client has room again: as Named.wake
    owner.settle(delivered)         # as Named.settle, release, reject, by ``queue``
    owner.unsubscribe(consumer)

``queue`` is any object. The channel's ``Unacked`` holds it as the queue of the delivered messages,
so that doors call its ``settle``, ``release`` and ``reject``, which pass the group to the owner. In
such a group, ``lane`` is the consumer's id and ``first`` a number within it, not an offset.
Consumer ids are unique in a process, so a group identifies the link by which it came; a group of
another link has no effect.

**A lost link.** Delivered messages are not settled, and the owner delivers them again, marked as
redelivered. The client's later acknowledgements of them have no effect, although they stay in its
Unacked until then. ``lost`` receives the attached consumers, which must be subscribed again; each
gets a new ``FarConsumer``. The same happens to a single consumer whose queue gets another owner.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from logstore.amqp import fields
from logstore.broker.queues.away.carried import deliveries
from logstore.broker.queues.away.consumer import FarConsumer, Wanted
from logstore.broker.queues.away.refusals import error_of
from logstore.broker.queues.bits import Bits, include, parts, runs
from logstore.broker.queues.message import Delivery, Showing
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.tables import table_of
from logstore.broker.queues.unacked import Delivered
from logstore.errors import (
    BrokenProtocol,
    ClusterBehind,
    ClusterUnreachable,
    LogstoreError,
    NotOwned,
)
from logstore.relay import messages
from logstore.relay.messages import Message
from logstore.relay.talk import Talk
from logstore.relay.wire import RUN_MAX, RUNS_MAX, Run

ASKS_MAX: Final = 10_000  # that have no answer yet; as many again may end some of these
LOOK_MAX: Final = 1000  # messages that are given to clients in a turn

Group = Delivered[Any, Any]
Done = Callable[[LogstoreError | None], None]
TakeGot = Callable[[Got | LogstoreError | None], None]
TakeTotal = Callable[[int | LogstoreError], None]
TakeCounts = Callable[[messages.Counts | LogstoreError], None]
TakeContent = Callable[[bytes | LogstoreError], None]
Lost = Callable[[Sequence[FarConsumer], LogstoreError], None]


class Owner(Protocol):
    """The interface of an owner. Each ``then`` is called once, immediately or later."""

    @property
    def ready(self) -> bool:
        """Whether the link to the owner is open; without it every request fails."""

    @property
    def link(self) -> object:
        """The present link; None: it is not open."""

    def subscribe(
        self, wanted: Wanted, noted: object, subscription: Subscription, then: Done
    ) -> FarConsumer:
        """Add a consumer. Messages may come before ``then`` is called."""

    def unsubscribe(self, consumer: FarConsumer) -> None:
        """Remove a consumer. Messages that its client has stay unacknowledged."""

    def wake(self, consumer: FarConsumer) -> None:
        """Note that the consumer's client may take more messages."""

    def settle(self, delivered: Group) -> None:
        """Settle the delivery as acknowledged."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """Return the messages to their places in the queue."""

    def reject(self, delivered: Group) -> None:
        """Reject the messages: they are dropped or dead-lettered."""

    def get(
        self, wanted: Wanted, noted: object, channel: Channel, no_ack: bool, then: TakeGot
    ) -> None:
        """As Queue.get."""

    def purge(self, wanted: Wanted, then: TakeTotal) -> None:
        """As Queue.purge."""

    def look(self, wanted: Wanted, then: TakeCounts) -> None:
        """Ask for the state of the queue."""

    def ask(self, kind: int, content: bytes, then: TakeContent, *, ends: bool = False) -> None:
        """Ask a question of another kind, which owner and asker agree on.

        ``ends``: it ends a question that has no answer yet, so there is always room for it.
        """


class _Asked(NamedTuple):
    """A request without a reply yet."""

    wanted: type[Message]
    then: Callable[[Any], None]  # the answer, or a LogstoreError


# What becomes of messages; in this order they are told.
_SETTLE, _REJECT, _FAILED, _RELEASE = range(4)


def _settled(verdict: int, id: int, those: tuple[Run, ...]) -> Message:
    if verdict == _SETTLE:
        return messages.Settle(id, those)
    if verdict == _REJECT:
        return messages.Reject(id, those)
    return messages.Release(id, verdict == _FAILED, those)


class FarOwner:
    """An ``Owner`` over a link, and the ``Told`` of that link. Used in one thread."""

    def __init__(
        self,
        ids: Iterator[int],
        soon: Callable[[Callable[[], object]], object],
        showing: Showing,
        lost: Lost,
    ) -> None:
        """``ids``: ascending, each used only once in this process. ``soon``: as ``Turn.soon``."""
        self._ids = ids
        self._soon = soon
        self._showing = showing
        self._when_lost = lost
        self._talk: Talk | None = None  # while it is open
        self._consumers: dict[int, FarConsumer] = {}  # of this link, as long as they have any out
        self._attached: dict[Subscription, FarConsumer] = {}
        self._gets = 0  # the id under which fetched messages are out
        self._asked: dict[int, _Asked] = {}
        self._woken: dict[FarConsumer, None] = {}
        self._verdicts: tuple[dict[int, Bits], ...] = ({}, {}, {}, {})
        self._looking = False  # at the end of this turn

    @property
    def ready(self) -> bool:
        """As Owner.ready."""
        return self._talk is not None

    @property
    def link(self) -> object:
        """As Owner.link."""
        return self._talk

    # The link, as relay.talk.Told

    def opened(self, talk: Talk) -> None:
        """As Told.opened."""
        self._talk = talk
        self._gets = next(self._ids)

    def drained(self) -> None:
        """As Told.drained."""
        self._look_soon()

    def lost(self, why: LogstoreError) -> None:
        """As Told.lost."""
        self._talk = None
        consumers, self._consumers = self._consumers, {}
        asked, self._asked = self._asked, {}
        self._woken.clear()
        self._verdicts = ({}, {}, {}, {})
        # Those that wait for an answer are told by that.
        there = [it for it in consumers.values() if it.attached and it.id not in asked]
        for it in consumers.values():
            self._detach(it)
        for question in asked.values():
            question.then(why)
        if there:
            self._when_lost(there, why)

    def _detach(self, consumer: FarConsumer) -> None:
        if consumer.attached:
            consumer.attached = False
            self._attached.pop(consumer.subscription, None)
        consumer.left = True
        consumer.drop()

    def heard(self, message: Message) -> None:
        """As Told.heard."""
        match message:
            case messages.Deliver():
                self._deliver(message)
            case messages.Cancelled():
                self._cancelled(message)
            case messages.Unsubscribed():
                self._left(self._consumers.get(message.id))
            case messages.Refused():
                error = error_of(message)
                self._asked_for(message.id, None).then(error)
            case (
                messages.Subscribed() | messages.Got() | messages.Purged() | messages.Counts()
                | messages.Answer()
            ):  # fmt: skip
                self._asked_for(message.id, type(message)).then(message)
            case _:
                raise BrokenProtocol(f"an owner sends {type(message).__name__}")

    def _asked_for(self, id: int, kind: type[Message] | None) -> _Asked:
        found = self._asked.pop(id, None)
        if found is None or kind not in (None, found.wanted):
            raise BrokenProtocol(f"it answers what nobody has asked for: {id}")
        return found

    # Asking

    def _ask(
        self,
        id: int,
        question: Message,
        wanted: type[Message],
        then: Callable[[Any], None],
        *,
        ends: bool = False,
    ) -> None:
        talk = self._talk
        if talk is None:
            then(ClusterUnreachable("there is no link to the node that owns the queue now"))
        elif len(self._asked) >= (2 * ASKS_MAX if ends else ASKS_MAX):
            then(ClusterBehind(f"{talk.peer} has {ASKS_MAX} questions to answer: try again"))
        else:
            self._asked[id] = _Asked(wanted, then)
            self._tell_verdicts(talk)  # what was settled before is so for what is asked
            talk.put(question)

    def get(
        self, wanted: Wanted, noted: object, channel: Channel, no_ack: bool, then: TakeGot
    ) -> None:
        """As Owner.get."""
        id, out = next(self._ids), self._gets

        def got(answer: messages.Got | LogstoreError) -> None:
            if isinstance(answer, LogstoreError) or not answer.batch:
                then(answer if isinstance(answer, LogstoreError) else None)
                return
            if self._talk is not None and not self._talk.fresh:
                self._note(_RELEASE, out, answer.taken, 1)
                then(ClusterUnreachable("the node that owns the queue may have given this one up"))
                return
            try:
                found = self._one(answer)
            except BrokenProtocol as error:
                then(error)
                raise
            if no_ack:
                tag = channel.unacked.pass_over(1)
                self._note(_SETTLE, out, answer.taken, 1)
            else:
                tag = channel.unacked.add(noted, out, answer.taken, 1, None)
            then(Got(tag, found, answer.ready))

        self._ask(id, messages.Get(id, out, *wanted), messages.Got, got)

    def _one(self, answer: messages.Got) -> Delivery:
        """Decode the one message of an answer. Raises BrokenProtocol."""
        found = deliveries(answer.batch, bytes((answer.again,)), self._showing)
        if len(found) != 1:
            raise BrokenProtocol(f"{len(found)} messages, and one was to be fetched")
        return found[0]

    def purge(self, wanted: Wanted, then: TakeTotal) -> None:
        """As Owner.purge."""
        id = next(self._ids)

        def purged(answer: messages.Purged | LogstoreError) -> None:
            then(answer if isinstance(answer, LogstoreError) else answer.total)

        self._ask(id, messages.Purge(id, *wanted), messages.Purged, purged)

    def look(self, wanted: Wanted, then: TakeCounts) -> None:
        """As Owner.look."""
        id = next(self._ids)
        self._ask(id, messages.Look(id, *wanted), messages.Counts, then)

    def ask(self, kind: int, content: bytes, then: TakeContent, *, ends: bool = False) -> None:
        """As Owner.ask."""
        id = next(self._ids)

        def answered(answer: messages.Answer | LogstoreError) -> None:
            then(answer if isinstance(answer, LogstoreError) else bytes(answer.content))

        self._ask(id, messages.Ask(id, kind, content), messages.Answer, answered, ends=ends)

    # Consumers

    def subscribe(
        self, wanted: Wanted, noted: object, subscription: Subscription, then: Done
    ) -> FarConsumer:
        """As Owner.subscribe."""
        id, no_ack = next(self._ids), subscription.no_ack
        consumer = FarConsumer(id, wanted, noted, subscription)

        def answered(answer: messages.Subscribed | LogstoreError) -> None:
            if isinstance(answer, LogstoreError):
                self._detach(consumer)
                self._consumers.pop(id, None)
                then(answer)
            else:
                then(None)

        question = messages.Subscribe(
            id, *wanted, subscription.tag, subscription.channel.name.encode(),
            subscription.exclusive, subscription.priority, 0 if no_ack else subscription.prefetch,
            0 if no_ack else subscription.timeout_ms,  # it has a message only on its way here
            fields.table(table_of(subscription.arguments)), consumer.below,
        )  # fmt: skip
        if self._talk is not None:
            self._consumers[id] = self._attached[subscription] = consumer
        self._ask(id, question, messages.Subscribed, answered)
        return consumer

    def unsubscribe(self, consumer: FarConsumer) -> None:
        """As Owner.unsubscribe."""
        talk = self._talk
        if not consumer.attached or talk is None:
            return
        consumer.attached = False
        del self._attached[consumer.subscription]
        self._woken.pop(consumer, None)
        self._give_back(consumer)
        self._tell_verdicts(talk)
        talk.put(messages.Unsubscribe(consumer.id))

    def _give_back(self, consumer: FarConsumer) -> None:
        """Return received messages that the consumer's client has not seen."""
        first, count = consumer.passed, consumer.drop()
        if count:
            self._note(_RELEASE, consumer.id, first, count)

    def wake(self, consumer: FarConsumer) -> None:
        """As Owner.wake."""
        if consumer.attached:
            self._woken[consumer] = None
            self._look_soon()

    def _deliver(self, message: messages.Deliver) -> None:
        some = deliveries(message.batch, message.again, self._showing)
        consumer = self._consumers.get(message.id)
        if consumer is None:
            raise BrokenProtocol(f"it gives messages to nobody: {message.id}")
        consumer.take(message.first, some, len(message.batch))
        if consumer.attached:
            self.wake(consumer)
        else:  # it was on its way when its client went
            self._give_back(consumer)

    def _cancelled(self, message: messages.Cancelled) -> None:
        consumer = self._consumers.get(message.id)
        if consumer is None:
            raise BrokenProtocol(f"it cancels an unknown consumer: {message.id}")
        was_attached, of = consumer.attached, consumer.subscription
        self._woken.pop(consumer, None)
        self._detach(consumer)
        self._left(consumer)
        if not was_attached:
            return
        if message.why == messages.MOVED:
            name = fields.text(consumer.wanted.queue)
            why = NotOwned(f"queue {name!r} is served by another node by now")
            self._when_lost([consumer], why)
            return
        if message.why == messages.LATE:  # the owner has taken back what it had
            of.channel.unacked.drain_consumer(of)
        consumer.over = True
        of.cancelled()

    def _left(self, consumer: FarConsumer | None) -> None:
        if consumer is None:
            raise BrokenProtocol("it ends an unknown consumer")
        consumer.left = True
        self._tidy(consumer)

    def _tidy(self, consumer: FarConsumer) -> None:
        """Forget a removed consumer whose messages are all settled."""
        if consumer.left and not consumer.out:
            self._consumers.pop(consumer.id, None)

    # What becomes of messages

    def settle(self, delivered: Group) -> None:
        """As Owner.settle."""
        self._say(_SETTLE, delivered)

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """As Owner.release."""
        self._say(_FAILED if failed else _RELEASE, delivered)

    def reject(self, delivered: Group) -> None:
        """As Owner.reject."""
        self._say(_REJECT, delivered)

    def _is_of_this_link(self, delivered: Group) -> bool:
        id = delivered.lane
        return self._talk is not None and (id == self._gets or id in self._consumers)

    def _less(self, delivered: Group) -> None:
        """Reduce the consumer's count of unsettled messages, and wake it: it may have room."""
        consumer = self._consumers.get(delivered.lane)
        if consumer is not None:
            consumer.out -= delivered.size
            self._tidy(consumer)
            self.wake(consumer)

    def _say(self, verdict: int, delivered: Group) -> None:
        if not self._is_of_this_link(delivered):
            return
        those = self._verdicts[verdict].setdefault(delivered.lane, {})
        for block, mask in parts(delivered.first, delivered.bits):
            those[block] = those.get(block, 0) | mask
        self._less(delivered)
        self._look_soon()

    def _note(self, verdict: int, id: int, first: int, count: int) -> None:
        include(self._verdicts[verdict].setdefault(id, {}), first, count)
        self._look_soon()

    def _tell_verdicts(self, talk: Talk) -> None:
        """Send the verdicts of this turn; adjacent messages are one run."""
        verdicts, self._verdicts = self._verdicts, ({}, {}, {}, {})
        for verdict, by_id in enumerate(verdicts):
            for id, those in by_id.items():
                for some in _framed(runs(those)):
                    talk.put(_settled(verdict, id, some))

    # The end of a turn

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._soon(self._look)

    def _look(self) -> None:
        """Deliver received messages to clients, and send their verdicts and credits to
        the owner.
        """
        self._looking = False
        talk, left = self._talk, LOOK_MAX
        if talk is None or talk.full:  # an owner that does not read learns it later
            return
        # Messages that the owner may have taken back are not delivered before it has answered.
        woken, self._woken = (self._woken, {}) if talk.fresh else ({}, self._woken)
        credits: list[messages.Credit] = []
        for consumer in woken:
            if not consumer.attached:
                continue
            if left <= 0:
                self.wake(consumer)
                continue
            first, given = consumer.passed, consumer.give(left)
            left -= given
            if given and consumer.subscription.no_ack:
                self._note(_SETTLE, consumer.id, first, given)
                consumer.out -= given
            if left <= 0 and consumer.waiting:
                self.wake(consumer)
            if (credit := consumer.credit()) is not None:
                credits.append(credit)
        self._tell_verdicts(talk)
        for it in credits:
            talk.put(it)


def _framed(those: Iterable[Run]) -> Iterator[tuple[Run, ...]]:
    """Yield as many runs at a time as a frame may hold."""
    some: list[Run] = []
    for first, count in those:
        for begin in range(first, first + count, RUN_MAX):
            some.append((begin, min(RUN_MAX, first + count - begin)))
            if len(some) == RUNS_MAX:
                yield tuple(some)
                some = []
    if some:
        yield tuple(some)
