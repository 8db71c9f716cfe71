"""Interim: the signatures that doors build against, until the modules named here stand.

All of it is for the sessions' thread. Names, keys, tags: bytes as they came.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.errors import LogstoreError, Refused
from logstore.log import Wake

# queues/message.py --------------------------------------------------------------------------------


class Message(NamedTuple):
    exchange: bytes
    key: bytes
    properties: bytes  # flags and list of its content header, as they came; CC and BCC still in
    body: bytes  # or a memoryview, valid until ``publish`` returns


class Delivery(NamedTuple):
    exchange: bytes
    key: bytes
    properties: bytes  # as the consumer sees them: BCC gone; x-delivery-count put in if above 0
    body: bytes
    redelivered: bool


class Got(NamedTuple):
    """What basic.get gave."""

    tag: int  # within the channel
    delivery: Delivery
    ready: int  # how many are left


# queues/pending.py --------------------------------------------------------------------------------


class Pending(Protocol):
    """A change that is to become durable; as Keeping, but several may wait for it."""

    done: bool
    error: LogstoreError | None

    def then(self, call: Callable[["Pending"], None]) -> None: ...  # at once where it is done


class Waiting(Protocol):
    """All that a run of messages waits for: appends, parked ones, declarations that are not kept.

    ``failed``: why some of it never will be safe; it is settled then.
    """

    failed: LogstoreError | None

    def settled(self) -> bool: ...
    def watch(self, wake: Wake) -> None: ...  # from any thread: look again; also has it synced soon
    def close(self) -> None: ...  # nobody waits any more


# queues/refusals.py (beside routing/refusals.py: NoExchange, NoQueue, InternalExchange, Inequivalent,
# InvalidArgument(argument, received: Field, expected) and so on, which are raised as they are) --------


class QueueRefused(Refused):
    queue: bytes


class Locked(QueueRefused): ...  # 405: exclusive, of another connection


class ReservedName(QueueRefused): ...  # 403: begins with "amq."


class QueueInequivalent(QueueRefused):
    argument: str
    received: Field | bool | None
    current: Field | bool | None


class ConsumersThere(QueueRefused): ...  # if-unused


class NotEmpty(QueueRefused): ...  # if-empty


class ExclusiveUse(QueueRefused): ...  # 403: basic.consume, "in exclusive use"


class SingleActive(QueueRefused): ...  # 405: basic.get on x-single-active-consumer


class InvalidExpiration(Refused):
    text: bytes


class InvalidHeader(Refused):  # CC or BCC is no array of longstr
    header: bytes
    received: Any


# queues/subscription.py ---------------------------------------------------------------------------


class Channel(Protocol):
    unacked: Any  # Unacked[Queue, Subscription | None]

    def room(self) -> int:
        """By the channel-wide prefetch, less what is unacked; large when there is none."""


class Subscription(Protocol):
    """Made by the door or the library; has the identity of a plain object."""

    tag: bytes
    channel: Channel
    no_ack: bool
    exclusive: bool
    priority: int
    prefetch: int  # 0: no limit
    timeout_ms: int | None  # x-consumer-timeout of its arguments

    def can_take(self) -> int:
        """How many it takes now, by its socket alone; 0 while its peer does not read."""

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """Delivery tags follow each other from ``tag`` on; they are in ``unacked`` already."""

    def cancelled(self) -> None:
        """The queue is gone, or the consumer took too long: nothing more comes."""


# queues/queue.py ----------------------------------------------------------------------------------


class QueueFacts(NamedTuple):
    name: bytes
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Arguments = NO_ARGUMENTS


class Queue(Protocol):
    id: int
    facts: QueueFacts
    ready: int  # right only once ``when_open`` has called
    out: int
    subscriptions: Sequence[Subscription]
    owner: object | None  # the connection that an exclusive queue is of
    failed: LogstoreError | None  # its logs can't be read: all but delete raises this

    def when_open(self, call: Callable[[], None]) -> None:
        """Call once its counts are known (declare-ok); at once, as a rule. Also when it failed."""

    def get(self, channel: Channel, no_ack: bool, then: Callable[[Got | None], None]) -> None:
        """basic.get. ``then`` is called at once, as a rule. Raises SingleActive."""

    def subscribe(self, subscription: Subscription) -> None:
        """Raises ExclusiveUse."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """What it has unacked stays out. The queue may go (auto-delete)."""

    def wake(self) -> None:
        """A consumer may take more: its socket is free, its channel has more room (a changed
        prefetch; acks of other queues' messages under a channel-wide one)."""

    def purge(self, then: Callable[[int], None]) -> None: ...

    # As ``Unacked`` gives them; each Delivered says its queue: it.queue.settle(it)
    def settle(self, delivered: Any) -> None: ...
    def release(self, delivered: Any, *, failed: bool = True) -> None: ...  # requeue
    def reject(self, delivered: Any) -> None: ...  # not requeued: dead letter


# queues/vhost.py ----------------------------------------------------------------------------------


class Published(NamedTuple):
    unrouted: Sequence[int]  # numbers within the run that no queue took: mandatory -> Return
    rejected: Sequence[int]  # numbers that a queue refused (reject-publish, a full disk): nack
    waiting: Waiting


class Vhost(Protocol):
    name: bytes
    topology: Any  # Topology[Queue]: to be read

    def route(self, message: Message) -> tuple[Queue, ...]:
        """Raises NoExchange, InternalExchange, InvalidExpiration, InvalidHeader."""

    def publish(self, run: Sequence[tuple[tuple[Queue, ...], Message]]) -> Published: ...
    def declare_exchange(self, facts: ExchangeFacts) -> Pending | None: ...
    def delete_exchange(self, name: bytes, *, if_unused: bool = False) -> Pending | None: ...
    def bind(self, binding: Binding, owner: object | None = None) -> Pending | None: ...
    def unbind(self, binding: Binding, owner: object | None = None) -> Pending | None: ...
    def declare_queue(
        self, facts: QueueFacts, owner: object | None = None
    ) -> tuple[Queue, Pending | None]:
        """Name b"": a new name is made (amq.gen-...)."""

    def queue(self, name: bytes, owner: object | None = None) -> Queue:
        """Passive declare, get, consume, purge... Raises NoQueue, Locked. Counts as use (x-expires)
        only through what is done with it."""

    def delete_queue(
        self, queue: Queue, *, if_unused: bool = False, if_empty: bool = False
    ) -> tuple[int, Pending | None]:
        """How many ready messages it had. Raises ConsumersThere, NotEmpty."""

    def owner_gone(self, owner: object) -> None:
        """Its exclusive queues are gone when this returns."""


class Queues(Protocol):
    vhosts: Mapping[bytes, Vhost]
    crowded: bool  # too much is parked for lanes that are being opened: stop reading publishes

    def deadline_ms(self) -> int | None: ...
    def tick(self, now_ms: int) -> None: ...
    def journaled(self, queues: Iterable[Queue]) -> Waiting: ...  # tx.commit: acks so far are safe
    def close(self) -> None: ...
