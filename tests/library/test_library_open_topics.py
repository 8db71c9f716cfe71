"""The topics of a store as its doors see them, when changing them fails."""

import pytest

import logstore
from logstore.errors import Closed, StorageFull, TopicExists
from logstore.open_topics import OpenTopics


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as found:
        yield found


@pytest.fixture
def topics(store):
    return OpenTopics(store, store.directory)


def full(*_):
    raise StorageFull("no space left")


def test_a_topic_that_could_not_be_deleted_is_still_there(store, topics, monkeypatch):
    topic = topics.create("t", 1, {})
    changes = []
    topics.tell(lambda: changes.append(topics.names()))
    with monkeypatch.context() as patched:
        patched.setattr(store.directory._catalog, "remove_topic", full)
        with pytest.raises(StorageFull):
            topics.delete("t")
    assert topics.get("t") is topics.by_uuid(topic.uuid) is topic
    assert changes[-1] == ["t"]
    with pytest.raises(TopicExists):
        topics.create("t", 1, {})
    topics.delete("t")
    assert topics.names() == []


def test_a_topic_whose_files_could_not_be_removed_is_gone(store, topics, monkeypatch):
    topic = topics.create("t", 1, {})
    with monkeypatch.context() as patched:
        patched.setattr(store.directory._catalog, "buried", full)
        with pytest.raises(StorageFull):
            topics.delete("t")
    assert (topics.get("t"), topics.by_uuid(topic.uuid), store.topics()) == (None, None, [])
    assert topics.create("t", 2, {}).id != topic.id


def test_a_topic_that_was_made_and_could_not_be_opened_is_there(store, topics, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(store, "topic", full)
        with pytest.raises(StorageFull):
            topics.create("t", 3, {})
    assert store.topics() == topics.names() == ["t"]
    assert len(topics.get("t").partitions) == 3


def test_what_many_changes_are_left_when_the_server_stops_is_refused(topics):
    topics.create("t", 1, {})
    topics.stop()
    for change in (
        lambda: topics.create("u", 1, {}),
        lambda: topics.grow("t", 2),
        lambda: topics.alter("t", {"retention.ms": "1000"}, ()),
        lambda: topics.delete("t"),
    ):
        with pytest.raises(Closed):
            change()
    assert (topics.names(), len(topics.get("t").partitions)) == (["t"], 1)
