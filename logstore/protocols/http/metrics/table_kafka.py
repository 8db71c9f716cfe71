"""Metrics of topics and groups under the names of common Kafka exporters.

``kafka_*`` are the names of danielqsj/kafka_exporter; ``kminion_kafka_*`` are those of kminion,
shown only if the group "kminion" is requested.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from logstore.kept.groups import SHARED
from logstore.protocols.http.metrics.exposition import GAUGE, INFO, Family, Sample, labels
from logstore.protocols.http.metrics.looked_up import FoundGroup, FoundTopic, Place, Summed
from logstore.protocols.http.metrics.rows import DETAILED, Row
from logstore.protocols.http.metrics.scene import Samples, Scene, one

NODE_ID: Final = 1  # of the one node, as the Kafka door has it
TOPICS, GROUPS, KMINION = "kafka_topics", "kafka_groups", "kminion"
STABLE: Final = "Stable"  # as Kafka calls the state of a group that is at work


class Names(NamedTuple):
    """The label names of an exporter."""

    topic: str
    partition: str
    group: str


USUAL: Final = Names("topic", "partition", "consumergroup")
OF_KMINION: Final = Names("topic_name", "partition_id", "group_id")


def _few(scene: Scene, count: int) -> bool:
    """Whether each of so many may be shown by itself."""
    return count <= scene.most


def _of_topics(value: Callable[[FoundTopic], int | None], names: Names = USUAL) -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        if _few(scene, len(scene.found.topics)):
            for it in scene.found.topics:
                found = value(it)
                if found is not None:
                    yield labels({names.topic: it.name}), found

    return samples


def _of_partitions(value: Callable[[int, int], int], names: Names = USUAL) -> Samples:
    """By start and safe; without those that are not known."""

    def samples(scene: Scene) -> Iterator[Sample]:
        for topic in scene.found.topics:
            if not topic.offsets:
                continue
            its = labels({names.topic: topic.name})
            for number, stands in enumerate(topic.offsets):
                if stands is not None:
                    yield f'{its},{names.partition}="{number}"', value(*stands)

    return samples


def _of_groups(value: Callable[[FoundGroup], int], names: Names = USUAL) -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        if _few(scene, len(scene.found.groups)):
            for it in scene.found.groups:
                yield labels({names.group: it.name}), value(it)

    return samples


def _of_groups_topics(value: Callable[[Summed], int], names: Names = USUAL) -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        if not _few(scene, sum(len(it.sums) for it in scene.found.groups)):
            return
        for it in scene.found.groups:
            for topic, summed in it.sums.items():
                yield labels({names.group: it.name, names.topic: topic}), value(summed)

    return samples


def _of_places(value: Callable[[Place], int | None], names: Names = USUAL) -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        for it in scene.found.groups:
            for place in it.places:
                found = value(place)
                if found is not None:
                    its = labels({names.group: it.name, names.topic: place.topic})
                    yield f'{its},{names.partition}="{place.partition}"', found

    return samples


def _broker(scene: Scene) -> Iterator[Sample]:
    host, port = _address(scene)
    yield labels({"id": str(NODE_ID), "address": f"{host}:{port}" if host else ""}), 1


def _address(scene: Scene) -> tuple[str, str]:
    """Where Kafka clients find it: host and port; empty where there is no such door."""
    advertised = scene.house.settings.kafka_advertised_address
    if advertised:
        host, _, port = advertised.rpartition(":")
        return host, port
    doors = scene.house.facts()["doors"]
    place = doors.get("kafka") if isinstance(doors, dict) else None
    return (str(place["host"]), str(place["port"])) if place else ("", "")


def _kminion_cluster(scene: Scene) -> Iterator[Sample]:
    facts = {"cluster_version": "", "broker_count": "1", "controller_id": str(NODE_ID)}
    yield labels({**facts, "cluster_id": scene.house.store_id}), 1


def _kminion_broker(scene: Scene) -> Iterator[Sample]:
    host, port = _address(scene)
    node = {"broker_id": str(NODE_ID), "address": host, "port": port, "rack_id": ""}
    yield labels({**node, "is_controller": "true"}), 1


def _kminion_topics(scene: Scene) -> Iterator[Sample]:
    if _few(scene, len(scene.found.topics)):
        for it in scene.found.topics:
            topic = scene.house.topics.get(it.name)
            if topic is not None:
                policy = ",".join(topic.settings.cleanup_policy)
                counts = {"partition_count": str(it.partitions), "replication_factor": "1"}
                yield labels({"topic_name": it.name, **counts, "cleanup_policy": policy}), 1


def _kminion_groups(scene: Scene) -> Iterator[Sample]:
    """1 of those that are stable."""
    if _few(scene, len(scene.found.groups)):
        for it in scene.found.groups:
            kind = SHARED if it.kind == SHARED else "consumer"
            facts = {"group_id": it.name, "protocol": "", "protocol_type": kind}
            rest = {"state": it.state, "coordinator_id": str(NODE_ID)}
            yield labels({**facts, **rest}), it.state == STABLE


def _summed(number: int) -> Callable[[FoundTopic], int | None]:
    """Of starts (0) or ends (1) of all partitions; not of those that there are too many of."""

    def value(topic: FoundTopic) -> int | None:
        if not topic.offsets:
            return None
        return sum(it[number] for it in topic.offsets if it is not None)

    return value


_PARTITION: Final = "kafka_topic_partition_"
_KMINION: Final = "kminion_kafka_"

ROWS: Final = (
    Row(Family("kafka_brokers", GAUGE, "Number of brokers."), one(lambda _: 1), TOPICS),
    Row(Family("kafka_broker", INFO, "The broker and its address."), _broker, TOPICS),
    Row(Family("kafka_topic_partitions", GAUGE, "Number of partitions of the topic."),
        _of_topics(lambda it: it.partitions), TOPICS),
    Row(Family(f"{_PARTITION}current_offset", GAUGE, "Offset of the end of the partition."),
        _of_partitions(lambda start, safe: safe), TOPICS),
    Row(Family(f"{_PARTITION}oldest_offset", GAUGE, "Offset of the start of the partition."),
        _of_partitions(lambda start, safe: start), TOPICS),
    Row(Family(f"{_PARTITION}leader", GAUGE, "The broker that leads the partition."),
        _of_partitions(lambda start, safe: NODE_ID), TOPICS),
    Row(Family(f"{_PARTITION}replicas", GAUGE, "Number of replicas of the partition."),
        _of_partitions(lambda start, safe: 1), TOPICS),
    Row(Family(f"{_PARTITION}in_sync_replica", GAUGE, "Number of replicas that are in sync."),
        _of_partitions(lambda start, safe: 1), TOPICS),
    Row(Family(f"{_PARTITION}leader_is_preferred", GAUGE, "1 if the preferred broker leads the "
         "partition."),
        _of_partitions(lambda start, safe: 1), TOPICS),
    Row(Family(f"{_PARTITION}under_replicated_partition", GAUGE, "1 if the partition has replicas "
         "that are not in sync."),
        _of_partitions(lambda start, safe: 0), TOPICS),
    Row(Family("kafka_consumergroup_members", GAUGE, "Number of members of the group."),
        _of_groups(lambda it: it.members), GROUPS),
    Row(Family("kafka_consumergroup_current_offset", GAUGE, "Offset that the group has committed "
         "for the partition."),
        _of_places(lambda it: it.committed), GROUPS),
    Row(Family("kafka_consumergroup_current_offset_sum", GAUGE,
               "Offsets that the group has committed, summed over the partitions of the topic."),
        _of_groups_topics(lambda it: it.committed), GROUPS),
    Row(Family("kafka_consumergroup_lag", GAUGE, "Records of the partition that the group has not "
               "committed yet."),
        _of_places(lambda it: it.lag), GROUPS),
    Row(Family("kafka_consumergroup_lag_sum", GAUGE, "Records of the topic that the group has not "
               "committed yet."),
        _of_groups_topics(lambda it: it.lag), GROUPS),
    # kminion's
    Row(Family(f"{_KMINION}cluster", INFO, "The cluster."), _kminion_cluster, KMINION, DETAILED),
    Row(Family(f"{_KMINION}broker", INFO, "The broker."), _kminion_broker, KMINION, DETAILED),
    Row(Family(f"{_KMINION}topic", INFO, "The topic."), _kminion_topics, KMINION, DETAILED),
    Row(Family(f"{_KMINION}topic_partition_high_water_mark", GAUGE, "Offset of the end of the "
         "partition."),
        _of_partitions(lambda start, safe: safe, OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}topic_partition_low_water_mark", GAUGE, "Offset of the start of the "
         "partition."),
        _of_partitions(lambda start, safe: start, OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}topic_high_water_mark_sum", GAUGE, "Offsets of the ends of the topic's "
         "partitions, summed."),
        _of_topics(_summed(1), OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}topic_low_water_mark_sum", GAUGE, "Offsets of the starts of the "
         "topic's partitions, summed."),
        _of_topics(_summed(0), OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}consumer_group_info", GAUGE, "1 if the group is stable."),
        _kminion_groups, KMINION, DETAILED),
    Row(Family(f"{_KMINION}consumer_group_members", GAUGE, "Number of members of the group."),
        _of_groups(lambda it: it.members, OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}consumer_group_topic_offset_sum", GAUGE, "Offsets that the group has "
         "committed, summed over the partitions of the topic."),
        _of_groups_topics(lambda it: it.committed, OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}consumer_group_topic_lag", GAUGE, "Records of the topic that the group "
               "has not committed yet."),
        _of_groups_topics(lambda it: it.lag, OF_KMINION), KMINION, DETAILED),
    Row(Family(f"{_KMINION}consumer_group_topic_partition_lag", GAUGE, "Records of the partition "
               "that the group has not committed yet."),
        _of_places(lambda it: it.lag, OF_KMINION), KMINION, DETAILED),
)  # fmt: skip
