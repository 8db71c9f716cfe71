"""A request from its head to its handler: its route, its sender, and the sender's rights.

All of this is decided before the body is received, so that for a stranger the process holds no more
than a head. If the body arrives later, users and rules may have changed, so the rights are checked
again.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from logstore.access.identity import Identity
from logstore.errors import Forbidden, LogstoreError
from logstore.http import asks
from logstore.http.faults import NO_CONTENT, PERMANENT_REDIRECT, UNAUTHORIZED, Fault
from logstore.http.routes import Found, Router
from logstore.http.server_end import Head
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.entry import origin, targets
from logstore.protocols.http.entry.gate import TurnedAway, challenge, wrong
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.permits import LOG_IN, Permits, check
from logstore.protocols.http.replies.refusals import fault_of, refused_to_rabbit
from logstore.protocols.session import Link


class Admitted(NamedTuple):
    """A request that may be executed."""

    found: Found[Handler]
    permits: Permits
    version: int  # of the rules that say so
    secrets: Sequence[str] = ()  # of the browser that is let in by one of these

    def is_of(self, secrets: Collection[str]) -> bool:
        """Whether it is of a browser with one of these cookies."""
        return any(it in secrets for it in self.secrets)

    def to_be_looked_at_again(self) -> "Admitted":
        """Since what was decided may be another now."""
        return self._replace(version=-1)


class Refused(NamedTuple):
    """A request that may not be executed."""

    fault: Fault
    delay_s: float = 0.0  # before that is said


Then = Callable[[Admitted | Refused], None]


class Reception:
    """Receives the requests of one connection."""

    def __init__(
        self, door: HttpDoor, router: Router[Handler], link: Link, owner: Identity | None
    ) -> None:
        """``owner``: who sends everything that comes here, where that is known."""
        self._door = door
        self._router = router
        self._link = link
        self._owner = owner
        self._permits: Permits | None = None  # of who came last
        self._told: Identity | None = None  # that he has come in

    def receive(self, head: Head, then: Then) -> None:
        """``then`` gets what becomes of it: now, or in a later turn."""
        try:
            found = self._find(head)
        except Fault as fault:
            then(Refused(fault))
            return
        if self._owner is not None:
            then(self._decide(head, found, self._owner))
            return
        if found.route.asks.level == asks.NOBODY:
            then(self._decide(head, found, self._nobody()))
            return

        def known(who: Identity | TurnedAway) -> None:
            if isinstance(who, TurnedAway):
                then(Refused(wrong(head.headers), who.delay_s))
            else:
                then(self._decide(head, found, who))

        self._door.gate.identify(head.headers, self._link, known)

    def _nobody(self) -> Identity:
        return self._door.gate.nobody(self._link)

    def _find(self, head: Head) -> Found[Handler]:
        """Raises Fault."""
        target = self._without_prefix(head.target)
        if head.method == "OPTIONS":
            raise Fault(NO_CONTENT, "", ", ".join(self._router.methods(target)))
        found = self._router.find(head.method, targets.tidied(target))
        if self._owner is None:
            door = self._door
            place = origin.Place(self._link.address[0], door.access.required, door.names)
            public = found.route.asks.level == asks.NOBODY
            origin.check(head.method, head.headers, place, public=public)
        return found

    def seen(self, head: Head) -> Head:
        """As handlers and refusals know it: without what a proxy has left of its own."""
        if not self._door.prefix:
            return head
        try:
            return replace(head, target=self._without_prefix(head.target))
        except Fault:
            return head

    def _without_prefix(self, target: bytes) -> bytes:
        """Raises Fault where a browser needs another address: ours are relative to it."""
        prefix = self._door.prefix
        if not prefix or not target.startswith(prefix):
            return target
        rest = target.removeprefix(prefix)
        if not rest or rest.startswith(b"?"):
            place = (prefix + b"/" + rest).decode("latin-1")
            raise Fault(PERMANENT_REDIRECT, f"it is at {place}", headers=[("location", place)])
        return rest if rest.startswith(b"/") else target

    def _decide(self, head: Head, found: Found[Handler], who: Identity) -> Admitted | Refused:
        permits = self._permits_of(who)
        version = self._door.access.version
        try:
            asked = head.method, found.route.path
            check(self._door, permits, found.route.asks, found.names, found.query, asked)
        except LogstoreError as error:
            fault = fault_of(error)
            if fault.status == UNAUTHORIZED:
                fault.headers = challenge(head.headers)
            elif isinstance(error, Forbidden) and targets.is_of(found.route.path.encode()):
                fault = refused_to_rabbit(found.route.asks)
            return Refused(fault)
        self._tell(head, who)
        return Admitted(found, permits, version, self._door.gate.secrets(head.headers, who))

    def again(self, head: Head, admitted: Admitted) -> Admitted | Refused:
        """The same, once what was decided may be another: users or rules have changed."""
        if admitted.version == self._door.access.version:
            return admitted
        who = admitted.permits.who
        if self._owner is None and not self._door.gate.is_in_still(head.headers, who):
            return Refused(Fault(UNAUTHORIZED, LOG_IN, headers=challenge(head.headers)))
        return self._decide(head, admitted.found, who)

    def _permits_of(self, who: Identity) -> Permits:
        if self._permits is None or self._permits.who != who:
            self._permits = Permits(self._door.access, who)
        return self._permits

    def _tell(self, head: Head, who: Identity) -> None:
        """Have it known who has come in: a tool logs in with each request, and is told of once."""
        if who != self._told and who.user and "authorization" in head.headers:
            self._told = who
            self._door.gate.told(who)
