"""A connection from its first byte to its last, and the frames that destinations are about."""

import pytest
from amqp_kit import Node
from stomp_kit import Door, bodies
from stomp_wire import frame, said

from logstore.protocols.stomp import session
from logstore.protocols.stomp.subscribe import durable_name
from logstore.stomp.frames import HEAD_BYTES_MAX


@pytest.fixture
def door(node):
    """On the module's queues, under names of the test's own."""
    made = Door(None, node=node)
    yield made
    made.close()
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.run()


@pytest.fixture
def peer(door):
    return door.open()


# How it begins


@pytest.mark.parametrize(
    ("accepted", "version"), [(None, "1.0"), ("1.0", "1.0"), ("1.1,1.2", "1.2"), ("1.1", "1.1")]
)
@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_connected_says_version_session_beats_and_server(door, command, accepted, version):
    peer = door.connect()
    headers = {} if accepted is None else {"accept-version": accepted, "host": "anything"}
    [it] = peer.ask(command, headers)
    assert it.command == "CONNECTED"
    assert it.headers == {
        "version": version, "heart-beat": "0,0", "server": "RabbitMQ/3.13.7",
        "session": it["session"],
    }  # fmt: skip
    assert it["session"].startswith("session-")


def test_without_a_common_version_it_ends(door):
    peer = door.connect()
    peer.send("CONNECT", {"accept-version": "2.0,3.1"})
    error = peer.refused()
    assert error["message"] == "Version mismatch"
    assert error["version"] == "1.0,1.1,1.2"
    assert error.body == b"Supported versions are 1.0,1.1,1.2\n"


def test_a_host_that_is_no_virtual_host_is_the_servers_own_name(door):
    assert door.open(host="127.0.0.1").client.vhost_name == "/"
    assert door.open(host="/").client.vhost_name == "/"


def test_a_frame_before_connect_is_refused(door):
    peer = door.connect()
    peer.send("SEND", {"destination": "/queue/a"})
    error = peer.refused()
    assert (error["message"], error.body) == (
        "Illegal command", b"You must log in using CONNECT first",
    )  # fmt: skip


def test_a_second_connect_is_refused(peer):
    peer.send("CONNECT", {"accept-version": "1.2"})
    assert peer.refused()["message"] == "Illegal command"


def test_a_receipt_for_connect_comes_behind_connected(door):
    peer = door.connect()
    assert [it.command for it in peer.ask("CONNECT", {"receipt": "r"})] == ["CONNECTED", "RECEIPT"]


def test_frames_that_come_with_connect_are_taken_behind_it(door):
    peer = door.connect()
    peer.give(
        frame("CONNECT", {"accept-version": "1.2"})
        + frame("SEND", {"destination": "/queue/a", "receipt": "x\ny"}, b"hi")
    )
    door.run()
    connected, receipt = peer.got()
    assert (connected.command, receipt["receipt-id"]) == ("CONNECTED", "x\ny")
    assert door.node.ready(b"a") == 1


def test_one_that_says_nothing_ends_after_ten_seconds(door):
    peer = door.connect()
    peer.look()
    door.now += session.HANDSHAKE_S + 0.1
    peer.look()
    assert peer.closed == "handshake timeout"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP: STOMP is served here"),
        (b"\x16\x03\x01\x02\x00", "the peer speaks TLS: STOMP is served here, without TLS"),
        (b"AMQP\0\0\x09\x01", "the peer speaks AMQP: STOMP is served here"),
        (
            bytes.fromhex("0000001a0012000400000001"),
            "the peer speaks the Kafka protocol: STOMP is served here; see kafka.port",
        ),
    ],
)
def test_other_protocols_are_told_apart(door, raw, reason):
    peer = door.connect()
    peer.give(raw)
    assert reason in peer.closed
    assert peer.raw == b""


@pytest.mark.parametrize(
    "raw",
    [b"CONNECT\nx:" + b"a" * 20_000, b"CONNECT\n\n" + b"x" * 2000, b"\xff" * 100, b"A" * 100,
     b"CONNECT\nno colon\n\n\0", b"CONNECT\nheart-beat:x\n\n\0"],
)  # fmt: skip
def test_strangers_have_little_room_and_one_answer(door, raw):
    peer = door.connect()
    peer.give(raw)
    door.run()
    [error] = peer.got()
    assert error.command == "ERROR"
    assert peer.closed
    assert "\n" not in peer.closed
    assert peer.session.held_bytes < 8192


