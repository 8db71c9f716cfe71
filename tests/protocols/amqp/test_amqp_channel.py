"""What clients ask of channels, and what they are answered: RabbitMQ's order, codes and texts."""

import threading
from dataclasses import replace

import pytest
from amqp_kit import (
    again,
    bind,
    confirms,
    consume,
    declare,
    deliveries,
    exchange,
    get,
    message,
    soft,
)

from logstore import open_queues
from logstore.amqp import frames, methods, properties
from logstore.amqp.frames import method_frame
from logstore.amqp.properties import Properties
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.settling import BODIES_BYTES_MAX
from logstore.broker.topics import Space
from logstore.errors import Failed, StorageFull
from logstore.protocols.amqp.channel import CHANNEL_BYTES, WORK_AT_ONCE
from logstore.protocols.rabbit_alarm import free_bytes
from logstore.records.decode import decode as records_of


def test_what_is_fetched_for_a_channel_that_was_closed_meanwhile_goes_back(door, peer, monkeypatch):
    peer.ask(declare())
    peer.publish(b"x")
    door.run()
    queue, asked = door.node.queues.vhosts[b"/"].queue(b"q"), []
    monkeypatch.setattr(queue, "get", lambda *given: asked.append(given))
    peer.send(get())
    [channel] = peer.session.channels.values()
    channel.end_by_itself(Refusal(PRECONDITION_FAILED, "it has lost a consumer"))
    monkeypatch.undo()
    queue.get(*asked[0])
    door.run()
    assert (queue.ready, queue.out) == (1, 0)


def test_a_channel_may_end_while_all_are_given_more(door, peer, monkeypatch):
    """A queue of several nodes gives up a fetch that has waited for long when it is woken."""
    peer.ask(declare())
    queue, asked = door.node.queues.vhosts[b"/"].queue(b"q"), []
    peer.ask(consume())
    monkeypatch.setattr(queue, "get", lambda channel, no_ack, then: asked.append(then))
    peer.send(get(), methods.ChannelClose(200, "", 0, 0))
    monkeypatch.setattr(queue, "wake", lambda: asked.pop()(None) if asked else None)
    peer.session.starved = True
    peer.flush()
    door.run()
    assert [type(it) for it in peer.methods()] == [methods.BasicGetEmpty, methods.ChannelCloseOk]


# Declaring

V = "in vhost '/'"


def test_what_is_there_is_declared_again(peer):
    for method in (
        declare(message_ttl=1000, anything="else"), declare(message_ttl=1000),
        declare(passive=True), declare("", passive=False),
    ):  # fmt: skip
        assert isinstance(peer.ask(method), methods.QueueDeclareOk)
    for method in (
        exchange(), exchange(), exchange("amq.topic", passive=True),
        exchange("amq.topic", "topic", durable=True),
    ):  # fmt: skip
        assert peer.ask(method) == methods.ExchangeDeclareOk()


def test_deleting_and_unbinding_what_is_not_there_is_answered_well(peer):
    assert peer.ask(methods.QueueDelete(0, "no", False, False, False)).message_count == 0
    assert peer.ask(methods.ExchangeDelete(0, "no", False, False)) == methods.ExchangeDeleteOk()
    peer.ask(declare())
    for unbind in (("q", "no", "k"), ("no", "amq.direct", "k"), ("q", "amq.direct", "k")):
        ok = peer.ask(methods.QueueUnbind(0, *unbind, {}))
        assert ok == methods.QueueUnbindOk()
    ok = peer.ask(methods.ExchangeUnbind(0, "amq.direct", "amq.topic", "", False, {}))
    assert ok == methods.ExchangeUnbindOk()


def test_nowait_is_not_answered(peer):
    peer.send(
        declare(nowait=True), exchange(nowait=True), bind(nowait=True),
        methods.ExchangeBind(0, "e", "amq.direct", "", True, {}), consume(nowait=True),
        methods.ConfirmSelect(True), methods.BasicCancel("c", True),
        methods.QueuePurge(0, "q", True), methods.QueueDelete(0, "q", False, False, True),
        methods.ExchangeDelete(0, "e", False, True),
    )  # fmt: skip
    assert peer.ask(declare("q", passive=True)).reply_code == 404


def test_access_and_flow_are_answered(peer):
    assert peer.ask(methods.AccessRequest("/")) == methods.AccessRequestOk(1)
    assert peer.ask(methods.ChannelFlow(True)) == methods.ChannelFlowOk(True)


def test_t21_a_queue_without_a_name_gets_one_and_is_meant_by_none(peer):
    name = peer.ask(declare("")).queue
    assert name.startswith("amq.gen-")
    assert len(name) == 8 + 22
    assert peer.ask(declare(name)).queue == name
    peer.publish(b"x", key=name)
    assert peer.ask(get(""))[-1] == b"x"
    peer.ask(exchange())
    assert peer.ask(bind("", key="")) == methods.QueueBindOk()
    peer.publish(b"y", exchange="e", key=name)
    assert peer.ask(get(""))[-1] == b"y"


def test_t21_line_ends_in_names_do_not_count(peer):
    assert peer.ask(declare("a\r\nb")).queue == "ab"
    assert peer.ask(declare("ab", passive=True)).queue == "ab"


