"""Groups as admin clients see and change them."""

import warnings
from contextlib import closing

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaException,
)
from confluent_kafka import ConsumerGroupType as Type
from confluent_kafka import TopicPartition as Place
from librdkafka import admin, create, outcome, produce
from members import CLIENTS, SETTINGS, polled, shared
from serving import Serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaAdminClient, TopicPartition
    from kafka.admin import MemberToRemove
    from kafka.structs import OffsetAndMetadata

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]

PARTITIONS = 4
KINDS = {"confluent": Type.CLASSIC, "confluent-consumer": Type.CONSUMER}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("admin") / "data", **SETTINGS)
    yield running
    assert running.stop() == (0, "")


@pytest.fixture
def group(server, topic):
    """A group that has committed 3 in each partition of a topic of the same name."""
    create(server, topic, PARTITIONS)
    for number in range(PARTITIONS):
        assert produce(server, topic, [b"%d" % n for n in range(5)], number) == []
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": topic})
    offsets = [Place(topic, n, 3, metadata=f"of {n}") for n in range(PARTITIONS)]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()
    return topic


@pytest.fixture(params=KINDS)
def member(request, server, group):
    """The one member of the group."""
    found = CLIENTS[request.param](server.address, group, group)
    found.kind = KINDS[request.param]
    polled([found], lambda: shared([found], PARTITIONS))
    yield found
    found.close()


def listed(server, **filters):
    found = admin(server).list_consumer_groups(**filters).result()
    assert found.errors == []
    return {it.group_id: (it.state, it.type, it.is_simple_consumer_group) for it in found.valid}


def test_groups_are_listed_by_state_and_type(server, group, member):
    stable = ConsumerGroupState.STABLE
    assert listed(server)[group] == (stable, member.kind, False)
    assert group in listed(server, states={stable})
    assert group not in listed(server, states={ConsumerGroupState.EMPTY})
    assert group in listed(server, types={member.kind})
    assert group not in listed(server, types=set(KINDS.values()) - {member.kind})


def test_a_group_without_members_is_listed_as_empty(server, group):
    state, kind, simple = listed(server)[group]
    assert (state, kind, simple) == (ConsumerGroupState.EMPTY, Type.CLASSIC, True)


def test_a_group_is_described_with_its_members(server, group, member):
    found = admin(server).describe_consumer_groups([group])[group].result()
    assert (found.state, found.type) == (ConsumerGroupState.STABLE, member.kind)
    assert (
        found.partition_assignor
        == {"Classic": "range", "Consumer": "uniform"}[member.kind.name.capitalize()]
    )
    [it] = found.members
    assert (it.host, it.client_id) == ("/127.0.0.1", "rdkafka")
    assert {(place.topic, place.partition) for place in it.assignment.topic_partitions} == {
        (group, n) for n in range(PARTITIONS)
    }


def test_a_group_that_is_not_there_is_described_as_dead(server):
    found = admin(server).describe_consumer_groups(["nobody"])["nobody"].result()
    assert (found.state, found.members) == (ConsumerGroupState.DEAD, [])


def offsets_of(server, group):
    asked = [ConsumerGroupTopicPartitions(group)]
    found = admin(server).list_consumer_group_offsets(asked)[group].result()
    return {it.partition: it.offset for it in found.topic_partitions}


def test_offsets_are_listed_and_altered(server, group):
    assert offsets_of(server, group) == dict.fromkeys(range(PARTITIONS), 3)
    asked = [ConsumerGroupTopicPartitions(group, [Place(group, 1, 0), Place(group, 2, 5)])]
    changed = admin(server).alter_consumer_group_offsets(asked)[group].result()
    assert [it.error for it in changed.topic_partitions] == [None, None]
    assert offsets_of(server, group) == {0: 3, 1: 0, 2: 5, 3: 3}


def test_offsets_of_a_group_with_members_are_not_altered(server, group, member):
    asked = [ConsumerGroupTopicPartitions(group, [Place(group, 1, 0)])]
    [done] = admin(server).alter_consumer_group_offsets(asked).values()
    assert done.exception() is not None or done.result().topic_partitions[0].error is not None
    assert offsets_of(server, group)[1] == 3


