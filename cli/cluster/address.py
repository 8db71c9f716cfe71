"""Where a cluster is, and what every client of it is told."""

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from logstore.errors import Failed, Refused

from ..login import MECHANISMS, Login
from .greeting import Ended, Foreign, Greeting, Silent, best_of, refused_at

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
CONNECT_S: Final = 5.0
# The address may be that of another door: `logstore serve` has several, with ports side by side.
_OF_KAFKA: Final = "check that this is the port for Kafka clients"
RECONNECT_MS: Final = 1000  # how soon a restarted server is found


class Address:
    """``host:port``, or several with commas between; and who we are there."""

    def __init__(
        self,
        text: str,
        login: Login | None = None,
        ask: Callable[[], Login | None] = lambda: None,
    ) -> None:
        """``ask``: returns a login if none was given and the server requires one."""
        self.text = text
        self._login = login
        self._ask = ask

    def __str__(self) -> str:
        return self.text

    def pairs(self) -> list[tuple[str, int]]:
        """Hosts and ports. Raises Refused for an invalid address."""
        found = []
        for part in self.text.split(","):
            host, colon, port = part.strip().rpartition(":")
            if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65_536):
                raise Refused(f"{self.text!r} is not host:port")
            found.append((host.strip("[]"), int(port)))
        return found

    def reach(self) -> None:
        """Check that a server listens at the address and accepts the login.

        A client of librdkafka would report a failure only after a long time, and without the
        reason. Raises Failed, Refused, CommandFailed.
        """
        reason = ""
        for pair in self.pairs():
            try:
                connection = socket.create_connection(pair, CONNECT_S)
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                self._greet(pair, connection)
                return
        raise Failed(
            f"{self}: can't be reached: {reason}; check that a Kafka server or `logstore serve`"
            " is running at this address"
        )

    def _greet(self, pair: tuple[str, int], connection: socket.socket) -> None:
        wanted = (self._login and self._login.mechanism) or MECHANISMS[0]
        with closing(self._secured(pair, connection)) as secured:
            greeting = Greeting(secured, self.text)
            if self._is_certified():
                if not greeting.is_known():
                    raise Refused(
                        f"{self}: the server accepts no login by this certificate: use --user NAME"
                    )
                return
            offered = self._offered(pair, greeting, wanted)
            if offered is None:
                return
            login = self._login = self._login_for(offered)
            if (mechanism := self._chosen(login, offered)) == wanted:
                login.mechanism = mechanism
                greeting.log_in(login)
                return
        # A server goes by the mechanism that it was asked for first.
        login.mechanism = mechanism
        connection = socket.create_connection(pair, CONNECT_S)
        with closing(self._secured(pair, connection)) as secured:
            greeting = Greeting(secured, self.text)
            if self._offered(pair, greeting, mechanism) is not None:
                greeting.log_in(login)

    def _has_user(self) -> bool:
        return self._login is not None and bool(self._login.user)

    def _is_certified(self) -> bool:
        """Whether only a certificate identifies this client."""
        login = self._login
        return (
            login is not None
            and not login.user
            and login.tls is not None
            and login.tls.certificate is not None
        )

    def _offered(
        self, pair: tuple[str, int], greeting: Greeting, wanted: str
    ) -> tuple[str, ...] | None:
        """The server's mechanisms; None if it requires no login."""
        try:
            offered = greeting.mechanisms(wanted)
        except Foreign:
            raise Failed(f"{self}: the server answers in another protocol; {_OF_KAFKA}") from None
        except Silent as silent:
            if self._has_user() or (isinstance(silent, Ended) and not self._is_open(pair)):
                tls = self._login is not None and self._login.tls is not None
                hint = "" if tls else "; if this port uses TLS, use --tls-ca FILE"
                reason = "the server closed the connection before its first reply"
                raise Failed(f"{self}: {reason}; {_OF_KAFKA}{hint}") from None
            return None
        if offered is None and self._has_user():
            raise Refused(f"{self}: the server has no login: leave --user out")
        return offered

    def _is_open(self, pair: tuple[str, int]) -> bool:
        """Whether a server that does not support logins answers without one."""
        connection = socket.create_connection(pair, CONNECT_S)
        with closing(self._secured(pair, connection)) as secured:
            return Greeting(secured, self.text).is_known()

    def _login_for(self, offered: tuple[str, ...]) -> Login:
        if self._login is not None and self._login.user:
            return self._login
        login = self._ask()
        if login is None:
            raise refused_at(self.text, offered)
        login.tls = None if self._login is None else self._login.tls
        return login

    def _chosen(self, login: Login, offered: tuple[str, ...]) -> str:
        """The mechanism for the login. Raises Refused."""
        if login.mechanism in offered:
            return login.mechanism
        # The client may go on with any of them.
        private = login.tls is not None or all(host in LOOPBACK for host, _ in self.pairs())
        any_way = login.any_way or not login.mechanism
        chosen = best_of(offered, private=private) if any_way else ""
        if not chosen:
            asked = login.mechanism or "one that keeps the password secret"
            raise Refused(
                f"{self}: the server accepts the login mechanisms {', '.join(offered)}, not"
                f" {asked}: set `mechanism` in a profile file"
            )
        return chosen

    def _secured(self, pair: tuple[str, int], connection: socket.socket) -> socket.socket:
        if self._login is None or self._login.tls is None:
            return connection
        return self._login.tls.secured(connection, pair[0], self.text)

    def settings(self, **more: object) -> dict[str, Any]:
        """Settings of a client; ``_`` in names stands for a dot."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.text,
            "client.id": "logstore",
            "reconnect.backoff.max.ms": RECONNECT_MS,
            "logger": _LOGGER,
            "error_cb": _told_elsewhere,
        }
        if self._login is not None:
            settings |= self._login.settings()
        return settings | {name.replace("_", "."): value for name, value in more.items()}


# Errors are reported by the command; librdkafka's own lines would come between.
class _LastWords(logging.Handler):
    """Remembers why a client has ended for good, which confluent-kafka may fail to raise."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage().rpartition("Fatal error: ")[2]


_LAST_WORDS: Final = _LastWords(logging.CRITICAL)
_LOGGER: Final = logging.getLogger("logstore.cluster")
_LOGGER.addHandler(_LAST_WORDS)
_LOGGER.propagate = False


def last_words() -> str:
    """The reason why the last client ended for good; "" if none has."""
    return _LAST_WORDS.said


def _told_elsewhere(error: object) -> None:
    """Ignore the error: a missing answer is reported to the caller that waits for it."""
