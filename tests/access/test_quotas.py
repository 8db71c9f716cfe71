"""Whose quota counts, how long one has to wait, and which connections are too many."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.access import quotas as module
from logstore.access.quotas import (
    CONNECTION_RATE,
    CONNECTIONS,
    CONSUMER_RATE,
    NOBODY,
    PRODUCER_RATE,
    SAMPLES,
    Meter,
    Quotas,
)
from logstore.kept.users import KeptQuota

NOW = 1000.0


def quotas(*given):
    """With pairs of an entity, as a dict, and its values."""
    return Quotas(kept(*given))


def kept(*given):
    found = [KeptQuota(tuple(sorted(entity.items())), values) for entity, values in given]
    return SimpleNamespace(version=0, quotas={it.entity: it for it in found})


def rate(limit):
    return {PRODUCER_RATE: float(limit)}


def test_without_quotas_nobody_waits():
    found = quotas()
    assert found.take(PRODUCER_RATE, "al", "c", 1 << 60, NOW) == 0
    assert found.window(PRODUCER_RATE, "al", "c") is None


# Of each entity the window says whose quota it was.
PRECEDENCE = [
    {"user": "al", "client-id": "c"},
    {"user": "al", "client-id": None},
    {"user": "al"},
    {"user": None, "client-id": "c"},
    {"user": None, "client-id": None},
    {"user": None},
    {"client-id": "c"},
    {"client-id": None},
]


@pytest.mark.parametrize("first", range(len(PRECEDENCE)))
def test_the_most_particular_quota_counts(first):
    given = [(entity, rate(number + 1)) for number, entity in enumerate(PRECEDENCE)][first:]
    others = [({"user": "bo"}, rate(100)), ({"user": "al", "client-id": "d"}, rate(100))]
    found = quotas(*given[::-1], *others, ({"ip": "al"}, rate(100)))
    assert found.window(PRODUCER_RATE, "al", "c") == 10 * (first + 1)


def test_a_quota_of_another_key_does_not_count():
    found = quotas(({"user": "al"}, {CONSUMER_RATE: 1.0}), ({"user": None}, rate(7)))
    assert found.window(PRODUCER_RATE, "al", "c") == 70
    assert found.window(CONSUMER_RATE, "al", "c") == 10
    assert found.window(CONSUMER_RATE, "bo", "c") is None


def test_who_has_not_said_who_he_is_has_a_name():
    found = quotas(({"user": NOBODY}, rate(3)))
    assert found.window(PRODUCER_RATE, "", "c") == 30


def test_connections_of_one_user_share_what_he_is_given():
    found = quotas(({"user": "al"}, rate(100)))
    assert found.take(PRODUCER_RATE, "al", "c", 600, NOW) == 0
    assert found.take(PRODUCER_RATE, "al", "d", 600, NOW) == pytest.approx(2)
    assert found.take(PRODUCER_RATE, "bo", "c", 10**9, NOW) == 0


def test_a_default_gives_each_as_much():
    found = quotas(({"user": None}, rate(100)))
    assert found.take(PRODUCER_RATE, "al", "c", 2000, NOW) == pytest.approx(10)
    assert found.take(PRODUCER_RATE, "bo", "c", 900, NOW) == 0
    found = quotas(({"user": None, "client-id": None}, rate(100)))
    assert found.take(PRODUCER_RATE, "al", "c", 2000, NOW) == pytest.approx(10)
    assert found.take(PRODUCER_RATE, "al", "d", 900, NOW) == 0


def test_what_is_given_back_does_not_count():
    found = quotas(({"user": "al"}, rate(100)))
    assert found.take(PRODUCER_RATE, "al", "c", 5000, NOW) == pytest.approx(40)
    found.give_back(PRODUCER_RATE, "al", "c", 5000, NOW)
    assert found.take(PRODUCER_RATE, "al", "c", 1000, NOW) == 0


def test_a_quota_that_is_changed_counts_at_once_and_what_was_used_stays():
    given = kept(({"user": "al"}, rate(100)))
    found = Quotas(given)
    assert found.take(PRODUCER_RATE, "al", "c", 900, NOW) == 0
    given.quotas = kept(({"user": "al"}, rate(50))).quotas
    given.version += 1
    assert found.take(PRODUCER_RATE, "al", "c", 100, NOW) == pytest.approx(10)
    given.quotas, given.version = {}, 2
    assert found.take(PRODUCER_RATE, "al", "c", 10**9, NOW) == 0


def test_who_goes_on_for_long_gets_what_he_is_given():
    """Sends as fast as he may, in pieces of many sizes."""
    found, now, sent = quotas(({"user": "al"}, rate(1000))), NOW, 0
    for number in range(3000):
        size = (1, 700, 3000, 12)[number % 4]
        sent += size
        now += found.take(PRODUCER_RATE, "al", "c", size, now) + 0.001
    assert sent / (now - NOW) == pytest.approx(1000, rel=0.02)


def test_client_ids_without_end_take_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(module, "METERS_MAX", 100)
    found = quotas(({"client-id": None}, rate(1)))
    for number in range(500):
        found.take(PRODUCER_RATE, "", "x" * 5000 + str(number), 1, NOW)
        found.take(PRODUCER_RATE, "", str(number), 1, NOW)
    assert len(found._meters) <= 100
    assert len(found._matches) <= 100
    assert max(len(client_id) for _, _, client_id in found._matches) <= 255


class NaiveMeter:
    """Kafka's Rate over SampledStat, said again: all that was ever recorded, in fractions."""

    def __init__(self):
        self.samples = []

    def add(self, amount, now):
        self.samples = [it for it in self.samples if now - it[0] < SAMPLES]
        if not self.samples or now - self.samples[-1][0] >= 1:
            self.samples.append([now, Fraction(0)])
        self.samples[-1][1] += amount

    def wait_s(self, limit, now):
        if not self.samples:
            return 0
        elapsed = now - self.samples[0][0]
        full = elapsed // 1
        window = elapsed + max(SAMPLES - 1 - full, 0)
        rate = sum(it[1] for it in self.samples) / window
        return max((rate - limit) / limit * window, 0)


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 5000)), max_size=60),
    st.integers(1, 2000),
)
def test_a_rate_is_measured_as_kafka_does(steps, limit):
    meter, naive, at = Meter(), NaiveMeter(), Fraction(0)
    for eighths, amount in steps:  # of seconds, so that floats are exact
        at += Fraction(eighths, 8)
        meter.add(amount, float(at))
        naive.add(amount, at)
        assert meter.wait_s(limit, float(at)) == pytest.approx(float(naive.wait_s(limit, at)))


