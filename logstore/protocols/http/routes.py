"""The table of all routes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from logstore.errors import LogstoreError
from logstore.http.routes import Route
from logstore.protocols.http import exchanges, permissions, queues, rules, server, users, vhosts
from logstore.protocols.http.call import PAGE_QUERY, Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

Handler = Callable[[HttpDoor, Call], None]


def _opened_first(handler: Handler) -> Handler:
    """One that looks at queues: they are opened for the first who asks."""

    def begin(door: HttpDoor, call: Call) -> None:
        def opened(found: "Queues | LogstoreError") -> None:
            if isinstance(found, LogstoreError):
                raise found
            call.queues = found
            handler(door, call)

        door.queues_of.when_open(lambda found: call.attempt(lambda: opened(found)))

    return begin


_LIST: Final = ("vhost", "filter", *PAGE_QUERY)
_ONE: Final = ("vhost",)
_PART: Final = ("vhost", *PAGE_QUERY)
_RULES: Final = ("user", "kind", "name", *PAGE_QUERY)
_PERMISSIONS: Final = ("vhost", "user", *PAGE_QUERY)

_OF_QUEUES: Final[tuple[Route[Handler], ...]] = (
    Route("GET", "/api/v1/vhosts", vhosts.listed, "List virtual hosts.", PAGE_QUERY),
    Route("PUT", "/api/v1/vhosts/{name}", vhosts.added, "Add one, unless it exists."),
    Route("DELETE", "/api/v1/vhosts/{name}", vhosts.deleted, "Delete one and all it has."),
    Route("GET", "/api/v1/exchanges", exchanges.listed, "List exchanges.", _LIST),
    Route("GET", "/api/v1/exchanges/{name}", exchanges.described, "One exchange.", _ONE),
    Route(
        "GET", "/api/v1/exchanges/{name}/bindings", exchanges.bindings,
        "What is bound to it (end=source), or it to others (end=destination).", (*_PART, "end"),
    ),
    Route("GET", "/api/v1/queues", queues.listed, "List queues and count their messages.", _LIST),
    Route(
        "GET", "/api/v1/queues/{name}", queues.described,
        "One queue, its lanes and dead letters.", _ONE,
    ),
    Route("GET", "/api/v1/queues/{name}/bindings", queues.bindings, "How it is bound.", _PART),
    Route("GET", "/api/v1/queues/{name}/consumers", queues.consumers, "Who consumes it.", _PART),
    Route(
        "PUT", "/api/v1/permissions/{vhost}/{user}", permissions.given,
        "What a user may do in a virtual host, by regular expressions.",
    ),
    Route(
        "PUT", "/api/v1/topic-permissions/{vhost}/{user}", permissions.topic_given,
        "The routing keys that a user may use at an exchange.",
    ),
)  # fmt: skip

_OF_USERS: Final[tuple[Route[Handler], ...]] = (
    Route(
        "POST", "/api/v1/ticket", users.ticket_given,
        "A name and a password for the doors of this process, as long as it runs.",
    ),
    Route("GET", "/api/v1/users", users.listed, "List users.", PAGE_QUERY),
    Route("POST", "/api/v1/users", users.added, "Add one, who must not exist."),
    Route("GET", "/api/v1/users/{name}", users.described, "One user."),
    Route("DELETE", "/api/v1/users/{name}", users.deleted, "Delete one and all that names it."),
    Route("PUT", "/api/v1/users/{name}/password", users.password_given, "Replace the password."),
    Route("PUT", "/api/v1/users/{name}/tags", users.tags_given, "Replace the tags."),
    Route("GET", "/api/v1/rules", rules.listed, "List rules.", _RULES),
    Route("POST", "/api/v1/rules", rules.added, "Add rules about one object."),
    Route("DELETE", "/api/v1/rules", rules.removed, "Remove rules about one object."),
    Route(
        "GET", "/api/v1/rules/check", rules.checked, "Whether a user may do something, and why.",
        ("user", "operation", "kind", "name", "host"),
    ),
    Route("GET", "/api/v1/damaged-rules", rules.damaged_listed, "List rows of users, rules and "
          "permissions that can't be read.", PAGE_QUERY),
    Route("DELETE", "/api/v1/damaged-rules", rules.damaged_removed, "Remove them."),
    Route("GET", "/api/v1/permissions", permissions.listed, "List permissions.", _PERMISSIONS),
    Route(
        "DELETE", "/api/v1/permissions/{vhost}/{user}", permissions.taken,
        "Take away what a user may do in a virtual host.",
    ),
    Route(
        "GET", "/api/v1/topic-permissions", permissions.topics_listed, "List topic permissions.",
        _PERMISSIONS,
    ),
    Route(
        "DELETE", "/api/v1/topic-permissions/{vhost}/{user}", permissions.topic_taken,
        "Lift the limits on the routing keys of an exchange.", ("exchange",),
    ),
)  # fmt: skip

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route("GET", "/api/v1/server", server.described, "The process, and where its doors are."),
    Route("POST", "/api/v1/jobs", server.job, "Do a job of upkeep: the answer is in lines."),
    *(it._replace(handler=_opened_first(it.handler)) for it in _OF_QUEUES),
    *_OF_USERS,
)
