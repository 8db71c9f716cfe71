"""Exchanges with their own destination that is not a queue: a topic, a channel, or a later time.

Such an exchange has a station, and its matcher says which messages go there; all others are routed
as usual.
"""

from collections.abc import Sequence
from typing import Protocol

from logstore.broker.routing.matcher import Matcher
from logstore.broker.routing.properties import Properties


class Droppable(Protocol):
    """A station as routing sees it."""

    def drop(self) -> None:
        """Handle the deletion of the station's exchange."""


def stops(matcher: Matcher, keys: Sequence[bytes], properties: Properties) -> bool:
    """Whether a message stops at the station of the exchange with this matcher."""
    says = getattr(matcher, "stops", None)
    return says is None or bool(says(keys, properties))
