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
        """Memory that it takes."""

    @property
    def unanswered(self) -> bool:
        """Whether a SUBACK is to come before that."""

    def hold(self, it: Chunk) -> None:
        """Messages that were published since."""

    def go_on(self) -> None:
        """All that was to be sent is: some more."""

    def close(self) -> Sequence[tuple[Cursor, Grant]]:
        """The connection is gone; what its session was to have yet."""


class Carrier(Line, Protocol):
    """One connection; to its client's session, it is a ``Line``."""

    door: MqttDoor
    link: Link
    phase: Phase
    version: int  # the protocol level, once it is known
    come: Come | None  # once it has said who it is
    permits: Permits | None  # once that is true
    mine: Session | None  # from when it has it to the end
    seat: Seat | None
    owed: Owed
    out: list[bytes]
    out_bytes: int
    aliases: dict[int, bytes] | None  # topics, by what stands for them
    alias_bytes: int
    first: First | None  # what is retained is on its way to it

    def put(self, frames: bytes) -> None:
        """Behind all that is to be sent. The link is not woken."""

    def answer(self) -> None:
        """Say what has become safe."""

    def look_at_disk(self) -> None:
        """Something is about to be kept."""

    def acked(self, pids: Sequence[int]) -> None:
        """Messages of QoS 1 are acknowledged, or not wanted. Raises Broken."""

    def work(self, steps: Steps) -> None:
        """What may take long: nothing more is taken before it is done."""

    def run(self) -> None:
        """It is let in."""

    def refuse(self, broken: Broken, *, delay_s: float = 0.0, reason: str | None = None) -> None:
        """It is not let in. ``reason``: what is logged, if it is another text."""

    def fail(self, broken: Broken) -> None:
        """End the connection with an error that the client hears of, if its version has words."""

    def end(self, reason: str) -> None:
        """It is over, without a word to the client. ``reason``: as Session.closed."""
