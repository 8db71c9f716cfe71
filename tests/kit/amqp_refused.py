"""What RabbitMQ refuses, and in which words: asked of ours in tests, and of a real one.

Of section 4 of what clients pin. The words are those of 3.10.8, but for what
``rabbit_differences.TEXTS`` names.
"""

from typing import NamedTuple

from amqp_kit import bind, consume, declare, delete, exchange, get, hard, soft, unbind

from logstore.amqp import methods
from logstore.amqp.properties import Properties


class Publish(NamedTuple):
    """A message, asked for."""

    method: methods.BasicPublish
    properties: Properties


def publish(exchange="", key="q", immediate=False, **given):
    return Publish(methods.BasicPublish(0, exchange, key, False, immediate), Properties(**given))


def e2e(destination, source, **arguments):
    return methods.ExchangeBind(0, destination, source, "k", False, arguments)


# Objects that another connection has created, and owns.
SETUP = [
    exchange(), exchange("bound"), exchange("inner", internal=True),
    exchange("f", **{"alternate-exchange": "a"}), declare("q2"), bind("q2", "bound"), declare(),
    declare("limited", max_length=3), declare("typed", durable=True, queue_type="classic"),
    declare("mine", exclusive=True), declare("taken"), consume("taken", exclusive=True),
    declare("used"), consume("used", "u"), declare("full"),
    declare("sac", single_active_consumer=True),
]  # fmt: skip
FULL = publish(key="full")
LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It "
    "could be originally declared on another connection or the exclusive property value does not "
    "match that of the original declaration."
)

Q, E, V = "queue 'q'", "exchange 'e'", "in vhost '/'"

