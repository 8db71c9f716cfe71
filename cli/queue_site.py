"""What the commands need of wherever queues are: a store in this process, a server of another one.

``local_queues.LocalQueues`` is the one, ``served.queues.ServedQueues`` the other. Every method
raises LogstoreError alone.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from logstore.amqp.properties import Properties

from .site import Sink

Table = Mapping[str, Any]


class QueueRow(NamedTuple):
    """A queue and how many messages it has."""

    name: str
    ready: int
    unacked: int
    consumers: int


class ExchangeRow(NamedTuple):
    name: str
    type: str
    bindings: int


class BindingFacts(NamedTuple):
    """By which messages of an exchange go to a queue or another exchange."""

    source: str
    destination: str
    kind: str  # of the destination
    key: str
    arguments: Table


class QueueAbout(NamedTuple):
    """All of one queue."""

    durable: bool
    auto_delete: bool
    arguments: Table
    counts: QueueRow
    bindings: Sequence[BindingFacts]
    policy: str | None = None  # the policy in effect
    topic: str | None = None  # of a stream: what it is


class ExchangeAbout(NamedTuple):
    """All of one exchange; ``bindings``: those from it."""

    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Table
    bindings: Sequence[BindingFacts]


class Shown(Protocol):
    """One message of a queue."""

    @property
    def queue(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def properties(self) -> "Properties": ...
    @property
    def headers(self) -> dict[str, Any]: ...
    @property
    def body(self) -> bytes: ...


class Message(Shown, Protocol):
    """One that is given out."""

    def ack(self) -> None:
        """Acknowledge the message."""

    def reject(self) -> None:
        """Reject the message: it goes to the queue's dead-letter exchange, if there is one."""


class Peeked(Shown, Protocol):
    """One that was looked at."""

    @property
    def position(self) -> str:
        """The message's position in the queue."""

    @property
    def state(self) -> str:
        """Whether the message is ready or unacked."""

    @property
    def time_ms(self) -> int:
        """When the message was published, in ms."""


class Peek(NamedTuple):
    """Some messages of a queue; ``following``: where to go on, if there are more."""

    messages: Sequence[Peeked]
    damaged: Sequence[str]  # positions of what can't be read
    following: str | None


class Past(NamedTuple):
    """Which messages of a queue's past are meant, and in what order."""

    first: str | None = None  # a position
    upto: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    only: str = "all"
    headers: tuple[tuple[str, str], ...] = ()
    order: str = "time"


class PastPage(NamedTuple):
    """Some of them; ``on``: where to go on, if there may be more; by position ``following``."""

    messages: Sequence[Peeked]
    damaged: Sequence[str]  # what is wrong
    on: str | None
    following: str | None = None
    next_ms: int | None = None  # when the next one was published, if that is known


class Replayed(NamedTuple):
    """What became of some of them that were to be published again."""

    replayed: int
    unrouted: int
    on: str | None
    next_ms: int | None
    error: str | None = None  # why no more were


class Consumer(Protocol):
    """Messages of one queue as they come."""

    def get_many(self, most: int, timeout_s: float) -> Sequence[Message]:
        """The next messages; empty if none arrives in time."""

    def ack(self, messages: Sequence[Any]) -> None:
        """Acknowledge the next messages, in the order in which they were returned."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Return messages that were not acknowledged to the queue."""


class QueueSink(Sink, Protocol):
    """A ``Sink`` whose messages go into an exchange."""

    @property
    def unrouted(self) -> int:
        """The number of messages that matched no queue."""


class QueueSite(Protocol):
    """The exchanges and queues of one virtual host."""

    def declare_exchange(
        self, name: str, type_name: str, *, durable: bool, auto_delete: bool, internal: bool,
        arguments: Table,
    ) -> None: ...  # fmt: skip
    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, arguments: Table
    ) -> str:
        """Declare a queue; returns its name, which is generated if none was given."""

    def exchanges(self) -> Sequence[ExchangeRow]: ...
    def queues(self) -> Sequence[QueueRow]: ...
    def exchange(self, name: str) -> ExchangeAbout:
        """Raises NoExchange."""

    def queue(self, name: str) -> QueueAbout:
        """Raises NoQueue."""

    def ready(self, queue: str) -> int:
        """The number of ready messages. Raises NoQueue."""

    def check_topic(self, name: str) -> None:
        """Check that the topic exists. Raises UnknownTopic, or NoneOfThatName."""

    def bind(self, binding: BindingFacts) -> None:
        """Bind a queue or an exchange. Raises NoExchange, NoQueue, NotPermitted,
        InvalidArgument.
        """

    def unbind(self, binding: BindingFacts) -> None:
        """Delete a binding; has no effect if it does not exist. Raises as ``bind``."""

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """Delete an exchange. Raises NoExchange, InUse, NotPermitted."""

    def delete_queue(self, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """Delete a queue; returns its number of ready messages. Raises NoQueue, ConsumersThere,
        NotEmpty.
        """

    def purge(self, queue: str) -> int:
        """Purge a queue; returns its number of ready messages. Raises NoQueue."""

    def sink(self, exchange: str, properties: dict[str, Any]) -> QueueSink:
        """A sink that publishes to the exchange. Raises NoExchange."""

    def peek(self, queue: str, begin: str | None, most: int) -> Peek:
        """Browse messages from this position on without taking any. Raises NoQueue."""

    def past(
        self, queue: str, past: Past, on: str | None, most: int, before_ms: int | None = None
    ) -> PastPage:
        """Browse messages on disk, settled or not, without taking any.

        ``before_ms``: stop before the first message published at or after this time. Raises
        NoQueue.
        """

    def topic(self, name: str) -> bool:
        """Create a topic if it does not exist; returns whether it was created."""

    def replay(
        self,
        queue: str,
        into: str,
        key: str | None,
        past: Past,
        on: str | None,
        before_ms: int | None,
    ) -> Replayed:
        """Publish some messages again; they are safe on return.

        Stops before messages published at or after ``before_ms``. Raises NoQueue, NoExchange,
        UnknownTopic.
        """

    def get(self, queue: str) -> Message | None:
        """Take the first ready message. Raises NoQueue, SingleActive."""

    def consume(self, queue: str, prefetch: int) -> Consumer:
        """Consume from a queue. Raises NoQueue, ExclusiveUse."""
