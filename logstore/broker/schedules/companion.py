"""The companion of a topic: the topic that holds its delayed records. Pure.

``orders`` with ``delivery.schedule=true`` has the companion ``orders.delayed``, with as many
partitions. A companion is recognised by its settings, so that another topic of such a name is not
mistaken for one.
"""

from collections.abc import Mapping
from typing import Final

from logstore.errors import InvalidSetting, Refused, TopicExists
from logstore.names import check_topic

SETTING: Final = "delivery.schedule"
SUFFIX: Final = ".delayed"
# A record waits however long it takes, counted from its arrival by this machine's clock.
OWN: Final[Mapping[str, str]] = {
    SETTING: "false",
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": "-1",
    "retention.ms": "-1",
}
# As its topic has it.
INHERITED: Final = (
    "compression.gzip.level", "compression.lz4.level", "compression.type",
    "compression.zstd.level", "flush.messages", "flush.ms", "max.message.bytes", "preallocate",
    "segment.bytes",
)  # fmt: skip


def companion_of(topic: str) -> str:
    """Return the name of the topic's companion. Raises InvalidName if it is too long."""
    return check_topic(topic + SUFFIX)


def parent_of(topic: str) -> str | None:
    """Return the topic whose companion this would be, by its name; None: it is not one."""
    return topic.removesuffix(SUFFIX) if topic.endswith(SUFFIX) and topic != SUFFIX else None


def is_scheduled(own: Mapping[str, str]) -> bool:
    """Whether a topic with these settings of its own has a companion."""
    return own.get(SETTING, "false").strip().lower() == "true"


def is_companion(own: Mapping[str, str]) -> bool:
    """Whether a topic with these settings was made as a companion."""
    return all(own.get(name) == OWN[name] for name in (SETTING, "message.timestamp.type"))


def settings_of(own: Mapping[str, str]) -> dict[str, str]:
    """Return the companion's settings, from those of its topic."""
    return {**{name: own[name] for name in INHERITED if name in own}, **OWN}


def check_can_wait(topic: str, cleanup_policy: tuple[str, ...]) -> None:
    """Check that a topic can have a companion. Raises InvalidSetting."""
    if "compact" in cleanup_policy:
        raise InvalidSetting(
            f"{SETTING}=true: topic {topic!r} is compacted, so it accepts no record without a"
            " key; set cleanup.policy=delete"
        )


def check_free(companion: str, own: Mapping[str, str]) -> None:
    """Check that an existing topic was created as a companion. Raises TopicExists."""
    if not is_companion(own):
        raise TopicExists(
            f"topic {companion!r} already exists, but is needed for delayed records: delete it, "
            f"or use another name"
        )


def check_not_needed(topic: str, parent_own: Mapping[str, str]) -> None:
    """Check that a topic does not need its companion. Raises Refused."""
    if is_scheduled(parent_own):
        raise Refused(
            f"topic {topic!r} holds delayed records of {parent_of(topic)!r}: set"
            f" {SETTING}=false for {parent_of(topic)!r} first"
        )
