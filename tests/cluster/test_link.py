"""One connection to a broker: versions, logins, answers in order, and how it ends."""

import struct

import pytest
from door_kit import Talk, a_batch
from linked import Linked
from sasl_kit import Stranger

from logstore.cluster import kinds
from logstore.cluster.by_id import Fetch, Produce
from logstore.cluster.link import READY_S, THROTTLE_MAX_S
from logstore.cluster.login import Credentials
from logstore.errors import BrokenProtocol, ClusterUnreachable
from logstore.kafka.fetch_codec import Asked, FetchRequest
from logstore.kafka.messages import metadata
from logstore.kafka.produce_codec import Part, ProduceRequest
from logstore.kafka.wire import NIL_UUID


def all_topics():
    return metadata.Request(None)


def test_requests_wait_until_the_versions_are_known():
    linked, heard = Linked(), []
    linked.link.ask(kinds.METADATA, all_topics(), heard.append)
    assert not linked.link.ready
    linked.pump()
    [answer] = heard
    assert linked.link.ready
    assert [it.node_id for it in answer.brokers] == [1]


@pytest.mark.parametrize("kind", [it for it in vars(kinds).values() if isinstance(it, kinds.Kind)])
def test_our_own_server_speaks_a_version_of_each(kind):
    linked = Linked()
    linked.pump()
    version = linked.link.version_of(kind)
    assert kind.low <= version <= kind.high


@pytest.mark.parametrize("by_id", [False, True])
def test_records_go_over_as_they_are(by_id):
    linked = Linked()
    topic = linked.talk.topics.create("t", 1, {})
    id_ = topic.uuid if by_id else NIL_UUID
    batch = memoryview(a_batch(b"one", b"two"))
    wanted = ProduceRequest(None, -1, 1000, [("t", [Part(0, batch)])])
    [(name, [part])] = linked.ask(kinds.PRODUCE, Produce(wanted, {"t": id_})).topics
    assert (name, part.error_code, part.base_offset) == (id_ if by_id else "t", 0, 0)
    request = FetchRequest(0, 1, 1 << 20, 0, 0, -1, [Asked("t", 0, 0, 1 << 20)], [], False)
    [got] = linked.ask(kinds.FETCH, Fetch(request, {"t": id_})).got
    assert (got.topic, bytes(got.records)) == (name, bytes(batch))


def test_nothing_is_sent_while_a_broker_throttles():
    linked = Linked()
    linked.pump()
    rung = []
    linked.link._call_at = lambda at, call: rung.append((at, call))
    answer = linked.ask(kinds.METADATA, all_topics())
    linked.link._obey(3000)
    heard = []
    linked.link.ask(kinds.METADATA, all_topics(), heard.append, seconds=5)
    linked.pump()
    [(at, call)] = rung
    assert (heard, at, linked.link.silent_s) == ([], linked.talk.now + 3, 0)
    linked.talk._time.now = at - 0.001
    call()  # too early
    linked.pump()
    assert (heard, len(rung)) == ([], 2)
    linked.talk._time.now = at
    call()
    linked.pump()
    assert heard == [answer]


def test_a_broker_is_obeyed_for_a_minute_at_the_most():
    linked = Linked()
    linked.pump()
    linked.link._obey(2**31 - 1)
    assert linked.link._quiet_until == linked.talk.now + THROTTLE_MAX_S


def test_answers_come_to_whoever_has_asked():
    linked, heard = Linked(), []
    for number in range(300):
        linked.link.ask(kinds.METADATA, all_topics(), lambda it, n=number: heard.append((n, it)))
    linked.pump()
    assert [number for number, _ in heard] == list(range(300))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_it_logs_in(mechanism):
    linked = Linked(Stranger(), credentials=Credentials(mechanism, "al", "pencil"))
    assert [it.node_id for it in linked.ask(kinds.METADATA, all_topics()).brokers] == [1]


