"""Requests to switch to another protocol: MQTT and STOMP over WebSocket.

The client logs in by that protocol; cookies and HTTP passwords have no effect. So pages of any
origin may connect if a login is required. If no login is required, or if a certificate can replace
it, which a browser presents for any page, only this server's own page may connect.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from logstore.http.faults import BAD_REQUEST, NOT_FOUND, Fault
from logstore.http.routes import Router
from logstore.http.server_end import Head
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.entry import origin
from logstore.protocols.http.opened import Handler
from logstore.protocols.session import Link, Session
from logstore.protocols.websocket import WebSocketSession
from logstore.websocket.handshake import answer, chosen, fault_of, is_asked_for

UPGRADE_REQUIRED: Final = 426


class Within(NamedTuple):
    """The protocol behind WebSocket connections to one path."""

    door: str
    protocols: tuple[str, ...]  # the subprotocols that say so
    text: bool  # as messages of text


MQTT: Final = Within("mqtt", ("mqtt", "mqttv3.1"), text=False)
STOMP: Final = Within("stomp", ("v12.stomp", "v11.stomp", "v10.stomp"), text=True)
PATHS: Final[Mapping[bytes, Within]] = {b"/ws/mqtt": MQTT, b"/ws/stomp": STOMP}
# By door, of a port that has nothing else.
ALONE: Final[Mapping[str, Mapping[bytes, Within]]] = {it.door: {b"/ws": it} for it in (MQTT, STOMP)}
NO_ROUTES: Final[Router[Handler]] = Router([])


class Turning(NamedTuple):
    """The paths that lead to other protocols, and how a connection switches."""

    paths: Mapping[bytes, Within]
    become: Callable[[Session], object]


NO_TURNING: Final = Turning({}, lambda session: None)
Turned = Callable[[bytes], Session]  # of what has come behind the request


def turn(
    door: HttpDoor, link: Link, head: Head, path: bytes, paths: Mapping[bytes, Within]
) -> Turned | None:
    """How a connection goes on whose request asks for that; None: it is one like others.

    ``path``: the request's target. Raises Fault.
    """
    path = path.partition(b"?")[0]
    asked = is_asked_for(head.headers)
    within = paths.get(path)
    if within is None:
        if asked and "websocket" in head.headers["upgrade"].lower():
            there = ", ".join(it.decode() for it in paths)
            raise Fault(NOT_FOUND, f"no WebSocket at this path; use {there}")
        return None
    doorway = door.doorways.get(within.door)
    if doorway is None:
        raise Fault(NOT_FOUND, f"no {within.door.upper()} is served: see {within.door}.port")
    if not asked:
        raise Fault(
            UPGRADE_REQUIRED, "this is a place for WebSocket connections",
            headers=[("upgrade", "websocket"), ("connection", "upgrade")],
        )  # fmt: skip
    why = fault_of(head.method, head.headers) or ("a body" if head.body_bytes != 0 else "")
    if why:
        raise Fault(BAD_REQUEST, why)
    _check_origin(door, link, head)
    protocol = chosen(head.headers, within.protocols)
    if protocol is None:
        spoken = ", ".join(within.protocols)
        raise Fault(BAD_REQUEST, f"Sec-WebSocket-Protocol must be one of {spoken}, or none")
    first = answer(head.headers, protocol)

    def turned(early: bytes) -> Session:
        return WebSocketSession(
            doorway.new_session, link, text=within.text, first=first, early=early
        )

    return turned


def _check_origin(door: HttpDoor, link: Link, head: Head) -> None:
    """Raises Fault."""
    required = door.access.required
    if not required or link.certificate is not None:
        place = origin.Place(link.address[0], required, door.names)
        origin.check(head.method, head.headers, place)
