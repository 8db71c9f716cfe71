"""Why operations on queues are refused. Each error has its facts; a protocol words them.

Refused
├── QueueRefused
│   ├── Locked              the queue is exclusive to another connection
│   ├── ReservedName        a new name that begins with "amq."
│   ├── QueueDiffers        declared again, with other properties
│   ├── InvalidQueueArgument
│   ├── Nameless            a quorum queue or stream without a name
│   ├── ConsumersThere      a deletion only if unused, and the queue has consumers
│   ├── NotEmpty            a deletion only if empty, and the queue is not
│   ├── ExclusiveUse        an exclusive consumer exists, or is requested beside others
│   ├── SingleActive        a fetch from a queue with a single active consumer
│   ├── InvalidConsumerArgument
│   ├── NotOfType           an argument that queues of this type do not have
│   ├── NoSuchStream        properties that a stream cannot have: not durable, for instance
│   ├── NoTopicForIt        a stream whose topic is impossible: an invalid name, for instance
│   ├── NotAmongNodes       an operation that queues shared by nodes do not have
│   ├── Replaced            another node had created a queue of this name before
│   ├── NotOfStreams        an operation that streams do not have
│   ├── NoGlobalQos         a stream's consumer on a channel with one limit for all
│   └── Unlimited           a stream's consumer without a prefetch count
├── RouteDiffers            the topic already feeds that exchange, with another key
├── TooManyRoutes
├── NoRoute                 the topic does not feed that exchange (a NoneOfThatName)
├── NoVhost                 no virtual host has that name (a NoneOfThatName)
├── DefaultVhost            the default virtual host cannot be deleted
├── InvalidExpiration       of a message: not a number of milliseconds
└── InvalidHeader           CC or BCC of a message is not an array of texts
"""

from typing import Any, Final

from logstore.broker.routing.arguments import Field
from logstore.errors import NoneOfThatName, Refused


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


class QueueRefused(Refused):
    """An operation on a queue that is not possible."""

    def __init__(self, queue: bytes, sentence: str) -> None:
        super().__init__(f"queue {_text(queue)!r} {sentence}")
        self.queue = queue


class Locked(QueueRefused):
    """Another connection's exclusive queue."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is exclusive to another connection; use that one")


class ReservedName(QueueRefused):
    """Names that begin with "amq." belong to the server."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "would begin with 'amq.', which is reserved; use another name")


Said = bool | Field | None  # a flag, an argument, or nothing


def _said(value: Said) -> str:
    if isinstance(value, Field):
        value = value.value
    return _text(value) if isinstance(value, bytes) else str(value).lower()


class QueueDiffers(QueueRefused):
    """The queue exists and differs from the declaration; contains the first difference."""

    def __init__(self, queue: bytes, argument: str, received: Said, current: Said) -> None:
        super().__init__(
            queue,
            f"already exists with {argument} {_said(current)}, not {_said(received)}; declare it "
            f"as it is, or delete it first",
        )
        self.argument, self.received, self.current = argument, received, current


# What to give in the place of an argument with this fault; ``limits.py`` has the rules.
_WANTED: Final = {
    "no_integer": "give an integer",
    "value_negative": "give a positive number",
    "value_zero": "give a positive number",
    "max_value_exceeded": "give an integer up to 255",
    "invalid_queue_type": "use classic, quorum or stream",
    "invalid_overflow": "use drop-head, reject-publish or reject-publish-dlx",
    "invalid_queue_mode": "use default or lazy",
    "invalid_dlx_strategy": "use at-most-once or at-least-once",
    "invalid_queue_locator_arg": "use client-local, balanced, random or least-leaders",
    "invalid_delayed_retry_type": "use disabled, all, failed or returned",
    "invalid_ordering_key": "use routing-key or header:NAME",
    "routing_key_but_no_dlx_defined": "give x-dead-letter-exchange, too",
    "ordering_prefetch_but_no_ordering_key": "give x-ordering-key, too",
}


class InvalidQueueArgument(QueueRefused):
    """An argument with an unsupported type or value. ``fault`` is RabbitMQ's text for it."""

    def __init__(self, queue: bytes, argument: bytes, received: Field, fault: str) -> None:
        super().__init__(
            queue,
            f"can't have {_text(argument)} {_said(received)}: {fault.replace('_', ' ')}; "
            f"{_WANTED.get(fault, 'correct the argument')}",
        )
        self.argument, self.received, self.fault = argument, received, fault


class Nameless(QueueRefused):
    """A quorum queue or stream needs a name from its creator: it outlives the connection."""

    def __init__(self, type_name: str) -> None:
        super().__init__(b"", f"is of the type {type_name}, which needs a name; give it one")
        self.type_name = type_name


