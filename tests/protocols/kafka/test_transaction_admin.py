"""What administrators see of transactions, and how they end them."""

import pytest
from clock import NOW_MS
from door_kit import Talk
from transacting_talk import NAME, TransactingTalk, batch, markers

from logstore.access.access import Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import ALTER, CLUSTER, CLUSTER_ACTION, CLUSTER_NAME
from logstore.broker.transactions.state import State
from logstore.errors import CoordinatorLoading
from logstore.kafka.messages import (
    api_versions,
    describe_transactions,
    end_txn,
    find_coordinator,
    list_transactions,
    update_features,
    write_txn_markers,
)
from logstore.kept.users import KeptAccess, KeptRule, KeptUser
from logstore.records.control import ABORT, COMMIT

NONE, UNKNOWN_TOPIC, LOADING, NO_RIGHT, INVALID_REQUEST = 0, 3, 14, 31, 42
OLD_EPOCH, INVALID_STATE, UNKNOWN_PID, CONCURRENT = 47, 48, 49, 51
FENCED, INVALID_UPDATE, NOT_FOUND, NO_PATTERN = 90, 95, 105, 128


@pytest.fixture
def talk():
    talk = TransactingTalk()
    for name in ("t", "u"):
        talk.topics.create(name, 3, {})
    return talk


def describe(talk, *names):
    request = describe_transactions.Request(list(names))
    answer = talk.told(65, 0, request, describe_transactions.Response)
    return answer.transaction_states


# DescribeTransactions


def test_a_transaction_is_described_with_the_partitions_that_it_has_written_to(talk):
    producer = talk.producer()
    talk.add(producer, [("t", (0, 1)), ("u", (2,))])
    [it] = describe(talk, NAME)
    assert (it.error_code, it.transaction_state, it.topics) == (NONE, "Ongoing", [])
    talk.produce(("t", 1, batch(producer)), ("u", 2, batch(producer)), ("t", 0, batch(producer)))
    [it] = describe(talk, NAME)
    assert {topic.topic: topic.partitions for topic in it.topics} == {"t": [0, 1], "u": [2]}
    assert (it.producer_id, it.producer_epoch) == producer
    assert (it.transaction_timeout_ms, it.transaction_start_time_ms) == (60_000, NOW_MS)
    talk.topics.delete("u")
    [it] = describe(talk, NAME)
    assert [topic.topic for topic in it.topics] == ["t"]


def test_an_id_without_an_open_transaction_is_described(talk):
    producer = talk.producer()
    [it] = describe(talk, NAME)
    assert (it.transaction_state, it.transaction_start_time_ms, it.topics) == ("Empty", -1, [])
    talk.produce(("t", 0, batch(producer)))
    talk.end(producer, committed=True)
    [it] = describe(talk, NAME)
    assert (it.transaction_state, it.producer_epoch, it.topics) == ("CompleteCommit", 1, [])


def test_an_id_that_there_is_not_is_told_once(talk):
    talk.producer()
    found = describe(talk, "a", NAME, "a", "")
    assert [(it.transactional_id, it.error_code) for it in found] == [
        ("a", NOT_FOUND), (NAME, NONE), ("", NOT_FOUND)
    ]  # fmt: skip
    talk.transactions.error = CoordinatorLoading("not yet")
    assert [it.error_code for it in describe(talk, "a", NAME)] == [LOADING, LOADING]


# ListTransactions


def listed(talk, version=2, **facts):
    request = list_transactions.Request(**facts)
    answer = talk.told(66, version, request, list_transactions.Response)
    assert answer.error_code == NONE
    return {it.transactional_id for it in answer.transaction_states}


@pytest.fixture
def three(talk):
    """One that is open for 5 s, one that has committed, one that has done nothing."""
    first, second = talk.producer("copier-1"), talk.producer("copier-2")
    talk.producer("mover")
    talk.produce(("t", 0, batch(first)), name="copier-1")
    talk.produce(("t", 0, batch(second)), name="copier-2")
    talk.end(second, committed=True, name="copier-2")
    talk.clock_ms += 5000
    return first, second


@pytest.mark.parametrize("version", range(3))
def test_ids_are_listed_with_their_states(talk, three, version):
    answer = talk.told(66, version, list_transactions.Request(), list_transactions.Response)
    assert {(it.transactional_id, it.transaction_state) for it in answer.transaction_states} == {
        ("copier-1", "Ongoing"), ("copier-2", "CompleteCommit"), ("mover", "Empty")
    }  # fmt: skip


