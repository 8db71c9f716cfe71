"""TxnOffsetCommit, and what OffsetFetch says of partitions while offsets are pending."""

import group_kit
import pytest
from every_request import check_answer
from group_kit import COMMIT as PLAIN
from group_kit import FETCH, committed, fetched, id_of, joined, settled
from group_offsets_kit import PendingTalk
from transaction_parts import ABORT, COMMIT

from logstore.broker.coordinator.undecided import Unread
from logstore.broker.transactions.staged import Staged
from logstore.broker.transactions.transactional_id import Producer
from logstore.errors import CoordinatorLoading
from logstore.kafka.messages import offset_commit, offset_fetch, txn_offset_commit
from logstore.protocols.kafka import commits, pending_offsets

STAGE = 28
UNKNOWN_TOPIC, LOADING, UNAVAILABLE, ILLEGAL, UNKNOWN_MEMBER = 3, 14, 15, 22, 25
BAD_REQUEST, OLD_EPOCH, BAD_STATE, UNKNOWN_PRODUCER, CONCURRENT = 42, 47, 48, 49, 51
NOT_FOUND, FENCED_INSTANCE, UNSTABLE, ABORTABLE = 69, 82, 88, 120
VERSIONS = range(6)


@pytest.fixture
def talk():
    return PendingTalk()


def a_commit(producer, places, group="g", name="copier", **member):
    m = txn_offset_commit
    topics = [
        m.Topic(topic, [m.Partition(number, offset, 7, metadata)])
        for topic, number, offset, metadata in places
    ]
    return m.Request(name, group, *producer, topics=topics, **member)


def codes_of(answer):
    return [it.error_code for topic in answer.topics for it in topic.partitions]


def staged(talk, producer, *places, version=5, **more):
    """The codes, once the journal is synced; (topic, partition, offset, metadata)."""
    asked = talk.say(STAGE, version, a_commit(producer, places, **more))
    talk.node.settle()
    talk.feed(b"")
    [(correlation, body)] = talk.replies()
    assert correlation == asked
    check_answer(STAGE, version, body)
    return codes_of(talk.read(STAGE, version, txn_offset_commit.Response, body))


def ended(talk, producer, outcome=COMMIT, version=2):
    heard = talk.node.end(producer, outcome, version)
    talk.node.settle()
    return heard[0].producer


T0 = ("t", 0, 5, "why")


@pytest.mark.parametrize("version", VERSIONS)
def test_offsets_are_seen_once_the_transaction_is_committed(talk, version):
    producer = talk.node.producer()
    talk.node.coordinator.add("copier", producer, 0)
    assert staged(talk, producer, T0, ("u", 2, 7, None), version=version) == [0, 0]
    assert fetched(talk, 9) == (0, {})
    ended(talk, producer)
    epoch = 7 if version >= 2 else -1
    assert fetched(talk, 9) == (0, {("t", 0): (5, "why", 0), ("u", 2): (7, "", 0)})
    [group] = fetch(talk, 9, offset_fetch.Group("g", topics=None))
    assert {it.committed_leader_epoch for topic in group.topics for it in topic.partitions} == {
        epoch
    }


def test_an_abort_leaves_nothing(talk):
    producer = talk.node.producer()
    assert staged(talk, producer, T0) == [0]
    ended(talk, producer, ABORT)
    assert fetched(talk, 9) == (0, {})


def test_they_are_durable_when_answered(talk):
    producer = talk.node.producer()
    talk.say(STAGE, 5, a_commit(producer, [T0]))
    talk.node.turn()
    assert talk.replies() == []
    talk.session.finish(talk.now)  # it is not given up
    assert talk.replies() == []
    talk.node.sync()
    [_] = talk.replies()


def test_t24_of_two_the_later_counts(talk):
    producer = talk.node.producer()
    assert staged(talk, producer, T0, ("t", 0, 6, "")) == [0, 0]
    assert staged(talk, producer, ("t", 0, 3, "last")) == [0]
    ended(talk, producer)
    assert fetched(talk, 9) == (0, {("t", 0): (3, "last", 0)})


