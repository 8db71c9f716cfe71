"""Destinations in RabbitMQ's form: a kind, and names between slashes. Pure.

    /queue/NAME            the queue of this name, which is declared
    /amq/queue/NAME        the same, which is not declared
    /exchange/NAME[/KEY]   an exchange; what is sent has this routing key, or an empty one
    /topic/KEY             the exchange amq.topic, with this routing key
    /temp-queue/NAME       in ``reply-to`` alone: a queue of the connection's own
    /reply-queue/NAME      a queue that a reply goes to; its name may hold slashes
    NAME                   as /queue/NAME

A slash in any other name is written ``%2F``. The server writes more escapes than it requires
(``%25``, control characters, non-ASCII characters), as RabbitMQ does, because clients compare
destinations.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from logstore.stomp.faults import BadDestination
from logstore.stomp.frames import data, text


class Kind(Enum):
    """The kinds; a value is the kind's name in RabbitMQ's texts."""

    QUEUE = "queue"
    AMQ_QUEUE = "amqqueue"
    EXCHANGE = "exchange"
    TOPIC = "topic"
    TEMP_QUEUE = "temp_queue"
    REPLY_QUEUE = "reply_queue"


TOPIC_EXCHANGE: Final = b"amq.topic"
REPLY_PREFIX: Final = "/reply-queue/"
TEMP_PREFIX: Final = "/temp-queue/"
# As ``reply-to`` may begin, to be a destination already.
PREFIXES: Final = ("/exchange", "/topic", "/queue", "/amq/queue", REPLY_PREFIX)

_KINDS: Final = {
    "queue": Kind.QUEUE, "exchange": Kind.EXCHANGE, "topic": Kind.TOPIC,
    "temp-queue": Kind.TEMP_QUEUE,
}  # fmt: skip
_ESCAPED: Final = re.compile(rb"[\x00-\x1f/%\x80-\xff]")


class Destination(NamedTuple):
    """Where messages are sent to or received from."""

    kind: Kind
    name: bytes  # of a queue or an exchange; a topic's key
    key: bytes | None = None  # of an exchange, where one is given

    @property
    def routing(self) -> tuple[bytes, bytes]:
        """The exchange and the routing key that it stands for."""
        if self.kind is Kind.EXCHANGE:
            return self.name, self.key or b""
        if self.kind is Kind.TOPIC:
            return TOPIC_EXCHANGE, self.name
        return b"", self.name


def parse(given: str) -> Destination:
    """Raises BadDestination."""
    first, *rest = given.split("/")
    if not rest:
        return Destination(Kind.QUEUE, _name(first))
    if not first:
        if rest[0] in _KINDS:
            return _parsed(_KINDS[rest[0]], rest[1:])
        if rest[:2] == ["amq", "queue"]:
            return _parsed(Kind.AMQ_QUEUE, rest[2:])
        if rest[0] == "reply-queue" and len(rest) > 1:
            return _parsed(Kind.REPLY_QUEUE, [given.removeprefix(REPLY_PREFIX)])
    raise BadDestination(
        "Unknown destination",
        f"'{given}' is not a valid destination.\nValid destination types are: /temp-queue, "
        "/exchange, /topic, /queue, /amq/queue, /reply-queue/.\n",
    )


def _parsed(kind: Kind, rest: Sequence[str]) -> Destination:
    if kind is Kind.EXCHANGE and 1 <= len(rest) <= 2 and rest[0]:
        return Destination(kind, *map(_name, rest))
    if kind is not Kind.EXCHANGE and len(rest) == 1 and rest[0]:
        return Destination(kind, _name(rest[0]))
    content = "".join(f"/{it}" for it in rest)
    raise BadDestination(
        "Invalid destination", f"'{content}' is not a valid {kind.value} destination\n"
    )


def _name(given: str) -> bytes:
    return data(given.replace("%2F", "/"))


def formatted(exchange: bytes, key: bytes) -> str:
    """Where a message was sent to, as its receiver is told."""
    if not exchange:
        return f"/queue/{_written(key)}"
    if exchange == TOPIC_EXCHANGE:
        return f"/topic/{_written(key)}"
    return f"/exchange/{_written(exchange)}" + (f"/{_written(key)}" if key else "")


def _written(name: bytes) -> str:
    return text(_ESCAPED.sub(lambda it: b"%%%02X" % it[0][0], name))
