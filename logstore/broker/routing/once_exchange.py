"""x-message-deduplication: an exchange that forwards each message once, to all bindings.

A message with an id goes to the exchange's station, which forwards it if the id is not known. All
others are routed as by a fanout exchange. The arguments are those of RabbitMQ's plugin of this
name, and one more, which names the header with the id, or the property message-id::

    x-cache-size              ids that are known at the most; must be given
    x-cache-ttl               ms for which each is known; as long as it is among them, unless given
    x-cache-persistence       "disk" or "memory": a durable exchange has its ids on disk either way
    x-deduplication-header    the header, if it is not x-deduplication-header; or "message-id"

A policy's settings with the first three names take precedence, because the first argument must be
given.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.deduplication.headers import HEADER, MESSAGE_ID, NO_IDS, is_name
from logstore.broker.policies import CACHE_SIZE, CACHE_TTL, Definition
from logstore.broker.routing.arguments import CLASS_OF_KIND, Arguments, Field
from logstore.broker.routing.key_matchers import Fanout
from logstore.broker.routing.matcher import Choose
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import InvalidArgument, NoCacheSize

SIZE: Final = b"x-cache-size"
TTL: Final = b"x-cache-ttl"
PERSISTENCE: Final = b"x-cache-persistence"
WHERE: Final = b"x-deduplication-header"

NUMBER_MAX: Final = 2**63 - 1
_DIGITS_MAX: Final = 19


class OnceArguments(NamedTuple):
    """The arguments of such an exchange."""

    header: str
    most: int  # ids
    known_ms: int | None  # None: until there are too many


def number_of(field: Field | None) -> int | None:
    """Return a positive number, given as one or as digits, as in the plugin; None: it is none."""
    if field is None:
        return None
    value = field.value
    if CLASS_OF_KIND[field.kind] == "text" and value.isdigit() and len(value) <= _DIGITS_MAX:
        value = int(value)
    elif CLASS_OF_KIND[field.kind] != "integer":
        return None
    return value if 0 < value <= NUMBER_MAX else None


def once_of(arguments: Arguments) -> OnceArguments:
    """Parse the arguments. Raises NoCacheSize, InvalidArgument."""
    most = number_of(arguments.get(SIZE))
    if most is None:
        raise NoCacheSize
    ttl, known_ms = arguments.get(TTL), number_of(arguments.get(TTL))
    if ttl is not None and known_ms is None:
        raise InvalidArgument(TTL, ttl, "an integer from 1, in ms")
    where = arguments.get(PERSISTENCE)
    if where is not None and where not in (Field("S", b"disk"), Field("S", b"memory")):
        raise InvalidArgument(PERSISTENCE, where, '"disk" or "memory"')
    header = arguments.get(WHERE)
    if header is None:
        return OnceArguments(HEADER, most, known_ms)
    if CLASS_OF_KIND[header.kind] != "text" or not is_name(header.value):
        raise InvalidArgument(WHERE, header, "the name of a header, or message-id")
    return OnceArguments(header.value.decode(), most, known_ms)


def governed(arguments: OnceArguments, definition: Definition) -> OnceArguments:
    """Return the arguments, overridden by the policy of the exchange."""
    return arguments._replace(
        most=definition.get(CACHE_SIZE, arguments.most),
        known_ms=definition.get(CACHE_TTL, arguments.known_ms),
    )


class Once(Fanout):
    """The matcher."""

    by_key = False  # the header decides, too

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        super().__init__(arguments, choose)
        header = once_of(arguments).header
        self._header = None if header == MESSAGE_ID else header.encode()

    def stops(self, keys: Sequence[bytes], properties: Properties) -> bool:
        """Whether the message has an id."""
        if self._header is None:
            return properties.message_id is not None
        field = properties.headers.get(self._header)
        return isinstance(field, Field) and CLASS_OF_KIND[field.kind] not in NO_IDS
