"""Rights that are taken away are gone at once, on connections that are open, too."""

import pytest
from amqp_kit import bodies, consume, declare, exchange, get, message
from amqp_users import Users, opened, refusal

from logstore.access.resources import EXCHANGE, READ, WRITE
from logstore.amqp import methods
from logstore.kept.users import KeptTopicPermission
from logstore.protocols.rabbit_permits import Ask
from logstore.slices import AT_ONCE, Slices

QUEUE = "queue"
READ_Q = refusal(Ask(READ, QUEUE, b"q"))
WRITE_E = refusal(Ask(WRITE, EXCHANGE, b"e"))
ALL = ".*", ".*", ".*"


@pytest.fixture
def users():
    found = Users("al", "bo")
    found.permit("al", *ALL)
    found.permit("bo", *ALL)
    return found


@pytest.fixture
def door(node, users):
    made = users.door(node=node)
    root = opened(made, "root")
    for method in (declare("q"), declare("q2"), exchange("e", "fanout")):
        root.ask(method)
    root.ask(methods.QueueBind(0, "q2", "e", "", False, {}))
    yield made
    vhost = node.queues.vhosts[b"/"]
    for queue in list(vhost.queues()):
        vhost.delete_queue(queue)
    vhost.delete_exchange(b"e")
    made.close()


def put(door, *sent, name="q"):
    """As root, into a queue."""
    door.peers[0].publish(*sent, key=name)
    door.run()


def test_a_consumer_is_cancelled_and_gets_nothing_more(door, users):
    peer = opened(door)
    peer.ask(consume("q", "mine"))
    peer.ask(consume("q2", "other"))
    put(door, b"1")
    assert bodies(peer) == [b"1"]
    users.permit("al", ".*", ".*", "^q2$")
    door.run()
    assert peer.answer() == methods.BasicCancel("mine", True)
    put(door, b"2")
    put(door, b"3", name="q2")
    assert bodies(peer) == [b"3"]
    assert door.node.ready(b"q") == 1


def test_what_it_has_it_may_still_settle(door, users):
    peer = opened(door)
    peer.ask(consume("q"))
    put(door, b"1", b"2")
    users.permit("al")
    door.run()
    assert bodies(peer) == [b"1", b"2"]
    peer.send(methods.BasicAck(1, False), methods.BasicReject(2, True))
    door.run()
    assert peer.methods() == []
    assert door.node.ready(b"q") == 1


def test_others_keep_theirs(door, users):
    al, bo = opened(door), opened(door, "bo")
    al.ask(consume("q", "a"))
    bo.ask(consume("q", "b"))
    users.permit("al")
    door.run()
    assert al.methods() == [methods.BasicCancel("a", True)]
    assert bo.methods() == []
    put(door, b"1", b"2")
    assert bodies(bo) == [b"1", b"2"]


def test_a_client_that_knows_no_cancel_has_its_channel_closed(door, users):
    peer = opened(door, capabilities={})
    peer.ask(methods.ChannelOpen(), 2)
    peer.ask(consume("q"))
    put(door, b"1")
    assert bodies(peer) == [b"1"]
    users.permit("al")
    door.run()
    assert peer.all() == [(1, methods.ChannelClose(403, READ_Q, 0, 0))]
    assert door.node.ready(b"q") == 1
    assert peer.ask(methods.BasicQos(0, 1, False), 2) == methods.BasicQosOk()


def test_a_queue_that_goes_with_its_last_consumer_goes(door, users):
    peer = opened(door)
    peer.ask(declare("auto", auto_delete=True))
    peer.ask(consume("auto"))
    users.permit("al")
    door.run()
    assert peer.answer() == methods.BasicCancel("c", True)
    assert door.peers[0].ask(declare("auto", passive=True)).reply_code == 404


def test_a_publisher_is_refused_from_the_next_message_on(door, users):
    peer = opened(door)
    peer.publish(b"1", exchange="e")
    users.permit("al")
    peer.publish(b"2", exchange="e")
    door.run()
    assert peer.answer() == methods.ChannelClose(403, WRITE_E, 60, 40)
    assert door.node.ready(b"q2") == 1


def test_a_message_that_is_half_here_is_refused_when_it_is_whole(door, users):
    peer = opened(door)
    data = message(b"12345", "e")
    peer.give(data[:-3])
    users.permit("al")
    peer.give(data[-3:])
    door.run()
    assert peer.answer() == methods.ChannelClose(403, WRITE_E, 60, 40)