REFUSED = {
    "passive queue": (declare("no", passive=True),
        soft(404, f"NOT_FOUND - no queue 'no' {V}")),
    "passive exchange": (exchange("no", passive=True),
        soft(404, f"NOT_FOUND - no exchange 'no' {V}", (40, 10))),
    "durable": (declare(durable=True), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'durable' for {Q} {V}: received 'true' but "
        "current is 'false'")),
    "auto_delete": (declare(auto_delete=True), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for {Q} {V}: received 'true' but "
        "current is 'false'")),
    "argument": (declare(message_ttl=1000), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for {Q} {V}: received the value "
        "'1000' of type 'signedint' but current is none")),
    "another value of an argument": (declare("limited", max_length=4), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'limited' {V}: received "
        "'4' but current is '3'")),
    "another type of an argument": (declare("limited", max_length="3"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'limited' {V}: received "
        "'3' but current is '3'")),
    "argument of text": (declare(dead_letter_exchange="x"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for {Q} {V}: received "
        "the value 'x' of type 'longstr' but current is none")),
    "reserved queue": (declare("amq.mine"), soft(403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")),
    "reserved exchange": (exchange("amq.mine"), soft(403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", (40, 10))),
    "default exchange": (exchange(""), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 10))),
    "passive default exchange": (exchange("", passive=True), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 10))),
    "delete default exchange": (methods.ExchangeDelete(0, "", False, False), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 20))),
    "delete system exchange": (methods.ExchangeDelete(0, "amq.direct", False, False), soft(403,
        f"ACCESS_REFUSED - deletion of system exchange 'amq.direct' {V} not allowed", (40, 20))),
    "exchange type": (exchange(kind="topic"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'type' for {E} {V}: received 'topic' but current "
        "is 'direct'", (40, 10))),
    "exchange durable": (exchange(durable=True), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'durable' for {E} {V}: received 'true' but "
        "current is 'false'", (40, 10))),
    "alternate": (exchange(**{"alternate-exchange": "x"}), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for {E} {V}: received the "
        "value 'x' of type 'longstr' but current is none", (40, 10))),
    "bind no exchange": (bind(source="no"), soft(404, f"NOT_FOUND - no exchange 'no' {V}",
        (50, 20))),
    "bind no queue": (bind("no"), soft(404, f"NOT_FOUND - no queue 'no' {V}", (50, 20))),
    "bind to the default exchange": (bind(source=""), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (50, 20))),
    "x-match": (bind(source="amq.headers", **{"x-match": "foo"}), soft(406,
        'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; expected all, any, '
        "all-with-x, or any-with-x", (50, 20))),
    "delete used exchange": (methods.ExchangeDelete(0, "bound", True, False), soft(406,
        f"PRECONDITION_FAILED - exchange 'bound' {V} in use", (40, 20))),
    "no queue named": (get(""), soft(404, "NOT_FOUND - no previously declared queue", (60, 70))),
    "get": (get("no"), soft(404, f"NOT_FOUND - no queue 'no' {V}", (60, 70))),
    "consume": (consume("no"), soft(404, f"NOT_FOUND - no queue 'no' {V}", (60, 20))),
    "purge": (methods.QueuePurge(0, "no", False), soft(404, f"NOT_FOUND - no queue 'no' {V}",
        (50, 30))),
    "dead letter key alone": (declare("n", dead_letter_routing_key="k"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'n' {V}: "
        'routing_key_but_no_dlx_defined')),
    "a priority that is no number": (declare("n", max_priority="x"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'n' {V}: "
        '"expected integer, got longstr"')),
    "expires never": (declare("n", expires=0), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'n' {V}: {{value_zero,0}}")),
    "consumer priority": (consume("q", priority="x"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for {Q} {V}: "
        '"expected integer, got longstr"', (60, 20))),
    "unknown tag": (methods.BasicAck(7, False), soft(406,
        "PRECONDITION_FAILED - unknown delivery tag 7", (60, 80))),
    "unknown tag, multiple": (methods.BasicAck(7, True), soft(406,
        "PRECONDITION_FAILED - unknown delivery tag 7", (60, 80))),
    "tag 0": (methods.BasicAck(0, False), soft(406,
        "PRECONDITION_FAILED - unknown delivery tag 0", (60, 80))),
    "nack": (methods.BasicNack(7, False, True), soft(406,
        "PRECONDITION_FAILED - unknown delivery tag 7", (60, 120))),
    "reject": (methods.BasicReject(7, True), soft(406,
        "PRECONDITION_FAILED - unknown delivery tag 7", (60, 90))),
    "commit": (methods.TxCommit(), soft(406,
        "PRECONDITION_FAILED - channel is not transactional", (90, 20))),
    "rollback": (methods.TxRollback(), soft(406,
        "PRECONDITION_FAILED - channel is not transactional", (90, 30))),
    "locked": (declare("mine", exclusive=True), soft(405, LOCKED)),
    "locked, and otherwise, too": (declare("mine", durable=True, auto_delete=True, max_length=1),
        soft(405, LOCKED)),
    "locked, passive": (declare("mine", passive=True), soft(405, LOCKED)),
    "locked, fetched": (get("mine"), soft(405, LOCKED, (60, 70))),
    "locked, consumed": (consume("mine"), soft(405, LOCKED, (60, 20))),
    "locked, purged": (methods.QueuePurge(0, "mine", False), soft(405, LOCKED, (50, 30))),
    "locked, deleted": (delete("mine"), soft(405, LOCKED, (50, 40))),
    "locked, bound": (bind("mine", "e"), soft(405, LOCKED, (50, 20))),
    "locked, bound to what is not there": (bind("mine", "no"),
        soft(404, f"NOT_FOUND - no exchange 'no' {V}", (50, 20))),
    "declared as an exclusive one": (declare("q", exclusive=True), soft(405,
        LOCKED.replace("mine", "q"))),
    "auto_delete before arguments": (declare("limited", auto_delete=True, max_length=4), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'limited' {V}: received "
        "'true' but current is 'false'")),
    "no argument where there is one": (declare("limited"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'limited' {V}: received "
        "none but current is the value '3' of type 'signedint'")),
    "arguments in their order": (declare("limited", max_length=9, expires=9), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'limited' {V}: received the "
        "value '9' of type 'signedint' but current is none")),
    "a type of queue": (declare("typed", durable=True, queue_type="quorum"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'typed' {V}: received "
        "'quorum' but current is 'classic'")),
    "no type is the classic one": (declare(durable=False, queue_type="quorum"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for {Q} {V}: received the value "
        "'quorum' of type 'longstr' but current is none")),
    "a quorum queue without a name": (declare("", durable=True, queue_type="quorum"), soft(406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue")),
    "a type of queue that there is not": (declare("n", queue_type="nope"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'n' {V}: "
        "\"unsupported queue type 'nope'\"")),
    "a mode that there is not": (declare("n", queue_mode="nope"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-queue-mode' for queue 'n' {V}: "
        "\"unsupported queue mode 'nope'\"")),
    "an overflow that there is not": (declare("n", overflow="nope"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'n' {V}: invalid_overflow")),
    "a priority beyond": (declare("n", max_priority=256), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'n' {V}: "
        "{max_value_exceeded,256}")),
    "a priority below": (declare("n", max_priority=-1), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'n' {V}: "
        "{value_negative,-1}")),
    "a length below": (declare("n", max_length=-1), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'n' {V}: "
        "{value_negative,-1}")),
    "bytes that are a flag": (declare("n", max_length_bytes=True), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-length-bytes' for queue 'n' {V}: "
        '"expected integer, got bool"')),
    "a time below": (declare("n", message_ttl=-1), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'n' {V}: "
        "{value_negative,-1}")),
    "a time beyond": (declare("n", message_ttl=2**40), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'n' {V}: "
        f"{{value_too_large,{2**40}}}")),
    "a time that is a text": (declare("n", message_ttl="1000"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'n' {V}: "
        '"expected integer, got longstr"')),
    "a flag that is a text": (declare("n", single_active_consumer="yes"), soft(406,
        f"PRECONDITION_FAILED - invalid arg 'x-single-active-consumer' for queue 'n' {V}: "
        "{unacceptable_type,longstr}")),
    "a dead letter exchange that is a number": (declare("n", dead_letter_exchange=5), soft(406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue "
        f"'n' {V}")),
    "auto_delete of an exchange": (exchange(auto_delete=True, internal=True), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for {E} {V}: received 'true' but "
        "current is 'false'", (40, 10))),
    "internal": (exchange(internal=True), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'internal' for {E} {V}: received 'true' but "
        "current is 'false'", (40, 10))),
    "another alternate": (exchange("f", **{"alternate-exchange": "b"}), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'f' {V}: "
        "received 'b' but current is 'a'", (40, 10))),
    "no alternate": (exchange("f"), soft(406,
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'f' {V}: "
        "received none but current is the value 'a' of type 'longstr'", (40, 10))),
    "an exchange that is the server's, otherwise": (exchange("amq.direct", "fanout", durable=True),
        soft(406, f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' {V}: "
        "received 'fanout' but current is 'direct'", (40, 10))),
    "bind no exchange to one": (e2e("no", "e"), soft(404,
        f"NOT_FOUND - no exchange 'no' {V}", (40, 30))),
    "bind an exchange to none": (e2e("e", "no"), soft(404,
        f"NOT_FOUND - no exchange 'no' {V}", (40, 30))),
    "bind an exchange to the default one": (e2e("e", ""), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 30))),
    "bind the default exchange": (e2e("", "e"), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 30))),
    "unbind from the default exchange": (unbind("q", ""), soft(403,
        "ACCESS_REFUSED - operation not permitted on the default exchange", (50, 50))),
    "x-match that is a number": (bind(source="amq.headers", **{"x-match": 5}), soft(406,
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr",
        (50, 20))),
    "delete no queue named": (delete(""), soft(404,
        "NOT_FOUND - no previously declared queue", (50, 40))),
    "bind no queue named": (bind("", "e"), soft(404,
        "NOT_FOUND - no previously declared queue", (50, 20))),
    "a queue in use": (delete("used", if_unused=True), soft(406,
        f"PRECONDITION_FAILED - queue 'used' {V} in use", (50, 40))),
    "a queue that is not empty": (delete("full", if_empty=True), soft(406,
        f"PRECONDITION_FAILED - queue 'full' {V} not empty", (50, 40))),
    "one has it for himself": (consume("taken"), soft(403,
        f"ACCESS_REFUSED - queue 'taken' {V} in exclusive use", (60, 20))),
    "one wants it for himself": (consume("used", exclusive=True), soft(403,
        f"ACCESS_REFUSED - queue 'used' {V} in exclusive use", (60, 20))),
    "one wants the active one's place for himself": (consume("sac", exclusive=True), soft(403,
        f"ACCESS_REFUSED - queue 'sac' {V} in exclusive use", (60, 20))),
    "fetched past the active consumer": (get("sac"), soft(405,
        f"RESOURCE_LOCKED - cannot obtain access to locked queue 'sac' {V}. basic.get operations "
        "are not supported by classic queues with single active consumer", (60, 70))),
    "no exchange": (publish("no"), soft(404, f"NOT_FOUND - no exchange 'no' {V}", (60, 40))),
    "no exchange, before anything": (publish("no", expiration="x", user_id="me",
        headers={"CC": 1}), soft(404, f"NOT_FOUND - no exchange 'no' {V}", (60, 40))),
    "an internal exchange": (publish("inner", user_id="me"), soft(403,
        f"ACCESS_REFUSED - cannot publish to internal exchange 'inner' {V}", (60, 40))),
    "somebody else": (publish(user_id="me", expiration="x"), soft(406,
        "PRECONDITION_FAILED - user_id property set to 'me' but authenticated user was 'guest'",
        (60, 40))),
    "replies to nobody": (publish(reply_to="amq.rabbitmq.reply-to", user_id="me"), soft(406,
        "PRECONDITION_FAILED - fast reply consumer does not exist", (60, 40))),
    "expiration": (publish(expiration="x", headers={"CC": 1}), soft(406,
        "PRECONDITION_FAILED - invalid expiration 'x': no_integer", (60, 40))),
    "expiration below": (publish(expiration="-1"), soft(406,
        "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}", (60, 40))),
    "expiration with a rest": (publish(expiration="5s"), soft(406,
        "PRECONDITION_FAILED - invalid expiration '5s': {leftover_string,\"s\"}", (60, 40))),
    "expiration beyond": (publish(expiration=str(2**40)), soft(406,
        f"PRECONDITION_FAILED - invalid expiration '{2**40}': {{value_too_large,{2**40}}}",
        (60, 40))),
    "copies": (publish(headers={"CC": "q"}), soft(406,
        'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
        (60, 40))),
    "blind copies": (publish(headers={"BCC": None}), soft(406,
        'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"BCC",void}',
        (60, 40))),
    "replies that are acknowledged": (consume("amq.rabbitmq.reply-to"), soft(406,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge", (60, 20))),
    "a reply address that there is not": (declare("amq.rabbitmq.reply-to.no"), soft(404,
        f"NOT_FOUND - no queue 'amq.rabbitmq.reply-to.no' {V}")),
    "immediate": (publish(immediate=True), hard(540, "NOT_IMPLEMENTED - immediate=true", 60, 40)),
}  # fmt: skip


STATE_ERRORS = {
    "a channel that is not open": (2, declare(),
        hard(504, "CHANNEL_ERROR - expected 'channel.open'", 50, 10)),
    "opened twice": (1, methods.ChannelOpen(),
        hard(504, "CHANNEL_ERROR - second 'channel.open' seen", 20, 10)),
    "a server's method": (1, methods.BasicGetEmpty(),
        hard(503, "COMMAND_INVALID - unimplemented method", 60, 72)),
    "a connection's method on a channel": (1, methods.ConnectionOpen("/"),
        hard(503, "COMMAND_INVALID - unimplemented method", 10, 40)),
    "a channel's method on the connection": (0, methods.ChannelOpen(),
        hard(504, "CHANNEL_ERROR - unexpected method in connection state running", 20, 10)),
    "opened again": (0, methods.ConnectionOpen("/"),
        hard(504, "CHANNEL_ERROR - unexpected method in connection state running", 10, 40)),
    "flow off": (1, methods.ChannelFlow(False),
        hard(540, "NOT_IMPLEMENTED - active=false", 20, 20)),
    "prefetch size": (1, methods.BasicQos(7, 0, False),
        hard(540, "NOT_IMPLEMENTED - prefetch_size!=0 (7)", 60, 10)),
    "recover without requeue": (1, methods.BasicRecover(False),
        hard(540, "NOT_IMPLEMENTED - requeue=false", 60, 110)),
    "a type of exchanges that there is not": (
        1, methods.ExchangeDeclare(0, "e", "nope", False, False, False, False, False, {}),
        hard(503, "COMMAND_INVALID - unknown exchange type 'nope'", 40, 10)),
}  # fmt: skip