def test_what_comes_behind_an_error_is_thrown_away_until_the_peer_goes(peer):
    peer.link.unread = 5
    peer.give(b"NONSENSE\n\n\0" + b"x" * 1000)
    peer.door.run()
    assert [it.command for it in peer.got()] == ["ERROR"]
    assert peer.closed is None
    assert peer.session.receive(memoryview(b"y" * 70_000), peer.door.now) == 70_000
    assert peer.session.held_bytes < 8192
    peer.door.now += session.DISCARD_S + 0.1
    peer.look()
    assert peer.closed.startswith("Bad command")


# Destinations: what is declared, and where messages go


def facts(door, name):
    it = door.vhost.topology.queue(name)
    return it.facts.durable, it.facts.exclusive, it.facts.auto_delete


def test_to_send_declares_a_durable_queue(door, peer):
    assert peer.ask("SEND", {"destination": "/queue/a", "receipt": "1"}, b"x")[0].command == (
        "RECEIPT"
    )
    assert facts(door, b"a") == (True, False, False)
    assert door.node.ready(b"a") == 1


def test_a_bare_name_is_a_queue(door, peer):
    peer.publish("plain", b"x")
    peer.subscribe("plain")
    door.run()
    assert door.names() == ["plain"]


def test_a_queue_that_is_not_durable_is_the_connections_own(door, peer):
    peer.subscribe("/queue/mine", durable="false")
    queue = door.vhost.topology.queue(b"mine")
    assert (queue.facts.durable, queue.facts.auto_delete) == (False, True)
    assert queue.owner is peer.client
    peer.end()
    door.run()
    assert door.names() == []


def test_a_queue_of_amqps_is_not_declared(door, peer):
    peer.send("SUBSCRIBE", {"destination": "/amq/queue/none", "id": "0"})
    error = peer.refused()
    assert (error["message"], error.body) == ("not_found", b"no queue 'none' in vhost '/'")
    sender = door.open()
    sender.publish("/amq/queue/none", b"lost")
    door.run()
    assert (sender.closed, door.names()) == (None, [])


def test_headers_say_how_a_queue_is_declared(door, peer):
    peer.subscribe("/queue/limited", x_max_length=" 5 ", x_message_ttl=1000, x_queue_type="classic")
    limits = door.vhost.queue(b"limited").limits
    assert (limits.max_length, limits.ttl_ms) == (5, 1000)
    other = door.open()
    other.send("SEND", {"destination": "/queue/limited"}, b"x")
    error = other.refused()
    assert error["message"] == "precondition_failed"
    assert error.body.startswith(b"inequivalent arg 'x-message-ttl' for queue 'limited'")


def test_an_argument_that_is_no_number_is_refused(peer):
    peer.send("SEND", {"destination": "/queue/a", "x-max-length": "many"})
    assert peer.refused().body == b"x-max-length takes a whole number, not 'many'"


def test_a_queue_that_went_is_declared_again_by_the_next_message(door, peer):
    peer.publish("/queue/a", b"1")
    door.run()
    door.vhost.delete_queue(door.vhost.queue(b"a"))
    peer.publish("/queue/a", b"2", b"3")
    door.run()
    assert door.node.ready(b"a") == 2


def test_topics_are_heard_by_all_who_subscribe(door, peer):
    other = door.open()
    other.subscribe("/topic/a.*")
    peer.subscribe("/topic/a.#", id="1")
    peer.publish("/topic/a.b", b"x")
    door.run()
    [one], [two] = peer.got(), other.got()
    assert one["destination"] == two["destination"] == "/topic/a.b"
    assert (one["subscription"], two["subscription"]) == ("1", "0")
    names = door.names()
    assert [it.startswith("stomp-subscription-") for it in names] == [True, True]
    assert facts(door, names[0].encode()) == (False, False, True)
    other.ask("UNSUBSCRIBE", {"id": "0"})
    assert len(door.names()) == 1


