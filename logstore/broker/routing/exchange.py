"""The declared facts of an exchange, and whether a second declaration is equivalent."""

from dataclasses import dataclass
from typing import Final

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field, comparable
from logstore.broker.routing.refusals import Inequivalent, InvalidArgument

DEFAULT_EXCHANGE: Final = b""  # each queue is bound to it by its own name
ALTERNATE_EXCHANGE: Final = b"alternate-exchange"
TARGET: Final = b"x-target"  # of exchanges that lead to a topic or a channel (``targets.py``)
RESERVED_PREFIX: Final = b"amq."
COMPARED: Final = (ALTERNATE_EXCHANGE, TARGET, b"x-delayed-type")  # of a second declaration


@dataclass(frozen=True, slots=True)
class ExchangeFacts:
    """One exchange as declared. Predefined and durable exchanges outlive a restart."""

    name: bytes
    type_name: str
    durable: bool = True
    auto_delete: bool = False  # goes when its last binding to others goes
    internal: bool = False  # takes messages from exchanges alone
    arguments: Arguments = NO_ARGUMENTS

    @property
    def alternate(self) -> bytes | None:
        """The exchange for messages without a route; it need not exist.

        Raises InvalidArgument.
        """
        field = self.arguments.get(ALTERNATE_EXCHANGE)
        if field is None:
            return None
        if field.kind != "S":
            raise InvalidArgument(ALTERNATE_EXCHANGE, field, "a longstr, an exchange's name")
        return bytes(field.value)


def is_predefined(name: bytes) -> bool:
    """Whether this is the name of the default exchange, or a reserved name."""
    return name == DEFAULT_EXCHANGE or name.startswith(RESERVED_PREFIX)


# What each virtual host has, as RabbitMQ makes them. The last is for its tracing.
PREDEFINED: Final = (
    ExchangeFacts(DEFAULT_EXCHANGE, "direct"),
    ExchangeFacts(b"amq.direct", "direct"),
    ExchangeFacts(b"amq.fanout", "fanout"),
    ExchangeFacts(b"amq.headers", "headers"),
    ExchangeFacts(b"amq.match", "headers"),
    ExchangeFacts(b"amq.rabbitmq.trace", "topic", internal=True),
    ExchangeFacts(b"amq.topic", "topic"),
)


def check_equivalent(current: ExchangeFacts, declared: ExchangeFacts) -> None:
    """Compare an exchange with its declaration. Raises Inequivalent with the first difference.

    The order is RabbitMQ's. Only arguments that affect routing are compared (``COMPARED``).
    """
    for argument, was, said in (
        ("type", current.type_name, declared.type_name),
        ("durable", current.durable, declared.durable),
        ("auto_delete", current.auto_delete, declared.auto_delete),
        ("internal", current.internal, declared.internal),
    ):
        if was != said:
            raise Inequivalent(current.name, argument, said, was)
    for name in COMPARED:
        had, has = (it.arguments.get(name) for it in (current, declared))
        if _compared(had) != _compared(has):
            raise Inequivalent(current.name, name.decode(), has, had)


def _compared(field: Field | None) -> object:
    return None if field is None else comparable(field)
