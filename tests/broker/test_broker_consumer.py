import gc
import threading

import pytest
from broker_parts import DEADLINE_S, Members, UnsyncedLog, memory_topic, numbered, taken

from logstore.broker.consumer import Consumer
from logstore.errors import (
    Closed,
    CorruptBatch,
    Failed,
    OffsetAboveEnd,
    OffsetBelowStart,
    UnknownPartition,
)
from logstore.records.batch import Batch
from logstore.records.encode import encode
from logstore.records.record import Message

P0, P1 = ("t", 0), ("t", 1)
NEVER_S = 1e6


def consumer_of(topic, *, at=0, members=None, **options):
    logs = {("t", number): log for number, log in enumerate(topic.partitions)}
    options.setdefault("commit_s", NEVER_S)
    return Consumer(logs, dict.fromkeys(logs, at), membership=members, **options)


def filled(count, partitions=1, *, each=None):
    """A topic with ``count`` records in each partition, ``each`` to a batch."""
    topic = memory_topic(partitions)
    for number in range(partitions):
        messages = numbered(count)
        for begin in range(0, count, each or count):
            topic.append_many(messages[begin : begin + (each or count)], partition=number)
    return topic


def offsets(records):
    return [record.offset for record in records]


# Reading


def test_iteration_gives_all_and_ends():
    topic = filled(10, each=3)
    consumer = consumer_of(topic)
    assert offsets(consumer) == list(range(10))
    assert list(consumer) == []
    topic.append(b"more")
    assert offsets(consumer) == [10]


def test_records_carry_topic_and_partition():
    topic = filled(2, partitions=2)
    assert sorted((r.topic, r.partition, r.offset) for r in consumer_of(topic)) == [
        ("t", 0, 0),
        ("t", 0, 1),
        ("t", 1, 0),
        ("t", 1, 1),
    ]


def test_reading_begins_at_the_position_within_a_batch_too():
    assert offsets(consumer_of(filled(10, each=4), at=6)) == [6, 7, 8, 9]


def test_what_is_not_safe_is_not_read():
    topic = memory_topic(log=UnsyncedLog)
    log = topic.partitions[0]
    topic.append(b"synced")
    log.append(encode([(b"written", None, (), 0)]))
    log.read = lambda at, size: [b for b in UnsyncedLog.read(log, at, size) if b.next_offset <= 1]
    consumer = consumer_of(topic)
    assert offsets(consumer) == [0]
    assert consumer.ended


def test_control_records_are_left_out_and_passed_by():
    topic = memory_topic()
    log, members = topic.partitions[0], Members()
    log.append(encode([(b"0", None, (), 0)]))
    log.append(encode([(b"\0" * 6, b"\0\0\0\1", (), 0)], control=True, transactional=True))
    log.append(encode([(b"2", None, (), 0)]))
    log.append(encode([(b"\0" * 6, b"\0\0\0\1", (), 0)], control=True, transactional=True))
    with consumer_of(topic, members=members) as consumer:
        assert offsets(consumer) == [0, 2]
        assert consumer.position("t", 0) == 4
        assert consumer.ended
    assert members.offsets == {P0: 4}


def test_a_partition_of_control_records_alone_ends_and_is_committed():
    topic, members = memory_topic(), Members()
    marker = encode([(b"\0" * 6, b"\0\0\0\1", (), 0)], control=True, transactional=True)
    topic.partitions[0].append(marker)
    with consumer_of(topic, members=members) as consumer:
        assert consumer.poll() == []
        assert list(consumer) == []
    assert members.offsets == {P0: 1}


def test_no_partition_starves():
    topic = filled(5, partitions=3)
    consumer = consumer_of(topic)
    seen = []
    for _ in range(9):
        records = consumer.poll()
        seen.append(records[0].partition)
        topic.append(b"more", partition=records[0].partition)
    assert [seen.count(number) for number in range(3)] == [3, 3, 3]


def test_poll_gives_at_most_so_many_of_one_partition():
    consumer = consumer_of(filled(5, partitions=2))
    polls = [consumer.poll(3) for _ in range(5)]
    assert [len(records) for records in polls] == [3, 2, 3, 2, 0]
    assert all(len({r.partition for r in records}) <= 1 for records in polls)


def test_iteration_goes_on_where_a_poll_stopped_and_the_other_way_round():
    consumer = consumer_of(filled(10))
    assert offsets(consumer.poll(2)) == [0, 1]
    assert offsets(taken(iter(consumer), 3)) == [2, 3, 4]
    assert offsets(consumer.poll(2)) == [5, 6]
    assert offsets(consumer) == [7, 8, 9]


