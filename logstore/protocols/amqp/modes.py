"""The classes ``confirm`` and ``tx``: publisher confirms and transactions."""

from collections.abc import Sequence
from functools import partial

from logstore.amqp import methods
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.looking import Looking
from logstore.broker.queues.settling import Outgoing, Settling
from logstore.broker.queues.transaction import Transaction as Held
from logstore.errors import LogstoreError
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.confirm import Confirms
from logstore.protocols.amqp.lacking import lacks_route
from logstore.protocols.amqp.publish import check_again, counted, send_back
from logstore.protocols.amqp.settle import take
from logstore.protocols.amqp.transaction import Transaction


def select_confirms(channel: AmqpChannel, method: methods.ConfirmSelect) -> None:
    """Turn confirms on; a second call has no effect."""
    if channel.transaction is not None:
        raise Refusal(PRECONDITION_FAILED, "cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = Confirms(channel.number, channel.of.door.counts)
    channel.answers(methods.ConfirmSelectOk(), method.nowait)()


def select_transactions(channel: AmqpChannel, _: methods.TxSelect) -> None:
    if channel.confirms is not None:
        raise Refusal(PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction()
    channel.answer(methods.TxSelectOk())


def commit(channel: AmqpChannel, _: methods.TxCommit) -> None:
    """Commit the transaction; the client is answered when all of it is safe."""
    _when_it_may(channel, _end(channel), None)


def _when_it_may(
    channel: AmqpChannel, transaction: Transaction, held_by: object, *, looked: bool = False
) -> None:
    """Commit once the channel may publish, and the room in the queues and all routes are known.

    ``held_by``: as ``hold`` has returned it; None: nothing waits yet. ``looked``: this node has
    read what other nodes have made.
    """
    vhost, run = channel.of.vhost, transaction.run
    queue = vhost.to_be_counted(run)
    if run and (channel.of.told_blocked or queue is not None):
        held_by = held_by or channel.hold()
        again = partial(_when_it_may, channel, transaction, held_by, looked=looked)
        channel.keep_back(again, transaction.held_bytes)
        if queue is not None:
            queue.when_open(channel.unblock_soon)
    elif not looked and (read_on := vhost.read_on) and lacks_route(run):
        then = partial(_looked, channel, transaction, held_by or channel.hold())
        Looking(channel, run, vhost.route, then).begin(read_on)
    elif held_by is None:
        _commit(channel, transaction)
    else:
        channel.go_on(held_by, partial(_commit, channel, transaction))


def _looked(
    channel: AmqpChannel,
    transaction: Transaction,
    held_by: object,
    run: Sequence[Outgoing],
    error: LogstoreError | None,
) -> None:
    """As Looking.then: nothing of the transaction happens if a message is refused."""
    if error is not None:
        channel.go_on(held_by, channel.answers(methods.TxCommitOk()), error)
        return
    transaction.run = list(run)
    _when_it_may(channel, transaction, held_by, looked=True)


def _commit(channel: AmqpChannel, transaction: Transaction) -> None:
    """Publish and settle as one: all of it becomes safe together, or nothing happens."""
    held, run = Held(), transaction.run
    check_again(channel, run)  # rights may have gone since it was published
    published = channel.of.vhost.publish(run, held)
    if published.error is not None or published.rejected:
        held.forget()
        raise published.error or Refusal(PRECONDITION_FAILED, "partial tx completion")
    settling = Settling(take(channel, transaction.settlements), held)
    held_by = channel.hold()

    def then(error: LogstoreError | None) -> None:
        if error is None:
            counted(channel, run, published.unrouted)
            send_back(channel, run, published.unrouted, transaction.mandatory)
        settling.done(error)
        channel.go_on(held_by, channel.answers(methods.TxCommitOk()), error)

    channel.of.vhost.commit(held, then)
    channel.of.published[channel] = None  # whether too much is on its way is looked at then


def roll_back(channel: AmqpChannel, _: methods.TxRollback) -> None:
    """Discard the transaction; messages that it would have settled remain out."""
    _end(channel)
    channel.answer(methods.TxRollbackOk())


def _end(channel: AmqpChannel) -> Transaction:
    """The ended transaction; the next one begins. Raises Refusal without transactions."""
    transaction = channel.transaction
    if transaction is None:
        raise Refusal(PRECONDITION_FAILED, "channel is not transactional")
    channel.transaction = Transaction()
    channel.of.content_bytes -= transaction.held_bytes
    return transaction
