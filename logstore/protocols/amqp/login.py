"""Whether a client is who it says it is."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NamedTuple, Protocol

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.access.logins import Login, Logins
from logstore.amqp.fields import text
from logstore.protocols.amqp.credentials import EXTERNAL, Credentials, Offer
from logstore.protocols.session import Link

DOOR: Final = "amqp"
GUEST: Final = Credentials(b"guest", b"guest")  # while there are no users: from this machine alone

NOTHING: Final = Credentials(b"", b"")  # of what can't be read: no user has them


class Entry(NamedTuple):
    """A client that has come in."""

    who: Identity
    user: str  # as it calls itself: also while nobody has to say who it is


class Refused(NamedTuple):
    """One that has not."""

    user: str  # as it calls itself; "" where that can't be read
    delay_s: float  # before it hears of that


class Desk(Protocol):
    """What is needed of the door."""

    access: Access
    logins: Logins
    insecure: bool  # GUEST may come from anywhere

    def certified(self, link: Link) -> str | None:
        """The user that the client's certificate names, if it does."""


Then = Callable[[Entry | Refused], None]


def log_in(desk: Desk, link: Link, offer: Offer, then: Then) -> None:
    """``then`` gets what came of it: now, or in a later turn."""
    host = link.peer_address[0]
    if offer.mechanism == EXTERNAL:
        then(_external(desk, link, host))
        return
    given = offer.credentials or NOTHING
    if not desk.access.required:
        then(_guest(desk, offer.mechanism, given, host))
        return

    def checked(login: Login) -> None:
        if login.user is None:
            then(Refused(text(given.name), login.delay_s))
        else:
            then(Entry(Identity(login.user, host, offer.mechanism, DOOR), login.user))

    desk.logins.check(given.name, given.password, host, checked)


def _external(desk: Desk, link: Link, host: str) -> Entry | Refused:
    user = desk.certified(link)
    if user is None or not desk.logins.admits(user):
        return Refused(user or "", desk.logins.failed(host))
    return Entry(Identity(user, host, EXTERNAL, DOOR), user)


def _guest(desk: Desk, mechanism: str, given: Credentials, host: str) -> Entry | Refused:
    """There are no users: who comes in is nobody, whatever it calls itself."""
    right = compare_digest(given.name, GUEST.name) & compare_digest(given.password, GUEST.password)
    if not right or not (desk.insecure or is_local(host)):
        return Refused(text(given.name), desk.logins.failed(host))
    return Entry(Identity("", host, mechanism, DOOR), text(GUEST.name))


def is_local(host: str) -> bool:
    """Whether this address, of a peer, is this machine."""
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
