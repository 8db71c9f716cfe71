"""Transactions, receipts, and what is on disk when they are given."""

import pytest
from stomp_kit import Door, bodies
from stomp_wire import frame

from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.settling import BODIES_BYTES_MAX
from logstore.errors import StorageFull
from logstore.protocols.stomp.transaction import ACTIONS_MAX


@pytest.fixture
def door(node, request):
    """On the module's queues; a test that kills has some of its own (``own``)."""
    if "own" in request.fixturenames:
        yield request.getfixturevalue("own")
        return
    made = Door(None, node=node)
    yield made
    made.close()
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.run()


@pytest.fixture
def own(tmp_path):
    made = Door(tmp_path)
    yield made
    made.close()


@pytest.fixture
def peer(door):
    return door.open()


def begin(peer, name="t"):
    peer.ask("BEGIN", {"transaction": name})


def receipts(frames):
    return [it["receipt-id"] for it in frames if it.command == "RECEIPT"]


def test_nothing_happens_before_the_commit_and_all_of_it_then(door, peer):
    begin(peer)
    peer.publish("/queue/a", b"1", b"2", transaction="t")
    door.run()
    assert door.node.ready(b"a") == 0
    assert receipts(peer.ask("COMMIT", {"transaction": "t", "receipt": "done"})) == ["done"]
    assert door.node.ready(b"a") == 2


