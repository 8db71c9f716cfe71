"""ShareFetch and ShareAcknowledge as members of share groups have them (KIP-932)."""

import random
from types import SimpleNamespace

import pytest
from door_kit import Talk
from share_kit import (
    ACCEPT,
    GAP,
    LOCK_S,
    REJECT,
    RELEASE,
    RENEW,
    Sharer,
    acquired,
    append,
    parts_of,
)
from shares_kit import places

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import ALL, GROUP, TOPIC
from logstore.broker.shared import shares as shares_module
from logstore.broker.shares import sessions as sessions_module
from logstore.broker.shares.sessions import EPOCH_MAX
from logstore.errors import LogFailed, StorageFull
from logstore.kafka.messages import share_fetch
from logstore.kafka.schema import codec
from logstore.kept.users import KeptAccess, KeptQuota, KeptRule, KeptUser
from logstore.protocols.kafka import errors
from logstore.protocols.kafka import share_fetch as module
from logstore.records.batch import split
from logstore.records.decode import decode

INVALID_REQUEST, INVALID_STATE, NOT_FOUND, WRONG_EPOCH, TOO_MANY = 42, 121, 122, 123, 133


@pytest.fixture
def a():
    return Sharer()


def values(answer, topic, partition=0):
    records = parts_of(answer)[topic.uuid, partition].records
    return [it.value for batch in split(records) for it in decode(batch)]


def beside(sharer, member, group="g", version=2):
    return Sharer(member, group, sharer.talk, version)


# Sessions


def test_a_session_begins_goes_on_and_ends(a):
    topic = a.topic()
    append(topic, 3)
    answer = a.fetch([(topic, 0)])
    assert (answer.error_code, answer.acquisition_lock_timeout_ms) == (0, 30_000)
    assert acquired(answer, topic) == [(0, 2, 1)]
    assert values(answer, topic) == [b"0", b"1", b"2"]
    append(topic, 1)
    assert acquired(a.fetch(), topic) == [(3, 3, 1)]
    assert parts_of(a.fetch()) == {}
    answer = a.fetch(said=[(topic, 0, [(0, 1, [ACCEPT])])], epoch=-1)
    assert (parts_of(answer)[topic.uuid, 0].acknowledge_error_code, answer.error_code) == (0, 0)
    assert len(a.talk.shares_of.opened.sessions) == 0
    assert acquired(beside(a, "b").fetch([(topic, 0)]), topic) == [(2, 3, 2)]


def test_an_answer_tells_of_partitions_that_have_something_to_say(a):
    topic = a.topic(partitions=2)
    append(topic, 1, 1)
    [((_, number), part)] = parts_of(a.fetch([(topic, 0), (topic, 1)])).items()
    assert number == 1
    leader = part.current_leader
    assert (leader.leader_id, leader.leader_epoch) == (1, 0)


@pytest.mark.parametrize("epoch", [0, 2, 7])
def test_a_request_that_is_not_the_next_one(a, epoch):
    topic = a.topic()
    a.fetch([(topic, 0)])
    assert a.acknowledge(epoch=epoch).error_code == WRONG_EPOCH
    if epoch:
        assert a.fetch(epoch=epoch).error_code == WRONG_EPOCH
    assert a.fetch().error_code == 0


def test_a_session_that_is_not_there(a):
    topic = a.topic()
    for epoch in (1, -1):
        assert a.fetch(epoch=epoch).error_code == NOT_FOUND
        assert a.acknowledge(epoch=epoch).error_code == NOT_FOUND
    a.epoch = 0
    assert a.fetch([(topic, 0)]).error_code == 0


def test_epochs_go_round(a):
    topic = a.topic()
    a.fetch([(topic, 0)])
    a.talk.shares_of.opened.sessions.find("g", "a").epoch = EPOCH_MAX
    assert a.fetch(epoch=EPOCH_MAX).error_code == 0
    assert a.fetch(epoch=1).error_code == 0