class TestTheTransaction:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_t24_what_it_is_not_of_is_refused(self, talk, version):
        producer = talk.node.producer()
        other = Producer(producer.pid + 1, producer.epoch)
        assert staged(talk, other, T0, version=version) == [UNKNOWN_PRODUCER]
        assert staged(talk, producer, T0, version=version, name="none") == [UNKNOWN_PRODUCER]
        assert staged(talk, producer, T0, version=version, name="") == [BAD_REQUEST]
        assert staged(talk, Producer(-1, -1), T0, version=version) == [UNKNOWN_PRODUCER]
        newer = talk.node.producer()
        assert staged(talk, producer, T0, version=version) == [OLD_EPOCH]  # T28: not 90
        assert newer.epoch == producer.epoch + 1
        assert not talk.node.coordinator.staged.has("g")

    @pytest.mark.parametrize("version", VERSIONS)
    def test_one_that_is_not_open_is_begun_or_missed_as_the_version_has_it(self, talk, version):
        producer = talk.node.producer()
        expected = BAD_STATE if version <= 3 else ABORTABLE if version == 4 else 0
        assert staged(talk, producer, T0, version=version) == [expected]
        assert talk.node.table.get("copier").is_open is (version == 5)

    @pytest.mark.parametrize("version", [3, 4])
    def test_t24_one_that_has_ended_takes_none(self, talk, version):
        producer = talk.node.producer()
        talk.node.coordinator.add("copier", producer, 0)
        assert staged(talk, producer, T0, version=version) == [0]
        assert ended(talk, producer, version=1) == producer
        expected = BAD_STATE if version == 3 else ABORTABLE
        assert staged(talk, producer, ("t", 0, 6, ""), version=version) == [expected]
        assert fetched(talk, 9) == (0, {("t", 0): (5, "why", 0)})

    @pytest.mark.parametrize("version", VERSIONS)
    def test_one_that_ends_just_now_is_asked_again(self, talk, version):
        producer = talk.node.producer()
        talk.node.coordinator.add("copier", producer, 0)
        talk.node.end(producer, COMMIT)
        expected = CONCURRENT if version == 5 else UNAVAILABLE  # as Kafka: others don't know it
        assert staged(talk, producer, T0, version=version) == [expected]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_until_transactions_are_read_it_is_asked_again(self, talk, version):
        talk.transactions.error = CoordinatorLoading("not yet")
        expected = LOADING if version >= 2 else UNAVAILABLE
        assert staged(talk, Producer(1, 0), T0, version=version) == [expected]

    @pytest.mark.parametrize("version", [3, 5])
    def test_more_than_can_be_held_are_asked_again(self, talk, version, monkeypatch):
        monkeypatch.setattr(Staged, "has_room", lambda *_: False)
        producer = talk.node.producer()
        talk.node.coordinator.add("copier", producer, 0)
        expected = CONCURRENT if version == 5 else UNAVAILABLE
        assert staged(talk, producer, T0, version=version) == [expected]

    def test_a_full_disk_is_told_as_something_that_may_pass(self, talk):
        producer = talk.node.producer()
        talk.node.journal.full = True
        assert staged(talk, producer, T0, ("t", 1, 1, "x" * 4097)) == [UNAVAILABLE, 12]
        talk.node.journal.full = False
        assert not talk.node.coordinator.staged.has("g")


