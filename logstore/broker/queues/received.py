"""Messages that users of the library receive from queues, and their consumers.

Deliveries reach a consumer in a turn, and wait there until the user asks for them; each counts as
delivered and unacknowledged from the moment of its arrival.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, Self, TypeVar

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.broker.queues.message import COUNT_HEADER, Delivery
from logstore.broker.queues.named import Named
from logstore.broker.queues.unacked import Delivered, Unacked
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.arguments import NO_ARGUMENTS
from logstore.errors import Closed, Refused

_T = TypeVar("_T")

# Of bodies that wait in one consumer, beside the last that came: large ones are not gathered by the
# hundred only because the prefetch count says so.
WAITING_BYTES_MAX: Final = 32 << 20
MANY: Final = 1 << 30  # messages: no prefetch count is larger

Group = Delivered[Any, Any]


class Desk(Protocol):
    """Where calls are made: in the thread of the model. From any thread."""

    @property
    def home(self) -> object:
        """The store's queues, in all virtual hosts."""

    def do(self, call: Callable[[Vhost], _T]) -> _T:
        """Make a call in the model, and end the turn. Raises its errors; Closed, ReadOnly."""

    def run(self, call: Callable[[], _T]) -> _T:
        """As ``do``, without a virtual host, which may already be deleted."""

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Return whether it is ready, once it is or the time is over. Raises Closed, Forked.

        ``ready`` is called in the model: immediately, and after each ``poke``.
        """

    def poke(self) -> None:
        """Wake all waiting calls: something has happened. From any thread."""


class Hands:
    """The unsettled messages of the library's users: a ``Channel`` without a client."""

    name = "in the server's process"
    whose = None

    def __init__(self) -> None:
        self.unacked: Unacked[Named, Any] = Unacked()

    def room(self) -> int:
        """As Channel.room."""
        return MANY


class QueueMessage:
    """One message of a queue, held by the receiver until it is settled. Thread-safe."""

    __slots__ = ("_delivery", "_desk", "_hands", "_properties", "_tag", "queue")

    def __init__(self, queue: str, delivery: Delivery, tag: int, hands: Hands, desk: Desk) -> None:
        self.queue = queue
        self._delivery = delivery
        self._tag = tag
        self._hands = hands
        self._desk = desk
        self._properties: Properties | None = None

    def __repr__(self) -> str:
        return f"<QueueMessage of {self.queue!r}, {len(self.body)} bytes>"

    @property
    def body(self) -> bytes:
        return self._delivery.body

    @property
    def exchange(self) -> str:
        """The exchange to which the message was published; empty: the default exchange."""
        return fields.text(self._delivery.exchange)

    @property
    def key(self) -> str:
        """The routing key."""
        return fields.text(self._delivery.key)

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return self._delivery.redelivered

    @property
    def properties(self) -> Properties:
        """All properties; those that were not given are None."""
        if self._properties is None:
            self._properties = properties.read(self._delivery.properties)
        return self._properties

    @property
    def headers(self) -> dict[str, Any]:
        """The message's headers; x-death of a dead letter, x-delivery-count of a failed one."""
        return self.properties.headers or {}

    @property
    def delivery_count(self) -> int:
        """The number of times that it was returned as failed."""
        return int(self.headers.get(COUNT_HEADER, 0))

    @property
    def store(self) -> object:
        """The store's queues."""
        return self._desk.home

    def unsettled(self) -> Group:
        """The message's place, within the model. Raises Refused if it was settled before."""
        group = self._hands.unacked.find(self._tag)
        if group is None:
            raise self._settled()
        return group

    def taken(self) -> None:
        """As ``unsettled``; the message is then no longer held."""
        self._hands.unacked.ack(self._tag)

    def _settled(self) -> Refused:
        return Refused(
            f"a message of queue {self.queue!r} was settled or given back before; "
            f"settle each once, while its consumer is open"
        )

    def ack(self) -> None:
        """Acknowledge the message. Not yet synced on return, but when the store is closed.

        Raises Refused if the message was already settled or returned.
        """
        settle([self], done)

    def nack(self, *, requeue: bool = True) -> None:
        """Return the message as failed: it is ready again at its own place, or rejected without
        requeue.

        Each return counts towards the queue's x-delivery-limit. Raises as ``ack``.
        """
        if requeue:
            settle([self], failed)
        else:
            self.reject()

    def reject(self) -> None:
        """Reject the message: it goes to the queue's dead-letter exchange, if any. As ``ack``."""
        settle([self], rejected)


def settle(messages: Iterable[QueueMessage], call: Callable[[Group], None]) -> None:
    """Settle all of these messages in one turn, up to the first that is no longer held.

    Raises Refused for that one.
    """
    messages = list(messages)
    if messages:
        messages[0]._desk.run(lambda: settle_now(messages, call))


def settle_now(messages: Sequence[QueueMessage], call: Callable[[Group], None]) -> None:
    """As ``settle``, within the model."""
    for message in messages:
        group = message._hands.unacked.ack(message._tag)
        if group is None:
            raise message._settled()
        call(group)


