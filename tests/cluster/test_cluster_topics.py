"""A cluster's topics as the doors see them, over our own Kafka door."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster.catalogue import BELIEVED_S
from logstore.cluster.settings_seen import AGAIN_S
from logstore.cluster_topics import ClusterTopics
from logstore.errors import (
    Failed,
    InvalidName,
    InvalidSetting,
    LogFailed,
    RecordTooLarge,
    Refused,
    TopicExists,
    UnknownPartition,
    UnknownTopic,
)
from logstore.records.decode import decode


@pytest.fixture
def node():
    return OneNode()


@pytest.fixture
def topics(node):
    node.may_wait = True
    its = ClusterTopics(node.client, node.wait_for, lambda: node.may_wait, lambda: NOW_MS)
    node.wait_for(node.client.begin_start)
    its.heard = []
    its.tell(lambda it: its.heard.append((it.event, it.topic.name, len(it.topic.partitions))))
    return its


def values(log):
    return [it.value for batch in log.read(log.start, 1 << 20) for it in decode(batch)]


def test_a_topic_is_made_grown_altered_and_deleted(node, topics):
    topic = topics.create("a", 2, {"max.message.bytes": "5000"})
    assert topic is topics.get("a") is topics.by_uuid(node.topics.get("a").uuid)
    assert (topic.id, len(topic.partitions)) == (node.topics.get("a").id, 2)
    assert topics.grow("a", 3) is topic
    assert topics.alter("a", {"retention.ms": "77"}, ["max.message.bytes"]) is topic
    assert node.topics.given("a") == {"retention.ms": "77"} == topics.given("a")
    topics.delete("a")
    assert (topics.get("a"), topics.names(), node.topics.names()) == (None, [], [])
    assert topics.heard == [
        ("created", "a", 2), ("grown", "a", 3), ("altered", "a", 3), ("deleted", "a", 3)
    ]  # fmt: skip


def test_what_is_appended_is_read(node, topics):
    topics.create("a", 2, {})
    position = topics.get("a").append(b"x", partition=1)
    assert (position.partition, position.offset) == (1, 0)
    assert values(node.topics.get("a").partition(1)) == [b"x"]
    node.pass_time(1)
    assert values(topics.get("a").partition(1)) == [b"x"]
    assert topics.offsets("a") == [None, (0, 1)]


def test_a_log_is_opened_without_waiting_in_the_loop(node, topics):
    topic = topics.create("a", 2, {})
    node.may_wait = False
    heard = []
    for _ in range(3):
        topics.begin_open("a", 1, heard.append)
    assert (heard, topic.at_hand(1)) == ([], None)
    node.pass_time(1)
    assert heard == [topic.at_hand(1)] * 3
    assert topic.partition(1) is heard[0]
    topics.begin_open("a", 2, heard.append)
    topics.begin_open("b", 0, heard.append)
    node.pass_time(1)
    assert [type(it) for it in heard[3:]] == [UnknownPartition, UnknownTopic]


def test_the_loop_finds_what_others_made_the_next_time(node, topics):
    node.may_wait = False
    node.topics.create("a", 1, {})
    assert topics.get("a") is None
    node.run()
    assert topics.get("a").name == "a"
    assert topics.heard == [("created", "a", 1)]
    node.topics.create("b", 1, {})
    node.may_wait = True
    assert topics.topic("b").name == "b"  # at once, where one may wait


def test_names_that_no_topic_has_are_not_asked_for(node, topics):
    before = sum(link._number for link, _, _ in node._ends)
    assert topics.get("no name") is None
    with pytest.raises(InvalidName):
        topics.topic("no name")
    assert sum(link._number for link, _, _ in node._ends) == before
    with pytest.raises(UnknownTopic, match="no topic 'b'"):
        topics.topic("b")


@pytest.mark.parametrize(
    ("do", "error", "text"),
    [
        (lambda it: it.create("a", 1, {}), TopicExists, "'a' already exists"),
        (lambda it: it.create("b c", 1, {}), InvalidName, "'b c'"),
        (lambda it: it.create("__queue.b", 1, {}), InvalidName, "reserved for queues"),
        (lambda it: it.create("__logstore-b", 1, {}), Refused, "the nodes' own"),
        (lambda it: it.create("b", 1, {"retention.ms": "x"}), InvalidSetting, "retention.ms"),
        (lambda it: it.create("b", 1, {"delivery.schedule": "true"}), Refused, "brokers of a clu"),
        (lambda it: it.create("b", 0, {}), Refused, "topic 'b' can't be created: "),
        (lambda it: it.grow("a", 2), Refused, "has 2 partitions"),
        (lambda it: it.grow("c", 2), UnknownTopic, "'c'"),
        (lambda it: it.alter("a", {"retention.ms": "-9"}, ()), InvalidSetting, "retention.ms"),
        (lambda it: it.alter("a", {}, ["retention.groups"]), Refused, "retention.groups"),
        (lambda it: it.alter("__logstore-b", {}, ()), Refused, "the nodes' own"),
        (lambda it: it.delete("c"), UnknownTopic, "'c'"),
        (lambda it: it.check_new("a", 1, {}), TopicExists, "'a'"),
        (lambda it: it.check_new("b", 1, {"retention.ms": "x"}), InvalidSetting, "retention.ms"),
        (lambda it: it.check_growth("a", 1), Refused, "has 2 partitions"),
        (lambda it: it.describe("c"), UnknownTopic, "settings of topic 'c' can't be read"),
        (lambda it: it.sizes("a"), Refused, "bytes on disk: that is the cluster's"),
        (lambda it: it.weights("a"), Failed, "bytes on disk: that is the cluster's"),
        (lambda it: it.segments("a", 0, 1), Failed, "segments: that is the cluster's"),
        (lambda it: it.space(), Failed, "space on disk: that is the cluster's"),
        (lambda it: it.new_producer_id(), Failed, "that is the cluster's"),
        (lambda it: it.knows_producer(1), Failed, "that is the cluster's"),
        (lambda it: it.schedules.listed("a", None, 1), Refused, "that is the cluster's"),
        (lambda it: it.schedules.cancel("a", 0, 1), Refused, "that is the cluster's"),
    ],
)
def test_what_can_not_be_is_told_in_one_line(topics, do, error, text):
    topics.create("a", 2, {})
    with pytest.raises(error) as told:
        do(topics)
    assert type(told.value) is error
    assert text in str(told.value)
    assert "\n" not in str(told.value)


def test_a_topic_that_is_kept_single_does_not_grow(topics):
    topics.create("a", 1, {})
    topics.keep_single("a", "it is a stream")
    with pytest.raises(Refused, match="must keep one partition: it is a stream"):
        topics.grow("a", 2)
    topics.keep_single("a", None)
    assert len(topics.grow("a", 2).partitions) == 2


def test_settings_that_others_give_are_kept_to(node, topics):
    node.topics.create("a", 1, {"max.message.bytes": "100"})
    topic = topics.get("a")
    with pytest.raises(RecordTooLarge):
        topic.append(b"x" * 200)
    node.topics.alter("a", {"max.message.bytes": "1000"}, ())
    node.pass_time(AGAIN_S + 1)
    assert topics.heard[-1] == ("altered", "a", 1)
    topic.append(b"x" * 200)
    node.pass_time(AGAIN_S + 1)
    assert [it[0] for it in topics.heard] == ["created", "altered"]
    chosen = {it.name: it for it in topics.describe("a")}
    assert (chosen["max.message.bytes"].value, chosen["max.message.bytes"].source) == (
        1000, "topic",
    )  # fmt: skip
    assert chosen["retention.ms"].source == "default"


def test_who_uses_a_topic_that_others_delete_is_told(node, topics):
    topic = topics.create("a", 1, {})
    log = topic.partition(0)
    woken = []
    log.watch(lambda: woken.append(True))
    node.topics.delete("a")
    node.pass_time(70)
    assert topics.get("a") is None
    assert woken
    with pytest.raises(LogFailed, match="a-0: its topic was deleted"):
        log.check_failure()
    with pytest.raises(LogFailed, match="a-0: its topic was deleted"):
        topic.append(b"x")


def test_a_topic_made_anew_is_another_one():
    node = OneNode(transactions=True)
    node.may_wait = True
    topics = ClusterTopics(node.client, node.wait_for, lambda: node.may_wait, lambda: NOW_MS)
    node.wait_for(node.client.begin_start)
    before = topics.create("a", 1, {})
    before.append(b"before")
    node.topics.delete("a")
    node.topics.create("a", 1, {})
    node.pass_time(70)
    now = topics.get("a")
    assert (now is before, now.id == before.id) == (False, False)
    assert topics.by_uuid(before.uuid) is None
    assert now.append(b"now").offset == 0


def test_a_topic_that_was_deleted_here_stays_so(node, topics):
    """Also after the time for which other brokers may show it still."""
    topics.create("a", 1, {}).append(b"x")
    topics.delete("a")
    node.pass_time(BELIEVED_S + 1)
    topics.create("b", 1, {}).append(b"x")
    node.pass_time(1)
    assert topics.names() == ["b"]
    assert topics.heard == [("created", "a", 1), ("deleted", "a", 1), ("created", "b", 1)]


@pytest.mark.parametrize("seconds", [0, 0.05, 1])
def test_nothing_is_remembered_of_topics_that_are_gone(node, topics, seconds):
    """Each would be asked for every second, for ever; with some of them a node opens it still."""
    node.may_wait = False
    for name in ("a", "b", "c"):
        node.topics.create(name, 1, {})
        topics.begin_open(name, 0, lambda _: None)
        node.pass_time(seconds)
        topics.begin_delete(name, lambda _: None)
        node.pass_time(0.5)
    node.pass_time(60)
    brokers = node.brokers
    assert (topics.names(), topics.used(), brokers._wanted) == ([], [], set())
    assert (brokers.view.topics, brokers.view.missing) == ({}, set())


@pytest.mark.parametrize("used", [True, False])
def test_settings_that_are_told_of_a_topic_after_its_end_are_not_kept(node, topics, used):
    """They would be asked for again and again, and be taken for those of the next of its name."""
    topic = topics.create("a", 1, {"max.message.bytes": "5000"})
    if used:
        topic.partition(0)
    node.held = True
    topics._seen.look(["a"], lambda: None)
    node.run()
    node.client.catalogue.deleted("a")
    node.held = False
    node.pass_time(1)
    assert topics._seen._told == {}


def test_a_log_that_has_failed_is_opened_anew(node, topics):
    topic = topics.create("a", 1, {})
    log = topic.partition(0)
    log._fail(LogFailed("a-0: the cluster refuses what is appended, error 10"))
    assert topic.at_hand(0) is None
    assert topic.partition(0) is not log
    assert topic.append(b"x").offset == 0


def test_settings_are_asked_for_again_where_a_leader_has_refused_a_record(node, topics):
    topic = topics.create("a", 1, {})
    topic.append(b"x")
    node.topics.alter("a", {"max.message.bytes": "100"}, ())
    with pytest.raises(LogFailed, match="a-0: the cluster refuses what is appended, error 10"):
        topic.append(b"x" * 200)
    topic.partition(0)
    with pytest.raises(RecordTooLarge):
        topic.append(b"x" * 200)
    assert topic.append(b"y").offset == 1


def test_nobody_waits_for_a_topic_that_goes_while_it_is_opened(node, topics):
    topics.create("a", 1, {})
    heard = []
    node.may_wait = False
    topics.begin_open("a", 0, heard.append)
    node.client.catalogue.deleted("a")
    [error] = heard
    assert "its topic was deleted" in str(error)
    node.pass_time(1)
    assert len(heard) == 1


def test_it_closes(node, topics):
    log = topics.create("a", 1, {}).partition(0)
    topics.close()
    node.client.close()
    with pytest.raises(LogFailed, match="this process is stopping"):
        log.check_failure()
    links = len(node._ends)
    node.pass_time(2 * AGAIN_S)
    assert len(node._ends) <= links
