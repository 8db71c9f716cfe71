"""How much topics hold, told without opening their logs."""

import logstore
from logstore.broker.topic_sizes import Holds, held_by, held_by_all
from logstore.errors import Failed
from logstore.records.record import Message


def test_topics_are_measured_without_being_opened(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", 3).append_many([Message(b"v" * 100)] * 4, 1)
        store.create_topic("u", 1)
        store.topic("t").partition(1).trim(1)
        opened = held_by(store.internals().topics, "t")
    with logstore.open(tmp_path / "data") as store:
        topics = store.internals().topics
        found = held_by_all(topics)
        assert found["t"] == opened == Holds(3, opened.bytes)
        assert opened.bytes > 400
        assert found["u"] == Holds(0, 0)
        assert topics.topic("t").at_hand(1) is None
        assert held_by(topics, "gone") == Holds(None, None)


class Topics:
    """One whose files can't be looked at, and one of which a partition is not known."""

    def offsets(self, name):
        return [(0, 5), None]

    def weights(self, name):
        if name == "bad":
            raise Failed("t-0: can't be measured")
        return [1, 2]

    def names(self):
        return ["bad", "half"]


def test_what_is_not_known_is_said():
    assert held_by_all(Topics()) == {
        "bad": Holds(None, None, "t-0: can't be measured"),
        "half": Holds(None, 3),
    }
