"""The doors that a server may have, one row each: whose clients come in, where, and what opens it.

The node opens them by this table; the command line takes its options and finds running servers by
it. A door's own code is imported when it is opened, and most of it only for its first client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from logstore.protocols.house import House
    from logstore.protocols.session import Doorway


class Door(NamedTuple):
    """One door. Port 0 of its setting is any free port, -1, where it is allowed, no such door."""

    name: str  # in the lock file, and in its option: --NAME-port
    clients: str  # whose they are, for people
    port_setting: str
    open: "Callable[[House], Doorway]"


def _kafka(house: "House") -> "Doorway":
    from logstore.protocols.kafka import doorway

    return doorway.open(house)


def _resp(house: "House") -> "Doorway":
    from logstore.protocols.resp import doorway

    return doorway.open(house)


def _amqp(house: "House") -> "Doorway":
    from logstore.protocols.amqp import doorway

    return doorway.open(house)


KAFKA: Final = Door("kafka", "Kafka", "kafka.port", _kafka)
RESP: Final = Door("resp", "Redis", "resp.port", _resp)
AMQP: Final = Door("amqp", "RabbitMQ", "amqp.port", _amqp)

DOORS: Final = (KAFKA, RESP, AMQP)
