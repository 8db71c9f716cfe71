"""What implementations of STOMP get wrong, by what their users have reported.

The table says which tests are about which; it fails if one lacks.
"""

import pytest
from named_tests import is_there
from stomp_kit import Door, bodies
from stomp_wire import frame, said

FRAMES, SESSION = "stomp/test_stomp_frames.py", "protocols/stomp/test_stomp_session.py"
DESTINATIONS, HERE = "stomp/test_stomp_destinations.py", "protocols/stomp/test_stomp_traps.py"

# By their numbers: what goes wrong, and the tests that it does not go wrong here.
TRAPS = {
    1: ("headers of ACK, which each version names otherwise", [
        f"{HERE}::an_ack_names_its_message_as_its_version_has_it",
        f"{HERE}::an_ack_with_the_header_of_another_version_is_refused"]),
    2: ("the length of a message, copied into its ACK", [
        f"{HERE}::an_ack_with_the_length_of_its_message_is_an_ack",
        f"{FRAMES}::the_length_that_clients_copy_into_an_ack_is_not_believed"]),
    3: ("a line end behind each frame", [
        f"{HERE}::no_line_end_follows_a_frame_unless_that_is_asked_for",
        f"{SESSION}::a_line_end_follows_each_frame_where_that_is_asked_for"]),
    4: ("bodies with a NUL that are cut there", [
        f"{HERE}::a_message_always_says_how_long_it_is",
        f"{FRAMES}::a_body_with_a_length_may_hold_nuls"]),
    5: ("escapes, which CONNECT has none of", [
        f"{HERE}::a_passcode_is_taken_as_it_stands",
        f"{HERE}::what_has_an_escape_in_1_2_is_plain_in_1_0",
        f"{FRAMES}::what_a_backslash_means_depends_on_the_version"]),
    6: ("which end beats how often", [
        f"{DESTINATIONS}::both_keep_to_the_slower_of_what_one_can_and_the_other_wants",
        f"{SESSION}::beats_are_sent_at_half_the_time_and_only_where_nothing_else_was",
        f"{SESSION}::a_client_without_a_sign_of_life_ends_after_twice_its_time"]),
    7: ("flags of a durable subscription that are forgotten", [
        f"{HERE}::a_durable_subscription_waits_for_its_subscriber",
        f"{HERE}::a_durable_subscription_that_forgets_one_of_its_flags_is_told"]),
    8: ("a subscription of an exchange that is to last", [
        f"{HERE}::a_subscription_of_an_exchange_lasts_if_its_headers_say_all_of_it"]),
    9: ("messages of a temporary queue, which can't be acknowledged", [
        f"{HERE}::messages_of_a_temporary_queue_need_no_ack"]),
    10: ("queues that are neither durable nor exclusive", [
        f"{HERE}::a_transient_queue_that_others_may_use_is_allowed"]),
}  # fmt: skip
MORE = [
    f"{HERE}::a_nack_requeues_unless_it_says_otherwise",
    f"{HERE}::prefetch_is_unlimited_where_nobody_says_it",
    f"{HERE}::a_message_may_come_before_the_receipt_of_its_subscribe",
]


@pytest.mark.parametrize("number", range(1, 11))
def test_each_trap_has_its_test(number):
    _, tests = TRAPS[number]
    assert [it for it in tests + MORE if not is_there(it)] == []


@pytest.fixture
def door(node):
    made = Door(None, node=node)
    yield made
    made.close()
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.run()


def delivered(peer, *given, destination="/queue/a", **headers):
    """A subscription that has these messages."""
    peer.subscribe(destination, **({"ack": "client-individual"} | headers))
    peer.publish(destination, *given)
    peer.door.run()
    return [it for it in peer.got() if it.command == "MESSAGE"]


# 1: headers of ACK by version


@pytest.mark.parametrize(
    ("version", "header", "source"),
    [("1.0", "message-id", "message-id"), ("1.1", "message-id", "message-id"),
     ("1.2", "id", "ack")],
)  # fmt: skip
def test_an_ack_names_its_message_as_its_version_has_it(door, version, header, source):
    peer = door.open(version)
    [message] = delivered(peer, b"x")
    assert ("ack" in message.headers) == (version == "1.2")
    peer.ask("ACK", {header: message[source], "subscription": "0"})
    assert peer.closed is None
    peer.end()
    door.run()
    assert door.node.ready(b"a") == 0


@pytest.mark.parametrize(("version", "wrong"), [("1.1", "id"), ("1.2", "message-id")])
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_an_ack_with_the_header_of_another_version_is_refused(door, version, wrong, command):
    peer = door.open(version)
    [message] = delivered(peer, b"x")
    peer.send(command, {wrong: message["message-id"]})
    right = "id" if version == "1.2" else "message-id"
    error = peer.refused()
    assert error["message"] == "Missing header"
    assert error.body.decode() == f'"{command}" must include the "{right}" header\n'


