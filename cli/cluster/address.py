"""Where a cluster is, and what every client of it is told."""

import logging
import socket
from dataclasses import dataclass
from typing import Any, Final

from logstore.errors import Failed, Refused

CONNECT_S: Final = 5.0
RECONNECT_MS: Final = 1000  # a server that is started anew is found again so soon


@dataclass(frozen=True, slots=True)
class Address:
    """``host:port``, or several with commas between."""

    text: str

    def __str__(self) -> str:
        return self.text

    def pairs(self) -> list[tuple[str, int]]:
        """Raises Refused where it is no address."""
        found = []
        for part in self.text.split(","):
            host, colon, port = part.strip().rpartition(":")
            if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65_536):
                raise Refused(f"{self.text!r} is not host:port")
            found.append((host.strip("[]"), int(port)))
        return found

    def reach(self) -> None:
        """See whether anybody listens there.

        A client of librdkafka would only say after a long time that nobody does, and not why.
        Raises Failed, Refused.
        """
        reason = ""
        for pair in self.pairs():
            try:
                socket.create_connection(pair, CONNECT_S).close()
                return
            except OSError as error:
                reason = error.strerror or str(error)
        raise Failed(
            f"{self}: can't be reached: {reason}; is a Kafka server running there, "
            f"`logstore serve` for instance?"
        )

    def settings(self, **more: object) -> dict[str, Any]:
        """For a client; ``_`` in names stands for a dot."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.text,
            "client.id": "logstore",
            "reconnect.backoff.max.ms": RECONNECT_MS,
            "logger": _LOGGER,
            "error_cb": _told_elsewhere,
        }
        return settings | {name.replace("_", "."): value for name, value in more.items()}


# What goes wrong is an error that somebody is told; librdkafka's own lines would come between.
_LOGGER: Final = logging.getLogger("logstore.cluster")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


def _told_elsewhere(error: object) -> None:
    """Whoever waits for an answer hears of it when none comes."""
