"""Who comes in, and what he may publish, hear and leave as a will, in three languages of rules."""

from types import SimpleNamespace

import pytest
from amqp_users import DELAY_S, Users
from heard_audit import Heard
from mqtt_kit import Door, connect

from logstore.access.access import Access, Unkept
from logstore.access.audit import DONE, LOGIN, REFUSED
from logstore.access.resources import CHANNEL, EXCHANGE, READ, WRITE
from logstore.kept.users import GLOB, LITERAL, PREFIX, KeptRule, KeptTopicPermission, KeptUser
from logstore.mqtt import kinds, reasons
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.packets import Ack, Connack, Disconnect, Publish, Will

USER = {"user": b"al", "password": b"secret"}


@pytest.fixture
def users():
    return Users("al", "bo")


@pytest.fixture
def door(tmp_path, users):
    made = Door(tmp_path, access=users.access, logins=users.logins)
    yield made
    made.close()


def rule(users, operation, name, pattern=LITERAL, kind=CHANNEL, user="al", allow=True):
    users.access.change(keep=[KeptRule(user, operation, kind, name, pattern, allow=allow)])


def code_of(peer, found):
    assert peer.over
    return found.reason


# Coming in


def test_a_user_with_his_password(door, users):
    rule(users, READ, "a")
    peer, found = door.come(**USER)
    assert found.reason == 0
    assert peer.session.about().user == "al"


@pytest.mark.parametrize(("version", "code"), [(V5, reasons.BAD_LOGIN), (V311, 4)])
@pytest.mark.parametrize(
    "given",
    [
        {"user": b"al", "password": b"wrong"}, {"user": b"al"}, {"user": b"", "password": b""},
        {"user": b"nobody", "password": b"secret"},
    ],
)  # fmt: skip
def test_a_wrong_login_is_refused_after_a_while(door, users, version, code, given):
    rule(users, READ, "a")
    peer = door.connect()
    peer.version = version
    peer.send(connect(version=version, **given))
    assert peer.packets() == []
    door.later(DELAY_S + 0.01)
    [found] = peer.packets()
    assert (found.reason, peer.over) == (code, True)
    assert "secret" not in peer.session.closed
    assert "wrong" not in peer.session.closed.split("user")[0]


@pytest.mark.parametrize(("version", "code"), [(V5, reasons.NOT_AUTHORIZED), (V311, 5)])
def test_nobody_in_particular_is_refused_once_there_are_users(door, version, code):
    peer = door.connect()
    peer.version = version
    peer.send(connect(version=version))
    door.later(DELAY_S + 0.01)
    [found] = peer.packets()
    assert (found.reason, peer.over) == (code, True)


def test_a_certificate_is_a_login(door, users):
    rule(users, READ, "a")
    peer = door.connect(certificate=SimpleNamespace(user="al"), secure=True)
    assert peer.ask(connect()).reason == 0
    assert peer.session.about().user == "al"
    other = door.connect(certificate=SimpleNamespace(user="eve"), secure=True)
    other.send(connect("other"))
    door.later(DELAY_S + 0.01)
    assert [it.reason for it in other.packets()] == [reasons.BAD_LOGIN]


def test_who_may_nothing_is_not_let_in(door):
    peer, found = door.come(**USER)
    assert code_of(peer, found) == reasons.NOT_AUTHORIZED


@pytest.mark.parametrize(("host", "insecure", "code"), [
    ("127.0.0.1", False, 0), ("::1", False, 0), ("10.0.0.9", False, reasons.NOT_AUTHORIZED),
    ("10.0.0.9", True, 0),
])  # fmt: skip
def test_without_users_those_of_this_machine_come_in(tmp_path, host, insecure, code):
    door = Door(tmp_path, insecure=insecure)
    peer = door.connect(host)
    assert peer.ask(connect(**USER)).reason == code
    door.close()


def test_a_password_is_checked_elsewhere_and_nothing_is_taken_meanwhile(door, users):
    rule(users, WRITE, "a")
    users.logins.at_once = False
    peer = door.connect()
    peer.send(connect(**USER), Publish(b"a", b"x"))
    assert door.model.published == []
    users.logins.held[0]()
    door.run()
    assert peer.packets()[0].reason == 0
    assert len(door.model.published) == 1


def test_a_client_that_is_gone_before_its_password_was_checked(door, users):
    users.logins.at_once = False
    peer = door.connect()
    peer.send(connect(**USER))
    peer.end()
    users.logins.held[0]()
    door.run()
    assert len(door.node.sessions) == 0


