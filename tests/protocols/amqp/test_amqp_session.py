"""A connection's frames: how it begins and ends, what is refused, heartbeats, sizes."""

import random

import pytest
from amqp_kit import FakeLink, consume, declare, hard, message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logstore.amqp import frames, methods
from logstore.amqp.frames import HEAD, frame, method_frame
from logstore.errors import StorageFull
from logstore.protocols.amqp import reading
from logstore.protocols.amqp import session as module
from logstore.protocols.amqp.session import AmqpSession

CLOSE_OK = method_frame(0, methods.ConnectionCloseOk())
CHANNEL_CLOSE = methods.ChannelClose(200, "bye", 0, 0)


def test_a_connection_is_opened_and_closed(door):
    peer = door.connect()
    found = peer.shake_hands()
    assert [type(it) for it in found] == [
        methods.ConnectionStart, methods.ConnectionTune, methods.ConnectionOpenOk,
    ]  # fmt: skip
    assert peer.ask(methods.ChannelOpen()) == methods.ChannelOpenOk()
    peer.send(methods.ConnectionClose(200, "bye", 0, 0), channel=0)
    assert peer.methods() == [methods.ConnectionCloseOk()]
    assert peer.session.closed == ""


def test_the_first_client_waits_until_the_queues_are_open(door):
    node, peer = door.node, door.connect()
    node.closed = True
    assert type(peer.shake_hands()[-1]) is methods.ConnectionTune
    peer.send(methods.ChannelOpen())  # a client that does not wait for the answer
    assert not peer.got
    [opened] = node.opening
    opened(node.queues)
    door.run()
    assert peer.methods() == [methods.ConnectionOpenOk(), methods.ChannelOpenOk()]


def test_queues_that_cannot_be_opened_are_told_of_and_tried_again(door):
    node, peer, second = door.node, door.connect(), door.connect()
    node.closed = True
    peer.shake_hands()
    node.opening.pop()(StorageFull("d: no space left"))
    door.run()
    [close] = peer.methods()
    assert close == methods.ConnectionClose(541, "INTERNAL_ERROR - d: no space left", 10, 40)
    node.closed = False
    assert type(second.shake_hands()[-1]) is methods.ConnectionOpenOk


def test_a_client_that_went_while_the_queues_were_opened_gets_nothing(door):
    node, peer = door.node, door.connect()
    node.closed = True
    peer.shake_hands()
    peer.end()
    node.opening.pop()(node.queues)
    door.run()
    assert not peer.got


def test_who_publishes_what_takes_long_to_route_lets_others_have_their_turn(door):
    peer = door.open()
    peer.ask(declare())
    peer.ask(methods.ExchangeDeclare(0, "e", "headers", False, False, False, False, False, {}))
    peer.ask(methods.QueueBind(0, "q", "e", "", False, {}))
    ticks = iter(range(1000))
    door.door.stopwatch = lambda: next(ticks) * reading.READ_S / 3
    taken = []
    receive = peer.session.receive
    peer.session.receive = lambda data, now: taken.append(receive(data, now)) or taken[-1]
    one = message(b"0", exchange="e")
    peer.give(b"".join(message(b"%d" % n, exchange="e") for n in range(9)))
    door.run()
    assert max(taken) <= 4 * len(one)
    assert sum(taken) == 9 * len(one)
    assert [peer.ask(methods.BasicGet(0, "q", True))[2] for _ in range(9)] == [
        b"%d" % n for n in range(9)
    ]


def test_a_connection_is_closed_once_all_of_its_exclusive_queues_are_gone(door, monkeypatch):
    monkeypatch.setattr("logstore.broker.queues.vhost.OWNED_AT_ONCE", 3)
    peer, other = door.open(), door.open()
    for n in range(8):
        peer.ask(declare(f"q{n}", exclusive=True))
    peer.send(methods.ConnectionClose(200, "bye", 0, 0), channel=0)
    assert not peer.got
    door.run()
    assert peer.methods() == [methods.ConnectionCloseOk()]
    assert peer.session.closed == ""
    assert type(other.ask(declare("q7", exclusive=True))) is methods.QueueDeclareOk


