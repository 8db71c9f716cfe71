import random
import warnings
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker import partitioner as module
from logstore.broker.partitioner import Partitioner, murmur2, partition_for_key

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of importlib.resources, inside
    import kafka.partitioner

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
KAFKA_OWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), KAFKA_OWN.items())
def test_murmur2_gives_kafkas_own_values(key, expected):
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(st.binary(max_size=600))
def test_murmur2_agrees_with_kafka_python(key):
    assert murmur2(key) == kafka.partitioner.murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_a_key_goes_where_kafka_pythons_default_partitioner_sends_it(key, count):
    cluster = SimpleNamespace(
        topics=lambda: {"t"},
        partitions_for_topic=lambda topic: set(range(count)),
        available_partitions_for_topic=lambda topic: set(range(count)),
    )
    default = kafka.partitioner.DefaultPartitioner()
    theirs = default.partition("t", None, key, None, None, cluster)
    assert partition_for_key(key, count) == Partitioner(count).partition(key) == theirs


@given(st.lists(st.none() | st.binary(max_size=3)), st.integers(1, 9))
def test_many_keys_go_where_each_goes(keys, count):
    partitioner = Partitioner(count)
    assert partitioner.partitions(keys) == [partitioner.partition(key) for key in keys]


def test_keyless_records_stick_until_a_batch_is_full_and_then_always_move():
    partitioner = Partitioner(4, random.Random(7))
    seen = set()
    for _ in range(100):
        before = partitioner.partition(None)
        assert partitioner.partitions([None] * 3) == [before] * 3
        partitioner.batch_full()
        assert partitioner.partition(None) != before
        seen.add(before)
    assert seen == {0, 1, 2, 3}


def test_one_partition_takes_everything():
    partitioner = Partitioner(1)
    partitioner.batch_full()
    assert partitioner.partitions([None, b"", b"a"]) == [0, 0, 0]


def test_keys_are_remembered_up_to_a_bound_and_stay_where_they_were(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 10)
    partitioner = Partitioner(5)
    keys = [b"%d" % at for at in range(100)]
    for _ in range(2):
        assert partitioner.partitions([None, *keys])[1:] == [partition_for_key(k, 5) for k in keys]
        assert len(partitioner._remembered) <= 11
    assert partitioner.partition(None) == partitioner.sticky


def test_long_keys_are_not_remembered():
    partitioner = Partitioner(5)
    long = [bytes([at]) * 100_000 for at in range(20)]
    assert partitioner.partitions(long) == [partition_for_key(key, 5) for key in long]
    assert sum(len(key or b"") for key in partitioner._remembered) < 100_000
