"""What a topic's name stands for, topics that may not be seen, operations as bits."""

import pytest
from door_kit import Talk, a_batch, produce_body, produced
from fetch_kit import MIB, answer, asking

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import (
    ALL,
    ALTER,
    CHANNEL,
    CLUSTER,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    QUEUE,
    READ,
    TOPIC,
    WRITE,
)
from logstore.kafka import produce_codec
from logstore.kafka.messages import (
    create_topics,
    delete_topics,
    describe_cluster,
    describe_groups,
    init_producer_id,
    metadata,
)
from logstore.kept.users import KeptAccess, KeptRule, KeptUser
from logstore.protocols.kafka.objects import Objects
from logstore.records.batch import Batch

NOT_ALLOWED, UNKNOWN, UNKNOWN_ID, NO_CLUSTER = 29, 3, 100, 31
USERS = (KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al"))
NOT_ASKED, NIL = -(2**31), bytes(16)


def a_talk(*rules, user="al"):
    """``rules``: operation, kind, name."""
    access = Access(Unkept(KeptAccess(USERS, [KeptRule("al", *it) for it in rules])))
    talk = Talk(access=access)
    object.__setattr__(talk.door, "objects", Objects(lambda name: name.startswith("news")))
    talk.session._login = None
    talk.session._client.become(Identity(user, "192.0.2.1", "PLAIN", "kafka"))
    return talk


def code_of_a_fetch(talk, name):
    talk.send(1, 11, asking(11, [(name, 0, 0, MIB)]))
    [topic] = answer(talk, 11)["responses"]
    return topic["partitions"][0]["error_code"]


def code_of_a_produce(talk, name):
    talk.send(0, 8, produce_body(name, a_batch(b"v")))
    [(_, body)] = talk.replies()
    return produced(body, name)[0]


def described(talk, *names, version=12, ids=(), **more):
    topics = [metadata.Topic(name=it) for it in names]
    topics += [metadata.Topic(topic_id=it) for it in ids]
    request = metadata.Request(topics if names or ids else None, **more)
    return talk.ask(3, version, request, metadata.Response)


# What a name stands for


@pytest.mark.parametrize(
    ("name", "kind", "of"),
    [
        ("news", CHANNEL, "news"), ("news.sport", CHANNEL, "news.sport"),
        ("orders", TOPIC, "orders"), ("__queue", TOPIC, "__queue"),
        ("__queue.mail", QUEUE, "mail"),
    ],
)  # fmt: skip
def test_an_object_is_asked_for_by_what_it_is_whatever_the_door(name, kind, of):
    for other in (TOPIC, CHANNEL, QUEUE):
        talk = a_talk((ALL, other, of))
        talk.topics.create(name, 1, {})
        expected = 0 if other == kind else NOT_ALLOWED
        assert code_of_a_produce(talk, name) == expected
        assert code_of_a_fetch(talk, name) == expected
        assert [it.error_code for it in described(talk, name).topics] == [expected]
        assert len(described(talk).topics) == (other == kind)


def test_names_that_no_topic_can_have_are_not_remembered():
    objects = Objects(lambda name: True)
    assert objects.of_topic("x" * 30_000) == (TOPIC, "x" * 30_000)
    assert objects._known == {}


def test_names_that_clients_make_up_do_not_fill_the_memory():
    objects = Objects()
    for number in range(20_000):
        assert objects.of_topic(f"t{number}") == (TOPIC, f"t{number}")
    assert len(objects._known) <= 10_000


# What may not be seen


def test_a_topic_that_may_not_be_seen_may_or_may_not_be_there():
    talk = a_talk((READ, TOPIC, "mine"))
    talk.topics.create("t", 1, {})
    for name in ("t", "none"):
        assert code_of_a_produce(talk, name) == NOT_ALLOWED
        assert code_of_a_fetch(talk, name) == NOT_ALLOWED
        [found] = described(talk, name).topics
        assert (found.error_code, found.name, found.topic_id) == (NOT_ALLOWED, name, NIL)
        assert (found.is_internal, found.partitions) == (False, [])
        request = delete_topics.Request([delete_topics.DeleteTopicState(name)])
        [gone] = talk.ask(20, 6, request, delete_topics.Response).responses
        assert (gone.error_code, gone.name, gone.topic_id) == (NOT_ALLOWED, name, NIL)
    assert code_of_a_fetch(talk, "mine") == UNKNOWN


def test_a_topic_asked_for_by_its_id_tells_no_name_to_who_may_not_see_it():
    talk = a_talk((READ, GROUP, "g"))
    topic_id = talk.topics.create("t", 1, {}).uuid
    found = described(talk, ids=[topic_id, b"x" * 16]).topics
    assert [(it.error_code, it.name) for it in found] == [(NOT_ALLOWED, None), (UNKNOWN_ID, None)]
    request = delete_topics.Request([delete_topics.DeleteTopicState(None, topic_id)])
    [gone] = talk.ask(20, 6, request, delete_topics.Response).responses
    assert (gone.error_code, gone.name) == (NOT_ALLOWED, None)
    talk = a_talk((DESCRIBE, TOPIC, "t"))
    talk.topics.create("t", 1, {})
    [gone] = talk.ask(20, 6, request, delete_topics.Response).responses
    assert (gone.error_code, gone.name) == (NOT_ALLOWED, "t")


def test_topics_are_not_made_by_asking_for_them_without_the_right():
    talk = a_talk((DESCRIBE, TOPIC, "*"))
    [found] = described(talk, "new").topics
    assert found.error_code == NOT_ALLOWED
    assert talk.topics.names() == []
    talk = a_talk((CREATE, CLUSTER, CLUSTER_NAME))  # that does not let it see them
    assert described(talk, "new").topics[0].error_code == NOT_ALLOWED
    assert talk.topics.names() == []
    for right in ((CREATE, CLUSTER, CLUSTER_NAME), (CREATE, TOPIC, "new")):
        talk = a_talk((DESCRIBE, TOPIC, "*"), right)
        assert described(talk, "new").topics[0].error_code == 0
        assert talk.topics.names() == ["new"]


def test_the_settings_of_a_new_topic_are_told_to_who_may_see_them():
    request = create_topics.Request([create_topics.CreatableTopic("new", 1, 1)])
    [made] = a_talk((CREATE, TOPIC, "new")).ask(19, 7, request, create_topics.Response).topics
    assert (made.error_code, made.topic_config_error_code, made.configs) == (0, NOT_ALLOWED, [])
    assert (made.num_partitions, made.replication_factor) == (-1, -1)
    talk = a_talk((CREATE, TOPIC, "new"), (DESCRIBE_CONFIGS, TOPIC, "new"))
    [made] = talk.ask(19, 7, request, create_topics.Response).topics
    assert (made.error_code, made.topic_config_error_code) == (0, 0)
    assert made.configs


@pytest.mark.parametrize("kind", [TOPIC, CHANNEL, QUEUE])
def test_an_idempotent_producer_needs_one_topic_that_it_may_write_to(kind):
    request = init_producer_id.Request(None, 1000)
    talk = a_talk((WRITE, kind, "mine"))
    assert talk.ask(22, 4, request, init_producer_id.Response).error_code == 0
    talk = a_talk((READ, kind, "mine"))
    refused = talk.ask(22, 4, request, init_producer_id.Response)
    assert (refused.error_code, refused.producer_id, refused.producer_epoch) == (NO_CLUSTER, -1, -1)


# What it costs


@pytest.fixture
def asked(monkeypatch):
    """The topics whose rights are asked for."""
    found = []
    of_topic = Objects.of_topic

    def noted(self, name):
        found.append(name)
        return of_topic(self, name)

    monkeypatch.setattr(Objects, "of_topic", noted)
    return found


def test_a_fetch_asks_once_for_a_topic_however_many_partitions_it_reads(asked):
    talk = a_talk((READ, TOPIC, "*"))
    for name in ("t", "u"):
        talk.topics.create(name, 50, {})
    places = [(name, number, 0, MIB) for name in ("t", "u") for number in range(50)]
    talk.send(1, 11, asking(11, places, wait_ms=1000))
    assert asked == ["t", "u"]
    talk.topics.get("t").partitions[7].append(Batch(a_batch(b"v")))
    talk.session.wake(talk.now)
    assert len(answer(talk, 11)["responses"]) == 2
    assert asked == ["t", "u"]


def test_a_produce_asks_once_for_a_topic_however_many_partitions_it_writes(asked):
    talk = a_talk((WRITE, TOPIC, "*"))
    talk.topics.create("t", 50, {})
    parts = [produce_codec.Part(number, memoryview(a_batch(b"v"))) for number in range(50)]
    request = produce_codec.ProduceRequest(None, -1, 1000, [("t", parts)])
    talk.send(0, 8, b"".join(produce_codec.write_request(8, request)))
    [(_, body)] = talk.replies()
    [(_, written)] = produce_codec.read_response(8, memoryview(body), 0).topics
    assert {it.error_code for it in written} == {0}
    assert asked == ["t"]


# Operations as bits (KIP-430)


def bits(*numbers):
    return sum(1 << number for number in numbers)


def test_a_client_is_told_what_it_may_do():
    talk = a_talk(
        (READ, TOPIC, "t"), (ALTER, TOPIC, "t"), (ALL, TOPIC, "u"), (DELETE, GROUP, "g"),
        (DESCRIBE, CLUSTER, CLUSTER_NAME), (CREATE, CLUSTER, CLUSTER_NAME),
    )  # fmt: skip
    for name in ("t", "u"):
        talk.topics.create(name, 1, {})
    more = {"include_topic_authorized_operations": True}
    more["include_cluster_authorized_operations"] = True
    found = described(talk, version=8, **more)
    assert {it.name: it.topic_authorized_operations for it in found.topics} == {
        "t": bits(3, 7, 8),
        "u": bits(*range(3, 9), 10, 11),
    }
    assert found.cluster_authorized_operations == bits(5, 8)
    [group] = talk.ask(15, 5, describe_groups.Request(["g"], True), describe_groups.Response).groups
    assert group.authorized_operations == bits(6, 8)


def test_whoever_may_not_see_the_cluster_is_told_of_no_operations():
    for asked, told in ((True, 0), (False, NOT_ASKED)):
        talk = a_talk((CREATE, CLUSTER, CLUSTER_NAME))
        request = describe_cluster.Request(asked)
        answered = talk.ask(60, 1, request, describe_cluster.Response)
        assert answered.cluster_authorized_operations == told


def test_a_super_user_may_do_all_that_can_be_done():
    talk = a_talk(user="root")
    talk.topics.create("t", 1, {})
    more = {"include_topic_authorized_operations": True}
    more["include_cluster_authorized_operations"] = True
    found = described(talk, "t", version=8, **more)
    assert found.topics[0].topic_authorized_operations == bits(*range(3, 9), 10, 11)
    assert found.cluster_authorized_operations == bits(5, *range(7, 13))


def test_a_queue_that_goes_by_its_number_is_known_by_its_name():
    queues = {}
    objects = Objects(numbered=queues.get)
    assert objects.of_topic("__queue.id.7") == (QUEUE, "id.7")
    queues["__queue.id.7"] = "host:two words"
    assert objects.of_topic("__queue.id.7") == (QUEUE, "host:two words")
