"""The clients of the queues as other parts see them: connections and their channels.

It includes clients of the RabbitMQ door and of the STOMP door, because RabbitMQ's tools list both.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol


class Client(NamedTuple):
    """One connection that has logged in."""

    name: str  # as RabbitMQ names them: both ends
    user: str  # as it calls itself
    vhost: str
    state: str
    address: tuple[str, int]
    peer_address: tuple[str, int]
    secure: bool  # it has come by TLS
    mechanism: str  # by which it has logged in
    channel_max: int
    frame_max: int
    heartbeat_s: int
    properties: Mapping[str, Any]  # that it says of itself
    channels: int
    unsent: int  # bytes
    door: str = "amqp"
    protocol: str = "AMQP 0-9-1"


class ClientChannel(NamedTuple):
    """One channel of a connection."""

    number: int
    name: str
    state: str
    consumers: int
    confirms: bool  # what it publishes is confirmed
    transactional: bool
    prefetch: int  # of consumers that begin later; 0: any number
    prefetch_all: int  # of all of it together
    unacked: int
    unconfirmed: int
    uncommitted: int  # messages that wait for a commit
    acks_uncommitted: int


class Connected(Protocol):
    """The session of one connection."""

    @property
    def name(self) -> str:
        """As Client.name."""

    def seen(self) -> Client | None:
        """None: it has not been let in, or is about to end."""

    def seen_channels(self) -> list[ClientChannel]:
        """By number."""

    def end_by(self, reason: str) -> None:
        """Have the connection end, and the client told why."""


class AmqpClients:
    """All connections, from the moment at which their door is open."""

    def __init__(self) -> None:
        self._there: list[Callable[[], Iterable[Connected]]] = []

    def come_from(self, there: Callable[[], Iterable[Connected]]) -> None:
        """A door is open: these are there, too."""
        self._there.append(there)

    def sessions(self) -> list[Connected]:
        """Of each door in the order in which they came, those too that have not been let in."""
        return [it for there in self._there for it in there()]