class ConsumersThere(QueueRefused):
    """The queue has consumers, and should be deleted only without."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "has consumers; cancel them first")


class NotEmpty(QueueRefused):
    """The queue is not empty, and should be deleted only if it is."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is not empty; consume or purge it first")


class ExclusiveUse(QueueRefused):
    """An exclusive consumer would not be the only one."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is in exclusive use; cancel its consumers first")


class SingleActive(QueueRefused):
    """With a single active consumer, no other client may fetch messages."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "has a single active consumer; consume it instead of fetching")


class InvalidConsumerArgument(QueueRefused):
    """An invalid argument of a consumer. ``fault`` is RabbitMQ's text for it."""

    def __init__(self, queue: bytes, argument: bytes, received: Field, fault: str) -> None:
        super().__init__(
            queue,
            f"can't be consumed with {_text(argument)} {_said(received)}: "
            f"{fault.replace('_', ' ')}; correct the argument",
        )
        self.argument, self.received, self.fault = argument, received, fault


class NotOfType(QueueRefused):
    """An argument, of the queue or of a consumer, that has no meaning for this type."""

    def __init__(self, queue: bytes, argument: bytes, type_name: str) -> None:
        super().__init__(
            queue,
            f"can't have {_text(argument)}: queues of the type {type_name} do not have it; leave "
            f"it out",
        )
        self.argument, self.type_name = argument, type_name


class NoSuchStream(QueueRefused):
    """A stream must be durable, not exclusive, and not auto-deleted.

    ``given``: the invalid property, in RabbitMQ's words.
    """

    def __init__(self, queue: bytes, given: str) -> None:
        super().__init__(
            queue, f"is a stream and can't be {given}; declare it durable, and no more"
        )
        self.given = given


class NoTopicForIt(QueueRefused):
    """A stream is a topic with one partition, and no such topic can exist under this name."""

    def __init__(self, queue: bytes, why: str) -> None:
        super().__init__(queue, f"can't be a stream: {why}")
        self.why = why


class NotAmongNodes(QueueRefused):
    """The operation is not possible for a queue that several nodes share."""

    def __init__(self, queue: bytes, what: str) -> None:
        super().__init__(queue, f"is shared by the nodes of a cluster, which have no {what}")
        self.what = what


class Replaced(QueueRefused):
    """Published messages are lost, because another node's queue turned out to have the name."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "was created by another node at the same time; publish again")


class NotOfStreams(QueueRefused):
    """An operation of queues only: a stream's messages stay. ``act``: in AMQP's words."""

    def __init__(self, queue: bytes, act: str) -> None:
        super().__init__(
            queue, f"is a stream, which has no {act}: read its topic, or consume it by AMQP"
        )
        self.act = act


class NoGlobalQos(QueueRefused):
    """The limit of a stream's consumer applies to the consumer, not to the channel."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is a stream: limit its consumer, not all of the channel (qos)")


class Unlimited(QueueRefused):
    """A stream may have no end, so its consumer must set a prefetch count."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(
            queue, "is a stream, which is consumed with a prefetch count; set one first (qos)"
        )


class RouteDiffers(Refused):
    """A topic route to that exchange exists, with another key."""

    def __init__(self, topic: str, exchange: str, key: str) -> None:
        super().__init__(
            f"topic {topic!r} already feeds exchange {exchange!r}, with the key {key!r}; remove "
            f"that route first"
        )
        self.topic, self.exchange, self.key = topic, exchange, key


class TooManyRoutes(Refused):
    """The maximum number of topic routes in a process is reached."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} topic routes, which is the maximum; remove one first")


class NoRoute(NoneOfThatName):
    """The topic does not feed that exchange."""

    def __init__(self, topic: str, exchange: str) -> None:
        super().__init__(f"topic {topic!r} does not feed exchange {exchange!r}", topic)
        self.topic, self.exchange = topic, exchange


class NoVhost(NoneOfThatName):
    """No virtual host has that name."""

    def __init__(self, vhost: bytes) -> None:
        super().__init__(f"no virtual host {_text(vhost)!r}; use an existing one", _text(vhost))
        self.vhost = vhost


class DefaultVhost(Refused):
    """The default virtual host cannot be deleted, because clients use it if they name no other."""

    def __init__(self) -> None:
        super().__init__("the default virtual host stays; delete its queues and exchanges instead")


class InvalidExpiration(Refused):
    """A message's expiration must be a decimal number of milliseconds, as text."""

    def __init__(self, text: bytes, fault: str) -> None:
        super().__init__(
            f"invalid expiration {_text(text)!r}; expected milliseconds, at most ten years"
        )
        self.text, self.fault = text, fault


class InvalidHeader(Refused):
    """The headers CC and BCC must be arrays of texts."""

    def __init__(self, header: bytes, received: Any) -> None:  # noqa: ANN401  what a table holds
        super().__init__(f"invalid header {_text(header)}; expected an array of longstr")
        self.header, self.received = header, received