def test_what_needs_no_acknowledgement_has_no_ack_header(door):
    peer = door.open()
    [message] = delivered(peer, b"x", ack="auto")
    assert "ack" not in message.headers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "Invalid header"), ("T_0@@session-x@@", "Invalid header"),
        ("", "Invalid header"),
        ("T_0@@session-other@@1", "Message not found"), ("T_0@@{}@@99", "Message not found"),
        ("T_0@@{}@@" + "9" * 400, "Invalid header"), ("T_0@@{}@@-1", "Invalid header"),
    ],
)  # fmt: skip
def test_an_ack_of_nothing_is_refused(door, given, message):
    peer = door.open()
    peer.send("ACK", {"id": given.format(peer.client.id)})
    assert peer.refused()["message"] == message


def test_what_is_settled_can_not_be_settled_again(door):
    peer = door.open()
    [message] = delivered(peer, b"x")
    peer.settle("ACK", message)
    peer.send("ACK", {"id": message["ack"]})
    assert peer.refused().body == b"unknown delivery tag 1\n"


# 2: content-length that is copied from a MESSAGE


def test_an_ack_with_the_length_of_its_message_is_an_ack(door):
    peer = door.open()
    [message] = delivered(peer, b"a long enough body")
    peer.give(frame("ACK", {"id": message["ack"], "content-length": "18"})
              + frame("SEND", {"destination": "/queue/b", "receipt": "next"}, b"x"))  # fmt: skip
    door.run()
    assert [it["receipt-id"] for it in peer.got()] == ["next"]


# 3: line ends behind frames


def test_no_line_end_follows_a_frame_unless_that_is_asked_for(door):
    peer = door.connect()
    peer.shake_hands()
    peer.subscribe("/queue/a")
    peer.publish("/queue/a", b"x", receipt="r")
    door.run()
    assert b"\0\n" not in peer.raw
    assert peer.raw.endswith(b"\0")


# 4: bodies with NUL


def test_a_message_always_says_how_long_it_is(door):
    peer = door.open()
    peer.subscribe("/queue/a")
    peer.send("SEND", {"destination": "/queue/a", "content-length": "3"}, b"\0\0\0")
    peer.send("SEND", {"destination": "/queue/a"}, b"")
    door.run()
    raw = peer.raw
    assert raw.count(b"content-length:3\n") == 1
    assert raw.count(b"content-length:0\n") == 1
    assert bodies(said(raw, "1.2")) == [b"\0\0\0", b""]


# 5: escapes


def test_a_passcode_is_taken_as_it_stands(node):
    from amqp_users import Users

    users = Users("al")
    users.logins.passwords["al"] = b"a:b\\c\\n"
    users.permit("al", ".*", ".*", ".*")
    door = Door(None, node=node, access=users.access, logins=users.logins)
    peer = door.connect()
    peer.give(b"CONNECT\naccept-version:1.2\nlogin:al\npasscode:a:b\\c\\n\n\n\0")
    door.run()
    assert [it.command for it in peer.got()] == ["CONNECTED"]
    door.close()


def test_what_has_an_escape_in_1_2_is_plain_in_1_0(door):
    new, old = door.open("1.2"), door.open("1.0")
    new.subscribe("/queue/new", id="n:1")
    old.subscribe("/queue/old", id="o:1")
    new.publish("/queue/old", b"x", foo="a:b\\c")
    old.publish("/queue/new", b"y", foo="a:b\\c")
    door.run()
    assert b"\nfoo:a:b\\c\n" in old.raw
    assert b"\nsubscription:o:1\n" in old.raw
    assert b"\nfoo:a\\cb\\\\c\n" in new.raw
    assert b"\nsubscription:n\\c1\n" in new.raw


# 6: heart-beats: see test_stomp_session.py


# 7 and 8: durable subscriptions


@pytest.mark.parametrize("flag", ["durable", "persistent"])
def test_a_durable_subscription_waits_for_its_subscriber(door, flag):
    given = {flag: "true", "auto_delete": "false"}
    peer = door.open()
    peer.subscribe("/topic/t", id="d1", **given)
    [name] = door.names()
    peer.end()
    door.run()
    sender = door.open()
    sender.publish("/topic/t", b"while away")
    door.run()
    again = door.open()
    assert bodies(again.subscribe("/topic/t", id="d1", **given)) == [b"while away"]
    assert door.names() == [name]
    again.ask("UNSUBSCRIBE", {"id": "d1"})
    assert door.names() == [name]  # without the flag it stays
    again.subscribe("/topic/t", id="d1", **given)
    again.ask("UNSUBSCRIBE", {"id": "d1", flag: "true"})
    assert door.names() == []


