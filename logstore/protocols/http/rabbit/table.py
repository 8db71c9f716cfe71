"""All routes of RabbitMQ's management API."""

from typing import Final

from logstore.http.routes import Route
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import table_access, table_objects, table_server

ROUTES: Final[tuple[Route[Handler], ...]] = (
    *table_server.ROUTES,
    *table_objects.ROUTES,
    *table_access.ROUTES,
)
