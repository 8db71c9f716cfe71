"""Routes of users, rules and permissions."""

from typing import Final

from logstore.http.asks import MAY_ALL, OWN
from logstore.http.routes import Route
from logstore.protocols.http.call import PAGE_QUERY
from logstore.protocols.http.native import permissions, rules, users
from logstore.protocols.http.native.bounds import LITTLE_BYTES
from logstore.protocols.http.opened import Handler

_RULES: Final = ("user", "kind", "name", *PAGE_QUERY)
_PERMISSIONS: Final = ("vhost", "user", *PAGE_QUERY)

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "POST", "/api/v1/ticket", users.ticket_given,
        "A temporary name and password for this server's doors.", OWN,
    ),
    Route("GET", "/api/v1/users", users.listed, "List users.", MAY_ALL, PAGE_QUERY),
    Route(
        "POST", "/api/v1/users", users.added, "Add a user, who must not exist.", MAY_ALL,
        takes=users.NewUser, body_bytes_max=LITTLE_BYTES,
    ),
    Route("GET", "/api/v1/users/{name}", users.described, "One user.", MAY_ALL),
    Route(
        "DELETE", "/api/v1/users/{name}", users.deleted,
        "Delete a user and all rules for the user.",
        MAY_ALL,
    ),
    Route(
        "PUT", "/api/v1/users/{name}/password", users.password_given, "Replace a user's password.",
        MAY_ALL, takes=users.NewPassword, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "PUT", "/api/v1/users/{name}/tags", users.tags_given, "Replace a user's tags.", MAY_ALL,
        takes=users.NewTags, body_bytes_max=LITTLE_BYTES,
    ),
    Route("GET", "/api/v1/rules", rules.listed, "List rules.", MAY_ALL, _RULES),
    Route(
        "POST", "/api/v1/rules", rules.added, "Add rules about one object.", MAY_ALL,
        takes=rules.NewRules, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "DELETE", "/api/v1/rules", rules.removed, "Remove rules about one object.", MAY_ALL,
        takes=rules.NewRules, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "GET", "/api/v1/rules/check", rules.checked, "Whether a user may do something, and why.",
        MAY_ALL, ("user", "operation", "kind", "name", "host"),
    ),
    Route(
        "GET", "/api/v1/damaged-rules", rules.damaged_listed,
        "List rows of users, rules and permissions that can't be read.", MAY_ALL, PAGE_QUERY,
    ),
    Route(
        "DELETE", "/api/v1/damaged-rules", rules.damaged_removed,
        "Remove rows that can't be read.", MAY_ALL,
    ),
    Route(
        "GET", "/api/v1/permissions", permissions.listed, "List permissions.", MAY_ALL,
        _PERMISSIONS,
    ),
    Route(
        "DELETE", "/api/v1/permissions/{vhost}/{user}", permissions.taken,
        "Remove a user's permissions in a virtual host.", MAY_ALL,
    ),
    Route(
        "GET", "/api/v1/topic-permissions", permissions.topics_listed, "List topic permissions.",
        MAY_ALL, _PERMISSIONS,
    ),
    Route(
        "DELETE", "/api/v1/topic-permissions/{vhost}/{user}", permissions.topic_taken,
        "Remove the limits on a user's routing keys at an exchange.", MAY_ALL, ("exchange",),
    ),
)  # fmt: skip
