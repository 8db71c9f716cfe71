"""What all AMQP sessions of a node share."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, Protocol

from logstore.access.access import Access, open_access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins, Nobody
from logstore.access.refusals import Refusals
from logstore.counts.publishes import AmqpCounts
from logstore.kept_queues import ROOM_TIMES
from logstore.protocols.amqp_clients import Connected
from logstore.protocols.house import QueuesOf
from logstore.protocols.rounds import Round
from logstore.protocols.session import Link
from logstore.slices import Slices

if TYPE_CHECKING:
    from logstore.broker.queues.message import Message
    from logstore.broker.queues.queues import Queues

REPLY_TO: Final = b"amq.rabbitmq.reply-to"
LOOK_S: Final = 1.0  # between looks at the disk: so much may be written meanwhile
ROOM_S: Final = 10.0  # after which more of what is settled is removed, while the disk is short
TOKEN_BYTES: Final = 16  # nobody guesses it: whoever knows it may send that client messages


class Session(Connected, Protocol):
    """What the door sees of a session."""

    def tell_blocked(self) -> None: ...
    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""


class Replied(Protocol):
    """What the door sees of a channel that waits for replies."""

    def take_reply(self, message: "Message") -> bool:
        """Send it to the client; whether that can be done."""


@dataclass(slots=True)
class AmqpDoor:
    """Queues, what is said of us, who is there."""

    queues_of: QueuesOf
    version: str  # of RabbitMQ, whose ways these are
    cluster_name: str
    message_bytes_max: int
    token: Callable[[], str] = lambda: token_urlsafe(TOKEN_BYTES)
    sessions: dict[Session, None] = field(default_factory=dict)
    # Who waits for replies, by what is behind REPLY_TO in its address.
    reply_channels: dict[bytes, Replied] = field(default_factory=dict)
    blocked: str = ""  # why nobody may publish; "": all may
    free_bytes: Callable[[], int] = lambda: 0  # of the disk; less than 0: nobody knows
    free_bytes_min: int = 0  # while there is less, nobody may publish; 0: it is not looked at
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    slices: Slices = field(default_factory=Slices)
    access: Access = field(default_factory=open_access)
    logins: Logins = field(default_factory=Nobody)
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda: 0.0))
    audit: Audit = field(default_factory=Unheard)
    insecure: bool = False  # while there are no users guest may come from anywhere
    counts: AmqpCounts = field(default_factory=AmqpCounts)
    _looked_at: float = -math.inf
    _made_room_at: float = -math.inf
    _making_room: bool = False

    def __post_init__(self) -> None:
        self.access.watch(Round(self.sessions, self.slices, self.access).begin)

    @staticmethod
    def certified(link: Link) -> str | None:
        """As login.Gate.certified."""
        return None if link.certificate is None else link.certificate.user

    @property
    def queues(self) -> "Queues":
        """They are open, as soon as a session is."""
        return self.queues_of.open()

    def look_at_disk(self, now: float) -> None:
        """See whether there is room for messages, where that was not seen just now."""
        if not self.free_bytes_min or now < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        free = self.free_bytes()
        if 0 <= free < ROOM_TIMES * self.free_bytes_min:
            self._make_room(now)
        self._judge(free)

    def _judge(self, free: int) -> None:
        if not 0 <= free < self.free_bytes_min:
            self.block("")
        elif not self._making_room:
            self.block("low on disk")

    def _make_room(self, now: float) -> None:
        """Have go what is settled of all queues, before anybody has to wait."""
        queues = self.queues_of.opened
        if queues is None or self._making_room or now < self._made_room_at + ROOM_S:
            return

        def made() -> None:
            self._making_room = False
            self._judge(self.free_bytes())

        self._made_room_at, self._making_room = now, True
        queues.make_room(made)

    def block(self, reason: str) -> None:
        """Take no messages any more, or again where there is no reason."""
        if reason != self.blocked:
            self.blocked = reason
            for session in list(self.sessions):
                session.tell_blocked()

    def reply_channel(self, key: bytes) -> Replied | None:
        """Whose address a routing key of the default exchange is, if it is one."""
        return self.reply_channels.get(key.removeprefix(REPLY_TO + b"."))


def reply_address(token: bytes) -> bytes:
    """The routing key that leads to the client with this token."""
    return REPLY_TO + b"." + token
