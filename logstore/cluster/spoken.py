"""The protocol of a connection that this process has made, to a broker or to another node."""

from collections.abc import Sequence
from typing import Protocol

from logstore.errors import LogstoreError
from logstore.kafka.wire import Buffer


class Spoken(Protocol):
    """One connection's protocol. Knows no socket: it calls a given function when it has output."""

    @property
    def failure(self) -> LogstoreError | None:
        """Why the link was lost and the connection must end."""

    @property
    def peer(self) -> str:
        """The name of the other end, for people."""

    @property
    def frame_bytes_max(self) -> int:
        """The maximum size of a received frame; a longer one ends the link."""

    def outgoing(self) -> Sequence[Buffer]:
        """The next output in order; requested while the peer reads."""

    def came(self) -> None:
        """Some bytes have arrived, perhaps of an incomplete frame."""

    def received(self, frame: memoryview) -> None:
        """A frame without its size. It belongs to the receiver."""

    def lose(self, why: LogstoreError) -> None:
        """The connection could not be made, or has ended."""