def test_two_iterators_share_the_records():
    consumer = consumer_of(filled(6))
    one, other = iter(consumer), iter(consumer)
    assert offsets(r for pair in zip(one, other, strict=False) for r in pair) == list(range(6))


def test_damage_names_the_log_and_what_to_run():
    topic = filled(3)
    log = topic.partitions[0]
    data = bytearray(log._batches[0].data)
    data[-1] ^= 1
    log._batches[0] = Batch(bytes(data))
    with pytest.raises(CorruptBatch, match=r"^t-0: .*; run `logstore verify`$"):
        consumer_of(topic).poll()


def test_records_trimmed_before_they_are_read_are_told():
    topic = filled(10, each=1)
    consumer = consumer_of(topic)
    topic.partitions[0].trim(5)
    with pytest.raises(OffsetBelowStart, match="below the start, 5"):
        consumer.poll()


# Position, end, seek


def test_position_and_end():
    topic = filled(4)
    consumer = consumer_of(topic)
    assert (consumer.position("t", 0), consumer.ended) == (0, False)
    consumer.poll(3)
    assert (consumer.position("t", 0), consumer.ended) == (3, False)
    next(iter(consumer))
    assert (consumer.position("t", 0), consumer.ended) == (4, True)
    topic.append(b"")
    assert not consumer.ended
    with pytest.raises(UnknownPartition, match="t-9 is not consumed here"):
        consumer.position("t", 9)


def test_seek_counts_for_a_loop_that_is_running():
    consumer = consumer_of(filled(10))
    seen = []
    for record in consumer:
        seen.append(record.offset)
        if seen == [0, 1, 2]:
            consumer.seek("t", 0, 7)
        if seen == [0, 1, 2, 7, 8, 9]:
            consumer.seek("t", 0, 5)
    assert seen == [0, 1, 2, 7, 8, 9, 5, 6, 7, 8, 9]


def test_seek_between_polls_in_another_partition_leaves_this_one_alone():
    consumer = consumer_of(filled(4, partitions=2))
    first = consumer.poll(2)
    consumer.seek("t", 1 - first[0].partition, 3)
    rest = [(r.partition, r.offset) for r in consumer]
    here, there = first[0].partition, 1 - first[0].partition
    assert rest == [(here, 2), (here, 3), (there, 3)]


def test_seek_outside_what_is_held_is_refused_and_changes_nothing():
    topic = filled(10, each=1)
    topic.partitions[0].trim(2)
    consumer = consumer_of(topic, at=4)
    with pytest.raises(OffsetBelowStart):
        consumer.seek("t", 0, 1)
    with pytest.raises(OffsetAboveEnd):
        consumer.seek("t", 0, 11)
    with pytest.raises(UnknownPartition):
        consumer.seek("u", 0, 1)
    assert offsets(consumer) == [4, 5, 6, 7, 8, 9]
    consumer.seek("t", 0, 10)
    assert list(consumer) == []


# Following


def test_follow_waits_for_more_and_another_thread_wakes_it():
    topic = filled(2)
    consumer = consumer_of(topic, follow=True)
    seen, first = [], threading.Event()

    def read():
        for record in consumer:
            seen.append(record.offset)
            first.set()
            if record.offset == 4:
                return

    reader = threading.Thread(target=read)
    reader.start()
    assert first.wait(DEADLINE_S)
    for _ in range(3):
        topic.append(b"more")
    reader.join(DEADLINE_S)
    assert seen == [0, 1, 2, 3, 4]


def test_follow_polls_are_empty_after_the_timeout():
    consumer = consumer_of(filled(1), follow=True)
    assert len(consumer.poll(timeout_s=0)) == 1
    assert consumer.poll(timeout_s=0) == []
    assert consumer.poll(timeout_s=0.001) == []


def test_a_consumer_that_does_not_follow_never_waits():
    assert consumer_of(memory_topic()).poll(timeout_s=None) == []


def test_closing_wakes_whoever_waits_for_records():
    consumer = consumer_of(filled(1), follow=True)
    ended, read_all = [], threading.Event()
    original = consumer._awake.wait

    def wait(timeout_s=None):
        read_all.set()
        return original(timeout_s)

    consumer._awake.wait = wait

    def read():
        try:
            list(consumer)
        except Closed:
            ended.append("closed")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert read_all.wait(DEADLINE_S)
    consumer.close()
    reader.join(DEADLINE_S)
    assert ended == ["closed"]


