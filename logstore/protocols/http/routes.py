"""The table of all routes, put together from its parts."""

from typing import Final

from logstore.http.routes import Route, Router
from logstore.protocols.http import description, page
from logstore.protocols.http.metrics import table as table_metrics
from logstore.protocols.http.native import (
    table_channels,
    table_figures,
    table_mqtt,
    table_queues,
    table_server,
    table_topics,
    table_transactions,
    table_users,
)
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import table as rabbit

ROUTES: Final[tuple[Route[Handler], ...]] = (
    *table_server.ROUTES,
    *table_figures.ROUTES,
    *table_topics.ROUTES,
    *table_transactions.ROUTES,
    *table_queues.ROUTES,
    *table_channels.ROUTES,
    *table_mqtt.ROUTES,
    *table_users.ROUTES,
    *rabbit.ROUTES,
    *table_metrics.ROUTES,
    description.route(lambda: ROUTES),
    page.ROUTE,
)

ROUTER: Final = Router([it for it in ROUTES if it is not page.ROUTE], page.ROUTE)
