"""Topics, filters, and the tree of filters, against a matcher that goes by the standard's words."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.mqtt.filters import (
    LEVELS_MAX,
    FilterTree,
    InvalidFilter,
    InvalidTopic,
    NotText,
    Shared,
    check_filter,
    check_topic,
    covers,
    is_topic,
    matches,
    shared,
)

WORDS: Final = st.sampled_from([b"", b"a", b"b", b"$x"])
TOPICS: Final = st.lists(WORDS, min_size=1, max_size=4).map(b"/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> bytes:
    levels = draw(st.lists(st.one_of(WORDS, st.just(b"+")), max_size=4))
    if not levels or draw(st.booleans()):
        levels.append(b"#")
    return b"/".join(levels) or b"#"


def naive(levels: list[bytes], words: list[bytes], *, first: bool = True) -> bool:
    """4.7.1 and 4.7.2, word for word."""
    if not levels:
        return not words
    if levels == [b"#"]:  # the parent, too
        return not (first and words[0].startswith(b"$"))
    if not words:
        return False
    if levels[0] == b"+":
        if first and words[0].startswith(b"$"):
            return False
    elif levels[0] != words[0]:
        return False
    return naive(levels[1:], words[1:], first=False)


def is_matched(filter: bytes, topic: bytes) -> bool:
    return naive(filter.split(b"/"), topic.split(b"/"))


@pytest.mark.parametrize(
    ("filter", "topic", "expected"),
    [
        (b"sport/tennis/player1/#", b"sport/tennis/player1", True),
        (b"sport/tennis/player1/#", b"sport/tennis/player1/score/wimbledon", True),
        (b"sport/#", b"sport", True),
        (b"#", b"sport/", True),
        (b"sport/+", b"sport", False),
        (b"sport/+", b"sport/", True),
        (b"+/+", b"/finance", True),
        (b"/+", b"/finance", True),
        (b"+", b"/finance", False),
        (b"#", b"$SYS/x", False),
        (b"+/monitor/Clients", b"$SYS/monitor/Clients", False),
        (b"$SYS/#", b"$SYS/x", True),
        (b"$SYS/monitor/+", b"$SYS/monitor/Clients", True),
        (b"a/+/$b", b"a/$c/$b", True),
        (b"a", b"A", False),
        (b"a", b"a/", False),
        (b"foo/+/#", b"foo/bar", True),
    ],
)
def test_the_standards_examples(filter: bytes, topic: bytes, *, expected: bool) -> None:
    tree: FilterTree[str, int] = FilterTree()
    tree.add(filter, "one", 1)
    assert matches(filter, topic) is expected
    assert tree.matching(topic) == ([{"one": 1}] if expected else [])
    assert naive(filter.split(b"/"), topic.split(b"/")) is expected


@given(filters(), TOPICS)
def test_a_filter_matches_as_the_standard_says(filter: bytes, topic: bytes) -> None:
    assert matches(filter, topic) == is_matched(filter, topic)


@given(
    st.lists(st.tuples(st.booleans(), filters(), st.integers(0, 2)), max_size=30),
    st.lists(TOPICS, min_size=1, max_size=5),
)
def test_a_tree_finds_what_a_list_of_filters_does(
    acts: list[tuple[bool, bytes, int]], topics: list[bytes]
) -> None:
    tree: FilterTree[int, int] = FilterTree()
    there: dict[tuple[bytes, int], int] = {}
    for number, (adds, filter, member) in enumerate(acts):
        if adds:
            assert tree.add(filter, member, number) == there.get((filter, member))
            there[filter, member] = number
        else:
            assert tree.remove(filter, member) == there.pop((filter, member), None)
        assert tree.get(filter) == {m: it for (f, m), it in there.items() if f == filter}
    assert len(tree) == len(there)
    for topic in topics:
        expected = sorted(it for (f, _), it in there.items() if is_matched(f, topic))
        found = tree.matching(topic)
        assert found is not None
        assert sorted(it for entries in found for it in entries.values()) == expected
        assert (
            sorted(it for entries in searched(tree, topic) for it in entries.values()) == expected
        )
    for f, m in list(there):
        tree.remove(f, m)
    assert not len(tree)
    assert not tree.nodes  # nothing is left of them


def searched(tree: FilterTree[int, int], topic: bytes) -> list[dict[int, int]]:
    steps = tree.searching(topic)
    while True:
        try:
            assert next(steps) >= 0
        except StopIteration as ended:
            return [dict(it) for it in ended.value]


@given(filters(), filters(), st.lists(TOPICS, max_size=10))
def test_a_filter_covers_another_as_its_topics_say(
    wide: bytes, narrow: bytes, topics: list[bytes]
) -> None:
    # Where a wildcard is, a word that no filter has stands for all words.
    words = [b"new" if it == b"+" else it for it in narrow.split(b"/")]
    tails = [[], [b"new"], [b"new", b"new"]] if words[-1] == b"#" else [words[-1:]]
    witnesses = [it for it in (words[:-1] + tail for tail in tails) if it]
    assert covers(wide, narrow) == all(naive(wide.split(b"/"), it) for it in witnesses)
    if covers(wide, narrow):
        assert not [it for it in topics if is_matched(narrow, it) and not is_matched(wide, it)]
    assert covers(wide, wide)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (b"#", b"a/b", True), (b"#", b"#", True), (b"#", b"$SYS/#", False),
        (b"$SYS/#", b"$SYS/a", True), (b"+/#", b"#", True), (b"#", b"+/#", True),
        (b"a/#", b"a", True), (b"a/#", b"a/+/b", True), (b"a/+", b"a/#", False),
        (b"a/+/#", b"a/#", False), (b"+", b"#", False), (b"+/b", b"a/b", True),
        (b"+/b", b"+/+", False), (b"a/b", b"a/+", False), (b"+/a", b"$x/a", False),
        (b"a", b"a", True), (b"a/+", b"a/b/c", False), (b"a/b/c", b"a/b", False),
    ],
)  # fmt: skip
def test_what_covers_what(wide: bytes, narrow: bytes, *, expected: bool) -> None:
    assert covers(wide, narrow) is expected


@pytest.mark.parametrize(
    "topic",
    [b"a", b"/", b" ", b"a//b", "ä/€".encode(), b"a" * 65_535, b"$x", b"a.b*c", b"/" * 30_000],
)
def test_topics_that_are_some(topic: bytes) -> None:
    check_topic(topic)
    assert is_topic(topic)


@pytest.mark.parametrize(
    "topic", [b"", b"a/+", b"#", b"a+b", b"a#", b"\xff", b"a\0b", b"\xed\xa0\x80", b"a" * 65_536]
)
def test_topics_that_are_none_are_told_in_a_line(topic: bytes) -> None:
    with pytest.raises(InvalidTopic) as caught:
        check_topic(topic)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert isinstance(caught.value, NotText) == (topic in (b"\xff", b"a\0b", b"\xed\xa0\x80"))
    assert not is_topic(topic)


@pytest.mark.parametrize(
    "filter", [b"#", b"+", b"a/#", b"+/+/#", b"/+", b"//", b"a" * 65_535, b"/" * 30_000, b"$share"]
)
def test_filters_that_are_some(filter: bytes) -> None:
    check_filter(filter)


@pytest.mark.parametrize(
    "filter",
    [
        b"", b"a#", b"#/a", b"a/#/b", b"a+", b"+a/b", b"##", b"++", b"\xff/#", b"\0", b"a" * 65_536,
        b"a/" * LEVELS_MAX + b"#", b"/" * 30_000 + b"#",
    ],
)  # fmt: skip
def test_filters_that_are_none_are_told_in_a_line(filter: bytes) -> None:
    with pytest.raises(InvalidFilter) as caught:
        check_filter(filter)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_filters_of_shared_subscriptions() -> None:
    assert shared(b"a/b") is None
    assert shared(b"$share") is None
    assert shared(b"$share/g/a/#") == Shared(b"g", b"a/#")
    assert shared(b"$share/g//a") == Shared(b"g", b"/a")
    for bad in (b"$share/", b"$share/g", b"$share/g/", b"$share//a", b"$share/+/a", b"$share/g#/a"):
        with pytest.raises(InvalidFilter):
            shared(bad)


def test_a_deep_topic_costs_what_the_tree_is_deep() -> None:
    tree: FilterTree[str, int] = FilterTree()
    tree.add(b"/".join([b"+"] * (LEVELS_MAX - 1)) + b"/#", "deep", 1)
    tree.add(b"/" * 30_000, "name", 2)
    topic = b"/" * 30_000
    assert tree.matching(topic) == [{"name": 2}, {"deep": 1}]
    assert tree.matching(b"/" * (LEVELS_MAX - 3)) == []
    assert tree.nodes == LEVELS_MAX - 1


def test_what_takes_many_looks_is_for_a_search() -> None:
    """Filters that match nothing, but all begin as the topic does."""
    tree: FilterTree[int, int] = FilterTree()
    for number in range(1 << 12):
        bits = f"{number:012b}"
        tree.add(b"/".join(b"+" if it == "1" else b"a" for it in bits) + b"/x", number, number)
    topic = b"/".join([b"a"] * 12 + [b"y"])
    assert tree.matching(topic) is None
    assert searched(tree, topic) == []
    assert len(searched(tree, topic[:-1] + b"x")) == 1 << 12
