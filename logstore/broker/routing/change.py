"""What a change of exchanges and bindings comes to, for whoever keeps them durably."""

from dataclasses import dataclass
from typing import Final

from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts

Row = ExchangeFacts | Binding


@dataclass(frozen=True, slots=True)
class Change:
    """One step, to be kept whole or not at all.

    ``put`` and ``removed`` name what is to outlive a restart: durable exchanges that are not
    predefined, and bindings from durable exchanges to durable destinations.
    """

    put: tuple[Row, ...] = ()
    removed: tuple[Row, ...] = ()
    gone: tuple[ExchangeFacts, ...] = ()  # exchanges, durable or not

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.put or self.removed)


NOTHING: Final = Change()