def test_exchanges_are_published_to_and_heard(door, peer):
    peer.subscribe("/exchange/amq.direct/k", id="k")
    peer.subscribe("/exchange/amq.fanout", id="f")
    queue = door.names()[0].encode()
    assert facts(door, queue) == (False, True, True)
    peer.publish("/exchange/amq.direct/k", b"1")
    peer.publish("/exchange/amq.fanout/any", b"2")
    door.run()
    assert [(it["subscription"], it["destination"], it.body) for it in peer.got()] == [
        ("k", "/exchange/amq.direct/k", b"1"), ("f", "/exchange/amq.fanout/any", b"2"),
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_an_exchange_that_there_is_not_leaves_no_queue(door, peer, command):
    peer.send(command, {"destination": "/exchange/none/k", "id": "0"})
    error = peer.refused()
    assert (error["message"], error.body) == ("not_found", b"no exchange 'none' in vhost '/'")
    assert door.names() == []


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("/queue/", "Invalid destination"), ("/nonsense", "Unknown destination"),
        ("/temp-queue/a", "Invalid destination"), ("", "Invalid destination"),
        ("/queue/" + "x" * 256, "Invalid destination"), ("/queue/a\nb", "Invalid destination"),
        ("/exchange/e/" + "k" * 300, "Invalid destination"), (None, "Missing destination"),
    ],
)  # fmt: skip
def test_what_is_no_destination_is_refused(peer, command, destination, message):
    headers = {"id": "0"} if destination is None else {"id": "0", "destination": destination}
    peer.send(command, headers)
    error = peer.refused()
    assert error["message"] == message
    assert error.body


# Messages


def test_properties_and_headers_come_as_they_were_sent(door, peer):
    peer.subscribe("/queue/a")
    given = {
        "content-type": "text/x", "content-encoding": "gzip", "correlation-id": "c", "type": "t",
        "expiration": "60000", "priority": "5", "timestamp": "123", "app-id": "a",
        "amqp-message-id": "m", "user-id": "guest", "persistent": "true", "reply-to": "/queue/r",
        "foo": "a:b\\c\nd", "gr\u00fc\u00dfe": "\U0001f600", "content-length": "4",
    }  # fmt: skip
    peer.send("SEND", {"destination": "/queue/a", **given, "receipt": "r"}, b"a\0bc")
    door.run()
    receipt, message = sorted(peer.got(), key=lambda it: it.command, reverse=True)
    del given["content-length"]
    assert message.headers == given | {
        "subscription": "0", "destination": "/queue/a", "redelivered": "false",
        "message-id": message["message-id"],
    }  # fmt: skip
    assert message.body == b"a\0bc"
    assert receipt["receipt-id"] == "r"


def test_a_sender_cannot_say_what_a_delivery_says(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"x", subscription="9", redelivered="true", ack="forged")
    door.run()
    [message] = peer.got()
    assert message["subscription"] == "0"
    assert message["redelivered"] == "false"
    assert message["ack"] == message["message-id"] != "forged"


def test_a_message_id_is_not_the_senders_to_give(peer):
    peer.send("SEND", {"destination": "/queue/a", "message-id": "1"})
    assert peer.refused().body == b"'message-id' is not allowed on 'SEND'.\n"


@pytest.mark.parametrize(
    ("header", "value", "why"),
    [
        ("priority", "256", "priority takes a number from 0 to 255, not 256"),
        ("timestamp", "-1", "timestamp takes a number from 0"),
        ("correlation-id", "x" * 256, "correlation-id takes at most 255 bytes"),
        ("n" * 256, "v", "the name of a header takes at most 255 bytes"),
        ("expiration", "soon", "invalid expiration 'soon'"),
        ("user-id", "somebody", "user_id property set to 'somebody' but authenticated user was"),
    ],
)
def test_a_header_that_amqp_cannot_have_is_refused(peer, header, value, why):
    peer.send("SEND", {"destination": "/queue/a", header: value})
    assert peer.refused().body.decode().startswith(why)


def test_a_message_that_is_too_large_is_refused_before_it_has_come(node):
    door = Door(None, message_bytes_max=1000, node=node)
    peer = door.open()
    peer.give(b"SEND\ndestination:/queue/a\ncontent-length:1001\n\n")
    assert peer.refused().body == b"a body of 1001 bytes: at most 1000 are allowed"
    door.close()


