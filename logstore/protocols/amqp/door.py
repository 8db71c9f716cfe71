"""What all AMQP sessions of a node share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, Protocol

from logstore.access.access import Access, open_access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins, Nobody
from logstore.access.refusals import Refusals
from logstore.counts.publishes import AmqpCounts
from logstore.protocols.amqp_clients import Connected
from logstore.protocols.house import QueuesOf
from logstore.protocols.rabbit_alarm import DiskAlarm
from logstore.protocols.rounds import Round
from logstore.protocols.session import Link
from logstore.slices import Slices

if TYPE_CHECKING:
    from logstore.broker.queues.message import Message
    from logstore.broker.queues.queues import Queues

REPLY_TO: Final = b"amq.rabbitmq.reply-to"
TOKEN_BYTES: Final = 16  # unguessable: anyone who knows it may send that client messages


class Session(Connected, Protocol):
    """A session as the door sees it."""

    def tell_blocked(self) -> None: ...
    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""


class Replied(Protocol):
    """A channel that waits for replies, as the door sees it."""

    def take_reply(self, message: "Message") -> bool:
        """Send the reply to the client; returns whether that is possible."""


@dataclass(slots=True)
class AmqpDoor:
    """The queues, the facts about this server, and the connected sessions."""

    queues_of: QueuesOf
    version: str  # of RabbitMQ, whose ways these are
    cluster_name: str
    message_bytes_max: int
    token: Callable[[], str] = lambda: token_urlsafe(TOKEN_BYTES)
    sessions: dict[Session, None] = field(default_factory=dict)
    # The channels that wait for replies, by the part after REPLY_TO in their address.
    reply_channels: dict[bytes, Replied] = field(default_factory=dict)
    free_bytes: Callable[[], int] = lambda: 0  # as DiskAlarm has them
    free_bytes_min: int = 0
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    slices: Slices = field(default_factory=Slices)
    access: Access = field(default_factory=open_access)
    logins: Logins = field(default_factory=Nobody)
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda: 0.0))
    audit: Audit = field(default_factory=Unheard)
    insecure: bool = False  # while there are no users guest may come from anywhere
    counts: AmqpCounts = field(default_factory=AmqpCounts)
    alarm: DiskAlarm = field(init=False)

    def __post_init__(self) -> None:
        self.alarm = DiskAlarm(
            self.queues_of, self.free_bytes, self.free_bytes_min, self._tell_blocked
        )
        self.access.watch(Round(self.sessions, self.slices, self.access).begin)

    @staticmethod
    def certified(link: Link) -> str | None:
        """As login.Gate.certified."""
        return None if link.certificate is None else link.certificate.user

    @property
    def queues(self) -> "Queues":
        """The queues, which are open once a session exists."""
        return self.queues_of.open()

    @property
    def blocked(self) -> str:
        """The reason why no one may publish; "" if publishing is allowed."""
        return self.alarm.reason

    def look_at_disk(self, now: float) -> None:
        """As DiskAlarm.look."""
        self.alarm.look(now)

    def block(self, reason: str) -> None:
        """As DiskAlarm.block."""
        self.alarm.block(reason)

    def _tell_blocked(self) -> None:
        for session in list(self.sessions):
            session.tell_blocked()

    def reply_channel(self, key: bytes) -> Replied | None:
        """The channel that a routing key of the default exchange addresses, if any."""
        return self.reply_channels.get(key.removeprefix(REPLY_TO + b"."))


def reply_address(token: bytes) -> bytes:
    """The routing key that leads to the client with this token."""
    return REPLY_TO + b"." + token
