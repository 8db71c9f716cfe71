"""Where one side of a shovel is: an AMQP URI, or a data directory that a server has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import typer

from logstore.errors import Failed

from ..login import Login, Tls
from ..options import DataDir

if TYPE_CHECKING:
    from ..served.line import Line
    from ..stop import Stop

PORTS: Final = {"amqp": 5672, "amqps": 5671}
HEARTBEAT_S: Final = 30  # a side that says nothing for twice as long is gone
HEARTBEATS_S: Final = range(1, 65_536)


@dataclass(frozen=True, slots=True)
class Place:
    """An address and a virtual host; or a directory, whose server is asked for its own."""

    vhost: str
    address: str = ""
    login: Login | None = None
    heartbeat_s: int = HEARTBEAT_S
    directory: DataDir | None = None

    def __str__(self) -> str:
        where = self.address if self.directory is None else str(self.directory)
        return where if self.vhost == "/" else f"{where}/{self.vhost}"

    def same(self, other: "Place") -> bool:
        """Whether both are one place, as far as that is known."""
        if self.directory is not None and other.directory is not None:
            return self.directory.path.resolve() == other.directory.path.resolve()
        return (self.address, self.vhost) == (other.address, other.vhost) and bool(self.address)

    def open(self, stop: "Stop") -> "Line":
        """Connect. Raises Failed, Refused, Stopped, CommandFailed."""
        from ..served.line import Line

        if self.directory is None:
            return Line(self.address, self.vhost, stop, self.login, heartbeat_s=self.heartbeat_s)
        from logstore.doors import AMQP

        if not self.directory.is_served():
            raise Failed(
                f"{self.directory}: no server has this directory open, and messages are moved"
                " between servers: start `logstore serve` for it, or use an amqp:// URI"
            )
        address = self.directory.endpoint(AMQP)
        if address is None:
            raise Failed(
                f"{self.directory}: its server accepts no AMQP clients: start the server with"
                f" --{AMQP.name}-port"
            )
        return Line(address, self.vhost, stop, self.directory.own_login())


def place_of(text: str, option: str, profile: Path | None) -> Place:
    """The place that an option names. An invalid one is a usage error, which hides passwords."""
    from ..login_options import login_from, read_profile

    login = None if profile is None else login_from(read_profile(profile))
    if "://" not in text:
        return Place("/", directory=DataDir(Path(text), login=login))
    try:
        return _of_uri(text, login)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None


def _of_uri(text: str, login: Login | None) -> Place:
    """Raises ValueError."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        raise ValueError("not a URI: expected amqp://USER:PASSWORD@HOST:PORT/VHOST") from None
    if found.scheme not in PORTS:
        raise ValueError(
            f"unknown scheme {found.scheme!r}: expected amqp://, amqps:// or a data directory"
        )
    if not found.hostname:
        raise ValueError("a URI without a host: expected amqp://USER:PASSWORD@HOST:PORT/VHOST")
    vhost = unquote(found.path.removeprefix("/")) or "/"
    if "/" in found.path.removeprefix("/"):
        raise ValueError("a virtual host with a slash is written %2F in a URI")
    if found.fragment:
        raise ValueError("a URI ends before '#'; write it as %23 in a name or password")
    heartbeat_s, tls = _options(found.query, Tls() if found.scheme == "amqps" else None)
    if login is not None and login.tls is not None:
        tls = login.tls
    if found.username is not None:
        password = unquote(found.password or "")
        login = Login(unquote(found.username), lambda: password, "PLAIN")
    if tls is not None:
        login = Login(tls=tls) if login is None else replace(login, tls=tls)
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    return Place(vhost, f"{host}:{port or PORTS[found.scheme]}", login, heartbeat_s)


def _options(query: str, tls: Tls | None) -> tuple[int, Tls | None]:
    heartbeat_s = HEARTBEAT_S
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "heartbeat" and value.isascii() and value.isdigit():
            if len(value) > 5 or int(value) not in HEARTBEATS_S:
                raise ValueError(f"heartbeat={value}: must be 1 to {HEARTBEATS_S[-1]} seconds")
            heartbeat_s = int(value)
        elif name == "cacertfile" and tls is not None:
            tls = replace(tls, ca=Path(value))
        else:
            raise ValueError(
                f"{name}={value}: unknown parameter; a URI takes heartbeat=SECONDS, and with amqps"
                " cacertfile=FILE"
            )
    return heartbeat_s, tls
