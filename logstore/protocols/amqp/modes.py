"""The classes ``confirm`` and ``tx``: what a publisher is told of what becomes of its messages."""

from functools import partial

from logstore.amqp import methods
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.confirm import Confirms
from logstore.protocols.amqp.publish import hand_over
from logstore.protocols.amqp.settle import settle_all
from logstore.protocols.amqp.transaction import Transaction


def select_confirms(channel: AmqpChannel, method: methods.ConfirmSelect) -> None:
    """A second time it changes nothing."""
    if channel.transaction is not None:
        raise Refusal(PRECONDITION_FAILED, "cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = Confirms(channel.number)
    channel.answers(methods.ConfirmSelectOk(), method.nowait)()


def select_transactions(channel: AmqpChannel, _: methods.TxSelect) -> None:
    if channel.confirms is not None:
        raise Refusal(PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction()
    channel.answer(methods.TxSelectOk())


def commit(channel: AmqpChannel, _: methods.TxCommit) -> None:
    """What was held back is done; the client is told when all of it is safe."""
    transaction = _end(channel)
    if channel.of.told_blocked and transaction.run:
        held_by = channel.hold()
        later = partial(channel.go_on, held_by, partial(_commit, channel, transaction))
        channel.keep_back(later, transaction.held_bytes)
    else:
        _commit(channel, transaction)


def _commit(channel: AmqpChannel, transaction: Transaction) -> None:
    """The messages first: what it acknowledges is settled once they are safe, or not at all."""
    settle = partial(_settle, channel, transaction)
    if transaction.run:
        published = hand_over(channel, transaction.run, transaction.mandatory)
        channel.when_safe(published.waiting, settle, published.error)
    else:
        settle()


def _settle(channel: AmqpChannel, transaction: Transaction) -> None:
    queues = settle_all(channel, transaction.settlements)
    answer = channel.answers(methods.TxCommitOk())
    if queues:
        channel.when_safe(channel.of.door.queues.journaled(queues), answer)
    else:
        answer()


def roll_back(channel: AmqpChannel, _: methods.TxRollback) -> None:
    """Forget what was held back: what it would have settled stays out."""
    _end(channel)
    channel.answer(methods.TxRollbackOk())


def _end(channel: AmqpChannel) -> Transaction:
    """What was held back; the next transaction begins. Raises Refusal where there are none."""
    transaction = channel.transaction
    if transaction is None:
        raise Refusal(PRECONDITION_FAILED, "channel is not transactional")
    channel.transaction = Transaction()
    channel.of.content_bytes -= transaction.held_bytes
    return transaction