@pytest.mark.parametrize(
    "sent",
    [b"AMQP\0\0\x09\0", b"AMQP\0\1\0\0", b"AMQP\3\1\0\0", b"amqp\0\0\x09\1", b"*1\r\n$4\r\n"],
)
def test_another_protocol_header_is_answered_with_ours(door, sent):
    peer = door.connect()
    peer.give(sent)
    assert peer.got == frames.PROTOCOL
    assert peer.session.closed == "the peer speaks another protocol: AMQP 0-9-1 is served here"


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"GET / HTTP/1.1\r\n", "the peer speaks HTTP: AMQP 0-9-1 is served here"),
        (
            bytes.fromhex("16030100c2010000be"),
            "the peer speaks TLS: AMQP 0-9-1 is served here, without TLS; see amqp.tls.port",
        ),
        (
            bytes.fromhex("0000001a0012000400000001"),
            "the peer speaks the Kafka protocol: AMQP 0-9-1 is served here; see kafka.port",
        ),
    ],
)
def test_other_protocols_at_the_port_are_told_of(door, sent, what):
    peer = door.connect()
    peer.give(sent)
    assert peer.session.closed == what


def test_how_it_is_cut_makes_no_difference(door):
    script = b"".join((
        method_frame(1, methods.ConfirmSelect(False)),
        method_frame(1, declare()),
        *[message(b"m%d" % n) for n in range(3)],
        message(b""), message(b"x" * 20_000, room=4000), message(b"m"), message(b"m", key="no"),
        method_frame(1, declare("q", passive=True)),
        method_frame(1, methods.BasicGet(0, "q", True)) * 3,
        method_frame(1, methods.QueuePurge(0, "q", False)),
        method_frame(1, methods.QueueDelete(0, "q", False, False, False)),
    ))  # fmt: skip

    def answers(cuts):
        peer = door.open()
        for begin, end in zip([0, *cuts], [*cuts, len(script)], strict=True):
            peer.give(script[begin:end])
        door.run()
        found = peer.all()
        confirmed = [it for it in found if isinstance(it[1], methods.BasicAck)]
        assert confirmed[-1][1].delivery_tag == 7
        return [it for it in found if it not in confirmed]

    whole = answers([])
    assert whole[2][1] == methods.QueueDeclareOk("q", 6, 0)
    assert [it[-1] for it in whole[3:6]] == [b"m0", b"m1", b"m2"]
    chance = random.Random(11)
    for count in (1, 3, 10, 100, 1000):
        assert answers(sorted(chance.sample(range(1, len(script)), count))) == whole
    assert answers(list(range(1, len(script)))) == whole


# Of connections

FRAME_ERRORS = {
    "wrong end": (b"\1\0\1\0\0\0\4\0\x14\0\x0a\0", 501,
                  "type 1, all octets = <<>>: {invalid_frame_end_marker,0}"),
    "too large": (HEAD.pack(3, 1, 200_000), 501,
                  "type 3, all octets = <<>>: {frame_too_large,200000,131064}"),
    "unknown type": (frame(7, 1, b""), 501, "type 7, all octets = <<>>: unknown_frame"),
    "type 0": (frame(0, 1, b""), 501, "type 0, all octets = <<>>: unknown_frame"),
    "heartbeat of a channel": (frame(8, 1, b""), 505, "a heartbeat belongs to channel 0"),
    "content of channel 0": (frame(2, 0, b""), 505,
                             "expected method frame, got non method frame instead"),
    "header without a method": (frame(2, 1, b"\0" * 14), 505,
                                "expected method frame, got non method frame instead"),
    "body without a header": (
        method_frame(1, methods.BasicPublish(0, "", "q", False, False)) + frame(3, 1, b"x"), 505,
        "expected content header for class 60, got non content header frame instead"),
    "method within a content": (
        message(b"xy")[:-10] + method_frame(1, declare()), 505,
        "expected content body, got non content body frame instead"),
    "body too long": (
        message(b"xy")[:-10] + frame(3, 1, b"xyz"), 501,
        "a body 1 bytes longer than its header says"),
    "header of another class": (
        method_frame(1, methods.BasicPublish(0, "", "q", False, False))
        + frame(2, 1, b"\0\x3d\0\0" + bytes(10)), 505,
        "expected content header for class 60, got one for class 61 instead"),
    "header too short": (
        method_frame(1, methods.BasicPublish(0, "", "q", False, False)) + frame(2, 1, b"\0\x3c"),
        501, "a content header ends too early"),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAME_ERRORS)
