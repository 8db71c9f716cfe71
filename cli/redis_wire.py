"""A connection to a Redis door: requests out, replies in. Just enough for ``logstore channel``."""

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import hiredis

from .ends import CommandFailed
from .stop import Stop

if TYPE_CHECKING:
    from .login import Login

READ_BYTES = 1 << 16


class Refusal(CommandFailed):
    """An error reply. ``code``: its first word, as in Redis."""

    def __init__(self, address: str, reply: str) -> None:
        self.code, _, text = reply.partition(" ")
        hint = ": use --user NAME" if self.code == "NOAUTH" else ""
        super().__init__(f"{address}: {text if self.code == 'ERR' else reply}{hint}")


class Line:
    """One connection; every wait can be ended by a signal."""

    def __init__(
        self,
        address: str,
        stop: Stop,
        login: "Login | None" = None,
        ask: "Callable[[], Login | None]" = lambda: None,
    ) -> None:
        """``address`` is ``host:port``; ``ask``: returns a login if none was given and one is
        required.

        Raises CommandFailed, LogstoreError.
        """
        host, _, port = address.rpartition(":")
        self._address = address
        self._stop = stop
        # Why it may end the connection at its first word.
        self._hint = "; if this port uses TLS, use --tls-ca FILE"
        self._reader = hiredis.Reader(notEnoughData=...)
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)))
        except OSError as error:
            raise CommandFailed(
                f"{address}: can't connect to a server: {error.strerror or error}"
            ) from None
        try:
            if login is not None and login.tls is not None:
                self._socket = login.tls.secured(self._socket, host.strip("[]"), address)
                self._hint = ""
            if login is None or not login.user:
                login = ask()
            if login is not None and login.user:
                self.ask("AUTH", login.user, login.password())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def send(self, requests: Sequence[tuple[bytes | str, ...]]) -> None:
        """Send requests. Raises CommandFailed."""
        data = b"".join(hiredis.pack_command(request) for request in requests)  # type: ignore[arg-type]
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from None

    def next(self, seconds: float | None = None) -> Any:  # noqa: ANN401  any reply
        """The next reply or message; ``...`` if none arrives in time. Raises CommandFailed,
        Stopped.
        """
        while (reply := self._reader.gets()) is ...:
            if not self._decrypted() and not self._stop.wait_readable(
                self._socket.fileno(), seconds
            ):
                return ...
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError as error:
                raise self._lost(error) from None
            if not data:
                raise CommandFailed(
                    f"{self._address}: the server closed the connection{self._hint}"
                )
            self._hint = ""
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise Refusal(self._address, str(reply))
        return reply

    def _decrypted(self) -> int:
        """The number of decrypted bytes that wait, which ``select`` does not report."""
        pending = getattr(self._socket, "pending", None)
        return 0 if pending is None else int(pending())

    def ask(self, *words: bytes | str) -> Any:  # noqa: ANN401
        """The reply to one request."""
        self.send([words])
        return self.next()

    def _lost(self, error: OSError) -> CommandFailed:
        return CommandFailed(f"{self._address}: the connection was lost: {error.strerror}")
