"""The first words to a server of Kafka's: whether it asks who we are, and whether it lets us in.

librdkafka would only say after a long time that it does not, and not why; so one connection is made
by hand before any of its own.
"""

import socket
import struct
from types import ModuleType
from typing import Any, Final

from logstore.errors import BrokenProtocol, Failed, LogstoreError, Refused
from logstore.kafka.messages import metadata, sasl_authenticate, sasl_handshake
from logstore.kafka.schema import codec

from ..login import MECHANISMS, Login

METADATA: Final = 3
HANDSHAKE: Final = 17
AUTHENTICATE: Final = 36
VERSION: Final = 1  # of each
NO_SASL_HERE: Final = 34  # ILLEGAL_SASL_STATE
NOT_THAT_ONE: Final = 33  # UNSUPPORTED_SASL_MECHANISM
ANSWER_BYTES_MAX: Final = 1 << 20
_HEAD: Final = struct.Struct(">hhih")  # key, version, correlation, length of the client's id


class Silent(Exception):
    """The server does not answer in time, or not in Kafka's protocol."""


class Ended(Silent):
    """The server has ended the connection instead of an answer."""


class Foreign(Silent):
    """The server answers in another protocol."""


class Greeting:
    """One connection."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        """``name``: of the server, for people."""
        self._connection = connection
        self._name = name
        self._sent = 0

    def mechanisms(self, wanted: str) -> tuple[str, ...] | None:
        """The server's mechanisms; None if it supports no login. Raises Silent, Ended, Foreign."""
        answer: sasl_handshake.Response = self._ask(HANDSHAKE, sasl_handshake, wanted)
        if answer.error_code not in (0, NO_SASL_HERE, NOT_THAT_ONE):
            raise Silent  # a broker from before these versions
        return None if answer.error_code == NO_SASL_HERE else tuple(answer.mechanisms)

    def is_known(self) -> bool:
        """Whether the server answers without a login: by a certificate, or because it requires
        none.
        """
        try:
            self._ask(METADATA, metadata, ())
        except Silent:
            return False
        return True

    def log_in(self, login: Login) -> None:
        """Log in by the requested mechanism. Raises Refused, Failed."""
        try:
            if login.mechanism == "PLAIN":
                self._say(f"\0{login.user}\0{login.password()}".encode())
            else:
                self._scram(login)
        except Silent:
            raise Failed(f"{self._name}: the server closed the connection") from None

    def _scram(self, login: Login) -> None:
        from .scram import ScramClient

        client = ScramClient(login.mechanism, login.user, login.password())
        final = client.final(self._say(client.first()))
        client.check(self._say(final))

    def _say(self, data: bytes) -> bytes:
        answer: sasl_authenticate.Response = self._ask(AUTHENTICATE, sasl_authenticate, data)
        if answer.error_code:
            reason = answer.error_message or f"error {answer.error_code}"
            raise Refused(f"{self._name}: {reason}")
        return bytes(answer.auth_bytes)

    def _ask(self, key: int, messages: ModuleType, said: object) -> Any:  # noqa: ANN401
        """``messages``: the module of the request, whose first field is ``said``, and of its
        answer.
        """
        self._sent += 1
        frame = bytearray(_HEAD.pack(key, VERSION, self._sent, -1))
        codec(messages.Request, VERSION, False).write(frame, messages.Request(said))
        try:
            self._connection.sendall(struct.pack(">i", len(frame)) + frame)
            (size,) = struct.unpack(">i", self._exactly(4))
            if not 4 <= size <= ANSWER_BYTES_MAX:
                raise Foreign
            answer, _ = codec(messages.Response, VERSION, False).read(self._exactly(size), 4)
        except ConnectionError:
            raise Ended from None
        except (OSError, BrokenProtocol):
            raise Silent from None
        return answer

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            if not more:
                raise Ended
            data += more
        return data


def best_of(offered: tuple[str, ...], *, private: bool) -> str:
    """The best mechanism to log in by; "" if none is acceptable.

    ``private``: the connection cannot be overheard. Otherwise a password is not sent in the clear
    without request, because an impostor of the server could ask for it.
    """
    taken = MECHANISMS if private else MECHANISMS[:-1]
    return next((it for it in taken if it in offered), "")


def refused_at(name: str, offered: tuple[str, ...]) -> LogstoreError:
    """The error for a missing login."""
    return Refused(
        f"{name}: the server requires a login: use --user NAME (mechanisms: {', '.join(offered)})"
    )
