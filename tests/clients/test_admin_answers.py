"""What tools ask of any cluster, byte by byte on a socket: the answer is a healthy node's."""

import pytest
from wire_client import WireClient

from logstore.kafka.messages import (
    create_partitions,
    create_topics,
    describe_topic_partitions,
    init_producer_id,
    metadata,
)

TOPIC_AUTHORIZATION_FAILED = 29
INVALID_TOPIC, EXISTS, INVALID_REQUEST, UNKNOWN_TOPIC = 17, 36, 42, 3


@pytest.fixture
def client(server):
    with WireClient(server.endpoint) as found:
        yield found


def make(client, *topics, only_check=False, version=7):
    """By name: (error code, the whole result)."""
    request = create_topics.Request(topics, 10_000, only_check)
    answer = client.ask(19, version, request, create_topics.Response)
    return {it.name: it for it in answer.topics}


def a_topic(name, partitions=-1, copies=-1, **settings):
    configs = [
        create_topics.CreatableTopicConfig(key.replace("_", "."), value)
        for key, value in settings.items()
    ]
    return create_topics.CreatableTopic(name, partitions, copies, configs=configs)


def shown(client, name, version=12):
    """What Metadata says of a topic that the client lets be made."""
    request = metadata.Request([metadata.Topic(name=name)], allow_auto_topic_creation=True)
    [found] = client.ask(3, version, request, metadata.Response).topics
    return found


@pytest.mark.parametrize("version", [5, 6, 7])
@pytest.mark.parametrize(
    ("partitions", "settings"),
    [(-1, {}), (3, {"retention_ms": "1000", "cleanup_policy": "compact"})],
)
def test_checking_a_new_topic_says_what_making_it_says(
    client, topic, version, partitions, settings
):
    asked = a_topic(f"{topic}-{version}-{partitions}", partitions, **settings)
    [checked] = make(client, asked, only_check=True, version=version).values()
    assert checked.topic_id == bytes(16)
    assert not shown_is_there(client, asked.name)
    [made] = make(client, asked, version=version).values()
    assert (made.error_code, made.replication_factor) == (0, 1)
    assert made.num_partitions == max(partitions, 1)
    assert {it.name: it.value for it in made.configs}["max.message.bytes"] == "1048588"
    made.topic_id = bytes(16)
    assert checked == made


def shown_is_there(client, name):
    request = metadata.Request(None)
    return name in {it.name for it in client.ask(3, 12, request, metadata.Response).topics}


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (a_topic("no name"), INVALID_TOPIC),
        (a_topic("taken"), EXISTS),
        (a_topic("x", 0), 37),
        (a_topic("x", 1_000_000), 37),
        (a_topic("x", 1, 3), 38),
        (a_topic("x", nope="1"), 40),
        (a_topic("x", retention_ms="soon"), 40),
        (a_topic("ta_ken.x"), INVALID_TOPIC),
    ],
)
def test_checking_a_bad_topic_says_what_making_it_says(client, bad, code):
    make(client, a_topic("taken"), a_topic("ta.ken_x"))
    [checked] = make(client, bad, only_check=True).values()
    [made] = make(client, bad).values()
    assert checked == made
    assert (made.error_code, made.configs) == (code, None)
    assert made.error_message


def test_more_partitions_are_checked_without_being_made(client, topic):
    make(client, a_topic(topic, 2))

    def grow(*counts, only_check):
        request = create_partitions.Request(
            [create_partitions.Topic(topic, count, None) for count in counts], 10_000, only_check
        )
        answer = client.ask(37, 3, request, create_partitions.Response)
        return [it.error_code for it in answer.results]

    for counts, codes in (((2,), [37]), ((1_000_000,), [37]), ((3, 4), [INVALID_REQUEST])):
        assert grow(*counts, only_check=True) == grow(*counts, only_check=False) == codes
    assert grow(5, only_check=True) == [0]
    assert len(shown(client, topic).partitions) == 2
    assert grow(5, only_check=False) == [0]
    assert len(shown(client, topic).partitions) == 5


@pytest.mark.parametrize(("first", "second"), [("a.b", "a_b"), ("c_d_e", "c.d_e"), ("f.", "f_")])
def test_two_topics_do_not_differ_in_dots_and_underscores_alone(client, first, second):
    [made] = make(client, a_topic(first)).values()
    assert made.error_code == 0
    for only_check in (True, False):
        [refused] = make(client, a_topic(second), only_check=only_check).values()
        assert (refused.error_code, refused.configs) == (INVALID_TOPIC, None)
        assert "collides" in refused.error_message
    assert shown(client, second).error_code == INVALID_TOPIC  # nor by asking for it
    assert not shown_is_there(client, second)
    for other in (f"{first}x", first.replace(".", "-").replace("_", "-"), first):
        assert shown(client, other).error_code == 0


INTERNAL = ["__consumer_offsets", "__transaction_state", "__share_group_state"]


@pytest.mark.parametrize("name", INTERNAL)
def test_a_topic_of_kafkas_own_is_not_made_by_asking_for_it(client, name):
    for version in (4, 9, 12, 13):
        assert shown(client, name, version).error_code == UNKNOWN_TOPIC
    assert not shown_is_there(client, name)
    assert shown(client, f"{name}_").error_code == 0


def test_the_topic_of_kafkas_metadata_can_not_be_created(client):
    told = make(client, a_topic("__cluster_metadata"))["__cluster_metadata"]
    assert told.error_code == TOPIC_AUTHORIZATION_FAILED
    assert not shown_is_there(client, "__cluster_metadata")


def test_an_answer_without_a_producer_id_has_no_epoch_either(client):
    request = init_producer_id.Request("transactional", 0)
    answer = client.ask(22, 4, request, init_producer_id.Response)
    assert answer.error_code != 0
    assert (answer.producer_id, answer.producer_epoch) == (-1, -1)


@pytest.mark.long
def test_a_topic_of_kafkas_own_that_somebody_made_is_called_internal(client):
    make(client, a_topic("__share_group_state"), a_topic("plain"))
    for name, internal in (("__share_group_state", True), ("plain", False)):
        assert shown(client, name).is_internal is internal
        request = describe_topic_partitions.Request([describe_topic_partitions.TopicRequest(name)])
        [found] = client.ask(75, 0, request, describe_topic_partitions.Response).topics
        assert found.is_internal is internal
