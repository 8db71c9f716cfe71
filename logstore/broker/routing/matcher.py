"""The behaviour of an exchange type: knows the bindings of one exchange, and selects among them."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol

from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.properties import Properties

Destination = Hashable  # a queue or an exchange; what it is means nothing to a matcher
Choose = Callable[[int], int]  # as random.randrange: a number from 0, below the one given


class Matcher(Protocol):
    """The compiled bindings of one exchange.

    A type of another package is a callable like ``MatcherOf``, in the entry point group
    ``logstore.exchanges``, under the name of the type.
    """

    by_key: bool  # the routing keys alone decide: what they lead to may be remembered

    def add(self, binding: Binding, destination: Destination) -> None:
        """Add a new binding. Raises Refused without any change."""

    def remove(self, binding: Binding, destination: Destination) -> None:
        """Remove a binding that was added."""

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        """The destinations of a message with these keys; a destination may occur more than once.

        ``keys``: the message's routing key, then those of its CC and BCC headers.
        """


# Makes the matcher of a new exchange from its arguments. Raises Refused if they are illegal.
MatcherOf = Callable[[Arguments, Choose], Matcher]
