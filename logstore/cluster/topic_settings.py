"""Translates settings of a cluster's topics, as brokers state them, into this program's. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from logstore.config import Chosen, parse, text_of
from logstore.errors import InvalidSetting, Refused
from logstore.settings import TOPIC_SETTINGS, TopicSettings

# Those by which it is known here which records a topic takes, and how they are written.
ASKED: Final = (
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
)
# What this program's own storage does; brokers do not.
OURS: Final = frozenset(
    {
        "compression.sealed",
        "deduplication.header",
        "deduplication.window.ms",
        "delivery.schedule",
        "retention.groups",
        "retention.groups.max.ms",
    }
)
assert {*ASKED, *OURS} <= TOPIC_SETTINGS.keys()
OF_TOPIC: Final = 1  # where a value comes from: it is the topic's own
SOURCES: Final = {
    OF_TOPIC: "topic",
    2: "broker",
    3: "brokers",
    4: "broker's file",
    5: "default",
}


class Told(NamedTuple):
    """A setting as a broker states it."""

    name: str
    text: str
    source: int


def check(settings: Mapping[str, object], reset: Iterable[str] = ()) -> dict[str, str]:
    """The same settings as texts. The cluster decides which it accepts. Raises Refused."""
    for name in (*settings, *reset):
        if name in OURS:
            raise Refused(f"{name}: not supported by the brokers of a cluster; leave it out")
    return {name: text_of(value) for name, value in settings.items()}


def settings_of(told: Iterable[Told]) -> TopicSettings:
    """The settings known here; the default for those that are not stated or have unsupported
    values.
    """
    fields = {
        TOPIC_SETTINGS[it.name].name: value
        for it in told
        if it.name in ASKED and (value := _value(it)) is not None
    }
    return TopicSettings(**fields)


def chosen_of(told: Iterable[Told]) -> list[Chosen]:
    """As they are listed, sorted."""
    found = []
    for it in sorted(told):
        field, value = TOPIC_SETTINGS.get(it.name), _value(it)
        found.append(
            Chosen(
                it.name, it.text if value is None else value, SOURCES.get(it.source, "cluster"),
                "" if field is None else field.default,
                "the cluster's own" if field is None else field.metadata["reason"],
            )
        )  # fmt: skip
    return found


def own_of(told: Sequence[Told]) -> dict[str, str]:
    """The topic's own settings."""
    return {it.name: it.text for it in told if it.source == OF_TOPIC}


def _value(told: Told) -> Any:  # noqa: ANN401  a setting's
    field = TOPIC_SETTINGS.get(told.name)
    if field is None:
        return None
    try:
        return parse(told.name, field, told.text)
    except InvalidSetting:  # which brokers take, and this program's own storage does not
        return None