def done(group: Group) -> None:
    """As QueueMessage.ack."""
    group.queue.settle(group)


def failed(group: Group) -> None:
    """As QueueMessage.nack."""
    group.queue.release(group)


def rejected(group: Group) -> None:
    """As QueueMessage.reject."""
    group.queue.reject(group)


def untouched(group: Group) -> None:
    """Return a message that was not seen to its place, without counting a failure."""
    group.queue.release(group, failed=False)


def cancelled(queue: str) -> Refused:
    """Return the error of a consumer that was ended by another client or the server."""
    return Refused(
        f"queue {queue!r} has cancelled its consumer: it was deleted, or a message was held for "
        f"longer than x-consumer-timeout; consume it again"
    )


class QueueConsumer:
    """Messages of one queue, in order; iterating waits for the next one.

    Several threads may use it at once. It holds at most ``prefetch`` unsettled messages, including
    those that were not returned yet. A ``Subscription``.
    """

    no_ack = False
    timeout_ms: int | None = None
    tag = b""
    arguments = NO_ARGUMENTS

    def __init__(
        self, queue: str, desk: Desk, prefetch: int, priority: int, *, exclusive: bool
    ) -> None:
        self.channel = Hands()
        self.prefetch, self.priority, self.exclusive = prefetch, priority, exclusive
        self._name = queue
        self._desk = desk
        self._queue: Named | None = None
        self._came: deque[tuple[int, Delivery]] = deque()
        self._came_bytes = 0
        self._handed = 0  # the last tag that was handed out: these count as failed if given back
        self._cancelled = self._closed = False

    def __repr__(self) -> str:
        return f"<QueueConsumer of {self._name!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What its queue calls, in the turn

    def begin(self, queue: Named) -> None:
        """Subscribe. Raises NotOfStreams, because the library uses a stream's topic; Closed."""
        self._check_open()  # it may have been closed before
        queue.plain("consumers in the library").subscribe(self)
        self._queue = queue

    def can_take(self) -> int:
        """As Subscription.can_take."""
        return 0 if self._came_bytes >= WAITING_BYTES_MAX else MANY

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """As Subscription.push."""
        self._came.extend(enumerate(deliveries, tag))
        self._came_bytes += sum(len(it.body) for it in deliveries)
        self._desk.poke()

    def cancelled(self) -> None:
        """As Subscription.cancelled."""
        self._cancelled = True
        self._came.clear()
        self._came_bytes = 0
        self._desk.poke()

    # What users call

    def __iter__(self) -> Iterator[QueueMessage]:
        """Iterate until the consumer is closed, here or elsewhere. Raises Refused as ``get``."""
        while True:
            try:
                message = self.get()
            except Closed:
                return
            if message is not None:
                yield message

    def get(self, timeout_s: float | None = None) -> QueueMessage | None:
        """The next message; None if none arrives in time.

        Raises Closed; Refused if the queue was deleted or has taken its messages back.
        """
        found = self.get_many(1, timeout_s)
        return found[0] if found else None

    def get_many(self, most: int, timeout_s: float | None = None) -> list[QueueMessage]:
        """The next messages, at least one; an empty list if none arrives in time. Raises as
        ``get``.
        """
        if most < 1:
            raise ValueError(f"{most} messages: must be 1 or more")
        found: list[QueueMessage] = []

        def ready() -> bool:
            taken = self.take(most)
            found.extend(taken or ())
            return taken is not None

        self._desk.wait(ready, timeout_s)
        return found

    def take(self, most: int) -> list[QueueMessage] | None:
        """As ``get_many`` within the model, without waiting: None if there are none."""
        if self._came:
            return list(self._take(most))
        self._check_open()
        if self._cancelled:
            raise cancelled(self._name)
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the consumer of queue {self._name!r} is closed")

    def _take(self, most: int) -> Iterator[QueueMessage]:
        full = self._came_bytes >= WAITING_BYTES_MAX
        while self._came and most > 0:
            tag, delivery = self._came.popleft()
            self._came_bytes -= len(delivery.body)
            self._handed = tag
            most -= 1
            yield QueueMessage(self._name, delivery, tag, self.channel, self._desk)
        if full and self._came_bytes < WAITING_BYTES_MAX and self._queue is not None:
            self._queue.wake()

    def ack(self, messages: Iterable[QueueMessage]) -> None:
        """Acknowledge all of these messages at the cost of one."""
        settle(messages, done)

    def close(self) -> None:
        """Stop consuming. Unsettled messages are ready again, at their own places.

        Messages that were returned to the caller count towards x-delivery-limit; others do not.
        """
        if not self._closed:
            self._desk.run(self.end)

    def end(self) -> None:
        """As ``close``, within the model."""
        if self._closed or self._queue is None:
            self._closed = True
            return
        self._closed = True
        self._came.clear()
        self._desk.poke()
        unacked = self.channel.unacked
        handed = unacked.take_upto(self._handed) if self._handed else []
        self._queue.unsubscribe(self)
        for group in handed:
            group.queue.release(group)
        for group in unacked.drain():
            group.queue.release(group, failed=False)