def test_an_abort_forgets_all_of_it(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1")
    door.run()
    [message] = peer.got()
    begin(peer)
    peer.publish("/queue/b", b"x", transaction="t", receipt="never")
    peer.settle("ACK", message, transaction="t")
    assert receipts(peer.ask("ABORT", {"transaction": "t", "receipt": "gone"})) == ["gone"]
    assert door.node.ready(b"b") == 0
    assert len(peer.client.unacked) == 1
    assert peer.settle("ACK", message) == []


@pytest.mark.parametrize("end", ["DISCONNECT", None])
def test_whoever_goes_has_aborted(door, peer, end):
    begin(peer)
    peer.publish("/queue/a", b"1", transaction="t")
    if end:
        peer.send(end)
    else:
        peer.end()
    door.run()
    assert door.node.ready(b"a") == 0


def test_acks_and_messages_of_one_commit_are_one(own, door, peer):
    peer.subscribe("/queue/a", ack="client-individual")
    peer.publish("/queue/a", b"1", b"2", b"3")
    door.run()
    got = peer.got()
    begin(peer)
    peer.settle("ACK", got[0], transaction="t")
    peer.settle("NACK", got[2], transaction="t", requeue="false")
    peer.publish("/queue/b", b"made of 1", transaction="t")
    peer.ask("COMMIT", {"transaction": "t"})
    assert len(peer.client.unacked) == 1
    door.kill()
    reader = door.open()
    assert bodies(reader.subscribe("/queue/a")) == [b"2"]
    assert bodies(reader.subscribe("/queue/b", id="1")) == [b"made of 1"]


def test_one_that_is_killed_before_its_commit_has_done_nothing(own, door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1", receipt="r")
    door.run()
    message = next(it for it in peer.got() if it.command == "MESSAGE")
    begin(peer)
    peer.settle("ACK", message, transaction="t")
    peer.publish("/queue/a", b"2", transaction="t")
    door.run()
    door.kill()
    assert bodies(door.open().subscribe("/queue/a")) == [b"1"]


def test_messages_in_a_transaction_have_their_receipts_with_its_commit(door, peer):
    begin(peer)
    peer.send("SEND", {"destination": "/queue/a", "transaction": "t", "receipt": "1"}, b"x")
    peer.send("SEND", {"destination": "/queue/a", "transaction": "t"}, b"x")
    assert peer.ask("SEND", {"destination": "/queue/a", "receipt": "out"}, b"y")[0]["receipt-id"]
    assert receipts(peer.ask("COMMIT", {"transaction": "t", "receipt": "2"})) == ["1", "2"]


def test_several_transactions_do_not_mix(door, peer):
    begin(peer, "t")
    begin(peer, "u")
    peer.publish("/queue/a", b"t", transaction="t")
    peer.publish("/queue/a", b"u", transaction="u")
    peer.ask("ABORT", {"transaction": "t"})
    peer.ask("COMMIT", {"transaction": "u"})
    assert bodies(peer.subscribe("/queue/a")) == [b"u"]


@pytest.mark.parametrize(
    ("command", "headers", "message"),
    [
        ("BEGIN", {}, "Missing transaction"), ("COMMIT", {}, "Missing transaction"),
        ("ABORT", {}, "Missing transaction"), ("COMMIT", {"transaction": "x"}, "Bad transaction"),
        ("ABORT", {"transaction": "x"}, "Bad transaction"),
        ("BEGIN", {"transaction": "t"}, "Bad transaction"),
        ("SEND", {"transaction": "x", "destination": "/queue/a"}, "Bad transaction"),
    ],
)  # fmt: skip
def test_a_transaction_that_there_is_not_is_refused(peer, command, headers, message):
    begin(peer)
    peer.send(command, headers)
    assert peer.refused()["message"] == message


def test_transactions_are_so_many_at_once(peer):
    for n in range(16):
        begin(peer, str(n))
    peer.send("BEGIN", {"transaction": "one more"})
    error = peer.refused()
    assert error["message"] == "Transaction limit exceeded"
    assert error.body == b"Too many concurrent transactions (limit 16)\n"


@pytest.mark.long
def test_a_transaction_has_so_many_actions(door, peer):
    begin(peer)
    one = frame("SEND", {"destination": "/queue/a", "transaction": "t"}, b"x")
    for _ in range(ACTIONS_MAX // 1000):
        peer.give(one * 1000)
        door.run()
    assert peer.closed is None
    assert peer.session.held_bytes > ACTIONS_MAX * 256
    peer.give(one)
    error = peer.refused()
    assert error["message"] == "Transaction too large"
    assert peer.session.held_bytes < 8192


@pytest.mark.long
def test_a_transaction_holds_so_many_bytes(door, peer):
    begin(peer)
    half = b"x" * (BODIES_BYTES_MAX // 2)
    headers = {"destination": "/queue/a", "transaction": "t", "content-length": str(len(half))}
    for n in range(3):
        raw = frame("SEND", headers, half)
        for at in range(0, len(raw), 1 << 20):
            peer.give(raw[at : at + (1 << 20)])
        assert (peer.closed is None) == (n < 2)
    assert peer.refused()["message"] == "Transaction too large"


def test_a_cumulative_ack_makes_a_later_one_of_the_same_transaction_needless(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1", b"2", b"3")
    door.run()
    got = peer.got()
    begin(peer)
    peer.settle("ACK", got[1], transaction="t")
    peer.settle("ACK", got[0], transaction="t")
    assert receipts(peer.ask("COMMIT", {"transaction": "t", "receipt": "r"})) == ["r"]
    assert len(peer.client.unacked) == 1


def test_a_commit_that_a_queue_rejects_has_done_nothing(door, peer):
    limited = {"x-max-length": "1", "destination": "/queue/full"}
    peer.ask("SEND", limited, b"1")
    door.vhost.queue(b"full").govern(None)
    declare_rejecting(door, b"rejects", 1)
    peer.publish("/amq/queue/rejects", b"1")
    door.run()
    begin(peer)
    peer.publish("/queue/ok", b"x", transaction="t")
    peer.publish("/amq/queue/rejects", b"2", transaction="t")
    peer.send("COMMIT", {"transaction": "t", "receipt": "r"})
    error = peer.refused()
    assert (error["message"], error["receipt-id"]) == ("precondition_failed", "r")
    assert error.body == b"partial tx completion"
    assert (door.node.ready(b"ok"), door.node.ready(b"rejects")) == (0, 1)


def declare_rejecting(door, name, most):
    from logstore.broker.queues.limits import QueueFacts
    from logstore.broker.queues.tables import arguments_of

    given = {"x-max-length": most, "x-overflow": "reject-publish"}
    door.vhost.declare_queue(QueueFacts(name, durable=True, arguments=arguments_of(given)))
    door.run()


def test_a_message_that_a_queue_refuses_is_told_where_a_receipt_was_asked_for(door, peer):
    declare_rejecting(door, b"rejects", 1)
    peer.publish("/amq/queue/rejects", b"1", b"2")
    door.run()
    assert peer.closed is None  # without one it is dropped, as in RabbitMQ
    peer.publish("/amq/queue/rejects", b"3", receipt="r")
    error = peer.refused()
    assert (error["message"], error["receipt-id"]) == ("Message refused", "r")
    assert error.body == b"a queue has no room for it"


# Receipts


def test_receipts_come_in_the_order_of_their_frames(door, peer):
    peer.give(
        frame("SEND", {"destination": "/queue/a", "receipt": "1"}, b"x")
        + frame("SUBSCRIBE", {"destination": "/topic/t", "id": "s", "receipt": "2"})
        + frame("BEGIN", {"transaction": "t", "receipt": "3"})
        + frame("SEND", {"destination": "/queue/b", "receipt": "4"}, b"x")
        + frame("UNSUBSCRIBE", {"id": "s", "receipt": "5"})
        + frame("ABORT", {"transaction": "t", "receipt": "6"})
        + frame("DISCONNECT", {"receipt": "7"})
    )
    door.run()
    assert receipts(peer.got()) == list("1234567")


def test_a_receipt_comes_when_the_message_is_on_disk_and_not_before(own, door, peer):
    peer.publish("/queue/a", b"x", receipt="r")
    assert peer.got() == []  # nothing was synced yet
    door.run()
    assert receipts(peer.got()) == ["r"]
    door.kill()
    assert bodies(door.open().subscribe("/queue/a")) == [b"x"]


def test_the_receipt_of_an_ack_says_that_the_message_never_comes_again(own, door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1", b"2", b"3")
    door.run()
    got = peer.got()
    assert receipts(peer.settle("ACK", got[1], receipt="r")) == ["r"]
    door.kill()
    assert bodies(door.open().subscribe("/queue/a")) == [b"3"]


@pytest.mark.parametrize("verdict", ["ACK", "NACK"])
def test_what_another_node_settles_has_its_receipt_at_once(door, peer, verdict):
    peer.subscribe("/queue/a", ack="client-individual")
    peer.publish("/queue/a", b"1")
    door.run()
    [message] = peer.got()
    queue = door.vhost.queue(b"a")
    queue.not_in_transactions = NotAmongNodes(b"a", "transactions there")
    assert receipts(peer.settle(verdict, message, receipt="r", requeue="false")) == ["r"]
    assert (peer.closed, queue.ready, queue.out) == (None, 0, 0)


def test_a_nack_has_its_receipt_too(door, peer):
    peer.subscribe("/queue/a", ack="client-individual")
    peer.publish("/queue/a", b"1", b"2")
    door.run()
    one, two = peer.got()
    again = peer.settle("NACK", one, receipt="r1")
    assert sorted(it.command for it in again) == ["MESSAGE", "RECEIPT"]
    assert receipts(peer.settle("NACK", two, receipt="r2", requeue="false")) == ["r2"]
    assert len(peer.client.unacked) == 1


@pytest.mark.long
def test_the_last_receipt_speaks_for_all_before_it(own, door, peer):
    for n in range(100):
        peer.publish(f"/queue/{n % 7}", b"%d" % n)
    peer.publish("/queue/0", b"last", receipt="r")
    door.run()
    assert receipts(peer.got()) == ["r"]
    door.kill()
    found = [it for n in range(7) for it in bodies(door.open().subscribe(f"/queue/{n}"))]
    assert len(found) == 101


@pytest.mark.long
def test_runs_that_nobody_waits_for_do_not_pile_up(door, peer):
    for _ in range(500):
        peer.publish("/queue/a", b"x")
        if len(peer.client.receipts._due or ()) > 80:
            door.run()
    door.run()
    peer.look()
    assert peer.client.receipts.held_bytes < 80 * 300


def test_a_log_that_takes_no_more_is_told_with_the_receipt(door, peer, monkeypatch):
    peer.publish("/queue/a", b"1", receipt="ok")
    door.run()
    peer.got()
    [lane] = door.vhost.queue(b"a").stock.order
    error = StorageFull("the disk is full")
    monkeypatch.setattr(type(lane.log), "append", lambda *_, **__: (_ for _ in ()).throw(error))
    peer.publish("/queue/a", b"2", receipt="r")
    refused = peer.refused()
    assert refused["receipt-id"] == "r"


# While nobody may publish


def test_while_the_disk_is_short_messages_wait_and_acks_do_not(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1")
    door.run()
    [message] = peer.got()
    door.door.alarm.block("low on disk")
    peer.publish("/queue/a", b"2", receipt="r")
    peer.send("ACK", {"id": message["ack"]})
    assert (peer.got(), len(peer.client.unacked)) == ([], 0)
    assert peer.session.about().state == "blocked"
    door.door.alarm.block("")
    door.run()
    assert sorted(it.command for it in peer.got()) == ["MESSAGE", "RECEIPT"]


@pytest.mark.parametrize("command", ["DISCONNECT", "BEGIN"])
def test_a_receipt_behind_messages_that_waited_is_given_when_they_are_safe(door, peer, command):
    peer.publish("/queue/a", b"1", receipt="ok")
    door.run()
    peer.got()
    door.door.alarm.block("low on disk")
    peer.publish("/queue/a", b"2")  # without a receipt of its own
    peer.send(command, {"transaction": "t", "receipt": "r"})
    assert peer.got() == []
    door.door.alarm.block("")
    door.run()
    assert [(it.command, it["receipt-id"]) for it in peer.got()] == [("RECEIPT", "r")]


@pytest.mark.long
def test_one_that_sends_on_while_it_may_not_is_not_read_from(door, peer):
    door.door.alarm.block("low on disk")
    for _ in range(30):
        peer.publish("/queue/a", b"x" * 100_000)
    assert peer.client.full
    assert len(peer.left) > 1 << 20  # the server would stop to read
    assert peer.session.held_bytes < 3 << 20
    door.door.alarm.block("")
    door.run()
    assert door.node.ready(b"a") == 30


def test_a_commit_waits_as_well(door, peer):
    begin(peer)
    peer.publish("/queue/a", b"1", transaction="t")
    door.door.alarm.block("low on disk")
    peer.send("COMMIT", {"transaction": "t", "receipt": "r"})
    peer.publish("/queue/a", b"2")
    assert peer.got() == []
    door.door.alarm.block("")
    door.run()
    assert receipts(peer.got()) == ["r"]
    assert bodies(door.open().subscribe("/queue/a")) == [b"1", b"2"]


@pytest.mark.long
def test_queues_that_may_refuse_are_opened_before_they_are_published_to(tmp_path):
    door = Door(tmp_path)
    declare_rejecting(door, b"rejects", 2)
    peer = door.open()
    peer.publish("/amq/queue/rejects", b"1", receipt="r")
    door.run()
    door.again()
    peer = door.open()
    peer.publish("/amq/queue/rejects", b"2", receipt="1")
    begin(peer)
    peer.publish("/amq/queue/rejects", b"3", transaction="t")
    peer.send("COMMIT", {"transaction": "t"})
    assert peer.refused()["message"] == "precondition_failed"
    assert door.node.ready(b"rejects") == 2
    door.close()
