"""The protocol of a connection that this process has made, to a broker or to another node."""

from collections.abc import Sequence
from typing import Protocol

from logstore.errors import LogstoreError
from logstore.kafka.wire import Buffer


class Spoken(Protocol):
    """One connection's protocol. Knows no socket: it calls a given function when it has output."""

    @property
    def failure(self) -> LogstoreError | None:
        """Why it is lost: the connection is to be ended."""

    @property
    def peer(self) -> str:
        """What the other end is called, for people."""

    @property
    def frame_bytes_max(self) -> int:
        """Of what comes: a longer one ends it."""

    def outgoing(self) -> Sequence[Buffer]:
        """What is to be sent, in order; asked for while the peer reads."""

    def came(self) -> None:
        """Some bytes have come, of a frame that may not be whole yet."""

    def received(self, frame: memoryview) -> None:
        """One without its size. It belongs to whoever gets it."""

    def lose(self, why: LogstoreError) -> None:
        """There is no connection, or no more."""
