"""What all AMQP sessions of a node share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from logstore.broker.queues.message import Message
    from logstore.broker.queues.queues import Queues

REPLY_TO: Final = b"amq.rabbitmq.reply-to"
TOKEN_BYTES: Final = 16  # nobody guesses it: whoever knows it may send that client messages


class Blockable(Protocol):
    """What the door sees of a session."""

    def tell_blocked(self) -> None: ...


class Replied(Protocol):
    """What the door sees of a channel that waits for replies."""

    def take_reply(self, message: "Message") -> bool:
        """Send it to the client; whether that can be done."""


@dataclass(slots=True)
class AmqpDoor:
    """Queues, what is said of us, who is there."""

    queues: "Queues"
    version: str  # of RabbitMQ, whose ways these are
    cluster_name: str
    message_bytes_max: int
    token: Callable[[], str] = lambda: token_urlsafe(TOKEN_BYTES)
    sessions: dict[Blockable, None] = field(default_factory=dict)
    # Who waits for replies, by what is behind REPLY_TO in its address.
    reply_channels: dict[bytes, Replied] = field(default_factory=dict)
    blocked: str = ""  # why nobody may publish; "": all may

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
