"""Each method that a client sends on a channel, with the rights that it needs.

They are asked of ours in tests, and of a real RabbitMQ.
"""

from amqp_kit import bind, consume, declare, exchange, get, unbind

from logstore.access.resources import DESCRIBE, EXCHANGE, READ, WRITE
from logstore.amqp import methods
from logstore.protocols.rabbit_permits import WORDS, Ask

QUEUE = "queue"
MAKES = [
    declare("q"), declare("q2"), exchange("e"), exchange("e2"), exchange("t", "topic"),
    bind("q2", "e"), methods.ExchangeBind(0, "e2", "e", "k", False, {}),
]  # fmt: skip

# One or more calls of each method, with the rights it needs; nothing else refuses them.
SAMPLES = {
    "open a channel": (methods.ChannelOpen(), []),
    "close a channel": (methods.ChannelClose(200, "bye", 0, 0), []),
    "flow": (methods.ChannelFlow(True), []),
    "access": (methods.AccessRequest(), []),
    "declare an exchange": (exchange("new"), [Ask("create", EXCHANGE, b"new")]),
    "declare an exchange again": (exchange("e"), [Ask("create", EXCHANGE, b"e")]),
    "declare an exchange with an alternate": (
        exchange("new", **{"alternate-exchange": "e"}),
        [Ask("create", EXCHANGE, b"new"), Ask(READ, EXCHANGE, b"new"), Ask(WRITE, EXCHANGE, b"e")]),
    "look for an exchange": (exchange("e", passive=True), [Ask(DESCRIBE, EXCHANGE, b"e")]),
    "delete an exchange": (methods.ExchangeDelete(0, "e", False, False),
        [Ask("delete", EXCHANGE, b"e")]),
    "delete an exchange that is not there": (methods.ExchangeDelete(0, "no", False, False),
        [Ask("delete", EXCHANGE, b"no")]),
    "bind exchanges": (methods.ExchangeBind(0, "e2", "e", "k", False, {}),
        [Ask(WRITE, EXCHANGE, b"e2"), Ask(READ, EXCHANGE, b"e")]),
    "unbind exchanges": (methods.ExchangeUnbind(0, "e2", "e", "k", False, {}),
        [Ask(WRITE, EXCHANGE, b"e2"), Ask(READ, EXCHANGE, b"e")]),
    "declare a queue": (declare("new"), [Ask("create", QUEUE, b"new")]),
    "declare a queue again": (declare("q"), [Ask("create", QUEUE, b"q")]),
    "declare a queue with dead letters": (declare("new", dead_letter_exchange="e"),
        [Ask("create", QUEUE, b"new"), Ask(READ, QUEUE, b"new"), Ask(WRITE, EXCHANGE, b"e")]),
    "declare a queue with dead letters to the default exchange": (
        declare("new", dead_letter_exchange=""),
        [Ask("create", QUEUE, b"new"), Ask(READ, QUEUE, b"new"), Ask(WRITE, EXCHANGE, b"")]),
    "look for a queue": (declare("q", passive=True), [Ask(DESCRIBE, QUEUE, b"q")]),
    "bind a queue": (bind("q", "e"), [Ask(WRITE, QUEUE, b"q"), Ask(READ, EXCHANGE, b"e")]),
    "unbind a queue": (unbind("q2", "e"), [Ask(WRITE, QUEUE, b"q2"), Ask(READ, EXCHANGE, b"e")]),
    "purge": (methods.QueuePurge(0, "q", False), [Ask(READ, QUEUE, b"q")]),
    "delete a queue": (methods.QueueDelete(0, "q", False, False, False),
        [Ask("delete", QUEUE, b"q")]),
    "delete a queue that is not there": (methods.QueueDelete(0, "no", False, False, False),
        [Ask("delete", QUEUE, b"no")]),
    "qos": (methods.BasicQos(0, 1, False), []),
    "consume": (consume("q"), [Ask(READ, QUEUE, b"q")]),
    "consume replies": (consume("amq.rabbitmq.reply-to", no_ack=True), []),
    "cancel": (methods.BasicCancel("c", False), []),
    "fetch": (get("q"), [Ask(READ, QUEUE, b"q")]),
    "recover": (methods.BasicRecover(True), []),
    "recover without an answer": (methods.BasicRecoverAsync(True), []),
    "ack": (methods.BasicAck(0, True), []),
    "nack": (methods.BasicNack(0, True, True), []),
    "reject": (methods.BasicReject(7, True), []),
    "confirms": (methods.ConfirmSelect(False), []),
    "transactions": (methods.TxSelect(), []),
    "commit": (methods.TxCommit(), []),
    "roll back": (methods.TxRollback(), []),
}  # fmt: skip
RIGHTS = {name: asks for name, (_, asks) in SAMPLES.items() if asks}
LACKING = [(name, ask) for name, asks in RIGHTS.items() for ask in asks]


def exactly(word, asks):
    """The regular expression of a permission for exactly these names."""
    names = [ask.name.decode() or "amq.default" for ask in asks if WORDS[ask.operation] == word]
    return f"^({'|'.join(names)})$" if names else ""
