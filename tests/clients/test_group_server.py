"""Groups of a server process: restarts, stopping, expiry, bounds, consumers in the directory."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from confluent_kafka.admin import NewPartitions
from librdkafka import admin, create, outcome, produce
from members import ConfluentConsumer, polled, shared
from serving import DEADLINE_S
from waiting import until
from wire_member import INCONSISTENT, NOT_COORDINATOR, REBALANCING, Member

import logstore
from logstore.errors import GroupBusy
from logstore.kafka.messages import (
    join_group,
)
from logstore.kafka.schema import codec

pytestmark = pytest.mark.long


def test_members_go_on_in_their_generation_when_a_killed_server_is_back(start):
    server = start()
    with Member(server.endpoint) as member:
        member.create("t")
        member.settle()
        assert member.commit(5) == 0
    server.stop(signal.SIGKILL)
    server = start()
    with Member(server.endpoint, member=member.id) as again:
        again.generation = member.generation
        assert again.beat() == 0
        assert again.sync().assignment == b"all"
        assert again.committed() == {"t": 5}
        assert again.leave() == 0
        with Member(server.endpoint) as other:
            assert other.join().generation_id > member.generation


def test_a_member_that_does_not_come_back_after_a_restart_is_out_after_its_session(start):
    server = start(group_min_session_timeout_ms=100)
    with Member(server.endpoint, session_ms=300) as member:
        member.settle()
    server.stop()
    server = start(group_min_session_timeout_ms=100)
    with Member(server.endpoint) as other:
        answer = other.join()  # waits for the first
        assert [it.member_id for it in answer.members] == [other.id]


def test_stopping_answers_who_waits_for_others(start):
    server = start()
    with Member(server.endpoint) as member, Member(server.endpoint) as other:
        member.settle()
        ended = []
        stopper = threading.Thread(target=lambda: ended.append(server.stop()))

        def join():
            ended.append(other.join().error_code)

        waiter = threading.Thread(target=join)
        waiter.start()
        until(lambda: member.beat() == REBALANCING)  # the other's join has come
        stopper.start()
        waiter.join(DEADLINE_S)
        stopper.join(DEADLINE_S)
    assert ended == [NOT_COORDINATOR, (0, "")]


def test_a_commit_under_way_is_answered_before_the_server_stops(start):
    server = start()
    with Member(server.endpoint) as member:
        member.create("t")
        codes, some = [], threading.Event()

        def commit():
            with suppress(ConnectionError):
                while True:
                    codes.append(member.commit(len(codes) + 1))
                    if len(codes) > 10:
                        some.set()

        committer = threading.Thread(target=commit)
        committer.start()
        assert some.wait(DEADLINE_S)
        assert server.stop() == (0, "")
        committer.join(DEADLINE_S)
    assert set(codes) == {0}
    with logstore.open(server.data) as store:
        [kept] = store.group("g").describe()
    assert kept.committed in (len(codes), len(codes) + 1)  # the last one may not have been heard


def test_who_ends_the_connection_while_it_waits_stays_a_member_for_its_session(start):
    server = start(group_min_session_timeout_ms=100)
    with Member(server.endpoint, session_ms=30_000) as member:
        member.settle()
        with Member(server.endpoint, session_ms=500) as other:
            out = bytearray()
            codec(join_group.Request, 3, False).write(out, other.a_join())
            other.send(11, 3, bytes(out))
            until(lambda: member.beat() == REBALANCING)
        assert len(member.join().members) == 2
        assert member.sync([(member.id, b"all")]).error_code == 0
        until(lambda: member.beat() == REBALANCING)  # its session has ended
        assert len(member.join().members) == 1


def test_offsets_expire_when_nobody_is_a_member_and_never_while_somebody_is(start):
    fast = {"upkeep_interval_ms": 50, "offsets_retention_minutes": 0}
    server = start(**fast)
    with ExitStack() as stack:
        member, consumer, loner = (
            stack.enter_context(Member(server.endpoint, group=name))
            for name in ("classic", "other", "simple")
        )
        member.create("t")
        member.settle()
        consumer.settle()
        assert [it.commit(5) for it in (member, consumer, loner)] == [0, 0, 0]
        until(lambda: not loner.committed())  # it never had members: its offset is over at once
        assert member.committed() == consumer.committed() == {"t": 5}
        assert consumer.leave() == 0
        until(lambda: not consumer.committed())
        assert member.beat() == 0
        assert member.committed() == {"t": 5}


def test_clients_and_consumers_in_the_directory_keep_each_other_out(start):
    server = start()
    assert produce(server, "t", [b"1"]) == []
    with Member(server.endpoint) as member, logstore.open(server.data, "read") as store:
        member.settle()
        with pytest.raises(GroupBusy, match="clients of"):
            store.consumer("t", group="g")
        assert member.leave() == 0
        until(lambda: store.group("g").members() == [])  # who leaves is told before it is durable
        consumer = store.consumer("t", group="g")
        assert [it.value for it in consumer] == [b"1"]
        member.id = ""
        assert member.join().error_code == INCONSISTENT
        consumer.close()
        member.id = ""
        assert member.join().error_code == 0
        assert member.committed() == {"t": 1}


def test_a_topic_that_grows_is_shared_anew(start):
    server = start(group_consumer_heartbeat_interval_ms=100)
    create(server, "t", 2)
    one, other = members = [ConfluentConsumer(server.address, "t", "g") for _ in range(2)]
    polled(members, lambda: shared(members, 2))
    assert outcome(admin(server).create_partitions([NewPartitions("t", 6)])) == [None]
    polled(members, lambda: shared(members, 6))
    one.close()
    other.close()


def test_three_hundred_members_come_and_go(start):
    server = start(group_initial_rebalance_delay_ms=1500)
    with ExitStack() as stack:
        members = [stack.enter_context(Member(server.endpoint)) for _ in range(300)]
        joined = at_once(Member.join, members)
        [leader] = [it for it in joined if it.members]
        assert sorted(it.member_id for it in leader.members) == sorted(it.id for it in members)
        parts = [(it.id, it.id.encode()) for it in members]
        told = at_once(lambda it: it.sync(parts if it.id == leader.leader else ()), members)
        assert [it.assignment for it in told] == [it.id.encode() for it in members]
        assert at_once(Member.leave, members[1:]) == [0] * 299
        assert members[0].beat() == REBALANCING
        assert len(members[0].join().members) == 1


def at_once(work, members):
    """What it gives for each; every one of them may have to wait for all the others."""
    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(work, members, timeout=DEADLINE_S))
