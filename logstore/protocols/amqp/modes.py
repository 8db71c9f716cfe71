"""The classes ``confirm`` and ``tx``: publisher confirms and transactions."""

from functools import partial

from logstore.amqp import methods
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.settling import Settling
from logstore.broker.queues.transaction import Transaction as Held
from logstore.errors import LogstoreError
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.confirm import Confirms
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
    transaction = _end(channel)
    queue = channel.of.vhost.to_be_counted(transaction.run)
    if transaction.run and (channel.of.told_blocked or queue is not None):
        _keep_back(channel, transaction, channel.hold(), queue)
    else:
        _commit(channel, transaction)


def _keep_back(
    channel: AmqpChannel, transaction: Transaction, held_by: object, queue: Queue | None
) -> None:
    """Delay the commit until the channel may publish and the room in the queues is known."""

    def again() -> None:
        more = channel.of.vhost.to_be_counted(transaction.run)
        if more is not None:
            _keep_back(channel, transaction, held_by, more)
        else:
            channel.go_on(held_by, partial(_commit, channel, transaction))

    channel.keep_back(again, transaction.held_bytes)
    if queue is not None:
        queue.when_open(channel.unblock_soon)


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
