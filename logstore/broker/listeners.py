"""The listeners of channels, as channels see them, and the form of their messages."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol

from logstore.broker.history import Kept

Opening = Any  # what a form makes of a match, once
Chunk = Any  # what a form makes of messages


class Match(NamedTuple):
    """Why a subscriber receives a channel's messages: by name, or by pattern."""

    channel: bytes
    pattern: bytes | None = None  # None: by its name
    apart: bool = False  # the channel is one of those apart


class Form(Protocol):
    """How messages are written for some subscribers. There is one object for each form."""

    def opening(self, match: Match) -> Opening:
        """The common beginning of all messages for this match."""

    def chunk(self, openings: Sequence[Opening], payloads: Sequence[bytes]) -> Chunk:
        """Return a chunk with each payload in turn, once for each opening."""

    def join(self, chunks: Sequence[Chunk]) -> Chunk:
        """Join several chunks."""


class Receiver(Protocol):
    """A receiver of messages."""

    def deliver(self, chunk: Chunk) -> None:
        """Accept these in order, immediately; raises nothing. Called with the lock held."""

    def deliver_kept(self, chunk: Chunk, kept: Kept) -> None:
        """Deliver a chunk of a history; the receiver may skip it and read it there later."""


class Subscriber(Receiver, Protocol):
    """A subscriber to names and patterns."""

    @property
    def form(self) -> Form:
        """The form of its messages; changed only after ``Channels.reform``."""


class Others(NamedTuple):
    """The receivers of a channel's messages besides subscribers to names and patterns."""

    listening: Sequence[tuple[Form, Receiver]]
    # Those that also get messages of QoS 1 and 2 in this way; None: all.
    quiet: Sequence[tuple[Form, Receiver]] | None = None
    beyond: Any = None  # the other targets of such messages


class Beside(Protocol):
    """Knows further receivers of channels by rules of its own: MQTT's filters."""

    def others(self, channel: bytes) -> Others | None: ...
    def is_quick(self, channel: bytes) -> bool:
        """Whether ``others`` delays no one."""

    def searching(self, channel: bytes) -> Generator[int, None, Others | None]:
        """Find the receivers of a channel in steps; yields units of work."""
