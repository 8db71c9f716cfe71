"""What one request may do in one turn, for every request of both doors, as large as it may be.

Counted are calls of functions in the sessions' thread, not time.
"""

from dataclasses import replace
from functools import cache

import pytest
from counted_turns import Thread
from door_kit import Talk
from http_kit import HttpPeer
from resp_kit import FakeDoor, boss, user
from transacting_talk import NAME, TransactingTalk

from bench import largest, largest_http
from logstore.access.access import ADMINISTRATOR, Access, Unkept, open_access
from logstore.access.identity import Identity
from logstore.access.resources import (
    ALL,
    CHANNEL,
    CLUSTER,
    CLUSTER_NAME,
    GROUP,
    TOPIC,
    TRANSACTIONAL_ID,
)
from logstore.broker.transactions.table import _Entry
from logstore.broker.transactions.transactional_id import TransactionalId
from logstore.http.routes import Router
from logstore.kafka.messages import describe_groups as describe_messages
from logstore.kafka.messages import describe_transactions as describe_transactions_messages
from logstore.kafka.messages import join_group as join_messages
from logstore.kafka.messages import list_transactions as list_transactions_messages
from logstore.kafka.messages import sync_group as sync_messages
from logstore.kafka.schema import codec
from logstore.kept.users import PREFIX, KeptAccess, KeptRule, KeptUser
from logstore.protocols.http.routes import ROUTES
from logstore.protocols.kafka.apis import APIS
from logstore.protocols.kafka.session import KafkaSession
from logstore.slices import Slices

ELEMENTS = 20_000
CALLS_MAX = 39_900  # in a turn, some 10 ms; two for each element would be more
EXEC_CALLS_MAX = 60_000  # some 15 ms: a transaction is in one piece for longer than others are
READ_BYTES = 512 << 10

pytestmark = pytest.mark.long


@pytest.fixture
def thread(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    monkeypatch.setattr("logstore.protocols.resp.requests.ARGUMENTS_AT_ONCE", 1000)
    return Thread()


OF_KAFKA = [it.name for it in largest.kafka(5)]
OF_REDIS = [it.name for it in largest.redis(20)]
TRANSACTIONS = [f"multi, {it}" for it in largest.QUEUED]


@cache
def large(kind):
    """By name; made once, by whoever needs them first."""
    return {it.name: it for it in kind(ELEMENTS)}


def a_user_of_everything():
    """By rules: each of the names is looked up."""
    rules = [KeptRule("al", ALL, kind, "*") for kind in (TOPIC, GROUP, TRANSACTIONAL_ID)]
    rules.append(KeptRule("al", ALL, CLUSTER, CLUSTER_NAME))
    users = KeptUser("al"), KeptUser("root", tags=(ADMINISTRATOR,))
    return Access(Unkept(KeptAccess(users, rules)))


@pytest.mark.parametrize("access", [open_access, a_user_of_everything])
@pytest.mark.parametrize("name", OF_KAFKA)
def test_no_kafka_request_does_more_in_a_turn(thread, name, access):
    it = large(largest.kafka)[name]
    talk = Talk(work=thread.work, access=access())
    talk.topics.create("t", 3, {})
    talk.shares_of.work = thread.work
    session = counted(thread, talk)
    assert thread.turn(lambda: talk.feed(it.data)) == len(it.data)
    answered = 0
    for _ in range(ELEMENTS):
        went_on = thread.go_on()
        thread.turn(talk.shares_of.step)
        out = thread.turn(lambda: session.outgoing(1 << 20))
        answered += sum(map(len, out))
        if not went_on and not out and not talk.shares_of.busy:
            talk.pass_time(1)  # a fetch waits for news
            if not session.busy:
                break
    assert not session.busy
    assert answered or session.closed
    assert thread.most <= CALLS_MAX


@pytest.mark.parametrize("access", [open_access, a_user_of_everything])
@pytest.mark.parametrize("name", ["list", "describe", "describe one of many partitions"])
def test_no_request_about_many_transactions_does_more_in_a_turn(thread, name, access):
    talk = TransactingTalk(work=thread.work, access=access())
    for number in range(ELEMENTS):
        talk.node.table._put(_Entry(TransactionalId(f"{number:x}", number, 0, 1, 1), None))
    names = [f"{it:x}" for it in range(ELEMENTS - 1)]
    if name == "describe one of many partitions":
        names = [NAME]
        topic, producer = talk.topics.create("t", 1, {}), talk.node.producer()
        talk.node.write(producer, (topic.uuid, 0))
        for number in range(ELEMENTS):
            talk.node.coordinator.wrote(producer.pid, (topic.uuid, number), talk.log())
    key, version, request = 65, 0, describe_transactions_messages.Request(names)
    if name == "list":
        key, version = 66, 2
        request = list_transactions_messages.Request(transactional_id_pattern=".*")
    session, body = counted(thread, talk), bytearray()
    codec(type(request), version, True).write(body, request)
    frame = talk.frame(key, version, body)
    thread.turn(lambda: talk.feed(frame))
    answered = 0
    while session.busy:
        went_on = thread.go_on()
        out = thread.turn(lambda: session.outgoing(1 << 20))
        answered += sum(map(len, out))
        assert went_on or out
    assert answered > 4 * ELEMENTS  # bytes
    assert thread.most <= CALLS_MAX


def counted(thread, talk):
    """A session whose work is done in turns of the thread."""
    talk.door = replace(talk.door, slices=Slices(thread.soon))
    session = talk.session = KafkaSession(
        talk.door, talk._wake, ("127.0.0.1", 9092), ("192.0.2.1", 50_000)
    )
    if talk.door.access.required:
        session._login = None
        session._client.become(Identity("al", "192.0.2.1", "PLAIN", "kafka"))
    return session


@pytest.mark.parametrize("name", [it for it in OF_REDIS if it not in TRANSACTIONS])
def test_no_redis_command_does_more_in_a_turn(thread, name):
    say_to_redis(thread, large(largest.redis)[name])
    assert thread.most <= CALLS_MAX


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_no_transaction_does_more_in_a_turn(monkeypatch, thread, name):
    monkeypatch.setattr("logstore.slices.monotonic", thread.now)
    monkeypatch.setattr("logstore.slices.SLICE_S", 0.005)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 0.02)
    say_to_redis(thread, large(largest.redis)[name])
    assert thread.most <= EXEC_CALLS_MAX


