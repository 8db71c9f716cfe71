"""Routes of the process itself."""

from typing import Final

from logstore.http.asks import MAY_ALL, SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.native import server
from logstore.protocols.http.opened import Handler

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/server", server.described, "The process, and where its doors are.",
        SEES_ALL,
    ),
    Route(
        "POST", "/api/v1/jobs", server.job, "Do a job of upkeep: the answer is in lines.", MAY_ALL
    ),
)  # fmt: skip