def test_a_broken_frame_ends_the_connection_and_no_other(door, peer, name):
    sent, code, text = FRAME_ERRORS[name]
    other = door.open()
    peer.give(sent)
    close = peer.answer()
    assert isinstance(close, methods.ConnectionClose)
    assert close.reply_code == code
    assert close.reply_text.partition(" - ")[2] == text
    peer.give(bytes(1000) if code == 501 else b"")  # it is discarded
    assert peer.session.closed is None
    peer.session.finish(door.now)
    assert peer.session.closed == close.reply_text
    assert other.ask(declare("other")).queue == "other"


def test_unknown_classes_and_methods(door):
    for payload, code in ((b"\0\x63\0\x0a", 503), (b"\0\x3c\0\xff", 540), (b"", 502), (b"\0", 502)):
        peer = door.open()
        peer.give(frame(1, 1, payload))
        close = peer.answer()
        assert (type(close), close.reply_code) == (methods.ConnectionClose, code)


def test_channel_numbers_beyond_the_maximum(door):
    peer = door.connect()
    peer.shake_hands(channel_max=5)
    close = peer.ask(methods.ChannelOpen(), channel=6)
    assert close == hard(
        504, "CHANNEL_ERROR - channel 6 is above the negotiated channel_max (5)", 20, 10
    )


def test_channels_are_many_and_each_takes_little(door):
    peer = door.connect()
    peer.shake_hands()
    peer.give(b"".join(method_frame(n, methods.ChannelOpen()) for n in range(1, 2048)))
    assert peer.methods() == [methods.ChannelOpenOk()] * 2047
    assert 2047 * 512 < peer.session.held_bytes < 4 << 20
    peer.give(b"".join(method_frame(n, CHANNEL_CLOSE) for n in range(1, 2048)))
    assert peer.methods() == [methods.ChannelCloseOk()] * 2047
    assert peer.session.held_bytes == 0


def test_a_vhost_that_there_is_not(door):
    peer = door.connect()
    *_, close = peer.shake_hands(vhost="x")
    assert close == hard(530, "NOT_ALLOWED - vhost x not found", 10, 40)
    peer = door.connect()
    *_, close = peer.shake_hands(vhost="")
    assert close.reply_text == "NOT_ALLOWED - vhost  not found"


def added(door, name):
    pending = door.node.queues.add_vhost(name)
    door.node.run(until=lambda: pending.done)


def test_each_vhost_has_queues_of_its_own(door):
    added(door, "größe".encode())
    here, there = door.open(), door.open(vhost="größe")
    assert here.ask(declare("q", durable=True)).message_count == 0
    there.ask(declare("q", exclusive=True))
    there.publish(b"1")
    door.run()
    assert there.ask(declare("q", passive=True)).message_count == 1
    assert here.ask(declare("q", passive=True)).message_count == 0
    assert there.ask(declare("p", passive=True)).reply_text == (
        "NOT_FOUND - no queue 'p' in vhost 'größe'"
    )


def test_a_connection_to_a_vhost_that_is_deleted_is_ended(door):
    added(door, b"v")
    stranger, peer = door.open(), door.open(vhost="v")
    peer.ask(declare("q", durable=True))
    peer.ask(declare("mine", exclusive=True))
    peer.publish(b"1", b"2")
    peer.send(consume("q"))
    door.run()
    assert len(peer.all()) == 3
    pending = door.node.queues.delete_vhost(b"v")
    door.node.run(until=lambda: pending.done)
    assert pending.error is None
    assert peer.methods() == [hard(320, "CONNECTION_FORCED - vhost 'v' is deleted", 0, 0)]
    peer.publish(b"3")  # it has not heard of it yet
    assert not peer.got
    peer.give(CLOSE_OK)
    assert peer.session.closed == "CONNECTION_FORCED - vhost 'v' is deleted"
    assert stranger.ask(declare("q")).message_count == 0
    *_, close = door.connect().shake_hands(vhost="v")
    assert close == hard(530, "NOT_ALLOWED - vhost v not found", 10, 40)


