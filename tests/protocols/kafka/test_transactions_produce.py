"""Batches of transactions: what lets them in, when they are asked about again, and the codes."""

import struct
from collections import deque

import pytest
from door_kit import a_batch, produce_body
from transacting_talk import (
    JAVA_3,
    JAVA_4,
    LIBRDKAFKA,
    NAME,
    TransactingTalk,
    batch,
    markers,
)

from logstore.broker import admission
from logstore.broker.transactions.state import State
from logstore.errors import CoordinatorLoading, Failed
from logstore.kafka.messages import end_txn as end_messages
from logstore.protocols.kafka import produce as produce_module
from logstore.records.control import ABORT, COMMIT, marker

UNKNOWN_TOPIC = 3
NONE, TOO_FEW, INVALID_REQUEST, OUT_OF_ORDER, OLD_EPOCH = 0, 19, 42, 45, 47
INVALID_STATE, UNKNOWN_PID, CONCURRENT, NOT_ALLOWED, STORAGE = 48, 49, 51, 53, 56
INVALID_RECORD, ABORTABLE = 87, 120
VERSIONS = [LIBRDKAFKA, JAVA_3, JAVA_4, 13]


class Worker:
    """Has what it is given done when a test says."""

    def __init__(self):
        self.jobs = deque()

    def __call__(self, job, done):
        self.jobs.append((job, done))

    def work(self):
        while self.jobs:
            job, done = self.jobs.popleft()
            done(job())


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
def talk(worker):
    talk = TransactingTalk(work=worker)
    talk.topics.create("t", 2, {})
    return talk


@pytest.fixture
def producer(talk):
    return talk.producer()


# What lets a batch in


@pytest.mark.parametrize(
    ("version", "code"), [(3, 48), (LIBRDKAFKA, 48), (JAVA_3, ABORTABLE), (JAVA_4, NONE), (13, 0)]
)
def test_a_batch_without_an_open_transaction_by_version(talk, producer, version, code):
    assert talk.produce(("t", 0, batch(producer)), version=version) == [code]
    assert talk.open_in() == ([] if code else [producer.pid])
    assert talk.state() is (State.EMPTY if code else State.ONGOING)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_of_a_transaction_that_was_begun(talk, producer, version):
    talk.add(producer)
    for number in range(2):
        assert talk.produce(("t", 0, batch(producer, number)), version=version) == [NONE]
    assert talk.open_in() == [producer.pid]
    assert talk.log().stable == 0
    assert talk.end(producer, committed=True)[0] == NONE
    assert talk.log().stable == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_told_of_a_producer_that_is_not_the_one_of_its_id(talk, producer, version):
    pid, epoch = producer
    talk.add(producer)
    told = [
        talk.produce(("t", 0, batch((pid + 7, epoch))), version=version),
        talk.produce(("t", 0, batch((pid, epoch + 1))), version=version),
        talk.produce(("t", 0, batch(producer)), version=version, name="unknown"),
        talk.produce(("t", 0, batch(producer)), version=version, name=""),
    ]
    assert told == [[UNKNOWN_PID], [OLD_EPOCH], [UNKNOWN_PID], [INVALID_REQUEST]]
    talk.producer()
    assert talk.produce(("t", 0, batch(producer)), version=version) == [OLD_EPOCH]
    assert talk.log().end == 0


@pytest.mark.parametrize(
    ("version", "code"), [(LIBRDKAFKA, TOO_FEW), (JAVA_3, TOO_FEW), (JAVA_4, CONCURRENT)]
)
def test_a_batch_while_its_transaction_is_ended(talk, producer, version, code):
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    other = TransactingTalk(beside=talk)
    other.say(26, 4, end_messages.Request(NAME, *producer, True))
    talk.node.turn()
    assert talk.produce(("t", 0, batch(producer, 1)), version=version) == [code]
    assert talk.log().end == 2
    assert markers(talk.log()) == [COMMIT]


@pytest.mark.parametrize("version", VERSIONS)
def test_while_transactions_are_being_read_a_batch_is_to_come_again(talk, producer, version):
    talk.transactions.error = CoordinatorLoading("not yet")
    assert talk.produce(("t", 0, batch(producer)), version=version) == [TOO_FEW]
    talk.transactions.error = Failed("broken")
    assert talk.produce(("t", 0, batch(producer)), version=version) == [STORAGE]