def test_t23_an_exclusive_queue_is_another_connections_until_that_has_closed(door, peer):
    locked = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'x' {V}. It could be "
        "originally declared on another connection or the exclusive property value does not match "
        "that of the original declaration."
    )
    peer.ask(declare("x", exclusive=True))
    for method, ids in (
        (declare("x", exclusive=True), (50, 10)), (declare("x", passive=True), (50, 10)),
        (get("x"), (60, 70)), (consume("x"), (60, 20)),
        (methods.QueueDelete(0, "x", False, False, False), (50, 40)),
    ):  # fmt: skip
        assert door.open().ask(method) == soft(405, locked, ids)
    assert peer.ask(declare("x", exclusive=True)).queue == "x"
    for _ in range(50):
        peer.send(methods.ConnectionClose(200, "bye", 0, 0), channel=0)
        assert peer.methods() == [methods.ConnectionCloseOk()]
        peer = door.open()
        assert peer.ask(declare("x", exclusive=True)).queue == "x"
    peer.end()  # its socket is gone
    assert door.open().ask(declare("x", exclusive=True)).queue == "x"


def test_t24_in_use_and_not_empty(door, peer):
    peer.ask(declare())
    peer.publish(b"x")
    assert peer.ask(methods.QueueDelete(0, "q", False, True, False)) == soft(
        406, f"PRECONDITION_FAILED - queue 'q' {V} not empty", (50, 40)
    )
    again(peer)
    peer.send(consume())
    door.run()
    peer.methods()
    assert peer.ask(methods.QueueDelete(0, "q", True, False, False)).reply_text == (
        f"PRECONDITION_FAILED - queue 'q' {V} in use"
    )


def test_t34_exclusive_consumers_and_single_active_ones(door, peer):
    peer.ask(declare())
    peer.ask(consume())
    other = door.open()
    text = f"ACCESS_REFUSED - queue 'q' {V} in exclusive use"
    assert other.ask(consume(exclusive=True)) == soft(403, text, (60, 20))
    peer.ask(declare("s", single_active_consumer=True))
    again(other)
    assert other.ask(get("s")).reply_code == 405


# Consuming


def test_messages_are_delivered_and_settled(door, peer):
    peer.ask(declare())
    peer.publish(*[b"m%d" % n for n in range(10)])
    peer.ask(methods.BasicQos(0, 3, False))
    peer.send(consume(tag="c"))
    door.run()
    found = peer.all()
    assert found[0][1] == methods.BasicConsumeOk("c")
    assert [it[1].delivery_tag for it in found[1:]] == [1, 2, 3]
    peer.send(methods.BasicAck(2, True))
    door.run()
    assert deliveries(peer) == [("c", 4, False, b"m3"), ("c", 5, False, b"m4")]
    peer.send(methods.BasicNack(0, True, True))
    door.run()
    assert deliveries(peer) == [("c", n, True, b"m%d" % (n - 4)) for n in (6, 7, 8)]
    peer.send(methods.BasicReject(6, False), methods.BasicAck(7, False))
    door.run()
    assert [it[3] for it in deliveries(peer)] == [b"m5", b"m6"]


def test_what_is_delivered_is_what_was_published(door, peer):
    given = Properties(
        "text/plain", "utf-8", {"a": [1, None, {"b": True}], "x": 2.5}, 2, 7, "corr", "re", None,
        "id", 1234, "type", "guest", "app", "cluster",
    )  # fmt: skip
    peer.ask(declare())
    bodies = [b"", b"x", bytes(300_000), b"y" * 131_064, b"z" * 131_065]
    for no_ack in (False, True):
        peer.publish(*bodies, props=given)
        peer.send(consume(tag=str(no_ack), no_ack=no_ack))
        door.run()
        found = [it for it in peer.all() if isinstance(it[1], methods.BasicDeliver)]
        assert [it[3] for it in found] == bodies
        assert {it[2] for it in found} == {properties.write(given)}
        assert {(it[1].exchange, it[1].routing_key) for it in found} == {("", "q")}
        peer.send(methods.BasicCancel(str(no_ack), False), methods.BasicAck(0, True))
        peer.methods()


@pytest.mark.parametrize("how", ["close", "error", "connection", "gone"])
def test_t1_what_was_not_settled_comes_again_in_its_place(door, peer, how):
    peer.ask(declare())
    peer.publish(b"1", b"2", b"3", b"4", b"5")
    peer.ask(methods.BasicQos(0, 3, False))
    peer.ask_all = peer.send(consume())
    door.run()
    assert [it[3] for it in deliveries(peer)] == [b"1", b"2", b"3"]
    peer.send(methods.BasicAck(2, False))
    door.run()
    match how:
        case "close":
            peer.send(methods.ChannelClose(200, "", 0, 0))
        case "error":
            peer.send(methods.BasicAck(99, False))
        case "connection":
            peer.send(methods.ConnectionClose(200, "", 0, 0), channel=0)
        case "gone":
            peer.end()
    other = door.open()
    other.send(consume())
    door.run()
    assert [(it[2], it[3]) for it in deliveries(other)] == [
        (True, b"1"), (True, b"3"), (True, b"4"), (False, b"5"),
    ]  # fmt: skip


def test_t18_acks_behind_our_close_are_dropped(door, peer):
    peer.ask(declare())
    peer.publish(b"1")
    peer.ask(get())
    peer.send(methods.BasicAck(9, False), methods.BasicAck(1, False))
    door.run()
    assert peer.answer().reply_code == 406
    assert door.node.ready(b"q") == 1