def test_a_closed_follower_is_watched_no_more():
    topic = filled(1)
    consumer_of(topic, follow=True).close()
    assert not topic.partitions[0]._watchers


def test_a_follower_that_nobody_has_any_more_is_watched_no_more():
    topic = filled(1)
    for _ in consumer_of(topic, follow=True):
        break
    gc.collect()
    assert not topic.partitions[0]._watchers


# Use after close


def test_everything_but_close_is_refused_after_close():
    consumer = consumer_of(filled(3), members=Members())
    iterator = iter(consumer)
    next(iterator)
    consumer.close()
    consumer.close()
    for use in (
        lambda: next(iterator),
        lambda: next(iter(consumer)),
        lambda: list(consumer),
        consumer.poll,
        consumer.commit,
        lambda: consumer.seek("t", 0, 0),
    ):
        with pytest.raises(Closed):
            use()
    assert consumer.position("t", 0) == 1
    assert not consumer.ended


# Committing: what is done, and when


def test_a_clean_end_commits_what_was_handed_out_last():
    members = Members()
    with consumer_of(filled(5), members=members) as consumer:
        for record in consumer:
            if record.offset == 2:
                break
    assert members.offsets == {P0: 3}
    assert members.left == 1


def test_an_exception_leaves_the_record_handed_out_last_to_come_again():
    members = Members()
    with pytest.raises(RuntimeError), consumer_of(filled(5), members=members) as consumer:  # noqa: PT012
        for record in consumer:
            if record.offset == 2:
                raise RuntimeError
    assert members.offsets == {P0: 2}
    assert members.left == 1


@pytest.mark.parametrize("each", [1, 2, 3, 5])
@pytest.mark.parametrize("fails_at", range(5))
def test_an_exception_at_any_record_of_any_batching_commits_up_to_it(each, fails_at, monkeypatch):
    monkeypatch.setattr("logstore.broker.reading.READ_BYTES", 1)
    members = Members()
    topic = filled(5, each=each)
    with pytest.raises(KeyboardInterrupt), consumer_of(topic, members=members) as consumer:  # noqa: PT012
        for record in consumer:
            if record.offset == fails_at:
                raise KeyboardInterrupt
    assert members.offsets.get(P0, 0) == fails_at


def test_an_exception_before_the_first_record_commits_where_it_began():
    members = Members()
    with pytest.raises(RuntimeError), consumer_of(filled(5), at=3, members=members):
        raise RuntimeError
    assert members.offsets == {P0: 3}


def test_after_an_exception_the_last_poll_comes_again_and_the_one_before_does_not():
    members = Members()
    with pytest.raises(RuntimeError), consumer_of(filled(9), members=members) as consumer:  # noqa: PT012
        consumer.poll(2)
        consumer.poll(3)
        raise RuntimeError
    assert members.offsets == {P0: 2}


def test_a_clean_end_commits_the_last_poll():
    members = Members()
    with consumer_of(filled(9), members=members) as consumer:
        consumer.poll(2)
        consumer.poll(3)
    assert members.offsets == {P0: 5}


def test_commit_counts_everything_handed_out():
    members = Members()
    consumer = consumer_of(filled(5), members=members)
    next(iter(consumer))
    consumer.commit()
    assert members.offsets == {P0: 1}
    consumer.poll(2)
    consumer.commit()
    assert members.offsets == {P0: 3}
    consumer.close(last_done=False)
    assert members.offsets == {P0: 3}


def test_an_exception_takes_no_commit_back():
    members = Members()
    with pytest.raises(RuntimeError), consumer_of(filled(5), members=members) as consumer:  # noqa: PT012
        next(iter(consumer))
        consumer.commit()
        raise RuntimeError
    assert members.offsets == {P0: 1}


def test_without_a_group_commit_does_nothing():
    consumer = consumer_of(filled(5))
    consumer.poll()
    consumer.commit()
    consumer.close()


def test_only_what_has_moved_is_committed_after_the_first_time():
    members = Members()
    consumer = consumer_of(filled(2, partitions=2), members=members)
    consumer.commit()
    partition = consumer.poll()[0].partition
    consumer.commit()
    consumer.commit()
    assert members.commits == [{P0: 0, P1: 0}, {("t", partition): 2}]
    consumer.close()