def test_a_head_that_never_ends_is_refused(peer):
    peer.give(b"SEND\n" + b"a:b\n" * (HEAD_BYTES_MAX // 4 + 1))
    assert b"headers take at most" in peer.refused().body


@pytest.mark.long
def test_a_long_body_goes_through_in_pieces(door, peer):
    body = bytes(range(256)) * 8192
    raw = frame("SEND", {"destination": "/queue/a", "content-length": str(len(body))}, body)
    for at in range(0, len(raw), 100_000):
        peer.give(raw[at : at + 100_000])
    door.run()
    reader = door.open()
    assert bodies(reader.subscribe("/queue/a")) == [body]


def test_a_body_that_arrives_counts_as_memory(peer):
    before = peer.session.held_bytes
    peer.give(b"SEND\ndestination:/queue/a\n\n" + b"x" * 100_000)
    assert peer.session.held_bytes >= before + 100_000


# Subscriptions


def test_a_second_subscription_of_the_same_id_is_refused(peer):
    peer.subscribe("/queue/a")
    peer.send("SUBSCRIBE", {"destination": "/queue/b", "id": "0"})
    error = peer.refused()
    assert error["message"] == "Duplicated subscription identifier"
    assert error.body == b"A subscription identified by 'T_0' already exists."


def test_without_an_id_the_destination_is_meant(door):
    peer = door.open("1.0")
    peer.ask("SUBSCRIBE", {"destination": "/queue/a"})
    peer.publish("/queue/a", b"x")
    door.run()
    [message] = peer.got()
    assert "subscription" not in message.headers
    assert message["message-id"].startswith("Q_/queue/a@@session-")
    assert peer.ask("UNSUBSCRIBE", {"destination": "/queue/a", "receipt": "r"})[0]["receipt-id"]
    peer.publish("/queue/a", b"y")
    door.run()
    assert peer.got() == []


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"id": "none"}, "No subscription found"), ({}, "Missing destination or id"),
        ({"id": "/temp-queue/x"}, "Invalid id"), ({"durable": "true"}, "Missing Header"),
    ],
)  # fmt: skip
def test_an_unsubscribe_of_nothing_is_refused(peer, headers, message):
    peer.send("UNSUBSCRIBE", headers)
    assert peer.refused()["message"] == message


def test_an_ack_mode_that_there_is_not_is_refused(peer):
    peer.send("SUBSCRIBE", {"destination": "/queue/a", "id": "0", "ack": "sometimes"})
    assert peer.refused().body == (b"ack takes auto, client, client-individual, not 'sometimes'")


def test_prefetch_count_is_kept_to(door, peer):
    peer.subscribe("/queue/a", ack="client-individual", prefetch_count=2)
    peer.publish("/queue/a", b"1", b"2", b"3")
    door.run()
    got = peer.got()
    assert bodies(got) == [b"1", b"2"]
    assert bodies(peer.settle("ACK", got[1])) == [b"3"]


def test_a_queue_that_is_deleted_ends_its_subscribers_and_says_which_subscription(door, peer):
    peer.subscribe("/queue/a", id="mine")
    door.vhost.delete_queue(door.vhost.queue(b"a"))
    error = peer.refused()
    assert error["message"] == "Server cancelled subscription"
    assert error["subscription"] == "mine"
    assert b"queue 'a' is deleted" in error.body


@pytest.mark.long
def test_a_reader_that_does_not_read_is_given_no_more_than_a_megabyte(door, peer):
    peer.subscribe("/queue/a")
    peer.link.unsent = 1
    sender = door.open()
    for _ in range(40):
        sender.publish("/queue/a", b"x" * 100_000)
        door.run()
    assert peer.session.held_bytes < 3 << 20
    peer.link.unsent = 0
    peer.look()
    door.run()
    assert len(peer.got()) == 40


def test_of_streams_a_subscription_says_where_it_begins(door, peer):
    headers = {"destination": "/queue/s", "x-queue-type": "stream"}
    for n in range(3):
        peer.send("SEND", headers, b"%d" % n)
    door.run()
    reader = door.open()
    said = reader.subscribe(
        "/queue/s", ack="client-individual", prefetch_count=10, x_queue_type="stream",
        x_stream_offset="offset=1",
    )  # fmt: skip
    got = [it for it in said if it.command == "MESSAGE"]
    assert [it.body for it in got] == [b"1", b"2"]
    assert got[0]["x-stream-offset"] == "1"
    reader.settle("ACK", got[0])
    assert reader.closed is None


