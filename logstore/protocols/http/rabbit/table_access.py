"""RabbitMQ's routes of users and their permissions."""

from typing import Final

from logstore.http.asks import LOGGED_IN, MAY_ALL
from logstore.http.routes import ANY, Route
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.rabbit import permissions, users
from logstore.protocols.http.rabbit.handler import of_queues, plain

_Rows = tuple[tuple[str, str, Handler, str], ...]

_USERS: Final[_Rows] = (
    ("GET", "/users", users.listed, "List users."),
    (
        "GET",
        "/users/without-permissions",
        users.without_permissions,
        "List users without permissions.",
    ),
    ("POST", "/users/bulk-delete", users.many_deleted, "Delete several users."),
    ("GET", "/users/{name}", users.described, "One user."),
    ("PUT", "/users/{name}", users.made, "Add a user, or replace password and tags."),
    ("DELETE", "/users/{name}", users.deleted, "Delete a user and all rules for the user."),
)
_PERMISSIONS: Final[_Rows] = (
    ("GET", "/permissions", permissions.listed, "List permissions."),
    (
        "GET", "/permissions/{vhost}/{user}", permissions.described,
        "A user's permissions in a virtual host.",
    ),
    (
        "PUT", "/permissions/{vhost}/{user}", permissions.given,
        "Set a user's permissions in a virtual host.",
    ),
    (
        "DELETE", "/permissions/{vhost}/{user}", permissions.taken,
        "Remove a user's permissions in a virtual host.",
    ),
    (
        "GET", "/vhosts/{vhost}/permissions", permissions.of_vhost,
        "List permissions in a virtual host.",
    ),
    ("GET", "/users/{user}/permissions", permissions.of_user, "List permissions of a user."),
    ("GET", "/topic-permissions", permissions.topics_listed, "List topic permissions."),
    (
        "GET", "/topic-permissions/{vhost}/{user}", permissions.topics_described,
        "List topic permissions of a user in a virtual host.",
    ),
    (
        "PUT", "/topic-permissions/{vhost}/{user}", permissions.topic_given,
        "Set the routing keys that a user may use at an exchange.",
    ),
    (
        "DELETE", "/topic-permissions/{vhost}/{user}", permissions.topics_taken,
        "Remove all topic permissions of a user in a virtual host.",
    ),
    (
        "GET", "/vhosts/{vhost}/topic-permissions", permissions.topics_of_vhost,
        "List topic permissions in a virtual host.",
    ),
    (
        "GET", "/users/{user}/topic-permissions", permissions.topics_of_user,
        "List topic permissions of a user.",
    ),
)  # fmt: skip

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET",
        "/api/whoami",
        plain(users.whoami),
        "The caller's user name and tags.",
        LOGGED_IN,
        ANY,
    ),
    *(
        Route(method, f"/api{path}", plain(handler), summary, MAY_ALL, ANY)
        for method, path, handler, summary in _USERS
    ),
    *(
        Route(method, f"/api{path}", of_queues(handler), summary, MAY_ALL, ANY)
        for method, path, handler, summary in _PERMISSIONS
    ),
)
