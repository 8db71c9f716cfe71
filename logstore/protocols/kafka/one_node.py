"""Requests of tools about a cluster, answered as a healthy cluster of one node does.

These concern elections, reassignments, moves between directories, the quorum, features and
resources.
"""

from collections.abc import Sequence
from typing import Final

from logstore.kafka.messages import (
    alter_partition_reassignments as reassign_messages,
)
from logstore.kafka.messages import (
    alter_replica_log_dirs as move_messages,
)
from logstore.kafka.messages import (
    describe_quorum as quorum_messages,
)
from logstore.kafka.messages import (
    elect_leaders as elect_messages,
)
from logstore.kafka.messages import (
    list_config_resources as resources_messages,
)
from logstore.kafka.messages import (
    list_partition_reassignments as reassignments_messages,
)
from logstore.kafka.messages import (
    unregister_broker as unregister_messages,
)
from logstore.kafka.messages import (
    update_features as features_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.configs import CLIENT_METRICS, GROUP, LOGGER, NODE, TOPIC
from logstore.protocols.kafka.door import LEADER_EPOCH, NODE_ID, KafkaDoor
from logstore.protocols.kafka.features import FEATURES
from logstore.protocols.kafka.handler import handler

ELECTIONS: Final = (0, 1)  # of the preferred leader, of any (KIP-460)
FIRST_WITH_ONE_RESULT: Final = 2  # UpdateFeatures: of all features that were named
METADATA_TOPIC: Final = "__cluster_metadata"
COPIES: Final = (NODE_ID,)  # of every partition

Told = tuple[int, str | None]  # error code and message
FINE: Final[Told] = (errors.NONE, None)


def _unknown(door: KafkaDoor, topic: str, partition: int) -> Told | None:
    """Code and message for an unknown partition; None if the partition exists."""
    found = door.topics.get(topic)
    if found is None:
        return errors.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {topic!r}"
    if not 0 <= partition < len(found.partitions):
        return errors.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic!r} has no partition {partition}"
    return None


# Leaders


def elect(
    client: KafkaClient, version: int, request: elect_messages.Request
) -> elect_messages.Response:
    """Key 43: the node leads every partition, so no election is needed."""
    if request.election_type not in ELECTIONS:
        return elect_messages.Response(error_code=errors.INVALID_REQUEST)
    if request.topic_partitions is None:  # all: partitions that need no election are not listed
        results = [
            elect_messages.ReplicaElectionResult(name) for name in client.door.topics.names()
        ]
        return elect_messages.Response(replica_election_results=results)
    return elect_messages.Response(
        replica_election_results=[
            elect_messages.ReplicaElectionResult(
                it.topic,
                [
                    elect_messages.PartitionResult(
                        number, *(_unknown(client.door, it.topic, number) or _NOT_NEEDED)
                    )
                    for number in it.partitions
                ],
            )
            for it in request.topic_partitions
        ]
    )


_NOT_NEEDED: Final = errors.ELECTION_NOT_NEEDED, "the partition has its preferred leader"


# Reassignments


def reassign(
    client: KafkaClient, version: int, request: reassign_messages.Request
) -> reassign_messages.Response:
    """Key 45: a partition may stay where it is."""
    return reassign_messages.Response(
        allow_replication_factor_change=request.allow_replication_factor_change,
        responses=[
            reassign_messages.ReassignableTopicResponse(
                it.name,
                [
                    reassign_messages.ReassignablePartitionResponse(
                        one.partition_index,
                        *(
                            _unknown(client.door, it.name, one.partition_index)
                            or _reassigned(one.replicas)
                        ),
                    )
                    for one in it.partitions
                ],
            )
            for it in request.topics
        ],
    )


def _reassigned(nodes: Sequence[int] | None) -> Told:
    if nodes is None:  # a reassignment is to be cancelled
        return errors.NO_REASSIGNMENT_IN_PROGRESS, None
    if tuple(nodes) != COPIES:
        return (
            errors.INVALID_REPLICA_ASSIGNMENT,
            f"a partition can only be on node {NODE_ID}, the only one",
        )
    return FINE


def reassignments(
    client: KafkaClient, version: int, request: reassignments_messages.Request
) -> reassignments_messages.Response:
    """Key 46: none is under way."""
    return reassignments_messages.Response()


# Directories


def move(
    client: KafkaClient, version: int, request: move_messages.Request
) -> move_messages.Response:
    """Key 34: a log may stay in the one directory that there is."""
    results: dict[str, list[move_messages.AlterReplicaLogDirPartitionResult]] = {}
    for asked in request.dirs:
        for topic in asked.topics:
            for number in topic.partitions:
                code, _ = _unknown(client.door, topic.name, number) or FINE
                if asked.path != client.door.path:
                    code = errors.LOG_DIR_NOT_FOUND
                results.setdefault(topic.name, []).append(
                    move_messages.AlterReplicaLogDirPartitionResult(number, code)
                )
    return move_messages.Response(
        results=[
            move_messages.AlterReplicaLogDirTopicResult(name, told)
            for name, told in results.items()
        ]
    )


