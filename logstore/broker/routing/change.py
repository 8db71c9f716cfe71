"""The effect of a change of exchanges and bindings, for durable storage."""

from dataclasses import dataclass
from typing import Final

from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts

Row = ExchangeFacts | Binding


@dataclass(frozen=True, slots=True)
class Change:
    """One step, to be stored completely or not at all.

    ``put`` and ``removed`` name only objects that outlive a restart: durable exchanges that are not
    predefined, and bindings from durable exchanges to durable destinations.
    """

    put: tuple[Row, ...] = ()
    removed: tuple[Row, ...] = ()
    gone: tuple[ExchangeFacts, ...] = ()  # exchanges, durable or not

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.put or self.removed)


NOTHING: Final = Change()
