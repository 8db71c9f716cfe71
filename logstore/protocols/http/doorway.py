"""The HTTP door, opened."""

from typing import Final

from logstore.protocols.house import House
from logstore.protocols.session import Doorway, Limits, Link, Session

CONNECTIONS_MAX: Final = 64  # commands come one at a time; each holds a file of the process
IDLE_S: Final = 60.0
_TOO_MANY: Final = b'{"error":"too many connections: try again"}\n'
_REFUSAL: Final = (
    b"HTTP/1.1 503 \r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)


def open(house: House) -> Doorway:
    """Limits are fixed while it serves."""

    def new_session(link: Link) -> Session:
        # A server may have no client: until then neither the library for HTTP nor any route.
        from logstore.protocols.http.door import HttpDoor
        from logstore.protocols.http.session import HttpSession

        return HttpSession(HttpDoor.of(house), link)

    limits = Limits(CONNECTIONS_MAX, IDLE_S, "what this socket takes", _REFUSAL)
    return Doorway(new_session, limits)