# The cluster


def quorum(
    client: KafkaClient, version: int, request: quorum_messages.Request
) -> quorum_messages.Response:
    """Key 55: the quorum consists of this node, which has every record."""
    asked = [(it.topic_name, one.partition_index) for it in request.topics for one in it.partitions]
    if asked != [(METADATA_TOPIC, 0)]:
        return quorum_messages.Response(
            topics=[
                quorum_messages.ResponseTopicData(
                    it.topic_name,
                    [
                        quorum_messages.ResponsePartitionData(
                            one.partition_index,
                            errors.UNKNOWN_TOPIC_OR_PARTITION,
                            f"there is a quorum of {METADATA_TOPIC}-0 only",
                        )
                        for one in it.partitions
                    ],
                )
                for it in request.topics
            ]
        )
    now_ms = client.door.clock()
    voter = quorum_messages.ReplicaState(
        NODE_ID, last_fetch_timestamp=now_ms, last_caught_up_timestamp=now_ms
    )
    partition = quorum_messages.ResponsePartitionData(
        leader_id=NODE_ID, leader_epoch=LEADER_EPOCH, current_voters=(voter,)
    )
    host, port = client.address
    return quorum_messages.Response(
        topics=(quorum_messages.ResponseTopicData(METADATA_TOPIC, (partition,)),),
        nodes=(
            quorum_messages.Node(NODE_ID, (quorum_messages.Listener(client.listener, host, port),)),
        ),
    )


def update_features(
    client: KafkaClient, version: int, request: features_messages.Request
) -> features_messages.Response:
    """Key 57: every feature stays at the level that it has (KIP-584)."""
    told = [
        features_messages.UpdatableFeatureResult(it.feature, *_updated(it))
        for it in request.feature_updates
    ]
    if version < FIRST_WITH_ONE_RESULT:
        return features_messages.Response(results=told)
    failed = next((it for it in told if it.error_code), None)
    if failed is None:
        return features_messages.Response()
    return features_messages.Response(
        error_code=failed.error_code, error_message=failed.error_message
    )


def _updated(asked: features_messages.FeatureUpdateKey) -> Told:
    level = FEATURES.get(asked.feature)
    if level is None:
        return errors.INVALID_UPDATE_VERSION, f"there is no feature {asked.feature!r} here"
    if asked.max_version_level != level:
        return (
            errors.INVALID_UPDATE_VERSION,
            f"feature {asked.feature!r} has level {level} here, and no other",
        )
    return FINE


def unregister(
    client: KafkaClient, version: int, request: unregister_messages.Request
) -> unregister_messages.Response:
    """Key 64: the one node stays."""
    if request.broker_id != NODE_ID:
        return unregister_messages.Response(
            error_code=errors.BROKER_ID_NOT_REGISTERED,
            error_message=f"there is no node {request.broker_id}",
        )
    return unregister_messages.Response(
        error_code=errors.POLICY_VIOLATION, error_message=f"node {NODE_ID} is the only one"
    )


def resources(
    client: KafkaClient, version: int, request: resources_messages.Request
) -> resources_messages.Response:
    """Key 74: resources with settings (KIP-1142); before version 1 only client metrics."""
    node = [str(NODE_ID)]
    names = {
        TOPIC: client.door.topics.names() if version > 0 else (),
        NODE: node,
        LOGGER: node,
        CLIENT_METRICS: (),
        GROUP: client.door.coordinator.group_settings.names() if version > 0 else (),
    }
    asked = [CLIENT_METRICS] if version == 0 else list(request.resource_types) or list(names)
    if not names.keys() >= set(asked):
        return resources_messages.Response(error_code=errors.UNSUPPORTED_VERSION)
    return resources_messages.Response(
        config_resources=[
            resources_messages.ConfigResource(name, kind)
            for kind in dict.fromkeys(asked)
            for name in names[kind]
        ]
    )


HANDLERS: Final = {
    34: handler(move_messages.Request, move_messages.Response, move),
    43: handler(elect_messages.Request, elect_messages.Response, elect),
    45: handler(reassign_messages.Request, reassign_messages.Response, reassign),
    46: handler(reassignments_messages.Request, reassignments_messages.Response, reassignments),
    55: handler(quorum_messages.Request, quorum_messages.Response, quorum),
    57: handler(features_messages.Request, features_messages.Response, update_features),
    64: handler(unregister_messages.Request, unregister_messages.Response, unregister),
    74: handler(resources_messages.Request, resources_messages.Response, resources),
}
