"""Consistent hashing: fair by weight, stable over restarts, calm when queues come and go."""

from collections import Counter

import pytest

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.consistent_hash import ConsistentHash, hash_of
from logstore.broker.routing.properties import NO_PROPERTIES, PlainProperties
from logstore.broker.routing.refusals import ConflictingArguments, InvalidArgument, InvalidWeight

KEYS = [b"key-%d" % number for number in range(6000)]


def matcher_of(weights, **arguments):
    named = {name.replace("_", "-").encode(): Field("S", it) for name, it in arguments.items()}
    matcher = ConsistentHash(Arguments.of(named), lambda count: 0)
    for name, weight in weights.items():
        matcher.add(binding(name, weight), name)
    return matcher


def binding(name, weight):
    return Binding(b"x", name, b"%d" % weight)


def places(matcher):
    return {key: next(iter(matcher.match([key], NO_PROPERTIES))) for key in KEYS}


def test_each_gets_its_share_by_weight():
    weights = {b"a": 1, b"b": 1, b"c": 2, b"d": 8}
    counts = Counter(places(matcher_of(weights)).values())
    for name, weight in weights.items():
        share = len(KEYS) * weight / 12
        # Four standard deviations of a fair choice.
        assert abs(counts[name] - share) < 4 * (share * (1 - weight / 12)) ** 0.5


def test_the_order_of_binding_means_nothing():
    weights = {b"%d" % number: number % 3 + 1 for number in range(9)}
    again = dict(reversed(weights.items()))
    assert places(matcher_of(weights)) == places(matcher_of(again))


def test_places_are_the_same_in_every_process_and_release():
    matcher = matcher_of({b"a": 1, b"b": 2, b"c": 3})
    found = [next(iter(matcher.match([b"%d" % it], NO_PROPERTIES))) for it in range(12)]
    assert b"".join(found) == b"cbccbbbbbbca"
    assert hash_of(b"key") == 0xCE7CCCADC3A94CF5


def test_a_new_queue_takes_keys_only_for_itself():
    weights = {b"a": 1, b"b": 2, b"c": 3}
    before, after = places(matcher_of(weights)), places(matcher_of(weights | {b"d": 2}))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {b"d"}
    assert 0 < len(moved) < len(KEYS) / 3


def test_a_queue_that_goes_leaves_all_other_keys_where_they_are():
    weights = {b"a": 1, b"b": 2, b"c": 3}
    matcher = matcher_of(weights)
    before = places(matcher)
    matcher.remove(binding(b"b", 2), b"b")
    after = places(matcher)
    assert {before[key] for key in KEYS if before[key] != after[key]} == {b"b"}
    assert set(after.values()) == {b"a", b"c"}
    matcher.add(binding(b"b", 2), b"b")
    assert places(matcher) == before


def test_the_last_queue_that_goes_leaves_no_route():
    matcher = matcher_of({b"a": 1})
    matcher.remove(binding(b"a", 1), b"a")
    assert list(matcher.match([b"key"], NO_PROPERTIES)) == []


def test_the_first_binding_of_a_queue_says_its_weight_until_it_goes():
    matcher = matcher_of({b"a": 1, b"b": 1})
    even = places(matcher)
    matcher.add(binding(b"b", 50), b"b")
    assert places(matcher) == even
    matcher.remove(binding(b"b", 1), b"b")
    assert places(matcher) == places(matcher_of({b"a": 1, b"b": 50}))


def test_only_the_first_routing_key_is_hashed():
    matcher = matcher_of({b"a": 1, b"b": 1, b"c": 1})
    for key in KEYS[:50]:
        assert matcher.match([key, b"x"], NO_PROPERTIES) == matcher.match([key], NO_PROPERTIES)


def test_a_header_is_hashed_instead_of_the_key():
    matcher = matcher_of({b"a": 1, b"b": 1, b"c": 1}, hash_header=b"user")
    assert not matcher.by_key
    found = set()
    for number in range(50):
        for value in (number, b"%d" % number, [number], {"id": number}):
            of = PlainProperties({b"user": value})
            [one] = matcher.match([b"k1"], of)
            assert matcher.match([b"k2"], of) == (one,)
            found.add(one)
    assert found == {b"a", b"b", b"c"}
    assert matcher.match([b"k1"], PlainProperties({b"user": "é"})) == matcher.match(
        [b"k1"], PlainProperties({b"user": "é".encode()})
    )
    without = {matcher.match([key], NO_PROPERTIES) for key in KEYS[:50]}
    assert len(without) == 1


@pytest.mark.parametrize("name", [b"correlation_id", b"message_id", b"timestamp"])
def test_a_property_is_hashed_instead_of_the_key(name):
    matcher = matcher_of({b"a": 1, b"b": 1, b"c": 1}, hash_property=name)
    assert not matcher.by_key
    found = set()
    for number in range(50):
        value = number if name == b"timestamp" else b"%d" % number
        of = PlainProperties(**{name.decode(): value})
        [one] = matcher.match([b"k1"], of)
        assert matcher.match([b"k2"], of) == (one,)
        found.add(one)
    assert found == {b"a", b"b", b"c"}
    assert len({matcher.match([key], NO_PROPERTIES) for key in KEYS[:50]}) == 1


def test_arguments_that_cannot_be_are_refused():
    with pytest.raises(ConflictingArguments):
        matcher_of({}, hash_header=b"a", hash_property=b"message_id")
    with pytest.raises(InvalidArgument) as refused:
        matcher_of({}, hash_property=b"app_id")
    assert refused.value.argument == b"hash-property"
    for name in (b"hash-header", b"hash-property"):
        with pytest.raises(InvalidArgument):
            ConsistentHash(Arguments.of({name: Field("I", 1)}), lambda count: 0)
    assert ConsistentHash(NO_ARGUMENTS, lambda count: 0).by_key


@pytest.mark.parametrize("key", [b"", b"0", b"-1", b"1.5", b" 1", b"1_0", b"x", b"0x1", b"1\n"])
def test_a_weight_that_is_none_is_refused(key):
    matcher = ConsistentHash(NO_ARGUMENTS, lambda count: 0)
    with pytest.raises(InvalidWeight) as refused:
        matcher.add(Binding(b"x", b"q", key), "q")
    assert refused.value.key == key
    assert list(matcher.match([b"key"], NO_PROPERTIES)) == []


@pytest.mark.parametrize("key", [b"1", b"+2", b"007", b"9" * 255])
def test_any_positive_integer_is_a_weight(key):
    matcher = ConsistentHash(NO_ARGUMENTS, lambda count: 0)
    matcher.add(Binding(b"x", b"q", key), "q")
    assert list(matcher.match([b"key"], NO_PROPERTIES)) == ["q"]
