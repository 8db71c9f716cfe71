"""The least and the largest of many varints, against those that are found one by one."""

import random

import pytest
from mostly_long import mostly_long

from logstore.records.alike import extremes
from logstore.records.varint import signed

COUNTS = [1, 2, 3, 16, 17, 63, 64, 100, 2047, 2048]


def varint(zigzag, width):
    lower = [zigzag >> 7 * nth & 0x7F | 0x80 for nth in range(width - 1)]
    return bytes([*lower, zigzag >> 7 * (width - 1)])


def numbers(chance, count, width, signs):
    """Some close to each other and some as far apart as they can be."""
    bits = chance.choice([3, 7 * width])
    for _ in range(count):
        yield chance.getrandbits(bits) & ~1 | chance.choice(signs)


def found(zigzags, width):
    rows = [varint(it, width) for it in zigzags]
    return extremes([bytes(column) for column in zip(*rows, strict=True)])


@pytest.mark.parametrize("signs", [(0,), (1,), (0, 1)], ids=["positive", "negative", "both"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", mostly_long(COUNTS, [3, 17, 64]))
def test_the_least_and_the_largest_are_those_of_all(count, width, signs):
    chance = random.Random(f"{count} {width} {signs}")
    for _ in range(20 if count < 1000 else 2):
        zigzags = list(numbers(chance, count, width, signs))
        for ordered in (zigzags, sorted(zigzags), sorted(zigzags, reverse=True)):
            whole = list(map(signed, ordered))
            assert found(ordered, width) == (min(whole), max(whole))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", [0, 1, 31, 62, 63])
def test_one_that_differs_is_found_wherever_it_is(place, width):
    top = 128**width - 2  # the largest that is not negative
    for usual, other in ((10, 12), (12, 10), (top, top - 2), (0, top), (10, 11), (11, 13)):
        zigzags = [usual] * 64
        zigzags[place] = other
        whole = (signed(usual), signed(other))
        assert found(zigzags, width) == (min(whole), max(whole))
