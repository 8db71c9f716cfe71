"""Topics of a real cluster: made and changed by us, or by others; read from the nearest broker."""

import itertools

import pytest
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from waiting import until

from logstore.clock import now_ms
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster_topics import ClusterTopics
from logstore.errors import InvalidSetting, LogFailed, RecordTooLarge, Refused, TopicExists

_numbers = itertools.count()


@pytest.fixture
def client(connect):
    return connect(direct=True)


@pytest.fixture
def topics(client):
    its = client.call(lambda: ClusterTopics(client.client, client.told, lambda: True, now_ms))
    client.told(client.client.begin_start)
    return its


def new_name():
    return f"made-{next(_numbers)}"


def alter(admin, topic, **texts):
    """By librdkafka."""
    changes = [
        ConfigEntry(name.replace("_", "."), text, incremental_operation=AlterConfigOpType.SET)
        for name, text in texts.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    [done] = admin.incremental_alter_configs([resource]).values()
    done.result()


def test_a_topic_is_made_grown_altered_and_deleted(cluster, client, topics):
    name = new_name()
    assert topics.check_new(name, None, {}) == 1
    topic = topics.create(name, 2, {"max.message.bytes": "5000", "min.insync.replicas": "2"})
    assert topics.by_uuid(topic.uuid) is topics.get(name) is topic
    for number in range(2):
        put = topic.append(b"x", partition=number)
        assert put.offset == 0
        assert client.read_all(topic.partition(number)) == [b"x"]
    with pytest.raises(RecordTooLarge):
        topic.append(b"x" * 6000)
    assert len(topics.grow(name, 3).partitions) == 3
    topics.alter(name, {"retention.ms": "7700"}, ["max.message.bytes"])
    assert topics.given(name) == {"retention.ms": "7700", "min.insync.replicas": "2"}
    topic.append(b"x" * 6000, partition=2)
    assert {it.name: it.value for it in topics.describe(name)}["retention.ms"] == 7700
    topics.delete(name)
    assert topics.get(name) is None
    until(lambda: cluster.any().metadata(name).topics[0].error_code)


def test_what_a_cluster_refuses_is_told_in_its_words(topics):
    name = new_name()
    topics.create(name, 1, {})
    with pytest.raises(TopicExists, match="already exists"):
        topics.create(name, 1, {})
    for asked in ({"retention.ms": "x"}, {"nothing.of.that.name": "1"}):
        with pytest.raises(InvalidSetting, match="can't be created: .*" + next(iter(asked))):
            topics.create(new_name(), 1, asked)
        with pytest.raises(InvalidSetting, match=next(iter(asked))):
            topics.alter(name, asked, ())
    with pytest.raises(Refused):
        topics.create(new_name(), 0, {})


def test_topics_that_others_make_grow_and_delete(client, topics, admin, make_topic):
    changes = []
    client.call(lambda: topics.tell(changes.append))
    name = make_topic(2)
    topic = topics.topic(name)

    def heard():  # of it: what tests before have made becomes known any time
        return [it.event for it in changes if it.topic.name == name]

    assert (len(topic.partitions), heard()) == (2, ["created"])
    log = topic.partition(0)
    [done] = admin.create_partitions([NewPartitions(name, 4)]).values()
    done.result()
    until(lambda: len(topic.partitions) == 4, lambda: client.call(client.client.catalogue.look))
    [done] = admin.delete_topics([name]).values()
    done.result()
    until(lambda: topics.get(name) is None, lambda: client.call(client.client.catalogue.look))
    assert heard() == ["created", "grown", "deleted"]
    with pytest.raises(LogFailed, match="its topic was deleted"):
        log.check_failure()


def test_a_topic_that_others_make_anew_is_another_one(client, topics, admin, make_topic):
    name = make_topic(1)
    topic = topics.topic(name)
    topic.append(b"before")
    before = topic.id
    [done] = admin.delete_topics([name]).values()
    done.result()
    make_topic(1, name)
    until(
        lambda: (it := topics.get(name)) is not None and it.id != before,
        lambda: client.call(client.client.catalogue.look),
    )
    now = topics.get(name)
    assert now.append(b"now").offset == 0
    assert client.read_all(now.partition(0)) == [b"now"]
    with pytest.raises(LogFailed):
        topic.append(b"lost")


def test_the_nodes_own_topics_are_as_they_should_be_until_somebody_alters_them(client, admin):
    it = OwnTopic(f"__logstore-{new_name()}", 4, {"cleanup.policy": "delete", "retention.ms": "-1"})
    own = client.call(lambda: OwnTopics(client.client, [it]))
    assert client.told(own.begin_check) == [f"topic {it.name}: it is not there"]
    client.told(own.begin_make)
    client.told(own.begin_make)
    assert client.told(own.begin_check) == []
    alter(admin, it.name, min_insync_replicas="1")
    until(
        lambda: (
            client.told(own.begin_check)
            == [f"topic {it.name}: min.insync.replicas is 1, should be 2"]
        )
    )


def test_a_client_reads_from_the_broker_of_its_rack(cluster, connect, make_topic):
    name = make_topic(1)
    near = cluster.follower(name).number
    client = connect(rack=f"rack-{near}")
    log = client.log(name)
    given = [b"%d" % it for it in range(20)]
    for value in given:
        client.append(log, value)
    until(lambda: client.call(lambda: client.fetcher._node_of((name, 0))) == near)
    client.until(log, lambda: log.safe == len(given))
    assert client.read_all(log) == given
    cluster.brokers[near].kill()
    for value in given:
        client.append(log, value)
    client.until(log, lambda: log.safe == 2 * len(given))
    assert client.call(lambda: client.fetcher._node_of((name, 0))) != near
