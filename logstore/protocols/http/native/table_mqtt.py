"""Routes of MQTT."""

from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL
from logstore.http.routes import Route
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import mqtt_sessions
from logstore.protocols.http.opened import Handler

_SESSION: Final = "/api/v1/mqtt/sessions/{client}"

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/mqtt/sessions", mqtt_sessions.list_,
        "List sessions of MQTT clients, with their queued messages.", LOGGED_IN, LIST_QUERY,
    ),
    Route("GET", _SESSION, mqtt_sessions.one, "The session of one client.", LOGGED_IN),
    Route(
        "DELETE", _SESSION, mqtt_sessions.ended,
        "End a session and delete its messages; a connected client is disconnected.", MAY_ALL,
    ),
    Route(
        "GET", f"{_SESSION}/subscriptions", mqtt_sessions.subscriptions,
        "The subscriptions of a session.", LOGGED_IN, LIST_QUERY,
    ),
)  # fmt: skip