def test_a_wrong_password_is_told_to_whoever_asks():
    stranger = Stranger()
    linked = Linked(stranger, credentials=Credentials("PLAIN", "al", "crayon"))
    heard = []
    linked.link.ask(kinds.METADATA, all_topics(), heard.append)
    linked.pump()
    stranger.pass_time(0.11)
    linked.pump()
    [error] = heard
    assert isinstance(error, ClusterUnreachable)
    assert "refused the login" in str(error)
    assert "crayon" not in repr(linked.link) + str(error)


def test_an_answer_that_is_overdue_ends_the_link():
    linked, heard = Linked(), []
    linked.pump()
    linked.link.ask(kinds.METADATA, all_topics(), heard.append, seconds=5)
    linked.talk._time.now += 4.9
    linked.link.look()
    assert heard == []
    linked.talk._time.now += 0.2
    linked.link.look()
    [error] = heard
    assert "does not answer metadata" in str(error)
    assert linked.ask(kinds.METADATA, all_topics()) is error


def test_behind_what_waits_long_nothing_is_overdue():
    linked, heard = Linked(), []
    linked.pump()
    linked.link.ask(kinds.METADATA, all_topics(), heard.append, seconds=10)
    linked.link.ask(kinds.METADATA, all_topics(), heard.append, seconds=1)
    linked.talk._time.now += 9
    linked.link.look()
    first, _ = linked.frames(_answers(linked))
    linked.link.received(first)
    linked.talk._time.now += 0.9
    linked.link.look()
    assert (len(heard), linked.link.failure, round(linked.link.silent_s, 1)) == (1, None, 0.9)
    linked.talk._time.now += 0.2
    linked.link.look()
    assert isinstance(linked.link.failure, ClusterUnreachable)


def _answers(linked):
    linked.talk.feed(b"".join(map(bytes, linked.link.outgoing())))
    return linked.talk.out()


@pytest.mark.parametrize(("seconds", "lost_after"), [(60, READY_S), (3, 3)])
def test_a_broker_that_does_not_even_begin_is_left(seconds, lost_after):
    linked, heard = Linked(), []
    linked.link.ask(kinds.METADATA, all_topics(), heard.append, seconds=seconds)
    linked.talk._time.now += lost_after - 0.1
    linked.link.look()
    assert heard == []
    linked.talk._time.now += 0.2
    linked.link.look()
    assert "broker broker-1 does not answer" in str(heard[0])


@pytest.mark.parametrize(
    "frame", [b"", b"\0\0\0\x07", struct.pack(">ih", 1, 0), struct.pack(">ihi", 1, 0, 1 << 30)]
)
def test_a_broker_that_speaks_nonsense_is_left(frame):
    linked, heard = Linked(), []
    linked.link.ask(kinds.METADATA, all_topics(), heard.append)
    linked.link.received(memoryview(frame))
    [error] = heard
    assert isinstance(error, BrokenProtocol)
    assert linked.link.failure is error


def test_a_version_that_nobody_knows_is_told_to_whoever_asks():
    linked = Linked()
    linked.pump()
    linked.link._versions[3] = (20, 30)
    error = linked.ask(kinds.METADATA, all_topics())
    assert isinstance(error, ClusterUnreachable)
    assert "versions 20 to 30" in str(error)
    assert linked.link.failure is None


def test_a_broker_that_knows_only_the_oldest_way_is_asked_again():
    linked = Linked(Talk())
    sent, *_ = linked.link.outgoing()
    assert struct.unpack_from(">hh", sent, 4) == (18, 3)
    answer = struct.pack(">ihi", 1, 35, 1) + struct.pack(">hhh", 18, 0, 2)
    linked.link.received(memoryview(answer))
    assert struct.unpack_from(">hh", linked.link.outgoing()[0], 4) == (18, 0)
    answer = struct.pack(">ihi", 2, 0, 2) + struct.pack(">hhhhhh", 18, 0, 0, 3, 0, 9)
    linked.link.received(memoryview(answer))
    assert linked.link.ready
    assert linked.link.version_of(kinds.METADATA) == 9