def test_filters(talk, three):
    _, second = three
    assert listed(talk, state_filters=["Ongoing", "Empty"]) == {"copier-1", "mover"}
    assert listed(talk, producer_id_filters=[second.pid]) == {"copier-2"}
    assert listed(talk, duration_filter=4999) == {"copier-1"}
    assert listed(talk, duration_filter=5000) == set()
    assert listed(talk, transactional_id_pattern="copier-.") == {"copier-1", "copier-2"}
    assert listed(talk, transactional_id_pattern="copier") == set()
    everything = {"copier-1", "copier-2", "mover"}
    assert listed(talk, transactional_id_pattern="") == everything
    assert listed(talk, version=1, transactional_id_pattern="no version for it") == everything
    assert listed(talk, version=0, duration_filter=5000) == everything


def test_states_that_nobody_knows_are_told(talk, three):
    request = list_transactions.Request(["Gone"])
    answer = talk.told(66, 0, request, list_transactions.Response)
    assert (answer.unknown_state_filters, answer.transaction_states) == (["Gone"], [])


@pytest.mark.parametrize("pattern", ["(", "(?=x)", "a" * 5000])
def test_a_pattern_that_is_none(talk, three, pattern):
    request = list_transactions.Request(transactional_id_pattern=pattern)
    answer = talk.told(66, 2, request, list_transactions.Response)
    assert (answer.error_code, answer.transaction_states) == (NO_PATTERN, [])


def test_while_transactions_are_being_read_none_is_listed(talk):
    talk.transactions.error = CoordinatorLoading("not yet")
    answer = talk.told(66, 2, list_transactions.Request(), list_transactions.Response)
    assert answer.error_code == LOADING


# WriteTxnMarkers


def a_marker(producer, *places, committed=False):
    topics = [write_txn_markers.Topic(name, list(numbers)) for name, numbers in places]
    return write_txn_markers.Marker(*producer, committed, topics)


def write(talk, *asked, version=2):
    """The codes, by topic and partition, of each marker."""
    request = write_txn_markers.Request(list(asked))
    answer = talk.told(27, version, request, write_txn_markers.Response)
    assert [it.producer_id for it in answer.markers] == [it.producer_id for it in asked]
    return [
        {(topic.name, it.partition_index): it.error_code
         for topic in of.topics for it in topic.partitions}
        for of in answer.markers
    ]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_t29_one_partition_is_named_and_all_of_the_transaction_is_aborted(talk, version):
    producer = talk.producer()
    talk.produce(("t", 0, batch(producer)), ("u", 1, batch(producer)))
    admin = TransactingTalk(beside=talk)
    assert write(admin, a_marker(producer, ("t", (0,))), version=version) == [{("t", 0): NONE}]
    assert [markers(talk.log(*it)) for it in (("t", 0), ("u", 1))] == [[ABORT], [ABORT]]
    assert talk.state() is State.COMPLETE_ABORT
    assert talk.produce(("u", 1, batch(producer, 1))) == [OLD_EPOCH]
    assert talk.end(producer, committed=True)[0] == INVALID_STATE
    assert talk.end(producer, committed=True, version=4)[0] == FENCED
    assert write(admin, a_marker(producer, ("t", (0,)))) == [{("t", 0): OLD_EPOCH}]


def test_it_is_answered_once_the_markers_stand(talk):
    producer = talk.producer()
    talk.produce(("t", 0, batch(producer)))
    talk.say(27, 2, write_txn_markers.Request([a_marker(producer, ("t", (0,)))]))
    talk.node.turn()
    assert talk.replies() == []
    assert talk.answer(27, 2, write_txn_markers.Response) is not None
    assert markers(talk.log()) == [ABORT]


def test_t29_a_commit_is_nobody_elses_to_ask_for(talk):
    producer = talk.producer()
    talk.produce(("t", 0, batch(producer)))
    asked = a_marker(producer, ("t", (0,)), committed=True)
    assert write(talk, asked) == [{("t", 0): INVALID_REQUEST}]
    assert talk.state() is State.ONGOING


def test_what_is_not_aborted(talk):
    producer = talk.producer()
    talk.produce(("t", 0, batch(producer)))
    pid, epoch = producer
    found = write(
        talk,
        a_marker((pid + 1, 0), ("t", (0,))),
        a_marker((pid, epoch - 1), ("t", (0,))),
        a_marker(producer, ("t", (1, 7)), ("gone", (0,))),  # nothing is open there
        a_marker(producer),
    )
    assert found == [
        {("t", 0): UNKNOWN_PID}, {("t", 0): OLD_EPOCH},
        {("t", 1): NONE, ("t", 7): UNKNOWN_TOPIC, ("gone", 0): UNKNOWN_TOPIC}, {},
    ]  # fmt: skip
    assert talk.state() is State.ONGOING