@pytest.mark.parametrize("name", OF_REDIS)
def test_no_redis_command_does_more_in_a_turn_for_a_user_with_rules(monkeypatch, thread, name):
    text = "on nopass ~* resetchannels &a* &news.* +@all (~x* +get)"
    rules = [KeptRule("default", ALL, CHANNEL, f"{it:x}", PREFIX) for it in range(8)]
    rules.append(KeptRule("default", ALL, CLUSTER, CLUSTER_NAME))
    monkeypatch.setattr("logstore.slices.monotonic", thread.now)
    monkeypatch.setattr("logstore.slices.SLICE_S", 0.005)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 0.02)
    door = FakeDoor(users=[boss(), user("default", redis=text)], rules=rules)
    say_to_redis(thread, large(largest.redis)[name], door)
    assert thread.most <= EXEC_CALLS_MAX


SERVED = [b"BLMPOP 0 1 l LEFT COUNT 10000000", b"BZMPOP 0 1 z MIN COUNT 10000000"]


@pytest.mark.parametrize("line", SERVED)
def test_who_waits_for_much_is_served_some_in_a_turn(thread, line):
    door = FakeDoor()
    waits, second = door.connect(), door.connect()
    for it in (waits, second):
        assert it.ask(*line.split(b" ")) == b""
    names = [b"%x" % it for it in range(ELEMENTS // 2)]
    words = [b"RPUSH", b"l", *names]
    if line.startswith(b"BZ"):
        words = [b"ZADD", b"z", *(word for it in names for word in (b"1", it))]
    say_to_redis(thread, largest.Large("what is waited for", largest.request(words)), door)
    assert thread.most <= CALLS_MAX
    found = b"".join(waits.session.outgoing(1 << 30))
    assert found.startswith(b"*2\r\n$1\r\n")
    assert found.count(b"\r\n") > 2 * len(names)
    assert not second.session.outgoing(1 << 30)
    assert second.session._client.blocked is not None


def say_to_redis(thread, it, door=None):
    """Until it is answered, with a PING behind it."""
    door = door or FakeDoor()
    door.channels.attach(thread.soon)
    door.door.slices, door.door.work = Slices(thread.soon), thread.work
    door.around.worker = thread.work
    peer = door.connect()
    session, link = peer.session, peer.link
    data = it.data + largest.request([b"PING", b"mark"])
    arrived, at, last = 0, 0, b""
    while session.closed is None and link.cut_for is None:
        arrived = min(len(data), max(arrived, at + max(READ_BYTES, session.wants)))
        view, woken = memoryview(data)[at:arrived], link.woken
        taken = thread.turn(lambda view=view: session.receive(view, door.now)) if view else 0
        at += taken
        more = not taken and arrived < len(data)
        if more:
            arrived += READ_BYTES
        # What was changed is one batch, however many keys a command names.
        thread.turn(door.around.step)
        out = thread.turn(lambda: session.outgoing(1 << 20))
        last = (last + b"".join(out) + link.sent)[-100:]
        link.sent = b""
        if link.woken > woken:
            thread.turn(lambda: session.wake(door.now))
        asleep = link.woken
        went_on = thread.go_on() or taken or more or out or door.around.calls
        if link.woken > asleep:
            thread.turn(lambda: session.wake(door.now))
        if not went_on and woken == link.woken:
            if session._client.blocked is None:
                break
            for wait_s in (0, 10):  # it is told the time, and then that it is over
                door.now += wait_s
                thread.turn(lambda: session.wake(door.now))
    assert at == len(data) or session.closed is not None
    assert b"mark" in last or b"QUEUED" in last or session.closed is not None or link.cut_for


MEMBERS = 2000
GROUP_CALLS_MAX = 25  # of one turn, a member: some 30 ms for 10,000 of them


def joining(member_id, talk):
    protocols = [join_messages.Protocol("range", b"topics")]
    request = join_messages.Request("g", 60_000, 60_000, member_id, None, "consumer", protocols)
    return talk.say(11, 5, request)


def test_a_large_group_holds_up_nobody_when_its_members_are_told(thread):
    node = Talk(work=thread.work, settings={"group.initial.rebalance.delay.ms": 100_000})
    node.door = replace(node.door, slices=Slices(thread.soon))
    talks, members = [Talk(beside=node) for _ in range(MEMBERS)], []
    for talk in talks:
        joining("", talk)
        [(_, body)] = talk.replies()
        members.append(talk.read(11, 5, join_messages.Response, body).member_id)
        joining(members[-1], talk)
    node.keeper.held = True
    thread.turn(lambda: node.pass_time(101))  # all have joined
    thread.turn(node.keeper.settle)
    sizes = [thread.turn(lambda talk=talk: talk.out()) for talk in talks]
    [leader] = [number for number, it in enumerate(sizes) if not it]
    for number, talk in enumerate(talks):
        if number != leader:
            talk.say(14, 3, sync_messages.Request("g", 1, members[number]))
    assert thread.go_on()  # a worker makes the leader's answer
    answer = thread.turn(lambda: talks[leader].out())
    told = talks[leader].read(11, 5, join_messages.Response, answer[8:])
    assert [it.member_id for it in told.members] == members
    parts = [sync_messages.Assignment(it, b"all") for it in members]
    sync = sync_messages.Request("g", 1, members[leader], assignments=parts)
    thread.turn(lambda: talks[leader].say(14, 3, sync))
    while thread.go_on():
        pass
    thread.turn(node.keeper.settle)
    while thread.go_on():
        pass
    assert all(thread.turn(lambda talk=talk: talk.out()) for talk in talks)
    thread.turn(lambda: talks[0].say(15, 5, describe_messages.Request(["g"])))
    while thread.go_on():
        pass
    assert thread.turn(lambda: talks[0].out())
    assert thread.most <= GROUP_CALLS_MAX * MEMBERS


def read_by_http(door, call):
    """What every handler begins with."""
    if call.head.target in TAKEN:
        call.json(TAKEN[call.head.target])
    call.answer({})


TAKEN = {}  # by the target: what the body is read as
OF_HTTP = list({it.name: it for it in largest_http.requests("x")}.values())


@pytest.mark.parametrize("name", [it.name for it in OF_HTTP])
def test_no_http_request_does_more_in_a_turn_before_its_handler(thread, name):
    [it] = [it for it in OF_HTTP if it.name == name]
    target = it.data.split(b" ", 2)[1]
    for route in ROUTES:
        if route.takes is not None and name.startswith(f"{route.method} {route.path}"):
            TAKEN[target] = route.takes
    peer = HttpPeer(router=Router([it._replace(handler=read_by_http) for it in ROUTES]))
    at = 0
    while at < len(it.data):
        piece, at = it.data[at : at + READ_BYTES], at + READ_BYTES
        thread.turn(lambda piece=piece: peer.feed(piece))
    assert thread.turn(peer.out).startswith(b"HTTP/1.1 ")
    # Of 2700 headers each takes 17 calls that are short: 5 ms in all.
    assert thread.most <= (EXEC_CALLS_MAX if name == "headers" else CALLS_MAX)


def test_every_route_has_its_largest_request():
    names = {it.name for it in OF_HTTP}
    for route in ROUTES:
        if route.path not in largest_http.NEVER and route.method == "GET":
            assert any(it.startswith(f"GET {route.path}") for it in names), route.path


def test_every_request_of_the_tables_has_its_largest():
    assert {name.split()[0] for name in OF_KAFKA} == {api.name for api in APIS.values()}
    for command in largest.all_commands():
        words = largest.words_of(command, ELEMENTS)  # or it says that there are none
        assert command.run is None or command.takes(len(words)), command.name
    assert {it.name for it in largest.all_commands()} <= set(OF_REDIS)
    assert set(OF_REDIS) >= {
        "set, the longest value", "set, a value that is too long", "setrange, a value of 512 MiB",
        "set, a crowd that expires at once", "randomkey, of a crowd that has expired",
    }  # fmt: skip
