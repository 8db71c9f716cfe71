"""RabbitMQ's routes of virtual hosts and the objects in them.

The handlers check the rights to an object, with the same rules as the AMQP door.
"""

from collections.abc import Callable
from typing import Final

from logstore.definitions.refusals import BYTES_MAX
from logstore.http.asks import LOGGED_IN, MAY_ALL, SETS_POLICIES, Ask
from logstore.http.routes import ANY, BODY_BYTES_MAX, Route
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import (
    bindings,
    connections,
    consumers,
    definitions,
    exchanges,
    messages,
    policies,
    queues,
    vhosts,
)
from logstore.protocols.http.rabbit.handler import of_queues


def _row(
    method: str,
    path: str,
    handler: Callable[[HttpDoor, Call], None],
    summary: str,
    asks: Ask = LOGGED_IN,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> Route[Handler]:
    """A route whose handler reads the queues' model."""
    return Route(
        method, f"/api{path}", of_queues(handler), summary, asks, ANY,
        body_bytes_max=body_bytes_max,
    )  # fmt: skip


_EXCHANGE: Final = "/exchanges/{vhost}/{name}"
_QUEUE: Final = "/queues/{vhost}/{name}"
_POLICY: Final = "/policies/{vhost}/{name}"
_OPERATOR: Final = "/operator-policies/{vhost}/{name}"
_PARAMETERS: Final = "/parameters/{component}"
_DEFINITIONS: Final = "/definitions/{vhost}"
_BETWEEN: Final = "/bindings/{vhost}/e/{source}/{kind}/{destination}"

ROUTES: Final[tuple[Route[Handler], ...]] = (
    _row("GET", "/vhosts", vhosts.listed, "List virtual hosts."),
    _row("GET", "/vhosts/{vhost}", vhosts.described, "One virtual host."),
    _row("PUT", "/vhosts/{vhost}", vhosts.made, "Add a virtual host, unless it exists.", MAY_ALL),
    _row(
        "DELETE", "/vhosts/{vhost}", vhosts.deleted, "Delete a virtual host and its contents.",
        MAY_ALL,
    ),
    _row("GET", "/exchanges", exchanges.listed, "List exchanges."),
    _row("GET", "/exchanges/{vhost}", exchanges.listed, "List exchanges of a virtual host."),
    _row("GET", _EXCHANGE, exchanges.described, "One exchange."),
    _row("PUT", _EXCHANGE, exchanges.declared, "Declare an exchange."),
    _row(
        "DELETE", _EXCHANGE, exchanges.deleted,
        "Delete an exchange; with if-unused, only if nothing is bound to it.",
    ),
    _row(
        "GET", f"{_EXCHANGE}/bindings/source", bindings.of_source,
        "List bindings from an exchange.",
    ),
    _row(
        "GET", f"{_EXCHANGE}/bindings/destination", bindings.of_destination,
        "List bindings to an exchange.",
    ),
    _row(
        "POST",
        f"{_EXCHANGE}/publish",
        messages.published,
        "Publish a message to an exchange.",
        body_bytes_max=messages.PUBLISHED_BYTES_MAX,
    ),
    _row("GET", "/queues", queues.listed, "List queues and count their messages."),
    _row(
        "GET", "/queues/detailed", queues.listed,
        "List queues and count their messages, as /api/queues does.",
    ),
    _row("GET", "/queues/{vhost}", queues.listed, "List queues of a virtual host."),
    _row("GET", _QUEUE, queues.described, "One queue and its consumers."),
    _row("PUT", _QUEUE, queues.declared, "Declare a queue."),
    _row(
        "DELETE", _QUEUE, queues.deleted,
        "Delete a queue; with if-empty or if-unused, only in that state.",
    ),
    _row("GET", f"{_QUEUE}/bindings", bindings.of_queue, "List bindings to a queue."),
    _row("DELETE", f"{_QUEUE}/contents", queues.purged, "Delete all ready messages of a queue."),
    _row(
        "POST", f"{_QUEUE}/actions", queues.actions,
        "Synchronise mirrors: no effect, there are none.",
    ),
    _row(
        "POST", f"{_QUEUE}/get", messages.fetched,
        "Fetch messages, and acknowledge, reject or requeue them.",
    ),
    _row("GET", "/bindings", bindings.listed, "List bindings."),
    _row("GET", "/bindings/{vhost}", bindings.listed, "List bindings of a virtual host."),
    _row(
        "GET", _BETWEEN, bindings.between,
        "List bindings from an exchange to a queue (q) or to another exchange (e).",
    ),
    _row("POST", _BETWEEN, bindings.made, "Bind a queue (q) or an exchange (e) to an exchange."),
    _row("GET", f"{_BETWEEN}/{{properties}}", bindings.described, "One binding."),
    _row("DELETE", f"{_BETWEEN}/{{properties}}", bindings.removed, "Remove a binding."),
    _row("GET", "/connections", connections.listed, "List connections of RabbitMQ clients."),
    _row(
        "GET", "/vhosts/{vhost}/connections", connections.of_vhost,
        "List connections to a virtual host.",
    ),
    _row(
        "GET", "/connections/username/{user}", connections.of_user, "List connections of a user.",
    ),
    _row(
        "DELETE", "/connections/username/{user}", connections.closed_of_user,
        "Close all connections of a user.",
    ),
    _row("GET", "/connections/{name}", connections.described, "One connection."),
    _row("DELETE", "/connections/{name}", connections.closed, "Close a connection."),
    _row(
        "GET", "/connections/{name}/channels", connections.channels_of,
        "List channels of a connection.",
    ),
    _row("GET", "/channels", connections.channels_listed, "List channels."),
    _row(
        "GET", "/vhosts/{vhost}/channels", connections.channels_of_vhost,
        "List channels to a virtual host.",
    ),
    _row(
        "GET", "/channels/{name}", connections.channel_described, "One channel and its consumers.",
    ),
    _row("GET", "/consumers", consumers.listed, "List consumers."),
    _row("GET", "/consumers/{vhost}", consumers.listed, "List consumers of a virtual host."),
    _row(
        "GET", "/definitions", definitions.described, "All definitions, without messages.",
        MAY_ALL,
    ),
    _row(
        "GET", _DEFINITIONS, definitions.described, "The definitions of a virtual host.", MAY_ALL,
    ),
    _row(
        "POST", "/definitions", definitions.imported, "Import definitions.", MAY_ALL,
        body_bytes_max=BYTES_MAX,
    ),
    _row(
        "POST", _DEFINITIONS, definitions.imported,
        "Import definitions into a virtual host.", MAY_ALL,
        body_bytes_max=BYTES_MAX,
    ),
    _row("GET", "/policies", policies.listed, "List policies."),
    _row("GET", "/policies/{vhost}", policies.listed, "List policies of a virtual host."),
    _row("GET", _POLICY, policies.described, "One policy.", SETS_POLICIES),
    _row(
        "PUT", _POLICY, policies.given,
        "Set a policy, replacing one of the same name.", SETS_POLICIES,
    ),
    _row("DELETE", _POLICY, policies.deleted, "Delete a policy.", SETS_POLICIES),
    _row(
        "GET", _OPERATOR, policies.operator_described,
        "Always 404: operator policies are not supported.", MAY_ALL,
    ),
    _row(
        "PUT", _OPERATOR, policies.operator_given,
        "Always refused: operator policies are not supported.", MAY_ALL,
    ),
    _row(
        "DELETE", _OPERATOR, policies.operator_described,
        "Always 404: operator policies are not supported.", MAY_ALL,
    ),
    _row(
        "GET", _PARAMETERS, policies.parameters,
        "List policies if the component is policy; otherwise empty.", SETS_POLICIES,
    ),
    _row(
        "GET", f"{_PARAMETERS}/{{vhost}}", policies.parameters,
        "List policies of a virtual host if the component is policy; otherwise empty.",
        SETS_POLICIES,
    ),
    _row(
        "GET", f"{_PARAMETERS}/{{vhost}}/{{name}}", policies.parameter,
        "One policy if the component is policy; otherwise 404.",
        SETS_POLICIES,
    ),
    _row(
        "PUT", f"{_PARAMETERS}/{{vhost}}/{{name}}", policies.parameter_given,
        "Always refused: parameters are not supported.", SETS_POLICIES,
    ),
)  # fmt: skip
