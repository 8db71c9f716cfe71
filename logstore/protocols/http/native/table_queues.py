"""Routes of virtual hosts, exchanges and queues."""

from typing import Final

from logstore.access.resources import DESCRIBE, EXCHANGE, QUEUE
from logstore.http.asks import LOGGED_IN, MAY_ALL, of
from logstore.http.routes import Route
from logstore.protocols.http.call import PAGE_QUERY
from logstore.protocols.http.native import exchanges, permissions, queues, vhosts
from logstore.protocols.http.opened import Handler, opened_first

_LIST: Final = ("vhost", "filter", *PAGE_QUERY)
_ONE: Final = ("vhost",)
_PART: Final = ("vhost", *PAGE_QUERY)

_ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route("GET", "/api/v1/vhosts", vhosts.listed, "List virtual hosts.", LOGGED_IN, PAGE_QUERY),
    Route("PUT", "/api/v1/vhosts/{name}", vhosts.added, "Add one, unless it exists.", MAY_ALL),
    Route("DELETE", "/api/v1/vhosts/{name}", vhosts.deleted, "Delete one and all it has.", MAY_ALL),
    Route("GET", "/api/v1/exchanges", exchanges.listed, "List exchanges.", LOGGED_IN, _LIST),
    Route(
        "GET", "/api/v1/exchanges/{name}", exchanges.described, "One exchange.",
        of(DESCRIBE, EXCHANGE), _ONE,
    ),
    Route(
        "GET", "/api/v1/exchanges/{name}/bindings", exchanges.bindings,
        "What is bound to it (end=source), or it to others (end=destination).",
        of(DESCRIBE, EXCHANGE), (*_PART, "end"),
    ),
    Route(
        "GET", "/api/v1/queues", queues.listed, "List queues and count their messages.", LOGGED_IN,
        _LIST,
    ),
    Route(
        "GET", "/api/v1/queues/{name}", queues.described,
        "One queue, its lanes and dead letters.", of(DESCRIBE, QUEUE), _ONE,
    ),
    Route(
        "GET", "/api/v1/queues/{name}/bindings", queues.bindings, "How it is bound.",
        of(DESCRIBE, QUEUE), _PART,
    ),
    Route(
        "GET", "/api/v1/queues/{name}/consumers", queues.consumers, "Who consumes it.",
        of(DESCRIBE, QUEUE), _PART,
    ),
    Route(
        "PUT", "/api/v1/permissions/{vhost}/{user}", permissions.given,
        "What a user may do in a virtual host, by regular expressions.", MAY_ALL,
    ),
    Route(
        "PUT", "/api/v1/topic-permissions/{vhost}/{user}", permissions.topic_given,
        "The routing keys that a user may use at an exchange.", MAY_ALL,
    ),
)  # fmt: skip

ROUTES: Final[tuple[Route[Handler], ...]] = tuple(
    it._replace(handler=opened_first(it.handler)) for it in _ROUTES
)