def test_a_group_is_deleted_when_nobody_is_a_member(server, group, member):
    assert outcome(admin(server).delete_consumer_groups([group])) == ["NON_EMPTY_GROUP"]
    member.close()
    assert outcome(admin(server).delete_consumer_groups([group])) == [None]
    assert group not in listed(server)
    assert outcome(admin(server).delete_consumer_groups([group])) == ["GROUP_ID_NOT_FOUND"]


def test_a_groups_metadata_comes_back(server, group):
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": group})
    found = consumer.committed([Place(group, n) for n in (0, 1)], timeout=20)
    consumer.close()
    assert [it.metadata for it in found] == ["of 0", "of 1"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"partition": 0, "offset": 1, "metadata": "x" * 5000}, "OFFSET_METADATA_TOO_LARGE"),
        ({"partition": 99, "offset": 1}, "UNKNOWN_TOPIC_OR_PART"),
    ],
)
def test_what_cant_be_committed_does_not_keep_the_rest_from_it(server, group, wrong, error):
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": group})
    with pytest.raises(KafkaException) as raised:
        consumer.commit(offsets=[Place(group, **wrong), Place(group, 1, 4)], asynchronous=False)
    consumer.close()
    assert raised.value.args[0].name() == error
    assert offsets_of(server, group) == {0: 3, 1: 4, 2: 3, 3: 3}


# kafka-python's


@pytest.fixture
def python_admin(server):
    with closing(KafkaAdminClient(bootstrap_servers=server.address)) as client:
        yield client


def test_kafka_python_lists_and_describes_groups(python_admin, group, member):
    kind = {Type.CLASSIC: "classic", Type.CONSUMER: "consumer"}[member.kind]
    told = {"group_id": group, "protocol_type": "consumer", "group_state": "Stable"}
    assert told | {"group_type": kind} in python_admin.list_groups()
    assert told | {"group_type": kind} not in python_admin.list_groups(states_filter=["Empty"])
    found = python_admin.describe_groups([group])[group]
    if kind == "classic":
        assert (found["group_state"], found["protocol_data"]) == ("Stable", "range")
        assert [it["client_id"] for it in found["members"]] == ["rdkafka"]
    else:  # it knows DescribeGroups alone, which is for classic groups
        assert "GroupIdNotFoundError" in found["error"]


def python_offsets(client, group):
    return {it.partition: at.offset for it, at in client.list_group_offsets([group])[group].items()}


def test_kafka_python_changes_and_deletes_offsets_and_groups(python_admin, group):
    places = [TopicPartition(group, n) for n in range(PARTITIONS)]
    assert python_offsets(python_admin, group) == dict.fromkeys(range(PARTITIONS), 3)
    python_admin.alter_group_offsets(group, {places[1]: OffsetAndMetadata(1, "mine", -1)})
    assert python_offsets(python_admin, group) == {0: 3, 1: 1, 2: 3, 3: 3}
    python_admin.delete_group_offsets(group, places[:2])
    assert python_offsets(python_admin, group) == {2: 3, 3: 3}
    python_admin.delete_groups([group])
    assert group not in {it["group_id"] for it in python_admin.list_groups()}


def test_kafka_python_does_not_delete_what_is_subscribed_to(python_admin, group, member):
    place = TopicPartition(group, 0)
    [done] = python_admin.delete_group_offsets(group, [place]).values()
    assert done.__name__ == "GroupSubscribedToTopicError"
    assert python_offsets(python_admin, group)[0] == 3


def test_kafka_python_removes_a_static_member(python_admin, server, group):
    member = CLIENTS["confluent"](server.address, group, group, instance="one")
    polled([member], lambda: shared([member], PARTITIONS))
    member.close()  # it stays a member, as a static one does
    [there] = python_admin.describe_groups([group])[group]["members"]
    assert there["group_instance_id"] == "one"
    python_admin.remove_group_members(group, [MemberToRemove(group_instance_id="one")])
    assert python_admin.describe_groups([group])[group]["members"] == []
