"""Exchanges that keep what reaches them, for something that is no queue: a topic, or a later time.

Such an exchange has a station, and its matcher says which messages end there; all others go on as
from any exchange.
"""

from collections.abc import Sequence
from typing import Protocol

from logstore.broker.routing.matcher import Matcher
from logstore.broker.routing.properties import Properties


class Droppable(Protocol):
    """A station, as routing knows it."""

    def drop(self) -> None:
        """Its exchange is deleted."""


def stops(matcher: Matcher, keys: Sequence[bytes], properties: Properties) -> bool:
    """Whether a message ends at the station of the exchange that this matcher is of."""
    says = getattr(matcher, "stops", None)
    return says is None or bool(says(keys, properties))
