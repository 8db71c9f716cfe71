"""The decision over rules in three languages, against a model that looks at every rule."""

import re
from itertools import product

import naive_patterns
from hypothesis import given
from hypothesis import strategies as st
from naive_access import NaiveAccess, about

from logstore.access.access import Access, Unkept
from logstore.access.filters import ANY, MATCH, RuleFilter, picked
from logstore.access.identity import Identity
from logstore.access.overlap import Overlaps
from logstore.access.resources import ALL, KINDS, OPERATIONS
from logstore.access.rulebook import Rulebook
from logstore.kept.users import GLOB, LITERAL, PREFIX, KeptPermission, KeptRule, KeptUser
from logstore.patterns import Pattern

NAMES = ["".join(it) for length in (1, 2, 3) for it in product("ab", repeat=length)]
USERS = ("ana", "bob")
HOSTS = ("10.0.0.1", "10.0.0.2")
KINDS_ASKED = ("topic", "channel", "key", "queue")

names = st.sampled_from(NAMES)
patterns = st.text("ab*?[]^-\\", min_size=1, max_size=5)
ruled_names = names | names.map("/:{}".format) | names.map("a:{}".format)
objects = (
    st.tuples(st.just(LITERAL), st.one_of(ruled_names, st.just("*")))
    | st.tuples(st.just(PREFIX), ruled_names)
    | st.tuples(st.just(GLOB), patterns)
)
rules = st.builds(
    lambda user, operation, kind, named, allow, host: KeptRule(
        user, operation, kind, named[1], named[0], allow, host
    ),
    st.sampled_from((*USERS, "*")),
    st.sampled_from((*OPERATIONS, ALL, "read", "write")),
    st.sampled_from(KINDS_ASKED),
    objects,
    st.booleans(),
    st.sampled_from((*HOSTS, "*")),
)
words = st.sampled_from(
    ["&a*", "&ab", "&?", "~a?", "%R~b*", "%W~*", "(&* +@all)", "(&b* +@all)", "(%RW~bb)"]
)
users = st.builds(
    KeptUser,
    st.sampled_from(USERS),
    tags=st.sampled_from([(), ("management",), ("administrator",)]),
    redis=st.none() | st.lists(words, max_size=3).map(lambda it: " ".join(["on +@all", *it])),
)
expressions = st.sampled_from(["", "^$", ".*", "^a", "b$", "^ab?$", "a.b", "^(a|b)$", "[^a]"])
permissions = st.builds(
    KeptPermission, st.sampled_from(USERS), st.sampled_from(["/", "v"]),
    expressions, expressions, expressions,
)  # fmt: skip
facts = rules | users | permissions
changes = st.lists(st.tuples(st.booleans(), facts), max_size=12)
identities = st.builds(Identity, st.sampled_from((*USERS, "eve", "")), st.sampled_from(HOSTS))
object_names = names | st.tuples(st.sampled_from(["v:", "w:", "/:", "/:a:"]), names).map("".join)
questions = st.lists(
    st.tuples(identities, st.sampled_from(OPERATIONS), st.sampled_from(KINDS_ASKED), object_names),
    min_size=1, max_size=8,
)  # fmt: skip


def overlap(one, other):
    return Overlaps(Pattern(one)).meets(Pattern(other))


def overlaps_prefix(pattern, prefix):
    return Overlaps(Pattern(pattern)).meets_prefix(prefix)


def change(access, naive, keep, fact):
    access.change([fact] if keep else [], [] if keep else [fact])
    match fact:
        case KeptUser():
            table, key = naive.users, fact.name
        case KeptPermission():
            table, key = naive.permissions, (fact.user, fact.vhost)
        case _:
            naive.rules = [it for it in naive.rules if it != fact] + [fact] * keep
            return
    if keep:
        table[key] = fact
    else:
        table.pop(key, None)


@given(changes, changes, questions)
def test_rules_allow_what_looking_at_all_of_them_allows(first, second, asked):
    access, naive = Access(Unkept()), NaiveAccess()
    root = KeptUser("root", tags=("administrator",))  # one is left, whoever goes
    access.change([root])
    naive.users["root"] = root
    rights = {who: access.rights(who) for who, *_ in asked}
    for some in (first, second):
        for keep, fact in some:
            change(access, naive, keep, fact)
        for who, *question in [*asked, *asked]:  # twice: what is remembered is the same
            wanted = naive.may(who, *question)
            assert rights[who].may(*question) == wanted, (who, question)
            assert access.rights(who).decision(*question).allowed == wanted
    assert sorted(access.rules, key=str) == sorted(naive.rules, key=str)


