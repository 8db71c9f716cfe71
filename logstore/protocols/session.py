"""The interface between server and protocols: one session per connection, bytes in, bytes out.

A session knows no socket, disk, thread or clock: ``now`` is seconds of a clock that only goes
forward. The server passes input to it (``receive``), calls it when something may have happened or
become due (``wake``), and takes its output (``outgoing``). When something happens elsewhere (a log
has become safe, a job is done), the session's link is woken from any thread, and the server calls
the session's own ``wake`` later. If one session has output for a thousand others, each of these
pushes it down its own link, which costs one system call each.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from logstore.counts.doors import DoorCounts
from logstore.log import Extent

if TYPE_CHECKING:
    from logstore.subject import Certificate

Buffer = bytes | bytearray | memoryview | Extent  # an extent is released by who sends it
Wake = Callable[[], None]


class Link(Protocol):
    """What a session may use of its connection."""

    @property
    def id(self) -> int:
        """The connection's number, higher than those of all earlier connections."""

    @property
    def peer(self) -> str:
        """``host:port`` of the other end, to be shown to people."""

    @property
    def peer_address(self) -> tuple[str, int]:
        """Host and port of the other end."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of this end, to which the peer has connected."""

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""

    @property
    def certificate(self) -> "Certificate | None":
        """The peer's verified certificate; None if it has shown none."""

    @property
    def unsent(self) -> int:
        """Bytes of output that the peer has not taken yet."""

    @property
    def unread(self) -> int:
        """Bytes of input that were not received yet, because the connection is not read."""

    def wake(self) -> None:
        """Let the session's own ``wake`` be called soon. From any thread."""

    def push(self, data: bytes) -> int:
        """Send this after all results of ``outgoing``; returns the bytes that are unsent then.

        Not allowed while the session holds back output that must precede it. Only in the sessions'
        thread.
        """

    def let_be(self) -> None:
        """Exempt the connection from its door's rules about silence and unread output.

        For a connection that has switched to another protocol with rules of its own.
        """

    def cut(self, reason: str) -> None:
        """End the connection immediately: calls the session's ``close``. The reason is logged."""


class Session(Protocol):
    """One connection."""

    @property
    def wants(self) -> int:
        """The size of the message that is arriving, as far as known; 0 between messages."""

    @property
    def deadline(self) -> float | None:
        """The time by which ``wake`` must be called."""

    @property
    def busy(self) -> bool:
        """Whether a reply is still due."""

    @property
    def held_bytes(self) -> int:
        """The memory that the session holds for its peer: requests, replies, remembered facts.

        Without the memory that the server holds: the rest of ``receive``, and unsent output. Asked
        after every call.
        """

    @property
    def kept(self) -> bool:
        """Whether the session kept views of the last input, so that it owns the buffer now."""

    @property
    def closed(self) -> str | None:
        """Why the connection ends once the output is sent; "": without a fault."""

    def receive(self, data: memoryview, now: float) -> int:
        """Take whole messages from the front; returns their size in bytes.

        The rest is passed again together with the following input. ``data`` may be overwritten
        after this returns, unless it is ``kept``. Takes nothing while a reply that must come first
        is outstanding.
        """

    def wake(self, now: float) -> None:
        """Something may have happened, or the deadline has come."""

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """The next output in order, about this many bytes. It never changes afterwards."""

    def finish(self, now: float) -> None:
        """No more input arrives: reply to waiting requests as far as possible now."""

    def leave(self, now: float) -> bool:
        """The server stops. Returns whether the peer is still read until the session is ``closed``.

        If not, ``finish`` is called.
        """

    def close(self) -> None:
        """The connection has ended. Release everything; called once."""


@dataclass(slots=True)
class Limits:
    """Bounds that keep many connections, or a peer that forgets them, from exhausting the process.

    They apply to one door and may be changed while it is open.
    """

    connections_max: int
    idle_s: float  # math.inf: for ever
    setting: str = "max.connections"  # what connections_max is called
    refusal: bytes = b""  # what a peer is told that is one too many
    # Bytes that the system may hold for one that does not read; 0: as many as it likes, which is
    # some megabytes.
    sent_bytes_max: int = 0


class About(NamedTuple):
    """Facts about a connection's client, to be shown to people."""

    user: str = ""  # who has logged in; "": nobody had to, or it has not yet
    client: str = ""  # as it calls itself
    software: str = ""  # its library and version, where it says so
    state: str = ""  # in the words of its protocol
    unread_max: int = 0  # bytes that it may leave unread before it is cut off; 0: not known
    facts: Mapping[str, object] = MappingProxyType({})  # of its door alone


NOTHING: Final = About()


def _nothing(_: object) -> About:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Doorway:
    """An open door: how new connections get their sessions."""

    new_session: Callable[[Link], Session]
    limits: Limits
    name: str = ""  # of the door
    counts: DoorCounts = field(default_factory=DoorCounts)
    about: Callable[[Any], About] = _nothing  # what a session of its own knows of its client
    # Has a session end and its client told why, where the protocol has words for that.
    end: Callable[[Any, str], None] | None = None
    # Has a session answer at once what came in one read. Gives the replies, where all is done with
    # them; b"" where they come when it has called ``wake``, and it is asked again, with nothing;
    # None where nothing was done, and the others are to be asked. Only where nothing is unsent.
    prompt: Callable[[Any, bytes, float], bytes | None] | None = None
    called: str = ""  # what people call its clients; "": by the door's name
    log: logging.Logger = field(init=False)  # where what becomes of its connections is told

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", logging.getLogger(f"logstore.{self.name or 'server'}"))