def test_what_waits_behind_another_answer_is_judged_when_its_turn_comes(door, users):
    """The declaration is not durable yet; what is behind it waits in the channel."""
    peer = opened(door)
    peer.send(declare("new", durable=True), get("q"))
    users.permit("al", ".*")
    door.run()
    declared, closed = peer.methods()
    assert isinstance(declared, methods.QueueDeclareOk)
    assert closed == methods.ChannelClose(403, READ_Q, 60, 70)


def test_a_transaction_is_refused_when_it_is_committed(door, users):
    peer = opened(door)
    peer.ask(methods.TxSelect())
    peer.publish(b"1", b"2", exchange="e")
    users.permit("al")
    assert peer.ask(methods.TxCommit()) == methods.ChannelClose(403, WRITE_E, 90, 20)
    assert door.node.ready(b"q2") == 0


def test_rights_that_are_given_count_at_once(door, users):
    users.permit("al")
    peer = opened(door)
    assert peer.ask(get("q")).reply_text == READ_Q
    peer.send(methods.ChannelCloseOk())
    users.permit("al", read="^q$")
    peer.ask(methods.ChannelOpen())
    assert peer.ask(get("q")) == methods.BasicGetEmpty()


def test_a_connection_of_a_user_that_is_deleted_is_closed(door, users):
    al, bo = opened(door), opened(door, "bo")
    al.ask(declare("mine", exclusive=True))
    al.ask(consume("q"))
    put(door, b"1")
    assert bodies(al) == [b"1"]
    users.delete("al")
    door.run()
    assert al.methods() == [
        methods.ConnectionClose(320, "CONNECTION_FORCED - user 'al' is deleted")
    ]
    al.send(declare("late"))  # nothing of it is taken any more
    assert al.methods() == []
    al.send(methods.ConnectionCloseOk(), channel=0)
    assert al.session.closed == "CONNECTION_FORCED - user 'al' is deleted"
    assert bo.ask(declare("q", passive=True)).message_count == 1
    for name in ("mine", "late"):
        assert bo.ask(declare(name, passive=True)).reply_code == 404
        bo.send(methods.ChannelCloseOk())
        bo.ask(methods.ChannelOpen())


def test_a_user_that_is_made_anew_is_not_the_one_that_was_deleted(door, users):
    peer = opened(door)
    users.delete("al")
    users.add("al")
    door.run()
    assert peer.answer().reply_code == 320


def test_a_tag_that_is_taken_away_takes_all_that_it_allowed(door, users):
    users.add("chief", "administrator")
    peer = opened(door, "chief")
    peer.ask(consume("q"))
    users.add("chief")  # the same, without a tag
    door.run()
    assert peer.answer() == methods.BasicCancel("c", True)
    assert peer.ask(declare("new")).reply_code == 403


def test_a_change_that_concerns_nobody_here_is_nobody_told_of(door, users):
    peer = opened(door)
    peer.ask(consume("q"))
    users.allow("bo", "read", "topic", "t")
    users.permit("al", "", "", "q")
    door.run()
    assert peer.methods() == []
    put(door, b"1")
    assert bodies(peer) == [b"1"]


def test_a_connection_that_is_closing_hears_nothing_more(door, users):
    peer = opened(door)
    peer.send(methods.BasicQos(0, 1, False), channel=7)  # a channel that is not open
    assert peer.answer().reply_code == 504
    users.delete("al")
    door.run()
    assert peer.methods() == []


# What is somebody else's


def test_an_exclusive_queue_is_its_connections_whatever_others_may(door):
    peer, root = opened(door), door.peers[0]
    peer.ask(declare("mine", exclusive=True))
    for method in (get("mine"), consume("mine"), methods.QueuePurge(0, "mine", False)):
        assert root.ask(method).reply_code == 405
        root.send(methods.ChannelCloseOk())
        root.ask(methods.ChannelOpen())


def test_nobody_binds_an_address_for_replies(door):
    """As CVE-2026-57215: replies to others would come that way."""
    waits, other = opened(door), opened(door)
    waits.ask(consume("amq.rabbitmq.reply-to", no_ack=True))
    address = "amq.rabbitmq.reply-to." + waits.session.channels[1].reply_token.decode()
    for name in ("amq.rabbitmq.reply-to", address):
        answer = other.ask(methods.QueueBind(0, name, "e", "", False, {}))
        assert answer == methods.ChannelClose(
            403, f"ACCESS_REFUSED - operation not permitted on queue '{name}'", 50, 20
        )
        other.send(methods.ChannelCloseOk())
        other.ask(methods.ChannelOpen())
    assert other.ask(consume(address)).reply_code == 404