def test_a_connection_that_has_ended_hears_nothing_of_its_vhost(door):
    added(door, b"v")
    peer = door.open(vhost="v")
    peer.end()
    assert not door.node.queues.vhost(b"v").guests
    door.node.queues.delete_vhost(b"v")
    door.run()


def test_a_wrong_password_is_told_to_those_who_understand_it(door):
    for capabilities, answers in (({"authentication_failure_close": True}, 2), ({}, 1)):
        peer = door.connect()
        peer.give(frames.PROTOCOL)
        peer.send(
            methods.ConnectionStartOk(
                {"capabilities": capabilities}, "PLAIN", b"\0guest\0x", "en_US"
            ),
            channel=0,
        )
        found = peer.methods()
        assert len(found) == answers
        if answers == 1:
            assert peer.session.closed.startswith("PLAIN login refused: user 'guest'")
        else:
            assert found[1].reply_code == 403
            assert (found[1].class_id, found[1].method_id) == (0, 0)


def test_guest_is_let_in_from_this_machine_alone(door):
    link = FakeLink(door.node, 1)
    link.look = lambda: None
    link.peer_address = ("192.0.2.7", 1)
    session = AmqpSession(door.door, link)
    sent = frames.PROTOCOL + method_frame(
        0, methods.ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", "en_US")
    )
    session.receive(memoryview(sent), door.now)
    assert session.closed == "PLAIN login refused: user 'guest'"
    session.close()


def test_a_client_that_says_nothing_at_all_is_not_kept(door):
    peer = door.connect()
    door.run()  # its session has been woken
    assert peer.session.deadline == door.now + module.HANDSHAKE_S
    door.now += module.HANDSHAKE_S
    peer.look()
    assert peer.session.closed == "handshake timeout"


def test_a_handshake_that_does_not_come_to_an_end(door):
    peer = door.connect()
    peer.give(frames.PROTOCOL[:4])
    assert peer.session.deadline == door.now + module.HANDSHAKE_S
    door.now += module.HANDSHAKE_S
    peer.look()
    assert peer.session.closed == "handshake timeout"


def test_a_secret_is_updated(peer):
    ok = peer.ask(methods.ConnectionUpdateSecret(b"x", "because"), channel=0)
    assert ok == methods.ConnectionUpdateSecretOk()


# T38


def test_t38_a_message_over_the_largest_size_ends_its_channel(tmp_path):
    from amqp_kit import Door

    door = Door(tmp_path, message_bytes_max=1000)
    peer = door.open()
    peer.ask(declare())
    peer.give(message(b"x" * 1001)[:-500])
    close = peer.answer()
    assert close == methods.ChannelClose(
        406, "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
        60, 40,
    )  # fmt: skip
    peer.give(message(b"x" * 1001)[-500:] + method_frame(1, methods.ChannelCloseOk()))
    assert peer.session.closed is None
    peer.ask(methods.ChannelOpen())
    peer.publish(b"x" * 1000)
    assert peer.ask(declare(passive=True)).message_count == 1
    door.close()


def test_t38_a_body_comes_in_frames_of_any_size_and_goes_in_frames_of_the_agreed_one(door):
    peer = door.open(frame_max=4096)
    peer.ask(declare())
    body = bytes(range(256)) * 64
    for room in (1, 100, 4088):
        peer.give(message(body, room=room))
    for _ in range(3):
        peer.send(methods.BasicGet(0, "q", True))
        door.run()
        sizes = [len(payload) for kind, _, payload in peer.frames() if kind == frames.BODY]
        assert sizes == [4088, 4088, 4088, 4088, 32]


def test_t38_a_frame_before_tune_may_have_8192_octets(door):
    peer = door.connect()
    peer.give(frames.PROTOCOL)
    peer.give(HEAD.pack(1, 0, 8185))
    assert [type(it) for it in peer.methods()] == [
        methods.ConnectionStart, methods.ConnectionClose,
    ]  # fmt: skip


# T26


def test_t26_heartbeats_are_sent_where_nothing_else_was(door):
    peer = door.open(heartbeat=10)
    beats = 0
    for _ in range(20):
        door.now += 5
        peer.give(frames.HEARTBEAT_FRAME)  # the client is there
        peer.look()
        beats += [it[1] for it in peer.all()].count("heartbeat")
    assert 19 <= beats <= 20
    assert peer.session.closed is None
    for _ in range(4):
        door.now += 5
        assert peer.ask(declare()) is not None  # an answer is as good
        peer.look()
        assert peer.all() == []