@given(st.lists(rules, max_size=8), identities, patterns, st.sampled_from(("read", "describe")))
def test_a_pattern_is_allowed_only_where_every_name_is(kept, who, pattern, operation):
    access, naive = Access(Unkept()), NaiveAccess()
    for fact in (*kept, KeptUser("ana"), KeptUser("bob")):
        change(access, naive, True, fact)
    if access.rights(who).may_matching(operation, "channel", pattern):
        assert naive.may_matching(who, operation, "channel", pattern, NAMES)


@given(st.lists(rules, max_size=6), identities, st.sampled_from(("read", "write", "describe")))
def test_some_object_is_allowed_where_there_is_one(kept, who, operation):
    access, naive = Access(Unkept()), NaiveAccess()
    for fact in (*kept, KeptUser("ana"), KeptUser("bob")):
        change(access, naive, True, fact)
    longer = [*NAMES, "aaaaX", "bbbbX", "abX", "X"]
    if any(naive.may(who, operation, "topic", name) for name in longer):
        assert access.rights(who).may_some(operation, "topic")


@given(st.lists(rules, max_size=20), st.data())
def test_a_rulebook_is_what_was_put_in_and_not_taken_out(kept, data):
    book = Rulebook(kept)
    gone = data.draw(st.lists(st.sampled_from(kept), max_size=20)) if kept else []
    for rule in gone:
        book.remove(rule)
    left = [it for it in dict.fromkeys(kept) if it not in gone]
    assert list(book.rules) == left
    for rule in gone:
        book.add(rule)
        book.remove(rule)
    for rule in left:
        book.remove(rule)
    assert not book.rules
    assert not book._shelves  # nothing is left of rules that are gone
    assert not book.hosts


@given(patterns, patterns)
def test_two_patterns_overlap_where_a_name_matches_both(one, other):
    def matches(pattern, name):
        return naive_patterns.matches(pattern.encode(), name)

    longest = [bytes(it) for size in range(1, 6) for it in product(b"ab]-", repeat=size)]
    both = any(matches(one, it) and matches(other, it) for it in longest)
    assert not both or overlap(one.encode(), other.encode())
    assert overlap(one.encode(), other.encode()) == overlap(other.encode(), one.encode())


plain = st.text("ab*?", min_size=1, max_size=4)


@given(plain, plain)
def test_patterns_without_classes_overlap_only_where_a_name_matches_both(one, other):
    """No name that they have in common need be longer than both of them."""
    names = (bytes(it) for size in range(1, 9) for it in product(b"ab", repeat=size))
    both = any(
        naive_patterns.matches(one.encode(), it) and naive_patterns.matches(other.encode(), it)
        for it in names
    )
    assert overlap(one.encode(), other.encode()) == both


@given(plain, st.text("ab", min_size=1, max_size=4))
def test_a_pattern_and_a_prefix_overlap_where_a_name_matches_both(pattern, prefix):
    names = (bytes(it) for size in range(1, 9) for it in product(b"ab", repeat=size))
    both = any(
        it.startswith(prefix.encode()) and naive_patterns.matches(pattern.encode(), it)
        for it in names
    )
    assert overlaps_prefix(pattern.encode(), prefix.encode()) == both


maybe = st.none()
filters = st.builds(
    RuleFilter,
    kind=maybe | st.sampled_from(KINDS),
    name=maybe | names,
    pattern=st.sampled_from((ANY, MATCH, LITERAL, PREFIX, GLOB)),
    user=maybe | st.sampled_from((*USERS, "*")),
    host=maybe | st.sampled_from((*HOSTS, "*")),
    operation=maybe | st.sampled_from((*OPERATIONS, ALL)),
    allow=maybe | st.booleans(),
)


@given(st.lists(rules, max_size=12), filters)
def test_a_filter_takes_what_says_the_same(kept, wanted):
    def same(rule):
        if wanted.pattern == MATCH:
            named = wanted.name is None or rule.name == wanted.name or about(rule, wanted.name)
        else:
            named = wanted.name in (None, rule.name)
            named = named and wanted.pattern in (ANY, rule.pattern)
        return named and all(
            getattr(wanted, it) in (None, getattr(rule, it))
            for it in ("kind", "user", "host", "operation", "allow")
        )

    assert picked(kept, wanted) == [it for it in kept if same(it)]


def test_the_model_has_the_expressions_of_re2():
    """Python's engine and RE2 say the same of what the model is asked with."""
    from logstore.access.permissions import matches

    for regex in ("", "^$", ".*", "^a", "b$", "^ab?$", "a.b", "^(a|b)$", "[^a]"):
        for name in ("", *NAMES):
            assert matches(regex, name) == (re.search(regex or "^$", name) is not None)