def test_t18_acking_nothing_at_all_is_no_error(peer):
    peer.send(methods.BasicAck(0, True))
    assert peer.ask(declare()).queue == "q"


def test_t18_an_ack_for_a_queue_that_is_gone(peer):
    peer.ask(declare())
    peer.publish(b"1")
    peer.ask(get())
    peer.ask(methods.QueueDelete(0, "q", False, False, False))
    peer.send(methods.BasicAck(1, False))
    assert peer.ask(declare()).message_count == 0


def test_t19_prefetch_of_the_channel_is_beside_that_of_consumers(door, peer):
    for name in ("a", "b"):
        peer.ask(declare(name))
        peer.publish(*[b"%d" % n for n in range(10)], key=name)
    peer.ask(methods.BasicQos(0, 2, False))
    peer.ask(methods.BasicQos(0, 3, True))
    peer.send(consume("a", "a"), consume("b", "b"))
    door.run()
    assert len(deliveries(peer)) == 3
    peer.send(methods.BasicQos(0, 5, True))
    door.run()
    assert len(deliveries(peer)) == 1  # consumers have two each
    peer.send(methods.BasicQos(0, 1, True))
    peer.send(methods.BasicAck(0, True))
    door.run()
    assert len(deliveries(peer)) == 1
    peer.send(methods.BasicQos(0, 0, True))
    door.run()
    assert len(deliveries(peer)) == 3


def test_t25_a_consumer_is_told_that_its_queue_is_gone(door, peer):
    deaf = door.open(capabilities={})
    peer.ask(declare())
    peer.send(consume(tag="mine"))
    deaf.send(consume(tag="deaf"))
    door.run()
    peer.all(), deaf.all()
    door.open().ask(methods.QueueDelete(0, "q", False, False, False))
    assert peer.answer() == methods.BasicCancel("mine", True)
    assert deaf.all() == []
    assert peer.ask(methods.BasicCancel("mine", False)) == methods.BasicCancelOk("mine")


def test_t25_a_tag_that_is_in_use(peer):
    peer.ask(declare())
    peer.ask(consume(tag="c"))
    assert peer.ask(consume(tag="c")) == methods.ConnectionClose(
        530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'", 60, 20
    )


def test_a_consumer_without_a_tag_gets_one(peer):
    peer.ask(declare())
    first, second = (peer.ask(consume(tag="")).consumer_tag for _ in range(2))
    assert first != second
    assert first.startswith("amq.ctag-")


def test_a_client_that_does_not_read_gets_no_more_until_it_does(door, peer):
    peer.ask(declare())
    peer.publish(*[bytes(10_000)] * 400)
    peer.link.unsent = 1 << 20
    peer.send(consume(no_ack=True))
    door.run()
    assert peer.session.out_bytes < 100
    peer.link.unsent = 0
    peer.flush()
    total = 0
    for _ in range(20):
        total += len(deliveries(peer))
        assert peer.session.out_bytes < 2 << 20
        door.run()
    assert total == 400


# Publishing


def test_publishing_to_what_is_not_there_closes_the_channel(door, peer):
    peer.ask(declare())
    peer.give(message(b"good") + message(b"bad", exchange="no") + message(b"too late"))
    door.run()
    assert peer.answer() == soft(404, f"NOT_FOUND - no exchange 'no' {V}", (60, 40))
    assert door.node.ready(b"q") == 1
    again(peer)
    peer.ask(exchange("inner", internal=True))
    peer.publish(b"x", exchange="inner")
    assert peer.answer() == soft(
        403, f"ACCESS_REFUSED - cannot publish to internal exchange 'inner' {V}", (60, 40)
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Properties(expiration="soon"), "invalid expiration 'soon': no_integer"),
        (Properties(headers={"CC": "q"}),
         'invalid message: {unacceptable_type_in_header,"CC",longstr}'),
        (Properties(user_id="me"),
         "user_id property set to 'me' but authenticated user was 'guest'"),
        (Properties(reply_to="amq.rabbitmq.reply-to"), "fast reply consumer does not exist"),
    ],
)  # fmt: skip
def test_properties_that_are_refused(peer, given, text):
    peer.publish(b"x", props=given)
    assert peer.answer() == soft(406, f"PRECONDITION_FAILED - {text}", (60, 40))


def test_properties_that_are_none_end_the_connection(peer):
    peer.ask(declare())
    peer.give(message(b"")[:-22] + frames.frame(2, 1, properties.header(0, b"\x80\0\xff")))
    assert peer.answer().reply_code == 502


def test_t15_confirms_begin_with_one_and_speak_for_many(door, peer):
    peer.ask(declare())
    peer.publish(b"not counted")
    peer.ask(methods.ConfirmSelect(False))
    assert peer.ask(methods.ConfirmSelect(False)) == methods.ConfirmSelectOk()
    peer.publish(*[b"x"] * 10)
    door.run()
    assert confirms(peer) == [("BasicAck", 10, True)]
    peer.publish(b"x")
    door.run()
    assert confirms(peer) == [("BasicAck", 11, False)]


def test_t15_nothing_is_confirmed_before_it_is_safe(door, peer):
    peer.ask(declare(durable=True))
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"1", b"2")
    peer.publish(b"unroutable", key="no")
    assert confirms(peer) == []  # not even the third
    door.run()
    assert confirms(peer)[-1][1] == 3


