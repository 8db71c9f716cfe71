"""Every request in every version: answered in a form that kio reads, whatever is in it."""

import random

import pytest
from door_kit import Talk, a_batch
from every_request import a_request, check_answer
from transacting_talk import TransactingTalk, batch

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import (
    ALL,
    CLUSTER,
    CLUSTER_NAME,
    GROUP,
    OPERATIONS,
    TOPIC,
    TRANSACTIONAL_ID,
)
from logstore.errors import BrokenProtocol
from logstore.kafka.messages import (
    alter_configs,
    consumer_group_describe,
    create_partitions,
    create_topics,
    delete_records,
    describe_groups,
    incremental_alter_configs,
    metadata,
)
from logstore.kept.users import KeptAccess, KeptRule, KeptUser
from logstore.protocols.kafka.apis import APIS
from logstore.records.batch import Batch

pytestmark = pytest.mark.long

SCHEMAS = [
    (key, version)
    for key, api in APIS.items()
    if api.raw is None
    for version in range(api.low, api.high + 1)
]
EVERY = SCHEMAS + [(0, version) for version in range(3, 14)] + [(1, v) for v in range(4, 19)]


OF_TRANSACTIONS = [it for it in SCHEMAS if it[0] in (22, 24, 25, 26, 27, 28, 61, 65, 66)]


@pytest.mark.parametrize(("key", "version"), OF_TRANSACTIONS)
def test_any_request_about_transactions_is_answered_where_there_are_some(key, version):
    rng = random.Random(f"{key} {version}")
    talk = TransactingTalk()
    talk.topics.create("topic", 8, {})
    for name in ("topic", "Größe"):  # as names in requests are
        producer = talk.producer(name)
        assert talk.produce(("topic", 0, batch(producer)), name=name) == [0]
    for _ in range(20):
        talk.send(key, version, a_request(key, version, rng))
        talk.node.settle()
        [(_, body)] = talk.replies()
        check_answer(key, version, body)
    assert talk.session.closed is None


def a_talk(access=None):
    talk = Talk(access=access)
    for name, settings in (("topic", {}), ("other", {"cleanup.policy": "compact"})):
        for log in talk.topics.create(name, 2, settings).partitions:
            log.append(
                Batch(a_batch(b"a", key=b"k", producer_id=1, producer_epoch=0, base_sequence=0))
            )
    return talk


@pytest.mark.parametrize(("key", "version"), EVERY)
def test_any_request_is_answered_in_its_version(key, version):
    rng = random.Random(f"{key} {version}")
    talk = a_talk()
    for _ in range(10):
        asked = talk.send(key, version, a_request(key, version, rng))
        replies = talk.replies()
        if key == 0 and not replies:
            talk = a_talk() if talk.session.closed else talk  # acks=0
            continue
        [(correlation, body)] = replies
        assert correlation == asked
        check_answer(key, version, body)


def some_rights(rng):
    """Of ``al``: on any object, on some, on none."""
    kinds = [TOPIC, GROUP, TRANSACTIONAL_ID, CLUSTER]
    rules = [
        KeptRule(
            "al", rng.choice([*OPERATIONS, ALL]), kind,
            CLUSTER_NAME if kind == CLUSTER else rng.choice(["*", "topic", "none", "g"]),
            allow=rng.random() < 0.8,
        )
        for kind in rng.choices(kinds, k=rng.randrange(12))
    ]  # fmt: skip
    users = KeptUser("al"), KeptUser("root", tags=(ADMINISTRATOR,))
    return Access(Unkept(KeptAccess(users, rules)))


@pytest.mark.parametrize(("key", "version"), [it for it in EVERY if it[0] not in (17, 36)])
def test_any_request_of_who_has_some_rights_is_answered_in_its_version(key, version):
    rng = random.Random(f"{key} {version} rights")
    for _ in range(10):
        talk = a_talk(some_rights(rng))
        talk.session._login = None
        talk.session._client.become(Identity("al", "192.0.2.1", "PLAIN", "kafka"))
        asked = talk.send(key, version, a_request(key, version, rng))
        replies = talk.replies()
        if key == 0 and not replies:
            continue  # acks=0
        [(correlation, body)] = replies
        assert correlation == asked
        check_answer(key, version, body)


