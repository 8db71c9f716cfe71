"""What stands above logs, over a log whose bytes are elsewhere and to which others append."""

import threading

import pytest
from broker_parts import memory_topic, numbered
from clock import NOW_MS
from far_log import FarLog
from memory_log import MemoryLog
from storage_kit import a_batch

from logstore.broker.consumer import Consumer
from logstore.broker.producer import Producer
from logstore.broker.reading import fetched
from logstore.broker.replay import replay
from logstore.broker.topic import Position
from logstore.errors import LogFailed


def far_topic(partitions=1, **settings):
    """Others have appended 7 records to each partition, and nobody here knows of them yet."""
    topic = memory_topic(partitions, log=FarLog, **settings)
    for log in topic.partitions:
        log.append_elsewhere(a_batch(*[b"theirs"] * 7))
    return topic


def test_append_tells_where_the_record_stands_not_what_was_guessed():
    topic = far_topic()
    assert topic.append(b"a") == Position(0, 7, NOW_MS)
    topic.partitions[0].append_elsewhere(a_batch(b"theirs"))
    assert topic.append(b"b") == Position(0, 9, NOW_MS)


def test_append_many_tells_where_each_stands():
    topic = far_topic(2, max_message_bytes="200")
    positions = topic.append_many(numbered(40, key=None), partition=1)
    assert len(topic.partitions[1]._marks) > 1  # several batches
    assert [(it.partition, it.offset) for it in positions] == [(1, 7 + n) for n in range(40)]


def test_a_producer_counts_as_acknowledged_what_is_safe():
    topic = far_topic()
    with Producer(topic, batch_bytes=1) as producer:
        producer.send(b"a")
        producer.send(b"b")
        topic.partitions[0].safe = 7  # a fetch has told of what others appended
        assert producer.acknowledged == 0
        topic.partitions[0].arrive()
        assert producer.acknowledged == 2


# Reading: nothing is here before it was asked for


class Arriving(FarLog):
    """What was asked for arrives on another thread, some time after somebody watches."""

    def __init__(self, name):
        super().__init__(name)
        self.threads = []

    def watch(self, wake):
        stop = super().watch(wake)
        self.threads.append(threading.Thread(target=self.arrive))
        self.threads[-1].start()
        return stop

    def read(self, at, bytes_max):
        found = super().read(at, bytes_max)
        if self.asked and self.watched:  # asked for again, while it is watched
            self.threads.append(threading.Thread(target=self.arrive))
            self.threads[-1].start()
        return found


def filled(log, batches=5):
    append = log.append_elsewhere if isinstance(log, FarLog) else log.append
    for number in range(batches):
        append(a_batch(b"%d" % number, at_ms=NOW_MS + number))
    if isinstance(log, FarLog):
        log.arrive()
    return log


def offsets(records):
    return [record.offset for record in records]


@pytest.mark.long
def test_iterating_does_not_end_before_the_end():
    log = filled(Arriving("t-0"))
    with Consumer({("t", 0): log}, {("t", 0): 0}) as consumer:
        assert offsets(consumer) == [0, 1, 2, 3, 4]
        assert consumer.ended
    assert log.watched == 0


class Failing(FarLog):
    """Its topic is deleted once somebody watches it; nothing more arrives, or is told."""

    def watch(self, wake):
        stop = super().watch(wake)
        self.fail()
        return stop

    def read(self, at, bytes_max):
        assert len(self.asked) < 10, "whoever reads waits for ever"
        return super().read(at, bytes_max)


def test_nobody_waits_for_records_of_a_log_that_has_failed():
    log = filled(Failing("t-0"))
    with pytest.raises(LogFailed, match="another node owns it"):
        fetched(log, 0, 100)
    assert log.watched == 0


def test_polling_gives_nothing_in_time_though_it_is_not_the_end():
    log = filled(FarLog("t-0"))
    with Consumer({("t", 0): log}, {("t", 0): 0}) as consumer:
        assert consumer.poll(timeout_s=0) == []
        assert not consumer.ended
        log.arrive()
        assert offsets(consumer.poll(timeout_s=0)) == [0, 1, 2, 3, 4]
        assert consumer.poll(timeout_s=0) == []
        assert consumer.ended


def test_a_partition_that_is_here_does_not_wait_for_another_that_is_not():
    here, far = filled(MemoryLog("t-0")), filled(FarLog("t-1"))
    logs = {("t", 0): far, ("t", 1): here}
    with Consumer(logs, dict.fromkeys(logs, 0)) as consumer:
        assert {record.partition for record in consumer.poll(timeout_s=0)} == {1}
        assert consumer.poll(timeout_s=0) == []
        far.arrive()
        assert {record.partition for record in consumer.poll(timeout_s=0)} == {0}


def test_a_replay_plays_all_that_was_there():
    logs = {("t", 0): filled(Arriving("t-0")), ("t", 1): filled(Arriving("t-1"), 3)}
    played = [record.offset for records in replay(logs, None, None, 0.0) for record in records]
    assert sorted(played) == [0, 0, 1, 1, 2, 2, 3, 4]


def test_a_thread_that_may_wait_gets_nothing_only_at_the_end():
    log = filled(Arriving("t-0"))
    assert [batch.base_offset for batch in fetched(log, 3, 1 << 20)] == [3, 4]
    assert (list(fetched(log, 5, 1 << 20)), log.watched) == ([], 0)