def test_t15_no_ack_speaks_for_a_message_that_was_refused(door, peer):
    peer.ask(declare(max_length=2, overflow="reject-publish"))
    peer.ask(declare("free"))
    peer.ask(methods.ConfirmSelect(False))
    peer.give(message(b"1") + message(b"2") + message(b"3") + message(b"4", key="free"))
    door.run()
    assert confirms(peer) == [
        ("BasicAck", 2, True), ("BasicNack", 3, False), ("BasicAck", 4, False),
    ]  # fmt: skip


def test_t15_publishing_nowhere_is_confirmed(door, peer):
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"1", b"2", key="nowhere")
    door.run()
    assert confirms(peer) == [("BasicAck", 2, True)]


def test_t16_a_message_is_returned_before_it_is_confirmed(door, peer):
    peer.ask(declare())
    peer.ask(methods.ConfirmSelect(False))
    peer.give(
        message(b"there", mandatory=True) + message(b"lost", key="no", mandatory=True)
        + message(b"not asked", key="no")
    )  # fmt: skip
    door.run()
    found = peer.all()
    assert found[0] == (
        1, methods.BasicReturn(312, "NO_ROUTE", "", "no"), properties.NONE, b"lost",
    )  # fmt: skip
    assert found[1:] == [(1, methods.BasicAck(3, True))]


def test_t16_a_returned_message_shows_no_blind_copies(peer):
    given = Properties(headers={"BCC": ["b"], "CC": ["c"]}, message_id="7")
    peer.publish(b"x", key="no", mandatory=True, props=given)
    _, data, _ = peer.answer()
    assert properties.read(data) == given._replace(headers={"CC": ["c"]})
    peer.publish(b"x", key="no", mandatory=True, props=Properties(headers={"BCC": ["b"]}))
    assert properties.read(peer.answer()[1]).headers == {}


def test_t27_a_blocked_connection_publishes_nothing_and_settles_all(door, peer):
    deaf = door.open(capabilities={})
    peer.ask(declare())
    peer.publish(b"before")
    peer.ask(get())
    peer.ask(methods.ConfirmSelect(False))
    door.door.block("low on disk")
    door.run()
    assert peer.answer() == methods.ConnectionBlocked("low on disk")
    assert deaf.all() == []
    peer.publish(b"1", b"2")
    deaf.publish(b"3")
    peer.send(methods.BasicAck(1, False))
    assert peer.ask(declare(passive=True)).message_count == 0
    assert peer.session.held_bytes > 1024
    late = door.open()
    assert late.all() == []
    door.door.block("")
    door.run()
    found = peer.methods()
    assert found[0] == methods.ConnectionUnblocked()
    assert found[1] == methods.BasicAck(2, True)
    assert door.node.ready(b"q") == 3


def test_t27_a_blocked_connection_is_read_up_to_a_bound(door, peer):
    peer.ask(declare())
    door.door.block("low on disk")
    for _ in range(40):
        peer.publish(bytes(100_000))
    assert 1 << 20 < peer.session.held_bytes < 3 << 20
    assert peer.left
    door.door.block("")
    door.run()
    assert not peer.left
    assert door.node.ready(b"q") == 40


def test_t27_who_comes_while_publishing_is_blocked_is_told(door):
    door.door.block("low on disk")
    peer = door.connect()
    assert peer.shake_hands()[-1] == methods.ConnectionBlocked("low on disk")


def test_t27_a_disk_that_is_nearly_full_blocks_until_it_is_not(door, peer):
    free = 100
    door.door.alarm.free_bytes, door.door.alarm.free_bytes_min = lambda: free, 1000
    peer.ask(declare())
    peer.publish(b"1")
    door.run()
    assert peer.answer() == methods.ConnectionBlocked("low on disk")
    free = 5000
    assert peer.session.deadline == door.now + 1
    door.now = peer.session.deadline
    peer.look()
    door.run()
    assert peer.answer() == methods.ConnectionUnblocked()
    assert door.node.ready(b"q") == 1
    assert peer.session.deadline is None


@pytest.mark.parametrize("space", [Failed("data: gone"), Space(0, 0)])
def test_t27_a_disk_that_tells_nothing_of_its_room_ends_no_publisher(door, peer, space):
    class Topics:
        def space(self):
            if isinstance(space, Failed):
                raise space
            return space

    door.door.alarm.free_bytes, door.door.alarm.free_bytes_min = lambda: free_bytes(Topics()), 1000
    peer.ask(declare())
    peer.publish(b"1")
    door.run()
    assert peer.all() == []
    assert door.node.ready(b"q") == 1


# Direct replies

REPLY_TO = "amq.rabbitmq.reply-to"


def test_t28_a_reply_goes_straight_to_who_asked(door, peer):
    server = door.open()
    server.ask(declare("rpc"))
    peer.ask(consume(REPLY_TO, "r", no_ack=True))
    peer.publish(b"ask", key="rpc", props=Properties(reply_to=REPLY_TO, correlation_id="7"))
    _, data, body = server.ask(get("rpc", no_ack=True))
    asked = properties.read(data)
    assert (asked.reply_to, asked.correlation_id, body) == (REPLY_TO + ".token0", "7", b"ask")
    assert server.ask(declare(asked.reply_to)) == methods.QueueDeclareOk(asked.reply_to, 0, 1)
    assert server.ask(declare(REPLY_TO)).consumer_count == 1
    server.ask(methods.ConfirmSelect(False))
    server.publish(b"told", key=asked.reply_to, mandatory=True)
    door.run()
    assert server.answer() == methods.BasicAck(1, False)
    method, _, body = peer.answer()
    assert method == methods.BasicDeliver("r", 1, False, "", asked.reply_to)
    assert body == b"told"
    peer.ask(methods.BasicCancel("r", False))
    assert server.ask(declare(asked.reply_to)).reply_code == 404
    again(server)
    server.publish(b"late", key=asked.reply_to, mandatory=True)
    door.run()
    assert server.answer()[0].reply_code == 312


