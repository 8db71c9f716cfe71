"""A binding: from an exchange to a queue or another exchange."""

from typing import Literal, NamedTuple

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments

Kind = Literal["queue", "exchange"]


class Binding(NamedTuple):
    """A binding. All fields are its identity: two that differ in an argument are two bindings."""

    source: bytes
    destination: bytes
    key: bytes = b""
    arguments: Arguments = NO_ARGUMENTS
    kind: Kind = "queue"  # of the destination