def test_a_stream_is_no_place_for_subscribers_without_acknowledgements(door, peer):
    peer.send("SUBSCRIBE", {"destination": "/queue/s", "id": "0", "x-queue-type": "stream"})
    assert peer.refused()["message"] in ("precondition_failed", "not_implemented")


# Replies


def test_a_temporary_queue_is_made_for_replies_and_heard_without_a_subscribe(door, peer):
    service = door.open()
    service.subscribe("/queue/service")
    peer.publish("/queue/service", b"ask", reply_to="/temp-queue/foo")
    peer.publish("/queue/service", b"again", reply_to="/temp-queue/foo")
    door.run()
    one, two = service.got()
    assert one["reply-to"] == two["reply-to"]
    assert one["reply-to"].startswith("/reply-queue/stomp.gen-")
    service.publish(one["reply-to"], b"answer")
    door.run()
    [reply] = peer.got()
    assert (reply["subscription"], reply.body) == ("/temp-queue/foo", b"answer")
    name = one["reply-to"].removeprefix("/reply-queue/")
    assert door.vhost.topology.queue(name.encode()).owner is peer.client
    peer.end()
    door.run()
    assert name not in door.names()


def test_a_reply_to_that_is_no_destination_is_left_to_the_receiver(door, peer):
    peer.subscribe("/queue/a")
    peer.publish("/queue/a", b"x", reply_to="amq.gen-1")
    peer.publish("/queue/a", b"x", reply_to="https://example.org/a")
    door.run()
    assert [it["reply-to"] for it in peer.got()] == [
        "/reply-queue/amq.gen-1", "/reply-queue/https://example.org/a",
    ]  # fmt: skip


# How it ends


def test_disconnect_gives_its_receipt_behind_all_others_and_ends(door, peer):
    peer.give(
        frame("SEND", {"destination": "/queue/a", "receipt": "1"}, b"x")
        + frame("SEND", {"destination": "/queue/a"}, b"y")
        + frame("DISCONNECT", {"receipt": "bye"})
        + frame("SEND", {"destination": "/queue/a"}, b"too late")
    )
    door.run()
    assert [it["receipt-id"] for it in peer.got()] == ["1", "bye"]
    assert peer.closed == ""
    assert door.node.ready(b"a") == 2
    assert peer.client not in door.vhost.guests


def test_disconnect_without_a_receipt_just_ends(door, peer):
    peer.subscribe("/queue/a")
    peer.send("DISCONNECT")
    door.run()
    assert (peer.got(), peer.closed) == ([], "")
    assert door.vhost.queue(b"a").subscriptions == []


def test_what_one_had_unacked_goes_back_when_it_goes(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1", b"2")
    door.run()
    peer.got()
    peer.end()
    other = door.open()
    got = [it for it in other.subscribe("/queue/a") if it.command == "MESSAGE"]
    assert [(it.body, it["redelivered"]) for it in got] == [(b"1", "true"), (b"2", "true")]


def test_a_server_that_stops_says_so_once_acknowledgements_had_time(door, peer):
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"1")
    door.run()
    [message] = peer.got()
    assert peer.session.leave(door.now)
    peer.publish("/queue/a", b"2")
    assert peer.settle("ACK", message) == []
    door.now += session.LEAVE_S + 0.1
    peer.look()
    error = peer.refused()
    assert (error["message"], peer.closed) == ("connection_forced", "")
    assert door.node.ready(b"a") == 1


def test_a_client_that_has_said_disconnect_holds_up_no_server_that_stops(door, peer):
    door.door.alarm.block("low on disk")
    peer.publish("/queue/a", b"x", receipt="r")
    peer.send("DISCONNECT", {"receipt": "bye"})
    assert peer.session.leave(door.now)
    door.now += session.LEAVE_S + 0.1
    peer.look()
    assert peer.closed == ""
    door.door.alarm.block("")


def test_whoever_waits_for_the_queues_to_open_is_not_late(door, node):
    node.closed = True
    peer = door.connect()
    peer.send("CONNECT", {"accept-version": "1.2"})
    door.now += 10 * session.HANDSHAKE_S
    peer.look()
    assert peer.closed is None
    node.closed = False
    node.opening.pop()(node.queues)
    door.run()
    assert [it.command for it in peer.got()] == ["CONNECTED"]


