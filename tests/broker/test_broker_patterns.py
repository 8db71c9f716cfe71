"""Patterns against a matcher that tries everything, and the index against asking each of them."""

import time
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_patterns import matches

from logstore import patterns
from logstore.errors import InvalidName
from logstore.patterns import PATTERN_BYTES_MAX, Pattern, PatternIndex

SIGNS = st.sampled_from(
    [b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"c", b"\xff", b"\n"]
)
PATTERNS = st.lists(SIGNS, max_size=9).map(b"".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b"c", b"]", b"-", b"\\", b"\xff", b"\x80", b"\n"]),
                 max_size=6).map(b"".join)  # fmt: skip


@pytest.mark.long
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


@pytest.mark.long
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


def drained(steps):
    """What a generator returns, and what it has yielded."""
    yielded = []
    try:
        while True:
            yielded.append(next(steps))
    except StopIteration as end:
        return end.value, yielded


@pytest.mark.long
@settings(max_examples=1000, deadline=None)
@given(PATTERNS, NAMES)
def test_matching_in_parts_is_matching(pattern, name):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patterns, "AT_ONCE", 0)
        patched.setattr(patterns, "PART_BYTES", 2)
        assert drained(Pattern(pattern).matching(name))[0] == matches(pattern, name)


@pytest.mark.parametrize("pattern", [b"*" + b"?" * 4000 + b"b*", b"*a" * 1500 + b"?", b"a*" * 2000])
def test_a_name_of_a_megabyte_is_matched_in_parts(pattern):
    compiled = Pattern(pattern)
    found, units = drained(compiled.matching(b"a" * (1 << 20)))
    assert found == (b"b" not in pattern)
    assert len(units) >= (1 << 20) // patterns.PART_BYTES
    assert max(units) <= patterns.PART_UNITS


def test_a_name_that_ends_otherwise_costs_nothing():
    for pattern in (b"*a" * 1500 + b"b", b"*" + b"?" * 4000 + b"[^a]", b"b*" + b"?" * 4000):
        assert drained(Pattern(pattern).matching(b"a" * (1 << 20))) == (
            False,
            [patterns.PART_UNITS],
        )


def stepped(steps):
    """What it returns; None: it goes on."""
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    return None


COMING = st.tuples(st.booleans(), st.sampled_from([b"*", b"a*", b"*b", b"?b", b"ab", b"b*", b"a?"]))


@pytest.mark.long
@settings(max_examples=500, deadline=None)
@given(st.lists(COMING, max_size=12), st.lists(COMING, max_size=12), st.booleans())
def test_a_search_finds_what_matches_when_it_ends(before, meanwhile, again):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patterns, "BUCKET", 2)
        patched.setattr(patterns, "ASKED_TOGETHER", 1)
        index, there = PatternIndex(), {}

        def change(comes, text):
            if comes and text not in there:
                there[text] = Pattern(text)
                index.add(there[text])
            elif not comes and text in there:
                index.remove(there.pop(text))

        for it in before:
            change(*it)
        expected = None
        searches = [index.searching(b"ab") for _ in range(1 + again)]
        coming = iter(meanwhile)
        while searches:
            for search in list(searches):
                if (found := stepped(search)) is None:
                    for it in islice(coming, 1):
                        change(*it)
                    continue
                expected = {it for it in there if matches(it, b"ab")}
                assert sorted(found) == sorted(expected) == sorted(index.matching(b"ab"))
                searches.remove(search)
        assert expected is not None