def test_trap_5_acknowledgements_begin_no_session_and_the_client_begins_anew(a):
    """kafka#20135: after a restart."""
    topic = a.topic()
    append(topic, 1)
    answer = a.fetch([(topic, 0)], [(topic, 0, [(0, 0, [ACCEPT])])])
    assert answer.error_code == INVALID_REQUEST
    assert a.epoch == 0
    assert acquired(a.fetch([(topic, 0)]), topic) == [(0, 0, 1)]


@pytest.mark.parametrize(
    ("group", "member", "epoch"),
    [("g", "", 0), ("g", "m" * 37, 0), ("", "a", 0), (None, None, 0), ("g", "a", -2)],
)
def test_what_is_no_member(a, group, member, epoch):
    a.group, a.member = group, member
    assert a.fetch(epoch=epoch).error_code == INVALID_REQUEST
    assert a.acknowledge(epoch=epoch).error_code == INVALID_REQUEST


def test_more_sessions_than_there_may_be_are_told_so_once_their_time_is_up(a):
    topic = a.topic()
    a.talk.shares_of.open().sessions._most = 1
    a.fetch([(topic, 0)])
    b = beside(a, "b")
    b.send([(topic, 0)], wait_ms=500)
    assert b.heard() is None
    b.talk.pass_time(0.5)
    assert b.heard().error_code == TOO_MANY
    a.talk.session.close()
    assert b.fetch([(topic, 0)]).error_code == 0


def test_a_connection_that_is_gone_gives_back_what_it_had(a):
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    b = beside(a, "b")
    b.send([(topic, 0)], wait_ms=500)
    assert b.heard() is None
    a.talk.session.close()
    assert acquired(b.heard(), topic) == [(0, 1, 2)]
    again = beside(a, "a")
    assert again.fetch(epoch=1).error_code == NOT_FOUND


def test_a_member_who_comes_by_another_connection_has_its_records_still(a):
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    again = beside(a, "a")
    assert again.fetch([(topic, 0)]).error_code == 0
    a.talk.session.close()
    said = [(topic, 0, [(0, 1, [ACCEPT])])]
    assert parts_of(again.fetch(said=said))[topic.uuid, 0].acknowledge_error_code == 0


def test_who_waits_is_told_that_its_session_is_another_ones(a):
    topic = a.topic()
    a.fetch([(topic, 0)])
    a.send(wait_ms=500)
    assert a.heard() is None
    beside(a, "a").fetch([(topic, 0)])
    assert a.heard().error_code == NOT_FOUND


def test_trap_12_the_group_need_not_know_the_member(a):
    topic = a.topic()
    append(topic, 1)
    assert a.talk.coordinator.share_group("g") is None
    assert acquired(a.fetch([(topic, 0)]), topic) == [(0, 0, 1)]


def test_trap_6_a_server_that_was_restarted_knows_no_session(a):
    """kafka#21824: the client begins anew, and records come again."""
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    a.talk.shares_of.opened = None
    assert a.fetch(said=[(topic, 0, [(0, 0, [ACCEPT])])]).error_code == NOT_FOUND
    assert a.acknowledge((topic, 0, [(0, 0, [ACCEPT])])).error_code == NOT_FOUND
    a.epoch = 0
    assert acquired(a.fetch([(topic, 0)]), topic) == [(0, 1, 1)]


def test_partitions_come_and_go(a, monkeypatch):
    topic = a.topic(partitions=3)
    for number in range(3):
        append(topic, 1, number)
    a.fetch([(topic, 0)], most=1)
    append(topic, 1)
    answer = a.fetch([(topic, 1)], forget=[(topic, 0)])
    assert (acquired(answer, topic, 0), acquired(answer, topic, 1)) == (None, [(0, 0, 1)])
    monkeypatch.setattr(sessions_module, "PARTITIONS_MAX", 1)
    assert a.fetch([(topic, 2)]).error_code == INVALID_REQUEST


