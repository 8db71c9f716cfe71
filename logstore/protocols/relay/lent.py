"""What one other node uses of this node's queues: its consumers, and its fetched messages."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from logstore.amqp import fields
from logstore.broker.queues.away.carried import Carrying, again
from logstore.broker.queues.message import Delivery
from logstore.broker.queues.named import Named
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.unacked import Unacked
from logstore.errors import BrokenProtocol
from logstore.relay.messages import (
    FIRST,
    GONE,
    LATE,
    MOVED,
    PASSED_BYTES,
    Cancelled,
    Deliver,
    Message,
    Subscribe,
)

ROOM: Final = 1 << 30  # without a limit


class Lender(Protocol):
    """The link as its consumers see it."""

    carrying: Carrying

    def put(self, message: Message) -> None: ...
    def has_room(self, queue: Named) -> bool:
        """Whether the node may receive more: it reads, and does not hold too much.

        If not, the queue is woken when there is room.
        """

    def given(self, count: int) -> None:
        """Count messages given to the node."""

    def recount(self, lent: "Lent | Fetched") -> None:
        """Update the total for a consumer that holds more or fewer messages."""

    def tidy(self, lent: "Lent | Fetched") -> None:
        """Forget a consumer once it has ended and holds nothing."""


class Lent:
    """One consumer: a ``Subscription`` of its queue, and the channel of that subscription."""

    __slots__ = (
        "_below", "_of", "_passed", "_unpassed", "_unpassed_bytes", "arguments", "counted", "ended",
        "exclusive", "id", "name", "prefetch", "priority", "queue", "tag", "timeout_ms", "unacked",
    )  # fmt: skip

    no_ack = False  # all of them are settled
    whose = None

    def __init__(self, of: Lender, queue: Named, asked: Subscribe) -> None:
        """Raises BrokenProtocol."""
        self.id = asked.id
        self.queue = queue
        self.tag = asked.tag
        self.name = asked.channel.decode("utf-8", "backslashreplace")
        self.exclusive = asked.exclusive
        self.priority = asked.priority
        self.prefetch = asked.prefetch
        self.timeout_ms = asked.timeout_ms
        table, end = fields.read_table(asked.arguments, 0)
        if end != len(asked.arguments):
            raise BrokenProtocol("arguments of a consumer are longer than they say")
        self.arguments = arguments_of(table)
        self.unacked: Unacked[Any, Any] = Unacked()
        self.counted = 0  # of these, as the link has counted them
        self.ended = False
        self._of = of
        self._below = asked.below
        self._passed = FIRST
        self._unpassed: deque[tuple[int, int]] = deque()  # number after, bytes of the frame
        self._unpassed_bytes = 0

    def __repr__(self) -> str:
        return f"<Lent {self.id} of {self.queue.facts.name!r}>"

    @property
    def channel(self) -> "Lent":
        return self

    def room(self) -> int:
        """As queues.Channel.room."""
        return ROOM

    def can_take(self) -> int:
        """As queues.Subscription.can_take."""
        if self.ended or self._unpassed_bytes >= PASSED_BYTES or not self._of.has_room(self.queue):
            return 0
        return max(0, self._below - self.unacked.next_tag)

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """As queues.Subscription.push."""
        batch = self._of.carrying.batch(deliveries)
        self._unpassed.append((tag + len(deliveries), len(batch)))
        self._unpassed_bytes += len(batch)
        self._of.put(Deliver(self.id, tag, again(deliveries), batch))
        self._of.given(len(deliveries))
        self._of.recount(self)

    def credit(self, below: int, passed: int) -> None:
        """Allow messages below the first number; those below the second have reached the client.

        Raises BrokenProtocol.
        """
        if not self._passed <= passed <= self.unacked.next_tag:
            raise BrokenProtocol(f"messages below {passed} can't have passed")
        self._below, self._passed = below, passed
        unpassed = self._unpassed
        while unpassed and unpassed[0][0] <= passed:
            self._unpassed_bytes -= unpassed.popleft()[1]

    def cancelled(self) -> None:
        """As queues.Subscription.cancelled."""
        if not self.ended:
            self._end(GONE if self.queue.gone else LATE)

    def leave(self) -> None:
        """End the consumer: another node owns the queue and delivers its messages again."""
        self.unacked.drain()
        self.queue.unsubscribe(self)
        self._end(MOVED)

    def _end(self, why: int) -> None:
        self.ended = True
        self._of.recount(self)
        self._of.put(Cancelled(self.id, why))
        self._of.tidy(self)


class Fetched:
    """Messages that were fetched one by one; to the queues, it is a ``Channel``."""

    __slots__ = ("_peer", "counted", "unacked")

    whose = None
    ended = True

    def __init__(self, peer: str) -> None:
        """``peer``: the holder of the messages, for people."""
        self.unacked: Unacked[Any, Any] = Unacked()
        self.counted = 0
        self._peer = peer

    @property
    def name(self) -> str:
        return self._peer

    def room(self) -> int:
        """As queues.Channel.room."""
        return ROOM
