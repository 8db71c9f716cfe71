"""What a server refuses, in the words that are used here without one.

The door says it in RabbitMQ's words, by which clients know it; these are turned back. Which queue
or exchange it is about is taken from the request: texts are cut at 255 bytes.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from logstore.amqp.fields import data
from logstore.amqp.methods import Method
from logstore.amqp.replies import NAMES
from logstore.broker.queues import refusals as queues
from logstore.broker.queues.tables import field_of
from logstore.broker.routing import refusals as routing
from logstore.broker.routing.arguments import Field
from logstore.broker.routing.exchange_types import type_names
from logstore.errors import LogstoreError, Refused

Match = re.Match[str]
Maker = Callable[[Match, Method], LogstoreError]


def refused(code: int, text: str, method: Method) -> LogstoreError:
    """The error for a Close that answers ``method``."""
    sentence = text.removeprefix(f"{NAMES.get(code, '')} - ")
    for pattern, make in _WORDED:
        match = pattern.match(sentence)
        if match is not None:
            return make(match, method)
    return Refused(sentence)


def _named(method: Method, *fields: str) -> bytes:
    """The name in the first of these fields that the method has."""
    found = (getattr(method, it, None) for it in fields)
    return data(next((it for it in found if it is not None), ""))


def _exchange(_: Match, method: Method) -> bytes:
    return _named(method, "exchange", "source")


def _queue(_: Match, method: Method) -> bytes:
    return _named(method, "queue")


def _either_end(match: Match, method: Method) -> bytes:
    """The missing exchange, one of a binding's two."""
    source, destination = _named(method, "exchange", "source"), _named(method, "destination")
    named = data(match["name"])
    return destination if named == destination[: len(named)] else source


_SAID = r"(?:the value '(?P<{0}_value>.*)' of type '\w+'|'(?P<{0}>.*)'|none)"
_DIFFERS = (
    r"inequivalent arg '(?P<argument>.*)' for {} '.*' in vhost '.*': received "
    + _SAID.format("received") + " but current is " + _SAID.format("current") + "$"
)  # fmt: skip


def _said(match: Match, side: str) -> Field | None:
    value = match[f"{side}_value"] if match[side] is None else match[side]
    return None if value is None else Field("S", data(value))


def _queue_differs(match: Match, method: Method) -> LogstoreError:
    sides = _said(match, "received"), _said(match, "current")
    return queues.QueueDiffers(_queue(match, method), match["argument"], *sides)


def _exchange_differs(match: Match, method: Method) -> LogstoreError:
    sides = _said(match, "received"), _said(match, "current")
    return routing.Inequivalent(_exchange(match, method), match["argument"], *sides)


def _given(match: Match, method: Method) -> Field:
    arguments: dict[str, Any] = getattr(method, "arguments", {})
    return field_of(arguments.get(match["argument"]))


def _invalid_of_queue(match: Match, method: Method) -> LogstoreError:
    said = re.match(r"\{?\"?([\w ]+)", match["fault"])
    fault = "unacceptable_type" if said is None else _FAULTS.get(said[1].strip(), said[1].strip())
    argument = data(match["argument"])
    return queues.InvalidQueueArgument(
        _queue(match, method), argument, _given(match, method), fault
    )


def _invalid(match: Match, method: Method) -> LogstoreError:
    argument, expected = data(match["argument"]), match["expected"]
    return routing.InvalidArgument(argument, _given(match, method), expected)


# Errors that RabbitMQ words differently from its names.
_FAULTS: Final = {
    "expected integer": "no_integer",
    "unsupported queue type": "invalid_queue_type",
    "unsupported queue mode": "invalid_queue_mode",
}


def _of(error: Callable[[bytes], LogstoreError], name: Callable[[Match, Method], bytes]) -> Maker:
    return lambda match, method: error(name(match, method))


