"""Routes of the server's figures: overview, cluster, connections, events."""

from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL, SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import cluster, connections, events, overview
from logstore.protocols.http.opened import Handler

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/overview", overview.shown,
        "Health, rates, lag, and limits that are nearly reached.", LOGGED_IN,
    ),
    Route(
        "GET", "/api/v1/cluster", cluster.shown,
        "The server's Kafka cluster: owners, and lag.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/connections", connections.list_,
        "List connections of all doors, or of one.", LOGGED_IN, ("door", *LIST_QUERY),
    ),
    Route("GET", "/api/v1/connections/{id}", connections.one, "One connection.", LOGGED_IN),
    Route(
        "DELETE", "/api/v1/connections/{id}", connections.closed, "Close a connection.", MAY_ALL,
        takes=connections.Close,
    ),
    Route(
        "GET", "/api/v1/events", events.begun,
        "A view's figures, once a second, as Server-Sent Events.", LOGGED_IN,
        events.QUERY, kind="text/event-stream",
    ),
)  # fmt: skip