class TestTheGroup:
    def test_members_commit_in_their_generation(self, talk):
        producer = talk.node.producer()
        member = settled(talk)

        def codes(**said):
            return staged(talk, producer, T0, **said)

        assert codes(generation_id=1, member_id=member) == [0]
        assert codes(generation_id=0, member_id=member) == [ILLEGAL]
        assert codes(generation_id=1, member_id="other") == [UNKNOWN_MEMBER]
        assert codes(generation_id=1, member_id=member, group_instance_id="i") == [UNKNOWN_MEMBER]
        assert codes() == [0]
        assert codes(generation_id=1, group="none") == [ILLEGAL]
        assert codes(group="new") == [0]
        assert codes(group="") == [24]

    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_t25_those_who_know_no_members_are_taken_by_any_group(self, talk, version):
        producer = talk.node.producer()
        talk.node.coordinator.add("copier", producer, 0)
        settled(talk)
        assert staged(talk, producer, T0, version=version) == [0]

    def test_an_instance_that_is_another_member_now_is_fenced(self, talk):
        producer = talk.node.producer()
        old = joined(talk, group_instance_id="i").member_id
        joined(talk, group_instance_id="i")
        said = {"member_id": old, "generation_id": 1, "group_instance_id": "i"}
        assert staged(talk, producer, T0, **said) == [FENCED_INSTANCE]

    def test_what_is_refused_is_refused_by_itself(self, talk):
        producer = talk.node.producer()
        places = [
            ("none", 0, 1, ""), ("t", 3, 1, ""), ("t", -1, 1, ""), ("t", 1, -1, ""),
            ("t", 2, 1, "x" * 4097), ("t", 2**31 - 1, 1, ""), T0,
        ]  # fmt: skip
        expected = [UNKNOWN_TOPIC] * 3 + [BAD_REQUEST, 12, UNKNOWN_TOPIC, 0]
        assert staged(talk, producer, *places) == expected
        ended(talk, producer)
        assert fetched(talk, 9)[1].keys() == {("t", 0)}

    def test_nothing_fit_asks_nobody(self, talk):
        talk.transactions.error = CoordinatorLoading("not yet")
        assert staged(talk, Producer(1, 0), ("none", 0, 1, "")) == [UNKNOWN_TOPIC]
        assert staged(talk, Producer(1, 0)) == []


def test_many_are_looked_up_in_another_thread_and_staged_some_at_a_time(monkeypatch):
    monkeypatch.setattr(commits, "AT_ONCE", 4)
    monkeypatch.setattr(pending_offsets, "STAGED_AT_ONCE", 3)
    jobs = []
    talk = PendingTalk(work=lambda job, done: jobs.append((job, done)))
    talk.topics.create("many", 8, {})
    producer = talk.node.producer()
    told = talk.node.told()
    talk.say(STAGE, 5, a_commit(producer, [("many", number, 9, "") for number in range(8)]))
    for _ in range(2):  # looking them up, and the answer
        [(job, done)] = jobs
        jobs.clear()
        done(job())
        for _ in range(4):
            talk.node.settle()
            talk.feed(b"")
    [(_, body)] = talk.replies()
    assert codes_of(talk.read(STAGE, 5, txn_offset_commit.Response, body)) == [0] * 8
    assert talk.node.told() == told + "PPP"
    ended(talk, producer)
    assert len(talk.coordinator.fetch("g", 0)) == 8


def test_t27_a_plain_commit_that_comes_later_stays(talk):
    producer = talk.node.producer()
    assert staged(talk, producer, T0) == [0]
    talk.say(PLAIN, 9, group_kit.a_commit(talk, [("t", 0, 9, "")]))
    talk.node.turn()
    assert talk.replies() == [], "the journal has to have it"
    talk.node.settle()
    talk.feed(b"")
    [(_, body)] = talk.replies()
    assert codes_of(talk.read(PLAIN, 9, offset_commit.Response, body)) == [0]
    ended(talk, producer)
    assert fetched(talk, 9) == (0, {("t", 0): (9, "", 0)})


# OffsetFetch


def fetch(talk, version, *groups, stable=False):
    talk.say(FETCH, version, offset_fetch.Request(groups, require_stable=stable))
    [(_, body)] = talk.replies()
    check_answer(FETCH, version, body)
    return talk.read(FETCH, version, offset_fetch.Response, body).groups


def stable(talk, version, group="g", numbers=(0, 1)):
    """Offset, leader epoch and code by partition of topic t, or the group's code."""
    named = None if numbers is None else [
        offset_fetch.Topics(id_of(talk, "t"), "t", list(numbers))
    ]  # fmt: skip
    if version >= 8:
        [found] = fetch(talk, version, offset_fetch.Group(group, topics=named), stable=True)
    else:
        topics = None if named is None else [offset_fetch.Topic("t", list(numbers))]
        request = offset_fetch.Request(group_id=group, topics=topics, require_stable=True)
        found = talk.ask(FETCH, version, request, offset_fetch.Response)
    if found.error_code:
        return found.error_code
    return {
        it.partition_index: (it.committed_offset, it.committed_leader_epoch, it.error_code)
        for topic in found.topics
        for it in topic.partitions
    }


