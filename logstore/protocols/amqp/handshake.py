"""How a connection begins (AMQP 0-9-1, 2.2.4): who the client is, and what both keep to.

A state machine over methods: it knows no bytes. The client sends the protocol's header, and then
answers Start, Tune and Open's OpenOk in turn; ``Tuned`` is what came out of it.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from hmac import compare_digest
from typing import Any, Final

from logstore.amqp import fields
from logstore.amqp.frames import SIZE_MIN
from logstore.amqp.methods import (
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
)
from logstore.amqp.replies import ACCESS_REFUSED, COMMAND_INVALID, NOT_ALLOWED, Refusal

MECHANISMS: Final = b"PLAIN AMQPLAIN"
LOCALES: Final = b"en_US"
CHANNEL_MAX: Final = 2047
FRAME_MAX: Final = 131_072
HEARTBEAT_S: Final = 60
GUEST: Final = b"guest"  # the one user, and his password: from this machine alone

CAPABILITIES: Final = (
    "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
    "connection.blocked", "consumer_priorities", "authentication_failure_close",
    "per_consumer_qos", "direct_reply_to",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What the server says of itself."""

    version: str  # of RabbitMQ, whose ways these are: clients choose theirs by it
    platform: str
    cluster_name: str

    def properties(self) -> dict[str, Any]:
        """As Start has them."""
        return {
            "capabilities": dict.fromkeys(CAPABILITIES, True),
            "cluster_name": self.cluster_name,
            "copyright": "see https://www.rabbitmq.com for the protocol's extensions",
            "information": "logstore: one durable log for Kafka's, Redis's and RabbitMQ's clients",
            "platform": self.platform,
            "product": "RabbitMQ",
            "version": self.version,
        }


class State(Enum):
    START = auto()  # StartOk is due
    TUNE = auto()  # TuneOk is due
    OPEN = auto()  # Open is due
    DONE = auto()


@dataclass(slots=True)
class Handshake:
    """Of one connection, from its protocol header on."""

    about: About
    local: bool  # the client is on this machine
    state: State = State.START
    client_properties: dict[str, Any] = field(default_factory=dict)
    channel_max: int = CHANNEL_MAX
    frame_max: int = FRAME_MAX
    heartbeat_s: int = HEARTBEAT_S  # 0: none
    vhost: str = ""

    def begin(self) -> Method:
        """What the server says first."""
        return ConnectionStart(0, 9, self.about.properties(), MECHANISMS, LOCALES)

    @property
    def capabilities(self) -> dict[str, Any]:
        """Of the client."""
        found = self.client_properties.get("capabilities")
        return found if isinstance(found, dict) else {}

    def can(self, capability: str) -> bool:
        """Whether the client says that it has this capability."""
        return self.capabilities.get(capability) is True

    def take(self, method: Method) -> Method | None:
        """The client's next method; the server's answer. Raises Refusal.

        ``vhost`` is to be looked up by the caller when Open was taken: OpenOk is its answer then.
        """
        match self.state, method:
            case State.START, ConnectionStartOk():
                self._start_ok(method)
                self.state = State.TUNE
                return ConnectionTune(CHANNEL_MAX, FRAME_MAX, HEARTBEAT_S)
            case State.TUNE, ConnectionTuneOk():
                self._tune_ok(method)
                self.state = State.OPEN
                return None
            case State.OPEN, ConnectionOpen():
                self.vhost = method.virtual_host
                self.state = State.DONE
                return ConnectionOpenOk()
        raise Refusal(COMMAND_INVALID, f"{type(method).__name__} while {self.state.name} is due")

    def _start_ok(self, method: ConnectionStartOk) -> None:
        self.client_properties = dict(method.client_properties)
        if method.mechanism == "PLAIN":
            login = _plain(method.response)
        elif method.mechanism == "AMQPLAIN":
            login = _amqplain(method.response)
        else:
            raise Refusal(COMMAND_INVALID, f"unknown authentication mechanism '{method.mechanism}'")
        if not (self.local and login is not None and _is_guest(*login)):
            raise Refusal(
                ACCESS_REFUSED,
                f"Login was refused using authentication mechanism {method.mechanism}. "
                f"For details see the broker logfile.",
            )

    def _tune_ok(self, method: ConnectionTuneOk) -> None:
        """0 asks for no limit, and gets ours."""
        for name, asked, ours in (
            ("channel_max", method.channel_max, CHANNEL_MAX),
            ("frame_max", method.frame_max, FRAME_MAX),
        ):
            if asked > ours:
                raise Refusal(
                    NOT_ALLOWED,
                    f"negotiated {name} = {asked} is higher than the maximum allowed value "
                    f"({ours})",
                )
        if 0 < method.frame_max < SIZE_MIN:
            raise Refusal(
                NOT_ALLOWED,
                f"negotiated frame_max = {method.frame_max} is lower than the minimum allowed "
                f"value ({SIZE_MIN})",
            )
        self.channel_max = method.channel_max or CHANNEL_MAX
        self.frame_max = method.frame_max or FRAME_MAX
        self.heartbeat_s = method.heartbeat


def _is_guest(user: bytes, password: bytes) -> bool:
    return compare_digest(user, GUEST) & compare_digest(password, GUEST)


def _plain(response: bytes) -> tuple[bytes, bytes] | None:
    """User and password (RFC 4616); None where it is no such thing."""
    parts = response.split(b"\0")
    return (parts[1], parts[2]) if len(parts) == 3 else None


def _amqplain(response: bytes) -> tuple[bytes, bytes] | None:
    """The same, as a table without its length."""
    try:
        found, _ = fields.read_table(fields.longstr(response), 0)
    except Refusal:
        return None
    login, password = found.get("LOGIN"), found.get("PASSWORD")
    if not isinstance(login, str) or not isinstance(password, str):
        return None
    return fields.data(login), fields.data(password)


def is_local(host: str) -> bool:
    """Whether this address is this machine."""
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
