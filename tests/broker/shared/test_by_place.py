"""What there is of partitions, by place: as a plain dictionary has it."""

import random

import pytest

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.by_place import ByPlace

TOPICS = [bytes((n,)) * 16 for n in range(3)]


def wholes():
    yield from (Place(group) for group in "ab")
    yield from (Place(group, topic) for group in "ab" for topic in TOPICS)
    yield from (Place(g, topic, n) for g in "ab" for topic in TOPICS for n in range(3))


def is_within(place, whole):
    return all(theirs in (None, ours) for ours, theirs in zip(place, whole, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_it_is_as_a_dictionary(seed):
    rng, found, expected = random.Random(seed), ByPlace(), {}
    print(f"seed {seed}")
    places = [it for it in wholes() if it.partition is not None]
    for value in range(60):
        place = rng.choice(places)
        if rng.random() < 0.6:
            found.put(place, value)
            expected[place] = value
        else:
            assert found.pop(place) == expected.pop(place, None)
        assert len(found) == len(expected)
        assert [found.get(it) for it in places] == [expected.get(it) for it in places]
        for whole in wholes():
            within = {it for it in expected if is_within(it, whole)}
            assert set(found.within(whole)) == within
            assert found.has(whole) is bool(within)
        for group in "ab":
            topics = sorted({it.topic_id for it in expected if it.group == group})
            assert found.topics(group) == topics
            for topic in TOPICS:
                assert found.partitions(group, topic) == sorted(
                    it.partition for it in expected if it[:2] == (group, topic)
                )
        assert set(found.topic_ids()) == {it.topic_id for it in expected}
        for topic in TOPICS:
            groups = {it.group for it in expected if it.topic_id == topic}
            assert set(found.groups_of(topic)) == groups


def test_a_whole_topic_and_a_whole_group_have_values_of_their_own():
    found = ByPlace()
    group, topic, partition = Place("a"), Place("a", TOPICS[0]), Place("a", TOPICS[0], 0)
    for value, it in enumerate((group, topic, partition)):
        found.put(it, value)
    assert [found.get(it) for it in (group, topic, partition)] == [0, 1, 2]
    assert set(found.within(group)) == {group, topic, partition}
    assert set(found.within(topic)) == {topic, partition}
    assert (found.topics("a"), found.topic_ids()) == ([TOPICS[0]], [TOPICS[0]])
    assert found.partitions("a", TOPICS[0]) == [0]
    assert (found.pop(group), found.pop(partition)) == (0, 2)
    assert list(found.within(group)) == [topic]


def test_what_is_within_may_go_meanwhile():
    found = ByPlace((Place("a", topic, n), n) for topic in TOPICS for n in range(3))
    for place in found.within(Place("a")):
        assert found.pop(place) is not None
    assert not len(found)