@pytest.mark.parametrize(("key", "version"), EVERY)
def test_a_broken_request_is_answered_or_ends_the_connection_and_nothing_else(key, version):
    seed = f"{key} {version} broken"
    rng = random.Random(seed)
    for _ in range(60):
        body = bytearray(a_request(key, version, rng))
        for _ in range(rng.randrange(1, 4)):
            how = rng.randrange(3)
            if how == 0 and body:
                body[rng.randrange(len(body))] = rng.randrange(256)
            elif how == 1:
                del body[rng.randrange(len(body) + 1) :]
            else:
                at = rng.randrange(len(body) + 1)
                body[at:at] = rng.randbytes(rng.randrange(9))
        talk = a_talk()
        try:
            talk.send(key, version, body)
            talk.pass_time(100_000_000)
            talk.replies()
        except BrokenProtocol as error:
            pytest.fail(f"{seed}: {error} came out of the session")
        if talk.session.closed is None:
            assert not talk.session.busy, seed


def test_random_bytes_end_the_connection_or_wait_for_more():
    rng = random.Random("random bytes")
    for _ in range(2000):
        talk = Talk()
        talk.feed(rng.randbytes(rng.randrange(1, 200)))
        assert talk.session.closed is not None or talk.session.wants or len(talk._left) < 4


def test_topics_that_clients_ask_for_are_made_a_hundred_at_a_time():
    talk = Talk()
    names = [f"t{n}" for n in range(150)]
    request = metadata.Request([metadata.Topic(name=name) for name in names])
    codes = [
        [it.error_code for it in talk.ask(3, 4, request, metadata.Response).topics]
        for _ in range(2)
    ]
    assert codes == [[0] * 100 + [5] * 50, [0] * 150]
    assert talk.topics.names() == sorted(names)


def test_a_group_that_is_named_often_is_described_once():
    talk = Talk()
    request = describe_groups.Request(["g", "h", "g"] * 100)
    answer = talk.ask(15, 5, request, describe_groups.Response)
    assert [it.group_id for it in answer.groups] == ["g", "h"]
    request = consumer_group_describe.Request(["g", "h", "g"] * 100)
    answer = talk.ask(69, 0, request, consumer_group_describe.Response)
    assert [it.group_id for it in answer.groups] == ["g", "h"]


@pytest.mark.parametrize(
    ("policy", "code", "low_watermark"),
    [("compact", 44, -1), ("delete", 0, 0), ("compact,delete", 0, 0)],
)
def test_records_of_a_topic_that_is_only_compacted_are_not_deleted(policy, code, low_watermark):
    talk = Talk()
    talk.topics.create("t", 1, {"cleanup.policy": policy})
    request = delete_records.Request([delete_records.Topic("t", [delete_records.Partition(0, -1)])])
    answer = talk.ask(21, 2, request, delete_records.Response)
    [partition] = answer.topics[0].partitions
    assert (partition.error_code, partition.low_watermark) == (code, low_watermark)


def test_a_setting_without_a_value_or_twice_is_refused():
    talk = Talk()
    talk.topics.create("t", 1, {"retention.ms": "5"})
    ms = "retention.ms"

    def made(*configs):
        topic = create_topics.CreatableTopic(
            "u", 1, 1, configs=[create_topics.CreatableTopicConfig(*it) for it in configs]
        )
        request = create_topics.Request([topic], 1000, True)
        return talk.ask(19, 5, request, create_topics.Response).topics[0].error_code

    def altered(*configs):
        resource = alter_configs.Resource(
            2, "t", [alter_configs.AlterableConfig(*it) for it in configs]
        )
        request = alter_configs.Request([resource])
        return talk.ask(33, 1, request, alter_configs.Response).responses[0].error_code

    def changed(*configs):
        changes = [incremental_alter_configs.AlterableConfig(*it) for it in configs]
        resource = incremental_alter_configs.AlterConfigsResource(2, "t", changes)
        request = incremental_alter_configs.Request([resource])
        answer = talk.ask(44, 1, request, incremental_alter_configs.Response)
        return answer.responses[0].error_code

    assert [made((ms, None)), made((ms, "1"), (ms, "2")), made((ms, "1"))] == [42, 42, 0]
    assert [altered((ms, None)), altered((ms, "1"), (ms, "2"))] == [42, 42]
    assert changed((ms, 0, "1"), (ms, 1, None)) == 42
    assert talk.topics.given("t") == {ms: "5"}
    assert (altered((ms, "6")), changed(("flush.ms", 0, "7"))) == (0, 0)
    assert talk.topics.given("t") == {ms: "6", "flush.ms": "7"}


def test_too_many_partitions_are_told_as_such():
    talk = Talk()
    talk.topics.create("t", 1, {})
    request = create_topics.Request([create_topics.CreatableTopic("u", 2**31 - 1, 1)], 1000, True)
    assert talk.ask(19, 5, request, create_topics.Response).topics[0].error_code == 37
    request = create_partitions.Request([create_partitions.Topic("t", 2**31 - 1, None)], 1000, True)
    assert talk.ask(37, 2, request, create_partitions.Response).results[0].error_code == 37
