"""Who comes in through the RabbitMQ door, and who does not."""

import pytest
from amqp_kit import Door, FakeLink, declare
from amqp_users import DELAY_S, Users, login_of, opened, start

from logstore.amqp import fields, frames, methods
from logstore.kept.users import KeptQuota
from logstore.protocols.amqp import session as module
from logstore.protocols.amqp.session import AmqpSession
from logstore.subject import Certificate

TUNE = [methods.ConnectionTune(2047, 131072, 60)]


def amqplain_of(user, password=b"secret"):
    return fields.table({"LOGIN": user, "PASSWORD": password.decode()})[4:]


FORMS = {"PLAIN": login_of, "AMQPLAIN": amqplain_of}


def refused(mechanism="PLAIN"):
    return methods.ConnectionClose(
        403,
        f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For "
        "details see the broker logfile.",
    )


@pytest.fixture
def users():
    return Users("al")


@pytest.fixture
def door(node, users):
    made = users.door(node=node)
    yield made
    made.close()


def wait(door, seconds):
    """So much time goes by."""
    door.now += seconds
    for peer in door.peers:
        peer.look()


@pytest.mark.parametrize("mechanism", FORMS)
def test_a_user_comes_in_by_his_password(door, mechanism):
    assert start(door.connect(), mechanism, FORMS[mechanism]("al")) == TUNE


