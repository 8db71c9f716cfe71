"""The clients of the RabbitMQ door, as others may know of them: connections, and their channels."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol


class Client(NamedTuple):
    """One connection that has been let in."""

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
    """All of them, from the moment at which the door is open."""

    def __init__(self) -> None:
        self._there: Callable[[], Iterable[Connected]] = tuple

    def come_from(self, there: Callable[[], Iterable[Connected]]) -> None:
        """The door is open: these are there."""
        self._there = there

    def sessions(self) -> list[Connected]:
        """In the order in which they came, those too that have not been let in."""
        return list(self._there())
