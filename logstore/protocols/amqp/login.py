"""Whether a client is who it says it is."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NamedTuple, Protocol

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.access.logins import Login, Logins
from logstore.amqp.fields import text
from logstore.names import USER_BYTES_MAX
from logstore.protocols.amqp.credentials import EXTERNAL, Credentials, Offer
from logstore.protocols.session import Link

DOOR: Final = "amqp"
GUEST: Final = Credentials(b"guest", b"guest")  # while there are no users: from this machine alone

NOTHING: Final = Credentials(b"", b"")  # of what can't be read: no user has them


class Admitted(NamedTuple):
    """A client that has come in."""

    who: Identity
    user: str  # as it calls itself: also while nobody has to say who it is


class TurnedAway(NamedTuple):
    """One that has not."""

    user: str  # as it calls itself; "" where that can't be read
    delay_s: float  # before it hears of that


class Gate(Protocol):
    """What is needed of the door."""

    access: Access
    logins: Logins
    insecure: bool  # GUEST may come from anywhere

    def certified(self, link: Link) -> str | None:
        """The user that the client's certificate names, if it does."""


Then = Callable[[Admitted | TurnedAway], None]


def log_in(gate: Gate, link: Link, offer: Offer, then: Then) -> None:
    """``then`` gets what came of it: now, or in a later turn."""
    host = link.peer_address[0]
    if offer.mechanism == EXTERNAL:
        then(_external(gate, link, host))
        return
    given = offer.credentials or NOTHING
    if not gate.access.required:
        then(_guest(gate, offer.mechanism, given, host))
        return

    def checked(login: Login) -> None:
        if login.user is None:
            then(TurnedAway(_shown(given.name), login.delay_s))
        else:
            then(Admitted(Identity(login.user, host, offer.mechanism, DOOR), login.user))

    gate.logins.check(given.name, given.password, host, checked)


def _external(gate: Gate, link: Link, host: str) -> Admitted | TurnedAway:
    user = gate.certified(link)
    if user is None or not gate.logins.admits(user):
        return TurnedAway(user or "", gate.logins.failed(host))
    return Admitted(Identity(user, host, EXTERNAL, DOOR), user)


def _guest(gate: Gate, mechanism: str, given: Credentials, host: str) -> Admitted | TurnedAway:
    """There are no users: who comes in is nobody, whatever it calls itself."""
    right = compare_digest(given.name, GUEST.name) & compare_digest(given.password, GUEST.password)
    if not right or not (gate.insecure or is_local(host)):
        return TurnedAway(_shown(given.name), gate.logins.failed(host))
    return Admitted(Identity("", host, mechanism, DOOR), text(GUEST.name))


def _shown(name: bytes) -> str:
    """No more of it than of one that a user may have: to show 8 KiB takes milliseconds."""
    return text(name[: USER_BYTES_MAX + 1])


def is_local(host: str) -> bool:
    """Whether this address, of a peer, is this machine."""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")
