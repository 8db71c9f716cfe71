"""Writes messages to a client as frames: a consumer's deliveries, fetched and returned messages.

A delivery is three frames. If exchange, key, properties and size equal those of the previous
delivery, only the tag and the body differ; the rest is remembered, so that a delivery is built in
0.5 us.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from logstore.amqp import methods
from logstore.amqp.fields import text
from logstore.amqp.frames import BODY, HEAD, HEADER, METHOD, OVERHEAD, body_frames, frame
from logstore.amqp.methods import IDS, Method, encode
from logstore.amqp.properties import header
from logstore.amqp.replies import NAMES
from logstore.broker.queues.message import (
    REMEMBERED_BYTES_MAX,
    Delivery,
    Message,
    without_blind_copies,
)
from logstore.broker.queues.named import Named
from logstore.broker.queues.subscription import Channel
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.protocols.amqp.carrier import Carrier

MIDDLES_MAX: Final = 256  # of one consumer
MESSAGE_BYTES: Final = 256  # minimum cost of a message, which bounds a request
_TAG: Final = Struct(">QB")  # and whether it was delivered before
_DELIVER: Final = Struct(">HH").pack(*IDS[methods.BasicDeliver])


def _short(value: bytes) -> bytes:
    return bytes((len(value),)) + value


class AmqpSubscription:
    """A consumer of a channel. To the queues it is a ``Subscription``."""

    __slots__ = (
        "_average", "_begin", "_middles", "_number", "_of", "arguments", "channel", "exclusive",
        "forget", "no_ack", "prefetch", "priority", "queue", "tag", "timeout_ms",
    )  # fmt: skip

    def __init__(
        self,
        of: Carrier,
        number: int,
        channel: Channel,
        queue: Named,
        tag: bytes,
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        priority: int = 0,
        prefetch: int = 0,
        timeout_ms: int | None = None,
        arguments: Arguments = NO_ARGUMENTS,
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        self.prefetch = prefetch
        self.timeout_ms = timeout_ms
        self.arguments = arguments
        self._of = of
        self._number = number
        self._begin = _DELIVER + _short(tag)
        # By exchange, key, properties and size: what begins the frames, what follows the tag.
        self._middles: dict[tuple[bytes, bytes, bytes, int], tuple[bytes, bytes]] = {}
        self._average = MESSAGE_BYTES  # bytes of a message, lately

    def can_take(self) -> int:
        """As queues.Subscription.can_take: at least one, while there is room at all."""
        if self._of.must_look():
            return 0
        return -(-self._of.room_bytes() // self._average)

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """As queues.Subscription.push."""
        parts: list[bytes] = []
        middles, pack, room = self._middles, _TAG.pack, self._of.payload_max
        for exchange, key, properties, body, redelivered, _ in deliveries:
            try:
                begin, middle = middles[exchange, key, properties, len(body)]
            except KeyError:
                begin, middle = self._middle(exchange, key, properties, len(body))
            if len(body) <= room:
                parts += begin, pack(tag, redelivered), middle, body, b"\xce"
            else:
                parts += begin, pack(tag, redelivered), middle
                parts += body_frames(self._number, body, room + OVERHEAD)
            tag += 1
        data = b"".join(parts)
        self._average = max(MESSAGE_BYTES, len(data) // len(deliveries))
        self._of.put(data)
        self._of.link.wake()

    def _middle(
        self, exchange: bytes, key: bytes, properties: bytes, size: int
    ) -> tuple[bytes, bytes]:
        """The bytes before a delivery's tag, and those between the tag and the body."""
        method_bytes = len(self._begin) + _TAG.size + 2 + len(exchange) + len(key)
        begin = HEAD.pack(METHOD, self._number, method_bytes) + self._begin
        middle = _short(exchange) + _short(key) + b"\xce"
        middle += frame(HEADER, self._number, header(size, properties))
        if 0 < size <= self._of.payload_max:
            middle += HEAD.pack(BODY, self._number, size)
        elif not size:  # without a frame for the body the header's own end is the last byte
            middle = middle[:-1]
        if len(properties) <= REMEMBERED_BYTES_MAX:
            if len(self._middles) >= MIDDLES_MAX:
                self._middles.clear()
            self._middles[exchange, key, properties, size] = begin, middle
        return begin, middle

    def cancelled(self) -> None:
        """As queues.Subscription.cancelled."""
        timeout_ms = None
        if not self.queue.gone:
            timeout_ms = self.timeout_ms or self.queue.limits.consumer_timeout_ms
        self._of.cancelled(self.channel, self.tag, timeout_ms)


def content_frames(
    number: int, method: Method, properties: bytes, body: bytes, payload_max: int
) -> bytes:
    """The frames of a method with a message."""
    return b"".join((
        frame(METHOD, number, encode(method)),
        frame(HEADER, number, header(len(body), properties)),
        *body_frames(number, body, payload_max + OVERHEAD),
    ))  # fmt: skip


def returned_frames(number: int, code: int, message: Message, payload_max: int) -> bytes:
    """The frames that return a message to its publisher, with the reason."""
    method = methods.BasicReturn(code, NAMES[code], text(message.exchange), text(message.key))
    shown = without_blind_copies(message.properties)
    return content_frames(number, method, shown, bytes(message.body), payload_max)
