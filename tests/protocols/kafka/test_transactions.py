"""What producers of transactions are told, by the version that they ask in.

``tests/broker/transactions`` has the states alone; here are the codes, and what becomes of a
request. The numbers T1 to T31 are of cases that other servers have got wrong.
"""

import pytest
from transacting_talk import (
    JAVA_4,
    NAME,
    TV1,
    TV2,
    TransactingTalk,
    Transactions,
    batch,
    markers,
)
from transaction_parts import LAST

from logstore.broker.transactions.operations import encode_known, known_key
from logstore.broker.transactions.state import State
from logstore.broker.transactions.transactional_id import NO_PID, Producer
from logstore.errors import CoordinatorLoading, Failed, FencedProducer, TransactionAbortable
from logstore.kafka.messages import add_partitions_to_txn as add_messages
from logstore.kafka.messages import end_txn as end_messages
from logstore.kafka.messages import init_producer_id as init_messages
from logstore.protocols.kafka.errors import coordinator_code
from logstore.records.control import ABORT, COMMIT

NONE, UNKNOWN_TOPIC, LOADING, NOT_AVAILABLE, INVALID_REQUEST = 0, 3, 14, 15, 42
OLD_EPOCH, INVALID_STATE, UNKNOWN_PID, BAD_TIMEOUT, CONCURRENT = 47, 48, 49, 50, 51
NOT_ATTEMPTED, FENCED, ABORTABLE = 55, 90, 120
TOO_LONG = "n" * 1025


@pytest.fixture
def talk():
    talk = TransactingTalk()
    talk.topics.create("t", 2, {})
    return talk


def ongoing(talk):
    """A producer with a transaction that has a record."""
    producer = talk.producer()
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    return producer


def ended(talk, *, committed=True, version=TV2):
    """A producer that has ended one; as it was before that."""
    producer = ongoing(talk)
    assert talk.end(producer, committed, version)[0] == NONE
    return producer


# InitProducerId


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize(
    ("error", "code"),
    [(None, NONE), (CoordinatorLoading("for long"), LOADING), (Failed("broken"), NOT_AVAILABLE)],
    ids=["read", "read for long", "broken"],
)
def test_a_producer_waits_until_transactions_are_read(talk, version, error, code):
    """A client that is to ask again does so a second later."""
    talk.transactions.error = CoordinatorLoading("not yet")
    request = init_messages.Request(NAME, 60_000, -1, -1)
    talk.say(22, version, request)
    assert talk.replies() == []
    talk.transactions.read(error)
    answer = talk.answer(22, version, init_messages.Response)
    assert (answer.error_code, answer.producer_epoch) == (code, 0 if code == NONE else -1)


@pytest.mark.parametrize("version", range(6))
def test_a_new_id_has_epoch_0_and_each_other_producer_the_next(talk, version):
    first, second = (talk.initialize(version=version) for _ in range(2))
    assert (first.error_code, first.producer_epoch) == (NONE, 0)
    assert (second.error_code, second.producer_epoch) == (NONE, 1)
    assert second.producer_id == first.producer_id


def test_it_is_not_answered_before_the_journal_has_it(talk):
    talk.say(22, 4, init_messages.Request(NAME, 60_000))
    talk.node.turn()
    assert talk.replies() == []
    assert talk.answer(22, 4, init_messages.Response).error_code == NONE


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize(
    ("name", "timeout_ms", "code"),
    [
        ("", 60_000, INVALID_REQUEST),
        (TOO_LONG, 60_000, INVALID_REQUEST),
        (NAME, 0, BAD_TIMEOUT),
        (NAME, -1, BAD_TIMEOUT),
        (NAME, 900_001, BAD_TIMEOUT),
    ],
)
def test_what_no_producer_can_be_made_of(talk, version, name, timeout_ms, code):
    it = talk.initialize(name, version, timeout_ms=timeout_ms)
    assert (it.error_code, it.producer_id, it.producer_epoch) == (code, -1, -1)
    assert talk.state(name) is None


def test_a_producer_that_asks_for_its_next_epoch_is_answered_twice_the_same(talk):
    pid, epoch = talk.producer()
    for _ in range(2):
        it = talk.initialize(producer=(pid, epoch))
        assert (it.error_code, it.producer_id, it.producer_epoch) == (NONE, pid, epoch + 1)


@pytest.mark.parametrize("producer", [(7, -1), (-1, 7)])
def test_half_a_producer_is_an_invalid_request(talk, producer):
    talk.producer()
    assert talk.initialize(producer=producer).error_code == INVALID_REQUEST


