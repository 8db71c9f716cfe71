"""Who a command is to a server, and how it knows the server."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .ends import CommandFailed

if TYPE_CHECKING:
    import ssl

MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")  # the best first


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is made secret, and the server known."""

    ca: Path | None = None  # trusted authorities; None: those of the system
    certificate: Path | None = None  # our own, with its chain
    key: Path | None = None  # None: it is in the file of the certificate

    def context(self) -> "ssl.SSLContext":
        """The TLS context. Raises CommandFailed, OSError."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise CommandFailed(f"{self.ca}: holds no certificate: {_reason(error)}") from None
        except OSError as error:
            raise CommandFailed(f"{self.ca}: {error.strerror}") from None
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except ssl.SSLError as error:
                files = " and ".join(str(it) for it in (self.certificate, self.key) if it)
                raise CommandFailed(
                    f"{files}: not a certificate with its private key: {_reason(error)}"
                ) from None
            except OSError as error:
                raise CommandFailed(f"{self.certificate}: {error.strerror}") from None
        return context

    def secured(self, connection: socket.socket, host: str, name: str) -> "ssl.SSLSocket":
        """The connection after a TLS handshake; closed if that fails.

        Raises Failed if the server is not trusted; CommandFailed.
        """
        try:
            return self._shaken(connection, host, name)
        except BaseException:
            connection.close()
            raise

    def _shaken(self, connection: socket.socket, host: str, name: str) -> "ssl.SSLSocket":
        import ssl

        from logstore.errors import Failed

        context = self.context()
        try:
            return context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            trusted = "the system's authorities" if self.ca is None else str(self.ca)
            raise Failed(
                f"{name}: its certificate is not trusted by {trusted}: {error.verify_message}"
            ) from None
        except ssl.SSLError as error:
            raise Failed(f"{name}: TLS handshake failed: {_reason(error)}") from None
        except OSError as error:
            raise Failed(f"{name}: TLS handshake failed: {error.strerror or error}") from None

    def settings(self) -> dict[str, str]:
        """The settings of librdkafka."""
        found = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key or self.certificate,
        }
        return {name: str(it) for name, it in found.items() if it is not None}


def _reason(error: "ssl.SSLError") -> str:
    return error.reason.lower().replace("_", " ") if error.reason else str(error)


@dataclass(slots=True)
class Login:
    """A name and its password, asked for when it is needed; how the server is known."""

    user: str = ""  # "": only a certificate, or nothing
    secret: Callable[[], str] = field(default=lambda: "", repr=False)
    mechanism: str = ""  # of SASL; "": the best that the server offers
    tls: Tls | None = None
    asked: bool = False  # by an option: what can't be done as this user is not done at all
    any_way: bool = False  # another mechanism is as good as the one that is named
    _password: str | None = field(default=None, repr=False)

    def password(self) -> str:
        """The password. Raises CommandFailed, OSError."""
        if self._password is None:
            self._password = self.secret()
        return self._password

    def settings(self) -> dict[str, str]:
        """The settings of librdkafka, once ``mechanism`` is known. Raises CommandFailed."""
        protocol = ("SASL_" if self.user else "") + ("PLAINTEXT" if self.tls is None else "SSL")
        found = {"security.protocol": protocol}
        if self.tls is not None:
            found |= self.tls.settings()
        if self.user:
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password(),
            }
        return found


def of_owner(directory: Path) -> Login | None:
    """The login of a user who may open the directory's socket; None if no login is required.

    Raises Failed, Refused.
    """
    from logstore.server_socket import ServerSocket

    found = ServerSocket(str(directory)).post("ticket", value={})
    if not found["required"]:
        return None
    password = str(found["password"])
    return Login(str(found["user"]), lambda: password, "PLAIN", any_way=True)