def test_librdkafka_names_a_topic_twice_and_a_partition_in_both(a):
    topic = a.topic(partitions=2)
    append(topic, 4)
    a.fetch([(topic, 0)])
    append(topic, 1)
    append(topic, 1, 1)
    said = [(topic, 0, [(2, 2, [REJECT])]), (topic, 0, [(0, 1, [ACCEPT])])]
    answer = a.fetch([(topic, 0), (topic, 1), (topic, 0)], said)
    parts = parts_of(answer)
    assert sum(len(it.partitions) for it in answer.responses) == 2
    assert parts[topic.uuid, 0].acknowledge_error_code == 0
    assert acquired(answer, topic, 0) == [(4, 4, 1)]
    assert acquired(answer, topic, 1) == [(0, 0, 1)]
    shares = a.talk.shares_of.opened
    assert shares.standing(places(shares)[0], 5) == (3, 2)


# Records


def test_a_topic_that_is_not_there(a):
    nowhere = SimpleNamespace(uuid=b"?" * 16)
    assert parts_of(a.fetch([(nowhere, 0)]))[nowhere.uuid, 0].error_code == errors.UNKNOWN_TOPIC_ID
    [part] = parts_of(a.acknowledge((nowhere, 0, [(0, 0, [ACCEPT])]))).values()
    assert part.error_code == errors.UNKNOWN_TOPIC_ID


def test_a_partition_that_is_not_there_and_one_that_is(a):
    topic = a.topic()
    append(topic, 1)
    parts = parts_of(a.fetch([(topic, 5), (topic, 0), (topic, -1)]))
    assert [parts[topic.uuid, it].error_code for it in (5, 0, -1)] == [3, 0, 3]


def test_most_records_and_whole_batches(a):
    topic = a.topic()
    append(topic, 5)
    append(topic, 5)
    assert acquired(a.fetch([(topic, 0)], most=3), topic) == [(0, 4, 1)]
    b = beside(a, "b")
    assert acquired(b.fetch([(topic, 0)], most=3, mode=1), topic) == [(5, 7, 1)]
    assert acquired(b.fetch(most=3, mode=1), topic) == [(8, 9, 1)]


def test_most_records_of_all_partitions_and_each_in_its_turn(a):
    topic = a.topic(partitions=2)
    for number in (0, 1):
        append(topic, 3, number)
        append(topic, 3, number)
    answer = a.fetch([(topic, 0), (topic, 1)], most=3)
    assert (acquired(answer, topic, 0), acquired(answer, topic, 1)) == ([(0, 2, 1)], None)
    answer = a.fetch(most=3)
    assert (acquired(answer, topic, 0), acquired(answer, topic, 1)) == (None, [(0, 2, 1)])


def test_most_bytes(a):
    topic = a.topic(partitions=2)
    for number in (0, 1):
        append(topic, 1, number)
    size = topic.partitions[0].read(0, 1)[0].size
    answer = a.fetch([(topic, 0), (topic, 1)], max_bytes=size)
    assert (acquired(answer, topic, 0), acquired(answer, topic, 1)) == ([(0, 0, 1)], None)


@pytest.mark.parametrize("less", ["most", "max_bytes"])
def test_a_session_alone_without_records(a, less):
    topic = a.topic()
    append(topic, 1)
    answer = a.fetch([(topic, 0)], wait_ms=500, **{less: 0})
    assert parts_of(answer) == {}
    assert acquired(a.fetch(), topic) == [(0, 0, 1)]


def test_who_waits_gets_records_as_they_come(a):
    topic = a.topic()
    a.send([(topic, 0)], wait_ms=500)
    assert a.heard() is None
    woken = a.talk.woken
    append(topic, 1)
    assert a.talk.woken > woken
    assert acquired(a.heard(), topic) == [(0, 0, 1)]


def test_trap_4_a_wait_that_ends_with_nothing_is_answered_and_the_next_one_too(a):
    """kafka#16711."""
    topic = a.topic()
    a.fetch([(topic, 0)])
    for _ in range(2):
        a.send(wait_ms=500)
        assert a.heard() is None
        a.talk.pass_time(0.5)
        assert parts_of(a.heard()) == {}
    append(topic, 1)
    assert acquired(a.fetch(), topic) == [(0, 0, 1)]


def test_a_session_without_partitions_waits_for_nothing(a):
    a.topic()
    assert a.fetch(wait_ms=500).error_code == 0


