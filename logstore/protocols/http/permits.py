"""Whether whoever asks may do what a route does."""

from logstore.access.rights import Rights
from logstore.http.asks import LOCAL, NOBODY, Ask
from logstore.http.faults import FORBIDDEN, UNAUTHORIZED, Fault
from logstore.protocols.http.door import HttpDoor


def check(door: HttpDoor, rights: Rights, ask: Ask) -> None:
    """Raises Fault."""
    if rights.who.owner or ask.level == NOBODY:
        return
    if ask.level == LOCAL:
        raise Fault(FORBIDDEN, "this is answered through the socket of the data directory only")
    if door.access.required and not rights.who.user:
        raise Fault(UNAUTHORIZED, "log in with a name and a password")
    if not rights.all:
        raise Fault(FORBIDDEN, f"{rights.who.user} may not do this")
