"""Why exchanges and bindings are refused. Each error has its facts; a protocol words them.

Refused
├── NoExchange              no exchange has that name
├── NoQueue                 no queue has that name
├── NotPermitted            the default exchange, or a predefined one, cannot be changed
├── Reserved                a new name that begins with "amq."
├── InUse                   a deletion only if unused, and the exchange has bindings
├── Inequivalent            declared again, with other properties
├── UnknownType             no exchange type has that name
├── InternalExchange        accepts messages only from other exchanges
├── InvalidArgument         an argument with an unsupported type or value
├── ConflictingArguments    two arguments that exclude each other
├── NotASource              nothing can be bound from an exchange that leads to a topic or channel
├── Circular                messages of a topic would return to it
├── InvalidWeight           a consistent hash's binding key that is not a weight
├── NoDelayedType           an x-delayed-message without a type that routes due messages
├── NoCacheSize             an x-message-deduplication without a bound on what it remembers
└── InvalidDelay            a delay of more than ten years
"""

from collections.abc import Sequence

from logstore.broker.routing.arguments import Field
from logstore.config import nearest
from logstore.errors import Refused


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


class NoExchange(Refused):
    """No exchange has that name."""

    def __init__(self, exchange: bytes) -> None:
        super().__init__(f"no exchange {_text(exchange)!r}; declare it first")
        self.exchange = exchange


class NoQueue(Refused):
    """No queue has that name."""

    def __init__(self, queue: bytes) -> None:
        super().__init__(f"no queue {_text(queue)!r}; declare it first")
        self.queue = queue


class NotPermitted(Refused):
    """The default exchange accepts no bindings; it and predefined ones cannot be changed."""

    def __init__(self, exchange: bytes) -> None:
        name = f"exchange {_text(exchange)!r}" if exchange else "the default exchange"
        super().__init__(f"{name} is predefined and cannot be changed; use one of your own")
        self.exchange = exchange


class Reserved(Refused):
    """Names that begin with "amq." belong to the server."""

    def __init__(self, exchange: bytes) -> None:
        super().__init__(
            f"exchange name {_text(exchange)!r} begins with 'amq.', which is reserved; use another"
        )
        self.exchange = exchange


class InUse(Refused):
    """The exchange has bindings, and should be deleted only without."""

    def __init__(self, exchange: bytes) -> None:
        super().__init__(f"exchange {_text(exchange)!r} has bindings; remove them first")
        self.exchange = exchange


Said = str | bool | Field | None  # of an exchange: its type, a flag, an argument, or nothing


class Inequivalent(Refused):
    """The exchange exists and differs from the declaration; contains the first difference."""

    def __init__(self, exchange: bytes, argument: str, received: Said, current: Said) -> None:
        super().__init__(
            f"exchange {_text(exchange)!r} already exists with {argument} {_said(current)}, not "
            f"{_said(received)}; declare it as it is, or delete it first"
        )
        self.exchange, self.argument = exchange, argument
        self.received, self.current = received, current


def _said(value: Said) -> str:
    if isinstance(value, Field):
        value = value.value
    return _text(value) if isinstance(value, bytes) else str(value).lower()


class UnknownType(Refused):
    """No type of exchange has that name, built in or installed."""

    def __init__(self, type_name: str, known: Sequence[str] = ()) -> None:
        """``known``: the existing types, if the error is to name them."""
        near = nearest(type_name[:100], known)
        types = f"use one of {', '.join(known)}, or install" if known else "install"
        super().__init__(
            f"unknown exchange type {type_name[:100]!r}{near}; {types} the package that has it"
        )
        self.type_name = type_name


class InternalExchange(Refused):
    """Only other exchanges may send it messages."""

    def __init__(self, exchange: bytes) -> None:
        super().__init__(
            f"exchange {_text(exchange)!r} is internal; publish to one that is bound to it"
        )
        self.exchange = exchange


class InvalidArgument(Refused):
    """An argument with an unsupported type or value."""

    def __init__(self, argument: bytes, received: Field, expected: str) -> None:
        super().__init__(f"invalid {_text(argument)} {_said(received)!r}; expected {expected}")
        self.argument, self.received, self.expected = argument, received, expected


class NotASource(Refused):
    """The exchange leads to a topic or a channel, so nothing can be bound from it."""

    def __init__(self, exchange: bytes) -> None:
        super().__init__(
            f"exchange {_text(exchange)!r} leads to a topic or a channel alone: bind from one that "
            f"is bound to it"
        )
        self.exchange = exchange


class Circular(Refused):
    """The change would make messages of a topic return to it again and again."""

    def __init__(self, way: Sequence[str]) -> None:
        """``way``: the nodes of the circle; the last is the first."""
        shown = " -> ".join(way)
        super().__init__(f"this would make a circle: {shown}; remove one of these first")
        self.way = tuple(way)


class ConflictingArguments(Refused):
    """Two arguments that exclude each other."""

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__(f"{_text(first)} and {_text(second)} exclude each other; give one of them")
        self.first, self.second = first, second


class InvalidWeight(Refused):
    """The routing key of a binding to a consistent-hash exchange is not a weight."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"invalid weight {_text(key)!r}; the binding key is an integer from 1")
        self.key = key


class NoDelayedType(Refused):
    """An x-delayed-message exchange without the type that routes messages when they are due."""

    def __init__(self) -> None:
        super().__init__(
            "an x-delayed-message needs the argument x-delayed-type; give it the name of a type "
            "that routes: direct, topic, fanout, headers"
        )


class NoCacheSize(Refused):
    """An x-message-deduplication exchange without the maximum number of remembered ids."""

    def __init__(self) -> None:
        super().__init__(
            "an x-message-deduplication needs the argument x-cache-size; give it an integer from 1"
        )


class InvalidDelay(Refused):
    """A delay of more than ten years."""

    def __init__(self, delay_ms: int) -> None:
        super().__init__(f"invalid x-delay {delay_ms}; expected milliseconds, at most ten years")
        self.delay_ms = delay_ms
