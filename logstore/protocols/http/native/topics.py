"""Topics: list, describe, create, change, delete.

Rows are sorted by facts in memory. Facts that need files or groups are looked up only for the rows
of the page, or for all rows if the list is sorted by them. No log is opened for a list.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from logstore.access import audit
from logstore.access.resources import CREATE, of_topic
from logstore.broker.topic_sizes import Holds, held_by
from logstore.broker.topics import INTERNAL_TOPICS, check_for_clients
from logstore.config import plain_topic_settings
from logstore.errors import LogstoreError, UnknownTopic
from logstore.figures.ring import STEP_S
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.listing import Columns, Listed, listed
from logstore.protocols.http.native import settings
from logstore.protocols.http.native.bounds import Settings
from logstore.protocols.http.native.objects import (
    groups_shown,
    require_topic,
    topic_of,
    topics_shown,
)
from logstore.protocols.http.native.vhosts import CREATED
from logstore.protocols.http.replies.shown import value

UNKNOWN: Final = Holds(None, None)
RECORDS: Final = "records"
BYTES: Final = "bytes"


class TopicCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    partitions: int | None = None  # as num.partitions says
    settings: Settings = {}
    dry_run: bool = False


class TopicGrow(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    dry_run: bool = False


class DryRun(msgspec.Struct, forbid_unknown_fields=True):
    """The body of routes that take only ``dry_run``."""

    dry_run: bool = False


def trial(call: Call) -> bool:
    """Whether the body requests a dry run; an empty body does not. Raises Fault."""
    return call.json(DryRun).dry_run if call.given else False


# Listed


def shown(door: HttpDoor, call: Call) -> None:
    """List the topics that the caller may see."""
    names = door.topics.names()

    def found(visible: Sequence[str]) -> None:
        by = call.text("sort").removeprefix("-")
        if by in (RECORDS, BYTES):
            once_known(call, door.sizes, lambda: _page(door, call, visible, door.sizes.last))
        elif by == "groups":
            once_readers_are_known(door, call, lambda: _page(door, call, visible, {}))
        else:
            _page(door, call, visible, {})

    if call.rights.all:
        found(names)
    else:
        elsewhere(door, call, partial(topics_shown, door, call, names), found)


def _page(door: HttpDoor, call: Call, names: Sequence[str], held: Mapping[str, Holds]) -> None:
    listed(door, call, names, _columns(door, held), partial(_answer, door, call))


def _columns(door: HttpDoor, held: Mapping[str, Holds]) -> Columns[str]:
    def of(name: str, attribute: str) -> Any:  # noqa: ANN401  a setting
        topic = door.topics.get(name)
        return None if topic is None else getattr(topic.settings, attribute)

    def partitions(name: str) -> int:
        topic = door.topics.get(name)
        return 0 if topic is None else len(topic.partitions)

    def rate(name: str) -> float:
        topic = door.topics.get(name)
        found = None if topic is None else door.figures.rates("topic", topic.id)["in"]
        return found or 0.0

    return Columns(
        name=str,
        by={
            "name": str,
            "partitions": partitions,
            RECORDS: lambda name: held.get(name, UNKNOWN).records or 0,
            BYTES: lambda name: held.get(name, UNKNOWN).bytes or 0,
            "in_per_s": rate,
            "groups": lambda name: len(door.lags.readers(name)),
            "cleanup_policy": lambda name: of(name, "cleanup_policy") or (),
            "retention_ms": lambda name: of(name, "retention_ms") or 0,
        },
        default=str,
    )


def _answer(door: HttpDoor, call: Call, found: Listed[str]) -> None:
    def looked_up(rows: Sequence[dict[str, Any] | None]) -> None:
        call.answer(found.paged([it | _moving(door, it["id"]) for it in rows if it is not None]))

    def rows() -> list[dict[str, Any] | None]:
        return [row(door, call, name) for name in found.rows]

    once_readers_are_known(door, call, lambda: elsewhere(door, call, rows, looked_up))


def row(door: HttpDoor, call: Call, name: str) -> dict[str, Any] | None:
    """The row of a topic; None: it was deleted meanwhile. In any thread."""
    topic = door.topics.get(name)
    if topic is None:
        return None
    held = held_by(door.topics, name)
    kind, _ = of_topic(name, door.keeps_history)
    return {
        "name": name,
        "kind": kind,  # what rules call it: a channel's history is a topic, too
        "internal": name in INTERNAL_TOPICS,
        "partitions": len(topic.partitions),
        "records": None if held.records is None else str(held.records),
        "bytes": None if held.bytes is None else str(held.bytes),
        "cleanup_policy": ",".join(topic.settings.cleanup_policy),
        "retention_ms": value(topic.settings.retention_ms),
        "retention_bytes": str(topic.settings.retention_bytes),
        "groups": len(groups_shown(call, door.lags.readers(name))),
        "created_ms": topic.created_ms,
        "id": topic.id,
        "error": held.error,
    }


def _moving(door: HttpDoor, topic_id: str) -> dict[str, Any]:
    """The rates of a topic. In the sessions' thread."""
    return {"in_per_s": door.figures.rates("topic", topic_id)["in"]}


