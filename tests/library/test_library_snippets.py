"""What the documentation shows, as a user would type it."""

import pytest

import logstore
from logstore import Message, Position


def test_append_and_consume(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("orders", partitions=3)
        position = store.topic("orders").append(key=b"k1", value=b"...", headers={"a": b"b"})
        assert position.offset == 0
        with store.consumer("orders", group="billing") as consumer:
            for record in consumer:
                assert record.topic == "orders"
                assert record.partition == position.partition
                assert record.offset == 0
                assert record.timestamp_ms == position.timestamp_ms
                assert record.key == b"k1"
                assert record.value == b"..."
                assert record.headers == (("a", b"b"),)
    with logstore.open(tmp_path / "data") as store, store.consumer("orders", group="billing") as c:
        assert list(c) == []


def test_many_at_once(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        topic = store.create_topic("orders")
        positions = topic.append_many([Message(b"a"), Message(b"b", b"k"), Message(b"c")])
        assert [position.offset for position in positions] == [0, 1, 2]
        assert isinstance(positions[0], Position)


def test_producer_follow_and_replay(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("orders")
        with store.producer("orders", compression="zstd") as producer:
            for at in range(1000):
                producer.send(b"%d" % at, timestamp_ms=at)
        with store.consumer("orders", start="latest", follow=True) as consumer:
            store.topic("orders").append(b"new")
            assert next(iter(consumer)).value == b"new"
        replayed = [r.value for records in store.replay("orders", to_ms=3) for r in records]
        assert replayed == [b"0", b"1", b"2"]


def test_the_promised_names_are_there_and_nothing_else():
    assert sorted(logstore.__all__) == [
        "Channel", "Chosen", "Config", "Consumer", "Copied", "Exchange", "Group", "GroupMember",
        "Lag", "Listener", "LogSize", "LogstoreError", "Message", "Move", "Owner", "Position",
        "Producer", "Progress", "Published", "Queue", "QueueBinding", "QueueConsumer",
        "QueueCounts", "QueueMessage", "Record", "Report", "Retained", "Rewritten", "Routed",
        "ShareConsumer", "ShareRecord", "Status", "Store", "Topic", "Transaction", "Trim", "open",
    ]  # fmt: skip
    assert all(hasattr(logstore, name) for name in logstore.__all__)


def test_the_face_has_these_names_and_no_others():
    public = {name for name in dir(logstore.Store) if not name.startswith("_")}
    assert public == {
        "add_vhost", "alter_topic", "backup", "cancel", "channel", "close", "compaction",
        "config", "consumer", "create_topic", "delete_policy", "delete_topic",
        "delete_vhost", "describe_topic", "exchange", "exchanges", "expire_offsets",
        "export_definitions", "forked", "group", "groups", "import_definitions",
        "internals", "leftovers", "listen", "offset_for", "path", "policies", "producer",
        "queue", "queues", "recompression", "replay", "retention", "route_topic",
        "scheduled", "set_policy", "share_consumer", "sizes", "status", "topic", "topic_routes",
        "topics", "transaction", "trim", "unroute_topic", "users", "verify", "vhosts",
    }  # fmt: skip


def test_one_except_catches_all_that_is_raised_on_purpose(tmp_path):
    with pytest.raises(logstore.LogstoreError):
        logstore.open(tmp_path / "nothing", "read")
