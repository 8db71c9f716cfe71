"""What stands above logs, over a log whose bytes are elsewhere and to which others append."""

from broker_parts import memory_topic, numbered
from clock import NOW_MS
from far_log import FarLog
from storage_kit import a_batch

from logstore.broker.producer import Producer
from logstore.broker.topic import Position


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
