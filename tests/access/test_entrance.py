"""In which virtual hosts a user has any business."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from work_counted import lines_run

from logstore.access.access import Access, Unkept
from logstore.access.entrance import is_within, may_enter
from logstore.access.identity import Identity
from logstore.access.resources import CHANNEL, EXCHANGE, QUEUE, READ, object_name
from logstore.kept.users import (
    ANYONE,
    GLOB,
    LITERAL,
    PREFIX,
    KeptAccess,
    KeptPermission,
    KeptRule,
    KeptUser,
)
from logstore.patterns import Pattern

AL = Identity("al", "10.0.0.1")
HOSTS = ["/", "v", "v2", "a:b", "/x", ""]


def access(rules=(), permissions=(), tags=()):
    users = [KeptUser("al", tags=tags), KeptUser("bo")]
    return Access(Unkept(KeptAccess(users=users, rules=rules, permissions=permissions)))


def entered(**kept):
    known = access(**kept)
    return [host for host in HOSTS if may_enter(known, AL, host)]


def rule(name, pattern=LITERAL, kind=QUEUE, **more):
    return KeptRule("al", READ, kind, name, pattern, **more)


def test_without_anything_none():
    assert entered() == []
    assert entered(permissions=[KeptPermission("bo", "/", ".*", ".*", ".*")]) == []


def test_a_permission_is_enough_whatever_it_says():
    assert entered(permissions=[KeptPermission("al", "v", "", "", "")]) == ["v"]


def test_an_administrator_enters_all():
    assert entered(tags=("administrator",)) == HOSTS


def test_while_there_are_no_users_all_do():
    known = Access(Unkept())
    assert all(may_enter(known, Identity("", "10.0.0.1"), host) for host in HOSTS)


@pytest.mark.parametrize(("of", "hosts"), [
    (rule(ANYONE), HOSTS), (rule("q"), ["/"]), (rule("/:a:b"), ["/"]), (rule("v:q"), ["v"]),
    (rule("a%3Ab:q"), ["a:b"]), (rule(":q"), [""]),
    (rule("q", PREFIX), ["/"]), (rule("v", PREFIX), ["/", "v", "v2"]), (rule("v:", PREFIX), ["v"]),
    (rule("", PREFIX), HOSTS), (rule("v:q*", GLOB), ["v"]), (rule("v*:q", GLOB), ["/", "v", "v2"]),
    (rule("*", GLOB), HOSTS), (rule(ANYONE, kind=EXCHANGE), HOSTS),
    (rule(ANYONE, kind=CHANNEL), []), (rule(ANYONE, allow=False), []),
    (rule(ANYONE, host="10.0.0.1"), HOSTS), (rule(ANYONE, host="10.0.0.2"), []),
    (KeptRule(ANYONE, READ, QUEUE, ANYONE), HOSTS), (KeptRule("bo", READ, QUEUE, ANYONE), []),
])  # fmt: skip
def test_a_rule_is_enough_that_allows_something_there(of, hosts):
    assert entered(rules=[of]) == hosts


@pytest.mark.parametrize(("of", "host"), [
    (rule("v:q"), "v"), (rule("v:"), "v"), (rule("v:", PREFIX), "v"), (rule("v:q*", GLOB), "v"),
    (rule("a%3Ab:q"), "a:b"), (rule("v", PREFIX), None), (rule("v*:q", GLOB), None),
    (rule(ANYONE), None), (rule("q"), None), (rule("v:q", kind=CHANNEL), None),
])  # fmt: skip
def test_a_rule_is_about_names_of_one_host_alone(of, host):
    assert [it for it in HOSTS if is_within(of, it)] == ([] if host is None else [host])


NAMES = st.text(alphabet="/v:a%3Ab*?", max_size=6)


@given(st.sampled_from(HOSTS), st.text(alphabet="ab:*", max_size=3), NAMES,
       st.sampled_from([LITERAL, PREFIX, GLOB]))  # fmt: skip
def test_whoever_may_do_something_in_a_host_may_enter_it(host, name, of, pattern):
    named = object_name(host, name)
    concerned = {
        LITERAL: of in (named, ANYONE),
        PREFIX: named.startswith(of),
        GLOB: Pattern(of.encode()).matches(named.encode()) if pattern == GLOB else False,
    }[pattern]
    if concerned:
        assert may_enter(access(rules=[rule(of, pattern)]), AL, host)


def test_the_rules_of_others_are_not_looked_through():
    others = [KeptRule(f"u{number}", READ, QUEUE, f"q{number}") for number in range(1000)]
    known = access(rules=[*others, rule("v:q")])
    assert lines_run("logstore", lambda: may_enter(known, AL, "v")) < 100