@pytest.mark.parametrize("version", range(7, 11))
def test_partitions_with_pending_offsets_are_unstable(talk, version):
    committed(talk, [("t", 0, 1, ""), ("t", 1, 2, "")])
    producer = talk.node.producer()
    assert staged(talk, producer, T0, ("t", 2, 3, "")) == [0, 0]
    nowhere = (-1, -1, UNSTABLE)
    assert stable(talk, version) == {0: nowhere, 1: (2, 7, 0)}
    assert stable(talk, version, numbers=[2]) == {2: nowhere}
    assert stable(talk, version, numbers=None) == {0: nowhere, 1: (2, 7, 0)}
    assert stable(talk, version, "another") == {0: (-1, -1, 0), 1: (-1, -1, 0)}
    if version < 10:
        assert fetched(talk, version)[1] == {("t", 0): (1, "", 0), ("t", 1): (2, "", 0)}
    ended(talk, producer)
    assert stable(talk, version, numbers=None) == {0: (5, 7, 0), 1: (2, 7, 0), 2: (3, 7, 0)}


@pytest.mark.parametrize("version", range(1, 11))
def test_who_has_committed_sees_it_at_once(talk, version):
    """Before it is kept where other offsets are: the journal has it."""
    committed(talk, [("t", 0, 1, ""), ("t", 1, 2, "")])
    producer = talk.node.producer()
    assert staged(talk, producer, T0) == [0]
    talk.keeper.held = True
    heard = talk.node.end(producer, COMMIT)
    talk.node.sync()
    assert len(heard) == 1
    key = id_of(talk, "t") if version >= 10 else "t"
    named = [offset_fetch.Topics(id_of(talk, "t"), "t", [0, 1])]
    seen = {(key, 0): (5, "why", 0), (key, 1): (2, "", 0)}
    assert fetched(talk, version, topics=named) == (0, seen)
    if version >= 2:
        assert fetched(talk, version) == (0, seen)
    if version >= 7:
        assert stable(talk, version) == {0: (5, 7, 0), 1: (2, 7, 0)}
    named = [offset_fetch.Topics(id_of(talk, "t"), "t", [1])]
    assert fetched(talk, version, topics=named) == (0, {(key, 1): (2, "", 0)})
    talk.keeper.settle()
    assert fetched(talk, version, topics=named) == (0, {(key, 1): (2, "", 0)})


@pytest.mark.parametrize("version", range(1, 11))
def test_until_the_journal_is_read_no_offset_is_known(talk, version):
    committed(talk, [("t", 0, 1, "")])
    talk.coordinator.undecided = Unread()
    if version >= 7:
        assert stable(talk, version) == LOADING
    if version >= 2:
        assert fetched(talk, version) == (LOADING, {})
    else:
        named = [offset_fetch.Topics(id_of(talk, "t"), "t", [0])]
        assert fetched(talk, version, topics=named) == (0, {("t", 0): (-1, "", LOADING)})
    assert committed(talk, [("t", 0, 2, "")]) == [LOADING]


def test_each_of_many_groups_is_looked_at_by_itself(talk, monkeypatch):
    monkeypatch.setattr(commits, "AT_ONCE", 2)
    for number in range(5):
        committed(talk, [("t", 0, number, "")], group=f"g{number}")
    producer = talk.node.producer()
    assert staged(talk, producer, T0, group="g3") == [0]
    groups = [offset_fetch.Group(f"g{number}", topics=None) for number in range(5)]
    found = fetch(talk, 9, *groups, *groups, stable=True)
    codes = [it.error_code for group in found for topic in group.topics for it in topic.partitions]
    assert codes == [0, 0, 0, UNSTABLE, 0] * 2