def test_a_wait_for_many_bytes(a):
    topic = a.topic()
    append(topic, 1)
    size = topic.partitions[0].read(0, 1)[0].size
    a.send([(topic, 0)], wait_ms=500, min_bytes=2 * size)
    assert a.heard() is None
    append(topic, 1)
    assert acquired(a.heard(), topic) == [(0, 1, 1)]
    append(topic, 1)
    a.send(wait_ms=500, min_bytes=2 * size)
    assert a.heard() is None
    a.talk.pass_time(0.5)
    assert acquired(a.heard(), topic) == [(2, 2, 1)]


def test_trap_1_acknowledgements_that_free_records_wake_who_waits(a):
    """kafka#19612: at once, and not when its time is up."""
    topic = a.topic()
    a.setting("share.partition.max.record.locks", "100")
    append(topic, 100)
    append(topic, 50)
    a.fetch([(topic, 0)])
    b = beside(a, "b")
    b.send([(topic, 0)], wait_ms=500, mode=1)
    assert b.heard() is None
    a.acknowledge((topic, 0, [(0, 9, [ACCEPT])]))
    assert acquired(b.heard(), topic) == [(100, 109, 1)]
    b.send(wait_ms=500)
    assert b.heard() is None
    a.acknowledge((topic, 0, [(50, 50, [RELEASE])]))
    assert acquired(b.heard(), topic) == [(50, 50, 2)]


def test_locks_that_are_over_wake_who_waits(a):
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    b = beside(a, "b")
    b.send([(topic, 0)], wait_ms=100_000)
    assert b.heard() is None
    assert min(a.talk.shares_of.alarms) == 1_000_000 + LOCK_S * 1000
    b.talk.pass_time(LOCK_S)
    assert acquired(b.heard(), topic) == [(0, 1, 2)]


def test_what_can_not_be_read_is_told_and_the_rest_is_given(a):
    topic = a.topic(partitions=2)
    append(topic, 1, 1)
    append(topic, 1, 0)

    def fail(at, bytes_max):
        raise LogFailed("t-0: damaged")

    topic.partitions[0].read = fail
    parts = parts_of(a.fetch([(topic, 0), (topic, 1)]))
    assert parts[topic.uuid, 0].error_code == errors.KAFKA_STORAGE_ERROR
    assert parts[topic.uuid, 0].error_message == "t-0: damaged"
    assert len(parts[topic.uuid, 1].acquired_records) == 1


def test_a_journal_that_is_full_gives_nothing(a, monkeypatch):
    topic = a.topic()
    append(topic, 1)

    def full(batch):
        raise StorageFull("journal: full")

    monkeypatch.setattr(a.talk.shares_of.journal, "append", full)
    parts = parts_of(a.fetch([(topic, 0)]))
    assert parts[topic.uuid, 0].error_code == errors.KAFKA_STORAGE_ERROR
    monkeypatch.undo()
    assert acquired(a.fetch(), topic) == [(0, 0, 1)]


def test_a_process_without_share_groups_says_so(a):
    topic = a.topic()
    a.talk.shares_of.error = LogFailed("journal: failed")
    assert a.fetch([(topic, 0)]).error_code == errors.KAFKA_STORAGE_ERROR
    assert a.acknowledge(epoch=1).error_code == errors.KAFKA_STORAGE_ERROR


def test_partitions_that_are_being_opened_are_waited_for(a):
    topic = a.topic()
    append(topic, 1)
    a.talk.shares_of.slow = True
    a.send([(topic, 0)], wait_ms=500)
    assert a.heard() is None
    a.talk.shares_of.slow = False
    assert acquired(a.heard(), topic) == [(0, 0, 1)]


def test_a_client_that_goes_while_they_are_gets_nothing(a):
    topic = a.topic()
    append(topic, 1)
    a.talk.shares_of.slow = True
    a.send([(topic, 0)], wait_ms=500)
    a.talk.session.close()
    a.talk.shares_of.slow = False
    assert acquired(beside(a, "b").fetch([(topic, 0)]), topic) == [(0, 0, 1)]


