"""What every client is asked to do with topics."""

import pytest
from matrix_records import records
from speaking import Failed


class Admin:
    def test_it_finds_the_one_node(self, client, server):
        assert client("nodes")["nodes"] == [server.address]

    def test_topics_are_made_described_grown_and_deleted(self, client, topic):
        client("create", topic=topic, partitions=3)
        assert client("partitions", topic=topic)["partitions"] == 3
        with pytest.raises(Failed, match=r"(?i)topic_?(already_?)?exists"):
            client("create", topic=topic)
        client("grow", topic=topic, partitions=5)
        assert client("partitions", topic=topic)["partitions"] == 5
        with pytest.raises(Failed, match=r"(?i)invalid_?partitions"):
            client("grow", topic=topic, partitions=2)
        client("delete", topic=topic)
        assert topic not in client("topics")["topics"]
        with pytest.raises(Failed, match=r"(?i)unknown_?topic"):
            client("delete", topic=topic)

    def test_settings_are_described_and_changed(self, client, topic):
        client("create", topic=topic, config={"retention.ms": "5000", "segment.ms": "70000"})
        settings = client("settings", topic=topic)["settings"]
        assert settings["retention.ms"] == ["5000", False]
        assert settings["segment.bytes"] == ["1073741824", True]
        client("set", topic=topic, config={"retention.ms": None, "segment.bytes": "1048576"})
        settings = client("settings", topic=topic)["settings"]
        assert settings["retention.ms"] == ["604800000", True]
        assert settings["segment.bytes"] == ["1048576", False]
        assert settings["segment.ms"] == ["70000", False]

    def test_a_bad_setting_is_refused(self, client, topic):
        with pytest.raises(Failed, match=r"(?i)invalid_?config"):
            client("create", topic=topic, config={"retention.ms": "soon"})
        client("create", topic=topic)
        with pytest.raises(Failed, match=r"(?i)invalid_?config"):
            client("set", topic=topic, config={"retention.sm": "1"})

    def test_ends_are_listed_and_records_deleted(self, client, topic):
        client("produce", topic=topic, records=records(10))
        assert client("ends", topic=topic) == {"start": 0, "end": 10}
        client("delete_records", topic=topic, before=4)
        assert client("ends", topic=topic) == {"start": 4, "end": 10}
        found = client("consume", topic=topic, offset=4, count=6)["records"]
        assert [it["offset"] for it in found] == list(range(4, 10))
        with pytest.raises(Failed, match=r"(?i)offset_?out_?of_?range"):
            client("delete_records", topic=topic, before=11)
