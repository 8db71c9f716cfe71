"""Users and rules as they are now: what is allowed, who may be let go, when doors hear of it."""

import pytest

from logstore.access.access import ADMINISTRATOR, Access, Unkept, open_access
from logstore.access.identity import OWNER, Identity, anonymous
from logstore.access.resources import DESCRIBE, READ, TOPIC, WRITE, object_name
from logstore.errors import Refused
from logstore.kept.users import PREFIX, KeptAccess, KeptRule, KeptUser

AL = Identity("al", "10.0.0.1")
ROOT = KeptUser("root", tags=(ADMINISTRATOR,))


def test_without_users_everyone_may_do_everything() -> None:
    access = open_access()
    assert not access.required
    assert access.rights(anonymous("1.2.3.4")).may(WRITE, TOPIC, "orders")


def test_with_users_nothing_is_allowed_that_was_not_granted() -> None:
    access = Access(Unkept(KeptAccess(users=[ROOT, KeptUser("al")])))
    rights = access.rights(AL)
    assert not rights.may(READ, TOPIC, "orders")
    assert access.rights(Identity("root", "")).may(READ, TOPIC, "orders")
    assert access.rights(OWNER).may(READ, TOPIC, "orders")
    assert not access.rights(anonymous("127.0.0.1")).may(READ, TOPIC, "orders")


def test_the_last_user_who_goes_lets_no_stranger_in() -> None:
    al = KeptUser("al")
    for exposed in (False, True):
        access = Access(Unkept(KeptAccess(users=[al])), exposed=exposed)
        access.change(forget=[al])
        assert access.required == exposed
        assert access.rights(anonymous("192.0.2.1")).may(READ, TOPIC, "orders") != exposed


def test_a_change_is_seen_by_rights_that_had_an_answer() -> None:
    access = Access(Unkept(KeptAccess(users=[ROOT, KeptUser("al")])))
    rights, heard = access.rights(AL), []
    stop = access.watch(lambda: heard.append(access.version))
    rule = KeptRule("al", READ, TOPIC, "ord", PREFIX)
    assert not rights.may(READ, TOPIC, "orders")
    access.change([rule])
    assert rights.may(READ, TOPIC, "orders")
    assert rights.may(DESCRIBE, TOPIC, "orders")
    access.change(forget=[rule])
    assert not rights.may(READ, TOPIC, "orders")
    stop()
    access.change([rule])
    assert heard == [1, 2]


def test_a_rule_that_denies_wins() -> None:
    rules = [KeptRule("al", READ, TOPIC, "*"), KeptRule("*", READ, TOPIC, "x", allow=False)]
    access = Access(Unkept(KeptAccess(users=[ROOT, KeptUser("al")], rules=rules)))
    rights = access.rights(AL)
    assert rights.may(READ, TOPIC, "y")
    assert not rights.may(READ, TOPIC, "x")
    assert rights.decision(READ, TOPIC, "x").why == "deny user * read topic:x (literal) from *"


def test_the_last_administrator_stays() -> None:
    access = Access(Unkept(KeptAccess(users=[ROOT, KeptUser("al")])))
    with pytest.raises(Refused, match="administrator"):
        access.change(forget=[ROOT])
    with pytest.raises(Refused, match="administrator"):
        access.change([KeptUser("root")])
    access.change([KeptUser("al", tags=(ADMINISTRATOR,))], [ROOT])
    assert list(access.users) == ["al"]


def test_the_last_administrator_stays_on() -> None:
    off = KeptUser("root", tags=(ADMINISTRATOR,), redis="off")
    access = Access(Unkept(KeptAccess(users=[ROOT, KeptUser("al")])))
    with pytest.raises(Refused, match="administrator"):
        access.change([off])
    access.change([KeptUser("al", tags=(ADMINISTRATOR,))])
    access.change([off])
    with pytest.raises(Refused, match="administrator"):
        access.change(forget=[KeptUser("al")])


def test_no_two_objects_share_a_name_in_rules() -> None:
    assert object_name("/", "mail") == "mail"
    pairs = [("/", "a:b"), ("a", "b"), ("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("/x", "b")]
    assert len({object_name(*pair) for pair in pairs}) == len(pairs)
