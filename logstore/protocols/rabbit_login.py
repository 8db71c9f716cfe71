"""Checks the identity of a client of the queues, whichever door it uses."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NamedTuple, Protocol

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.access.logins import Login, Logins
from logstore.amqp.fields import text
from logstore.names import USER_BYTES_MAX
from logstore.protocols.session import Link

EXTERNAL: Final = "EXTERNAL"  # the mechanism of whom a certificate names
GUEST: Final = b"guest"  # and its password: while there are no users, from this machine alone


class Admitted(NamedTuple):
    """A client that has logged in."""

    who: Identity
    user: str  # as it calls itself: also while nobody has to say who it is


class TurnedAway(NamedTuple):
    """A client that was refused."""

    user: str  # as it calls itself; "" where that can't be read
    delay_s: float  # before it hears of that


class Gate(Protocol):
    """What the login needs from the door."""

    access: Access
    logins: Logins
    insecure: bool  # GUEST may come from anywhere

    def certified(self, link: Link) -> str | None:
        """The user that the client's certificate names, if it does."""


class Way(NamedTuple):
    """The door and the mechanism of a login."""

    door: str
    mechanism: str


Then = Callable[[Admitted | TurnedAway], None]


def by_certificate(gate: Gate, link: Link, way: Way) -> Admitted | TurnedAway:
    """Who has shown one."""
    host = link.peer_address[0]
    user = gate.certified(link)
    if user is None or not gate.logins.admits(user):
        return TurnedAway(user or "", gate.logins.failed(host))
    return Admitted(Identity(user, host, way.mechanism, way.door), user)


def by_password(gate: Gate, link: Link, way: Way, name: bytes, password: bytes, then: Then) -> None:
    """``then`` gets what came of it: now, or in a later turn."""
    host = link.peer_address[0]
    if not gate.access.required:
        then(_guest(gate, way, name, password, host))
        return

    def checked(login: Login) -> None:
        if login.user is None:
            then(TurnedAway(_shown(name), login.delay_s))
        else:
            then(Admitted(Identity(login.user, host, way.mechanism, way.door), login.user))

    gate.logins.check(name, password, host, checked)


def _guest(gate: Gate, way: Way, name: bytes, password: bytes, host: str) -> Admitted | TurnedAway:
    """There are no users: who comes in is nobody, whatever it calls itself."""
    right = compare_digest(name, GUEST) & compare_digest(password, GUEST)
    if not right or not (gate.insecure or is_local(host)):
        return TurnedAway(_shown(name), gate.logins.failed(host))
    return Admitted(Identity("", host, way.mechanism, way.door), text(GUEST))


def _shown(name: bytes) -> str:
    """No more of it than of one that a user may have: to show 8 KiB takes milliseconds."""
    return text(name[: USER_BYTES_MAX + 1])


def is_local(host: str) -> bool:
    """Whether this address, of a peer, is this machine."""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")
