"""RabbitMQ's routes of the server itself, and of what is not here."""

from collections.abc import Callable
from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL, SEES_ALL, Ask
from logstore.http.routes import ANY, Route
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import health, nodes, overview
from logstore.protocols.http.rabbit.handler import of_queues, plain

_CHECKS: Final[tuple[tuple[str, Handler, str], ...]] = (
    ("alarms", health.alarms, "Whether anything is alarming."),
    ("local-alarms", health.alarms, "The same."),
    ("is-in-service", health.is_well, "Whether it serves."),
    ("ready-to-serve-clients", health.takes_messages, "Whether it takes messages."),
    ("virtual-hosts", health.well, "Whether all virtual hosts are open."),
    ("node-is-quorum-critical", health.alone, "Whether others depend on it."),
    ("node-is-mirror-sync-critical", health.alone, "The same."),
    ("port-listener/{port}", health.listens_at, "Whether a door is open at a port."),
    ("protocol-listener/{protocol}", health.speaks, "Whether one is open for a protocol."),
)
_NOTHING: Final = (
    "operator-policies", "operator-policies/{vhost}", "parameters", "vhost-limits",
    "vhost-limits/{vhost}", "user-limits", "user-limits/{user}", "feature-flags",
    "deprecated-features", "deprecated-features/used", "shovels", "federation-links", "extensions",
)  # fmt: skip


def _row(
    path: str,
    handler: Handler,
    summary: str,
    wrapped: Callable[[Handler], Handler] = plain,
    *,
    asks: Ask = LOGGED_IN,
) -> Route[Handler]:
    return Route("GET", f"/api/{path}", wrapped(handler), summary, asks, ANY)


ROUTES: Final[tuple[Route[Handler], ...]] = (
    _row("overview", overview.described, "All at one glance.", of_queues),
    _row("cluster-name", overview.cluster_name, "Its name."),
    _row("global-parameters", overview.global_parameters, "The same.", asks=SEES_ALL),
    _row(
        "global-parameters/cluster_name", overview.global_parameter, "The same.", asks=SEES_ALL
    ),
    _row("nodes", nodes.listed, "List nodes: one.", asks=SEES_ALL),
    _row("nodes/{node}", nodes.described, "The node.", asks=SEES_ALL),
    _row("nodes/{node}/memory", nodes.memory, "Its memory.", asks=SEES_ALL),
    *(_row(f"health/checks/{path}", handler, says) for path, handler, says in _CHECKS),
    _row("healthchecks/node", health.is_well, "Whether it is in order."),
    _row(
        "aliveness-test/{vhost}", health.is_alive, "Whether a virtual host takes messages.",
        of_queues,
    ),
    Route(
        "POST", "/api/rebalance/queues", plain(overview.balanced),
        "Have each node lead as many queues: one does.", MAY_ALL, ANY,
    ),
    *(_row(path, overview.nothing, "None.") for path in _NOTHING),
)  # fmt: skip
