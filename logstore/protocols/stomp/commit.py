"""BEGIN, COMMIT and ABORT: the frames of a transaction take effect together or not at all."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.looking import Looking
from logstore.broker.queues.settling import Group, Outgoing, Settling, Verdict
from logstore.broker.queues.transaction import Transaction as Held
from logstore.errors import LogstoreError
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.phase import OPEN
from logstore.protocols.stomp.receipts import Slot
from logstore.protocols.stomp.send import transaction_of
from logstore.protocols.stomp.transaction import AT_ONCE_MAX, Transaction
from logstore.stomp.faults import StompFault
from logstore.stomp.frames import Frame


def begin(of: StompClient, frame: Frame) -> None:
    """Begin a transaction. Raises StompFault."""
    name = _named(frame)
    if name in of.transactions:
        raise StompFault("Bad transaction", f'Transaction "{name}" has begun already\n')
    if len(of.transactions) >= AT_ONCE_MAX:
        raise StompFault(
            "Transaction limit exceeded",
            f"Too many concurrent transactions (limit {AT_ONCE_MAX})\n",
        )
    of.transactions[name] = Transaction()
    of.done(frame.headers)


def abort(of: StompClient, frame: Frame) -> None:
    """Discard the transaction; messages that it would have settled remain out. Raises
    StompFault.
    """
    name = _named(frame)
    transaction_of(of, name)
    del of.transactions[name]
    of.done(frame.headers)


def commit(of: StompClient, frame: Frame) -> None:
    """Commit the transaction; later frames wait for the result. Raises StompFault."""
    name = _named(frame)
    transaction = transaction_of(of, name)
    del of.transactions[name]
    slot = of.slot(frame.headers, transaction.receipts)
    of.hold()
    _when_it_may(of, transaction, slot, frame.headers.get("receipt"))


def _named(frame: Frame) -> str:
    name = frame.headers.get("transaction")
    if name is None:
        raise StompFault(
            "Missing transaction", f"\"{frame.command}\" must include a 'transaction' header\n"
        )
    return name


def _when_it_may(
    of: StompClient,
    transaction: Transaction,
    slot: Slot,
    receipt: str | None,
    *,
    looked: bool = False,
) -> None:
    """Commit once publishing is allowed, and the room in the queues and all routes are known.

    ``looked``: this node has read what other nodes have made.
    """
    run, outbox = transaction.run, of.outbox
    if of.phase not in OPEN or outbox.gone:
        return
    queue = of.vhost.to_be_counted(run)
    if run and (queue is not None or outbox.blocked or outbox.keeps_back):
        again = partial(_when_it_may, of, transaction, slot, receipt, looked=looked)
        outbox.keep_back(again, transaction.held_bytes)
        if queue is not None:
            queue.when_open(outbox.unblock_soon)
        return
    if not looked and (read_on := of.vhost.read_on) and not all(to for to, _ in run):
        then = partial(_looked, of, transaction, slot, receipt)
        Looking(outbox, run, of.vhost.route, then).begin(read_on)
        return
    try:
        carry_out(of, transaction, slot, receipt, of.go_on)
    except LogstoreError as error:
        of.fail(error, receipt)


def _looked(
    of: StompClient,
    transaction: Transaction,
    slot: Slot,
    receipt: str | None,
    run: Sequence[Outgoing],
    error: LogstoreError | None,
) -> None:
    """As Looking.then: nothing of the transaction happens if a message is refused."""
    if error is not None:
        of.fail(error, receipt)
        return
    transaction.run = list(run)
    _when_it_may(of, transaction, slot, receipt, looked=True)


def carry_out(
    of: StompClient,
    transaction: Transaction,
    slot: Slot,
    receipt: str | None,
    then: Any = None,  # noqa: ANN401
) -> None:
    """Publish and settle as one: all of it becomes safe together, or nothing happens.

    Then ``slot`` is done and ``then`` is called. Raises Refusal.
    """
    held, run = Held(), transaction.run
    of.check_again(run)  # rights may have gone since it was sent
    published = of.vhost.publish(run, held)
    if published.error is not None or published.rejected:
        held.forget()
        raise published.error or Refusal(PRECONDITION_FAILED, "partial tx completion")
    settling = Settling(_taken(of, transaction), held)

    def done(error: LogstoreError | None) -> None:
        if error is None:
            of.outbox.counted(run, len(published.unrouted))
        settling.done(error)
        slot.done(error)
        if then is not None:
            then()

    of.vhost.commit(held, done)


def _taken(of: StompClient, transaction: Transaction) -> Iterator[tuple[Verdict, Group]]:
    """The transaction's deliveries, without those that left the connection (a slow consumer's)."""
    for verdict, tag, upto in transaction.settlements:
        if upto is not None:
            found = of.unacked.take_upto_of(tag, upto)
        else:
            one = of.unacked.ack(tag)
            found = [] if one is None else [one]
        for group in found:
            yield verdict, group
