"""A subscription, and its messages as MESSAGE frames.

If exchange, key and properties equal those of the previous message, only the id and the body of the
frame differ; the rest is remembered.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from logstore.amqp.fields import text
from logstore.broker.queues.message import REMEMBERED_BYTES_MAX, Delivery
from logstore.broker.queues.named import Named
from logstore.broker.queues.subscription import Channel
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.protocols.stomp.mapping import headers_of
from logstore.stomp.destinations import formatted
from logstore.stomp.frames import escaped, header_lines
from logstore.stomp.versions import V1_2, Rules

HEADS_MAX: Final = 256  # remembered for one connection
MESSAGE_BYTES: Final = 256  # minimum cost of a message, which bounds a request
SEPARATOR: Final = "@@"  # in a message's id
AUTO, CLIENT, EACH = "auto", "client", "client-individual"
ACKS: Final = (AUTO, CLIENT, EACH)
_REDELIVERED: Final = (b"\nredelivered:false\n", b"\nredelivered:true\n")


class Reader(Protocol):
    """The connection as its subscriptions see it."""

    id: str
    version: str
    rules: Rules
    end: bytes  # of a frame
    heads: dict[tuple[bytes, bytes, bytes], bytes]  # of messages, by exchange, key, properties

    def delivered(self, frames: bytes, count: int) -> None: ...
    def room_bytes(self) -> int: ...
    def must_look(self) -> bool: ...
    def cancelled(self, subscription: "StompSubscription") -> None: ...


class StompSubscription:
    """One subscription. To the queues, it is a ``Subscription``."""

    __slots__ = (
        "_ack", "_average", "_begin", "_id", "_of", "arguments", "channel", "cumulative",
        "exclusive", "no_ack", "of_topic", "prefetch", "priority", "queue", "shown", "tag",
        "timeout_ms",
    )  # fmt: skip

    def __init__(
        self,
        of: Reader,
        channel: Channel,
        queue: Named,
        tag: str,
        *,
        shown: str | None,
        ack: str = AUTO,
        prefetch: int = 0,
        priority: int = 0,
        arguments: Arguments = NO_ARGUMENTS,
        of_topic: bool = False,
    ) -> None:
        """``tag``: identifies the subscription; ``shown``: its id, if the client gave one."""
        self.channel = channel
        self.queue = queue
        self.tag = tag.encode("utf-8", "surrogateescape")
        self.shown = shown
        self.cumulative = ack == CLIENT  # an acknowledgement covers all earlier messages
        self.of_topic = of_topic
        self.no_ack = ack == AUTO
        self.exclusive = False
        self.priority = priority
        self.prefetch = prefetch
        self.timeout_ms: int | None = None  # as the queue says
        self.arguments = arguments
        self._of = of
        self._id = escaped(f"{tag}{SEPARATOR}{of.id}{SEPARATOR}", of.rules).encode(
            "utf-8", "surrogateescape"
        )
        # From 1.2 on the id for ACK and NACK has a header of its own.
        self._ack = not self.no_ack and of.version == V1_2
        self._begin = b"MESSAGE\n"
        if shown is not None:
            self._begin += header_lines([("subscription", shown)], of.rules)
        self._average = MESSAGE_BYTES  # bytes of a message, lately

    def can_take(self) -> int:
        """As queues.Subscription.can_take: at least one, while there is room at all."""
        if self._of.must_look():
            return 0
        return -(-self._of.room_bytes() // self._average)

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """As queues.Subscription.push."""
        parts: list[bytes] = []
        heads, begin, id, end = self._of.heads, self._begin, self._id, self._of.end
        for exchange, key, properties, body, redelivered, _ in deliveries:
            try:
                head = heads[exchange, key, properties]
            except KeyError:
                head = self._head(exchange, key, properties)
            parts += begin, head
            if self._ack:
                parts.append(b"%b%d\nack:%b%d" % (id, tag, id, tag))
            else:
                parts.append(b"%b%d" % (id, tag))
            parts.append(_REDELIVERED[redelivered])
            parts.append(b"content-length:%d\n\n" % len(body))
            parts.append(body)
            parts.append(end)
            tag += 1
        data = b"".join(parts)
        self._average = max(MESSAGE_BYTES, len(data) // len(deliveries))
        self._of.delivered(data, len(deliveries))

    def _head(self, exchange: bytes, key: bytes, properties: bytes) -> bytes:
        """The headers before a message's id, which are equal for all subscriptions."""
        headers = [("destination", formatted(exchange, key)), *headers_of(properties)]
        head = header_lines(headers, self._of.rules) + b"message-id:"
        if len(properties) <= REMEMBERED_BYTES_MAX:
            heads = self._of.heads
            if len(heads) >= HEADS_MAX:
                heads.clear()
            heads[exchange, key, properties] = head
        return head

    def cancelled(self) -> None:
        """As queues.Subscription.cancelled."""
        self._of.cancelled(self)

    def __repr__(self) -> str:
        return f"<StompSubscription {text(self.tag)!r}>"