def test_who_is_told_later_gets_nothing_meanwhile(node, users):
    """A crowd is told in parts, between which others have their turns."""
    later = []
    door = users.door(node=node, slices=Slices(later.append))
    root = opened(door, "root")
    root.ask(declare("q"))
    crowd = [opened(door) for _ in range(AT_ONCE)]
    last = opened(door)
    last.ask(consume("q"))
    users.permit("al", ".*", ".*", "")
    assert later
    root.publish(b"1", key="q")
    door.run()
    assert last.methods() == []
    assert last.ask(get("q")).reply_code == 403  # what it asks goes by the rules of now
    while later:
        later.pop()()
    door.run()
    assert node.ready(b"q") == 1
    users.permit("al", ".*", ".*", ".*")  # and the others may be deaf as long
    users.delete("al")
    while later:
        later.pop()()
    door.run()
    assert {it.answer().reply_code for it in crowd} == {320}
    root.ask(methods.QueueDelete(0, "q", False, False, False))
    door.close()


def test_who_is_told_later_goes_on_then(node, users):
    later = []
    door = users.door(node=node, slices=Slices(later.append))
    root = opened(door, "root")
    root.ask(declare("q"))
    for _ in range(AT_ONCE):
        opened(door)
    last = opened(door)
    last.ask(consume("q"))
    users.allow("bo", "read", "queue", "q")
    root.publish(b"1", key="q")
    door.run()
    assert last.methods() == []
    while later:
        later.pop()()
    door.run()
    assert bodies(last) == [b"1"]
    last.send(methods.BasicAck(1, False))
    root.ask(methods.QueueDelete(0, "q", False, False, False))
    door.close()


def test_what_is_kept_back_while_nobody_may_publish_is_judged_then(door, users):
    peer = opened(door)
    peer.ask(methods.ConfirmSelect(False))
    door.door.block("low on disk")
    peer.publish(b"1", exchange="e")
    peer.publish(b"2", exchange="")
    users.permit("al", write="^amq\\.default$")
    door.door.block("")
    door.run()
    assert peer.methods() == [
        methods.ConnectionBlocked("low on disk"),
        methods.ConnectionUnblocked(),
        methods.ChannelClose(403, WRITE_E, 60, 40),
    ]
    assert (door.node.ready(b"q2"), door.node.ready(b"q")) == (0, 0)


def test_what_is_kept_back_of_a_user_that_is_deleted_is_not_published(door, users):
    peer = opened(door)
    door.door.block("low on disk")
    peer.publish(b"1", exchange="e")
    users.delete("al")
    door.door.block("")
    door.run()
    assert peer.methods()[-1].reply_code == 320
    assert door.node.ready(b"q2") == 0


def test_what_is_kept_back_for_an_exchange_that_is_another_now_is_refused(door, users):
    """And nobody else is: who is told that he may publish again knows nothing of it."""
    root, peer, other = door.peers[0], opened(door), opened(door, "bo")
    users.access.change(keep=[KeptTopicPermission("al", "/", "t", "^b$", ".*")])
    root.ask(exchange("t", "topic"))
    door.door.block("low on disk")
    peer.publish(b"1", exchange="t", key="b")
    root.send(
        methods.ExchangeDelete(0, "t", False, False),
        methods.ExchangeDeclare(0, "t", "topic", False, False, False, True, False, {}),
    )
    door.run()
    door.door.block("")
    door.run()
    assert (peer.methods()[-1].reply_code, other.methods()[-1]) == (
        403, methods.ConnectionUnblocked(),
    )  # fmt: skip
    root.send(methods.ExchangeDelete(0, "t", False, False))


def test_what_is_kept_back_with_the_right_is_published(door, users):
    peer = opened(door)
    door.door.block("low on disk")
    peer.publish(b"1", exchange="e")
    users.permit("al", write="^e$")
    door.door.block("")
    door.run()
    assert door.node.ready(b"q2") == 1


def test_a_user_that_is_made_anew_before_its_turn_is_not_the_one_that_was_deleted(node, users):
    later = []
    door = users.door(node=node, slices=Slices(later.append))
    for _ in range(AT_ONCE):
        opened(door, "root")
    last = opened(door)
    users.delete("al")
    users.add("al")
    assert later
    while later:
        later.pop()()
    door.run()
    assert last.answer().reply_code == 320
    assert all(it.methods() == [] for it in door.peers[:-1])
    door.close()


def test_a_deleted_user_that_does_not_read_is_cut_off(door, users):
    """What it was still to be sent it does not get."""
    peer, cut = opened(door), []
    peer.link.cut = cut.append
    peer.ask(consume("q"))
    peer.link.unsent = 1 << 20
    users.delete("al")
    door.run()
    assert cut == ["CONNECTION_FORCED - user 'al' is deleted"]
