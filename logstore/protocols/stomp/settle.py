"""ACK and NACK: settles delivered messages."""

from typing import Final

from logstore.broker.queues.named import Named
from logstore.broker.queues.settling import Verdict, rejected, released, settled
from logstore.broker.queues.unacked import Delivered
from logstore.protocols.stomp import commit
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.mapping import flag
from logstore.protocols.stomp.send import transaction_of
from logstore.protocols.stomp.subscription import SEPARATOR, StompSubscription
from logstore.protocols.stomp.transaction import Transaction
from logstore.stomp.faults import StompFault, invalid_header
from logstore.stomp.frames import Frame, shown
from logstore.stomp.versions import V1_2

Group = Delivered[Named, StompSubscription | None]

TAG_DIGITS: Final = 18


def ack(of: StompClient, frame: Frame) -> None:
    """Acknowledge messages. Raises StompFault."""
    _settle(of, frame, settled)


def nack(of: StompClient, frame: Frame) -> None:
    """Return messages to their place, or reject them if ``requeue`` is false. Raises StompFault."""
    requeue = flag(frame.headers, "requeue")
    _settle(of, frame, rejected if requeue is False else released)


def _settle(of: StompClient, frame: Frame, verdict: Verdict) -> None:
    headers = frame.headers
    tag = _tag(of, frame)
    name = headers.get("transaction")
    transaction = None if name is None else transaction_of(of, name)
    holder = of.unacked.holder(tag)
    upto = holder if holder is not None and holder.cumulative else None
    if transaction is not None:
        if not transaction.settle(of.unacked, verdict, tag, upto):
            raise _unknown(tag)
        of.done(headers)
    elif holder is None:
        raise _unknown(tag)
    elif "receipt" in headers and _is_here(of, tag):
        # It is given once that is on disk, so that the message never comes again.
        own = Transaction()
        own.settle(of.unacked, verdict, tag, upto)
        commit.carry_out(of, own, of.slot(headers), headers.get("receipt"))
    else:
        for group in take(of, tag, upto):
            verdict(group)
        of.done(headers)


def _is_here(of: StompClient, tag: int) -> bool:
    """Whether this node settles the delivery; the receipt does not wait for another one."""
    found = of.unacked.find(tag)
    return found is not None and found.queue.not_in_transactions is None


def take(of: StompClient, tag: int, upto: StompSubscription | None) -> list[Group]:
    """Take the deliveries from the connection; some may have left it meanwhile."""
    if upto is not None:
        return of.unacked.take_upto_of(tag, upto)
    one = of.unacked.ack(tag)
    return [] if one is None else [one]


def _tag(of: StompClient, frame: Frame) -> int:
    """The tag of the delivery that the frame names. Raises StompFault."""
    header = "id" if of.version == V1_2 else "message-id"
    given = frame.headers.get(header)
    if given is None:
        raise StompFault(
            "Missing header", f'"{frame.command}" must include the "{header}" header\n'
        )
    _, *rest = given.rsplit(SEPARATOR, 2)
    if len(rest) != 2 or not _is_number(rest[1]):
        raise invalid_header(f'"{frame.command}" must include a valid "{header}" header\n')
    if rest[0] != of.id:
        raise StompFault(
            "Message not found", f"'{shown(given)}' belongs to another connection, or to none"
        )
    return int(rest[1])


def _is_number(given: str) -> bool:
    return given.isascii() and given.isdecimal() and len(given) <= TAG_DIGITS


def _unknown(tag: int) -> StompFault:
    return StompFault("Message not found", f"unknown delivery tag {tag}\n")