def test_t28_what_replies_are_refused_for(peer):
    for asked, code, text in (
        (consume(REPLY_TO), 406, "reply consumer cannot acknowledge"),
        (bind(REPLY_TO, "amq.direct", "k"), 403, "operation not permitted on queue"),
        (declare(REPLY_TO + ".no"), 404, f"no queue '{REPLY_TO}.no'"),
    ):
        close = peer.ask(asked)
        assert (close.reply_code, text in close.reply_text) == (code, True)
        again(peer)
    peer.ask(consume(REPLY_TO, "a", no_ack=True))
    assert "already set" in peer.ask(consume(REPLY_TO, "b", no_ack=True)).reply_text


# Transactions


def test_t35_nothing_happens_before_the_commit(door, peer):
    other = door.open()
    peer.ask(declare())
    peer.publish(b"old")
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.publish(b"new")
    peer.publish(b"lost", key="no", mandatory=True)
    peer.send(methods.BasicAck(1, False))
    door.run()
    assert peer.all() == []
    assert other.ask(declare(passive=True)).message_count == 0
    peer.send(methods.TxCommit())
    door.run()
    found = peer.methods()
    assert [type(it) for it in found] == [methods.BasicReturn, methods.TxCommitOk]
    assert other.ask(get())[-1] == b"new"
    peer.send(methods.BasicAck(1, False))  # it is settled
    assert peer.methods()[0].reply_code == 406


def full(batch):
    raise StorageFull("no space left")


def test_t35_a_commit_that_the_journal_does_not_take_does_nothing(door, peer, monkeypatch):
    peer.ask(declare(durable=True))
    peer.publish(b"old")
    door.run()
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.publish(b"new")
    peer.send(methods.BasicAck(1, False))
    door.run()
    with monkeypatch.context() as patched:
        patched.setattr(door.node.queues._journaling.log, "append", full)
        close = peer.ask(methods.TxCommit())
        door.run()
    assert (type(close), "no space left" in close.reply_text) == (methods.ConnectionClose, True)
    queue = door.node.queues.vhosts[b"/"].queue(b"q")
    assert (queue.ready, queue.out, queue.stock.coming) == (1, 0, 0)
    assert door.open().ask(get())[-1] == b"old"


@pytest.mark.parametrize("durable", [True, False])
def test_t35_what_a_full_lane_does_not_take_of_a_commit_comes_later(
    door, peer, monkeypatch, durable
):
    peer.ask(declare(durable=durable))
    peer.publish(b"old")
    peer.ask(get(no_ack=True))
    queue = door.node.queues.vhosts[b"/"].queue(b"q")
    (lane,) = queue.stock.order
    peer.ask(methods.TxSelect())
    with monkeypatch.context() as patched:
        patched.setattr(lane.log, "append", full)
        for n in range(3):
            peer.publish(b"%d" % n)
            assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
        assert type(peer.ask(get())) is methods.BasicGetEmpty
        assert door.node.queues.logs.parked_bytes > 0
    door.node.later(1000)
    door.run()
    assert [peer.ask(get())[-1] for _ in range(3)] == [b"0", b"1", b"2"]
    assert (door.node.queues.logs.parked_bytes, lane.stuck) == (0, [])


def test_t35_a_publish_does_not_overtake_what_a_full_lane_has_not_taken_of_a_commit(
    door, peer, monkeypatch
):
    peer.ask(declare(durable=True))
    peer.publish(b"old")
    peer.ask(get(no_ack=True))
    (lane,) = door.node.queues.vhosts[b"/"].queue(b"q").stock.order
    peer.ask(methods.TxSelect())
    with monkeypatch.context() as patched:
        patched.setattr(lane.log, "append", full)
        peer.publish(b"1")
        peer.ask(methods.TxCommit())
    other = door.open()
    other.publish(b"2")
    door.run()
    assert [other.ask(get())[-1] for _ in range(2)] == [b"1", b"2"]


@pytest.mark.long
def test_t35_a_commit_of_more_than_16_mib_is_refused_and_one_message_is_not(door, peer):
    peer.ask(declare(durable=True))
    peer.ask(methods.TxSelect())
    peer.publish(bytes(BODIES_BYTES_MAX))
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
    peer.publish(bytes(BODIES_BYTES_MAX))
    peer.publish(b"")
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
    peer.publish(bytes(BODIES_BYTES_MAX - 1))
    peer.publish(b"12")
    close = peer.ask(methods.TxCommit())
    assert (close.reply_code, "16777216 bytes" in close.reply_text) == (406, True)
    assert peer.session.held_bytes == CHANNEL_BYTES
    assert door.node.ready(b"q") == 3


