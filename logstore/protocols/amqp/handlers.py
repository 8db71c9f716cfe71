"""The table of methods that a client may call on a channel, with their handlers."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from logstore.amqp import methods
from logstore.amqp.methods import Method
from logstore.amqp.replies import CHANNEL_ERROR, COMMAND_INVALID, NOT_IMPLEMENTED, Refusal
from logstore.protocols.amqp import basic, exchange, modes, queue, settle
from logstore.protocols.amqp.asks import ASKS
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.lacking import lacks


def _open(_: AmqpChannel, __: methods.ChannelOpen) -> None:
    raise Refusal(CHANNEL_ERROR, "second 'channel.open' seen")


def _close(channel: AmqpChannel, _: methods.ChannelClose) -> None:
    channel.unblock()
    channel.of.forget_channel(channel)
    channel.let_go(lambda: channel.of.closed_in_order(channel))


def _flow(channel: AmqpChannel, method: methods.ChannelFlow) -> None:
    if not method.active:
        raise Refusal(NOT_IMPLEMENTED, "active=false")
    channel.answer(methods.ChannelFlowOk(True))


def _access(channel: AmqpChannel, _: methods.AccessRequest) -> None:
    """Access.Request of AMQP 0-8 has no effect: each method checks its own rights."""
    channel.answer(methods.AccessRequestOk())


HANDLERS: Final[dict[type, Callable[[AmqpChannel, Any], None]]] = {
    methods.ChannelOpen: _open,
    methods.ChannelClose: _close,
    methods.ChannelFlow: _flow,
    methods.AccessRequest: _access,
    methods.ExchangeDeclare: exchange.declare,
    methods.ExchangeDelete: exchange.delete,
    methods.ExchangeBind: exchange.bind,
    methods.ExchangeUnbind: exchange.unbind,
    methods.QueueDeclare: queue.declare,
    methods.QueueBind: queue.bind,
    methods.QueueUnbind: queue.unbind,
    methods.QueuePurge: queue.purge,
    methods.QueueDelete: queue.delete,
    methods.BasicQos: basic.qos,
    methods.BasicConsume: basic.consume,
    methods.BasicCancel: basic.cancel,
    methods.BasicGet: basic.get,
    methods.BasicRecover: basic.recover,
    methods.BasicRecoverAsync: basic.recover_async,
    methods.BasicAck: settle.ack,
    methods.BasicNack: settle.nack,
    methods.BasicReject: settle.reject,
    methods.ConfirmSelect: modes.select_confirms,
    methods.TxSelect: modes.select_transactions,
    methods.TxCommit: modes.commit,
    methods.TxRollback: modes.roll_back,
}

assert ASKS.keys() == HANDLERS.keys()


def carry_out(channel: AmqpChannel, method: Method) -> None:
    """Carry out a channel's method. Raises Refusal and the errors of queues."""
    handler = HANDLERS.get(type(method))
    if handler is None:
        raise Refusal(COMMAND_INVALID, "unimplemented method")
    for ask in ASKS[type(method)](channel, method):
        channel.of.permits.require(ask)
    read_on = channel.of.vhost.read_on
    if read_on is None or not lacks(channel, method):
        handler(channel, method)
        return
    held_by = channel.hold()
    carried_out = partial(handler, channel, method)
    read_on(lambda error: channel.go_on(held_by, carried_out, error))
