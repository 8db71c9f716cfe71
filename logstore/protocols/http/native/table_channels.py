"""Routes of channels, and of Redis's keys."""

from typing import Final

from logstore.access.resources import CHANNEL, KEY, READ, WRITE
from logstore.http.asks import LOGGED_IN, of
from logstore.http.event_stream import EVENTS
from logstore.http.routes import Route
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import channels, keys
from logstore.protocols.http.opened import Handler

_KEY: Final = "/api/v1/keys/{database}/{key}"

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/channels", channels.list_, "Channels and patterns that have subscribers.",
        LOGGED_IN, ("kind", *LIST_QUERY),
    ),
    Route(
        "GET", "/api/v1/channels/tail", channels.tailed,
        "Follow a channel or a pattern: its messages as events.",
        LOGGED_IN, ("channel", "pattern"), kind=EVENTS,
    ),
    Route(
        "POST", "/api/v1/channels/{name}/publish", channels.published, "Publish a message.",
        of(WRITE, CHANNEL), takes=channels.ChannelPublish,
    ),
    Route(
        "GET", "/api/v1/keys", keys.databases, "Redis's databases and their sizes.",
        LOGGED_IN,
    ),
    Route(
        "GET", "/api/v1/keys/{database}", keys.scanned, "List keys, a part at a time.", LOGGED_IN,
        ("pattern", "type", "cursor", "count"),
    ),
    Route(
        "GET", _KEY, keys.one, "One key, with the beginning of its value.", of(READ, KEY, "key"),
    ),
    Route("DELETE", _KEY, keys.deleted, "Delete a key.", of(WRITE, KEY, "key")),
)  # fmt: skip
