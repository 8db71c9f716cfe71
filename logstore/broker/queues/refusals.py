"""Why queues are refused. Each error carries its facts: a protocol words them.

Refused
├── QueueRefused
│   ├── Locked              it is exclusive, and another connection's
│   ├── ReservedName        a new name that begins with "amq."
│   ├── QueueDiffers        declared again, otherwise than it is
│   ├── InvalidQueueArgument
│   ├── Nameless            a quorum queue or stream that the server is to name
│   ├── ConsumersThere      to be deleted only if unused, and it has consumers
│   ├── NotEmpty            to be deleted only if empty
│   ├── ExclusiveUse        a consumer has it for itself, or wants it and others are there
│   ├── SingleActive        fetched from, and has a single active consumer
│   ├── InvalidConsumerArgument
│   ├── NotOfType           an argument that queues of this type do not have
│   ├── NoSuchStream        declared otherwise than a stream can be: not durable, for instance
│   ├── NoTopicForIt        a stream whose topic can't be had: its name is none, for instance
│   ├── NotAmongNodes       a queue of several nodes, and asked for what only one of one node does
│   ├── Replaced            another node had made one of its name before
│   ├── NotOfStreams        a stream, and asked for what only a queue does
│   ├── NoGlobalQos         a stream's consumer on a channel with one limit for all
│   └── Unlimited           a stream's consumer without a prefetch count
├── RouteDiffers            the topic feeds that exchange already, otherwise
├── TooManyRoutes
├── NoRoute                 the topic does not feed that exchange (a NoneOfThatName)
├── NoVhost                 no virtual host has that name (a NoneOfThatName)
├── DefaultVhost            the default virtual host is not to be deleted
├── InvalidExpiration       of a message: not a number of milliseconds
└── InvalidHeader           CC or BCC of a message is no array of texts
"""

from typing import Any, Final

from logstore.broker.routing.arguments import Field
from logstore.errors import NoneOfThatName, Refused


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


class QueueRefused(Refused):
    """Something that can't be done with a queue."""

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
    """The queue exists, and differs; the first difference."""

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
    """An argument whose type or value means nothing. ``fault`` is RabbitMQ's word for it."""

    def __init__(self, queue: bytes, argument: bytes, received: Field, fault: str) -> None:
        super().__init__(
            queue,
            f"can't have {_text(argument)} {_said(received)}: {fault.replace('_', ' ')}; "
            f"{_WANTED.get(fault, 'correct the argument')}",
        )
        self.argument, self.received, self.fault = argument, received, fault


class Nameless(QueueRefused):
    """A quorum queue, or a stream, is named by whoever declares it: it is to outlive him."""

    def __init__(self, type_name: str) -> None:
        super().__init__(b"", f"is of the type {type_name}, which needs a name; give it one")
        self.type_name = type_name


class ConsumersThere(QueueRefused):
    """It was to be deleted only if nobody consumes it."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "has consumers; cancel them first")


class NotEmpty(QueueRefused):
    """It was to be deleted only if it is empty."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is not empty; consume or purge it first")


class ExclusiveUse(QueueRefused):
    """A consumer that is to be alone would not be."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is in exclusive use; cancel its consumers first")


class SingleActive(QueueRefused):
    """With a single active consumer nobody else may fetch messages."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "has a single active consumer; consume it instead of fetching")


class InvalidConsumerArgument(QueueRefused):
    """An argument of a consumer that means nothing. ``fault`` is RabbitMQ's word for it."""

    def __init__(self, queue: bytes, argument: bytes, received: Field, fault: str) -> None:
        super().__init__(
            queue,
            f"can't be consumed with {_text(argument)} {_said(received)}: "
            f"{fault.replace('_', ' ')}; correct the argument",
        )
        self.argument, self.received, self.fault = argument, received, fault


class NotOfType(QueueRefused):
    """An argument, of the queue or of a consumer, that would mean nothing with this type."""

    def __init__(self, queue: bytes, argument: bytes, type_name: str) -> None:
        super().__init__(
            queue,
            f"can't have {_text(argument)}: queues of the type {type_name} do not have it; leave "
            f"it out",
        )
        self.argument, self.type_name = argument, type_name


class NoSuchStream(QueueRefused):
    """A stream is durable, nobody's own, and there until it is deleted.

    ``given``: what it was to be, as RabbitMQ says it.
    """

    def __init__(self, queue: bytes, given: str) -> None:
        super().__init__(
            queue, f"is a stream and can't be {given}; declare it durable, and no more"
        )
        self.given = given


class NoTopicForIt(QueueRefused):
    """A stream is a topic with one partition, and this name has none, and gets none."""

    def __init__(self, queue: bytes, why: str) -> None:
        super().__init__(queue, f"can't be a stream: {why}")
        self.why = why


class NotAmongNodes(QueueRefused):
    """What can't be had of a queue that several nodes share."""

    def __init__(self, queue: bytes, what: str) -> None:
        super().__init__(queue, f"is shared by the nodes of a cluster, which have no {what}")
        self.what = what


class Replaced(QueueRefused):
    """What was published to it before anybody knew that another node's queue has its name."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "was created by another node at the same time; publish again")


class NotOfStreams(QueueRefused):
    """What a stream has stays there for everybody. ``act``: what was asked for, in AMQP's words."""

    def __init__(self, queue: bytes, act: str) -> None:
        super().__init__(
            queue, f"is a stream, which has no {act}: read its topic, or consume it by AMQP"
        )
        self.act = act


class NoGlobalQos(QueueRefused):
    """How much is given of a stream goes by its consumer, not by the channel."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(queue, "is a stream: limit its consumer, not all of the channel (qos)")


class Unlimited(QueueRefused):
    """What a stream has may be without end: a consumer says how much it takes at once."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(
            queue, "is a stream, which is consumed with a prefetch count; set one first (qos)"
        )


class RouteDiffers(Refused):
    """A topic route to that exchange exists, and makes other keys."""

    def __init__(self, topic: str, exchange: str, key: str) -> None:
        super().__init__(
            f"topic {topic!r} already feeds exchange {exchange!r}, with the key {key!r}; remove "
            f"that route first"
        )
        self.topic, self.exchange, self.key = topic, exchange, key


class TooManyRoutes(Refused):
    """There are as many topic routes as a process carries."""

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
    """It is where everybody is who names no other."""

    def __init__(self) -> None:
        super().__init__("the default virtual host stays; delete its queues and exchanges instead")


class InvalidExpiration(Refused):
    """A message's expiration is a decimal number of milliseconds, as text."""

    def __init__(self, text: bytes, fault: str) -> None:
        super().__init__(
            f"invalid expiration {_text(text)!r}; expected milliseconds, at most ten years"
        )
        self.text, self.fault = text, fault


class InvalidHeader(Refused):
    """The headers CC and BCC are arrays of texts."""

    def __init__(self, header: bytes, received: Any) -> None:  # noqa: ANN401  what a table holds
        super().__init__(f"invalid header {_text(header)}; expected an array of longstr")
        self.header, self.received = header, received
