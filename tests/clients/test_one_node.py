"""Elections, reassignments, quorum, quotas: tools ask any cluster, a healthy node answers."""

import pytest
from confluent_kafka import ElectionType, TopicPartition
from librdkafka import admin, create
from wire_client import WireClient

from logstore.kafka.messages import (
    alter_client_quotas,
    alter_partition_reassignments,
    alter_replica_log_dirs,
    alter_user_scram_credentials,
    describe_client_quotas,
    describe_delegation_token,
    describe_log_dirs,
    describe_quorum,
    describe_user_scram_credentials,
    elect_leaders,
    list_config_resources,
    list_partition_reassignments,
    unregister_broker,
    update_features,
)

DEADLINE_S = 20
UNKNOWN, INVALID_REQUEST, NOT_NEEDED, NOT_IN_PROGRESS, INVALID_ASSIGNMENT = 3, 42, 84, 85, 39


@pytest.fixture
def client(server):
    with WireClient(server.endpoint) as found:
        yield found


@pytest.fixture
def topic(server, topic):
    create(server, topic, 2)
    return topic


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("kind", [0, 1])
def test_no_election_is_needed(client, topic, version, kind):
    asked = [
        elect_leaders.TopicPartitions(topic, [0, 1, 2, -1]),
        elect_leaders.TopicPartitions("none", [0]),
    ]
    request = elect_leaders.Request(kind, asked)
    answer = client.ask(43, version, request, elect_leaders.Response)
    assert answer.error_code == 0
    assert [
        (it.topic, [(one.partition_id, one.error_code) for one in it.partition_result])
        for it in answer.replica_election_results
    ] == [
        (topic, [(0, NOT_NEEDED), (1, NOT_NEEDED), (2, UNKNOWN), (-1, UNKNOWN)]),
        ("none", [(0, UNKNOWN)]),
    ]
    everywhere = client.ask(43, version, elect_leaders.Request(0, None), elect_leaders.Response)
    assert topic in {it.topic for it in everywhere.replica_election_results}
    assert not any(it.partition_result for it in everywhere.replica_election_results)


def test_an_election_of_an_unknown_kind_is_refused(client):
    answer = client.ask(43, 2, elect_leaders.Request(7, None), elect_leaders.Response)
    assert answer.error_code == INVALID_REQUEST


def test_librdkafka_elects_leaders(server, topic):
    asked = [TopicPartition(topic, 0), TopicPartition("none", 0)]
    found = admin(server).elect_leaders(ElectionType.PREFERRED, asked).result(DEADLINE_S)
    said = {it.topic: found[it].code() for it in found}
    assert said == {topic: NOT_NEEDED, "none": UNKNOWN}


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("nodes", "code"),
    [
        ([1], 0),
        (None, NOT_IN_PROGRESS),
        ([], INVALID_ASSIGNMENT),
        ([2], INVALID_ASSIGNMENT),
        ([1, 2], INVALID_ASSIGNMENT),
        ([1, 1], INVALID_ASSIGNMENT),
    ],
)
def test_a_partition_may_stay_where_it_is(client, topic, version, nodes, code):
    partition = alter_partition_reassignments.ReassignablePartition
    request = alter_partition_reassignments.Request(
        topics=[
            alter_partition_reassignments.ReassignableTopic(
                topic, [partition(1, nodes), partition(2, nodes)]
            )
        ]
    )
    answer = client.ask(45, version, request, alter_partition_reassignments.Response)
    assert answer.error_code == 0
    [found] = answer.responses
    assert [(it.partition_index, it.error_code) for it in found.partitions] == [
        (1, code),
        (2, UNKNOWN),
    ]


@pytest.mark.parametrize("some", [False, True])
def test_no_reassignment_is_under_way(client, topic, some):
    of = [list_partition_reassignments.ListPartitionReassignmentsTopics(topic, [0, 1, 9])]
    request = list_partition_reassignments.Request(topics=of if some else None)
    answer = client.ask(46, 0, request, list_partition_reassignments.Response)
    assert (answer.error_code, list(answer.topics)) == (0, [])