def test_a_stop_of_the_server_is_no_wait(a):
    topic = a.topic()
    a.send([(topic, 0)], wait_ms=500)
    assert a.heard() is None
    a.talk.session.finish(a.talk.now)
    assert a.heard().error_code == 0


# Acknowledgements


def test_acknowledgements_come_with_the_next_fetch_or_alone(a):
    topic = a.topic()
    append(topic, 10)
    a.fetch([(topic, 0)])
    answer = a.fetch(said=[(topic, 0, [(0, 1, [ACCEPT]), (2, 4, [REJECT, GAP, RELEASE])])])
    assert acquired(answer, topic) == [(4, 4, 2)]
    answer = a.acknowledge((topic, 0, [(4, 9, [ACCEPT])]))
    assert (answer.error_code, answer.acquisition_lock_timeout_ms) == (0, 30_000)
    [part] = parts_of(answer).values()
    assert (part.error_code, part.error_message) == (0, None)
    [place] = places(a.talk.shares_of.opened)
    assert a.talk.shares_of.opened.standing(place, 10) == (10, 0)


def test_a_partition_that_only_had_acknowledgements_is_in_the_answer(a):
    """Else Kafka's client takes the answer for an invalid one."""
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    answer = a.fetch(said=[(topic, 0, [(0, 1, [ACCEPT])])], forget=[(topic, 0)])
    [part] = parts_of(answer).values()
    assert (part.error_code, part.acknowledge_error_code) == (0, 0)
    assert (part.records, part.acquired_records) == (b"", [])


def test_they_are_answered_once_the_journal_is_safe(a):
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    journal = a.talk.shares_of.journal
    journal.hold()
    a.say((topic, 0, [(0, 0, [ACCEPT])]))
    assert a.acknowledged() is None
    journal.sync()
    assert a.acknowledged().error_code == 0
    a.send(said=[(topic, 0, [(1, 1, [ACCEPT])])])
    assert a.heard() is None
    journal.sync()
    assert parts_of(a.heard())[topic.uuid, 0].acknowledge_error_code == 0


def test_what_the_journal_does_not_take_is_told_and_changes_nothing(a, monkeypatch):
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])

    def full(batch):
        raise StorageFull("journal: full")

    said = (topic, 0, [(0, 0, [ACCEPT])])
    with monkeypatch.context() as patch:
        patch.setattr(a.talk.shares_of.journal, "append", full)
        [part] = parts_of(a.acknowledge(said)).values()
        assert part.error_code == errors.KAFKA_STORAGE_ERROR
        [part] = parts_of(a.fetch(said=[said])).values()
        assert part.acknowledge_error_code == errors.KAFKA_STORAGE_ERROR
    [part] = parts_of(a.acknowledge(said)).values()
    assert part.error_code == 0


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ([(1, 0, [ACCEPT])], INVALID_REQUEST),
        ([(-1, 0, [ACCEPT])], INVALID_REQUEST),
        ([(0, 1, [])], INVALID_REQUEST),
        ([(0, 1, [ACCEPT] * 3)], INVALID_REQUEST),
        ([(0, 0, [5])], INVALID_REQUEST),
        ([(0, 0, [-1])], INVALID_REQUEST),
        ([(0, 0, [RENEW])], INVALID_REQUEST),  # and the request does not say so
        ([(0, 1, [ACCEPT]), (1, 2, [ACCEPT])], INVALID_REQUEST),
        ([(0, 9, [ACCEPT])], INVALID_REQUEST),
        ([(0, 3, [ACCEPT])], INVALID_STATE),  # 3 is another member's
        ([(0, 0, [ACCEPT]), (3, 3, [ACCEPT])], INVALID_STATE),
    ],
)
def test_what_is_refused_is_refused_as_a_whole(a, told, code):
    topic = a.topic(partitions=2)
    append(topic, 4)
    append(topic, 1, 1)
    a.fetch([(topic, 0)], most=3, mode=1)
    beside(a, "b").fetch([(topic, 0)])
    other = (topic, 1, [(0, 0, [ACCEPT])])
    a.fetch([(topic, 1)])
    parts = parts_of(a.acknowledge((topic, 0, told), other))
    assert [parts[topic.uuid, it].error_code for it in (0, 1)] == [code, 0]
    parts = parts_of(a.fetch(said=[(topic, 0, told)]))
    assert parts[topic.uuid, 0].acknowledge_error_code == code
    assert parts[topic.uuid, 0].acknowledge_error_message
    [part] = parts_of(a.acknowledge((topic, 0, [(0, 2, [ACCEPT])]))).values()
    assert part.error_code == 0