@pytest.mark.parametrize(("version", "code"), [(3, OLD_EPOCH), (4, FENCED), (5, FENCED)])
def test_a_fenced_producer_that_asks_for_an_epoch_is_told_so_by_version(talk, version, code):
    producer = talk.producer()
    talk.producer()
    talk.producer()
    assert talk.initialize(version=version, producer=producer).error_code == code


def test_while_another_is_being_made_the_id_is_concurrent(talk):
    other = TransactingTalk(beside=talk)
    talk.say(22, 4, init_messages.Request(NAME, 60_000))
    other.say(22, 4, init_messages.Request(NAME, 60_000))
    [(_, body)] = other.replies()
    assert other.read(22, 4, init_messages.Response, body).error_code == CONCURRENT
    assert talk.answer(22, 4, init_messages.Response).producer_epoch == 0


def test_t19_an_open_transaction_is_aborted_before_the_answer_and_epochs_never_go_back(talk):
    producer = ongoing(talk)
    it = talk.initialize()
    assert (it.error_code, it.producer_id) == (NONE, producer.pid)
    assert it.producer_epoch > producer.epoch + 1  # that one was the marker's
    assert talk.open_in() == []
    assert markers(talk.log()) == [ABORT]
    assert talk.produce(("t", 0, batch(producer, 1))) == [OLD_EPOCH]


def at_the_last_epoch(talk):
    pid, _ = talk.producer()
    it = talk.node.table.get(NAME)._replace(epoch=LAST)
    talk.node.table._entries[NAME].it = it
    talk.node.telling.tell(known_key(NAME), encode_known(it), lambda _: None)
    talk.node.settle()
    return Producer(pid, LAST)


def test_t18_the_last_epoch_is_followed_by_another_producer_id_and_a_retry_gets_the_same(talk):
    producer = at_the_last_epoch(talk)
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    code, pid, epoch = talk.end(producer, committed=True)
    assert (code, epoch) == (NONE, 0)
    assert pid != producer.pid
    assert talk.end(producer, committed=True) == (NONE, pid, 0)
    again = TransactingTalk(before=talk)
    assert again.end(producer, committed=True) == (NONE, pid, 0)
    assert again.produce(("t", 0, batch((pid, 0)))) == [NONE]
    assert markers(again.log()) == [COMMIT]


def test_t18_a_timeout_at_the_last_epoch(talk):
    producer = at_the_last_epoch(talk)
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    talk.node.pass_time(60_001)
    talk.node.settle()
    assert markers(talk.log()) == [ABORT]
    assert talk.end(producer, committed=True)[0] == INVALID_STATE  # it was aborted
    code, pid, epoch = talk.end(producer, committed=False)
    assert (code, epoch) == (NONE, 0)
    assert pid != producer.pid