def test_t35_what_a_commit_settles_is_settled_after_its_messages_are_safe(door, peer, monkeypatch):
    peer.ask(declare(durable=True))
    peer.publish(b"old")
    door.run()
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.publish(b"new")
    peer.send(methods.BasicAck(1, False))
    door.run()
    may_sync = threading.Event()
    disk = door.node.disk
    for name in ("sync", "sync_all"):
        sync = getattr(disk, name)
        monkeypatch.setattr(disk, name, lambda fd, sync=sync: may_sync.wait() and sync(fd))
    queue = door.node.queues.vhosts[b"/"].queue(b"q")
    try:
        peer.send(methods.TxCommit())
        for _ in range(5):
            door.node.step()
        assert (queue.out, peer.all()) == (1, [])
    finally:
        may_sync.set()
    door.run()
    assert (queue.out, peer.answer()) == (0, methods.TxCommitOk())


@pytest.mark.parametrize("durable", [True, False])
def test_t35_what_a_commit_rejects_dies_with_it(door, peer, monkeypatch, durable):
    dying = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
    peer.ask(declare("dead", durable=durable))
    peer.ask(declare(durable=True, **dying))
    peer.ask(declare("plain", durable=True))
    peer.publish(b"dying", b"2", b"3", b"4")
    peer.publish(b"5", key="plain")
    door.run()
    queues = {n: door.node.queues.vhosts[b"/"].queue(n) for n in (b"q", b"plain", b"dead")}
    peer.ask(methods.TxSelect())
    for name in ("q", "q", "q", "plain"):
        peer.ask(get(name))
    peer.send(
        methods.BasicReject(1, False), methods.BasicNack(2, False, True), methods.BasicAck(3, False)
    )
    peer.send(methods.BasicReject(4, False))
    peer.publish(b"new", key="plain")
    door.run()
    assert (queues[b"q"].out, queues[b"plain"].out, queues[b"dead"].ready) == (3, 1, 0)
    appended, append = [], door.node.queues._journaling.log.append
    monkeypatch.setattr(
        door.node.queues._journaling.log, "append", lambda it: appended.append(it) or append(it)
    )
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
    assert appended[0].record_count == 3  # of two queues what is settled, and what is brought
    assert len([it for it in records_of(appended[0]) if b"dying" in it.value]) == durable
    door.run()
    assert (queues[b"q"].out, queues[b"plain"].out) == (0, 0)
    got = {name: [peer.ask(get(name, no_ack=True))[-1] for _ in range(count)]
           for name, count in (("q", 2), ("plain", 1), ("dead", 1))}  # fmt: skip
    assert got == {"q": [b"2", b"4"], "plain": [b"new"], "dead": [b"dying"]}


def test_t35_a_commit_that_fails_leaves_what_it_rejects(door, peer, monkeypatch):
    peer.ask(declare("dead", durable=True))
    peer.ask(declare(durable=True, dead_letter_exchange="", dead_letter_routing_key="dead"))
    peer.publish(b"1")
    door.run()
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.send(methods.BasicReject(1, False))
    with monkeypatch.context() as patched:
        patched.setattr(door.node.queues._journaling.log, "append", full)
        assert type(peer.ask(methods.TxCommit())) is methods.ConnectionClose
    door.run()
    assert (door.node.ready(b"q"), door.node.ready(b"dead")) == (1, 0)
    assert door.node.queues.vhosts[b"/"].queue(b"dead").stock.coming == 0


def test_t35_a_rollback_forgets_and_leaves_out_what_was_out(door, peer):
    peer.ask(declare())
    peer.publish(b"old")
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.publish(b"new")
    peer.send(methods.BasicAck(1, False))
    assert peer.ask(methods.TxRollback()) == methods.TxRollbackOk()
    assert peer.ask(declare(passive=True)).message_count == 0
    peer.send(methods.BasicNack(1, False, True))
    peer.ask(methods.TxCommit())
    assert peer.ask(get())[-1] == b"old"


def test_t35_to_settle_twice_in_a_transaction_is_an_error(peer):
    peer.ask(declare())
    peer.publish(b"1", b"2", b"3")
    peer.ask(methods.TxSelect())
    for _ in range(3):
        peer.ask(get())
    peer.send(methods.BasicAck(0, True))
    peer.send(methods.BasicAck(2, False))
    assert peer.answer() == soft(406, "PRECONDITION_FAILED - unknown delivery tag 2", (60, 80))


def test_t35_acking_all_of_nothing_in_a_transaction(peer):
    peer.ask(methods.TxSelect())
    peer.send(methods.BasicAck(0, True))
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()


@pytest.mark.parametrize("first", ["tx", "confirm"])
def test_t35_a_channel_has_one_of_both_modes(peer, first):
    modes = {"tx": methods.TxSelect(), "confirm": methods.ConfirmSelect(False)}
    peer.ask(modes.pop(first))
    ((second, method),) = modes.items()
    close = peer.ask(method)
    assert close.reply_text == (
        f"PRECONDITION_FAILED - cannot switch from {first} to {second} mode"
    )


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_t35_a_commit_that_a_queue_has_no_room_for_is_no_commit(door, peer, overflow):
    for name in ("q", "dead"):
        peer.ask(declare(name))
    peer.ask(declare("full", max_length=1, overflow=overflow, dead_letter_exchange="",
                     dead_letter_routing_key="dead"))  # fmt: skip
    peer.publish(b"old")
    peer.ask(methods.TxSelect())
    peer.ask(get())
    peer.publish(b"1", key="full")
    peer.publish(b"2", key="full")
    peer.publish(b"3")
    peer.send(methods.BasicAck(1, False))
    assert peer.ask(methods.TxCommit()) == soft(
        406, "PRECONDITION_FAILED - partial tx completion", (90, 20)
    )
    door.run()
    assert [door.node.ready(it) for it in (b"full", b"dead", b"q")] == [0, 0, 1]
    again(peer)
    peer.publish(b"4", key="full")  # its room was given back
    door.run()
    assert door.node.ready(b"full") == 1