def test_of_what_nobody_was_given_nothing_is_said(a):
    topic = a.topic(partitions=2)
    a.fetch([(topic, 0)])
    parts = parts_of(a.acknowledge((topic, 1, [(0, 0, [ACCEPT])]), (topic, 9, [])))
    assert [parts[topic.uuid, it].error_code for it in (1, 9)] == [3, 0]


def test_more_time_is_asked_for_without_fetching(a):
    topic = a.topic()
    append(topic, 2)
    append(topic, 1)
    a.fetch([(topic, 0)], most=2)
    said = [(topic, 0, [(0, 0, [RENEW]), (1, 1, [ACCEPT])])]
    for what in ("most", "max_bytes", "min_bytes", "wait_ms"):
        zeros = {"most": 0, "max_bytes": 0, "min_bytes": 0, "wait_ms": 0, what: 1}
        assert a.fetch(said=said, renews=True, **zeros).error_code == INVALID_REQUEST
    a.talk.pass_time(LOCK_S - 1)
    answer = a.fetch(said=said, renews=True, most=0, max_bytes=0, min_bytes=0)
    [part] = parts_of(answer).values()
    assert (part.acknowledge_error_code, part.acquired_records) == (0, [])
    a.talk.pass_time(LOCK_S - 1)
    parts = parts_of(a.acknowledge((topic, 0, [(0, 0, [RENEW])]), renews=True))
    assert parts[topic.uuid, 0].error_code == 0
    a.setting("share.renew.acknowledge.enable", "false")
    a.setting("share.auto.offset.reset", "earliest")
    parts = parts_of(a.acknowledge((topic, 0, [(0, 0, [RENEW])]), renews=True))
    assert parts[topic.uuid, 0].error_code == INVALID_STATE


def test_version_1_knows_no_renewal(a):
    a.version = 1
    topic = a.topic()
    append(topic, 2)
    a.fetch([(topic, 0)])
    [part] = parts_of(a.acknowledge((topic, 0, [(0, 0, [RENEW])]))).values()
    assert part.error_code == INVALID_REQUEST
    [part] = parts_of(a.acknowledge((topic, 0, [(0, 0, [ACCEPT])]))).values()
    assert part.error_code == 0


def test_a_session_that_ends_with_an_acknowledgement(a):
    topic = a.topic()
    append(topic, 3)
    a.fetch([(topic, 0)])
    answer = a.acknowledge((topic, 0, [(0, 0, [ACCEPT])]), epoch=-1)
    assert parts_of(answer)[topic.uuid, 0].error_code == 0
    assert acquired(beside(a, "b").fetch([(topic, 0)]), topic) == [(1, 2, 2)]
    a.epoch = 0
    a.fetch([(topic, 0)])
    assert a.fetch([(topic, 0)], epoch=-1).error_code == INVALID_REQUEST  # it reads nothing more
    assert a.fetch(epoch=-1).error_code == 0


# Rights, quotas, memory


def test_rights_that_are_taken_while_it_waits():
    rules = [KeptRule("al", ALL, kind, "*") for kind in (TOPIC, GROUP)]
    users = KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al")
    access = Access(Unkept(KeptAccess(users, rules)))
    a = Sharer(talk=Talk(access=access))
    a.talk.session._login = None
    a.talk.session._client.become(Identity("al", "192.0.2.1", "PLAIN", "kafka"))
    topic, other = a.topic(), a.topic("other")
    a.fetch([(topic, 0), (other, 0)])
    a.send(wait_ms=500)
    assert a.heard() is None
    access.change([KeptRule("al", ALL, TOPIC, "t", allow=False)])
    append(topic, 1)
    assert a.heard() is None
    append(other, 1)
    parts = parts_of(a.heard())
    assert parts[topic.uuid, 0].error_code == errors.TOPIC_AUTHORIZATION_FAILED
    assert len(parts[other.uuid, 0].acquired_records) == 1
    a.send(wait_ms=500)
    assert a.heard() is None
    access.change([KeptRule("al", ALL, GROUP, "g", allow=False)])
    assert a.heard().error_code == errors.GROUP_AUTHORIZATION_FAILED


