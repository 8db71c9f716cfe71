"""Basic.Ack, Nack and Reject: settles delivered messages."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from logstore.amqp import methods
from logstore.amqp.frames import METHOD
from logstore.amqp.methods import IDS as METHOD_IDS
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.settling import (
    SETTLEMENT_BYTES,
    Group,
    Verdict,
    rejected,
    released,
    settled,
)
from logstore.errors import LogstoreError
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.transaction import Settlement

_ACK: Final = METHOD_IDS[methods.BasicAck]
IDS: Final = Struct(">HH").pack(*_ACK)  # how the frames of an Ack begin
SIZE: Final = 13  # of what they hold
_NACK, _REJECT = METHOD_IDS[methods.BasicNack], METHOD_IDS[methods.BasicReject]
# By the beginning of frames of equal length: the method, and the bits "multiple" and "requeue".
BACK: Final = {
    Struct(">HH").pack(*_NACK): (_NACK, 1, 2),
    Struct(">HH").pack(*_REJECT): (_REJECT, 0, 1),
}
BACK_AT_ONCE: Final = 500  # settled before others have their turn: some 3 ms
_FRAME: Final = Struct(">BHI4sQBB")  # head, class and method, tag, multiple, end
_END: Final = 0xCE


def take_back(channel: AmqpChannel, raw: bytes, at: int) -> int:
    """Process consecutive Nacks or Rejects of this channel, at least one; returns where
    they end.
    """
    number, unpack, size, end = channel.number, _FRAME.unpack_from, _FRAME.size, len(raw)
    try:
        for _ in range(BACK_AT_ONCE):
            kind, of, length, ids, tag, bits, last = unpack(raw, at)
            if ids not in BACK or of != number or (kind, length, last) != (METHOD, SIZE, _END):
                break
            at += size
            channel.current, multiple, requeue = BACK[ids]
            verdict = released if bits & requeue else rejected
            settle(channel, verdict, tag, multiple=bool(bits & multiple))
            if end - at < size:
                break
    except LogstoreError as error:
        channel.fail(error)
    return at


def take_many(channel: AmqpChannel, raw: bytes, at: int) -> int:
    """Process consecutive Acks of this channel, at least one; returns where they end."""
    number, unpack, size = channel.number, _FRAME.unpack_from, _FRAME.size
    channel.current = _ACK
    first, last = 1, 0  # tags in a row that are settled one by one; none yet
    try:
        while at + size <= len(raw):
            kind, of, length, ids, tag, multiple, end = unpack(raw, at)
            if ids != IDS or of != number or kind != METHOD or length != SIZE or end != _END:
                break
            at += size
            if tag == last + 1 and not multiple & 1:
                last = tag
                continue
            _settle_range(channel, first, last)
            first, last = 1, 0
            if multiple & 1:
                settle(channel, settled, tag, multiple=True)
            else:
                first = last = tag
        _settle_range(channel, first, last)
    except LogstoreError as error:
        channel.fail(error)
    return at


def _settle_range(channel: AmqpChannel, first: int, last: int) -> None:
    """Settle deliveries with consecutive tags together, at a fifth of the cost."""
    if last > first and channel.transaction is None:
        found = channel.unacked.ack_range(first, last)
        if found is not None:
            channel.settles()
            for delivered in found:
                settled(delivered)
            return
    for tag in range(first, last + 1):
        settle(channel, settled, tag, multiple=False)


def settle(channel: AmqpChannel, verdict: Verdict, tag: int, *, multiple: bool) -> None:
    """Settle one delivery, or all up to it. Raises Refusal for an unknown tag."""
    unacked = channel.unacked
    if channel.transaction is not None:
        if not channel.transaction.settle(unacked, verdict, tag, multiple=multiple):
            raise unknown(tag)
        channel.of.content_bytes += SETTLEMENT_BYTES
        return
    channel.settles()
    if multiple:
        several = unacked.ack_upto(tag)
        if several is None:
            raise unknown(tag)
        for delivered in several:
            verdict(delivered)
    else:
        one = unacked.ack(tag)
        if one is None:
            raise unknown(tag)
        verdict(one)


def take(
    channel: AmqpChannel, settlements: Sequence[Settlement]
) -> Iterator[tuple[Verdict, Group]]:
    """The transaction's settlements, with their deliveries taken from the channel.

    Deliveries that have left the channel meanwhile (their consumer was too slow) are left out.
    """
    unacked = channel.unacked
    channel.settles()
    for verdict, tag, multiple in settlements:
        if multiple:
            found = unacked.take_upto(tag)
        else:
            one = unacked.ack(tag)
            found = [] if one is None else [one]
        for delivered in found:
            yield verdict, delivered


def unknown(tag: int) -> Refusal:
    """The refusal of an unknown tag, in RabbitMQ's words."""
    return Refusal(PRECONDITION_FAILED, f"unknown delivery tag {tag}")


def ack(channel: AmqpChannel, method: methods.BasicAck) -> None:
    settle(channel, settled, method.delivery_tag, multiple=method.multiple)


def nack(channel: AmqpChannel, method: methods.BasicNack) -> None:
    verdict = released if method.requeue else rejected
    settle(channel, verdict, method.delivery_tag, multiple=method.multiple)


def reject(channel: AmqpChannel, method: methods.BasicReject) -> None:
    settle(channel, released if method.requeue else rejected, method.delivery_tag, multiple=False)
