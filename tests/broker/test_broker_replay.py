import random

import pytest
from broker_parts import memory_topic
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker import reading
from logstore.broker import replay as module
from logstore.broker.replay import replay
from logstore.records.record import Message


class Time:
    """A clock that moves by ``sleep`` alone."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def topic_of(*timestamps):
    """A topic with these timestamps in its partitions, one record a batch."""
    topic = memory_topic(len(timestamps))
    for number, each in enumerate(timestamps):
        for at in each:
            topic.append(b"%d" % at, timestamp_ms=at, partition=number)
    return topic


def played(topic, from_ms=None, to_ms=None, speed=0.0, time=None):
    time = time or Time()
    logs = {("t", number): log for number, log in enumerate(topic.partitions)}
    return list(replay(logs, from_ms, to_ms, speed, time.clock, time.sleep))


def stamps(lists):
    return [record.timestamp_ms for records in lists for record in records]


def test_records_of_all_partitions_come_in_the_order_of_their_timestamps():
    topic = topic_of([1, 4, 7], [2, 3, 9], [], [5])
    assert stamps(played(topic)) == [1, 2, 3, 4, 5, 7, 9]


def test_from_is_included_and_to_is_not():
    topic = topic_of([10, 20, 30], [15, 20, 40])
    assert stamps(played(topic, 15, 30)) == [15, 20, 20]
    assert stamps(played(topic, 20, 20)) == []
    assert stamps(played(topic, 41)) == []
    assert stamps(played(topic, None, 16)) == [10, 15]


def test_a_late_record_is_found_and_comes_where_its_partition_has_it():
    topic = topic_of([10, 30, 12, 40])
    assert stamps(played(topic, 11, 35)) == [30, 12]


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=3),
    st.none() | st.integers(-1, 51),
    st.none() | st.integers(-1, 51),
)
def test_exactly_the_records_between_the_bounds_each_partition_in_its_order(parts, from_ms, to_ms):
    found = [record for records in played(topic_of(*parts), from_ms, to_ms) for record in records]
    low, high = -1 if from_ms is None else from_ms, 99 if to_ms is None else to_ms
    for number, each in enumerate(parts):
        mine = [r for r in found if r.partition == number]
        assert [r.timestamp_ms for r in mine] == [at for at in each if low <= at < high]
        assert [r.offset for r in mine] == sorted(r.offset for r in mine)
    if all(each == sorted(each) for each in parts):
        assert stamps([found]) == sorted(stamps([found]))


def test_trimmed_records_are_not_missed():
    topic = topic_of(list(range(10)))
    topic.partitions[0].trim(4)
    assert stamps(played(topic)) == [4, 5, 6, 7, 8, 9]
    assert stamps(played(topic, 2, 6)) == [4, 5]


def test_speed_zero_never_waits_and_bounds_its_lists(monkeypatch):
    monkeypatch.setattr(module, "RECORDS_AT_ONCE", 10)
    time = Time()
    lists = played(topic_of(list(range(0, 25_000, 1000))), time=time)
    assert time.slept == []
    assert [len(records) for records in lists] == [10, 10, 5]


def test_records_come_when_they_are_due():
    time = Time()
    topic = topic_of([0, 1000, 1000, 5000])
    logs = {("t", 0): topic.partitions[0]}
    lists = replay(logs, None, None, 2.0, time.clock, time.sleep)
    came = [(time.now - 1000, stamps([records])) for records in lists]
    assert time.slept == [0.5, 2.0]
    assert came == [(0.0, [0]), (0.5, [1000, 1000]), (2.5, [5000])]


def test_a_slow_receiver_is_not_made_to_wait_for_the_time_it_took():
    time = Time()
    topic = topic_of([0, 10_000, 20_000])
    came = []
    for records in replay({("t", 0): topic.partitions[0]}, None, None, 1.0, time.clock, time.sleep):
        came.append(time.now - 1000)
        time.now += 4.0 if records[0].timestamp_ms == 0 else 15.0
    assert came == [0.0, 10.0, 25.0]
    assert time.slept == [6.0]


def test_a_late_record_is_due_at_once():
    time = Time()
    played(topic_of([10_000, 30_000, 12_000]), speed=1.0, time=time)
    assert time.slept == [20.0]


def test_what_is_appended_after_the_start_is_not_replayed():
    topic = topic_of([1, 2])
    lists = replay({("t", 0): topic.partitions[0]}, None, None, 1.0, Time().clock, Time().sleep)
    first = next(lists)
    topic.append(b"", timestamp_ms=3)
    assert stamps([first, *lists]) == [1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_large_partitions_are_read_in_pieces(seed, monkeypatch):
    monkeypatch.setattr(reading, "READ_BYTES", 200)
    rng = random.Random(seed)
    topic = memory_topic(3)
    stamps_of = [sorted(rng.sample(range(5000), 100)) for _ in range(3)]
    for number, each in enumerate(stamps_of):
        for begin in range(0, 100, 7):
            messages = [Message(b"", None, (), at) for at in each[begin : begin + 7]]
            topic.append_many(messages, partition=number)
    assert stamps(played(topic, 1000, 4000)) == sorted(
        at for each in stamps_of for at in each if 1000 <= at < 4000
    )