def test_before_a_login_little_is_kept(door, users):
    users.logins.at_once = False
    peer = door.connect()
    peer.send(connect(**USER))
    peer.give(bytes(100_000))
    assert peer.over
    assert "before its login" in peer.session.closed
    users.logins.held[0]()


def test_a_client_id_is_its_user_s(door, users):
    """Else whoever knows it could have another's messages, or make an end of his session."""
    rule(users, READ, "*")
    rule(users, READ, "*", user="bo")
    peer, _ = door.come(clean=False, expiry_s=60, **USER)
    peer.end()
    theirs = {"user": b"bo", "password": b"secret"}
    other, found = door.come(clean=False, expiry_s=60, **theirs)
    assert code_of(other, found) == reasons.NOT_AUTHORIZED
    assert door.come(clean=False, expiry_s=60, **USER)[1].session_present
    users.delete("al")
    door.run()
    assert door.come(clean=False, expiry_s=60, **theirs)[1].reason == 0


# What is granted: language, what is granted, and what that allows


def by_rule(users, operation, name, pattern):
    rule(users, operation, name, pattern)


def by_redis(users, operation, name, _):
    users.access.change(keep=[KeptUser("al", redis=f"on +@all resetchannels &{name}")])


COVERED = [
    # grant, its pattern, a filter, whether it is covered whole
    ("a", LITERAL, b"a", True),
    ("a", LITERAL, b"a/b", False),
    ("a", LITERAL, b"+", False),
    ("a/", PREFIX, b"a/b", True),
    ("a/", PREFIX, b"a/+", True),
    ("a/", PREFIX, b"a/+/c/#", True),
    ("a/", PREFIX, b"a/#", False),  # which is "a", too
    ("a", PREFIX, b"a/#", True),
    ("a/", PREFIX, b"+/b", False),
    ("a/", PREFIX, b"#", False),
    ("*", LITERAL, b"#", True),
    ("*", LITERAL, b"+/+", True),
    ("*", LITERAL, b"$SYS/#", True),
    ("a/*", GLOB, b"a/b/c", True),
    ("a/*", GLOB, b"a/#", False),
    ("a/*/c", GLOB, b"a/+/c", True),
    ("a/*/c", GLOB, b"a/+/d", False),
    ("a", PREFIX, b"$share/g/a/#", True),
    ("a/", PREFIX, b"$share/g/b/+", False),
]


@pytest.mark.parametrize(("name", "pattern", "named", "covered"), COVERED)
def test_a_filter_is_covered_whole_by_a_grant_or_refused(
    door, users, name, pattern, named, covered
):
    rule(users, READ, name, pattern)
    rule(users, READ, "somewhere else")
    peer, _ = door.come(**USER)
    expected = 0 if covered else reasons.NOT_AUTHORIZED
    assert peer.subscribe(named) == [expected]
    old, _ = door.come("old", version=V311, **USER)
    assert old.subscribe(named) == [0x80 if expected else 0]


def test_a_rule_that_denies_some_of_it_denies_a_filter(door, users):
    rule(users, READ, "*")
    rule(users, READ, "a/secret", allow=False)
    peer, _ = door.come(**USER)
    no = reasons.NOT_AUTHORIZED
    assert peer.subscribe(b"#", b"a/+", b"a/secret", b"a/open", b"b/#") == [no, no, no, 0, 0]


@pytest.mark.parametrize("grant", [by_rule, by_redis])
def test_publishing_asks_for_the_topic(door, users, grant):
    grant(users, WRITE, "a/*", GLOB)
    peer, _ = door.come(**USER)
    found = peer.ask(
        Publish(b"a/b", b"1", 1, pid=1), Publish(b"b", b"2", 1, pid=2), Publish(b"b", b"3"),
        Publish(b"a/c", b"4"),
    )  # fmt: skip
    assert [(it.pid, it.reason) for it in found] == [
        (1, reasons.NO_MATCHING_SUBSCRIBERS), (2, reasons.NOT_AUTHORIZED)
    ]  # fmt: skip
    assert [it.payload for it in door.model.published] == [b"1", b"4"]
    assert door.door.counts.refused == 2


def test_a_client_of_version_3_ends_rather_than_hear_that_it_was_published(door, users):
    rule(users, WRITE, "a")
    peer, _ = door.come(version=V311, **USER)
    peer.send(
        Publish(b"b", b"dropped"), Publish(b"a", b"1", 1, pid=1), Publish(b"b", b"2", 1, pid=2)
    )
    door.run()
    assert peer.packets() in ([], [Ack(kinds.PUBACK, 1)])
    assert peer.over
    assert b"2" not in [it.payload for it in door.model.published]


