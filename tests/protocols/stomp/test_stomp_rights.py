"""Who may come in, and what he may do: asked as for AMQP's clients, in the same words."""

import pytest
from amqp_users import DELAY_S, Users
from stomp_kit import Door
from stomp_wire import frame

from logstore.access.resources import DEFAULT_EXCHANGE, EXCHANGE, QUEUE, READ, WRITE
from logstore.kept.users import KeptTopicPermission
from logstore.protocols.stomp.handlers import HANDLERS
from logstore.subject import Certificate


@pytest.fixture
def users():
    return Users("al", "bo")


@pytest.fixture
def door(node, users):
    made = Door(None, node=node, access=users.access, logins=users.logins)
    yield made
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.close()


def opened(door, user="al", version="1.2"):
    peer = door.connect()
    (connected,) = peer.shake_hands(version, login=user, passcode="secret")
    assert connected.command == "CONNECTED", connected
    return peer


def make(door, *names):
    root = opened(door, "root")
    for name in names:
        root.ask("SEND", {"destination": f"/queue/{name}", "receipt": "r"}, b"x")


def test_a_wrong_password_is_told_late_and_as_rabbitmq_tells_it(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = door.connect()
    peer.send("CONNECT", {"login": "al", "passcode": "wrong"})
    door.run()
    assert peer.got() == []
    door.now += DELAY_S + 0.1
    peer.look()
    error = peer.refused()
    assert (error["message"], error.body) == ("Bad CONNECT", b"Access refused for user 'al'")
    assert "PLAIN login refused: user 'al'" in peer.closed
    assert "wrong" not in peer.closed


@pytest.mark.parametrize(
    "headers",
    [{}, {"login": "al"}, {"login": "nobody", "passcode": "secret"}, {"passcode": "secret"},
     {"login": "\udcff", "passcode": "secret"}],
)  # fmt: skip
def test_who_does_not_say_who_he_is_is_refused_where_there_are_users(door, headers):
    peer = door.connect()
    peer.send("CONNECT", headers)
    door.now += DELAY_S + 0.1
    peer.look()
    assert peer.refused()["message"] == "Bad CONNECT"


def test_nothing_is_taken_while_a_password_is_looked_at(door, users):
    users.permit("al", ".*", ".*", ".*")
    users.logins.at_once = False
    peer = door.connect()
    peer.give(
        frame("CONNECT", {"accept-version": "1.2", "login": "al", "passcode": "secret"})
        + frame("SEND", {"destination": "/queue/q"}, b"x")
    )
    assert (peer.got(), door.names()) == ([], [])
    users.logins.held.pop()()
    door.run()
    assert [it.command for it in peer.got()] == ["CONNECTED"]
    assert door.node.ready(b"q") == 1


def test_a_certificate_stands_for_a_login(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = door.connect(secure=True, certificate=Certificate("CN=al", (), (), "al"))
    (connected,) = peer.shake_hands()
    assert connected.command == "CONNECTED"
    assert peer.client.permits.user == "al"
    other = door.connect(secure=True, certificate=Certificate("CN=zoe", (), (), "zoe"))
    other.send("CONNECT", {})
    door.now += DELAY_S + 0.1
    other.look()
    assert other.refused()["message"] == "Bad CONNECT"


def test_guest_may_come_from_this_machine_alone_while_there_are_no_users(node):
    door = Door(None, node=node)
    far = door.connect(peer="10.0.0.9:1", peer_address=("10.0.0.9", 1))
    far.send("CONNECT", {"login": "guest", "passcode": "guest"})
    assert far.refused()["message"] == "Bad CONNECT"
    near = door.connect()
    assert [it.command for it in near.ask("CONNECT", {})] == ["CONNECTED"]
    wrong = door.connect()
    wrong.send("CONNECT", {"login": "guest", "passcode": "other"})
    assert wrong.refused()["message"] == "Bad CONNECT"
    door.close()


def test_who_has_no_rights_in_a_virtual_host_does_not_come_in(door):
    peer = door.connect()
    peer.send("CONNECT", {"login": "al", "passcode": "secret"})
    error = peer.refused()
    assert error["message"] == "Bad CONNECT"
    assert error.body.decode().startswith("Virtual host '/' access denied")


SEND_Q = frame("SEND", {"destination": "/queue/q"}, b"x")
SEND_AMQ_Q = frame("SEND", {"destination": "/amq/queue/q"}, b"x")
SEND_T = frame("SEND", {"destination": "/topic/t"}, b"x")
SUBSCRIBE_Q = frame("SUBSCRIBE", {"destination": "/queue/q", "id": "0"})
SUBSCRIBE_AMQ_Q = frame("SUBSCRIBE", {"destination": "/amq/queue/q", "id": "0"})
SUBSCRIBE_T = frame(
    "SUBSCRIBE", {"destination": "/topic/t", "id": "0", "x-queue-name": "q2"}
)  # fmt: skip
REPLY = frame("SEND", {"destination": "/amq/queue/q", "reply-to": "/temp-queue/r"}, b"x")
DEAD = frame(
    "SEND", {"destination": "/queue/new", "x-dead-letter-exchange": "amq.direct"}, b"x"
)  # fmt: skip
OF_Q, OF_Q2, OF_NEW = "^q$", "^q2$", "^new$"
DEFAULT = "^amq\\.default$"

# What each needs of configure, write, read; and what is said where one of them lacks.
NEEDS = [
    (SEND_Q, (OF_Q, DEFAULT, ""), "configure access to queue 'q'", "write access to exchange"),
    (SEND_AMQ_Q, ("^$", DEFAULT, ""), None, "write access to exchange 'amq.default'"),
    (SEND_T, ("^$", "^amq\\.topic$", ""), None, "write access to exchange 'amq.topic'"),
    (SUBSCRIBE_Q, (OF_Q, "", OF_Q), "configure access to queue 'q'", "read access to queue 'q'"),
    (SUBSCRIBE_AMQ_Q, ("^$", "", OF_Q), None, "read access to queue 'q'"),
    (SUBSCRIBE_T, (OF_Q2, OF_Q2, "^(q2|amq\\.topic)$"), "configure access to queue 'q2'",
     "write access to queue 'q2'"),
    (REPLY, ("^stomp\\.gen", DEFAULT, "^stomp\\.gen"), "configure access to queue 'stomp.gen",
     "read access to queue 'stomp.gen"),
    (DEAD, (OF_NEW, "^(amq\\.default|amq\\.direct)$", OF_NEW), "configure access to queue 'new'",
     "read access to queue 'new'"),
]  # fmt: skip


def lacks(rights, number):
    return tuple("^nothing$" if n == number else it for n, it in enumerate(rights))


@pytest.mark.parametrize(("raw", "rights"), [it[:2] for it in NEEDS])
def test_each_frame_needs_these_rights_and_no_more(door, users, raw, rights):
    make(door, "q")
    users.permit("al", *rights)
    peer = opened(door)
    peer.give(raw)
    door.run()
    assert peer.closed is None, peer.got()


@pytest.mark.parametrize(
    ("raw", "rights", "number", "says"),
    [(raw, rights, 0, says) for raw, rights, says, _ in NEEDS if says]
    + [(raw, rights, 1 if "write" in says else 2, says) for raw, rights, _, says in NEEDS],
)
def test_without_one_of_them_it_is_refused_in_rabbitmqs_words(
    door, users, raw, rights, number, says
):
    make(door, "q")
    users.permit("al", *lacks(rights, number))
    peer = opened(door)
    before = door.names()
    peer.give(raw)
    error = peer.refused()
    assert error["message"] == "access_refused"
    assert error.body.decode().startswith(says)
    assert error.body.decode().endswith("in vhost '/' refused for user 'al'")
    assert door.names() == before


def test_to_delete_a_durable_subscription_needs_the_right_to(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    peer.subscribe("/topic/t", id="d", durable="true", auto_delete="false")
    users.allow("al", "delete", QUEUE, "*", pattern="glob", allow=False)
    peer.send("UNSUBSCRIBE", {"id": "d", "durable": "true"})
    door.run()
    assert peer.refused()["message"] == "access_refused"
    assert len(door.names()) == 1


def test_routing_keys_of_topics_are_looked_at(door, users):
    users.permit("al", ".*", ".*", ".*")
    users.access.change(keep=[KeptTopicPermission("al", "/", "amq.topic", "^w", "^r")])
    peer = opened(door)
    peer.subscribe("/topic/r.1")
    peer.publish("/topic/w.1", b"x")
    door.run()
    assert peer.closed is None
    peer.publish("/topic/r.1", b"x")
    assert b"write access to topic 'r.1' in exchange 'amq.topic'" in peer.refused().body
    other = opened(door)
    other.send("SUBSCRIBE", {"destination": "/topic/w.1", "id": "0"})
    assert b"read access to topic 'w.1' in exchange 'amq.topic'" in other.refused().body


# What is taken away


def test_a_subscription_whose_queue_may_not_be_read_any_more_ends(door, users):
    make(door, "q")
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    peer.subscribe("/queue/q", id="mine")
    users.permit("al", ".*", ".*", "^other$")
    error = peer.refused()
    assert (error["message"], error["subscription"]) == ("access_refused", "mine")


def test_nothing_is_given_between_a_change_of_rules_and_the_look_at_it(door, users):
    make(door)
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    peer.subscribe("/queue/q")
    users.permit("al", ".*", ".*", "^other$")
    opened(door, "root").publish("/queue/q", b"secret")
    door.run()
    assert all(it.command != "MESSAGE" for it in peer.got())


def test_a_user_that_is_deleted_is_out(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    users.delete("al")
    error = peer.refused()
    assert error.body == b"user 'al' is deleted"


def test_what_is_kept_back_is_judged_again(door, users):
    make(door, "q")
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    door.door.alarm.block("low on disk")
    peer.publish("/amq/queue/q", b"2")
    users.permit("al", "", "^other$", "")
    door.door.alarm.block("")
    assert peer.refused()["message"] == "access_refused"
    assert door.node.ready(b"q") == 1


def test_a_commit_is_judged_again(door, users):
    make(door, "q")
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    peer.ask("BEGIN", {"transaction": "t"})
    peer.publish("/amq/queue/q", b"2", transaction="t")
    users.permit("al", "", "^other$", "")
    door.run()
    peer.send("COMMIT", {"transaction": "t"})
    assert peer.refused()["message"] == "access_refused"
    assert door.node.ready(b"q") == 1


def test_rules_in_kafkas_language_count_too(door, users):
    make(door, "q")
    users.allow("al", WRITE, EXCHANGE, DEFAULT_EXCHANGE)
    users.allow("al", READ, QUEUE, "q")
    peer = opened(door)
    peer.publish("/amq/queue/q", b"1")
    assert [it.command for it in peer.subscribe("/amq/queue/q")].count("MESSAGE") == 2


def test_every_frame_is_in_one_table():
    assert set(HANDLERS) == {
        "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT",
    }  # fmt: skip


@pytest.mark.parametrize("left", [("^other$", ".*", ".*"), (".*", "^other$", ".*")])
def test_what_one_could_send_a_moment_ago_is_asked_for_again(door, users, left):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    peer.publish("/queue/q", b"1", b"2")
    door.run()
    users.permit("al", *left)
    peer.publish("/queue/q", b"3")
    assert peer.refused()["message"] == "access_refused"
    assert door.node.ready(b"q") == 2