def test_where_a_consumer_began_is_committed_even_when_nothing_came():
    members = Members()
    with consumer_of(filled(4), at=4, members=members) as consumer:
        assert list(consumer) == []
    assert members.offsets == {P0: 4}


def test_what_the_group_had_committed_already_is_not_committed_again():
    members = Members()
    with consumer_of(filled(4), at=4, members=members, committed={P0: 4}):
        pass
    assert members.commits == []


def test_a_seek_back_is_committed():
    members = Members()
    with consumer_of(filled(4), members=members) as consumer:
        list(consumer)
        consumer.commit()
        consumer.seek("t", 0, 1)
    assert members.offsets == {P0: 1}


def test_a_seek_gives_back_what_was_polled():
    members = Members()
    with consumer_of(filled(9), members=members) as consumer:
        consumer.poll(6)
        consumer.seek("t", 0, 4)
    assert members.offsets == {P0: 4}


def test_the_regular_commit_leaves_out_the_record_handed_out_last():
    members = Members()
    consumer = consumer_of(filled(9), members=members, commit_s=0.001)
    taken(iter(consumer), 4)
    while members.offsets.get(P0, 0) < 3:
        members.committed.clear()
        assert members.committed.wait(DEADLINE_S)
    assert members.offsets == {P0: 3}
    consumer.close(last_done=False)
    assert members.offsets == {P0: 3}


def test_the_regular_commit_leaves_out_the_last_poll():
    members = Members()
    consumer = consumer_of(filled(9), members=members, commit_s=0.001)
    consumer.poll(4)
    consumer.poll(4)
    while members.offsets.get(P0, 0) < 4:
        members.committed.clear()
        assert members.committed.wait(DEADLINE_S)
    consumer.close(last_done=False)
    assert members.offsets == {P0: 4}


def test_a_failed_regular_commit_is_raised_at_the_next_chunk_and_ends_a_wait():
    members = Members()
    members.failure = Failed("no catalogue")
    consumer = consumer_of(memory_topic(), members=members, commit_s=0.001, follow=True)
    with pytest.raises(Failed, match="no catalogue"):
        consumer.poll(timeout_s=DEADLINE_S)
    with pytest.raises(Failed):
        list(consumer)
    members.failure = None
    consumer.close()
    assert members.left == 1


def test_a_failed_last_commit_is_raised_and_leaves_the_group_all_the_same():
    members = Members()
    consumer = consumer_of(filled(3), members=members)
    consumer.poll()
    members.failure = Failed("no catalogue")
    with pytest.raises(Failed):
        consumer.close()
    assert members.left == 1
    consumer.close()


def test_an_older_commit_does_not_overtake_a_newer_one():
    class Slow(Members):
        """The first commit is held up until the second has come, or is seen to wait its turn."""

        def __init__(self):
            super().__init__()
            self.first, self.second = threading.Event(), threading.Event()

        def commit(self, offsets, metadata=""):
            if not self.first.is_set():
                self.first.set()
                self.second.wait(0.2)  # comes only where commits overlap
            else:
                self.second.set()
            super().commit(offsets)

    members = Slow()
    consumer = consumer_of(filled(9), members=members)
    consumer.poll(2)
    older = threading.Thread(target=consumer.commit)
    older.start()
    assert members.first.wait(DEADLINE_S)
    consumer.poll(3)
    consumer.commit()
    older.join(DEADLINE_S)
    assert members.commits == [{P0: 2}, {P0: 5}]
    consumer.close()
    assert members.offsets == {P0: 5}


def test_a_close_that_is_interrupted_leaves_the_group():
    members = Members()
    consumer = consumer_of(filled(3), members=members)
    join = consumer._committer.join

    def interrupted():
        join()
        raise KeyboardInterrupt

    consumer._committer.join = interrupted
    with pytest.raises(KeyboardInterrupt):
        consumer.close()
    assert members.left == 1


def test_large_values_are_let_go_chunk_by_chunk():
    topic = memory_topic()
    for _ in range(6):
        topic.append_many([Message(b"x" * 400_000)])
    consumer = consumer_of(topic)
    held = [len(consumer._chunk._records) for _ in consumer]
    assert max(held) <= 3


def test_partitions_that_come_as_the_end_is_looked_for_are_read():
    class Late(Members):
        def settled(self):
            if not consumer.places:
                consumer.take({P0: topic.partition(0)}, {P0: 0}, {})
            return True

    topic = filled(3)
    consumer = Consumer({}, {}, membership=Late(), commit_s=NEVER_S)
    assert offsets(consumer) == [0, 1, 2]
