"""A session's view of its connection, and the messages that it sends."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from logstore.broker.listeners import Chunk, Form
from logstore.broker.mqtt.message import About
from logstore.broker.queues.subscription import Whose


class Sent(NamedTuple):
    """One message on its way to a client."""

    topic: bytes
    payload: bytes
    qos: int
    pid: int  # the packet identifier; 0: QoS 0 has none
    dup: bool  # the client may have had it before
    retain: bool
    ids: tuple[int, ...]  # subscription identifiers
    about: About | None


class Line(Protocol):
    """One connection of a client after CONNECT was accepted. Used in the sessions' thread."""

    @property
    def whose(self) -> Whose | None:
        """The client of the connection, for messages to people."""

    def form_of(self, *, retain_as_published: bool, ids: tuple[int, ...]) -> Form:
        """As Member.form_of."""

    def deliver(self, chunk: Chunk) -> None:
        """As Member.deliver."""

    def room_bytes(self) -> int:
        """Return how many more bytes the connection accepts.

        At 0 or below it calls ``Session.drained`` once it has room again.
        """

    def send(self, messages: Sequence[Sent]) -> Sequence[int]:
        """Send the messages in this order.

        Returns the packet identifiers of messages above the client's maximum packet size: they are
        not sent, and count as delivered (MQTT 5.0, 3.1.2.11.4).
        """

    def release(self, pids: Sequence[int]) -> None:
        """Send PUBREL for each of these messages of QoS 2, in this order."""

    def taken_over(self) -> None:
        """End this connection: its client has connected again (3.1.4)."""

    def session_ended(self, reason: str) -> None:
        """End this connection: its session was ended by the server or another client."""