def test_more_than_one_producer_in_a_request_is_told_of_all_of_it(talk, producer):
    other = talk.producer("other")
    batches = [("t", 0, batch(producer)), ("t", 1, batch(other))]
    assert talk.produce(*batches) == [UNKNOWN_PID] * 2
    assert talk.produce(("t", 0, batch(producer)), ("t", 1, b"short")) == [NONE, 2]
    plain = a_batch(b"x", producer_id=other.pid, producer_epoch=0, base_sequence=0)
    assert talk.produce(("t", 0, batch(producer, 1)), ("t", 1, plain)) == [NONE, NONE]


def test_a_batch_of_a_transaction_in_a_request_without_an_id(talk, producer):
    talk.add(producer)
    assert talk.produce(("t", 0, batch(producer)), name=None) == [NOT_ALLOWED]
    assert talk.log().end == 0


def test_a_batch_of_a_transaction_without_a_producer(talk, producer):
    assert talk.produce(("t", 0, batch((-1, -1)))) == [UNKNOWN_PID]
    assert talk.log().end == 0


@pytest.mark.parametrize("name", [NAME, None])
def test_a_plain_batch_of_a_producer_with_an_open_transaction_there(talk, producer, name):
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    plain = batch(producer, 1, transactional=False)
    assert talk.produce(("t", 0, plain), name=name) == [INVALID_STATE]
    elsewhere = batch(producer, 0, transactional=False)
    assert talk.produce(("t", 1, elsewhere), name=name) == [NONE]
    assert talk.end(producer, committed=True, version=4)[0] == NONE
    assert talk.produce(("t", 0, plain), name=name) == [NONE]


def test_an_old_epoch_of_a_plain_batch(talk, producer):
    newer = talk.producer()
    assert talk.produce(("t", 0, batch(newer))) == [NONE]
    assert talk.produce(("t", 0, batch(producer, transactional=False)), name=None) == [OLD_EPOCH]


def test_t22_a_first_batch_that_is_not_the_first_by_version(talk, producer):
    talk.add(producer)
    assert talk.produce(("t", 0, batch(producer, 5)), version=JAVA_4) == [OUT_OF_ORDER]
    assert talk.produce(("t", 0, batch(producer, 5)), version=JAVA_3) == [NONE]


def test_a_batch_that_comes_twice_stands_there_once(talk, producer):
    for _ in range(2):
        assert talk.produce(("t", 0, batch(producer))) == [NONE]
    assert talk.log().end == 1


@pytest.mark.parametrize(
    "settings", [{"compression.type": "gzip"}, {"message.timestamp.type": "LogAppendTime"}]
)
def test_a_batch_that_its_topic_changes_stays_one_of_its_transaction(talk, worker, settings):
    talk.topics.create("changes", 1, settings)
    producer = talk.producer()
    talk.say_produce(("changes", 0, batch(producer, records=3)))
    worker.work()
    assert talk.produced() == [NONE]
    [stored] = talk.log("changes").read(0, 1 << 20)
    assert stored.is_transactional
    assert (stored.producer_id, stored.producer_epoch) == producer
    assert talk.open_in("changes") == [producer.pid]


def test_a_batch_whose_topic_is_deleted_while_it_waits(talk, producer, worker, monkeypatch):
    monkeypatch.setattr(admission, "GLANCE_BYTES_MAX", 1)
    talk.say_produce(("t", 0, batch(producer)))
    talk.topics.delete("t")
    worker.work()
    assert talk.produced() == [UNKNOWN_TOPIC]
    assert talk.end(producer, committed=True)[0] == NONE


def test_t29_a_marker_as_a_batch_is_refused(talk, producer):
    talk.add(producer)
    forged = bytes(marker(COMMIT, *producer, 0).data)
    assert talk.produce(("t", 0, forged)) == [INVALID_RECORD]
    assert talk.log().end == 0


def test_a_topic_that_keeps_repeats_out_takes_none(talk, producer):
    talk.topics.create("once", 1, {"deduplication.header": "id"})
    assert talk.produce(("once", 0, batch(producer))) == [INVALID_RECORD]
    assert talk.state() is State.EMPTY


def test_acks_0_with_a_batch_that_is_not_let_in_ends_the_connection(talk, producer):
    talk.say_produce(("t", 0, batch(producer)), version=LIBRDKAFKA, acks=0)
    assert talk.replies() == []
    assert "acks=0" in talk.session.closed


# T2: a batch that is late


