"""The decision: what Kafka's rules imply, patterns of names, some object of a kind, and why."""

import pytest
from work_counted import lines_run

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import OAUTHBEARER, OWNER, Identity
from logstore.access.resources import (
    ALL,
    ALTER,
    ALTER_CONFIGS,
    CHANNEL,
    CLUSTER,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    EXCHANGE,
    KEY,
    QUEUE,
    READ,
    TOPIC,
    WRITE,
    name_bytes,
    name_text,
    object_name,
    split_name,
)
from logstore.access.rights import KNOWN_MAX, NAME_MAX
from logstore.access.rulebook import COMPARED_BYTES_MAX
from logstore.kept.users import (
    GLOB,
    LITERAL,
    PREFIX,
    KeptAccess,
    KeptPermission,
    KeptRule,
    KeptUser,
)
from logstore.names import AUDIT_TOPIC, RETAINED_TOPIC

AL = Identity("al", "10.0.0.1")


def access(*facts, redis=None):
    return Access(
        Unkept(
            KeptAccess(
                users=[KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al", redis=redis)],
                rules=[it for it in facts if isinstance(it, KeptRule)],
                permissions=[it for it in facts if isinstance(it, KeptPermission)],
            )
        )
    )


def allow(operation, name, pattern=LITERAL, kind=TOPIC, host="*", user="al"):
    return KeptRule(user, operation, kind, name, pattern, True, host)


def deny(operation, name, pattern=LITERAL, kind=TOPIC, host="*", user="al"):
    return KeptRule(user, operation, kind, name, pattern, False, host)


@pytest.mark.parametrize("operation", [READ, WRITE, DELETE, ALTER, ALL])
def test_who_may_do_something_with_a_topic_may_see_it(operation):
    assert access(allow(operation, "t")).rights(AL).may(DESCRIBE, TOPIC, "t")


@pytest.mark.parametrize("operation", [ALTER_CONFIGS, ALL])
def test_who_may_change_settings_may_see_them(operation):
    rights = access(allow(operation, "t")).rights(AL)
    assert rights.may(DESCRIBE_CONFIGS, TOPIC, "t")
    assert rights.may(DESCRIBE, TOPIC, "t") == (operation == ALL)


def test_to_deny_reading_hides_nothing():
    rights = access(allow(READ, "t"), deny(READ, "t")).rights(AL)
    assert not rights.may(READ, TOPIC, "t")
    assert rights.may(DESCRIBE, TOPIC, "t")


def test_to_deny_all_denies_what_another_language_grants():
    granted = KeptPermission("al", "/", ".*", ".*", ".*")
    rights = access(
        deny(ALL, "secret", PREFIX, QUEUE),
        deny(READ, "*", kind=CHANNEL),
        granted,
        redis="on +@all &* ~*",
    ).rights(AL)
    assert rights.may(READ, QUEUE, "mail")
    assert not rights.may(READ, QUEUE, "secrets")
    assert rights.may(READ, QUEUE, "v:secrets") is False  # he has no permission in there
    assert not rights.may(READ, CHANNEL, "news")
    assert rights.may(WRITE, CHANNEL, "news")
    assert rights.may(READ, KEY, "k")


def test_a_rule_is_for_its_host():
    book = access(allow(READ, "t", host="10.0.0.1"), deny(READ, "u", host="10.0.0.2"))
    here, there = book.rights(AL), book.rights(Identity("al", "10.0.0.2"))
    assert here.may(READ, TOPIC, "t")
    assert not there.may(READ, TOPIC, "t")
    book.change([allow(READ, "u")])
    assert here.may(READ, TOPIC, "u")
    assert not there.may(READ, TOPIC, "u")


def test_removing_one_of_two_rules_of_an_object_leaves_the_other():
    read, write = allow(READ, "t"), allow(WRITE, "t")
    book = access(read, write)
    rights = book.rights(AL)
    book.change(forget=[read])
    assert not rights.may(READ, TOPIC, "t")
    assert rights.may(WRITE, TOPIC, "t")
    assert list(book.rules) == [write]


def test_a_name_too_long_to_compare_is_denied_and_not_allowed():
    long = "a" * (COMPARED_BYTES_MAX + 1)
    rules = [allow(ALL, "*a*a*", GLOB, CHANNEL), allow(READ, "*", GLOB, CHANNEL)]
    assert access(*rules).rights(AL).may(READ, CHANNEL, long)
    assert not access(*rules).rights(AL).may(WRITE, CHANNEL, long)
    assert (
        not access(*rules, deny(READ, "*b*b*", GLOB, CHANNEL)).rights(AL).may(READ, CHANNEL, long)
    )
    assert access(allow(READ, "a*", GLOB, CHANNEL)).rights(AL).may(READ, CHANNEL, long)


def test_a_token_vouches_for_whom_it_names():
    book = access(allow(READ, "t", user="svc"))
    assert book.rights(Identity("svc", "h", OAUTHBEARER)).may(READ, TOPIC, "t")
    assert book.knows(Identity("svc", "h", OAUTHBEARER))
    assert not book.rights(Identity("svc", "h", "PLAIN")).may(READ, TOPIC, "t")
    assert not book.knows(Identity("svc", "h", "PLAIN"))
    assert book.knows(AL)
    assert not book.knows(Identity("", "h"))


# Patterns


@pytest.mark.parametrize(
    ("rule", "pattern", "allowed"),
    [
        (allow(READ, "*", kind=CHANNEL), "n*", True),
        (allow(READ, "*", GLOB, CHANNEL), "n*", True),
        (allow(READ, "n*", GLOB, CHANNEL), "n*", True),
        (allow(READ, "n*", GLOB, CHANNEL), "ne*", False),  # as Redis: the same text alone
        (allow(READ, "ne", PREFIX, CHANNEL), "news.*", True),
        (allow(READ, "ne", PREFIX, CHANNEL), "n*", False),
        (allow(READ, "ne", PREFIX, CHANNEL), "n[e]*", True),
        (allow(READ, "ne", PREFIX, CHANNEL), "n[ef]*", False),
        (allow(READ, "news", kind=CHANNEL), "news", True),
        (allow(READ, "news", kind=CHANNEL), "new[s]", True),
        (allow(READ, "news", kind=CHANNEL), "new?", False),
        (allow(READ, "n*", GLOB, CHANNEL), "news", True),
        (allow(WRITE, "*", kind=CHANNEL), "n*", False),
        (allow(ALL, "*", kind=CHANNEL), "n*", True),
        (allow(READ, "*", kind=TOPIC), "n*", False),
    ],
)
def test_a_pattern_is_allowed_by_a_rule_about_all_its_names(rule, pattern, allowed):
    assert access(rule).rights(AL).may_matching(READ, CHANNEL, pattern) == allowed


@pytest.mark.parametrize(
    ("rule", "pattern", "allowed"),
    [
        (deny(READ, "secret", kind=CHANNEL), "s*", False),
        (deny(READ, "secret", kind=CHANNEL), "t*", True),
        (deny(READ, "sec", PREFIX, CHANNEL), "s*", False),
        (deny(READ, "sec", PREFIX, CHANNEL), "secretly", False),
        (deny(READ, "sec", PREFIX, CHANNEL), "?", True),
        (deny(READ, "*secret*", GLOB, CHANNEL), "news*", False),  # news-secret
        (deny(READ, "*secret", GLOB, CHANNEL), "*news", True),
        (deny(READ, "[ab]x", GLOB, CHANNEL), "[bc]x", False),
        (deny(READ, "[ab]x", GLOB, CHANNEL), "[c-d]x", True),
        (deny(READ, "*", kind=CHANNEL), "t*", False),
        (deny(WRITE, "*", kind=CHANNEL), "t*", True),
    ],
)
def test_a_pattern_is_denied_where_one_of_its_names_is(rule, pattern, allowed):
    book = access(allow(READ, "*", kind=CHANNEL), rule, redis="on +@all &*")
    assert book.rights(AL).may_matching(READ, CHANNEL, pattern) == allowed
    assert book.rights(AL).may_matching(READ, CHANNEL, pattern) == allowed


def test_patterns_that_overlap_are_found_quickly():
    """Patterns as long as they may be: a rule's, and one that a client sends."""
    longest = ("*a?b" * 64)[:255]
    book = access(allow(READ, "*", kind=CHANNEL), deny(READ, longest, GLOB, CHANNEL))
    assert not book.rights(AL).may_matching(READ, CHANNEL, "*a?b" * 1000)


# Some object of a kind


@pytest.mark.parametrize(
    ("rules", "some"),
    [
        ([], False),
        ([allow(WRITE, "t")], True),
        ([allow(READ, "t")], False),
        ([allow(ALL, "t", PREFIX)], True),
        ([allow(WRITE, "t", kind=QUEUE)], False),
        ([allow(WRITE, "t", host="10.9.9.9")], False),
        ([allow(WRITE, "*"), deny(WRITE, "t", PREFIX)], True),
        ([allow(WRITE, "*"), deny(WRITE, "*")], False),
        ([allow(WRITE, "*"), deny(ALL, "*", GLOB)], False),
        ([allow(WRITE, "*"), deny(WRITE, "*", user="*")], False),
        ([allow(WRITE, "*"), deny(WRITE, "*", user="bob")], True),
        ([allow(WRITE, "t"), deny(WRITE, "t")], False),
        ([allow(WRITE, "t"), deny(READ, "t")], True),
        ([allow(WRITE, "tab"), deny(WRITE, "t", PREFIX)], False),
        ([allow(WRITE, "tab", PREFIX), deny(WRITE, "t", PREFIX)], False),
        ([allow(WRITE, "t", PREFIX), deny(WRITE, "tab", PREFIX)], True),
        ([allow(WRITE, "t", PREFIX), deny(WRITE, "t")], True),
        ([allow(WRITE, "tab", PREFIX), deny(WRITE, "t*", GLOB)], False),
        ([allow(WRITE, "t*x", GLOB), deny(WRITE, "t", PREFIX)], False),
        ([allow(WRITE, "t*x", GLOB), deny(WRITE, "t*x", GLOB)], False),
        ([allow(WRITE, "t*", GLOB), deny(WRITE, "tx*", GLOB)], True),
        ([allow(WRITE, "[t]", GLOB), deny(WRITE, "t")], False),
    ],
)
def test_a_producer_needs_one_topic_that_it_may_write(rules, some):
    rights = access(*rules).rights(AL)
    assert rights.may_some(WRITE, TOPIC) == some
    assert rights.may_some(WRITE, TOPIC) == some


def test_some_object_may_be_of_any_of_several_kinds_and_languages():
    assert not access().rights(AL).may_some(WRITE, TOPIC, CHANNEL, QUEUE)
    assert access(redis="on +@all &news").rights(AL).may_some(WRITE, TOPIC, CHANNEL, QUEUE)
    for write, some in (("^a", True), ("", False), ("^$", False)):
        rights = access(KeptPermission("al", "v", ".*", write, ".*")).rights(AL)
        assert rights.may_some(WRITE, TOPIC, CHANNEL, QUEUE) == some


# Why


def test_the_rule_that_decides_is_told():
    book = access(
        allow(READ, "ord", PREFIX), deny(ALL, "orders-secret"),
        KeptPermission("al", "v", "", "^a", ""), redis="on +@all &news.* %R~k*",
    )  # fmt: skip

    def why(*question):
        return book.rights(AL).decision(*question)

    assert why(READ, TOPIC, "orders") == (True, "allow user al read topic:ord (prefix) from *")
    assert why(READ, TOPIC, "orders-secret") == (
        False,
        "deny user al all topic:orders-secret (literal) from *",
    )
    assert why(WRITE, TOPIC, "orders") == (False, "no rule allows it")
    assert why(WRITE, EXCHANGE, "v:a") == (True, "permission of user al in vhost v: write ^a")
    assert why(READ, CHANNEL, "news.x") == (True, "Redis rule &news.*")
    assert why(READ, KEY, "k1") == (True, "Redis rule %R~k*")
    assert book.decision(Identity("root", ""), READ, CLUSTER, CLUSTER_NAME).allowed


def test_a_rule_with_odd_characters_is_told_in_one_line():
    rule = allow(READ, "a\nb\x1b[31m", kind=CHANNEL)
    decision = access(rule).rights(AL).decision(READ, CHANNEL, "a\nb\x1b[31m")
    assert decision == (True, r"allow user al read channel:a\nb\x1b[31m (literal) from *")


# Topics of the server


@pytest.mark.parametrize("operation", [WRITE, CREATE, DELETE, ALTER, ALTER_CONFIGS])
def test_no_rule_allows_to_change_the_audit_log(operation):
    book = access(allow(ALL, "*"), allow(ALL, AUDIT_TOPIC))
    assert not book.rights(AL).may(operation, TOPIC, AUDIT_TOPIC)
    assert book.rights(AL).may(operation, TOPIC, "other")
    assert book.rights(AL).may(READ, TOPIC, AUDIT_TOPIC)
    assert not access().rights(AL).may(READ, TOPIC, AUDIT_TOPIC)
    assert book.rights(OWNER).may(operation, TOPIC, AUDIT_TOPIC)


@pytest.mark.parametrize("operation", [WRITE, CREATE])
def test_no_client_writes_the_audit_log(operation):
    root, anyone = Identity("root", "h"), Identity("", "h")
    for rights in (access().rights(root), Access(Unkept()).rights(anyone)):
        for _ in range(2):
            assert not rights.may(operation, TOPIC, AUDIT_TOPIC)
        assert rights.may(DELETE, TOPIC, AUDIT_TOPIC)
        assert rights.may(READ, TOPIC, AUDIT_TOPIC)
        assert rights.may(operation, CHANNEL, AUDIT_TOPIC)
        assert "server's own" in rights.decision(operation, TOPIC, AUDIT_TOPIC).why


@pytest.mark.parametrize("who", [OWNER, Identity("root", "h"), Identity("al", "h")])
def test_nobody_writes_what_the_server_has_in_memory_and_whoever_may_reads_it(who):
    book = access(allow(ALL, "*"), allow(ALL, RETAINED_TOPIC))
    for operation in (WRITE, CREATE):
        assert not book.rights(who).may(operation, TOPIC, RETAINED_TOPIC)
        assert "server's own" in book.rights(who).decision(operation, TOPIC, RETAINED_TOPIC).why
    assert book.rights(who).may(READ, TOPIC, RETAINED_TOPIC)
    assert book.rights(who).may(DELETE, TOPIC, RETAINED_TOPIC) is (who.user != "al")


# Names


@pytest.mark.parametrize("vhost", ["/", "a", "a:b", "a%3Ab", "%", "/x", ":"])
@pytest.mark.parametrize("name", ["b", "a:b", ":", "a%3Ab", "/:a", ""])
def test_a_name_in_rules_says_its_virtual_host(vhost, name):
    assert split_name(object_name(vhost, name)) == (vhost, name)


@pytest.mark.parametrize(("name", "of", "pattern", "denied", "allowed"), [
    ("mail", "mail", LITERAL, True, True), ("mail", "/:mail", LITERAL, True, True),
    ("mail", "/:", PREFIX, True, True), ("mail", "/:m*", GLOB, True, True),
    ("mail", "m:ail", LITERAL, False, False),
    ("m:ail", "m:ail", LITERAL, True, False), ("m:ail", "m", PREFIX, True, False),
    ("m:ail", "m:*", GLOB, True, False), ("m:ail", "/:m:ail", LITERAL, True, True),
    ("m:ail", "/:m", PREFIX, True, True), ("m:ail", "/:m*", GLOB, True, True),
])  # fmt: skip
@pytest.mark.parametrize("kind", [QUEUE, EXCHANGE])
def test_a_colon_in_a_name_hides_nothing_from_a_rule_that_forbids(
    name, of, pattern, denied, allowed, kind
):
    """And gives nobody what a rule about another virtual host allows."""
    named = object_name("/", name)
    forbids = access(allow(READ, "*", kind=kind), KeptRule("al", READ, kind, of, pattern, False))
    assert forbids.rights(AL).may(READ, kind, named) is not denied
    assert access(allow(READ, of, pattern, kind)).rights(AL).may(READ, kind, named) is allowed


def test_a_rule_about_the_default_host_is_about_no_other():
    book = access(allow(READ, "/:", PREFIX, QUEUE), allow(READ, "/:q", kind=QUEUE))
    for vhost in ("a", "/x", "%", ""):
        assert not book.rights(AL).may(READ, QUEUE, object_name(vhost, "q"))


def test_a_permission_is_for_its_virtual_host_alone():
    book = access(KeptPermission("al", "a:b", ".*", ".*", ".*"))
    assert book.rights(AL).may(READ, QUEUE, object_name("a:b", "q"))
    for vhost in ("/", "a", "b", "a%3Ab"):
        assert not book.rights(AL).may(READ, QUEUE, object_name(vhost, "b:q"))


def test_names_of_any_bytes_are_told_apart():
    book = access(KeptPermission("al", "/", "", "", "^\xff$"), redis="on +@all &a?")
    assert book.rights(AL).may(READ, CHANNEL, name_text(b"a\xff"))
    assert not book.rights(AL).may(READ, CHANNEL, "aÿ")
    assert name_bytes(name_text(bytes(range(256)))) == bytes(range(256))


# What is remembered


def test_what_is_remembered_of_a_client_that_makes_names_up_is_bounded():
    book = access(allow(READ, "*"))
    rights = book.rights(AL)
    for number in range(KNOWN_MAX + 10):
        assert rights.may(READ, TOPIC, str(number))
    assert len(book.answers(AL)) <= KNOWN_MAX
    before = len(book.answers(AL))
    assert rights.may(READ, TOPIC, "x" * (NAME_MAX + 1))
    assert len(book.answers(AL)) == before


def test_connections_of_one_user_share_what_they_know():
    book = access(allow(READ, "t", host="10.0.0.9"))
    others = [Identity("al", f"10.0.1.{number}") for number in range(200)]
    connections = [book.rights(who) for who in others]
    for it in connections:
        assert not it.may(READ, TOPIC, "t")
    assert len(book.answers(others[0])) == 1
    assert all(book.answers(who) is book.answers(others[0]) for who in others)
    assert book.answers(Identity("al", "10.0.0.9")) is not book.answers(others[0])
    book.change([allow(READ, "t")])
    assert not book.answers(others[0])  # nothing is left of before


def test_what_is_remembered_goes_with_the_last_connection():
    """A token may name any user: else they would be more and more."""
    book = access(allow(READ, "orders"))
    rights = book.rights(AL)
    rights.may(READ, TOPIC, "orders")
    assert book.answers(AL)
    del rights
    assert not book.answers(AL)


def test_a_super_user_and_a_server_without_users_remember_nothing():
    book = access()
    assert book.rights(Identity("root", "h")).may(READ, TOPIC, "t")
    assert not book.answers(Identity("root", "h"))
    open_one = Access(Unkept())
    assert open_one.rights(Identity("", "h")).may(READ, TOPIC, "t")
    assert not open_one.answers(Identity("", "h"))


@pytest.mark.long
def test_many_rules_are_not_looked_through_for_each_object():
    """One look-up is as much work with ten thousand rules as with ten."""

    def work(count):
        rules = [allow(READ, f"t{number}") for number in range(count)]
        rules += [allow(READ, f"p{number}", PREFIX) for number in range(count)]
        rules += [deny(READ, f"g{number}*", GLOB) for number in range(count)]
        rights = access(*rules).rights(AL)
        return lines_run("logstore", lambda: rights.may(READ, TOPIC, "t0"))

    assert work(3000) <= work(10) + 60  # heads and prefixes have four lengths rather than one


def test_many_rules_and_a_long_pattern_hold_nobody_up():
    """What is more than can be held against each other soon counts as overlapping."""
    rules = [deny(READ, f"g{number}*x", GLOB, CHANNEL) for number in range(1000)]
    book = access(allow(READ, "*", kind=CHANNEL), *rules)
    rights = book.rights(AL)
    longest = "*a?b" * 1000
    assert not rights.may_matching(READ, CHANNEL, longest)
    assert lines_run("logstore", lambda: rights.may_matching(READ, CHANNEL, longest)) < 100_000
    assert rights.may_matching(READ, CHANNEL, "news.*")


def test_many_rules_that_are_denied_are_not_all_looked_at():
    rules = [allow(WRITE, f"t{number}") for number in range(1000)]
    rules += [deny(WRITE, f"t{number}") for number in range(1000)]
    rights = access(*rules).rights(AL)
    assert lines_run("logstore", lambda: rights.may_some(WRITE, TOPIC)) < 20_000
