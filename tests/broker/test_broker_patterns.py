"""Patterns against a matcher that tries everything, and the index against asking each of them."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_patterns import matches

from logstore.broker.patterns import PATTERN_BYTES_MAX, Pattern, PatternIndex
from logstore.errors import InvalidName

SIGNS = st.sampled_from(
    [b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"c", b"\xff", b"\n"]
)
PATTERNS = st.lists(SIGNS, max_size=9).map(b"".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b"c", b"]", b"-", b"\\", b"\xff", b"\x80", b"\n"]),
                 max_size=6).map(b"".join)  # fmt: skip


@settings(max_examples=3000, deadline=None)
@given(PATTERNS, NAMES)
def test_it_matches_as_trying_everything_does(pattern, name):
    assert Pattern(pattern).matches(name) == matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h*llo", [b"hllo", b"heeello"], [b"hll"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo", b"h^llo"], [b"hello"]),
        (b"h[a-b]llo", [b"hallo", b"hbllo"], [b"hcllo", b"h-llo"]),
        (b"h[b-a]llo", [b"hallo", b"hbllo"], [b"hcllo"]),
        (b"h\\*llo", [b"h*llo"], [b"hello"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"[abc", [b"a", b"c"], [b"[abc", b"d"]),
        (b"[a-]", [b"]", b"a", b"_"], [b"-", b"b"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"*", [b"a", b"\xff\n"], [b""]),
        (b"", [b""], [b"a"]),
        (b"[]", [], [b"a", b"]", b""]),
        (b"[^", [b"a"], [b""]),
        (b"news.*", [b"news.", b"news.x"], [b"news", b"xnews."]),
    ],
)
def test_rules(pattern, yes, no):
    compiled = Pattern(pattern)
    assert [name for name in yes if not compiled.matches(name)] == []
    assert [name for name in no if compiled.matches(name)] == []


def test_case_can_be_ignored():
    pattern = Pattern(b"MAX[B-D]lients*", any_case=True)
    assert pattern.matches(b"maxclients")
    assert pattern.matches(b"MAXCLIENTS-1")
    assert not pattern.matches(b"maxelients")


def test_many_stars_take_no_more_than_many_looks():
    pattern = Pattern(b"*a" * 200 + b"b")
    used = time.process_time()
    assert not pattern.matches(b"a" * 2000)
    assert (
        time.process_time() - used < 10
    )  # tried in every way it would take longer than the sun has


def test_a_pattern_has_a_length():
    Pattern(b"?" * PATTERN_BYTES_MAX)
    with pytest.raises(InvalidName, match="at most 4096"):
        Pattern(b"?" * (PATTERN_BYTES_MAX + 1))


@settings(max_examples=300, deadline=None)
@given(st.lists(PATTERNS, unique=True, max_size=20), st.data(), st.lists(NAMES, max_size=10))
def test_the_index_finds_what_asking_each_finds(patterns, data, names):
    index = PatternIndex()
    compiled = [Pattern(it) for it in patterns]
    for it in compiled:
        index.add(it)
    gone = data.draw(st.sets(st.sampled_from(compiled))) if compiled else set()
    for it in gone:
        index.remove(it)
    for name in names:
        expected = {it.text for it in compiled if it not in gone and matches(it.text, name)}
        assert set(index.matching(name)) == expected
