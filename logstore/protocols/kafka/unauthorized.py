"""The reply to a request that is refused as a whole: its code, wherever the reply has one.

Most replies have one code for the whole request; others have one for each requested object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from logstore.kafka.messages import (
    alter_client_quotas as quotas_messages,
)
from logstore.kafka.messages import (
    alter_replica_log_dirs as move_messages,
)
from logstore.kafka.messages import (
    alter_user_scram_credentials as scram_messages,
)
from logstore.kafka.messages import (
    create_acls as create_acls_messages,
)
from logstore.kafka.messages import (
    delete_acls as delete_acls_messages,
)
from logstore.kafka.messages import (
    elect_leaders as elect_messages,
)
from logstore.kafka.messages import (
    offset_commit as commit_messages,
)
from logstore.kafka.messages import (
    txn_offset_commit as txn_commit_messages,
)
from logstore.protocols.kafka.asks import TEXTS


def unauthorized(response: type, version: int, request: object, code: int) -> object:
    """An error message of type ``response``."""
    each = _EACH.get(response)
    if each is not None:
        return each(version, request, code)
    has = {field.name for field in fields(response)}
    assert "error_code" in has, f"{response.__module__} has no code for all of it"
    text = {"error_message": TEXTS[code]} if "error_message" in has else {}
    return response(error_code=code, **text)


def _commit(version: int, request: commit_messages.Request, code: int) -> commit_messages.Response:
    return commit_messages.Response(
        topics=[
            commit_messages.ResponseTopic(
                it.topic_id,
                it.name,
                [
                    commit_messages.ResponsePartition(one.partition_index, code)
                    for one in it.partitions
                ],
            )
            for it in request.topics
        ]
    )


def _txn_commit(
    version: int, request: txn_commit_messages.Request, code: int
) -> txn_commit_messages.Response:
    return txn_commit_messages.Response(
        topics=[
            txn_commit_messages.ResponseTopic(
                it.name,
                [
                    txn_commit_messages.ResponsePartition(one.partition_index, code)
                    for one in it.partitions
                ],
            )
            for it in request.topics
        ]
    )


def _create_acls(
    version: int, request: create_acls_messages.Request, code: int
) -> create_acls_messages.Response:
    refused = create_acls_messages.AclCreationResult(code, TEXTS[code])
    return create_acls_messages.Response(results=[refused] * len(request.creations))


def _delete_acls(
    version: int, request: delete_acls_messages.Request, code: int
) -> delete_acls_messages.Response:
    refused = delete_acls_messages.FilterResult(code, TEXTS[code])
    return delete_acls_messages.Response(filter_results=[refused] * len(request.filters))


def _move(version: int, request: move_messages.Request, code: int) -> move_messages.Response:
    results: dict[str, list[move_messages.AlterReplicaLogDirPartitionResult]] = {}
    for asked in request.dirs:
        for topic in asked.topics:
            results.setdefault(topic.name, []).extend(
                move_messages.AlterReplicaLogDirPartitionResult(it, code) for it in topic.partitions
            )
    return move_messages.Response(
        results=[move_messages.AlterReplicaLogDirTopicResult(*it) for it in results.items()]
    )


def _elect(version: int, request: elect_messages.Request, code: int) -> elect_messages.Response:
    """The refusal of ElectLeaders, whose version 0 has no code for the whole request."""
    asked: Sequence[elect_messages.TopicPartitions] = request.topic_partitions or ()
    return elect_messages.Response(
        error_code=code,
        replica_election_results=[
            elect_messages.ReplicaElectionResult(
                it.topic,
                [elect_messages.PartitionResult(one, code, TEXTS[code]) for one in it.partitions],
            )
            for it in asked
        ],
    )


def _quotas(version: int, request: quotas_messages.Request, code: int) -> quotas_messages.Response:
    return quotas_messages.Response(
        entries=[
            quotas_messages.ResponseEntryData(
                code,
                TEXTS[code],
                [
                    quotas_messages.ResponseEntityData(one.entity_type, one.entity_name)
                    for one in it.entity
                ],
            )
            for it in request.entries
        ]
    )


def _scram(version: int, request: scram_messages.Request, code: int) -> scram_messages.Response:
    names = [it.name for it in request.deletions] + [it.name for it in request.upsertions]
    return scram_messages.Response(
        results=[
            scram_messages.AlterUserScramCredentialsResult(name, code, TEXTS[code])
            for name in dict.fromkeys(names)
        ]
    )


_EACH: Final[Mapping[type, Callable[[int, Any, int], object]]] = {
    commit_messages.Response: _commit,
    txn_commit_messages.Response: _txn_commit,
    create_acls_messages.Response: _create_acls,
    delete_acls_messages.Response: _delete_acls,
    move_messages.Response: _move,
    elect_messages.Response: _elect,
    quotas_messages.Response: _quotas,
    scram_messages.Response: _scram,
}
