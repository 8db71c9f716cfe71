"""What a client is given that reads committed records only (KIP-98), by fetches and by offsets."""

import random

import pytest
from door_kit import Talk
from fetch_kit import MIB, answer, asking
from transactions_kit import Producers, every_batch, transactions_in

from logstore.kafka.messages import describe_producers, list_offsets
from logstore.protocols.kafka import partition_fetch
from logstore.records.batch import split
from logstore.records.control import ABORT, COMMIT, marker, outcome_of
from logstore.records.encode import encode

SEED = 98


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def log(talk):
    return talk.topics.create("t", 1, {}).partitions[0]


def fetch(talk, at, version=11, bytes_max=MIB, isolation=1, **facts):
    places = [("t", 0, at, bytes_max)]
    talk.send(1, version, asking(version, places, isolation=isolation, **facts))
    [topic] = answer(talk, version)["responses"]
    [part] = topic["partitions"]
    assert part["error_code"] == 0
    return part


def write(log, producer, sequence=0):
    return log.append(
        encode([(b"x", None, (), 0)], producer_id=producer, producer_epoch=0,
               base_sequence=sequence, transactional=True)
    )  # fmt: skip


class Reader:
    """As clients do it: what is aborted begins at its first offset, and ends at its marker."""

    def __init__(self):
        self.at, self.records, self.fetches = 0, [], 0
        self._aborting = set()

    def take(self, part):
        self.fetches += 1
        left = sorted(
            ((it["first_offset"], it["producer_id"]) for it in part["aborted_transactions"]),
            reverse=True,
        )
        for batch in split(part["records"] or b""):
            while left and left[-1][0] <= batch.last_offset:
                self._aborting.add(left.pop()[1])
            if batch.is_control:
                if outcome_of(batch) == ABORT:
                    self._aborting.discard(batch.producer_id)
            elif not (batch.is_transactional and batch.producer_id in self._aborting):
                self.records.append(batch.base_offset)
            self.at = batch.next_offset
        self._aborting.clear()  # each answer tells all that it takes


def committed(log):
    begun, aborted = transactions_in(every_batch(log))
    hidden = {(producer, at) for producer, first, last, _ in aborted for at in range(first, last)}
    end = min(begun.values(), default=log.end)
    return [
        it.base_offset
        for it in every_batch(log)
        if it.next_offset <= end
        and not it.is_control
        and not (it.is_transactional and (it.producer_id, it.base_offset) in hidden)
    ]


@pytest.mark.parametrize("version", [4, 11, 12, 18])
@pytest.mark.parametrize("bytes_max", [1, 200, 1000, MIB])
def test_exactly_what_is_committed_is_given(talk, log, version, bytes_max):
    rng = random.Random(f"{SEED} {version} {bytes_max}")
    producers, reader = Producers(rng, bumps=True), Reader()
    for _ in range(40):
        for _ in range(rng.randrange(12)):
            log.append(producers.next())
        while reader.at < log.stable:
            part = fetch(talk, reader.at, version, bytes_max)
            assert part["last_stable_offset"] == log.stable
            assert part["high_watermark"] == log.safe
            reader.take(part)
            assert reader.at <= log.stable
        assert fetch(talk, reader.at, version, bytes_max)["records"] in (None, b"")
        assert reader.records == committed(log), SEED
    assert reader.records


def test_a_fetch_that_begins_with_an_abort_names_the_transaction(talk, log):
    write(log, 7)
    log.append(marker(ABORT, 7, 0, 0))
    part = fetch(talk, 1)
    assert part["aborted_transactions"] == [{"producer_id": 7, "first_offset": 0}]
    assert [it.is_control for it in split(part["records"])] == [True]


def test_who_reads_all_gets_what_was_aborted_and_what_is_open(talk, log):
    write(log, 7)
    log.append(marker(ABORT, 7, 0, 0))
    write(log, 8)
    part = fetch(talk, 0, isolation=0)
    assert len(list(split(part["records"]))) == 3
    assert part["aborted_transactions"] is None
    assert (part["last_stable_offset"], part["high_watermark"]) == (2, 3)


def test_a_fetch_that_waits_is_woken_by_the_marker(talk, log):
    write(log, 7)
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], isolation=1, wait_ms=10_000))
    assert talk.replies() == []
    write(log, 7, 1)
    assert talk.replies() == []
    log.append(marker(COMMIT, 7, 0, 0))
    [topic] = answer(talk, 11)["responses"]
    assert len(list(split(topic["partitions"][0]["records"]))) == 3


def test_a_fetch_within_an_open_transaction_is_no_error(talk, log):
    for n in range(3):
        write(log, 7, n)
    assert fetch(talk, 2)["records"] in (None, b"")


def test_an_answer_names_no_more_transactions_than_it_can_in_a_turn(talk, log, monkeypatch):
    monkeypatch.setattr(partition_fetch, "ABORTED_TOLD", 4)
    for n in range(30):
        write(log, 7, n)
        log.append(marker(ABORT, 7, 0, 0))
    reader = Reader()
    while reader.at < log.end:
        part = fetch(talk, reader.at)
        assert 0 < len(part["aborted_transactions"]) <= 4
        reader.take(part)
    assert reader.records == []
    assert reader.fetches <= 30


def test_transactions_that_are_aborted_at_once_are_all_named(talk, log, monkeypatch):
    monkeypatch.setattr(partition_fetch, "ABORTED_TOLD", 4)
    for producer in range(10):
        write(log, producer)
    for producer in range(10):
        log.append(marker(ABORT, producer, 0, 0))
    reader = Reader()
    while reader.at < log.end:
        reader.take(fetch(talk, reader.at))
    assert reader.records == []


def listed(talk, timestamp, isolation):
    asked = list_offsets.Topic("t", [list_offsets.Partition(0, timestamp=timestamp)])
    request = list_offsets.Request(isolation_level=isolation, topics=[asked])
    [topic] = talk.ask(2, 5, request, list_offsets.Response).topics
    return topic.partitions[0].offset


def test_the_end_is_where_the_first_open_transaction_begins(talk, log):
    log.append(encode([(b"x", None, (), 5)]))
    write(log, 7)
    assert [listed(talk, -1, isolation) for isolation in (0, 1)] == [2, 1]
    assert [listed(talk, 5, isolation) for isolation in (0, 1)] == [0, 0]
    log.append(encode([(b"x", None, (), 9)]))
    assert [listed(talk, 9, isolation) for isolation in (0, 1)] == [2, -1]
    log.append(marker(COMMIT, 7, 0, 0))
    assert [listed(talk, 9, isolation) for isolation in (0, 1)] == [2, 2]
    assert [listed(talk, -1, isolation) for isolation in (0, 1)] == [4, 4]


def described(talk):
    request = describe_producers.Request([describe_producers.TopicRequest("t", [0])])
    [topic] = talk.ask(61, 0, request, describe_producers.Response).topics
    return [
        (it.producer_id, it.producer_epoch, it.last_sequence, it.current_txn_start_offset)
        for it in topic.partitions[0].active_producers
    ]


def test_producers_are_described_with_their_transactions(talk, log):
    log.append(encode([(b"x", None, (), 0)]))
    write(log, 7)
    write(log, 7, 1)
    assert described(talk) == [(7, 0, 1, 1)]
    log.append(marker(COMMIT, 7, 0, 0))
    assert described(talk) == [(7, 0, 1, -1)]
    log.append(marker(ABORT, 7, 1, 0))  # it raises the epoch: no batch of that has come
    assert described(talk) == [(7, 1, -1, -1)]