def test_t2_a_batch_after_the_abort_opens_nothing(talk, producer):
    assert talk.produce(("t", 0, batch(producer))) == [NONE]
    assert talk.end(producer, committed=False, version=4)[0] == NONE
    for version, code in ((LIBRDKAFKA, INVALID_STATE), (JAVA_3, ABORTABLE)):
        assert talk.produce(("t", 0, batch(producer, 1)), version=version) == [code]
    assert talk.open_in() == []
    assert talk.log().stable == talk.log().end == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ends", ["by its producer", "by another", "by time"])
def test_t2_a_batch_that_was_with_a_worker_when_its_transaction_ended(
    talk, producer, worker, monkeypatch, version, ends
):
    talk.add(producer)
    assert talk.produce(("t", 0, batch(producer)), version=version) == [NONE]
    monkeypatch.setattr(admission, "GLANCE_BYTES_MAX", 1)  # a worker has to look into it
    talk.say_produce(("t", 0, batch(producer, 1)), version=version)
    assert worker.jobs
    other = TransactingTalk(beside=talk)
    if ends == "by its producer":
        other.end(producer, committed=False, version=5 if version >= JAVA_4 else 4)
    elif ends == "by another":
        other.say(22, 4, _initialize())
        talk.node.settle()
    else:
        talk.node.pass_time(60_001)
        talk.node.settle()
    worker.work()
    [code] = talk.produced(version)
    of_its_epoch = {LIBRDKAFKA: INVALID_STATE, JAVA_3: ABORTABLE}
    late = of_its_epoch.get(version, OLD_EPOCH) if ends == "by its producer" else OLD_EPOCH
    assert code == late
    assert talk.open_in() == []
    assert talk.log().end == 2
    assert markers(talk.log()) == [ABORT]


def _initialize():
    from logstore.kafka.messages import init_producer_id

    return init_producer_id.Request(NAME, 60_000)


def test_t2_a_batch_that_waited_in_its_logs_line(talk, producer, worker, monkeypatch):
    talk.add(producer)
    monkeypatch.setattr(admission, "GLANCE_BYTES_MAX", 100)
    first = TransactingTalk(beside=talk)
    first.send(0, 8, produce_body("t", a_batch(b"x" * 200)))  # goes to a worker
    talk.say_produce(("t", 0, batch(producer)), version=LIBRDKAFKA)  # stands behind it
    talk.node.pass_time(60_001)
    talk.node.settle()
    worker.work()
    assert talk.produced(LIBRDKAFKA) == [OLD_EPOCH]
    assert talk.open_in() == []
    assert talk.log().end == 1


def test_a_batch_that_is_not_let_in_waits_for_nothing(talk, producer, worker, monkeypatch):
    monkeypatch.setattr(admission, "GLANCE_BYTES_MAX", 1)
    assert talk.produce(("t", 0, batch(producer)), version=LIBRDKAFKA) == [INVALID_STATE]
    assert not worker.jobs


def test_a_batch_whose_topic_keeps_repeats_out_by_the_time_that_it_is_appended(
    talk, producer, worker, monkeypatch
):
    monkeypatch.setattr(admission, "GLANCE_BYTES_MAX", 1)
    talk.say_produce(("t", 0, batch(producer)))
    talk.topics.alter("t", {"deduplication.header": "id"}, ())
    worker.work()
    assert talk.produced() == [INVALID_RECORD]
    assert talk.log().end == 0


def test_a_large_request_is_taken_in_parts(talk, producer, worker, monkeypatch):
    monkeypatch.setattr(produce_module, "PARTS_AT_ONCE", 1)
    other = talk.producer("other")
    talk.say_produce(("t", 0, batch(producer)), ("t", 1, batch(producer)))
    worker.work()
    talk.node.settle()
    assert talk.replies() == []
    worker.work()  # makes the answer, too
    assert talk.produced() == [NONE, NONE]
    talk.say_produce(("t", 0, batch(producer, 1)), ("t", 1, batch(other)))
    worker.work()
    assert talk.produced() == [UNKNOWN_PID] * 2
    assert talk.end(producer, committed=True)[0] == NONE
    assert [markers(talk.log(partition=it)) for it in range(2)] == [[COMMIT], [COMMIT]]


def test_plain_batches_ask_the_coordinator_for_nothing(talk):
    talk.transactions.coordinator = None  # nobody may call it
    talk.send(0, 8, produce_body("t", a_batch(b"x")))
    talk.node.settle()
    [(_, body)] = talk.replies()
    assert struct.unpack_from(">h", body, 4 + 2 + 1 + 4 + 4) == (NONE,)