WRONG = {
    "another password": ("al", b"Secret"),
    "a password that has more": ("al", b"secret "),
    "no password": ("al", b""),
    "another user": ("bo", b"secret"),
    "no user": ("", b"secret"),
    "guest, who is no user any more": ("guest", b"guest"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("mechanism", FORMS)
def test_nobody_else_does_and_hears_of_it_later(door, mechanism, name):
    peer = door.connect()
    assert start(peer, mechanism, FORMS[mechanism](*WRONG[name])) == []
    assert peer.session.deadline == door.now + DELAY_S
    wait(door, DELAY_S / 2)
    assert peer.methods() == []
    wait(door, DELAY_S / 2)
    assert peer.methods() == [refused(mechanism)]
    peer.send(methods.ConnectionCloseOk(), channel=0)
    assert peer.session.closed == f"{mechanism} login refused: user '{WRONG[name][0]}'"


UNREADABLE = [b"", b"al\0al\0secret", b"\0al", b"\0al\0secret\0", b"\xff\xfe"]


@pytest.mark.parametrize("response", UNREADABLE)
@pytest.mark.parametrize("mechanism", FORMS)
def test_what_cant_be_read_is_refused_like_a_wrong_password(door, users, mechanism, response):
    """And costs as much: the same is asked for."""
    peer = door.connect()
    assert start(peer, mechanism, response) == []
    assert users.logins.asked == [(b"", b"", "127.0.0.1")]
    wait(door, DELAY_S)
    assert peer.methods() == [refused(mechanism)]


def test_a_client_that_does_not_know_of_the_close_sees_the_connection_end(door):
    peer = door.connect()
    assert start(peer, "PLAIN", login_of("al", b"x"), {}) == []
    assert peer.session.closed is None
    wait(door, DELAY_S)
    assert (peer.methods(), peer.session.closed) == ([], "PLAIN login refused: user 'al'")


def test_a_name_can_do_no_harm_in_the_log(door):
    peer = door.connect()
    start(peer, "PLAIN", b"\0a\nb\x1b[2J\0x", {})
    wait(door, DELAY_S)
    assert peer.session.closed == r"PLAIN login refused: user 'a\nb\x1b[2J'"


@pytest.mark.parametrize("mechanism", FORMS)
def test_of_a_name_that_no_user_has_little_is_shown(door, node, mechanism):
    without_users, shown = Door(None, node=node), r"\x1b" * 256
    for at in (door, without_users):
        peer = at.connect()
        start(peer, mechanism, FORMS[mechanism]("\x1b" * 8000), {})
        wait(at, DELAY_S)
        assert peer.session.closed == f"{mechanism} login refused: user '{shown}'"
    without_users.close()


# While a password is being checked


def test_what_comes_behind_a_password_waits_until_it_is_known(door, users):
    users.logins.at_once = False
    peer = door.connect()
    users.permit("al", ".*", ".*", ".*")
    assert start(peer, "PLAIN", login_of("al")) == []
    peer.send(methods.ConnectionTuneOk(0, 0, 0), methods.ConnectionOpen("/"), channel=0)
    assert peer.methods() == []
    users.logins.held.pop()()
    door.run()
    assert peer.methods() == [*TUNE, methods.ConnectionOpenOk()]


def test_little_is_kept_of_a_peer_that_has_not_logged_in(door, users):
    users.logins.at_once = False
    peer = door.connect()
    start(peer, "PLAIN", login_of("al"))
    peer.give(b"x" * (module.EARLY_BYTES_MAX - peer.session._early_bytes))
    assert peer.session.closed is None
    peer.give(b"x")
    assert peer.session.closed == "sent more than 16384 bytes before its login"
    users.logins.held.pop()()  # nobody waits for it any more
    assert peer.methods() == []


def test_a_peer_that_has_not_logged_in_does_not_beat_for_ever(door):
    peer = door.connect()
    peer.give(frames.PROTOCOL)
    for _ in range(3):
        peer.give(frames.HEARTBEAT_FRAME * 1000)
    assert peer.session.closed == "sent more than 16384 bytes before its login"


def test_what_it_sends_once_it_is_in_is_not_counted(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    for _ in range(3):
        peer.give(frames.HEARTBEAT_FRAME * 1000)
    assert peer.ask(methods.BasicQos(0, 1, False)) == methods.BasicQosOk()


def test_a_frame_of_a_peer_that_has_not_logged_in_is_no_longer_than_its_first(door):
    peer = door.connect()
    peer.give(frames.PROTOCOL)
    peer.methods()
    peer.give(b"\1\0\0" + (2**31 - 1).to_bytes(4, "big"))
    assert peer.session.wants == 0
    assert peer.session.held_bytes < 1024
    assert peer.answer().reply_code == 501


def test_a_peer_has_ten_seconds_for_all_of_it(door, users):
    users.logins.at_once = False
    peer = door.connect()
    door.run()
    wait(door, 4)
    peer.give(frames.PROTOCOL)
    wait(door, 4)
    peer.send(methods.ConnectionStartOk({}, "PLAIN", login_of("al"), "en_US"), channel=0)
    wait(door, 1.9)
    assert peer.session.closed is None
    wait(door, 0.1)
    assert peer.session.closed == "handshake timeout"
    users.logins.held.pop()()


def test_a_delay_that_is_longer_than_the_handshake_is_cut_off(door, users):
    peer = door.connect()
    door.run()
    users.logins.failed = lambda host: module.HANDSHAKE_S + 1
    start(peer, "PLAIN", login_of("al", b"x"))
    assert peer.session.deadline == door.now + module.HANDSHAKE_S
    wait(door, module.HANDSHAKE_S)
    assert peer.session.closed == "handshake timeout"


def test_a_user_that_is_deleted_while_his_password_is_checked_does_not_come_in(door, users):
    users.logins.at_once = False
    peer = door.connect()
    start(peer, "PLAIN", login_of("al"))
    users.delete("al")
    users.logins.held.pop()()
    door.run()
    assert peer.methods() == [refused()]


def test_a_user_that_is_deleted_before_his_host_is_open_does_not_come_in(door, users):
    peer = door.connect()
    assert start(peer, "PLAIN", login_of("al")) == TUNE
    users.delete("al")
    door.run()
    assert peer.methods() == [
        methods.ConnectionClose(320, "CONNECTION_FORCED - user 'al' is deleted")
    ]


@pytest.mark.parametrize("method", [methods.ChannelOpen(), declare("q")])
@pytest.mark.parametrize("logged_in", [False, True])
def test_nothing_can_be_asked_for_before_a_host_is_open(door, method, logged_in):
    peer = door.connect()
    if logged_in:
        assert start(peer, "PLAIN", login_of("al")) == TUNE
    else:
        peer.give(frames.PROTOCOL)
        peer.methods()
    peer.send(method)
    assert peer.answer().reply_code == 504


# By a certificate


def shown(user):
    return Certificate(f"CN={user}", (), (), user)


def test_the_user_of_a_certificate_comes_in_without_a_password(door):
    peer = door.connect(secure=True, certificate=shown("al"))
    assert start(peer, "EXTERNAL", b"whatever") == TUNE
    assert peer.session.entry.who.user == "al"
    assert peer.session.entry.who.mechanism == "EXTERNAL"


@pytest.mark.parametrize("certificate", [shown("bo"), shown(None), shown(""), None])
def test_a_certificate_of_no_user_lets_nobody_in(door, certificate):
    """No rule fits it, there is no such user, or it was not shown: by RabbitMQ's own words."""
    peer = door.connect(secure=True, certificate=certificate)
    assert start(peer, "EXTERNAL", b"al") == []
    wait(door, 2 * DELAY_S)
    assert peer.answer() == refused("EXTERNAL")


def test_a_password_is_good_whatever_the_certificate_says(door):
    peer = door.connect(secure=True, certificate=shown("bo"))
    assert start(peer, "PLAIN", login_of("al")) == TUNE
    assert peer.session.entry.who.user == "al"


def test_without_tls_a_certificate_is_not_asked_for(door):
    peer = door.connect()
    peer.give(frames.PROTOCOL)
    assert peer.answer().mechanisms == b"PLAIN AMQPLAIN"
    again = door.connect()
    again.give(frames.PROTOCOL)
    again.methods()
    again.send(methods.ConnectionStartOk({}, "EXTERNAL", b"al", "en_US"), channel=0)
    assert again.answer().reply_code == 503


# While there are no users


def guest_from(door, host):
    link = FakeLink(door.node, 1)
    link.look = lambda: None
    link.peer_address = (host, 1)
    session = AmqpSession(door.door, link)
    told = methods.ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", "en_US")
    sent = frames.PROTOCOL + frames.method_frame(0, told)
    session.receive(memoryview(sent), door.now)
    session.close()
    return session.entry is not None


ADDRESSES = {
    "127.0.0.1": True, "127.9.9.9": True, "::1": True, "::ffff:127.1.2.3": True,
    "192.0.2.7": False, "::ffff:192.0.2.7": False, "1127.0.0.1": False, "": False,
}  # fmt: skip


@pytest.mark.parametrize("host", ADDRESSES)
@pytest.mark.parametrize("insecure", [False, True])
def test_guest_comes_from_this_machine_and_from_anywhere_if_that_is_asked_for(node, host, insecure):
    users = Users()
    users.access.users = {}
    door = users.door(node=node, insecure=insecure)
    assert guest_from(door, host) == (insecure or ADDRESSES[host])
    door.close()


def test_the_first_user_ends_what_guest_may(node):
    users = Users()
    users.access.users = {}
    door = users.door(node=node)
    peer, coming = door.open(), door.connect()
    assert start(coming, "PLAIN", b"\0guest\0guest") == TUNE
    users.add("al", "administrator")
    door.run()
    closed = methods.ConnectionClose(
        320, "CONNECTION_FORCED - there are users now: log in as one of them"
    )
    assert peer.answer() == closed
    assert coming.answer() == closed
    late = door.connect()
    start(late, "PLAIN", b"\0guest\0guest")
    wait(door, DELAY_S)
    assert late.methods() == [refused()]
    assert opened(door).session.entry.user == "al"
    door.close()


# Virtual hosts


def hello(door, vhost):
    return door.connect().shake_hands(vhost=vhost, login=login_of("al"))[-1]


def test_a_host_is_entered_by_whoever_has_anything_there(door, users):
    added = door.node.queues.vhosts
    assert b"/" in added
    refusal = methods.ConnectionClose(
        530, "NOT_ALLOWED - access to vhost '/' refused for user 'al'", 10, 40
    )
    assert hello(door, "/") == refusal
    users.permit("al")  # nothing, but that is there
    assert hello(door, "/") == methods.ConnectionOpenOk()
    users.forget_rules()
    assert hello(door, "/") == refusal
    users.allow("al", "write", "exchange", "e")
    assert hello(door, "/") == methods.ConnectionOpenOk()


def test_a_host_that_is_not_there_is_told_first(door):
    assert hello(door, "no") == methods.ConnectionClose(
        530, "NOT_ALLOWED - vhost no not found", 10, 40
    )


# A new secret


def test_a_new_secret_has_to_be_right(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    assert peer.ask(methods.ConnectionUpdateSecret(b"secret", "new"), 0) == (
        methods.ConnectionUpdateSecretOk()
    )
    peer.send(methods.ConnectionUpdateSecret(b"another", "new"), channel=0)
    peer.send(methods.ChannelOpen(), channel=2)
    assert peer.methods() == []
    wait(door, DELAY_S)
    assert peer.answer() == methods.ConnectionClose(
        530, "NOT_ALLOWED - New secret was refused by one of the backends"
    )
    peer.send(methods.ConnectionCloseOk(), channel=0)
    assert peer.session.closed == "a wrong new secret of user 'al'"


def test_what_comes_behind_a_new_secret_waits_for_it(door, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    users.logins.at_once = False
    peer.send(methods.ConnectionUpdateSecret(b"secret", ""), channel=0)
    peer.send(methods.ChannelOpen(), channel=2)
    assert peer.methods() == []
    users.logins.held.pop()()
    door.run()
    assert peer.methods() == [methods.ConnectionUpdateSecretOk(), methods.ChannelOpenOk()]


def test_without_users_any_new_secret_is_as_good(node):
    users = Users()
    users.access.users = {}
    door = users.door(node=node)
    peer = door.open()
    assert peer.ask(methods.ConnectionUpdateSecret(b"x", ""), 0) == (
        methods.ConnectionUpdateSecretOk()
    )
    door.close()


def test_a_user_has_no_more_connections_than_he_is_given(door, users):
    users.permit("al", ".*", ".*", ".*")
    users.access.change([KeptQuota((("user", "al"),), {"connections_max": 1.0})])
    first = opened(door)
    second = door.connect()
    assert start(second, "PLAIN", login_of("al")) == TUNE
    second.send(
        methods.ConnectionTuneOk(0, 131072, 0), methods.ConnectionOpen("/"), channel=0
    )  # fmt: skip
    door.run()
    assert second.methods() == [
        methods.ConnectionClose(
            530, "NOT_ALLOWED - connection refused for user 'al': user connection limit (1) is "
            "reached", 10, 40,
        )
    ]  # fmt: skip
    opened(door, "root")
    first.session.close()
    assert opened(door).session.closed is None