def test_a_quota_gives_a_windows_worth_and_then_the_client_waits(a):
    quota = KeptQuota((("client-id", "test"),), {"consumer_byte_rate": 20.0})
    assert a.talk.door.access.change([quota]).error is None
    topic = a.topic()
    for _ in range(10):
        append(topic, 1)
    size = topic.partitions[0].read(0, 1)[0].size
    answer = a.fetch([(topic, 0)])
    assert acquired(answer, topic) == [(0, 200 // size - 1, 1)]  # a window of 10 s
    assert answer.throttle_time_ms == 0
    answer = a.fetch()
    assert acquired(answer, topic) == [(200 // size, 2 * (200 // size) - 1, 1)]
    assert answer.throttle_time_ms > 0
    a.send()
    assert a.heard() is None  # nothing is taken of it meanwhile
    a.talk.pass_time(answer.throttle_time_ms / 1000)
    a.talk.feed(b"")
    assert a.heard().error_code == 0


def test_sessions_are_held_for_their_connection(a):
    topic = a.topic(partitions=5)
    before = a.talk.session.held_bytes
    a.fetch([(topic, number) for number in range(5)])
    assert a.talk.session.held_bytes == before + 5 * 256
    a.fetch(epoch=-1)
    assert a.talk.session.held_bytes == before


def test_a_partition_is_told_of_by_codes_that_clients_know(a, monkeypatch):
    """Kafka's ends with any other."""
    monkeypatch.setattr(shares_module, "PARTITIONS_MAX", 0)
    topic = a.topic()
    [part] = parts_of(a.fetch([(topic, 0)])).values()
    assert part.error_code == errors.UNKNOWN_SERVER_ERROR
    assert "which is the maximum" in part.error_message


# Work of a turn


def test_many_partitions_are_looked_at_in_parts(a, monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT_ONCE", 10)
    topic = a.topic(partitions=100)
    append(topic, 1, 3)
    places = [(topic, number) for number in range(100)]
    a.send(places, wait_ms=500)
    woken, turns = a.talk.woken, 0
    while (answer := a.heard()) is None:
        assert a.talk.woken > woken
        woken, turns = a.talk.woken, turns + 1
    assert acquired(answer, topic, 3) == [(0, 0, 1)]
    assert turns >= 9


def test_a_large_request_is_read_by_a_worker(a):
    topic = a.topic(partitions=2)
    jobs = []
    talk = Talk(work=lambda job, done: jobs.append((job, done)))
    b = Sharer("b", talk=talk)
    topic = b.topic(partitions=100)
    for number in range(100):
        append(topic, 1, number)
    b.send([(topic, number) for number in range(100)] * 20)
    assert b.heard() is None
    assert len(jobs) == 1
    job, done = jobs.pop()
    done(job())
    assert len(parts_of(b.heard())) == 100


def test_what_is_no_request_ends_the_connection(a):
    rng = random.Random(7)
    topic = a.topic()
    append(topic, 3)
    for number in range(200):
        sharer = beside(a, f"m{number}")
        request = sharer.request([(topic, 0)], [(topic, 0, [(0, 0, [ACCEPT])])], epoch=0)
        out = bytearray()
        codec(share_fetch.Request, 2, True).write(out, request)
        out[rng.randrange(len(out))] = rng.randrange(256)
        del out[rng.randrange(len(out) + 1) :]
        sharer.talk.send(78, 2, out)
        if sharer.talk.session.closed is None:
            sharer.talk.pass_time(3000)
            sharer.talk.replies()
        sharer.talk.session.close()
    assert len(a.talk.shares_of.opened.sessions) == 0