def test_t18_where_no_producer_id_is_to_be_had_a_timeout_is_tried_again(talk, monkeypatch):
    producer = at_the_last_epoch(talk)
    assert talk.produce(("t", 0, batch(producer))) == [NONE]

    def none_left():
        raise Failed("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(talk.node, "pids", none_left)
        talk.node.pass_time(60_001)
    talk.node.settle()
    assert talk.state() is State.ONGOING
    talk.node.pass_time(1000)
    talk.node.settle()
    assert talk.state() is State.COMPLETE_ABORT


def test_t21_a_zombie_of_an_expired_id_gets_no_fresh_producer(talk):
    producer = ended(talk)
    _, pid, epoch = talk.end(producer, committed=True)
    day_ms = 86_400_000
    talk.node.ms += 8 * day_ms
    talk.node.coordinator.expire(7 * day_ms)
    talk.node.settle()
    zombie = Producer(pid, epoch)
    assert talk.produce(("t", 0, batch(zombie))) == [UNKNOWN_PID]
    assert talk.end(zombie, committed=True)[0] == UNKNOWN_PID
    it = talk.initialize()
    assert (it.error_code, it.producer_epoch) == (NONE, 0)
    assert it.producer_id != pid
    assert talk.produce(("t", 0, batch((it.producer_id, 0)))) == [NONE]


# AddPartitionsToTxn, AddOffsetsToTxn


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added_and_added_again(talk, version):
    producer = talk.producer()
    places = [("t", (0, 1))]
    for _ in range(2):
        assert set(talk.add(producer, places, version).values()) == {NONE}
    assert talk.state() is State.ONGOING


@pytest.mark.parametrize("version", range(4))
def test_one_unknown_topic_keeps_all_others_from_being_added(talk, version):
    producer = talk.producer()
    places = [("t", (0, 1, 2, -1)), ("gone", (0,)), ("t", ())]
    assert talk.add(producer, places, version) == {
        ("t", 0): NOT_ATTEMPTED, ("t", 1): NOT_ATTEMPTED, ("t", 2): UNKNOWN_TOPIC,
        ("t", -1): UNKNOWN_TOPIC, ("gone", 0): UNKNOWN_TOPIC,
    }  # fmt: skip
    assert talk.state() is State.EMPTY


def every_partition(talk, producer, version, name=NAME):
    return set(talk.add(producer, [("t", (0, 1))], version, name).values())


def a_group(talk, producer, version, name=NAME):
    return {talk.add_group(producer, version, name)}


ADDED = pytest.mark.parametrize(
    ("add", "version"),
    [(every_partition, it) for it in range(4)] + [(a_group, it) for it in range(5)],
)


@ADDED
def test_what_can_not_be_added(talk, add, version):
    producer = talk.producer()
    pid, epoch = producer
    fenced = FENCED if version >= 2 else OLD_EPOCH  # T28
    assert add(talk, producer, version, "") == {INVALID_REQUEST}
    assert add(talk, producer, version, TOO_LONG) == {INVALID_REQUEST}
    assert add(talk, producer, version, "unknown") == {UNKNOWN_PID}
    assert add(talk, (pid + 1, epoch), version) == {UNKNOWN_PID}
    assert add(talk, (-1, -1), version) == {UNKNOWN_PID}
    assert add(talk, (pid, epoch + 1), version) == {fenced}
    newer = talk.producer()
    assert add(talk, producer, version) == {fenced}
    assert talk.state() is State.EMPTY
    assert add(talk, newer, version) == {NONE}
    assert talk.state() is State.ONGOING


@ADDED
def test_while_a_transaction_is_ended_nothing_is_added(talk, add, version):
    producer = ongoing(talk)
    other = TransactingTalk(beside=talk)
    other.say(26, TV1, end_messages.Request(NAME, *producer, True))
    newest = TransactingTalk(beside=talk)
    newest.node.settle = lambda: None  # nothing is synced
    assert add(newest, producer, version) == {CONCURRENT}


@ADDED
def test_while_transactions_are_being_read_the_same_is_to_be_asked_again(talk, add, version):
    producer = talk.producer()
    talk.transactions.error = CoordinatorLoading("not yet")
    assert add(talk, producer, version) == {LOADING}
    talk.transactions.error = Failed("broken")
    assert add(talk, producer, version) == {NOT_AVAILABLE}


def of_nodes(talk, version, *transactions):
    answer = talk.told(24, version, add_messages.Request(list(transactions)), add_messages.Response)
    assert answer.error_code == NONE
    return [
        {(topic.name, it.partition_index): it.partition_error_code
         for topic in of.topic_results for it in topic.results_by_partition}
        for of in answer.results_by_transaction
    ]  # fmt: skip


def a_transaction(producer, topic="t", partitions=(0, 1), name=NAME, *, verify=False):
    return add_messages.Transaction(
        name, *producer, verify, [add_messages.Topic(topic, partitions)]
    )


@pytest.mark.parametrize(("version", "missing"), [(4, INVALID_STATE), (5, ABORTABLE)])
def test_another_node_verifies_and_nothing_begins(talk, version, missing):
    producer = talk.producer()
    asked = a_transaction(producer, verify=True)
    [codes] = of_nodes(talk, version, asked)
    assert set(codes.values()) == {missing}
    assert talk.state() is State.EMPTY
    talk.add(producer)
    fenced = a_transaction((producer.pid, 7), verify=True)
    unknown = a_transaction(producer, name="unknown", verify=True)
    nowhere = a_transaction(producer, "gone", verify=True)
    found = [set(it.values()) for it in of_nodes(talk, version, asked, fenced, unknown, nowhere)]
    assert found == [{NONE}, {FENCED}, {UNKNOWN_PID}, {UNKNOWN_TOPIC}]


@pytest.mark.parametrize("version", [4, 5])
def test_another_node_adds_for_many_transactions_each_by_itself(talk, version):
    first, second = talk.producer(), talk.producer("other")
    found = of_nodes(
        talk, version, a_transaction(first), a_transaction(second, partitions=[1, 2], name="other")
    )
    assert found == [
        {("t", 0): NONE, ("t", 1): NONE}, {("t", 1): NOT_ATTEMPTED, ("t", 2): UNKNOWN_TOPIC}
    ]  # fmt: skip
    assert (talk.state(), talk.state("other")) == (State.ONGOING, State.EMPTY)


def test_another_nodes_connection_takes_no_clients_place(talk):
    producer = talk.producer()
    node = TransactingTalk(beside=talk)
    assert of_nodes(node, 5, a_transaction(producer)) == [{("t", 0): NONE, ("t", 1): NONE}]
    assert talk.add(producer) == {("t", 0): NONE}


# EndTxn


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize(("committed", "outcome"), [(True, COMMIT), (False, ABORT)])
def test_the_end_is_answered_once_it_is_safe_and_marked(talk, version, committed, outcome):
    pid, epoch = producer = ongoing(talk)
    talk.say(26, version, end_messages.Request(NAME, pid, epoch, committed))
    talk.node.turn()
    assert talk.replies() == []
    answer = talk.answer(26, version, end_messages.Response)
    assert answer.error_code == NONE
    assert markers(talk.log()) == [outcome]
    assert talk.open_in() == []
    if version == TV2:
        assert (answer.producer_id, answer.producer_epoch) == (pid, epoch + 1)
    else:
        assert talk.end(producer, committed, version)[0] == NONE  # again


PF, ITS, EB, OK = "fenced", "invalid state", "another epoch", "as it is"
SAID = {FENCED: PF, INVALID_STATE: ITS}
# (state before, whether the epoch is the one before, committed) -> what is answered
TABLE = [
    ("empty", True, False, PF), ("empty", False, False, EB),
    ("empty", True, True, PF), ("empty", False, True, ITS),
    ("aborted", True, False, OK), ("aborted", False, False, EB),
    ("aborted", True, True, ITS), ("aborted", False, True, ITS),
    ("committed", True, False, ITS), ("committed", False, False, EB),
    ("committed", True, True, OK), ("committed", False, True, ITS),
    ("ongoing", True, False, PF), ("ongoing", False, False, EB),
    ("ongoing", True, True, PF), ("ongoing", False, True, EB),
]  # fmt: skip


def in_state(talk, state):
    """The producer that there is now; all have epochs before."""
    talk.producer()
    if state == "empty":
        return talk.producer()
    if state == "ongoing":
        return ongoing(talk)
    _, pid, epoch = talk.end(ongoing(talk), committed=state == "committed")
    return Producer(pid, epoch)


@pytest.mark.parametrize(("state", "before", "committed", "expected"), TABLE)
def test_t20_the_table_of_version_5(talk, state, before, committed, expected):
    pid, epoch = in_state(talk, state)
    code, told_pid, told_epoch = talk.end((pid, epoch - before), committed)
    if expected in (PF, ITS):
        assert (SAID[code], told_pid, told_epoch) == (expected, -1, -1)
        assert talk.node.table.get(NAME).producer == (pid, epoch)
    else:
        assert (code, told_pid, told_epoch) == (NONE, pid, epoch + (expected == EB))


@pytest.mark.parametrize(
    ("version", "epoch", "committed", "code"),
    [
        (TV2, 0, True, CONCURRENT), (TV2, 0, False, INVALID_STATE), (TV2, 1, True, FENCED),
        (TV1, 1, True, CONCURRENT), (TV1, 1, False, INVALID_STATE), (TV1, 0, True, FENCED),
        (1, 0, True, OLD_EPOCH),
    ],
)  # fmt: skip
def test_the_end_of_one_that_is_being_ended(talk, version, epoch, committed, code):
    producer = ongoing(talk)
    talk.say(26, TV2, end_messages.Request(NAME, *producer, True))
    # Before the journal has it that is told whatever is asked.
    other = TransactingTalk(beside=talk)
    other.node.settle = lambda: None
    assert other.end((producer.pid, epoch), committed, version)[0] == CONCURRENT
    del other.node.settle
    talk.log().full = True  # the marker can't be written
    talk.node.settle()
    assert talk.state() is State.PREPARE_COMMIT
    assert other.end((producer.pid, epoch), committed, version)[0] == code


@pytest.mark.parametrize("version", range(5))
def test_the_table_of_the_versions_before(talk, version):
    fenced = FENCED if version >= 2 else OLD_EPOCH  # T28
    pid, epoch = producer = talk.producer()
    assert talk.end(producer, committed=True, version=version)[0] == INVALID_STATE
    assert talk.end(producer, committed=False, version=version)[0] == INVALID_STATE
    assert talk.end((pid, epoch + 1), committed=True, version=version)[0] == fenced
    assert talk.end((pid + 1, epoch), committed=True, version=version)[0] == UNKNOWN_PID
    assert talk.end(producer, committed=True, version=version, name="unknown")[0] == UNKNOWN_PID
    assert talk.end(producer, committed=True, version=version, name="")[0] == INVALID_REQUEST
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    assert talk.end((pid, epoch - 1), committed=True, version=version)[0] != NONE
    assert talk.open_in() == [pid]
    assert talk.end(producer, committed=True, version=version)[0] == NONE
    assert talk.end(producer, committed=False, version=version)[0] == INVALID_STATE
    assert talk.end(producer, committed=True, version=version)[0] == NONE


def test_t20_each_end_has_its_epoch_also_of_what_was_never_begun(talk):
    producer = talk.producer()
    for expected in range(1, 4):
        code, pid, epoch = talk.end(producer, committed=False)
        assert (code, pid, epoch) == (NONE, producer.pid, expected)
        producer = Producer(pid, epoch)
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    assert talk.end(producer, committed=True) == (NONE, producer.pid, 4)


def test_after_a_timeout_an_abort_recovers_the_producer_and_a_commit_does_not(talk):
    pid, epoch = producer = ongoing(talk)
    talk.node.pass_time(60_001)
    talk.node.settle()
    assert talk.end(producer, committed=True)[0] == INVALID_STATE
    assert talk.end(producer, committed=False) == (NONE, pid, epoch + 1)
    assert talk.end(producer, committed=True, version=TV1)[0] == FENCED


@pytest.mark.parametrize("version", range(6))
def test_a_commit_of_what_is_not_safe_is_told_as_the_version_knows_it(talk, version):
    producer = talk.producer()
    talk.say_produce(("t", 0, batch(producer)))
    talk.say(26, version, end_messages.Request(NAME, *producer, True))
    talk.log().fail()
    talk.node.turn()
    [_, (_, body)] = talk.replies()
    answer = talk.read(26, version, end_messages.Response, body)
    assert answer.error_code == (ABORTABLE if version >= 4 else INVALID_STATE)
    assert talk.state() is State.ONGOING


def test_t17_a_full_journal_spends_no_epoch_and_the_end_is_tried_again(talk):
    producer = ongoing(talk)
    talk.node.journal.full = True
    assert talk.end(producer, committed=True)[0] == NOT_AVAILABLE
    talk.node.journal.full = False
    assert talk.end(producer, committed=True) == (NONE, producer.pid, producer.epoch + 1)


def test_t16_a_topic_that_is_deleted_keeps_no_transaction_from_being_committed(talk):
    talk.topics.create("gone", 1, {})
    producer = talk.producer()
    assert talk.produce(("t", 0, batch(producer)), ("gone", 0, batch(producer))) == [NONE, NONE]
    talk.topics.delete("gone")
    talk.topics.create("gone", 1, {})
    assert talk.end(producer, committed=True)[0] == NONE
    assert markers(talk.log()) == [COMMIT]
    assert talk.log("gone").end == 0
    assert talk.state() is State.COMPLETE_COMMIT


@pytest.mark.parametrize("version", range(2))
def test_t28_no_client_that_does_not_know_it_is_told_that_it_is_fenced(talk, version):
    producer = ongoing(talk)
    talk.producer()
    codes = [
        talk.initialize(version=3, producer=producer).error_code,
        *talk.add(producer, version=version).values(),
        talk.add_group(producer, version),
        talk.end(producer, committed=True, version=version)[0],
        *talk.produce(("t", 0, batch(producer, 1)), version=JAVA_4),
    ]
    assert set(codes) == {OLD_EPOCH}


@pytest.mark.parametrize(
    ("error", "knows", "code"),
    [
        (FencedProducer("x"), (True, True), FENCED),
        (FencedProducer("x"), (False, True), OLD_EPOCH),
        (TransactionAbortable("x"), (True, True), ABORTABLE),
        (TransactionAbortable("x"), (True, False), INVALID_STATE),
        (Failed("x"), (True, True), NOT_AVAILABLE),
    ],
)
def test_codes_by_what_a_version_knows(error, knows, code):
    fenced, abortable = knows
    assert coordinator_code(error, knows_fenced=fenced, knows_abortable=abortable) == code


# Connections


def test_t1_a_late_end_by_an_older_connection_leaves_the_next_transaction_alone(talk):
    producer = ongoing(talk)
    late, newer = talk, TransactingTalk(beside=talk)
    assert newer.end(producer, committed=True, version=TV1)[0] == NONE
    assert newer.add(producer) == {("t", 0): NONE}
    assert newer.produce(("t", 0, batch(producer, 1))) == [NONE]
    assert late.end(producer, committed=False, version=TV1) is None
    assert "a newer connection" in late.session.closed
    assert talk.open_in() == [producer.pid]
    assert newer.end(producer, committed=True, version=TV1)[0] == NONE
    assert markers(talk.log()) == [COMMIT, COMMIT]


def test_t1_with_epochs_that_rise_a_late_end_is_fenced(talk):
    late, newer = TransactingTalk(beside=talk), TransactingTalk(beside=talk)
    producer = talk.producer()
    assert newer.produce(("t", 0, batch(producer))) == [NONE]
    _, *following = newer.end(producer, committed=True)
    assert newer.produce(("t", 0, batch(following))) == [NONE]
    newest = TransactingTalk(beside=talk)
    assert newest.end(producer, committed=False)[0] == FENCED
    assert late.end(producer, committed=False) is None
    assert talk.open_in() == [producer.pid]


@pytest.mark.parametrize("request_of", ["initialize", "add", "add_group", "end"])
def test_t1_every_request_to_the_coordinator_counts_and_the_older_connection_is_ended(
    talk, request_of
):
    producer = talk.producer()
    newer = TransactingTalk(beside=talk)
    newer.add(producer)
    said = {
        "initialize": lambda it: it.initialize(),
        "add": lambda it: it.add(producer),
        "add_group": lambda it: it.add_group(producer),
        "end": lambda it: it.end(producer, committed=True, version=TV1),
    }[request_of]
    assert said(talk) is None
    assert talk.session.closed
    newest = TransactingTalk(beside=talk)
    assert said(newest) is not None


def test_t1_batches_come_by_whatever_connection(talk):
    producer = talk.producer()
    newer = TransactingTalk(beside=talk)
    newer.add(producer)
    assert talk.produce(("t", 0, batch(producer)), version=JAVA_4) == [NONE]


def test_t31_another_connection_commits_after_a_kill(talk):
    pid, epoch = producer = ongoing(talk)
    again = TransactingTalk(before=talk)
    assert again.open_in() == [pid]
    assert again.end(producer, committed=True, version=TV1)[0] == NONE
    assert markers(again.log()) == [COMMIT]
    assert again.end(producer, committed=True, version=TV1)[0] == NONE  # the epoch is the same
    assert again.end((pid, epoch - 1), committed=True, version=TV1)[0] in (FENCED, UNKNOWN_PID)


def test_t31_a_commit_that_is_made_again_by_a_client_that_raises_epochs(talk):
    pid, epoch = producer = ongoing(talk)
    again = TransactingTalk(before=talk)
    for _ in range(2):
        assert again.end(producer, committed=True) == (NONE, pid, epoch + 1)
    assert again.end(producer, committed=True, version=TV1)[0] == FENCED


def test_t31_produced_by_a_client_that_raises_epochs_and_ended_by_one_that_does_not(talk):
    producer = talk.producer()
    assert talk.produce(("t", 0, batch(producer)), version=JAVA_4) == [NONE]
    assert talk.end(producer, committed=True, version=TV1)[0] == NONE
    assert talk.produce(("t", 0, batch(producer, 1)), version=JAVA_4) == [NONE]
    assert talk.end(producer, committed=False, version=TV1)[0] == NONE
    assert markers(talk.log()) == [COMMIT, ABORT]


def test_a_kill_between_adding_and_producing_ends_no_client(talk):
    producer = talk.producer()
    assert talk.add(producer) == {("t", 0): NONE}
    again = TransactingTalk(before=talk)
    assert again.produce(("t", 0, batch(producer)), version=10) == [NONE]
    assert again.end(producer, committed=True, version=TV1)[0] == NONE
    assert markers(again.log()) == [COMMIT]


def test_no_transactions_no_producers():
    talk = TransactingTalk()
    talk.transactions.error = Failed("this process has no transactions")
    it = talk.initialize()
    assert (it.error_code, it.producer_id) == (NOT_AVAILABLE, NO_PID)
    assert Transactions(talk.node).opened is talk.node.coordinator