def test_t35_what_was_not_committed_is_rolled_back_with_the_channel(door, peer):
    peer.ask(declare())
    peer.ask(methods.TxSelect())
    peer.publish(b"x")
    assert peer.ask(methods.ChannelClose(200, "", 0, 0)) == methods.ChannelCloseOk()
    assert door.node.ready(b"q") == 0
    assert peer.session.held_bytes == 0


# Order


def test_a_channel_waits_until_what_it_declared_is_durable_and_others_do_not(door, peer):
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.send(declare("slow", durable=True), get("slow"), methods.AccessRequest(""))
    assert peer.all() == []
    assert peer.session.parked_bytes > 0
    peer.send(methods.AccessRequest(""), channel=2)
    assert peer.all() == [(2, methods.AccessRequestOk(1))]
    door.run()
    assert [type(it) for it in peer.methods()] == [
        methods.QueueDeclareOk, methods.BasicGetEmpty, methods.AccessRequestOk,
    ]  # fmt: skip
    assert peer.session.parked_bytes == 0


def test_what_waits_behind_an_answer_has_a_bound(door, peer):
    sent = method_frame(1, declare("slow", durable=True)) + message(bytes(1000), key="slow") * 3000
    peer.give(sent)
    assert peer.left
    assert peer.session.held_bytes < 2 << 20
    door.run()
    assert not peer.left
    assert peer.methods()[0].queue == "slow"
    assert door.node.ready(b"slow") == 3000


def test_a_channel_that_ends_while_it_waits_is_gone(door, peer):
    peer.send(declare("slow", durable=True), methods.ChannelClose(200, "", 0, 0))
    door.run()
    assert [type(it) for it in peer.methods()] == [
        methods.QueueDeclareOk, methods.ChannelCloseOk,
    ]  # fmt: skip
    peer.ask(methods.ChannelOpen())
    peer.send(declare("slower", durable=True))
    peer.end()
    door.run()


def test_messages_of_two_channels_are_kept_apart(door, peer):
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.ask(declare())
    first, second = message(b"1" * 10, channel=1), message(b"2" * 10, channel=2)
    frames_1, frames_2 = (split(it) for it in (first, second))
    peer.give(b"".join(it for both in zip(frames_1, frames_2, strict=True) for it in both))
    assert [peer.ask(get(no_ack=True))[-1] for _ in range(2)] == [b"1" * 10, b"2" * 10]


def split(sent):
    found = []
    while sent:
        _, _, size = frames.HEAD.unpack_from(sent)
        found.append(sent[: size + 8])
        sent = sent[size + 8 :]
    return found


@pytest.mark.parametrize("acks", [[1, 2, 3, 9, 4], [3, 1, 2, 2], [2, 3, 1, 3], [1, 2, 3, 0]])
def test_t18_acks_in_one_read_are_settled_up_to_the_wrong_one(door, peer, acks):
    peer.ask(declare())
    peer.publish(*[b"x"] * 5)
    peer.send(consume())
    door.run()
    peer.all()
    peer.send(*[methods.BasicAck(tag, False) for tag in acks])
    door.run()
    wrong = next(tag for at, tag in enumerate(acks) if tag in (0, 9) or tag in acks[:at])
    assert peer.answer() == soft(
        406, f"PRECONDITION_FAILED - unknown delivery tag {wrong}", (60, 80)
    )
    assert door.node.ready(b"q") == 2


def test_what_waited_is_published_though_nothing_more_comes(door, peer):
    peer.send(declare("slow", durable=True))
    peer.publish(b"1", b"2", key="slow")
    door.run()
    assert door.node.ready(b"slow") == 2


@pytest.mark.parametrize("waits", [False, True])
def test_a_turn_does_only_so_much_for_one_connection(door, peer, waits):
    done, session = [0], peer.session
    carry_out, receive, wake = session.carry_out, session.receive, session.wake

    def counted(channel, method):
        done[-1] += 1
        carry_out(channel, method)

    def each(call):
        return lambda *given: (done.append(0), call(*given))[1]

    session.carry_out, session.receive, session.wake = counted, each(receive), each(wake)
    asked = b"".join(method_frame(1, declare(f"q{n}")) for n in range(1000))
    peer.give((method_frame(1, declare("slow", durable=True)) if waits else b"") + asked)
    door.run()
    assert sum(done) == 1000 + waits
    assert max(done) <= 2 * WORK_AT_ONCE  # of what waited, and of what has come
    assert [it.queue for it in peer.methods()][-1000:] == [f"q{n}" for n in range(1000)]


@pytest.mark.parametrize("end", ["whole", "closed", "gone"])
def test_what_a_half_message_holds_is_counted_until_it_ends(peer, end):
    before = peer.session.held_bytes
    sent = message(bytes(1 << 20), key="no")
    peer.give(sent[:-200_000])
    assert 700_000 < peer.session.held_bytes - before < 1 << 20
    match end:
        case "whole":
            peer.give(sent[-200_000:])
        case "closed":
            peer.give(sent[-200_000 : -200_000 + 5] + b"")
            peer.session.channels[1].let_go()
        case "gone":
            peer.end()
            before = 0
    assert peer.session.held_bytes <= before


