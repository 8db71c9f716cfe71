"""The doors that a server may have, one row each: its clients, its ports, and the code that opens
it.

Each door has two entrances: one for plain connections, and one with TLS if there is a certificate.
The node opens the doors of this table; the command line derives its options from the table and
finds running servers by it. A door's own code is imported when it is opened, and most of it only
for its first client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from logstore.protocols.house import House
    from logstore.protocols.session import Doorway


class Door(NamedTuple):
    """One door. Port 0 in one of its settings means any free port, -1 no entrance."""

    name: str
    clients: str  # whose they are, for people
    port_setting: str
    tls_port_setting: str
    open: "Callable[[House], Doorway]"

    @property
    def plain(self) -> "Entrance":
        return Entrance(self, self.name, self.port_setting, tls=False)

    @property
    def tls(self) -> "Entrance":
        return Entrance(self, f"{self.name}-tls", self.tls_port_setting, tls=True)


class Entrance(NamedTuple):
    """One port or socket at which clients reach a door."""

    door: Door
    name: str  # in the lock file, and in its option: --NAME-port
    port_setting: str
    tls: bool

    @property
    def clients(self) -> str:
        """Whose they are, for people."""
        return f"{self.door.clients} clients{' with TLS' if self.tls else ''}"


def _kafka(house: "House") -> "Doorway":
    from logstore.protocols.kafka import doorway

    return doorway.open(house)


def _resp(house: "House") -> "Doorway":
    from logstore.protocols.resp import doorway

    return doorway.open(house)


def _amqp(house: "House") -> "Doorway":
    from logstore.protocols.amqp import doorway

    return doorway.open(house)


def _http(house: "House") -> "Doorway":
    from logstore.protocols.http import doorway

    return doorway.open(house)


def _mqtt(house: "House") -> "Doorway":
    from logstore.protocols.mqtt import doorway

    return doorway.open(house)


def _stomp(house: "House") -> "Doorway":
    from logstore.protocols.stomp import doorway

    return doorway.open(house)


KAFKA: Final = Door("kafka", "Kafka", "kafka.port", "kafka.tls.port", _kafka)
RESP: Final = Door("resp", "Redis", "resp.port", "resp.tls.port", _resp)
AMQP: Final = Door("amqp", "RabbitMQ", "amqp.port", "amqp.tls.port", _amqp)
MQTT: Final = Door("mqtt", "MQTT", "mqtt.port", "mqtt.tls.port", _mqtt)
STOMP: Final = Door("stomp", "STOMP", "stomp.port", "stomp.tls.port", _stomp)
HTTP: Final = Door("http", "HTTP", "http.port", "http.tls.port", _http)


class Socket(NamedTuple):
    """A separate port for WebSocket connections to a door, as in RabbitMQ's plugins; without it,
    such clients use the HTTP port.
    """

    name: str
    clients: str
    port_setting: str
    door: str


SOCKETS: Final = (
    Socket("web-mqtt", "MQTT clients over WebSocket", "web.mqtt.port", "mqtt"),
    Socket("web-stomp", "STOMP clients over WebSocket", "web.stomp.port", "stomp"),
)

DOORS: Final = (KAFKA, RESP, AMQP, MQTT, STOMP, HTTP)
ENTRANCES: Final = (*(door.plain for door in DOORS), *(door.tls for door in DOORS))
