"""One consumer of a queue that another node owns: its credit, and messages that wait here.

The owner sends no more messages than the room that this node announced last. The room may have
shrunk meanwhile (other consumers of the channel got messages, or the client does not read): then
arriving messages wait here until the client has room.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.message import Delivery
from logstore.broker.queues.subscription import Subscription
from logstore.errors import BrokenProtocol
from logstore.relay.messages import FIRST, PASSED_BYTES, Credit

CREDIT_MAX: Final = 2000  # messages that may be under way to one consumer, or wait here


class Wanted(NamedTuple):
    """A queue of the owner."""

    vhost: bytes
    queue: bytes
    number: int  # another queue of that name is not meant


class FarConsumer:
    """Created by an ``Owner``; when it is no longer ``attached``, no more messages arrive through
    it.
    """

    __slots__ = (
        "_most", "_passed_bytes", "_sizes", "_told", "_waiting", "attached", "id", "left",
        "noted", "out", "over", "passed", "received", "subscription", "wanted",
    )  # fmt: skip

    def __init__(self, id: int, wanted: Wanted, noted: object, subscription: Subscription) -> None:
        """``noted``: the object that stands for the queue in the channel's Unacked."""
        self.id = id
        self.wanted = wanted
        self.noted = noted
        self.subscription = subscription
        self.attached = True
        self.left = False  # the owner gives nothing more
        self.over = False  # cancelled: must not subscribe again
        self.received = FIRST  # the number of what comes next
        self.passed = FIRST  # numbers below have gone to the client
        self.out = 0  # of those, how many are not settled
        self._waiting: deque[Delivery] = deque()
        self._sizes: deque[tuple[int, int]] = deque()  # as they came: number after, bytes
        self._passed_bytes = 0  # since the owner was told
        self._told = self._most = FIRST + self._window()

    def __repr__(self) -> str:
        return f"<FarConsumer {self.id} of {self.wanted.queue!r}>"

    @property
    def waiting(self) -> int:
        """The number of received messages that the client has no room for yet."""
        return len(self._waiting)

    @property
    def below(self) -> int:
        """The message number below which the owner may send, as last told to it."""
        return self._told

    def room(self) -> int:
        """Return how many more messages the client can take; counted as for a local queue."""
        of = self.subscription
        room, of_channel = of.can_take(), of.channel.room()
        if of_channel <= 0:
            return 0
        if not of.no_ack:
            room = min(room, of_channel)
            if of.prefetch:
                room = min(room, of.prefetch - of.channel.unacked.of(of))
        return max(room, 0)

    def _window(self) -> int:
        return min(self.room(), CREDIT_MAX)

    # What comes

    def take(self, first: int, deliveries: Sequence[Delivery], size: int) -> None:
        """Take deliveries from a frame of ``size`` bytes. Raises BrokenProtocol."""
        if first != self.received:
            raise BrokenProtocol(f"message {first} of a consumer comes before {self.received}")
        self.received += len(deliveries)
        if self.received > self._most:
            raise BrokenProtocol(f"a consumer is given messages beyond {self._most}")
        self._waiting += deliveries
        self._sizes.append((self.received, size))

    def give(self, most: int) -> int:
        """Deliver up to ``most`` messages while there is room; return how many were delivered.

        The caller must settle messages that need no acknowledgement.
        """
        of, waiting, given = self.subscription, self._waiting, 0
        while waiting and given < most and self.attached:
            count = min(self.room(), len(waiting), most - given)
            if not count:
                break
            some = [waiting.popleft() for _ in range(count)]
            unacked = of.channel.unacked
            if of.no_ack:
                tag = unacked.pass_over(count)
            else:
                tag = unacked.add(self.noted, self.id, self.passed, count, of)
            self.passed += count
            self.out += count
            given += count
            of.push(tag, some)
        self._count_passed()
        return given

    def _count_passed(self) -> None:
        sizes = self._sizes
        while sizes and sizes[0][0] <= self.passed:
            self._passed_bytes += sizes.popleft()[1]

    def drop(self) -> int:
        """Discard received messages that the client has not seen; return how many."""
        count = len(self._waiting)
        self._waiting.clear()
        self._sizes.clear()
        self.passed = self.received
        return count

    # What the owner is told

    def credit(self) -> Credit | None:
        """Return the credit to send to the owner; None: the present one is still good enough."""
        below = self.passed + self._window()
        left, wanted = max(0, self._told - self.received), max(0, below - self.received)
        more = wanted > left and 2 * left <= wanted
        less = wanted < left and 2 * wanted <= left
        if not more and not less and 2 * self._passed_bytes < PASSED_BYTES:
            return None
        self._told, self._passed_bytes = below, 0
        self._most = max(self._most, below)
        return Credit(self.id, below, self.passed)