def described(door: HttpDoor, call: Call) -> None:
    """Describe a topic. Raises UnknownTopic."""
    name = topic_of(door, call.word("name")).name

    def looked_up(found: dict[str, Any] | None) -> None:
        if found is None:
            raise UnknownTopic(f"no topic {name!r}", name)
        history = door.figures.history("topic", found["id"])
        moving = _moving(door, found["id"])
        call.answer(found | moving | {"history": {"step_s": STEP_S, "in": history["in"]}})

    look = partial(row, door, call, name)
    once_readers_are_known(door, call, lambda: elsewhere(door, call, look, looked_up))


# Made, changed, deleted


def made(door: HttpDoor, call: Call) -> None:
    """Create a topic; durable when answered. Raises Forbidden, InvalidName, TopicExists,
    InvalidSetting.
    """
    asked = call.json(TopicCreate)
    require_topic(door, call, CREATE, asked.name)
    check_for_clients(asked.name)

    def make() -> dict[str, Any]:
        topics, given = door.topics, plain_topic_settings(asked.settings)
        if asked.dry_run:
            count = topics.check_new(asked.name, asked.partitions, given)
            chosen = topics.describe_new(given)
        else:
            count = len(topics.create(asked.name, asked.partitions, given).partitions)
            chosen = topics.describe(asked.name)
        return {
            "name": asked.name,
            "partitions": count,
            "settings": [settings.row(it) for it in chosen if it.source == "topic"],
            "dry_run": asked.dry_run,
        }

    status = 200 if asked.dry_run else CREATED
    elsewhere(door, call, make, lambda found: call.answer(found, status))


def grown(door: HttpDoor, call: Call) -> None:
    """Add partitions; durable when answered. Raises UnknownTopic, Refused for fewer."""
    name, asked = call.word("name"), call.json(TopicGrow)
    topic = topic_of(door, name)
    before = len(topic.partitions)

    def grow() -> dict[str, Any]:
        if asked.dry_run:
            door.topics.check_growth(name, asked.count)
        else:
            door.topics.grow(name, asked.count)
        return {"name": name, "from": before, "to": asked.count, "dry_run": asked.dry_run}

    elsewhere(door, call, grow, call.answer)


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a topic, its records and offsets committed in it; durable when answered.

    Raises UnknownTopic.
    """
    name, dry_run = topic_of(door, call.word("name")).name, trial(call)

    def delete() -> dict[str, Any]:
        topic = topic_of(door, name)
        held = held_by(door.topics, name)
        about = {
            "name": name,
            "partitions": len(topic.partitions),
            "records": None if held.records is None else str(held.records),
            "bytes": None if held.bytes is None else str(held.bytes),
            "groups": groups_shown(call, door.lags.readers(name)),  # that lose their offsets in it
            "dry_run": dry_run,
        }
        if not dry_run:
            door.topics.delete(name)
            door.audit.tell(audit.TOPIC, call.who, f"deleted {name}")
        return about

    def told(about: dict[str, Any]) -> None:
        door.lags.forget()
        door.sizes.forget()
        call.answer(about)

    once_readers_are_known(door, call, lambda: elsewhere(door, call, delete, told))


def once_readers_are_known(door: HttpDoor, call: Call, go_on: Callable[[], object]) -> None:
    """Continue once the groups of each topic were looked up, or the look-up failed."""
    once_known(call, door.lags, go_on)


class _Asked(Protocol):
    def ask(self, then: Callable[[LogstoreError | None], object]) -> None: ...


def once_known(call: Call, what: _Asked, go_on: Callable[[], object]) -> None:
    """Continue once this was looked up, or the look-up failed."""

    def looked(_: LogstoreError | None) -> None:
        if not call.over:
            call.attempt(go_on)

    what.ask(looked)
