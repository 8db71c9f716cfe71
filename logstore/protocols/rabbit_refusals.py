"""Refusals of the models in RabbitMQ's words: people search for these texts, clients compare them.

One table, by the kind of error. Each entry gives the reply's code and text; the text names the
virtual host, which the models do not know.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from logstore.amqp.fields import KINDS, text
from logstore.amqp.replies import (
    ACCESS_REFUSED,
    COMMAND_INVALID,
    INTERNAL_ERROR,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    Refusal,
)
from logstore.broker.queues import refusals as queues
from logstore.broker.routing import refusals as routing
from logstore.broker.routing.arguments import Field
from logstore.errors import Failed, LogstoreError

# RabbitMQ's names of the types of fields, by their letters.
TYPES: Final = {
    "S": "longstr", "I": "signedint", "D": "decimal", "T": "timestamp", "F": "table", "b": "byte",
    "B": "unsignedbyte", "d": "double", "f": "float", "l": "long", "L": "unsignedlong",
    "s": "short", "u": "unsignedshort", "i": "unsignedint", "t": "bool", "x": "binary",
    "V": "void", "A": "array",
}  # fmt: skip

Worded = tuple[int, str]


def place(kind: str, name: bytes, vhost: str) -> str:
    """As RabbitMQ says where something is."""
    return f"{kind} '{text(name)}' in vhost '{vhost}'"


def _value(field: Field) -> str:
    value = field.value
    if isinstance(value, bytes):
        return text(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _term(field: Field) -> str:
    """As Erlang writes it; what is in tables and arrays is left out."""
    if field.kind in "AF":
        return "[...]"
    if field.value is None:
        return "undefined"
    return f'<<"{_value(field)}">>' if field.kind == "S" else _value(field)


def _said(value: str | bool | Field | None) -> str:
    """One side of an inequivalent argument."""
    if value is None:
        return "none"
    if isinstance(value, Field):
        return f"the value '{_value(value)}' of type '{TYPES[value.kind]}'"
    return f"'{str(value).lower()}'" if isinstance(value, bool) else f"'{value}'"


def _differs(kind: str, name: bytes, error: Any, vhost: str) -> Worded:  # noqa: ANN401  either's
    received, current = _said(error.received), _said(error.current)
    if isinstance(error.received, Field) and isinstance(error.current, Field):
        received, current = f"'{_value(error.received)}'", f"'{_value(error.current)}'"
    return PRECONDITION_FAILED, (
        f"inequivalent arg '{error.argument}' for {place(kind, name, vhost)}: received {received} "
        f"but current is {current}"
    )


def _not_permitted(error: routing.NotPermitted, vhost: str) -> Worded:
    if not error.exchange:
        return ACCESS_REFUSED, "operation not permitted on the default exchange"
    return ACCESS_REFUSED, (
        f"deletion of system {place('exchange', error.exchange, vhost)} not allowed"
    )


def _invalid_exchange(error: routing.InvalidArgument, _: str) -> Worded:
    if error.argument == b"x-match":
        given = error.received
        if given.kind != "S":
            return PRECONDITION_FAILED, (
                f"Invalid x-match field type {TYPES[given.kind]} (value {_value(given)}); expected "
                f"longstr"
            )
        return PRECONDITION_FAILED, (
            f'Invalid x-match field value <<"{_value(given)}">>; expected all, any, all-with-x, '
            f"or any-with-x"
        )
    return PRECONDITION_FAILED, (
        f"invalid arg '{text(error.argument)}': the value '{_value(error.received)}' of type "
        f"'{TYPES[error.received.kind]}'; expected {error.expected}"
    )


# As RabbitMQ words them: each has a form of its own; others are {fault,value}.
_FAULTS: Final[dict[str, Callable[[Field], str]]] = {
    "no_integer": lambda it: f'"expected integer, got {TYPES[it.kind]}"',
    "unacceptable_type": lambda it: f"{{unacceptable_type,{TYPES[it.kind]}}}",
    "invalid_overflow": lambda it: "invalid_overflow",
    "invalid_max_age": lambda it: "invalid_max_age",
    "invalid_stream_offset_arg": lambda it: (
        f"{{invalid_stream_offset_arg,{{{TYPES[it.kind]},{_term(it)}}}}}"
    ),
    "routing_key_but_no_dlx_defined": lambda it: "routing_key_but_no_dlx_defined",
    "invalid_queue_type": lambda it: f"\"unsupported queue type '{_value(it)}'\"",
    "invalid_queue_mode": lambda it: f"\"unsupported queue mode '{_value(it)}'\"",
}


def _invalid_queue(
    error: queues.InvalidQueueArgument | queues.InvalidConsumerArgument, vhost: str
) -> Worded:
    received, argument = error.received, text(error.argument)
    of = place("queue", error.queue, vhost)
    if argument == "x-dead-letter-exchange" and error.fault == "unacceptable_type":
        kind = TYPES[received.kind]
        return PRECONDITION_FAILED, f"invalid type '{kind}' for arg '{argument}' in {of}"
    if argument == "x-stream-max-segment-size-bytes" and error.fault == "value_too_large":
        return PRECONDITION_FAILED, f"Exceeded max value for {argument}"
    worded = _FAULTS.get(error.fault)
    said = f"{{{error.fault},{_term(received)}}}" if worded is None else worded(received)
    return PRECONDITION_FAILED, f"invalid arg '{argument}' for {of}: {said}"


def _locked(error: queues.Locked, vhost: str) -> Worded:
    return RESOURCE_LOCKED, (
        f"cannot obtain exclusive access to locked {place('queue', error.queue, vhost)}. It could "
        f"be originally declared on another connection or the exclusive property value does not "
        f"match that of the original declaration."
    )


def _single_active(error: queues.SingleActive, vhost: str) -> Worded:
    return RESOURCE_LOCKED, (
        f"cannot obtain access to locked {place('queue', error.queue, vhost)}. basic.get "
        f"operations are not supported by classic queues with single active consumer"
    )


def _expiration(error: queues.InvalidExpiration, _: str) -> Worded:
    given = text(error.text)
    number = re.match(r"[+-]?[0-9]+", given)
    if number is None:
        fault = error.fault
    elif number[0] != given:
        fault = f'{{leftover_string,"{given[number.end() :]}"}}'
    else:
        fault = f"{{{error.fault},{int(given)}}}"
    return PRECONDITION_FAILED, f"invalid expiration '{given}': {fault}"


def _header(error: queues.InvalidHeader, _: str) -> Worded:
    kind = TYPES[KINDS[type(error.received)]]
    return PRECONDITION_FAILED, (
        f'invalid message: {{unacceptable_type_in_header,"{text(error.header)}",{kind}}}'
    )


def _soft(code: int, words: Callable[[Any, str], str]) -> Callable[[Any, str], Worded]:
    return lambda error, vhost: (code, words(error, vhost))


_WORDED: Final[dict[type[LogstoreError], Callable[[Any, str], Worded]]] = {
    routing.NoExchange: _soft(
        NOT_FOUND, lambda it, vhost: f"no {place('exchange', it.exchange, vhost)}"
    ),
    routing.NoQueue: _soft(NOT_FOUND, lambda it, vhost: f"no {place('queue', it.queue, vhost)}"),
    routing.NotPermitted: _not_permitted,
    routing.Reserved: _soft(
        ACCESS_REFUSED,
        lambda it, _: f"exchange name '{text(it.exchange)}' contains reserved prefix 'amq.*'",
    ),
    routing.InUse: _soft(
        PRECONDITION_FAILED, lambda it, vhost: f"{place('exchange', it.exchange, vhost)} in use"
    ),
    routing.Inequivalent: lambda it, vhost: _differs("exchange", it.exchange, it, vhost),
    # The connection ends for it, as in RabbitMQ before 4.0.
    routing.UnknownType: _soft(
        COMMAND_INVALID, lambda it, _: f"unknown exchange type '{it.type_name}'"
    ),
    routing.InternalExchange: _soft(
        ACCESS_REFUSED,
        lambda it, vhost: f"cannot publish to internal {place('exchange', it.exchange, vhost)}",
    ),
    routing.InvalidArgument: _invalid_exchange,
    routing.NoDelayedType: _soft(
        PRECONDITION_FAILED,
        lambda _, __: "Invalid argument, 'x-delayed-type' must be an existing exchange type",
    ),
    routing.NoCacheSize: _soft(
        PRECONDITION_FAILED,
        lambda _, __: (
            "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"
        ),
    ),
    routing.InvalidDelay: _soft(
        PRECONDITION_FAILED,
        lambda it, _: f"invalid x-delay '{it.delay_ms}': at most ten years, 315360000000 ms",
    ),
    queues.Locked: _locked,
    queues.ReservedName: _soft(
        ACCESS_REFUSED,
        lambda it, _: f"queue name '{text(it.queue)}' contains reserved prefix 'amq.*'",
    ),
    queues.QueueDiffers: lambda it, vhost: _differs("queue", it.queue, it, vhost),
    queues.InvalidQueueArgument: _invalid_queue,
    queues.Nameless: _soft(
        PRECONDITION_FAILED,
        lambda it, _: f"Cannot declare a server-named queue for type {_type(it.type_name)}",
    ),
    queues.ConsumersThere: _soft(
        PRECONDITION_FAILED, lambda it, vhost: f"{place('queue', it.queue, vhost)} in use"
    ),
    queues.NotEmpty: _soft(
        PRECONDITION_FAILED, lambda it, vhost: f"{place('queue', it.queue, vhost)} not empty"
    ),
    queues.ExclusiveUse: _soft(
        ACCESS_REFUSED, lambda it, vhost: f"{place('queue', it.queue, vhost)} in exclusive use"
    ),
    queues.SingleActive: _single_active,
    queues.InvalidConsumerArgument: _invalid_queue,
    queues.NotOfType: _soft(
        PRECONDITION_FAILED,
        lambda it, vhost: (
            f"invalid arg '{text(it.argument)}' for {place('queue', it.queue, vhost)} of queue "
            f"type {_type(it.type_name)}"
        ),
    ),
    queues.NoSuchStream: _soft(
        PRECONDITION_FAILED,
        lambda it, vhost: f"invalid property '{it.given}' for {place('queue', it.queue, vhost)}",
    ),
    queues.NoTopicForIt: _soft(
        PRECONDITION_FAILED,
        lambda it, vhost: f"{place('queue', it.queue, vhost)} can't be a stream: {it.why}",
    ),
    # The connection ends for it, as for all that RabbitMQ does not implement.
    queues.NotOfStreams: _soft(
        NOT_IMPLEMENTED,
        lambda it, vhost: (
            f"{it.act} not supported by stream queues {place('queue', it.queue, vhost)}"
        ),
    ),
    queues.NotAmongNodes: _soft(
        NOT_IMPLEMENTED,
        lambda it, vhost: f"{it.what} not supported by {place('queue', it.queue, vhost)}",
    ),
    queues.NoGlobalQos: _soft(
        NOT_IMPLEMENTED,
        lambda it, vhost: f"{place('queue', it.queue, vhost)} does not support global qos",
    ),
    queues.Unlimited: _soft(
        PRECONDITION_FAILED,
        lambda it, vhost: (
            f"consumer prefetch count is not set for '{place('queue', it.queue, vhost)}'"
        ),
    ),
    queues.InvalidExpiration: _expiration,
    queues.InvalidHeader: _header,
}


def _type(name: str) -> str:
    """As RabbitMQ calls the implementations of its types of queues."""
    return f"rabbit_{name}_queue"


def refusal_of(error: LogstoreError, vhost: str) -> Refusal:
    """What a peer is told of it. Where the machine failed its connection ends."""
    if isinstance(error, Refusal):
        return error
    worded = _WORDED.get(type(error))
    if worded is not None:
        return Refusal(*worded(error, vhost))
    return Refusal(INTERNAL_ERROR if isinstance(error, Failed) else PRECONDITION_FAILED, str(error))
