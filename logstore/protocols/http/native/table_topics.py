"""Routes of topics, groups and settings."""

from typing import Final

from logstore.access.resources import (
    ALTER,
    ALTER_CONFIGS,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    READ,
    TOPIC,
    WRITE,
)
from logstore.http.asks import LOGGED_IN, SEES_ALL, of
from logstore.http.bodies import LINES
from logstore.http.event_stream import EVENTS
from logstore.http.routes import Route
from logstore.protocols.http.call import PAGE_QUERY
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import (
    group_reset,
    groups,
    partitions,
    record_tail,
    records,
    schedules,
    search,
    settings,
    topics,
)
from logstore.protocols.http.native.bounds import LITTLE_BYTES
from logstore.protocols.http.opened import Handler

_TOPIC: Final = "/api/v1/topics/{name}"
_GROUP: Final = "/api/v1/groups/{name}"
_RECORD: Final = f"{_TOPIC}/records/{{partition}}/{{offset}}"
_SEES: Final = of(DESCRIBE, TOPIC)

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route("GET", "/api/v1/topics", topics.shown, "List topics.", LOGGED_IN, LIST_QUERY),
    Route(
        "POST", "/api/v1/topics", topics.made, "Create a topic, which must not exist.", LOGGED_IN,
        takes=topics.TopicCreate, body_bytes_max=LITTLE_BYTES,
    ),
    Route("GET", _TOPIC, topics.described, "One topic.", _SEES),
    Route(
        "DELETE", _TOPIC, topics.deleted, "Delete a topic and its records.", of(DELETE, TOPIC),
        takes=topics.DryRun,
    ),
    Route(
        "GET", f"{_TOPIC}/partitions", partitions.shown,
        "A topic's partitions, with the newest segments of each.", _SEES, PAGE_QUERY,
    ),
    Route(
        "PUT", f"{_TOPIC}/partitions", topics.grown, "Add partitions to a topic.", of(ALTER, TOPIC),
        takes=topics.TopicGrow,
    ),
    Route(
        "GET", f"{_TOPIC}/partitions/{{partition}}", partitions.described,
        "One partition, with more of its segments.", _SEES,
    ),
    Route(
        "GET", f"{_TOPIC}/settings", settings.of_one_topic,
        "A topic's settings, with the source of each value.",
        of(DESCRIBE_CONFIGS, TOPIC), LIST_QUERY,
    ),
    Route(
        "PUT", f"{_TOPIC}/settings", settings.changed,
        "Set or reset some of a topic's settings.", of(ALTER_CONFIGS, TOPIC),
        takes=settings.TopicSettingsChange, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "POST", f"{_TOPIC}/trim", partitions.trimmed,
        "Delete a topic's records before an offset or time.",
        of(DELETE, TOPIC), takes=partitions.TopicTrim,
    ),
    Route(
        "POST", f"{_TOPIC}/search", search.searched,
        "Search a topic's records; the reply is a stream of lines.", of(READ, TOPIC),
        takes=search.RecordSearch, kind=LINES,
    ),
    Route(
        "GET", f"{_TOPIC}/tail", record_tail.tailed, "Follow a topic: its new records as events.",
        of(READ, TOPIC), record_tail.QUERY, kind=EVENTS,
    ),
    Route(
        "POST", f"{_TOPIC}/records", records.produced, "Append a record.", of(WRITE, TOPIC),
        takes=records.RecordAppend,
    ),
    Route(
        "GET", _RECORD, records.described, "One record, complete.", of(READ, TOPIC)
    ),
    Route(
        "GET", f"{_RECORD}/value", records.downloaded, "The value of one record.", of(READ, TOPIC),
        kind=records.BINARY,
    ),
    Route(
        "GET", f"{_TOPIC}/schedule", schedules.of_topic, "A topic's delayed records.",
        of(READ, TOPIC), schedules.PLACE_QUERY,
    ),
    Route(
        "DELETE", f"{_TOPIC}/schedule/{{partition}}/{{offset}}", schedules.cancelled_for_topic,
        "Cancel a delayed record.", of(DELETE, TOPIC),
    ),
    Route(
        "GET", f"{_TOPIC}/groups", groups.of_topic, "The groups that read a topic.",
        _SEES, LIST_QUERY
    ),
    Route("GET", "/api/v1/groups", groups.shown, "List groups.", LOGGED_IN, LIST_QUERY),
    Route(
        "GET", _GROUP, groups.described, "One group, its members, and a page of its partitions.",
        of(DESCRIBE, GROUP), PAGE_QUERY,
    ),
    Route(
        "DELETE", _GROUP, groups.deleted, "Delete a group and its offsets.", of(DELETE, GROUP),
        takes=topics.DryRun,
    ),
    Route(
        "POST", f"{_GROUP}/reset", group_reset.reset, "Move a group to other offsets.",
        of(READ, GROUP),
        takes=group_reset.GroupReset,
    ),
    Route(
        "GET", "/api/v1/settings", settings.of_store,
        "Settings of the store, and the defaults of topics.", SEES_ALL, LIST_QUERY,
    ),
)  # fmt: skip
