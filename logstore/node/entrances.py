"""The entrances of one node: the ports of its doors, and the message if a port cannot be opened."""

import errno
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from logstore.doors import ENTRANCES, SOCKETS, Entrance
from logstore.errors import Failed
from logstore.protocols.house import House
from logstore.protocols.session import Doorway
from logstore.server import Server

if TYPE_CHECKING:
    from logstore.certificates import Certificates

log: Final = logging.getLogger("logstore.node")


@dataclass(frozen=True, slots=True)
class Listen:
    """The requested addresses of the doors."""

    host: str
    ports: Mapping[str, int]  # by the entrance's name; 0: any free one, -1 or absent: none
    # Entrances on default ports: if a port is in use, the others are still served.
    by_default: frozenset[str] = frozenset()
    exposed: bool = False  # reachable by other machines: without users no one connects


# Where the entrances of the doors are, by their names, in the order of the table.
Addresses = Mapping[str, tuple[str, int]]


class NodeEntrances:
    """The entrances of one process, while it begins to listen."""

    def __init__(
        self, listen: Listen, server: Server, house: House, tls: "Certificates | None"
    ) -> None:
        self._listen = listen
        self._server = server
        self._house = house
        self._tls = tls

    def open(self, refused: Mapping[str, str]) -> Addresses:
        """Open the doors. ``refused``: reasons why some stay closed, by door name.

        Raises Failed if no door remains.
        """
        wanted = [it for it in ENTRANCES if self._wants(it, refused)]
        doorways = {it.door.name: it.door for it in wanted}
        opened = self._house.doorways
        opened.update({name: door.open(self._house) for name, door in doorways.items()})
        found = {it.name: self._open(it, opened[it.door.name]) for it in wanted}
        addresses = {name: it for name, it in found.items() if it is not None}
        if not wanted:
            raise Failed(
                f"{self._house.path}: no port is open for clients: each port setting "
                f"is -1, or needs tls.cert"
            )
        if not addresses:
            options = ", ".join(f"--{it.name}-port ({it.port_setting})" for it in wanted)
            raise Failed(
                f"{self._house.path}: no port is open for clients: the default ports "
                f"are in use, perhaps by another server; choose others with {options}"
            )
        return addresses | self._open_sockets()

    def _open_sockets(self) -> dict[str, tuple[str, int]]:
        """Open the ports for WebSocket connections. Raises Failed if one is not available."""
        found: dict[str, tuple[str, int]] = {}
        house, host = self._house, self._listen.host
        for it in SOCKETS:
            port: int = getattr(house.settings, it.port_setting.replace(".", "_"))
            if port < 0 or it.door not in house.doorways:
                continue
            from logstore.protocols.http import doorway

            try:
                opened = doorway.open(house, only=it.door)
                found[it.name] = self._server.listen(host, port, opened, None)
            except OSError as error:
                raise Failed(
                    f"{host}:{port}: can't listen: {error.strerror or error}; "
                    f"choose another port with {it.port_setting} (-1: none)"
                ) from None
        return found

    def _wants(self, it: Entrance, refused: Mapping[str, str]) -> bool:
        """Whether to open the entrance.

        Raises Failed if a chosen port cannot be opened, or needs TLS without a certificate.
        """
        if self._listen.ports.get(it.name, -1) < 0:
            return False
        if it.door.name in refused:
            if it.name not in self._listen.by_default:
                raise Failed(f"{it.port_setting} is set: {refused[it.door.name]}; leave it out")
            return False
        if it.tls and self._tls is None:
            if it.name not in self._listen.by_default:
                raise Failed(
                    f"{it.port_setting} is set, but tls.cert is not: TLS needs a certificate"
                )
            return False
        return True

    def _open(self, it: Entrance, doorway: Doorway) -> tuple[str, int] | None:
        """The address of the opened port; None if a default port is in use."""
        host, port = self._listen.host, self._listen.ports[it.name]
        try:
            return self._server.listen(host, port, doorway, self._tls if it.tls else None)
        except OSError as error:
            number = error.errno or 0  # below 0: of a name that is not found
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            if error.errno == errno.EADDRINUSE and it.name in self._listen.by_default:
                log.warning(
                    "%s:%d: can't accept %s: %s; choose another with --%s-port (%s)",
                    host, port, it.clients, reason, it.name, it.port_setting,
                )  # fmt: skip
                return None
            raise Failed(
                f"{host}:{port}: can't listen: {reason}; choose another address with --host"
                f" (listen.host) and --{it.name}-port ({it.port_setting}; -1: no port for"
                f" {it.clients})"
            ) from None