_MAKERS: Final[tuple[tuple[str, Maker], ...]] = (
    (r"no exchange '(?P<name>.*?)(?:' in vhost '|$)", _of(routing.NoExchange, _either_end)),
    (r"no queue '|no previously declared queue", lambda match, method: routing.NoQueue(
        _named(method, "queue", "routing_key"))),
    (r"exchange '.*' in use$", _of(routing.InUse, _exchange)),
    (r"queue '.*' in use$", _of(queues.ConsumersThere, _queue)),
    (r"queue '.*' not empty$", _of(queues.NotEmpty, _queue)),
    (r"queue '.*' in exclusive use$", _of(queues.ExclusiveUse, _queue)),
    (r"exchange name '", _of(routing.Reserved, _exchange)),
    (r"queue name '", _of(queues.ReservedName, _queue)),
    (r"Cannot declare a server-named queue for type rabbit_(?P<type>\w+)_queue",
     lambda match, method: queues.Nameless(match["type"])),
    (r"invalid property '(?P<given>[^']*)' for queue '",
     lambda match, method: queues.NoSuchStream(_queue(match, method), match["given"])),
    (r"queue '.*' can't be a stream: (?P<why>.*)",
     lambda match, method: queues.NoTopicForIt(_queue(match, method), match["why"])),
    (r"invalid arg '(?P<argument>[^']*)' for queue '.*' in vhost '.*' of queue type "
     r"rabbit_(?P<type>\w+)_queue", lambda match, method: queues.NotOfType(
        _queue(match, method), data(match["argument"]), match["type"])),
    (r"(?P<act>.*) not supported by stream queues queue '",
     lambda match, method: queues.NotOfStreams(_queue(match, method), match["act"])),
    (r"(?P<what>.*) not supported by queue '",
     lambda match, method: queues.NotAmongNodes(_queue(match, method), match["what"])),
    (r"queue '.*' does not support global qos", _of(queues.NoGlobalQos, _queue)),
    (r"consumer prefetch count is not set for 'queue '", _of(queues.Unlimited, _queue)),
    (r"cannot obtain exclusive access to locked queue '", _of(queues.Locked, _queue)),
    (r"cannot obtain access to locked queue '", _of(queues.SingleActive, _queue)),
    (r"operation not permitted on the default exchange",
     lambda match, method: routing.NotPermitted(b"")),
    (r"deletion of system exchange '", _of(routing.NotPermitted, _exchange)),
    (r"cannot publish to internal exchange '", _of(routing.InternalExchange, _exchange)),
    (r"unknown exchange type '",
     lambda match, method: routing.UnknownType(getattr(method, "type", ""), type_names())),
    (r"Missing or invalid argument, 'x-cache-size'", lambda match, method: routing.NoCacheSize()),
    (r"Invalid argument, 'x-delayed-type' must be", lambda match, method: routing.NoDelayedType()),
    (r"invalid x-delay '(?P<delay>\d+)'",
     lambda match, method: routing.InvalidDelay(int(match["delay"]))),
    (r"invalid expiration '(?P<text>.*)': ",
     lambda match, method: queues.InvalidExpiration(data(match["text"]), "")),
    (_DIFFERS.format("queue"), _queue_differs),
    (_DIFFERS.format("exchange"), _exchange_differs),
    (r"invalid arg '(?P<argument>[^']*)' for queue '.*' in vhost '.*': (?P<fault>.*)",
     _invalid_of_queue),
    (r"invalid type '\w+' for arg '(?P<argument>[^']*)' in queue '(?P<fault>)",
     _invalid_of_queue),
    (r"invalid arg '(?P<argument>[^']*)': .*; expected (?P<expected>.*)", _invalid),
    (r"Invalid (?P<argument>x-match) .*; expected (?P<expected>.*)", _invalid),
)  # fmt: skip

_WORDED: Final = tuple((re.compile(pattern, re.DOTALL), make) for pattern, make in _MAKERS)