# Connections


def test_an_address_that_comes_too_often_is_turned_away_for_a_time():
    found = quotas(({"ip": "10.0.0.1"}, {CONNECTION_RATE: 2.0}))
    for _ in range(20):
        assert found.arrived("10.0.0.1", NOW) is None
    turned = found.arrived("10.0.0.1", NOW)
    assert (turned.why, turned.after_s) == (
        "connection_creation_rate of 10.0.0.1 is 2", pytest.approx(0.5),
    )  # fmt: skip
    assert found.arrived("10.0.0.1", NOW + 0.4) is not None
    assert found.arrived("10.0.0.1", NOW + 12) is None
    for _ in range(100):
        assert found.arrived("10.0.0.2", NOW) is None


def test_a_default_of_addresses_gives_each_as_much_and_ones_own_counts_first():
    found = quotas(
        ({"ip": None}, {CONNECTIONS: 1.0}), ({"ip": "10.0.0.1"}, {CONNECTIONS: 2.0}),
    )  # fmt: skip
    assert [found.arrived(it, NOW) is None for it in ("10.0.0.1", "10.0.0.1", "10.0.0.1")] == [
        True, True, False,
    ]  # fmt: skip
    assert [found.arrived("10.0.0.2", NOW) is None for _ in range(2)] == [True, False]
    found.left("10.0.0.1")
    assert found.arrived("10.0.0.1", NOW) is None
    assert found.arrived("10.0.0.1", NOW).after_s == 0


def test_connections_from_before_there_was_a_quota_count():
    given = kept()
    found = Quotas(given)
    for _ in range(3):
        assert found.arrived("10.0.0.1", NOW) is None
    given.quotas, given.version = kept(({"ip": None}, {CONNECTIONS: 3.0})).quotas, 1
    assert found.arrived("10.0.0.1", NOW) is not None
    for _ in range(3):
        found.left("10.0.0.1")
    assert found._there == {}


def test_a_user_has_so_many_connections():
    found = quotas(({"user": "al"}, {CONNECTIONS: 2.0}))
    assert [found.enter("al") for _ in range(3)] == [None, None, 2]
    assert [found.enter("bo") for _ in range(3)] == [None, None, None]
    found.leave("al")
    assert found.enter("al") is None
