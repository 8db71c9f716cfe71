"""Topic patterns: RabbitMQ's rules, naive matchers to compare with, and what a match costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_routing import dotted, topic_matches, topic_regex
from work_counted import lines_run

from logstore.broker.routing.topic_tree import TopicTree

WORDS = st.sampled_from([b"", b"a", b"b", b"c", b"A", b"\xff"])
PATTERNS = st.lists(st.one_of(WORDS, st.sampled_from([b"*", b"#", b"#"])), max_size=7).map(
    b".".join
)
KEYS = st.lists(st.one_of(WORDS, st.sampled_from([b"*", b"#"])), max_size=7).map(b".".join)


def matching(patterns, key):
    tree = TopicTree()
    for pattern in patterns:
        tree.add(pattern, pattern)
    return list(tree.match(key))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"", [b""], [b"a", b"."]),
        (b"#", [b"", b"a", b"a.b", b".", b"..."], []),
        (b"#.#", [b"", b"a", b"a.b.c"], []),
        (b"*", [b"a", b"\xff"], [b"", b"a.b", b"."]),
        (b"*.*", [b"a.b", b"."], [b"", b"a", b"a.b.c"]),
        (b"a.*.b", [b"a..b", b"a.x.b"], [b"a.b", b"a.x.y.b"]),
        (b"a..b", [b"a..b"], [b"a.b", b"a.x.b"]),
        (b"a.#.b", [b"a.b", b"a..b", b"a.x.y.b"], [b"a", b"a.b.c", b"b"]),
        (b"a.*.c.#", [b"a.b.c", b"a.b.c.d", b"a..c."], [b"a.c", b"a.b.d"]),
        (b"#.*", [b"a", b"a.b"], [b""]),
        (b"*.#", [b"a", b"a.b"], [b""]),
        (b"#.*.#.*", [b"a.b", b"a.b.c", b"."], [b"", b"a"]),
        (b"#.a", [b"a", b"x.a", b"a.a"], [b"", b"a.x"]),
        (b"#.#.#.a.#", [b"a", b"x.a.y", b"a.a.a"], [b"", b"b"]),
        (b"*.stock.#", [b"usd.stock", b".stock", b"usd.stock.db"], [b"stock", b"stock.db"]),
        (b"lazy", [b"lazy"], [b"Lazy", b"lazy.", b".lazy"]),
        (b"a*", [b"a*"], [b"ab", b"a"]),
        (b"a#.b", [b"a#.b"], [b"ab.b", b"a.b"]),
    ],
)
def test_rules(pattern, yes, no):
    tree = TopicTree()
    tree.add(pattern, "it")
    assert [key for key in yes if list(tree.match(key)) != ["it"]] == []
    assert [key for key in no if list(tree.match(key)) != []] == []


def test_words_that_look_like_wildcards_are_words_in_a_key():
    assert matching([b"*", b"#", b"a"], b"#") == [b"*", b"#"]
    assert matching([b"a.b"], b"a.*") == []


@pytest.mark.long
@settings(max_examples=800)
@given(PATTERNS, KEYS)
def test_one_pattern_matches_as_trying_everything_does(pattern, key):
    expected = topic_matches(pattern, key)
    assert (topic_regex(pattern).fullmatch(dotted(key)) is not None) == expected
    assert matching([pattern], key) == [pattern] * expected


@pytest.mark.long
@settings(max_examples=250)
@given(st.lists(PATTERNS, max_size=12, unique=True), st.lists(KEYS, max_size=4), st.data())
def test_many_patterns_match_as_each_of_them_does(patterns, keys, data):
    tree = TopicTree()
    for pattern in patterns:
        tree.add(pattern, pattern)
    gone = data.draw(st.lists(st.sampled_from(patterns), unique=True)) if patterns else []
    for pattern in gone:
        tree.remove(pattern, pattern)
    left = [it for it in patterns if it not in gone]
    for key in keys:
        expected = sorted(it for it in left if topic_matches(it, key))
        assert sorted(tree.match(key)) == expected


@given(st.lists(st.tuples(PATTERNS, st.integers(0, 3)), max_size=12), st.randoms())
def test_nothing_is_left_of_patterns_that_were_removed(added, chance):
    tree = TopicTree()
    for pattern, thing in added:
        tree.add(pattern, thing)
    chance.shuffle(added)
    for pattern, thing in added:
        tree.remove(pattern, thing)
    assert tree._root.empty
    assert [list(tree.match(key)) for key in (b"", b"a", b"a.b")] == [[], [], []]


def test_a_thing_added_twice_stays_until_it_is_removed_twice():
    tree = TopicTree()
    tree.add(b"#.*", "queue")
    tree.add(b"*.#", "queue")  # the same pattern, said otherwise
    tree.remove(b"*.#", "queue")
    assert list(tree.match(b"a")) == ["queue"]
    tree.remove(b"#.*", "queue")
    assert list(tree.match(b"a")) == []


def test_each_word_of_a_key_is_not_looked_up_in_each_of_many_wildcards():
    """Patterns that all go on behind every word, so that each is reached, and reached again."""
    tree = TopicTree()
    for number in range(1000):
        tree.add(b"#." + b".#.".join(b"%d" % int(bit) for bit in f"{number:b}") + b".#", number)
    key = b".".join(b"%d" % (it * 7919 >> 3 & 1) for it in range(120))
    assert len(list(tree.match(key))) == 1000
    assert lines_run("topic_tree", lambda: list(tree.match(key))) < 30_000


def test_many_patterns_cost_a_match_nothing():
    """A hundred or ten thousand patterns: the work is that of those that match."""
    keys = [b"stock.7.usd.price", b"a.b.c.9", b"stock.7.usd.x3.y", b"nothing.matches"]
    work = {}
    for count in (100, 10_000):
        tree = TopicTree()
        for number in range(count):
            tree.add(b"stock.%d.*.price" % number, number)
            tree.add(b"#.%d" % number, number)
        for number in range(10):
            tree.add(b"stock.7.#.x%d.#" % number, -number)
        work[count] = lines_run(
            "topic_tree.py", lambda tree=tree: [[*tree.match(it)] for it in keys]
        )
    assert work[10_000] == work[100] < 500


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        (b"#.#.#.a.#", b"." * 254),
        (b".".join([b"#.a"] * 60), b".".join([b"a"] * 127 + [b""])),
        (b".".join([b"#.*"] * 60), b"." * 127),
        (b".".join([b"#."] * 80) + b"x", b"." * 254),
        (b".".join([b"*"] * 20 + [b"#.a"] * 40 + [b"#.b"]), b".".join([b"a"] * 128)),
    ],
)
def test_many_hashes_do_not_explode(pattern, key):
    """At most each node once for each word; there are 10**20 ways to share out the words."""
    tree = TopicTree()
    tree.add(pattern, "it")
    words, nodes = key.count(b".") + 1, pattern.count(b".") + 2
    found = []
    work = lines_run("topic_tree.py", lambda: found.extend(tree.match(key)))
    assert work < 12 * words * nodes
    assert found == ["it"] * (matches_by_states(pattern, key))


def matches_by_states(pattern, key):
    """Whether it matches. A regular expression would try all ways, too."""
    words = pattern.split(b".")
    states = {0}
    for word in [*key.split(b"."), None]:
        grown = set(states)
        for state in sorted(states):
            while state < len(words) and words[state] == b"#":
                state += 1
                grown.add(state)
        if word is None:
            return len(words) in grown
        states = {it for it in grown if it < len(words) and words[it] == b"#"}
        states |= {it + 1 for it in grown if it < len(words) and words[it] in (b"*", word)}
    return False
