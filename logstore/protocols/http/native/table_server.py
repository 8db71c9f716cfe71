"""Routes of the process itself."""

from typing import Final

from logstore.http.asks import IF_KNOWN, LOGGED_IN, MAY_ALL, OPEN, SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.native import audit, doctor, health, server, session
from logstore.protocols.http.opened import Handler

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/whoami", session.whoami, "Who asks, and whether a login is needed.",
        IF_KNOWN,
    ),
    Route(
        "POST", "/api/v1/session", session.logged_in, "Log in: the answer has a cookie.", OPEN,
        takes=session.Login,
    ),
    Route("DELETE", "/api/v1/session", session.logged_out, "Log out.", OPEN),
    Route("GET", "/healthz", health.alive, "Whether the process is alive.", OPEN),
    Route("GET", "/readyz", health.ready, "Whether records can be acknowledged; else 503.", OPEN),
    Route("GET", "/api/v1/ready", health.ready, "The same.", OPEN),
    Route(
        "GET", "/api/v1/server", server.described, "The process, and where its doors are.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/doctor", doctor.examined,
        "Limits, disk, clock and the like, checked, with what to change.", SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/jobs", server.jobs, "Jobs of upkeep that run, and those that ended lately.",
        SEES_ALL,
    ),
    Route(
        "GET", "/api/v1/audit", audit.shown, "The audit log, the newest first.", LOGGED_IN,
        audit.QUERY,
    ),
    Route(
        "POST", "/api/v1/jobs", server.job, "Do a job of upkeep: the answer is in lines.", MAY_ALL
    ),
)  # fmt: skip
