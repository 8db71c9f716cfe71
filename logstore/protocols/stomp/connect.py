"""CONNECT: negotiates the version, and checks the client's login and virtual host."""

from functools import partial
from typing import TYPE_CHECKING, Final

from logstore.access.audit import LOGIN, REFUSED
from logstore.access.identity import Identity
from logstore.access.quotas import Seat
from logstore.amqp.fields import data, text
from logstore.errors import LogstoreError
from logstore.kept.queues import DEFAULT_VHOST
from logstore.names import USER_BYTES_MAX
from logstore.printable import printable
from logstore.protocols.rabbit_login import (
    EXTERNAL,
    GUEST,
    Admitted,
    TurnedAway,
    Way,
    by_certificate,
    by_password,
)
from logstore.protocols.rabbit_permits import Permits
from logstore.protocols.rabbit_refusals import refusal_of
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.phase import Phase
from logstore.stomp.beats import Beats, agreed
from logstore.stomp.faults import StompFault
from logstore.stomp.frames import Frame
from logstore.stomp.versions import RULES, VERSIONS, common

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.kept.keeping import ReadOn

DOOR: Final = "stomp"
PLAIN: Final = "PLAIN"


class Entry:
    """A client that is logging in, with the content of its CONNECT. Other frames wait."""

    def __init__(self, of: StompClient, frame: Frame, seat: Seat) -> None:
        """Raises StompFault."""
        headers = frame.headers
        version = common(headers.get("accept-version"))
        if version is None:
            raise StompFault("Version mismatch", f"Supported versions are {','.join(VERSIONS)}\n")
        self.beats: Beats = agreed(headers.get("heart-beat"))
        self.refused: tuple[float, StompFault, str] | None = None  # after so long, and for the log
        self._of = of
        self._seat = seat
        self._version = version
        self._host = headers.get("host")
        self._login = headers.get("login")
        self._passcode = headers.get("passcode")
        self._receipt = headers.get("receipt")
        of.phase = Phase.LOGIN

    def begin(self) -> None:
        """Identify the client."""
        of = self._of
        if self._login is None and of.link.certificate is not None:
            self._known(EXTERNAL, by_certificate(of.door, of.link, Way(DOOR, EXTERNAL)))
            return
        name, password = GUEST, GUEST
        if self._login is not None:
            name, password = data(self._login), data(self._passcode or "")
        way = Way(DOOR, PLAIN)
        by_password(of.door, of.link, way, name, password, partial(self._known, PLAIN))

    def _known(self, mechanism: str, came: Admitted | TurnedAway) -> None:
        of = self._of
        if of.phase is not Phase.LOGIN:
            return  # it has ended meanwhile
        if isinstance(came, Admitted) and not of.door.access.knows(came.who):
            came = TurnedAway(came.user, 0.0)  # the user was deleted meanwhile
        if isinstance(came, TurnedAway):
            tried = Identity(came.user, of.link.peer_address[0], mechanism, DOOR)
            of.door.audit.tell(LOGIN, tried, outcome=REFUSED)
            shown = text((self._login or "").encode(errors="surrogateescape")[:USER_BYTES_MAX])
            fault = StompFault("Bad CONNECT", f"Access refused for user '{shown}'")
            reason = f"{mechanism} login refused: user '{printable(came.user)}'"
            self.refused = came.delay_s, fault, reason
            of.link.wake()
            return
        of.door.audit.tell(LOGIN, came.who)
        of.entry = came
        of.door.queues_of.when_open(self._open)

    def _open(self, queues: "Queues | LogstoreError", *, looked: bool = False) -> None:
        """The queues, for which the first client has to wait, are open.

        ``looked``: changes of other nodes were read.
        """
        of = self._of
        if of.phase is not Phase.LOGIN:
            return
        read_on = None if looked or isinstance(queues, LogstoreError) else self._to_look(queues)
        if read_on is not None:
            read_on(lambda error: self._open(error or queues, looked=True))
            return
        try:
            if isinstance(queues, LogstoreError):
                raise queues
            self._enter(queues)
        except LogstoreError as error:
            of.fail(error)
        of.link.wake()

    def _to_look(self, queues: "Queues") -> "ReadOn | None":
        """A read of other nodes' changes, if the virtual host is unknown; it may be new."""
        known = self._host is None or data(self._host) in queues.vhosts
        return None if known else queues.read_on

    def _enter(self, queues: "Queues") -> None:
        """Raises StompFault."""
        of = self._of
        assert of.entry is not None
        name = self._host
        vhost = None if name is None else queues.vhosts.get(data(name))
        if vhost is None:  # many clients say the server's own name
            name = DEFAULT_VHOST
            vhost = queues.vhost(data(name))
        assert name is not None
        permits = Permits(of.door.access, of.door.refusals, of.entry, name)
        try:
            permits.enter()
        except LogstoreError as error:
            raise StompFault(
                "Bad CONNECT", f"Virtual host '{name}' access denied: {refusal_of(error, name)}"
            ) from None
        most = self._seat.take(of.entry.who.user)
        if most is not None:
            raise StompFault(
                "Bad CONNECT",
                f"Connection refused for user '{permits.user}': user connection limit ({most}) "
                "is reached",
            )
        of.vhost, of.vhost_name, of.permits = vhost, name, permits
        of.outbox.vhost = vhost
        vhost.guests[of] = None
        of.id = f"session-{of.door.token()}"
        of.version, of.rules = self._version, RULES[self._version]
        of.phase = Phase.RUNNING
        headers = {
            "session": of.id, "heart-beat": self.beats.header, "server": of.door.server,
            "version": self._version,
        }  # fmt: skip
        of.answer("CONNECTED", headers)
        of.tell_blocked()
        if self._receipt is not None:
            of.answer("RECEIPT", {"receipt-id": self._receipt})