def test_several_markers_of_one_transaction_abort_it_once(talk):
    producer, other = talk.producer(), talk.producer("other")
    talk.produce(("t", 0, batch(producer)), ("u", 0, batch(producer)))
    talk.produce(("t", 0, batch(other)), name="other")
    found = write(
        talk, a_marker(producer, ("t", (0,))), a_marker(producer, ("u", (0,))),
        a_marker(other, ("t", (0,))),
    )  # fmt: skip
    assert found == [{("t", 0): NONE}, {("u", 0): NONE}, {("t", 0): NONE}]
    assert [it.epoch for it in talk.node.table.ids()] == [1, 1]
    assert markers(talk.log("u")) == [ABORT]


def test_one_that_is_being_committed_is_not_aborted(talk):
    producer = talk.producer()
    talk.produce(("t", 0, batch(producer)))
    other = TransactingTalk(beside=talk)
    other.say(26, 4, end_txn.Request(NAME, *producer, True))
    talk.node.turn()
    assert write(talk, a_marker(producer, ("t", (0,)))) == [{("t", 0): CONCURRENT}]
    assert markers(talk.log()) == [COMMIT]


@pytest.mark.parametrize(
    ("rules", "code"),
    [((), NO_RIGHT), ((ALTER,), UNKNOWN_PID), ((CLUSTER_ACTION,), UNKNOWN_PID)],
)
def test_t29_who_may_not_is_told_so(rules, code):
    kept = [KeptRule("al", it, CLUSTER, CLUSTER_NAME) for it in rules]
    access = Access(Unkept(KeptAccess((KeptUser("al"),), kept)))
    talk = TransactingTalk(access=access)
    talk.session._login = None
    talk.session._client.become(Identity("al", "192.0.2.1", "PLAIN", "kafka"))
    talk.topics.create("t", 1, {})
    found = write(talk, a_marker((5, 0), ("t", (0, 1)), ("gone", (0,))))
    assert {it for codes in found for it in codes.values()} == ({code} | ({3} if rules else set()))


# What clients are told of it


@pytest.mark.parametrize("version", range(5))
def test_the_feature_is_finalized_and_told_to_who_can_read_it(version):
    answer = Talk().ask(18, version, api_versions.Request("x", "1"), api_versions.Response)
    told = [(it.name, it.min_version, it.max_version) for it in answer.supported_features]
    assert (("transaction.version", 2, 2) in told) is (version >= 3)
    finalized = [
        (it.name, it.min_version_level, it.max_version_level) for it in answer.finalized_features
    ]
    assert finalized == told
    assert answer.finalized_features_epoch == (0 if version >= 3 else -1)
    served = {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys}
    ranges = {22: (0, 5), 24: (0, 5), 25: (0, 4), 26: (0, 5), 27: (1, 2), 65: (0, 0), 66: (0, 2)}
    assert {key: served[key] for key in ranges} == ranges


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize(
    ("feature", "level", "code"),
    [
        ("transaction.version", 2, NONE),
        ("transaction.version", 1, INVALID_UPDATE),
        ("transaction.version", 0, INVALID_UPDATE),
        ("transaction.version", 3, INVALID_UPDATE),
        ("metadata.version", 1, INVALID_UPDATE),
    ],
)
def test_the_feature_stays_at_its_level(version, feature, level, code):
    update = update_features.FeatureUpdateKey(feature, level)
    request = update_features.Request(feature_updates=[update])
    answer = Talk().ask(57, version, request, update_features.Response)
    if version < 2:
        assert [it.error_code for it in answer.results] == [code]
        assert answer.error_code == NONE
    else:
        assert answer.error_code == code
        assert (feature in (answer.error_message or "")) is (code != NONE)


@pytest.mark.parametrize("version", range(1, 7))
@pytest.mark.parametrize(("key_type", "code"), [(0, NONE), (1, NONE), (2, INVALID_REQUEST)])
def test_who_coordinates(version, key_type, code):
    request = find_coordinator.Request("x", key_type, ["x"])
    answer = Talk().ask(10, version, request, find_coordinator.Response)
    found = answer.coordinators[0] if version >= 4 else answer
    assert (found.error_code, found.node_id) == (code, 1)
