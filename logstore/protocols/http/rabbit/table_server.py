"""RabbitMQ's routes of the server itself, and of features that are not supported."""

from collections.abc import Callable
from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL, SEES_ALL, Ask
from logstore.http.routes import ANY, Route
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import health, nodes, overview
from logstore.protocols.http.rabbit.handler import of_queues, plain

_CHECKS: Final[tuple[tuple[str, Handler, str], ...]] = (
    ("alarms", health.alarms, "Whether an alarm is active; 503 if so."),
    ("local-alarms", health.alarms, "Whether an alarm of this node is active; 503 if so."),
    ("is-in-service", health.is_well, "Whether the node is in service; 503 if not."),
    ("ready-to-serve-clients", health.takes_messages, "Whether messages are accepted; 503 if not."),
    ("virtual-hosts", health.well, "Whether all virtual hosts are open: always passes."),
    ("node-is-quorum-critical", health.alone, "Whether queues need this node: always passes."),
    (
        "node-is-mirror-sync-critical",
        health.alone,
        "Whether mirrors need this node: always passes.",
    ),
    (
        "port-listener/{port}",
        health.listens_at,
        "Whether the server listens at a port; 503 if not.",
    ),
    (
        "protocol-listener/{protocol}",
        health.speaks,
        "Whether the server listens for a protocol; 503 if not.",
    ),
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
    _row(
        "overview", overview.described,
        "The server, with totals of messages and objects.", of_queues,
    ),
    _row("cluster-name", overview.cluster_name, "The name of the cluster."),
    _row(
        "global-parameters", overview.global_parameters,
        "List global parameters: the name of the cluster.", asks=SEES_ALL,
    ),
    _row(
        "global-parameters/cluster_name", overview.global_parameter,
        "The name of the cluster, as a global parameter.", asks=SEES_ALL,
    ),
    _row("nodes", nodes.listed, "List nodes: there is one.", asks=SEES_ALL),
    _row(
        "nodes/{node}", nodes.described, "The node and what it uses of the machine.", asks=SEES_ALL,
    ),
    _row("nodes/{node}/memory", nodes.memory, "The memory of the node.", asks=SEES_ALL),
    *(_row(f"health/checks/{path}", handler, says) for path, handler, says in _CHECKS),
    _row("healthchecks/node", health.is_well, "Whether the node is healthy; 503 if not."),
    _row(
        "aliveness-test/{vhost}", health.is_alive,
        "Whether a virtual host accepts messages; 503 if not.",
        of_queues,
    ),
    Route(
        "POST", "/api/rebalance/queues", plain(overview.balanced),
        "Rebalance queues over nodes: no effect, there is one node.", MAY_ALL, ANY,
    ),
    *(_row(path, overview.nothing, "Always empty: not supported.") for path in _NOTHING),
)  # fmt: skip
