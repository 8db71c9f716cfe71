"""Groups over real stores: what is kept, who may consume, and moving a group from outside."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from broker_parts import DEADLINE_S
from clock import NOW_MS

import logstore
from logstore import Lag, Message, Move
from logstore.errors import (
    Closed,
    GroupBusy,
    InvalidName,
    OffsetAboveEnd,
    OffsetBelowStart,
    Refused,
    UnknownGroup,
    UnknownPartition,
    UnknownTopic,
)
from logstore.kept.groups import OffsetToCommit, consumed_by


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data", clock=lambda: NOW_MS) as store:
        yield store


def fill(store, name="t", count=10, partitions=1):
    topic = store.create_topic(name, partitions)
    for number in range(partitions):
        messages = [Message(b"%d" % at, None, (), 1000 * at) for at in range(count)]
        topic.append_many(messages, partition=number)
    return topic


def consume(store, count=None, *topics, group="g", **options):
    with store.consumer(*(topics or ("t",)), group=group, **options) as consumer:
        records = []
        for record in consumer:
            records.append(record)
            if len(records) == count:
                break
        return [record.offset for record in records]


# Going on


def test_a_group_goes_on_where_it_stopped_also_after_the_store_was_closed(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        fill(store)
        assert consume(store, 4) == [0, 1, 2, 3]
        assert consume(store, 2) == [4, 5]
    with logstore.open(tmp_path / "data") as store:
        assert consume(store) == [6, 7, 8, 9]
        assert consume(store) == []
        assert consume(store, group="other") == list(range(10))
        assert store.groups() == ["g", "other"]


def test_metadata_is_kept_beside_the_offsets(store):
    fill(store)
    with store.consumer("t", group="g") as consumer:
        consumer.poll(4)
        consumer.commit("after the fourth")
        with pytest.raises(Refused, match="metadata of 4097 bytes, 4096 at most"):
            consumer.commit("x" * 4097)
        consumer.commit("said again")
    (lag,) = store.group("g").describe()
    assert (lag.committed, lag.metadata) == (4, "said again")


def test_a_group_consumed_by_a_reader_goes_on_in_the_writer(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        fill(store)
        with logstore.open(tmp_path / "data", "read") as reader:
            assert consume(reader, 4) == [0, 1, 2, 3]
        assert consume(store, 1) == [4]


def test_start_counts_where_the_group_has_committed_nothing(store):
    fill(store)
    assert consume(store, group="late", start="latest") == []
    assert consume(store, group="eight", start=8) == [8, 9]
    assert consume(store, group="time", start=datetime.fromtimestamp(7, UTC)) == [7, 8, 9]
    assert consume(store, group="map", start={("t", 0): 6}) == [6, 7, 8, 9]
    assert consume(store, group="eight", start=0) == []


def test_a_group_that_began_at_the_end_gets_what_came_after_it(store):
    topic = fill(store, partitions=3)
    assert consume(store, start="latest") == []
    for number in range(3):
        topic.append(b"new", partition=number)
    assert consume(store, 1, start="latest") == [10]
    assert consume(store, start="latest") == [10, 10]


def test_several_topics_and_some_partitions(store):
    fill(store, "a", 3, partitions=3)
    fill(store, "b", 2, partitions=3)
    with store.consumer("a", "b", group="g", partitions=[0, 2]) as consumer:
        seen = sorted((r.topic, r.partition, r.offset) for r in consumer)
    assert seen == [(t, p, o) for t, n in (("a", 3), ("b", 2)) for p in (0, 2) for o in range(n)]
    lags = {(lag.topic, lag.partition): lag.committed for lag in store.group("g").describe()}
    assert lags == {
        ("a", 0): 3, ("a", 1): None, ("a", 2): 3, ("b", 0): 2, ("b", 1): None, ("b", 2): 2,
    }  # fmt: skip


def test_a_consumer_of_what_is_not_there_is_refused_and_claims_nothing(store):
    fill(store)
    with pytest.raises(UnknownTopic, match="'u'"):
        store.consumer("t", "u", group="g")
    with pytest.raises(UnknownPartition):
        store.consumer("t", group="g", partitions=[1])
    with pytest.raises(OffsetAboveEnd):
        store.consumer("t", group="g", start=11)
    with pytest.raises(Refused, match="must be earliest, latest"):
        store.consumer("t", group="g", start="first")
    with pytest.raises(UnknownPartition, match="start: t-5 is not consumed here"):
        store.consumer("t", group="g", start={("t", 5): 3})
    with pytest.raises(Refused, match="needs a topic"):
        store.consumer(group="g")
    with pytest.raises(TypeError, match="a topic is a str, not list: name each by an argument"):
        store.consumer(["t"], group="g")
    with pytest.raises(InvalidName):
        store.consumer("t", group="")
    assert consume(store, 1) == [0]


def test_records_trimmed_below_the_committed_offset_are_told_with_advice(store):
    topic = fill(store)
    consume(store, 2)
    topic.partitions[0].trim(5)
    with pytest.raises(OffsetBelowStart, match=r"offset 2 .* start, 5.*group reset-offsets"):
        store.consumer("t", group="g")
    store.group("g").reset("earliest")
    assert consume(store, 1) == [5]


def test_a_committed_offset_above_the_end_is_told_with_advice(store):
    fill(store)
    consume(store)
    # The log has lost records since.
    store._directory.groups.change_idle("g", {("t", 0): OffsetToCommit(12)})
    with pytest.raises(OffsetAboveEnd, match=r"offset 12 .* end, 10.*group reset-offsets"):
        store.consumer("t", group="g")
    store.group("g").reset("latest")
    assert consume(store) == []


def test_a_topic_made_anew_is_read_from_its_start(store):
    fill(store)
    with store.consumer("t", group="g") as consumer:
        consumer.poll()
        store.delete_topic("t")
        fill(store, count=12)
    assert consume(store) == list(range(12))


def test_deleting_a_topic_takes_the_groups_offsets_in_it_along(store):
    fill(store)
    fill(store, "u", 3)
    consume(store, None, "t", "u")
    store.delete_topic("t")
    assert store.group("g").topics() == ["u"]
    fill(store)
    assert consume(store) == list(range(10))


# Consumers of one group in several processes: test_embedded_groups.py


CONSUMER = """
import sys, logstore
with logstore.open(sys.argv[1], "read") as store:
    consumer = store.consumer("t", group="g")
    records = consumer.poll(3)
    print(len(records), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_consumer(store):
    """Another process that consumes as group g and holds on to it."""
    fill(store)
    process = subprocess.Popen(
        [sys.executable, "-c", CONSUMER, store.path, "--some-words"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"3\n"
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdin.close()
        process.stdout.close()


def test_a_consumer_in_another_process_is_named_by_pid_and_command(store, other_consumer):
    [member] = store.group("g").members()
    assert member.owner.startswith(f"pid {other_consumer.pid} (")
    assert "--some-words" in member.owner
    assert member.partitions == (("t", 0),)


def test_kill_9_lets_go_of_the_group_and_what_was_not_committed_comes_again(store, other_consumer):
    other_consumer.send_signal(signal.SIGKILL)
    other_consumer.wait(DEADLINE_S)
    assert consume(store) == list(range(10))


def test_closing_the_store_lets_go_of_its_groups(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        fill(store)
        consumer = store.consumer("t", group="g")
        for record in consumer:
            if record.offset == 4:
                break
    with pytest.raises(Closed):
        consumer.poll()
    consumer.close()
    with logstore.open(tmp_path / "data") as store:
        assert consume(store, 1) == [4]  # nobody said that it was done


# Seen from outside


def test_describe_says_how_far_the_group_is_in_each_partition(store):
    topic = fill(store, partitions=2)
    with store.consumer("t", group="g", partitions=[1]) as consumer:
        consumer.poll(4)
    topic.partitions[0].trim(3)
    assert store.group("g").describe() == [
        Lag("t", 0, None, 10, 7, "", None),
        Lag("t", 1, 4, 10, 6, "", NOW_MS),
    ]
    topic.partitions[1].trim(6)
    assert store.group("g").describe()[1].lag == 4


def test_members_are_known_while_the_group_is_consumed(store):
    fill(store)
    consume(store, 1)
    group = store.group("g")
    assert group.members() == []
    with store.consumer("t", group="g"):
        [member] = group.members()
        assert member.owner.startswith(f"pid {os.getpid()} (")
    assert group.members() == []


def test_an_unknown_group_is_told(store):
    with pytest.raises(UnknownGroup, match="'g'"):
        store.group("g")


@pytest.mark.parametrize(
    ("to", "after"),
    [("earliest", 2), ("latest", 10), (7, 7), (datetime.fromtimestamp(4.5, UTC), 5)],
)
def test_reset_moves_all_partitions(store, to, after):
    topic = fill(store, partitions=2)
    consume(store, 5)
    for number in range(2):
        topic.partitions[number].trim(2)
    committed = {lag.partition: lag.committed for lag in store.group("g").describe()}
    expected = [Move("t", number, committed[number], after) for number in range(2)]
    assert store.group("g").reset(to, dry_run=True) == expected
    assert {lag.partition: lag.committed for lag in store.group("g").describe()} == committed
    assert store.group("g").reset(to) == expected
    assert [lag.committed for lag in store.group("g").describe()] == [after, after]
    assert sorted(consume(store)) == sorted([*range(after, 10)] * 2)


def test_reset_of_some_topics_leaves_the_others_and_may_add_one(store):
    fill(store, "a")
    fill(store, "b")
    fill(store, "c")
    consume(store, None, "a", "b")
    moves = store.group("g").reset("earliest", ["b", "c"])
    assert [(move.topic, move.before, move.after) for move in moves] == [
        ("b", 10, 0),
        ("c", None, 0),
    ]
    assert store.group("g").topics() == ["a", "b", "c"]
    assert consume(store, None, "a") == []


def test_a_reset_that_can_not_be_moves_nothing(store):
    fill(store, "a", 10)
    fill(store, "b", 3)
    consume(store, None, "a", "b")
    before = store.group("g").describe()
    with pytest.raises(OffsetAboveEnd):
        store.group("g").reset(5)
    with pytest.raises(UnknownTopic):
        store.group("g").reset("earliest", ["a", "nosuch"])
    assert store.group("g").describe() == before
    assert consume(store, None, "a", "b") == []


def test_a_group_in_use_can_be_looked_at_but_not_moved_nor_deleted(store):
    fill(store)
    consume(store, 3)
    with store.consumer("t", group="g"):
        group = store.group("g")
        assert group.reset("earliest", dry_run=True) == [Move("t", 0, 3, 0)]
        with pytest.raises(GroupBusy):
            group.reset("earliest")
        with pytest.raises(GroupBusy):
            group.delete()
    assert consume(store, 1) == [3]


@pytest.mark.parametrize(
    ("owners", "who"),
    [
        (["a"], "a"),
        (["a", "a", "b"], "a, b"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d", "a", "e"], "a, b, c and 2 more"),
    ],
)
def test_three_owners_of_a_group_in_use_are_named(owners, who):
    assert consumed_by("g", owners) == f"group 'g' is consumed by {who}"


def test_a_deleted_group_begins_anew(store):
    fill(store)
    consume(store)
    group = store.group("g")
    group.delete()
    assert store.groups() == []
    with pytest.raises(UnknownGroup):
        group.delete()
    assert group.describe() == []
    assert consume(store, 1) == [0]


def test_a_group_of_a_closed_store_is_closed(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        fill(store)
        consume(store)
        group = store.group("g")
    for use in (group.describe, group.topics, group.delete, lambda: group.reset("earliest")):
        with pytest.raises(Closed):
            use()


@pytest.mark.parametrize("name", ["g" * 255, "größe/1 x", "../../escape", "a\nb", "."])
def test_any_group_name_of_255_bytes_is_taken(store, name):
    fill(store)
    assert consume(store, 2, group=name) == [0, 1]
    assert store.groups() == [name]
    assert consume(store, 1, group=name) == [2]
    assert store.group(name).describe()[0].committed == 3


@pytest.mark.parametrize("name", ["", "g" * 256, "a\0b"])
def test_other_group_names_are_refused(store, name):
    fill(store)
    with pytest.raises(InvalidName):
        store.consumer("t", group=name)


def test_groups_whose_names_begin_alike_do_not_mix(store):
    fill(store)
    consume(store, 1, group="g")
    consume(store, 2, group="g1")
    store.group("g").delete()
    assert store.groups() == ["g1"]
    assert store.group("g1").describe()[0].committed == 2


# Offsets that are not in the log any more --------------------------------------------------------


def behind(store):
    """Three partitions of ten; the group has committed 5 in each; of 1, the first 8 are gone."""
    topic = fill(store, partitions=3)
    with store.consumer("t", group="g") as consumer:
        for number in range(3):
            consumer.seek("t", number, 5)
    topic.partitions[1].trim(8)
    return topic


def committed(store):
    return [lag.committed for lag in store.group("g").describe()]


@pytest.mark.parametrize(("to", "after"), [("earliest", 8), ("latest", 10)])
def test_a_reset_of_what_is_out_of_range_leaves_the_healthy_partitions_alone(store, to, after):
    behind(store)
    moves = [Move("t", 1, 5, after)]
    assert store.group("g").reset(to, out_of_range=True, dry_run=True) == moves
    assert committed(store) == [5, 5, 5]
    assert store.group("g").reset(to, out_of_range=True) == moves
    assert committed(store) == [5, after, 5]
    assert store.group("g").reset(to, out_of_range=True) == []
    assert committed(store) == [5, after, 5]


def test_a_reset_of_one_partition_leaves_the_others_alone(store):
    behind(store)
    assert store.group("g").reset(9, partitions=[1, 1]) == [Move("t", 1, 5, 9)]
    assert committed(store) == [5, 9, 5]
    with pytest.raises(UnknownPartition, match="'t' has no partition 3, only 0 to 2"):
        store.group("g").reset(7, partitions=[0, 3])
    assert committed(store) == [5, 9, 5]


def test_the_error_of_a_partition_that_is_behind_names_the_narrow_remedy(store):
    behind(store)
    remedy = r"t-1: offset 5 .*`logstore group reset-offsets g --out-of-range earliest`"
    with pytest.raises(OffsetBelowStart, match=remedy):
        store.consumer("t", group="g")


@pytest.mark.parametrize(("to", "after"), [("earliest", 8), ("latest", 10)])
def test_a_consumer_goes_on_where_it_is_told_in_what_is_out_of_range(store, caplog, to, after):
    behind(store)
    with store.consumer("t", group="g", on_out_of_range=to) as consumer:
        found = sorted((record.partition, record.offset) for record in consumer)
    assert found == [(n, it) for n in range(3) for it in range(after if n == 1 else 5, 10)]
    assert committed(store) == [10, 10, 10]
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("t-1: offset 5 is below the start, 8")
    assert line.endswith(f"going on at the {to}, {after}")


@pytest.mark.parametrize("group", [None, "g"])
@pytest.mark.parametrize(("to", "after"), [("earliest", 8), ("latest", 10)])
def test_a_consumer_that_falls_behind_while_it_reads_goes_on_where_it_is_told(
    store, group, to, after
):
    topic = fill(store, partitions=2)
    options = {"group": group, "start": 0, "on_out_of_range": to}
    with store.consumer("t", **options) as consumer:
        consumer.seek("t", 1, 3)
        topic.partitions[1].trim(8)
        found = sorted((record.partition, record.offset) for record in consumer)
    assert found == [(n, it) for n in range(2) for it in range(after if n == 1 else 0, 10)]


def test_a_consumer_that_falls_behind_while_it_reads_names_the_narrow_remedy(store):
    topic = fill(store)
    with store.consumer("t", group="g") as consumer:
        consumer.seek("t", 0, 3)
        topic.partitions[0].trim(8)
        with pytest.raises(OffsetBelowStart, match="reset-offsets g --out-of-range earliest"):
            consumer.poll()


def test_a_word_for_what_is_out_of_range_that_is_none_is_refused(store):
    fill(store)
    with pytest.raises(
        Refused, match="on_out_of_range 'first': must be one of stop, earliest, latest"
    ):
        store.consumer("t", on_out_of_range="first")
