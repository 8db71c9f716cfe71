"""Describes groups with the topics that their members read, one request for each group type.

They contain names of topics, so the caller must have the right to describe these (KAFKA-18813).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from logstore.access.resources import DESCRIBE, GROUP
from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import GroupDescription
from logstore.broker.coordinator.coordinator import UNREADABLE
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.topic import Topic
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import TEXTS
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.errors import group_code
from logstore.protocols.kafka.group_admin import NOT_ALLOWED, TYPES
from logstore.protocols.kafka.operations import on_group
from logstore.slices import Steps, parts

FEW: Final = 100  # partitions or names that are looked at while others wait
# As Kafka says it: names of topics are not to be had by way of groups.
HIDDEN: Final = "The described group uses topics that the client is not authorized to describe."


class Described(Protocol):
    """A group in a reply."""

    authorized_operations: int


_G = TypeVar("_G", bound=Described)


def described(
    client: KafkaClient,
    names: Iterable[str],
    kind: str,
    refused: Callable[[int, str, str, str], _G],
    one: Callable[[KafkaClient, GroupDescription], Steps],
    *,
    with_operations: bool,
) -> Steps:
    """Descriptions of groups of this type, each once; other groups are refused one by one.

    ``refused(code, message, name, state)`` and ``one(client, description)`` make the parts of the
    answer.
    """
    found: list[_G] = []
    for name in dict.fromkeys(names):
        if not client.may(DESCRIBE, GROUP, name):
            found.append(refused(NOT_ALLOWED, TEXTS[NOT_ALLOWED], name, ""))
            yield ASK_UNITS
            continue
        try:
            it = client.door.coordinator.describe(name)
        except Refusal as error:
            found.append(refused(group_code(error.error), error.message, name, UNREADABLE))
            yield 1
            continue
        if it is None or TYPES[it.kind] != kind:
            why = f"no group {name!r}" if it is None else f"group {name!r} is a {it.kind} one"
            found.append(refused(errors.GROUP_ID_NOT_FOUND, why, name, ""))
            yield 1 + ASK_UNITS
            continue
        found.append((yield from one(client, it)))
        if with_operations:
            found[-1].authorized_operations = on_group(client, name)
    return found


def may_see(client: KafkaClient, names: Sequence[str]) -> Steps:
    """Whether the client may see all of these topics."""
    for some in parts(names, FEW):
        if not all(client.may_topic(DESCRIBE, it) for it in some):
            return False
        yield ASK_UNITS * len(some)
    return True


def by_topic(places: Iterable[Place]) -> Mapping[str, list[int]]:
    """The partitions of each topic, by topic id."""
    found: dict[str, list[int]] = {}
    for topic_id, number in sorted(places):
        found.setdefault(topic_id, []).append(number)
    return found


def named(door: KafkaDoor, places: Iterable[Place]) -> list[tuple[Topic, list[int]]]:
    """The partitions of each topic, without deleted topics, which no longer have a name."""
    return [
        (topic, numbers)
        for topic_id, numbers in by_topic(places).items()
        if (topic := door.topics.by_uuid(UUID(topic_id).bytes)) is not None
    ]
