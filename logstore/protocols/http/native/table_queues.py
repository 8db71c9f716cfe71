"""Routes of virtual hosts, exchanges and queues."""

from typing import Any, Final

from logstore.access.resources import CREATE, DELETE, DESCRIBE, EXCHANGE, QUEUE, READ, TOPIC, WRITE
from logstore.definitions.refusals import BYTES_MAX
from logstore.http.asks import LOGGED_IN, MAY_ALL, SETS_POLICIES, of
from logstore.http.routes import Route
from logstore.protocols.http.call import PAGE_QUERY
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import (
    bindings,
    definitions,
    exchanges,
    history,
    messages,
    permissions,
    policies,
    queues,
    routing,
    schedules,
    topic_routes,
    vhosts,
)
from logstore.protocols.http.native.asked import TABLES_BYTES_MAX
from logstore.protocols.http.native.bounds import LITTLE_BYTES
from logstore.protocols.http.opened import Handler, opened_first

_LIST: Final = ("vhost", *LIST_QUERY)
_ONE: Final = ("vhost",)
_PART: Final = ("vhost", *PAGE_QUERY)
_QUEUE: Final = "/api/v1/queues/{name}"
_ROUTES_OF: Final = "/api/v1/topics/{name}/routes"
_POLICY: Final = "/api/v1/policies/{name}"
_EXCHANGE: Final = "/api/v1/exchanges/{name}"

_ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route("GET", "/api/v1/vhosts", vhosts.list_, "List virtual hosts.", LOGGED_IN, LIST_QUERY),
    Route(
        "PUT", "/api/v1/vhosts/{name}", vhosts.added,
        "Add a virtual host, unless it exists.", MAY_ALL,
    ),
    Route(
        "DELETE", "/api/v1/vhosts/{name}", vhosts.deleted,
        "Delete a virtual host and its contents.", MAY_ALL,
        takes=vhosts.VhostDelete,
    ),
    Route("GET", "/api/v1/exchanges", exchanges.list_, "List exchanges.", LOGGED_IN, _LIST),
    Route("GET", _EXCHANGE, exchanges.described, "One exchange.", of(DESCRIBE, EXCHANGE), _ONE),
    Route(
        "PUT", _EXCHANGE, exchanges.declared, "Declare an exchange, unless it exists.",
        of(CREATE, EXCHANGE), _ONE, takes=exchanges.ExchangeDeclare,
        body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "DELETE", _EXCHANGE, exchanges.deleted, "Delete an exchange and its bindings.",
        of(DELETE, EXCHANGE), _ONE, takes=exchanges.ExchangeDelete,
    ),
    Route(
        "POST", f"{_EXCHANGE}/publish", exchanges.published, "Publish a message.",
        of(WRITE, EXCHANGE), _ONE, takes=exchanges.ExchangePublish,
    ),
    Route(
        "GET", f"{_EXCHANGE}/bindings", exchanges.bindings,
        "Bindings from an exchange (end=source) or to it (end=destination).",
        of(DESCRIBE, EXCHANGE), (*_LIST, "end"),
    ),
    Route(
        "GET", "/api/v1/routing", routing.pictured, "The routes of messages, as a graph.",
        LOGGED_IN,
        (*_ONE, "focus", "depth"),
    ),
    Route(
        "POST", "/api/v1/routing/test", routing.tested, "The route that one message would take.",
        LOGGED_IN,
        _ONE, takes=routing.RoutingTest, body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "GET", "/api/v1/schedules", schedules.shown,
        "Exchanges and topics with delayed messages or records.", LOGGED_IN,
        _LIST,
    ),
    Route(
        "GET", f"{_EXCHANGE}/schedule", schedules.of_exchange, "An exchange's delayed messages.",
        of(READ, EXCHANGE), (*_ONE, *schedules.PLACE_QUERY),
    ),
    Route(
        "DELETE", f"{_EXCHANGE}/schedule/{{offset}}", schedules.cancelled_at_exchange,
        "Cancel a delayed message.", of(DELETE, EXCHANGE), _ONE,
    ),
    Route("GET", "/api/v1/bindings", bindings.list_, "List bindings.", LOGGED_IN, _LIST),
    Route(
        "POST", "/api/v1/bindings", bindings.made, "Bind a queue or an exchange.", LOGGED_IN, _ONE,
        takes=bindings.BindingMake, body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "DELETE", "/api/v1/bindings", bindings.removed, "Remove a binding.", LOGGED_IN, _ONE,
        takes=bindings.BindingRemove, body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "GET", "/api/v1/queues", queues.list_, "List queues and count their messages.", LOGGED_IN,
        _LIST,
    ),
    Route(
        "GET", _QUEUE, queues.described, "One queue, its lanes and dead letters.",
        of(DESCRIBE, QUEUE), _ONE,
    ),
    Route(
        "PUT", _QUEUE, queues.declared, "Declare a queue, unless it exists.",
        of(CREATE, QUEUE), _ONE,
        takes=queues.QueueDeclare, body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "DELETE", _QUEUE, queues.deleted, "Delete a queue and its messages.",
        of(DELETE, QUEUE), _ONE,
        takes=queues.QueueDelete,
    ),
    Route(
        "POST", f"{_QUEUE}/purge", queues.purged, "Delete all ready messages of a queue.",
        of(READ, QUEUE), _ONE, takes=queues.QueuePurge,
    ),
    Route(
        "GET", f"{_QUEUE}/messages", messages.peeked, "A queue's messages; none is taken.",
        of(READ, QUEUE), (*_ONE, "from", "limit"),
    ),
    Route(
        "GET", f"{_QUEUE}/messages/{{offset}}", messages.described, "One message, complete.",
        of(READ, QUEUE), _ONE,
    ),
    Route(
        "GET", f"{_QUEUE}/messages/{{offset}}/body", messages.downloaded,
        "The body of one message.",
        of(READ, QUEUE), _ONE, kind=messages.BINARY,
    ),
    Route(
        "GET", f"{_QUEUE}/history", history.listed,
        "A queue's messages on disk, including settled ones; none is taken.",
        of(READ, QUEUE),
        (*_ONE, "from", "to", "from_ms", "to_ms", "only", "header", "order", "limit", "on",
         "before_ms"),
        lists=("header",),
    ),
    Route(
        "GET", f"{_QUEUE}/history/{{offset}}", history.described,
        "One message of the history, complete.",
        of(READ, QUEUE), _ONE,
    ),
    Route(
        "GET", f"{_QUEUE}/history/{{offset}}/body", history.downloaded,
        "The body of one message of the history.",
        of(READ, QUEUE), _ONE, kind=messages.BINARY,
    ),
    Route(
        "POST", f"{_QUEUE}/replay", history.replayed,
        "Publish messages of a queue's history again, a page at a time.", of(READ, QUEUE), _ONE,
        takes=history.QueueReplay,
    ),
    Route(
        "POST", f"{_QUEUE}/get", messages.fetched,
        "Fetch messages, and acknowledge, reject or requeue them.",
        of(READ, QUEUE), _ONE, takes=messages.MessagesGet,
    ),
    Route(
        "POST", f"{_QUEUE}/move", messages.moved, "Move messages to an exchange.",
        of(READ, QUEUE), _ONE, takes=messages.MessagesMove,
    ),
    Route(
        "GET", f"{_QUEUE}/bindings", queues.bindings, "A queue's bindings.", of(DESCRIBE, QUEUE),
        _LIST,
    ),
    Route(
        "GET", f"{_QUEUE}/consumers", queues.consumers, "A queue's consumers.", of(DESCRIBE, QUEUE),
        _PART,
    ),
    Route(
        "GET", "/api/v1/definitions", definitions.described,
        "All definitions, without messages, in RabbitMQ's JSON.", MAY_ALL, _ONE,
    ),
    Route(
        "POST", "/api/v1/definitions", definitions.imported,
        "Import definitions, or report what an import would change.", MAY_ALL, (*_ONE, "dry_run"),
        takes=dict[str, Any], body_bytes_max=BYTES_MAX,
    ),
    Route(
        "GET", "/api/v1/topic-routes", topic_routes.list_,
        "List topics that are published to exchanges.",
        LOGGED_IN, _LIST,
    ),
    Route(
        "GET", _ROUTES_OF, topic_routes.of_topic, "The exchanges to which a topic is published.",
        of(DESCRIBE, TOPIC), _LIST,
    ),
    Route(
        "POST", _ROUTES_OF, topic_routes.made, "Publish a topic to an exchange.",
        of(READ, TOPIC), _ONE,
        takes=topic_routes.TopicRouteMake, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "DELETE", _ROUTES_OF, topic_routes.removed, "Stop publishing a topic to an exchange.",
        of(READ, TOPIC), _ONE, takes=topic_routes.TopicRouteRemove,
    ),
    Route("GET", "/api/v1/policies", policies.list_, "List policies.", LOGGED_IN, _LIST),
    Route(
        "GET", _POLICY, policies.described, "One policy, and the number of objects it applies to.",
        LOGGED_IN,
        _ONE,
    ),
    Route(
        "PUT", _POLICY, policies.given, "Set a policy, replacing one of the same name.",
        SETS_POLICIES,
        _ONE, takes=policies.PolicySet, body_bytes_max=TABLES_BYTES_MAX,
    ),
    Route(
        "DELETE", _POLICY, policies.deleted, "Delete a policy.", SETS_POLICIES, _ONE,
        takes=policies.PolicyDelete,
    ),
    Route(
        "PUT", "/api/v1/permissions/{vhost}/{user}", permissions.given,
        "Set a user's permissions in a virtual host, as regular expressions.", MAY_ALL,
        takes=permissions.NewPermission,
    ),
    Route(
        "PUT", "/api/v1/topic-permissions/{vhost}/{user}", permissions.topic_given,
        "Set the routing keys that a user may use at an exchange.", MAY_ALL,
        takes=permissions.NewTopicPermission,
    ),
)  # fmt: skip

ROUTES: Final[tuple[Route[Handler], ...]] = tuple(
    it._replace(handler=opened_first(it.handler)) for it in _ROUTES
)
