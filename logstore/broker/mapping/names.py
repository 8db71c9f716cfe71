"""The headers of records and messages that have a meaning in the mapping (``docs/mapping.md``)."""

from typing import Final

from logstore.amqp.properties import Properties

# Of a record: each property of a message, by its header's name.
PROPERTIES: Final = {f"amqp.{it}": it for it in Properties._fields if it != "headers"}
EXCHANGE: Final = "amqp.exchange"  # also says that the record was a message
TYPES: Final = "amqp.types"  # the types of headers that are no text
# The prefix of a message's own header of a reserved name.
ESCAPE: Final = "amqp.header."
_RESERVED: Final = frozenset({*PROPERTIES, EXCHANGE, TYPES})

# Of a message: what a record has and messages have not.
KEY: Final = "kafka.key"
TOMBSTONE: Final = "kafka.tombstone"
TIMESTAMP_MS: Final = "timestamp_in_ms"  # as RabbitMQ's plugin message-timestamp has it

# Headers that only this server may set. Those of peers are removed (``hidden``).
HIDDEN: Final = "__logstore."

# Lists of routing keys, whatever comes: RabbitMQ takes no others.
COPIES: Final = frozenset({"CC", "BCC"})
BLIND: Final = "BCC"  # only the exchange may see it


def hidden(name: str) -> bool:
    return name.startswith(HIDDEN)


def reserved(name: str) -> bool:
    """Whether a record's header of this name is reserved, or an escaped one."""
    while name.startswith(ESCAPE):
        name = name[len(ESCAPE) :]
    return name in _RESERVED


def of_record(name: str) -> str:
    """Return the name of a message's header in a record."""
    return ESCAPE + name if reserved(name) else name


def of_message(name: str) -> str:
    """Return the name in a message of a record's header that is not a property."""
    if name.startswith(ESCAPE) and reserved(name):
        return name[len(ESCAPE) :]
    return name