def test_somebody_else_may_have_it_end(door, peer):
    peer.session.end_by("enough of that")
    assert peer.refused().body == b"enough of that"


def test_a_virtual_host_that_is_deleted_takes_its_clients_with_it(door, peer):
    peer.client.vhost_gone()
    assert peer.refused().body == b"vhost '/' is deleted"


# Heart-beats


def test_beats_are_sent_at_half_the_time_and_only_where_nothing_else_was(door):
    peer = door.connect()
    [connected] = peer.shake_hands(heart_beat="0,10000")
    assert connected["heart-beat"] == "10000,0"
    beats = []
    for _ in range(6):
        door.now = peer.session.deadline
        peer.look()
        beats.append(peer.raw)
        peer.raw = b""
    assert beats.count(b"\n") >= 4
    assert set(beats) <= {b"", b"\n"}
    assert door.now == pytest.approx(100 + 6 * 5)
    peer.publish("/queue/a", b"x", receipt="1")
    door.run()
    peer.raw = b""
    door.now = peer.session.deadline
    peer.look()
    assert peer.raw == b""


def test_a_client_without_a_sign_of_life_ends_after_twice_its_time(door):
    peer = door.connect()
    peer.shake_hands(heart_beat="2000,0")
    door.now += 3.9
    peer.look()
    assert peer.closed is None
    peer.give(b"\n")
    door.now += 3.9
    peer.look()
    assert peer.closed is None
    door.now += 0.2
    peer.look()
    assert peer.closed == "missed heart-beats from the client, each 2 s"


def test_half_a_frame_is_a_sign_of_life_too(door):
    peer = door.connect()
    peer.shake_hands(heart_beat="1000,0")
    for _ in range(5):
        door.now += 1.5
        peer.give(b"SEND\ndestination:/queue/a\n\nx" if not peer.session._reader.begun else b"x")
        peer.look()
    assert peer.closed is None


# About


def test_what_is_known_of_a_client(peer):
    peer.subscribe("/queue/a")
    about = peer.session.about()
    assert (about.user, about.state) == ("guest", "running")
    assert about.facts["version"] == "1.2"
    assert about.facts["subscriptions"] == 1


def test_rabbitmqs_tools_see_a_connection_and_its_one_channel(door, peer):
    stranger = door.connect()
    assert stranger.session.seen() is None
    peer.subscribe("/queue/a", ack="client")
    peer.publish("/queue/a", b"x")
    door.run()
    client, (channel,) = peer.session.seen(), peer.session.seen_channels()
    assert (client.protocol, client.user, client.vhost, client.channels) == (
        "STOMP 1.2", "guest", "/", 1,
    )  # fmt: skip
    assert client.name == peer.session.name == "127.0.0.1:1000 -> 127.0.0.1:5672"
    assert (channel.name, channel.consumers, channel.unacked) == (f"{client.name} (1)", 1, 1)
    [consumer] = door.vhost.queue(b"a").subscriptions
    assert consumer.channel.name == channel.name


def test_a_line_end_follows_each_frame_where_that_is_asked_for(node):
    door = Door(None, node=node, line_end=b"\n")
    peer = door.connect()
    peer.shake_hands()
    peer.subscribe("/queue/a")
    peer.publish("/queue/a", b"x", receipt="r")
    door.run()
    assert peer.raw.count(b"\0\n") == 2
    assert len(said(peer.raw, "1.2")) == 2
    peer.raw = b""
    door.close()


def test_durable_subscriptions_are_named_as_rabbitmq_names_them():
    """From `rabbit_guid:binary(erlang:md5(term_to_binary({<<"a.b">>, <<"1">>})), ...)`."""
    assert durable_name(b"a.b", b"1").startswith(b"stomp-subscription-")
    assert len(durable_name(b"a.b", b"1")) == len(b"stomp-subscription-") + 22
    assert durable_name(b"a.b", b"1") != durable_name(b"a", b"b1")


def test_nothing_is_kept_of_clients_that_have_gone(node: Node):
    door = Door(None, node=node)
    for _ in range(3):
        peer = door.open()
        peer.subscribe("/topic/x")
        peer.end()
        door.run()
    assert not door.door.sessions
    assert not door.vhost.guests
    door.close()
