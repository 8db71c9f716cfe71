"""The topics that nodes keep for themselves in a cluster, and their required settings. Pure.

These topics hold data that was acknowledged to clients. So each record is stored on three brokers
and acknowledged by two, and no broker without all records becomes the leader: one broker may die at
any time.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from logstore.cluster.topic_settings import Told

PREFIX: Final = "__logstore-"  # begins their names
REPLICAS: Final = 3
IN_SYNC: Final = 2  # that acknowledge, at the least


class OwnTopic(NamedTuple):
    """One such topic; ``settings``: its further settings, such as cleanup.policy."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def is_own(topic: str) -> bool:
    """Whether only nodes may create a topic of this name and write to it."""
    return topic.startswith(PREFIX)


def replicas_of(brokers: int) -> int:
    """The number of replicas with which partitions are created."""
    return min(REPLICAS, max(brokers, 1))


def settings_of(it: OwnTopic, brokers: int) -> dict[str, str]:
    """The settings with which the topic is created."""
    in_sync = min(IN_SYNC, replicas_of(brokers))
    return {
        "min.insync.replicas": str(in_sync),
        "unclean.leader.election.enable": "false",
        **it.settings,
    }


def findings(
    it: OwnTopic, brokers: int, partitions: int, replicas: int, told: Sequence[Told]
) -> list[str]:
    """The differences from the required settings, one line each."""
    found = []
    if partitions != it.partitions:
        found.append(f"topic {it.name}: it has {partitions} partitions, should be {it.partitions}")
    if replicas < REPLICAS:
        found.append(f"topic {it.name}: replication factor is {replicas}, should be {REPLICAS}")
    texts = {one.name: one.text for one in told}
    for name, wanted in settings_of(it, max(brokers, REPLICAS)).items():
        text = texts.get(name)
        if text is not None and not _fits(name, text, wanted):
            found.append(f"topic {it.name}: {name} is {text}, should be {wanted}")
    return found


def too_few(brokers: int) -> list[str]:
    """The message about a cluster with so few brokers."""
    if brokers >= REPLICAS:
        return []
    return [
        f"the cluster has {brokers} {'broker' if brokers == 1 else 'brokers'}, should be "
        f"{REPLICAS} or more: where one dies, nodes stop or lose what they acknowledged"
    ]


def _fits(name: str, text: str, wanted: str) -> bool:
    if name == "min.insync.replicas" and text.isdecimal():
        return int(text) >= int(wanted)
    return set(text.split(",")) == set(wanted.split(","))  # words in any order
