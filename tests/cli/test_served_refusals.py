"""What a server refuses is said as it is said without one: RabbitMQ's words are turned back."""

import pytest
from logstore_cli.served.refusal import refused

from logstore.amqp import methods
from logstore.amqp.fields import Short
from logstore.amqp.replies import Refusal
from logstore.broker.queues import refusals as queues
from logstore.broker.queues.tables import field_of
from logstore.broker.routing import refusals as routing
from logstore.broker.routing.arguments import Field
from logstore.broker.routing.exchange_types import type_names
from logstore.errors import Failed, StorageFull
from logstore.protocols.rabbit_refusals import _WORDED, refusal_of

ARGUMENTS = {
    "x-max-priority": 300, "x-overflow": "no", "x-queue-type": "strem", "x-max-length": "1",
    "x-message-ttl": True, "x-dead-letter-exchange": 5, "x-match": "some",
    "alternate-exchange": Short(4), "x-dead-letter-routing-key": "k",
}  # fmt: skip


def asked(name, exchange="e"):
    """Requests that a command makes, which this may answer."""
    declare = methods.QueueDeclare(0, name, False, True, False, False, False, ARGUMENTS)
    return {
        "declare": declare,
        "exchange": methods.ExchangeDeclare(
            0, exchange, "topc", False, True, False, False, False, ARGUMENTS
        ),
        "bind": methods.QueueBind(0, name, exchange, "k", False, ARGUMENTS),
        "publish": methods.BasicPublish(0, exchange, "k", True, False),
        "get": methods.BasicGet(0, name, False),
        "delete": methods.ExchangeDelete(0, exchange, True, False),
    }


def invalid(argument, fault):
    def make(queue, exchange):
        return queues.InvalidQueueArgument(
            queue, argument.encode(), field_of(ARGUMENTS[argument]), fault
        )

    return make


CASES = [
    ("bind", lambda q, e: routing.NoQueue(q)),
    ("bind", lambda q, e: routing.NoExchange(e)),
    ("publish", lambda q, e: routing.NoExchange(e)),
    ("publish", lambda q, e: routing.InternalExchange(e)),
    ("publish", lambda q, e: queues.InvalidExpiration(b"ten", "no_integer")),
    ("exchange", lambda q, e: routing.UnknownType("topc", type_names())),
    ("exchange", lambda q, e: routing.Reserved(e)),
    ("exchange", lambda q, e: routing.NotPermitted(b"")),
    ("exchange", lambda q, e: routing.Inequivalent(e, "type", "topc", "topic")),
    ("exchange", lambda q, e: routing.Inequivalent(e, "durable", True, False)),
    ("exchange", lambda q, e: routing.Inequivalent(
        e, "alternate-exchange", None, Field("S", b"it's 'so' of type 'longstr'"))),
    ("exchange", lambda q, e: routing.InvalidArgument(
        b"alternate-exchange", field_of(Short(4)), "a longstr, an exchange's name")),
    ("bind", lambda q, e: routing.InvalidArgument(
        b"x-match", Field("S", b"some"), "all, any, all-with-x, or any-with-x")),
    ("bind", lambda q, e: routing.ConflictingArguments(b"a", b"b")),
    ("bind", lambda q, e: routing.InvalidWeight(b"k")),
    ("delete", lambda q, e: routing.InUse(e)),
    ("delete", lambda q, e: routing.NotPermitted(e)),
    ("exchange", lambda q, e: routing.NoDelayedType()),
    ("exchange", lambda q, e: routing.NoCacheSize()),
    ("publish", lambda q, e: routing.InvalidDelay(2**40)),
    ("get", lambda q, e: routing.NoQueue(q)),
    ("get", lambda q, e: queues.Locked(q)),
    ("get", lambda q, e: queues.SingleActive(q)),
    ("get", lambda q, e: queues.ExclusiveUse(q)),
    ("get", lambda q, e: queues.ConsumersThere(q)),
    ("get", lambda q, e: queues.NotEmpty(q)),
    ("declare", lambda q, e: queues.ReservedName(q)),
    ("declare", lambda q, e: queues.Nameless("quorum")),
    ("declare", lambda q, e: queues.Nameless("stream")),
    ("declare", lambda q, e: queues.NoSuchStream(q, "non-durable")),
    ("declare", lambda q, e: queues.NoTopicForIt(q, "topic 's' has 2 partitions")),
    ("declare", lambda q, e: queues.NotOfType(q, b"x-max-priority", "stream")),
    ("get", lambda q, e: queues.NotOfStreams(q, "basic.get")),
    ("declare", lambda q, e: queues.NotAmongNodes(q, "deduplication: any node takes messages")),
    ("get", lambda q, e: queues.NoGlobalQos(q)),
    ("get", lambda q, e: queues.Unlimited(q)),
    ("declare", lambda q, e: queues.QueueDiffers(
        q, "x-max-priority", Field("I", 5), Field("I", 300))),
    ("declare", lambda q, e: queues.QueueDiffers(q, "x-overflow", Field("S", b"drop-head"), None)),
    ("declare", lambda q, e: queues.QueueDiffers(q, "auto_delete", True, False)),
    ("declare", invalid("x-max-priority", "max_value_exceeded")),
    ("declare", invalid("x-overflow", "invalid_overflow")),
    ("declare", invalid("x-max-length", "no_integer")),
    ("declare", invalid("x-queue-type", "invalid_queue_type")),
    ("declare", invalid("x-message-ttl", "unacceptable_type")),
    ("declare", invalid("x-dead-letter-exchange", "unacceptable_type")),
    ("declare", invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")),
    ("publish", lambda q, e: StorageFull("the disk is full")),
]  # fmt: skip


@pytest.mark.parametrize("name", ["q", "it's", "a' in vhost '/", "\udcff"])
@pytest.mark.parametrize(("what", "make"), CASES)
def test_an_error_is_said_in_the_same_words_as_without_a_server(name, what, make):
    error = make(name.encode(errors="surrogateescape"), name.encode(errors="surrogateescape"))
    refusal = refusal_of(error, "/")
    found = refused(refusal.code, refusal.text, asked(name, name)[what])
    assert str(found) == str(error)


def test_every_error_that_the_door_has_words_for_is_turned_back():
    tried = {type(make(b"q", b"e")) for _, make in CASES}
    # What no request of a command can lead to: those headers are the sender's, and no command asks
    # for anything by a consumer's arguments.
    assert set(_WORDED) - tried == {queues.InvalidHeader, queues.InvalidConsumerArgument}


@pytest.mark.parametrize(("what", "make"), CASES[:2])
def test_a_text_that_was_cut_off_names_what_was_asked_for_in_full(what, make):
    name = "n" * 255
    error = make(name.encode(), name.encode())
    refusal = refusal_of(error, "/")
    assert len(refusal.text) == 255
    assert str(refused(refusal.code, refusal.text, asked(name, name)[what])) == str(error)


def test_what_is_not_known_is_said_as_it_came():
    refusal = Refusal(406, "something else")
    assert str(refused(406, refusal.text, asked("q")["get"])) == "something else"
    assert not isinstance(refused(406, refusal.text, asked("q")["get"]), Failed)
