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
        """A number that is higher than those of all connections before it."""

    @property
    def peer(self) -> str:
        """``host:port`` of the other end, for people."""

    @property
    def peer_address(self) -> tuple[str, int]:
        """Host and port of the other end."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of this end: what the peer has connected to."""

    @property
    def secure(self) -> bool:
        """Whether it has come by TLS."""

    @property
    def certificate(self) -> "Certificate | None":
        """What the peer has shown of itself, verified; None where it need not and has not."""

    @property
    def unsent(self) -> int:
        """Bytes that were given to be sent, and that the peer has not taken."""

    @property
    def unread(self) -> int:
        """Bytes that the peer has sent and that were not taken yet: it is not read from."""

    def wake(self) -> None:
        """Have the session's own ``wake`` called soon. From any thread."""

    def push(self, data: bytes) -> int:
        """Send this, behind what ``outgoing`` has given so far; how much is unsent then.

        Not where the session holds back what must come first. Only in the sessions' own thread.
        """

    def let_be(self) -> None:
        """Not be closed by its door's rule for silence, or for not reading.

        For one that has become another protocol's, which has rules of its own.
        """

    def cut(self, reason: str) -> None:
        """End the connection at once: the session's ``close`` is called. A reason is logged."""


class Session(Protocol):
    """One connection."""

    @property
    def wants(self) -> int:
        """Bytes of the message that has begun to arrive, as far as known; 0 between messages."""

    @property
    def deadline(self) -> float | None:
        """When ``wake`` must be called at the latest."""

    @property
    def busy(self) -> bool:
        """Whether something is still to be answered."""

    @property
    def held_bytes(self) -> int:
        """Memory that it holds for its peer: requests under way, answers, what it remembers.

        Without what the server holds of it: what ``receive`` left, and what is to be sent. Asked
        after every call.
        """

    @property
    def kept(self) -> bool:
        """Whether it has kept views of what the last ``receive`` was given: that is its own now."""

    @property
    def closed(self) -> str | None:
        """Why the connection is to end, once what ``outgoing`` gives is sent; "" : no fault."""

    def receive(self, data: memoryview, now: float) -> int:
        """Take whole messages from the front; how many bytes they were.

        What is left is given again with what comes after it. ``data`` may be overwritten as soon
        as this returns, unless it is ``kept``. Takes nothing while it waits for an answer that
        must come first.
        """

    def wake(self, now: float) -> None:
        """Something may have happened, or the deadline has come."""

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """What is to be sent now, in order: about so many bytes. They are never changed after."""

    def finish(self, now: float) -> None:
        """Nothing more arrives: answer what waits as well as can be done now."""

    def leave(self, now: float) -> bool:
        """The server stops. Whether the peer is to be heard until the session is ``closed``.

        If not, ``finish`` is called.
        """

    def close(self) -> None:
        """The connection is gone. Lets go of everything; called once."""


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
