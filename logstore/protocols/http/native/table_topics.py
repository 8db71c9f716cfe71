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
        "POST", "/api/v1/topics", topics.made, "Create one, which must not exist.", LOGGED_IN,
        takes=topics.TopicCreate, body_bytes_max=LITTLE_BYTES,
    ),
    Route("GET", _TOPIC, topics.described, "One topic.", _SEES),
    Route(
        "DELETE", _TOPIC, topics.deleted, "Delete one and its records.", of(DELETE, TOPIC),
        takes=topics.DryRun,
    ),
    Route(
        "GET", f"{_TOPIC}/partitions", partitions.shown,
        "Its partitions, each with its newest segments.", _SEES, PAGE_QUERY,
    ),
    Route(
        "PUT", f"{_TOPIC}/partitions", topics.grown, "Give it more partitions.", of(ALTER, TOPIC),
        takes=topics.TopicGrow,
    ),
    Route(
        "GET", f"{_TOPIC}/partitions/{{partition}}", partitions.described,
        "One partition, with more of its segments.", _SEES,
    ),
    Route(
        "GET", f"{_TOPIC}/settings", settings.of_one_topic,
        "Its settings, each with where its value is from.", of(DESCRIBE_CONFIGS, TOPIC), LIST_QUERY,
    ),
    Route(
        "PUT", f"{_TOPIC}/settings", settings.changed,
        "Set some of its settings, or go back to the default.", of(ALTER_CONFIGS, TOPIC),
        takes=settings.TopicSettingsChange, body_bytes_max=LITTLE_BYTES,
    ),
    Route(
        "POST", f"{_TOPIC}/trim", partitions.trimmed, "Delete its records before a place.",
        of(DELETE, TOPIC), takes=partitions.TopicTrim,
    ),
    Route(
        "POST", f"{_TOPIC}/search", search.searched,
        "Look through its records: the answer is in lines.", of(READ, TOPIC),
        takes=search.RecordSearch, kind=LINES,
    ),
    Route(
        "GET", f"{_TOPIC}/tail", record_tail.tailed, "Follow it: events with its new records.",
        of(READ, TOPIC), record_tail.QUERY, kind=EVENTS,
    ),
    Route(
        "POST", f"{_TOPIC}/records", records.produced, "Append a record.", of(WRITE, TOPIC),
        takes=records.RecordAppend,
    ),
    Route(
        "GET", _RECORD, records.described, "One record, whole.", of(READ, TOPIC)
    ),
    Route(
        "GET", f"{_RECORD}/value", records.downloaded, "The value of one.", of(READ, TOPIC),
        kind=records.BINARY,
    ),
    Route(
        "GET", f"{_TOPIC}/schedule", schedules.of_topic, "What waits for its time to come there.",
        of(READ, TOPIC), schedules.PLACE_QUERY,
    ),
    Route(
        "DELETE", f"{_TOPIC}/schedule/{{partition}}/{{offset}}", schedules.cancelled_for_topic,
        "Have a record that waits not come.", of(DELETE, TOPIC),
    ),
    Route(
        "GET", f"{_TOPIC}/groups", groups.of_topic, "The groups that read it.", _SEES, LIST_QUERY
    ),
    Route("GET", "/api/v1/groups", groups.shown, "List groups.", LOGGED_IN, LIST_QUERY),
    Route(
        "GET", _GROUP, groups.described, "One group, its members, and a page of its partitions.",
        of(DESCRIBE, GROUP), PAGE_QUERY,
    ),
    Route(
        "DELETE", _GROUP, groups.deleted, "Delete one and its offsets.", of(DELETE, GROUP),
        takes=topics.DryRun,
    ),
    Route(
        "POST", f"{_GROUP}/reset", group_reset.reset, "Move it to other offsets.", of(READ, GROUP),
        takes=group_reset.GroupReset,
    ),
    Route(
        "GET", "/api/v1/settings", settings.of_store,
        "Settings of the store, and what topics get that say nothing.", SEES_ALL, LIST_QUERY,
    ),
)  # fmt: skip
