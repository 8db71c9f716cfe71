"""Routes of the process itself."""

from typing import Final

from logstore.http.asks import IF_KNOWN, LOGGED_IN, MAY_ALL, OPEN, SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.native import audit, doctor, health, server, session
from logstore.protocols.http.opened import Handler

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/whoami", session.whoami,
        "The caller's user, and whether a login is needed.",
        IF_KNOWN,
    ),
    Route(
        "POST", "/api/v1/session", session.logged_in, "Log in: the reply sets a cookie.", OPEN,
        takes=session.Login,
    ),
    Route("DELETE", "/api/v1/session", session.logged_out, "Log out.", OPEN),
    Route("GET", "/healthz", health.alive, "Whether the process is alive.", OPEN),
    Route("GET", "/readyz", health.ready, "Whether records can be acknowledged; 503 if not.", OPEN),
    Route(
        "GET", "/api/v1/ready", health.ready,
        "Whether records can be acknowledged; 503 if not.", OPEN,
    ),
    Route(
        "GET", "/api/v1/server", server.described, "The process, and the addresses of its doors.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/doctor", doctor.examined,
        "Check limits, disk, clock and so on; says what to change.", SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/jobs", server.jobs, "List running and recent upkeep jobs.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/audit", audit.shown, "The audit log, newest entries first.", LOGGED_IN,
        audit.QUERY,
    ),
    Route(
        "POST", "/api/v1/jobs", server.job, "Run an upkeep job; the reply is a stream of lines.",
        MAY_ALL
    ),
)  # fmt: skip