def test_t26_a_silent_client_is_dropped(door):
    peer = door.open(heartbeat=10)
    began = door.now
    while peer.session.closed is None:
        assert peer.session.deadline > door.now
        door.now = peer.session.deadline
        peer.look()
    assert 20 <= door.now - began <= 30
    assert peer.session.closed == "missed heartbeats from the client, timeout: 10 s"


def test_t26_half_a_frame_is_a_sign_of_life(door):
    peer = door.open(heartbeat=10)
    sent = message(b"x" * 1000)
    for at in range(100):
        door.now += 9
        peer.give(sent[at : at + 1])
        peer.look()
    assert peer.session.closed is None


def test_t26_a_client_that_does_not_read_but_sends_is_there(door):
    peer = door.open(heartbeat=10)
    peer.link.unsent = 1  # so it is not read from
    for n in range(20):
        peer.link.unread = n
        door.now += 20
        peer.session.wake(door.now)
    assert peer.session.closed is None
    door.now += 30
    cut = []
    peer.link.cut = cut.append
    peer.session.wake(door.now)
    assert peer.session.closed is not None
    assert cut == [peer.session.closed]  # nobody waits until it reads what it was sent


def test_t26_a_publisher_that_is_held_back_is_there(door):
    """Its heartbeats stand behind what is not read now, as long as a cluster does not answer."""
    peer = door.open(heartbeat=10)
    logs = door.node.queues.logs
    logs.parked_bytes = 1 << 30
    peer.publish(b"x")
    peer.link.unread = 65_536
    for _ in range(5):
        door.now += 20
        peer.session.wake(door.now)
    assert peer.session.closed is None
    logs.parked_bytes = peer.link.unread = 0
    door.now += 10
    peer.session.wake(door.now)
    assert peer.session.closed is None
    door.now += 20
    peer.session.wake(door.now)
    assert peer.session.closed is not None


def test_t26_no_heartbeats_by_the_clients_wish(door):
    peer = door.open(heartbeat=0)
    assert peer.session.deadline is None


# The end


def test_a_client_that_never_answers_a_close_is_cut_off_in_the_end(door, peer):
    peer.give(frame(7, 1, b""))
    assert peer.session.deadline == door.now + module.CLOSE_S
    door.now += module.CLOSE_S
    peer.look()
    assert peer.session.closed.startswith("FRAME_ERROR")


def test_both_close_at_once(peer):
    peer.give(frame(1, 1, methods.encode(methods.ChannelFlow(False))))
    peer.methods()
    peer.send(methods.ConnectionClose(200, "bye", 0, 0), channel=0)
    assert peer.answer() == methods.ConnectionCloseOk()
    assert peer.session.closed is None
    peer.give(CLOSE_OK)
    assert peer.session.closed is not None


def test_a_server_that_stops_says_so(door, peer):
    assert peer.session.leave(door.now)
    peer.flush()
    close = peer.answer()
    assert close == hard(
        320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    )
    peer.give(CLOSE_OK)
    assert peer.session.closed is not None


def test_a_server_that_stops_hears_acknowledgements_first(door, peer):
    peer.ask(declare())
    peer.publish(b"a", b"b")
    peer.ask(methods.BasicGet(0, "q", False))
    assert peer.session.leave(door.now)
    peer.flush()
    assert peer.all() == []
    peer.send(methods.BasicAck(1, False))
    door.now = peer.session.deadline
    peer.look()
    assert peer.answer().reply_code == 320
    door.run()
    assert door.node.ready(b"q") == 1


def test_a_message_that_was_fetched_by_a_channel_that_has_ended_goes_back(door, peer, monkeypatch):
    peer.ask(declare())
    peer.publish(b"a")
    queue, asked = door.node.queues.vhosts[b"/"].queue(b"q"), []
    monkeypatch.setattr(type(queue), "get", lambda _, *given: asked.append(given))
    peer.send(methods.BasicGet(0, "q", False))
    monkeypatch.undo()
    peer.end()
    queue.get(*asked[0])  # it had to be read first
    door.run()
    assert (queue.ready, queue.out) == (1, 0)