def test_a_log_may_stay_in_its_directory(client, topic):
    directory = client.ask(
        35, 4, describe_log_dirs.Request(None), describe_log_dirs.Response
    ).results[0]
    for version in (1, 2):
        for path, codes in ((directory.log_dir, [0, UNKNOWN]), ("/elsewhere", [57, 57])):
            topics = [alter_replica_log_dirs.AlterReplicaLogDirTopic(topic, [0, 5])]
            request = alter_replica_log_dirs.Request(
                [alter_replica_log_dirs.AlterReplicaLogDir(path, topics)]
            )
            [found] = client.ask(34, version, request, alter_replica_log_dirs.Response).results
            assert found.topic_name == topic
            assert [it.error_code for it in found.partitions] == codes


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_node_is_the_whole_quorum(client, server, version):
    def ask(name, partition=0):
        asked = [describe_quorum.TopicData(name, [describe_quorum.PartitionData(partition)])]
        answer = client.ask(55, version, describe_quorum.Request(asked), describe_quorum.Response)
        assert answer.error_code == 0
        return answer, answer.topics[0].partitions[0]

    answer, found = ask("__cluster_metadata")
    assert (found.error_code, found.leader_id) == (0, 1)
    [voter] = found.current_voters
    assert (voter.replica_id, voter.log_end_offset) == (1, found.high_watermark)
    assert list(found.observers) == []
    if version == 2:
        [node] = answer.nodes
        [listener] = node.listeners
        assert (node.node_id, (listener.host, listener.port)) == (1, server.endpoint)
    for name, partition in (("other", 0), ("__cluster_metadata", 1)):
        assert ask(name, partition)[1].error_code == UNKNOWN


@pytest.mark.parametrize("version", [0, 1])
def test_quotas_are_set_shown_and_removed(client, version):
    def described():
        answer = client.ask(
            48, version, describe_client_quotas.Request(), describe_client_quotas.Response
        )
        assert answer.error_code == 0
        return [[(it.key, it.value) for it in entry.values] for entry in answer.entries]

    def alter(*, remove):
        entity = [alter_client_quotas.EntityData("user", None)]
        ops = [alter_client_quotas.OpData("producer_byte_rate", 2.0**40, remove)]
        request = alter_client_quotas.Request([alter_client_quotas.EntryData(entity, ops)])
        [entry] = client.ask(49, version, request, alter_client_quotas.Response).entries
        assert [(it.entity_type, it.entity_name) for it in entry.entity] == [("user", None)]
        return entry.error_code

    assert described() == []
    assert alter(remove=False) == 0
    assert described() == [[("producer_byte_rate", 2.0**40)]]
    assert alter(remove=True) == 0
    assert described() == []


def test_there_are_no_credentials_and_tokens(client):
    request = describe_user_scram_credentials.Request(None)
    answer = client.ask(50, 0, request, describe_user_scram_credentials.Response)
    assert (answer.error_code, list(answer.results)) == (0, [])
    request.users = [describe_user_scram_credentials.UserName("anna")]
    answer = client.ask(50, 0, request, describe_user_scram_credentials.Response)
    assert [(it.user, it.error_code) for it in answer.results] == [("anna", 91)]
    added = alter_user_scram_credentials.ScramCredentialUpsertion("anna", 1, 4096, b"s", b"p")
    removed = alter_user_scram_credentials.ScramCredentialDeletion("berta", 1)
    request = alter_user_scram_credentials.Request([removed], [added])
    answer = client.ask(51, 0, request, alter_user_scram_credentials.Response)
    assert {it.user: it.error_code for it in answer.results} == {"anna": 44, "berta": 91}
    for version in (1, 2, 3):
        request = describe_delegation_token.Request(None)
        answer = client.ask(41, version, request, describe_delegation_token.Response)
        assert (answer.error_code, list(answer.tokens)) == (64, [])


def test_librdkafka_finds_no_credentials(server):
    assert admin(server).describe_user_scram_credentials(None).result(DEADLINE_S) == {}


@pytest.mark.parametrize("version", [0, 1, 2])
def test_no_feature_can_be_switched(client, version):
    asked = [update_features.FeatureUpdateKey("group.version", 1)]
    answer = client.ask(
        57, version, update_features.Request(60_000, asked), update_features.Response
    )
    told = [answer.error_code] if version == 2 else [it.error_code for it in answer.results]
    assert told == [95]
    answer = client.ask(57, version, update_features.Request(), update_features.Response)
    assert (answer.error_code, list(answer.results)) == (0, [])


def test_the_one_node_is_not_unregistered(client):
    for node, code in ((1, 44), (2, 102)):
        request = unregister_broker.Request(node)
        assert client.ask(64, 0, request, unregister_broker.Response).error_code == code


@pytest.mark.long
def test_resources_with_settings_are_listed(client, topic):
    def ask(version, *kinds):
        request = list_config_resources.Request(kinds)
        answer = client.ask(74, version, request, list_config_resources.Response)
        return answer.error_code, {
            (it.resource_type, it.resource_name) for it in answer.config_resources
        }

    assert ask(0) == ask(1, 16) == ask(1, 32) == (0, set())
    assert ask(1, 4, 8) == (0, {(4, "1"), (8, "1")})
    code, every = ask(1)
    assert code == 0
    assert {(2, topic), (4, "1"), (8, "1")} <= every
    assert ask(1, 2)[1] == every - {(4, "1"), (8, "1")}
    assert ask(1, 99) == (35, set())
