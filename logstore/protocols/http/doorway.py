"""Opens the HTTP door."""

from typing import TYPE_CHECKING, Final

from logstore.access.identity import OWNER
from logstore.protocols.first import Code
from logstore.protocols.house import House
from logstore.protocols.session import Doorway, Limits, Link, Session

if TYPE_CHECKING:
    from logstore.protocols.http.door import HttpDoor

NAME: Final = "http"
LOCAL_CONNECTIONS_MAX: Final = 64  # commands come one at a time
IDLE_S: Final = 60.0
SENT_BYTES_MAX: Final = 256 << 10  # events that are not read are not to fill the system's memory
_TOO_MANY: Final = b'{"error":"too many connections: try again"}\n'
_REFUSAL: Final = (
    b"HTTP/1.1 503 \r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)


def open(house: House, *, local: bool = False, only: str = "") -> Doorway:
    """Limits are fixed while it serves. ``local``: for who may open the data directory's socket.

    ``only``: for WebSocket connections of this door's clients, at the path /ws, and nothing else.
    """
    doors: list[HttpDoor] = []

    def made(link: Link) -> Session:
        from logstore.protocols.http.door import HttpDoor
        from logstore.protocols.http.session import HttpSession

        if not doors:
            doors.append(HttpDoor.of(house))
        if local:
            return HttpSession(doors[0], link, OWNER)
        from logstore.protocols.http.routes import ROUTER
        from logstore.protocols.http.sockets import ALONE, NO_ROUTES, PATHS, Turning
        from logstore.protocols.http.turning import TurningSession

        session = TurningSession()
        router, paths = (NO_ROUTES, ALONE[only]) if only else (ROUTER, PATHS)
        session.now = HttpSession(doors[0], link, None, router, Turning(paths, session.become))
        return session

    code = Code(house.work, _load, made)
    if local:
        limits = Limits(LOCAL_CONNECTIONS_MAX, IDLE_S, "what this socket takes", _REFUSAL)
    else:
        most = house.settings.max_connections
        limits = Limits(most, IDLE_S, refusal=_REFUSAL, sent_bytes_max=SENT_BYTES_MAX)
        house.figures.wanted()
    counts = house.figures.door(NAME)
    called = "commands" if local else f"{only} over websocket" if only else ""
    return Doorway(
        code.session, limits, NAME, counts, lambda session: session.about(), called=called
    )


def _load() -> None:
    """A server may have no client: until then neither the library for HTTP nor any route."""
    import logstore.protocols.http.session  # noqa: F401  in a worker, not in a turn