# Garbage


def hostile():
    """Frames as a client would not send them."""
    kinds = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 3, 7, 8, 255])
    channels = st.sampled_from([0, 1, 1, 1, 2, 3, 2047, 2048, 65_535])
    ids = st.sampled_from([*methods.METHODS, (99, 1), (60, 99), (0, 0)])
    rest = st.binary(max_size=60)
    payloads = st.one_of(
        rest,
        st.tuples(ids, rest).map(lambda it: it[0][0].to_bytes(2) + it[0][1].to_bytes(2) + it[1]),
    )
    one = st.tuples(kinds, channels, payloads).map(lambda it: frame(*it))
    return st.lists(one, max_size=8).map(b"".join)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from amqp_kit import Door

    door = Door(tmp_path_factory.mktemp("fuzzed"))
    yield door
    door.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_garbage_gives_a_protocol_error_and_nothing_else(shared, data):
    stage = data.draw(st.sampled_from(["begin", "header", "open"]))
    peer = shared.connect()
    if stage == "header":
        peer.give(frames.PROTOCOL)
    elif stage == "open":
        peer.shake_hands()
        peer.ask(methods.ChannelOpen())
    sent = data.draw(st.one_of(st.binary(max_size=200), hostile()))
    at = data.draw(st.integers(0, len(sent)))
    peer.give(sent[:at])
    peer.give(sent[at:])
    shared.run()
    if peer.got != frames.PROTOCOL:
        for kind, _, payload in peer.frames():
            assert kind != frames.METHOD or methods.decode(payload)
    peer.end()
    shared.peers.remove(peer)


def requests():
    """Every method a client may send, with any values."""
    wires = {
        methods.SHORTSTR: st.sampled_from(
            ["", "q", "e", "amq.direct", "amq.x", "x" * 255, "a\r\n"]
        ),
        methods.LONGSTR: st.binary(max_size=20),
        methods.OCTET: st.integers(0, 255),
        methods.SHORT: st.integers(0, 65_535),
        methods.LONG: st.sampled_from([0, 0, 0, 1, 2**32 - 1]),
        methods.LONGLONG: st.sampled_from([0, 1, 2, 3, 2**63, 2**64 - 1]),
        methods.TABLE: st.dictionaries(
            st.sampled_from([
                "x-max-length", "x-message-ttl", "x-match", "x-overflow", "x-dead-letter-exchange",
                "alternate-exchange", "x-priority", "x-max-priority", "x-queue-type", "a",
            ]),
            st.one_of(
                st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5),
                st.floats(allow_nan=False), st.binary(max_size=3), st.lists(st.integers(0, 9)),
                st.dictionaries(st.text(max_size=3), st.integers(0, 9)),
            ), max_size=3,
        ),
        None: st.booleans(),
    }  # fmt: skip

    def of(kind):
        layout = methods._layout(kind)
        return st.tuples(*[wires[it] for it in layout]).map(kind._make)

    asked = [it for it in methods.METHODS.values() if not it.__name__.startswith("Connection")]
    return st.sampled_from(asked).flatmap(of)


@pytest.mark.long
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.one_of(requests(), st.just("publish")), min_size=1, max_size=12))
def test_methods_with_any_values_are_answered_or_refused(shared, asked):
    peer = shared.open()
    peer.ask(declare())
    sent = [message(b"x") if it == "publish" else method_frame(1, it) for it in asked]
    peer.give(b"".join(sent))
    shared.run()
    for found in peer.methods():
        assert not isinstance(found, methods.ConnectionClose) or found.reply_code != 541
    peer.end()
    shared.run()
    shared.peers.remove(peer)


def test_tables_nested_a_hundred_deep_are_taken_and_more_are_a_syntax_error(door):
    for deep, good in ((100, True), (1000, False), (20_000, False)):
        peer = door.open()
        table = b"\0\0\0\0"
        for _ in range(deep):
            table = (len(table) + 3).to_bytes(4) + b"\1aF" + table
        payload = methods.encode(declare())[:-4] + table
        peer.give(frame(1, 1, payload))
        door.run()
        answer = peer.answer()
        if good:
            assert isinstance(answer, methods.QueueDeclareOk)
        else:
            assert answer.reply_code in (501, 502)
