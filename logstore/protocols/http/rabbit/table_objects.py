"""RabbitMQ's routes of virtual hosts, and of what is in them.

What one may do with an object is asked for by the handlers, as the AMQP door asks for it.
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
    """One that looks at queues."""
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
    _row("PUT", "/vhosts/{vhost}", vhosts.made, "Add one, unless it exists.", MAY_ALL),
    _row("DELETE", "/vhosts/{vhost}", vhosts.deleted, "Delete one and all it has.", MAY_ALL),
    _row("GET", "/exchanges", exchanges.listed, "List exchanges."),
    _row("GET", "/exchanges/{vhost}", exchanges.listed, "List those of a virtual host."),
    _row("GET", _EXCHANGE, exchanges.described, "One exchange."),
    _row("PUT", _EXCHANGE, exchanges.declared, "Declare one."),
    _row("DELETE", _EXCHANGE, exchanges.deleted, "Delete one; if-unused."),
    _row("GET", f"{_EXCHANGE}/bindings/source", bindings.of_source, "Bindings from it."),
    _row("GET", f"{_EXCHANGE}/bindings/destination", bindings.of_destination, "Bindings to it."),
    _row(
        "POST",
        f"{_EXCHANGE}/publish",
        messages.published,
        "Publish a message.",
        body_bytes_max=messages.PUBLISHED_BYTES_MAX,
    ),
    _row("GET", "/queues", queues.listed, "List queues and count their messages."),
    _row("GET", "/queues/detailed", queues.listed, "The same."),
    _row("GET", "/queues/{vhost}", queues.listed, "List those of a virtual host."),
    _row("GET", _QUEUE, queues.described, "One queue and its consumers."),
    _row("PUT", _QUEUE, queues.declared, "Declare one."),
    _row("DELETE", _QUEUE, queues.deleted, "Delete one; if-empty, if-unused."),
    _row("GET", f"{_QUEUE}/bindings", bindings.of_queue, "Bindings to it."),
    _row("DELETE", f"{_QUEUE}/contents", queues.purged, "Purge it."),
    _row("POST", f"{_QUEUE}/actions", queues.actions, "Synchronise mirrors: there are none."),
    _row("POST", f"{_QUEUE}/get", messages.fetched, "Fetch messages, and put them back or not."),
    _row("GET", "/bindings", bindings.listed, "List bindings."),
    _row("GET", "/bindings/{vhost}", bindings.listed, "List those of a virtual host."),
    _row("GET", _BETWEEN, bindings.between, "Those of an exchange and a queue (q) or other (e)."),
    _row("POST", _BETWEEN, bindings.made, "Bind them."),
    _row("GET", f"{_BETWEEN}/{{properties}}", bindings.described, "One binding."),
    _row("DELETE", f"{_BETWEEN}/{{properties}}", bindings.removed, "Remove one."),
    _row("GET", "/connections", connections.listed, "List connections of RabbitMQ clients."),
    _row("GET", "/vhosts/{vhost}/connections", connections.of_vhost, "Those to a virtual host."),
    _row("GET", "/connections/username/{user}", connections.of_user, "Those of a user."),
    _row("DELETE", "/connections/username/{user}", connections.closed_of_user, "Close these."),
    _row("GET", "/connections/{name}", connections.described, "One connection."),
    _row("DELETE", "/connections/{name}", connections.closed, "Close it."),
    _row("GET", "/connections/{name}/channels", connections.channels_of, "Its channels."),
    _row("GET", "/channels", connections.channels_listed, "List channels."),
    _row("GET", "/vhosts/{vhost}/channels", connections.channels_of_vhost, "Those to one."),
    _row("GET", "/channels/{name}", connections.channel_described, "One and its consumers."),
    _row("GET", "/consumers", consumers.listed, "List consumers."),
    _row("GET", "/consumers/{vhost}", consumers.listed, "List those of a virtual host."),
    _row("GET", "/definitions", definitions.described, "All but messages.", MAY_ALL),
    _row("GET", _DEFINITIONS, definitions.described, "Those of a virtual host.", MAY_ALL),
    _row(
        "POST", "/definitions", definitions.imported, "Have all of this.", MAY_ALL,
        body_bytes_max=BYTES_MAX,
    ),
    _row(
        "POST", _DEFINITIONS, definitions.imported, "The same in a virtual host.", MAY_ALL,
        body_bytes_max=BYTES_MAX,
    ),
    _row("GET", "/policies", policies.listed, "List policies."),
    _row("GET", "/policies/{vhost}", policies.listed, "List those of a virtual host."),
    _row("GET", _POLICY, policies.described, "One policy.", SETS_POLICIES),
    _row("PUT", _POLICY, policies.given, "Set one.", SETS_POLICIES),
    _row("DELETE", _POLICY, policies.deleted, "Delete one.", SETS_POLICIES),
    _row("GET", _OPERATOR, policies.operator_described, "None.", MAY_ALL),
    _row("PUT", _OPERATOR, policies.operator_given, "Refused: there are none.", MAY_ALL),
    _row("DELETE", _OPERATOR, policies.operator_described, "None.", MAY_ALL),
    _row("GET", _PARAMETERS, policies.parameters, "Policies, if it is policy.", SETS_POLICIES),
    _row("GET", f"{_PARAMETERS}/{{vhost}}", policies.parameters, "The same.", SETS_POLICIES),
    _row(
        "GET", f"{_PARAMETERS}/{{vhost}}/{{name}}", policies.parameter, "One policy.",
        SETS_POLICIES,
    ),
    _row(
        "PUT", f"{_PARAMETERS}/{{vhost}}/{{name}}", policies.parameter_given,
        "Refused: no component has any.", SETS_POLICIES,
    ),
)  # fmt: skip
