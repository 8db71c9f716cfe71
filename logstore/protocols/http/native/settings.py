"""Settings of topics and of the store with the source of each value; topics' can be changed."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from logstore.access.audit import SETTINGS, of_topic
from logstore.config import (
    Chosen,
    check_topic_settings,
    plain_topic_settings,
    takes,
    text_of,
    topic_setting,
)
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.bounds import SettingNames, Settings
from logstore.protocols.http.native.objects import topic_of
from logstore.settings import declared

COLUMNS: Final = Columns[Chosen](
    name=lambda it: it.name,
    by={
        "name": lambda it: it.name,
        "value": lambda it: text_of(it.value),
        "source": lambda it: it.source,
    },
    default=lambda it: it.name,
)


class TopicSettingsChange(msgspec.Struct, forbid_unknown_fields=True):
    """Settings in neither list stay as they are."""

    set: Settings = {}
    reset: SettingNames = []  # to what file, environment or default say
    dry_run: bool = False


def row(it: Chosen) -> dict[str, Any]:
    """One setting. Values are texts, as in the file."""
    field = declared(it.name)
    return {
        "name": it.name,
        "value": text_of(it.value),
        "source": it.source,
        "default": text_of(it.default),
        "unit": field.metadata["unit"],
        "takes": takes(field),
        "help": it.reason,
    }


def of_store(door: HttpDoor, call: Call) -> None:
    """List the settings of the store, and the defaults of topics."""
    show(door, call, door.topics.describe_store(), COLUMNS, row)


def of_one_topic(door: HttpDoor, call: Call) -> None:
    """List the settings of a topic. Raises UnknownTopic."""
    name = topic_of(door, call.word("name")).name
    show(door, call, door.topics.describe(name), COLUMNS, row)


def changed(door: HttpDoor, call: Call) -> None:
    """Change settings of a topic; durable when answered. Raises UnknownTopic, UnknownSetting,
    InvalidSetting.
    """
    name, asked = topic_of(door, call.word("name")).name, call.json(TopicSettingsChange)
    both = sorted(set(asked.set).intersection(asked.reset))
    if both:
        raise Fault(BAD_REQUEST, f"{both[0]} is both set and reset: say one of the two")

    def change() -> dict[str, Any]:
        before = door.topics.describe(name)
        given = check_topic_settings(plain_topic_settings(asked.set))
        for setting in asked.reset:
            topic_setting(setting)
        own = {key: text for key, text in door.topics.given(name).items() if key not in asked.reset}
        after = door.topics.describe_new(own | given)
        if not asked.dry_run:
            door.topics.alter(name, given, asked.reset)
            after = door.topics.describe(name)
            door.audit.tell(SETTINGS, call.who, of_topic(name, given, asked.reset))
        return {"name": name, "changed": _differing(before, after), "dry_run": asked.dry_run}

    elsewhere(door, call, change, partial(call.answer))


def _differing(before: Sequence[Chosen], after: Sequence[Chosen]) -> list[dict[str, Any]]:
    was = {it.name: it for it in before}
    return [
        {
            "name": it.name,
            "from": text_of(was[it.name].value),
            "to": text_of(it.value),
            "source": it.source,
        }
        for it in after
        if (was[it.name].value, was[it.name].source) != (it.value, it.source)
    ]
