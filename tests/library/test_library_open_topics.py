"""The topics of a store, open: shown as they are, told of, and when changing them fails."""

import shutil

import pytest
from clock import NOW_MS

import logstore
from logstore.errors import Closed, CorruptStore, StorageFull, TopicExists, UnknownTopic
from logstore.records.record import Message


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as found:
        yield found


@pytest.fixture
def topics(store):
    return store.internals().topics


def full(*_):
    raise StorageFull("no space left")


def test_a_topic_that_could_not_be_deleted_is_still_there(store, topics, monkeypatch):
    topic = topics.create("t", 1, {})
    changes = []
    topics.tell(lambda change: changes.append((change.event, topics.names())))
    with monkeypatch.context() as patched:
        patched.setattr(store.internals().directory._catalog, "remove", full)
        with pytest.raises(StorageFull):
            topics.delete("t")
    assert topics.get("t") is topics.by_uuid(topic.uuid) is topic
    assert changes == [("kept", ["t"])]
    with pytest.raises(TopicExists):
        topics.create("t", 1, {})
    topics.delete("t")
    assert topics.names() == []


def test_a_topic_whose_files_could_not_be_removed_is_gone(store, topics, monkeypatch):
    topic = topics.create("t", 1, {})
    with monkeypatch.context() as patched:
        patched.setattr(store.internals().directory._leftovers, "bury", full)
        with pytest.raises(StorageFull):
            topics.delete("t")
    assert (topics.get("t"), topics.by_uuid(topic.uuid), store.topics()) == (None, None, [])
    assert topics.create("t", 2, {}).id != topic.id


def test_a_topic_that_was_made_before_an_error_is_there(store, topics, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(store.internals().directory, "_publish_new", full)
        with pytest.raises(StorageFull):
            topics.create("t", 3, {})
    assert store.topics() == topics.names() == ["t"]
    assert len(topics.get("t").partitions) == 3


def test_what_many_changes_are_left_when_the_server_stops_is_refused(topics):
    topics.create("t", 1, {})
    topics.refuse("the server stops")
    for change in (
        lambda: topics.create("u", 1, {}),
        lambda: topics.grow("t", 2),
        lambda: topics.alter("t", {"retention.ms": "1000"}, ()),
        lambda: topics.delete("t"),
    ):
        with pytest.raises(Closed):
            change()
    assert (topics.names(), len(topics.get("t").partitions)) == (["t"], 1)
    topics.refuse(None)
    topics.delete("t")
    assert topics.names() == []


def test_the_library_and_the_doors_have_the_same_topics(store, topics):
    topic = store.create_topic("t", 2)
    assert store.topic("t") is topics.get("t") is topics.by_uuid(topic.uuid) is topic
    settings = {"retention.ms": "1000"}
    assert topics.alter("t", settings, ()) is topics.grow("t", 5) is topic
    assert (topic.settings.retention_ms, len(topic.partitions)) == (1000, 5)
    assert store.topic("t").append(b"v", partition=4).offset == 0


def test_each_who_asked_is_told_of_every_change_once_it_is_shown(topics):
    heard = []
    topics.tell(lambda change: heard.append((1, change.event, topics.names())))
    stop = topics.tell(lambda change: heard.append((2, change.event, change.topic.name)))
    topics.create("t", 1, {})
    topics.grow("t", 2)
    topics.alter("t", {"retention.ms": "1000"}, ())
    stop()
    topics.delete("t")
    assert heard == [
        (1, "created", ["t"]),
        (2, "created", "t"),
        (1, "grown", ["t"]),
        (2, "grown", "t"),
        (1, "altered", ["t"]),
        (2, "altered", "t"),
        (1, "deleted", []),
    ]


def test_logs_are_opened_when_they_are_used(tmp_path, monkeypatch):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", 5)
    with logstore.open(tmp_path / "data") as store:
        opened, log = [], store.internals().directory.log
        monkeypatch.setattr(
            store.internals().directory, "log", lambda *it: opened.append(it[2]) or log(*it)
        )
        topic = store.topic("t")
        assert opened == []
        topic.append(b"v", partition=3)
        topic.append(b"v", partition=-2 + 5)
        assert topic.partitions[-2].end == 2
        assert opened == [3]


def test_a_lost_partition_keeps_nobody_from_the_others(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", 3)
    shutil.rmtree(tmp_path / "data" / "t-1")
    with logstore.open(tmp_path / "data") as store:
        topic = store.topic("t")
        assert topic.append(b"v", partition=2).offset == 0
        keys = [b"%d" % number for number in range(50)]
        with pytest.raises(CorruptStore, match="t-1"):
            topic.append_many([Message(b"v", key) for key in keys])
        assert [topic.partitions[number].end for number in (0, 2)] == [0, 1]  # all or nothing


def test_a_log_that_is_used_first_after_its_topic_was_changed_has_the_new_settings(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", 2)
    with logstore.open(tmp_path / "data") as store:
        topic = store.topic("t")
        store.alter_topic("t", {"segment.bytes": "2097152"})
        assert topic.partitions[1].settings.segment_bytes == 2097152


def test_a_reader_sees_what_the_writer_has_changed(tmp_path):
    with (
        logstore.open(tmp_path / "data") as writer,
        logstore.open(tmp_path / "data", "read") as reader,
    ):
        with pytest.raises(UnknownTopic):
            reader.topic("t")
        made = writer.create_topic("t", 1)
        seen = reader.topic("t")
        assert reader.topic("t") is reader.internals().topics.by_uuid(made.uuid) is seen
        writer.alter_topic("t", {"retention.ms": "1000"}, partitions=2)
        made.append(b"v", partition=1)
        assert reader.topic("t") is seen
        assert (seen.settings.retention_ms, seen.partitions[1].safe) == (1000, 1)
        writer.delete_topic("t")
        assert (reader.topics(), reader.internals().topics.get("t")) == ([], None)
        assert writer.create_topic("t", 3).id == reader.topic("t").id != seen.id


def test_ids_that_were_given_without_a_check_are_good_until_they_expire(tmp_path):
    """A store of a logstore that gave plain numbers, opened by this one."""
    now = [NOW_MS]
    with logstore.open(tmp_path / "data", clock=lambda: now[0]) as store:
        store.internals().directory.new_producer_ids(2000)
        given = store.internals().topics.new_producer_id()
    with logstore.open(tmp_path / "data", clock=lambda: now[0]) as store:
        topics = store.internals().topics
        assert [topics.knows_producer(it) for it in (-1, 0, 1999, 2000)] == [
            False, True, True, False,
        ]  # fmt: skip
        assert topics.knows_producer(given)
        assert topics.new_producer_id() != given
        now[0] += store.config.store.producer_id_expiration_ms
        assert not topics.knows_producer(1999)
        assert topics.knows_producer(given)


def test_where_partitions_stand_is_known_without_opening_them(tmp_path):
    path = tmp_path / "data"
    with logstore.open(path) as store:
        topic = store.create_topic("t", partitions=3)
        topic.append_many([Message(b"v")] * 5, partition=1)
        topic.append(b"v", partition=2)
        topic.partition(2).trim(1)
        assert store.internals().topics.offsets("t") == [(0, 0), (0, 5), (1, 1)]
    with logstore.open(path) as store:
        topics = store.internals().topics
        assert topics.offsets("t") == [(0, 0), (0, 5), (1, 1)]
        assert [topics.topic("t").at_hand(number) for number in range(3)] == [None] * 3
        store.topic("t").append(b"v", partition=1)
        assert topics.offsets("t")[1] == (0, 6)
        with pytest.raises(UnknownTopic):
            topics.offsets("u")