def test_what_a_transaction_holds_is_counted_until_it_ends(peer):
    peer.ask(methods.TxSelect())
    before = peer.session.held_bytes
    for last in (methods.TxCommit(), methods.TxRollback()):
        peer.publish(*[bytes(1000)] * 100)
        assert peer.session.held_bytes - before > 100_000
        peer.ask(last)
        assert peer.session.held_bytes == before


def test_large_answers_count_as_several_requests(door, peer):
    peer.ask(declare())
    peer.publish(*[bytes(100_000)] * 20)
    door.run()
    asked = method_frame(1, get(no_ack=True))
    taken = peer.session.receive(memoryview(bytearray(asked * 20)), door.now)
    assert taken == 3 * len(asked)
    door.run()


# What half a message holds


def begun(size, props=b"\0\0", channel=1):
    """The frames of a Publish up to its body."""
    return b"".join((
        method_frame(channel, methods.BasicPublish(0, "", "q", False, False)),
        frames.frame(frames.HEADER, channel, properties.header(size, props)),
    ))  # fmt: skip


def test_body_frames_of_nothing_are_not_kept(door, peer):
    peer.ask(declare())
    peer.give(begun(2))
    held = peer.session.held_bytes
    for _ in range(100):
        peer.give(frames.frame(frames.BODY, 1, b"") * 100)
    assert peer.session.held_bytes == held
    peer.give(frames.frame(frames.BODY, 1, b"a") + frames.frame(frames.BODY, 1, b"b"))
    door.run()
    assert peer.ask(get())[-1] == b"ab"


def test_what_has_come_of_a_message_is_counted_by_its_frames(door, peer):
    peer.ask(declare())
    before = peer.session.held_bytes
    large = properties.write(Properties(headers={"h": "x" * 100_000}))
    peer.give(begun(1000, large) + b"".join(frames.frame(frames.BODY, 1, b"x") for _ in range(500)))
    assert peer.session.held_bytes >= before + 100_000 + 500 * 100
    peer.give(b"".join(frames.frame(frames.BODY, 1, b"x") for _ in range(500)))
    door.run()
    assert peer.session.held_bytes == before
    peer.give(begun(1000, large))
    peer.ask(methods.ChannelClose(200, "", 0, 0))
    assert peer.session.held_bytes < before


def test_of_large_properties_nothing_is_remembered(door, peer):
    peer.ask(declare())
    large = Properties(headers={"h": "x" * 100_000})
    peer.publish(b"1", b"2", props=large)
    assert peer.session.channels[1].last is None
    peer.send(consume(no_ack=True))
    door.run()
    (subscription,) = peer.session.channels[1].subscriptions.values()
    assert subscription._middles == {}


def test_long_headers_are_read_once_for_a_publish_and_never_for_a_delivery(peer, monkeypatch):
    peer.ask(declare())
    peer.ask(exchange("e", "headers"))
    peer.ask(bind(h9="9"))
    reads, read = [], properties.read
    monkeypatch.setattr(properties, "read", lambda data: reads.append(data) or read(data))
    told = Properties(headers={f"h{n}": str(n) for n in range(200)}, correlation_id="c")
    peer.publish(b"a", exchange="e", props=told)
    peer.door.run()
    assert len(reads) == 1
    _, data, body = peer.ask(get())
    assert len(reads) == 1
    assert (read(data), body) == (told, b"a")


def test_a_message_in_many_frames_comes_back_whole_wherever_it_goes(door):
    body = bytes(range(256)) * 6000  # 1.5 MiB
    peer = door.open()
    peer.ask(declare(dead_letter_exchange="", dead_letter_routing_key="dead"))
    peer.ask(declare("dead"))
    peer.publish(b"first", body, b"last")
    peer.publish(body, key="nowhere", mandatory=True)
    peer.door.run()
    [(_, returned, _, back)] = peer.all()
    assert (type(returned), back) == (methods.BasicReturn, body)
    assert peer.ask(get())[2] == b"first"
    delivered, _, got = peer.ask(get())
    assert got == body
    peer.send(methods.BasicReject(delivered.delivery_tag, False))
    door.run()
    assert peer.ask(get("dead"))[2] == body
    assert peer.ask(get())[2] == b"last"


def test_what_is_settled_of_all_queues_goes_before_anybody_is_blocked(door, peer, monkeypatch):
    peer.ask(declare(durable=True))
    peer.publish(b"old")
    peer.ask(get(no_ack=True))
    door.run()
    [lane] = door.node.queues.vhosts[b"/"].queue(b"q").stock.order
    assert lane.log.start == 0  # it can be read again
    blocked = []
    monkeypatch.setattr(type(door.door.alarm), "block", lambda it, reason: blocked.append(reason))
    # A disk that is short of room for as long as that message is there.
    door.door.alarm.free_bytes_min = 1 << 62
    door.door.alarm.free_bytes = lambda: (1 << 62) - 1 if lane.log.start == 0 else 1 << 62
    monkeypatch.setattr(
        open_queues, "as_there_is_room", lambda _, settings: replace(settings, retention_ms=0)
    )
    peer.ask(declare("other", durable=True))
    peer.publish(b"new", key="other")
    door.run()
    assert lane.log.start == 1
    assert not any(blocked)
    door.door.alarm.free_bytes = lambda: 0  # and nothing is left that could go
    door.now += 20
    peer.publish(b"last")
    door.run()
    assert blocked[-1] == "low on disk"