def test_a_durable_subscription_without_an_id_is_refused(door):
    peer = door.open()
    peer.send("SUBSCRIBE", {"destination": "/topic/t", "durable": "true"})
    error = peer.refused()
    assert error["message"] == "Missing Header"
    assert error.body == b"Header 'id' is required for durable subscriptions"


def test_a_durable_subscription_that_forgets_one_of_its_flags_is_told(door):
    peer = door.open()
    peer.subscribe("/topic/t", id="d", durable="true", auto_delete="false")
    other = door.open()
    other.send("SUBSCRIBE", {"destination": "/topic/t", "id": "d", "durable": "true"})
    error = other.refused()
    assert error["message"] == "precondition_failed"
    assert b"inequivalent arg 'auto_delete'" in error.body


def test_a_subscription_of_an_exchange_lasts_if_its_headers_say_all_of_it(door):
    given = {"x_queue_name": "mine", "durable": "true", "auto_delete": "false",
             "exclusive": "false"}  # fmt: skip
    peer = door.open()
    peer.subscribe("/exchange/amq.direct/k", id="e", **given)
    peer.end()
    door.run()
    assert door.names() == ["mine"]
    sender = door.open()
    sender.publish("/exchange/amq.direct/k", b"x")
    door.run()
    assert bodies(door.open().subscribe("/exchange/amq.direct/k", id="e", **given)) == [b"x"]


# 9: temporary queues


def test_messages_of_a_temporary_queue_need_no_ack(door):
    peer = door.open()
    peer.publish("/queue/service", b"ask", reply_to="/temp-queue/r")
    [request] = door.open().subscribe("/queue/service")
    door.open().publish(request["reply-to"], b"answer")
    door.run()
    [reply] = peer.got()
    assert "ack" not in reply.headers
    assert len(peer.client.unacked) == 0
    peer.send("UNSUBSCRIBE", {"id": "/temp-queue/r"})
    assert peer.refused()["message"] == "Invalid id"


# 10: queues that are neither durable nor exclusive


def test_a_transient_queue_that_others_may_use_is_allowed(door):
    peer, other = door.open(), door.open()
    peer.subscribe("/topic/t", x_queue_name="shared")
    assert bodies(other.subscribe("/amq/queue/shared")) == []
    peer.publish("/topic/t", b"1", b"2")
    door.run()
    assert sorted(bodies(peer.got()) + bodies(other.got())) == [b"1", b"2"]


# And


def test_a_nack_requeues_unless_it_says_otherwise(door):
    peer = door.open()
    [message] = delivered(peer, b"x")
    [back] = peer.settle("NACK", message)
    assert (back.body, back["redelivered"]) == (b"x", "true")
    assert peer.settle("NACK", back, requeue="false") == []
    peer.end()
    door.run()
    assert door.node.ready(b"a") == 0


def test_a_nack_that_does_not_requeue_dead_letters(door):
    peer = door.open()
    peer.subscribe("/queue/dead", id="d")
    peer.subscribe(
        "/queue/a", ack="client", x_dead_letter_exchange="", x_dead_letter_routing_key="dead"
    )
    peer.publish("/amq/queue/a", b"x")
    door.run()
    [message] = peer.got()
    [dead] = peer.settle("NACK", message, requeue="false")
    assert (dead["subscription"], dead.body) == ("d", b"x")


def test_cumulative_acks_are_of_their_own_subscription(door):
    peer = door.open()
    peer.subscribe("/queue/a", id="a", ack="client")
    peer.subscribe("/queue/b", id="b", ack="client")
    peer.publish("/queue/a", b"a1", b"a2", b"a3")
    peer.publish("/queue/b", b"b1")
    peer.publish("/queue/a", b"a4")
    door.run()
    got = {it.body: it for it in peer.got()}
    peer.settle("ACK", got[b"a3"])
    assert len(peer.client.unacked) == 2
    peer.end()
    door.run()
    assert (door.node.ready(b"a"), door.node.ready(b"b")) == (1, 1)


def test_what_outlives_its_subscription_can_still_be_settled(door):
    peer = door.open()
    [message] = delivered(peer, b"x")
    peer.ask("UNSUBSCRIBE", {"id": "0"})
    peer.subscribe("/queue/a", ack="client")
    assert peer.settle("ACK", message) == []
    assert peer.closed is None
    peer.end()
    door.run()
    assert door.node.ready(b"a") == 0


@pytest.mark.long
def test_prefetch_is_unlimited_where_nobody_says_it(door):
    peer = door.open()
    assert len(delivered(peer, *[b"x"] * 3000)) == 3000


def test_a_message_may_come_before_the_receipt_of_its_subscribe(door):
    """Which is legal; a client has both, and the receipt once."""
    peer = door.open()
    peer.publish("/queue/a", b"x")
    door.run()
    got = peer.ask("SUBSCRIBE", {"destination": "/queue/a", "id": "0", "receipt": "r"})
    assert sorted(it.command for it in got) == ["MESSAGE", "RECEIPT"]
