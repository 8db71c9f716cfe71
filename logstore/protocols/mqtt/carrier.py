"""A connection as the single parts of the door see it."""

from collections.abc import Sequence
from typing import Protocol

from logstore.access.quotas import Seat
from logstore.broker.mqtt.line import Line
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.mqtt import Cursor
from logstore.broker.mqtt.session import Session
from logstore.mqtt.reasons import Broken
from logstore.protocols.mqtt.connect import Come
from logstore.protocols.mqtt.door import MqttDoor
from logstore.protocols.mqtt.form import Chunk
from logstore.protocols.mqtt.owed import Owed
from logstore.protocols.mqtt.permits import Permits
from logstore.protocols.mqtt.phase import Phase
from logstore.protocols.session import Link
from logstore.slices import Steps


class First(Protocol):
    """Output that a client receives before any published message."""

    @property
    def held_bytes(self) -> int:
        """Memory held."""

    @property
    def unanswered(self) -> bool:
        """Whether a SUBACK must be sent first."""

    def hold(self, it: Chunk) -> None:
        """Hold messages that were published since the subscription."""

    def go_on(self) -> None:
        """Send more: everything queued is sent."""

    def close(self) -> Sequence[tuple[Cursor, Grant]]:
        """The connection is gone; returns what its session is still to receive."""


class Carrier(Line, Protocol):
    """One connection; to its client's session, it is a ``Line``."""

    door: MqttDoor
    link: Link
    phase: Phase
    version: int  # the protocol level, once it is known
    come: Come | None  # once a CONNECT has arrived
    permits: Permits | None  # once that is true
    mine: Session | None  # from when it has it to the end
    seat: Seat | None
    owed: Owed
    out: list[bytes]
    out_bytes: int
    aliases: dict[int, bytes] | None  # topics by alias
    alias_bytes: int
    first: First | None  # while retained messages are being sent

    def put(self, frames: bytes) -> None:
        """Append frames to the output. Does not wake the link."""

    def answer(self) -> None:
        """Acknowledge messages that have become safe."""

    def look_at_disk(self) -> None:
        """Check the disk's free space, before something is stored."""

    def acked(self, pids: Sequence[int]) -> None:
        """Settle messages of QoS 1 that the client acknowledged or refused. Raises Broken."""

    def work(self, steps: Steps) -> None:
        """Run steps that may be slow; no further packet is processed before their end."""

    def run(self) -> None:
        """The client is admitted: start to process its packets."""

    def refuse(self, broken: Broken, *, delay_s: float = 0.0, reason: str | None = None) -> None:
        """Refuse the client. ``reason``: the text for the log, if it differs."""

    def fail(self, broken: Broken) -> None:
        """End the connection with an error, which is sent if the protocol version has a packet for
        it.
        """

    def end(self, reason: str) -> None:
        """End the connection without a packet to the client. ``reason``: as Session.closed."""
