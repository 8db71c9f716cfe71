"""The use of this node's queues by another node, through the messages of its link.

When the link ends, all unsettled messages return to their queues before the consumers end, so that
a queue's next consumer begins with the returned messages.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from logstore.broker.queues.away.carried import Carrying
from logstore.broker.queues.away.refusals import told
from logstore.broker.queues.heads import oldest_ms
from logstore.broker.queues.named import Group, Named
from logstore.broker.queues.settling import Verdict, rejected, released, settled
from logstore.broker.queues.subscription import Got
from logstore.errors import BrokenProtocol, LogstoreError, Refused
from logstore.protocols.relay.door import RelayDoor
from logstore.protocols.relay.lent import Fetched, Lent
from logstore.relay import messages
from logstore.relay.messages import Message
from logstore.relay.talk import OUT_BYTES_MAX, Talk
from logstore.relay.wire import Run
from logstore.slices import Steps

CONSUMERS_MAX: Final = 65_536  # of one node
OUT_MAX: Final = 1 << 20  # messages that one node has, of all queues; then it is given no more
ASKS_MAX: Final = 20_000  # unanswered requests; the other side observes the limit
LENT_BYTES: Final = 2048  # cost of a consumer
OUT_BYTES: Final = 32  # usual maximum cost of an unsettled message
ASK_BYTES: Final = 512
END_UNITS: Final = 3  # of work in slices: to give back some messages, to end a consumer
AT_ONCE: Final = 300


class Lending:
    """What one other node uses; the ``Told`` of its link."""

    def __init__(
        self, door: RelayDoor, unsent: Callable[[], int], came_in: Callable[[], None]
    ) -> None:
        """``unsent``: bytes on the connection that the node has not read."""
        self.carrying = Carrying()
        self.lents: dict[int, Lent] = {}  # including ended ones that still hold messages
        self.out = 0  # messages
        self.asks: set[int] = set()  # unanswered
        self._door = door
        self._unsent = unsent
        self._came_in = came_in
        self._talk: Talk | None = None
        self._fetched: Fetched | None = None
        self._fetched_id = 0
        self._last = 0  # the highest number that something was asked with
        self._starved: dict[Named, None] = {}  # may have more than there was room for

    # The link, as relay.talk.Told

    def opened(self, talk: Talk) -> None:
        """As Told.opened."""
        self._talk = talk
        self._came_in()

    def drained(self) -> None:
        """As Told.drained; ``feed`` sees to it, once the connection has sent it."""

    def heard(self, message: Message) -> None:
        """As Told.heard."""
        carry_out = _ACTS.get(type(message))
        if carry_out is None:
            raise BrokenProtocol(f"one that asks sends {type(message).__name__}")
        carry_out(self, message)

    def lost(self, why: LogstoreError) -> None:
        """As Told.lost: all that it has goes back, in their order; its consumers end."""
        node, self._talk = self.node, None
        lents, self.lents = list(self.lents.values()), {}
        fetched, self._fetched = self._fetched, None
        live = [it for it in lents if not it.ended]
        for it in lents:
            it.ended = True  # accepts no more messages
        self.out = 0
        for told_gone in self._door.gone:
            told_gone(self)
        self._door.ends(node)
        steps = _ending(lents, fetched, live)
        self._door.slices.begin(steps, lambda _: self._door.ended(node), AT_ONCE)

    # As a Lender

    @property
    def held_bytes(self) -> int:
        """As Session.held_bytes."""
        held = LENT_BYTES * len(self.lents) + OUT_BYTES * self.out + ASK_BYTES * len(self.asks)
        return held + (0 if self._talk is None else self._talk.out_bytes)

    def put(self, message: Message) -> None:
        """Send a message to the node, if it is still connected."""
        if self._talk is not None:
            self._talk.put(message)

    def has_room(self, queue: Named) -> bool:
        """As Lender.has_room."""
        talk = self._talk
        good = (
            talk is not None
            and self.out < OUT_MAX
            and talk.out_bytes + self._unsent() < OUT_BYTES_MAX
        )
        if not good:
            self._starved[queue] = None
        return good

    def feed(self) -> None:
        """Let queues that found no room continue: something was sent or settled."""
        starved, self._starved = self._starved, {}
        for queue in starved:
            if self.has_room(queue):
                queue.wake()

    def given(self, count: int) -> None:
        """As Lender.given."""
        self._door.traffic.messages_out += count

    def recount(self, lent: Lent | Fetched) -> None:
        """As Lender.recount."""
        has = len(lent.unacked)
        self.out += has - lent.counted
        lent.counted = has

    def tidy(self, lent: Lent | Fetched) -> None:
        """Forget a consumer that has ended and holds nothing."""
        if isinstance(lent, Lent) and lent.ended and not lent.unacked:
            self.lents.pop(lent.id, None)

    def leave(self, which: Callable[[Named], bool]) -> None:
        """As RelayDoor.leave."""
        for it in list(self.lents.values()):
            if not it.ended and which(it.queue):
                it.leave()

    # What is asked

    def new(self, id: int) -> None:
        """Register a request. Raises BrokenProtocol."""
        if id <= self._last:
            raise BrokenProtocol(f"it asks with the number {id} after {self._last}")
        if len(self.asks) >= ASKS_MAX:
            raise BrokenProtocol(f"it asks for more than {ASKS_MAX} things at once")
        self._last = id
        self.asks.add(id)

    def answer(self, id: int, message: Message) -> None:
        """Answer a request."""
        self.asks.discard(id)
        self.put(message)

    def refuse(self, id: int, error: LogstoreError) -> None:
        """Answer a request with an error."""
        self.answer(id, told(id, error))

    def subscribe(self, asked: messages.Subscribe) -> None:
        """Add a consumer. Raises BrokenProtocol, LogstoreError."""
        if len(self.lents) >= CONSUMERS_MAX:
            raise Refused(f"a node may have at most {CONSUMERS_MAX} consumers of another node")
        queue = self._door.find(asked.vhost, asked.queue, asked.number)
        lent = Lent(self, queue, asked)
        queue.subscribe(lent)
        self.lents[asked.id] = lent
        self.answer(asked.id, messages.Subscribed(asked.id))

    def unsubscribe(self, asked: messages.Unsubscribe) -> None:
        """End a consumer. Raises BrokenProtocol."""
        lent = self._lent(asked.id)
        if lent is None or lent.ended:  # it was just cancelled, and will be told
            return
        lent.ended = True
        lent.queue.unsubscribe(lent)
        self.put(messages.Unsubscribed(asked.id))
        self.tidy(lent)

    def credit(self, given: messages.Credit) -> None:
        """Give a consumer more credit. Raises BrokenProtocol."""
        lent = self._lent(given.id)
        if lent is not None:
            lent.credit(given.below, given.passed)
            if not lent.ended:
                lent.queue.wake()

    def _lent(self, id: int) -> Lent | None:
        """The consumer; None if it has ended meanwhile. Raises BrokenProtocol."""
        found = self.lents.get(id)
        if found is None and id > self._last:
            raise BrokenProtocol(f"it means {id}, which it has not begun")
        return found

    def get(self, asked: messages.Get) -> None:
        """Fetch a message. Raises BrokenProtocol, LogstoreError."""
        fetched = self._fetching(asked.out)
        queue = self._door.find(asked.vhost, asked.queue, asked.number)

        def got(found: Got | None) -> None:
            if self._talk is None:  # it has gone while it waited
                _give_back(fetched.unacked.drain())
            elif found is None:
                self.answer(asked.id, messages.Got(asked.id, 0, 0, False, b""))
            else:
                it = found.delivery
                batch = self.carrying.batch([it])
                self.recount(fetched)
                self.given(1)
                again = it.redelivered
                self.answer(asked.id, messages.Got(asked.id, found.tag, found.ready, again, batch))

        queue.get(fetched, False, got)

    def _fetching(self, id: int) -> Fetched:
        """Raises BrokenProtocol."""
        if self._fetched is None:
            assert self._talk is not None
            if id in self.lents:
                raise BrokenProtocol(f"{id} is a consumer, and nothing else")
            self._fetched, self._fetched_id = Fetched(self._talk.peer), id
        if id != self._fetched_id:
            raise BrokenProtocol(f"what it fetches is out as {self._fetched_id}, not as {id}")
        return self._fetched

    def purge(self, asked: messages.Purge) -> None:
        """Purge a queue. Raises LogstoreError."""
        queue = self._door.find(asked.vhost, asked.queue, asked.number)
        queue.purge(lambda total: self.answer(asked.id, messages.Purged(asked.id, total)))

    def look(self, asked: messages.Look) -> None:
        """Raises LogstoreError."""
        queue = self._door.find(asked.vhost, asked.queue, asked.number)

        def open() -> None:
            if queue.failed is not None:
                self.refuse(asked.id, queue.failed)
                return
            heads = queue.heads()
            if heads:
                self._door.work(partial(oldest_ms, heads), known)
            else:
                known(None)

        def known(head_ms: int | None) -> None:
            counts = queue.ready, queue.out, len(queue.subscriptions)
            self.answer(asked.id, messages.Counts(asked.id, *counts, head_ms))

        queue.when_known(open)

    def ask(self, asked: messages.Ask) -> None:
        """Raises LogstoreError."""
        found = self._door.asked.get(asked.kind)
        if found is None:
            raise Refused(
                f"this node does not know questions of kind {asked.kind}: bring all nodes to the "
                f"same release"
            )

        def answered(answer: bytes | LogstoreError) -> None:
            if isinstance(answer, LogstoreError):
                self.refuse(asked.id, answer)
            else:
                self.answer(asked.id, messages.Answer(asked.id, answer))

        found(self, bytes(asked.content), answered)

    # What becomes of messages

    def verdict(self, id: int, those: Sequence[Run], verdict: Verdict) -> None:
        """Settle messages. Raises BrokenProtocol."""
        holder = self._holder(id)
        if holder is None:
            return
        first, count = those[-1]
        if first + count > holder.unacked.next_tag:
            raise BrokenProtocol(f"it says what becomes of {first + count - 1}, which is not out")
        for first, count in those:
            for group in holder.unacked.take_between(first, first + count - 1):
                verdict(group)
        self.recount(holder)
        self.tidy(holder)

    def _holder(self, id: int) -> Lent | Fetched | None:
        return self._fetched if id == self._fetched_id and id else self._lent(id)

    @property
    def node(self) -> bytes:
        """As Asker.node."""
        return b"" if self._talk is None else self._talk.node


def _put_back(group: Group) -> None:
    """Return messages to their queue, without a failed delivery."""
    group.queue.release(group, failed=False)


def _give_back(groups: Sequence[Group]) -> None:
    for group in groups:
        _put_back(group)


def _ending(lents: Sequence[Lent], fetched: Fetched | None, live: Sequence[Lent]) -> Steps:
    for it in (*lents, *(() if fetched is None else (fetched,))):
        for group in it.unacked.drain():
            _put_back(group)
            yield END_UNITS
    for lent in live:
        lent.queue.unsubscribe(lent)
        yield END_UNITS


def _asked(act: Callable[[Lending, Any], None]) -> Callable[[Lending, Any], None]:
    """A handler of a request, which answers an error with an error."""

    def carry_out(of: Lending, message: Any) -> None:  # noqa: ANN401
        of.new(message.id)
        try:
            act(of, message)
        except BrokenProtocol:
            raise
        except LogstoreError as error:
            of.refuse(message.id, error)

    return carry_out


def _release(of: Lending, message: messages.Release) -> None:
    of.verdict(message.id, message.runs, released if message.failed else _put_back)


_ACTS: Final[dict[type[Message], Callable[[Lending, Any], None]]] = {
    messages.Subscribe: _asked(Lending.subscribe),
    messages.Get: _asked(Lending.get),
    messages.Purge: _asked(Lending.purge),
    messages.Look: _asked(Lending.look),
    messages.Ask: _asked(Lending.ask),
    messages.Unsubscribe: Lending.unsubscribe,
    messages.Credit: Lending.credit,
    messages.Settle: lambda of, it: of.verdict(it.id, it.runs, settled),
    messages.Reject: lambda of, it: of.verdict(it.id, it.runs, rejected),
    messages.Release: _release,
}
