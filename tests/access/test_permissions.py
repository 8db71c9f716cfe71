"""RabbitMQ's permissions: expressions on names, and on routing keys."""

import subprocess
import sys

import pytest

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import OWNER, Identity
from logstore.access.permissions import allows, expanded, matches
from logstore.access.resources import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER_ACTION,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    IDEMPOTENT_WRITE,
    READ,
    WRITE,
)
from logstore.kept.users import KeptAccess, KeptPermission, KeptTopicPermission, KeptUser

CONFIGURES = KeptPermission("al", "/", "^c", "", "")
WRITES = KeptPermission("al", "/", "", "^c", "")
READS = KeptPermission("al", "/", "", "", "^c")


@pytest.mark.parametrize(
    ("operation", "by"),
    [
        (CREATE, [CONFIGURES]),
        (DELETE, [CONFIGURES]),
        (ALTER, [CONFIGURES]),
        (ALTER_CONFIGS, [CONFIGURES]),
        (WRITE, [WRITES]),
        (READ, [READS]),
        (DESCRIBE, [CONFIGURES, WRITES, READS]),
        (DESCRIBE_CONFIGS, [CONFIGURES, WRITES, READS]),
        (CLUSTER_ACTION, []),
        (IDEMPOTENT_WRITE, []),
    ],
)
def test_each_operation_asks_its_expression(operation, by):
    for permission in (CONFIGURES, WRITES, READS):
        assert (allows(permission, operation, "cat") is not None) == (permission in by)
        assert allows(permission, operation, "dog") is None


@pytest.mark.parametrize(
    ("regex", "name", "found"),
    [
        ("", "", True),  # as ^$: the name that the server chooses
        ("", "a", False),
        ("^$", "", True),
        ("^$", "a", False),
        (".*", "", True),
        (".*", "a\nb", True),
        ("b", "abc", True),  # not anchored
        ("^b", "abc", False),
        ("^a|c$", "abc", True),
        (r"^amq\.gen.*|^tmp-.*$", "amq.gen-1", True),
        (r"^amq\.gen.*|^tmp-.*$", "amqxgen-1", False),
        ("^é$", "é", True),
        ("^..$", "é", True),  # names are bytes, as to RabbitMQ
        ("(?i)^A$", "a", True),
        (r"^a$", "a\n", False),
        ("(", "(", False),  # what can't be used allows nothing
        (r"(a)\1", "aa", False),
        ("[", "[", False),
    ],
)
def test_an_expression_is_searched_for(regex, name, found):
    assert matches(regex, name) == found


def test_an_expression_that_would_stall_others_does_not():
    assert not matches("^(a+)+$", "a" * 255 + "b")
    assert not matches("(a*)*(a*)*(a*)*b", "a" * 255)


# Topic permissions


def keys(write, read="", user="al", vhost="/", exchange="topics"):
    users = [KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser(user)]
    kept = KeptTopicPermission(user, vhost, exchange, write, read)
    access = Access(Unkept(KeptAccess(users=users, topic_permissions=[kept])))
    return access.rights(Identity(user, "h"))


def test_a_key_is_allowed_by_its_expression():
    rights = keys("^news\\.", "^$")
    assert rights.may_key(WRITE, "/", "topics", "news.a")
    assert not rights.may_key(WRITE, "/", "topics", "old.news.a")
    assert not rights.may_key(READ, "/", "topics", "news.a")
    assert rights.may_key(READ, "/", "topics", "")


def test_the_same_key_is_compared_once_until_something_changes(monkeypatch):
    rights = keys("^news\\.")
    compared = []
    decide = Access.decision_key
    monkeypatch.setattr(
        Access, "decision_key", lambda *asked: compared.append(asked[-1]) or decide(*asked)
    )
    for _ in range(3):
        assert rights.may_key(WRITE, "/", "topics", "news.a")
        assert not rights.may_key(WRITE, "/", "topics", "a")
    assert compared == ["news.a", "a"]
    rights._access.change(keep=[KeptTopicPermission("al", "/", "topics", "^a", "")])
    assert rights.may_key(WRITE, "/", "topics", "a")
    assert not rights.may_key(WRITE, "/", "topics", "news.a")


def test_where_there_is_no_topic_permission_every_key_is_allowed():
    rights = keys("^$")
    assert not rights.may_key(WRITE, "/", "topics", "a")
    assert rights.may_key(WRITE, "/", "others", "a")
    assert rights.may_key(WRITE, "v", "topics", "a")


def test_who_may_do_everything_may_use_every_key():
    users = [KeptUser("root", tags=(ADMINISTRATOR,))]
    kept = KeptTopicPermission("root", "/", "topics", "^$", "^$")
    access = Access(Unkept(KeptAccess(users=users, topic_permissions=[kept])))
    assert access.rights(Identity("root", "h")).may_key(WRITE, "/", "topics", "a")
    assert access.rights(OWNER).may_key(WRITE, "/", "topics", "a")
    assert not access.rights(Identity("", "h")).may_key(WRITE, "/", "topics", "a")
    assert Access(Unkept()).rights(Identity("", "h")).may_key(WRITE, "/", "topics", "a")


@pytest.mark.parametrize("user", ["al", "a.*", "]-[", "a|b", "^", "$", "\\", "(", "é", "{vhost}"])
def test_a_user_is_himself_in_an_expression_whatever_he_is_called(user):
    rights = keys("^{username}$", user=user)
    assert rights.may_key(WRITE, "/", "topics", user)
    for other in ("a", "axx", "b", "", "\\" + user, user + "x", "/"):
        assert rights.may_key(WRITE, "/", "topics", other) == (other == user)


def test_a_user_is_himself_in_a_class_of_characters():
    rights = keys("^[x{username}y]$", user="]a-z[")
    for key in "]a-z[xy":
        assert rights.may_key(WRITE, "/", "topics", key)
    for key in "mb^\\":
        assert not rights.may_key(WRITE, "/", "topics", key)


def test_a_user_is_himself_behind_a_backslash():
    """Not the class that its first letter would stand for."""
    rights = keys(r"^\{username}$", user="w")
    assert not rights.may_key(WRITE, "/", "topics", "a")
    assert not rights.may_key(WRITE, "/", "topics", "_")


def test_the_virtual_host_is_filled_in_and_what_is_not_known_stays():
    rights = keys("^{vhost}:{client_id}$", vhost="a.b")
    assert rights.may_key(WRITE, "a.b", "topics", "a.b:{client_id}")
    assert not rights.may_key(WRITE, "a.b", "topics", "axb:{client_id}")
    assert expanded("{username}{other}{", {"username": "ab"}) == r"\x61\x62{other}{"


def test_usual_permissions_cost_no_engine():
    """A server starts, and serves whoever may do everything or nothing, without importing RE2."""
    script = """
import sys
from logstore.access.access import Access, Unkept
from logstore.access.identity import Identity
from logstore.kept.users import KeptAccess, KeptPermission, KeptUser
made = KeptPermission("al", "/", "", ".*", "^$")
rights = Access(Unkept(KeptAccess([KeptUser("al")], permissions=[made]))).rights(Identity("al", ""))
assert rights.may("write", "queue", "q") and not rights.may("read", "queue", "q")
assert "re2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
