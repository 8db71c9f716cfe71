"""Exchanges of the types x-topic and x-channel: their messages go to a topic or a channel.

The target has the exchange's name, or the name in the argument ``x-target``. Whether the topic
exists is checked when a message is published.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import TARGET, ExchangeFacts
from logstore.broker.routing.matcher import Choose, Destination
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import InvalidArgument, NotASource

TO_TOPIC: Final = "x-topic"
TO_CHANNEL: Final = "x-channel"
TYPES: Final = frozenset({TO_TOPIC, TO_CHANNEL})
PREFIXES: Final = {"topic": TO_TOPIC, "channel": TO_CHANNEL}  # of ``topic:audit``, which people say


def target_of(name: bytes, arguments: Arguments) -> bytes:
    """Return the name of the topic or channel. Raises InvalidArgument."""
    field = arguments.get(TARGET)
    if field is None:
        return name
    if field.kind != "S" or not field.value:
        raise InvalidArgument(TARGET, field, "a longstr, the name of a topic or a channel")
    return bytes(field.value)


def target_of_exchange(facts: ExchangeFacts) -> bytes:
    """Return the name of the exchange's topic or channel. Raises InvalidArgument."""
    return target_of(facts.name, facts.arguments)


class Terminal:
    """The matcher of an exchange that forwards nothing to bindings."""

    by_key = True

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        target_of(b"", arguments)

    def add(self, binding: Binding, destination: Destination) -> None:
        """Refuse the binding. Raises NotASource."""
        raise NotASource(binding.source)

    def remove(self, binding: Binding, destination: Destination) -> None:
        raise AssertionError("nothing is bound from here")

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        return ()
