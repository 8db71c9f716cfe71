"""Routes of what the server is at: at one look, its cluster, connections, events."""

from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL, SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import cluster, connections, events, overview
from logstore.protocols.http.opened import Handler

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/overview", overview.shown,
        "Health, what flows, what is stuck, what is nearly full.", LOGGED_IN,
    ),
    Route(
        "GET", "/api/v1/cluster", cluster.shown,
        "The Kafka cluster that the server is a node of: who owns what, what is behind.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/connections", connections.list_,
        "List connections of all doors, or of one.", LOGGED_IN, ("door", *LIST_QUERY),
    ),
    Route("GET", "/api/v1/connections/{id}", connections.one, "One connection.", LOGGED_IN),
    Route(
        "DELETE", "/api/v1/connections/{id}", connections.closed, "End it.", MAY_ALL,
        takes=connections.Close,
    ),
    Route(
        "GET", "/api/v1/events", events.begun,
        "What a view shows, once a second, as events (Server-Sent Events).", LOGGED_IN,
        events.QUERY, kind="text/event-stream",
    ),
)  # fmt: skip