def test_permissions_of_rabbitmq_are_grants_too(door, users):
    users.permit("al", write="^amq[.]topic$", read=".*")
    users.access.change(keep=[KeptTopicPermission("al", "/", "amq.topic", r"^a[.]", r"^a[.]")])
    peer, found = door.come(**USER)
    assert found.reason == 0
    no = reasons.NOT_AUTHORIZED
    assert peer.subscribe(b"a/b", b"a/#", b"b/#", b"a.b") == [0, 0, no, no]
    found = peer.ask(Publish(b"a/b", b"1", 1, pid=1), Publish(b"b", b"2", 1, pid=2))
    codes = [it.reason for it in found if isinstance(it, Ack)]
    assert codes == [0, no]


def test_a_rule_about_the_exchange_denies_what_goes_there(door, users):
    rule(users, WRITE, "*")
    rule(users, READ, "*")
    rule(users, WRITE, "amq.topic", kind=EXCHANGE, allow=False)
    peer, _ = door.come(**USER)
    assert peer.ask(Publish(b"a", b"1", 1, pid=1)).reason == reasons.NOT_AUTHORIZED
    assert peer.subscribe(b"#") == [0]


@pytest.mark.parametrize(("name", "code"), [("w", 0), ("v", reasons.NOT_AUTHORIZED)])
def test_a_will_asks_for_its_topic(door, users, name, code):
    rule(users, WRITE, name)
    _, found = door.come(will=Will(b"w", b"gone", 0, False), **USER)
    assert found.reason == code


# Rules that change


def test_what_may_not_be_published_any_more_is_refused(door, users):
    rule(users, WRITE, "a")
    rule(users, READ, "b")
    peer, _ = door.come(**USER)
    assert peer.ask(Publish(b"a", b"1", 1, pid=1)).reason == reasons.NO_MATCHING_SUBSCRIBERS
    users.access.change(forget=[users.access.rules[0]])
    assert peer.ask(Publish(b"a", b"1", 1, pid=2)).reason == reasons.NOT_AUTHORIZED


def test_who_hears_what_he_may_not_any_more_is_told_and_ends(door, users):
    rule(users, READ, "a")
    rule(users, READ, "b")
    peer, _ = door.come(clean=False, expiry_s=60, **USER)
    assert peer.subscribe(b"a", b"b") == [0, 0]
    other, _ = door.come("other", **USER)
    assert other.subscribe(b"b") == [0]
    users.access.change(forget=[users.access.rules[0]])
    door.run()
    [found] = peer.packets()
    assert (type(found), code_of(peer, found)) == (Disconnect, reasons.NOT_AUTHORIZED)
    assert not other.over
    again, found = door.come(clean=False, expiry_s=60, **USER)
    assert found.session_present
    assert [it for it, _ in again.session.mine.grants] == [b"b"]


def test_a_session_is_held_against_the_rules_as_its_client_comes_back(door, users):
    rule(users, READ, "a")
    rule(users, READ, "b")
    peer, _ = door.come(clean=False, expiry_s=60, **USER)
    peer.subscribe(b"a", b"b")
    peer.end()
    users.access.change(forget=[users.access.rules[0]])
    again, found = door.come(clean=False, expiry_s=60, **USER)
    found = [*found] if isinstance(found, list) else [found]
    assert isinstance(found[0], Connack)
    assert found[0].session_present
    assert again.over  # it is told, and finds out by subscribing again
    assert found[-1].reason == reasons.NOT_AUTHORIZED
    _, found = door.come(clean=False, expiry_s=60, **USER)
    assert found.session_present


def test_a_user_that_is_deleted_is_out(door, users):
    rule(users, READ, "a")
    peer, _ = door.come(**USER)
    users.delete("al")
    door.run()
    [found] = peer.packets()
    assert (type(found), code_of(peer, found)) == (Disconnect, reasons.NOT_AUTHORIZED)
    assert "al" in found.properties.reason_string


def test_who_came_before_there_were_users_is_out(tmp_path):
    access = Access(Unkept())
    door = Door(tmp_path, access=access)
    peer, _ = door.come()
    access.change(keep=[KeptUser("root", tags=("administrator",))])
    door.run()
    assert peer.over
    door.close()


def test_logins_are_told_to_the_audit_log(tmp_path, users):
    heard = Heard()
    rule(users, READ, "a")
    door = Door(tmp_path, access=users.access, logins=users.logins, audit=heard)
    door.come(**USER)
    other = door.connect()
    other.send(connect("other", user=b"al", password=b"wrong"))
    told = [(event, who.user, who.door, outcome) for event, who, _, outcome in heard]
    assert told == [(LOGIN, "al", "mqtt", DONE), (LOGIN, "al", "mqtt", REFUSED)]
    door.close()
