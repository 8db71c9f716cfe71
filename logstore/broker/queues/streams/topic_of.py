"""The topic of a stream: its name, and the settings that the stream's arguments imply. Pure.

In the default virtual host, the topic has the stream's name; in another one, ``HOST.STREAM``.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from logstore.amqp.fields import text
from logstore.broker.queues.limits import Limits
from logstore.broker.queues.refusals import NoTopicForIt
from logstore.broker.schedules.companion import parent_of
from logstore.broker.topics import Topics, check_for_clients
from logstore.errors import InvalidName, Refused
from logstore.kept.queues import stream_topic
from logstore.names import check_no_queue, check_topic

_LIMITS: Final = ("retention.ms", "retention.bytes")
UNLIMITED: Final = -1  # of retention.ms and retention.bytes
# Segments go as a whole: four of them make an hour an hour and a quarter.
SEGMENTS: Final = 4
SEGMENT_MS_MIN, SEGMENT_MS_MAX = 60_000, 7 * 86_400_000
SEGMENT_BYTES_MIN: Final = 1 << 20
SEGMENT_BYTES_MAX: Final = 1 << 30  # as other topics have it
SEGMENT_BYTES_ASKED_MAX: Final = (1 << 31) - 1  # what segment.bytes may be
# As large as AMQP's largest message, with its headers.
MESSAGE_BYTES_MAX: Final = (128 << 20) + (1 << 20)


def topic_name(vhost: bytes, stream: bytes) -> str:
    """Return the name of a stream's topic.

    Raises NoTopicForIt if no topic can have that name, or clients may not create it.
    """
    topic = stream_topic(text(vhost), text(stream))
    try:
        check_topic(topic)
        check_for_clients(topic)
        check_no_queue(topic)
    except (InvalidName, Refused) as error:
        raise NoTopicForIt(stream, str(error)) from None
    return topic


def check_single(topics: Topics, stream: bytes, topic: str) -> None:
    """Check an existing topic. Raises NoTopicForIt if it has more than one partition."""
    found = topics.get(topic)
    if found is not None and len(found.partitions) != 1:
        raise NoTopicForIt(
            stream,
            f"topic {topic!r} has {len(found.partitions)} partitions, and a stream has one; use "
            f"another name",
        )


def check_no_companion(topics: Topics, stream: bytes, topic: str) -> None:
    """Check that the topic does not hold delayed records of another one.

    Raises NoTopicForIt: such a topic could not be deleted.
    """
    parent = parent_of(topic)
    found = None if parent is None else topics.get(parent)
    if found is not None and found.settings.delivery_schedule:
        raise NoTopicForIt(
            stream, f"topic {topic!r} holds delayed records of {parent!r}; use another name"
        )


def retention(limits: Limits) -> Mapping[str, str]:
    """Return the topic settings from the stream's arguments; empty if they have none."""
    found: dict[str, int] = {}
    age_ms, size, segment = limits.max_age_ms, limits.max_bytes, limits.segment_bytes
    if age_ms is not None:
        found["retention.ms"] = age_ms
        found["segment.ms"] = max(SEGMENT_MS_MIN, min(age_ms // SEGMENTS, SEGMENT_MS_MAX))
    if size is not None:
        found["retention.bytes"] = size
        found["segment.bytes"] = max(SEGMENT_BYTES_MIN, min(size // SEGMENTS, SEGMENT_BYTES_MAX))
    if segment is not None:
        found["segment.bytes"] = max(SEGMENT_BYTES_MIN, min(segment, SEGMENT_BYTES_ASKED_MAX))
    return {name: str(value) for name, value in found.items()}


def changed(before: Limits, now: Limits) -> tuple[Mapping[str, str], Sequence[str]] | None:
    """Return the settings to change, and those to reset to the default; None: there are none."""
    had, has = retention(before), retention(now)
    put = {name: value for name, value in has.items() if had.get(name) != value}
    over = [name for name in had if name not in has]
    put |= {name: str(UNLIMITED) for name in over if name in _LIMITS}
    reset = [name for name in over if name not in _LIMITS]
    return (put, reset) if put or reset else None


def settings(limits: Limits) -> Mapping[str, str]:
    """Return the settings of a new topic. Without arguments all is retained, as in RabbitMQ."""
    return {
        "retention.ms": str(UNLIMITED),
        "retention.bytes": str(UNLIMITED),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        **retention(limits),
    }
