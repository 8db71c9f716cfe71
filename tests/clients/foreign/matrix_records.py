"""What every client is asked to do with records."""

import librdkafka
import pytest
from cannot import Cannot, the_step_that_fails
from speaking import Failed

import logstore

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
START_MS = 1_700_000_000_000


def records(count, **more):
    return [{"partition": 0, "key": f"k{n}", "value": f"value {n} " * 20, **more}
            for n in range(count)]  # fmt: skip


def values(found):
    return [it["value"] for it in found["records"]]


def codecs_stored(server, topic):
    """The codecs of a log's batches, as they stand on disk."""
    with logstore.open(server.data, "read") as store:
        batches = store.topic(topic).partitions[0].read(0, 1 << 20)
        return {it.compression.name.lower() for it in batches}


class Records:
    @pytest.mark.parametrize("acks", ["0", "1", "all"])
    @pytest.mark.parametrize("codec", CODECS)
    def test_what_is_produced_is_consumed(self, client, server, topic, codec, acks):
        sent = records(300)
        client("create", topic=topic)
        told = client("produce", topic=topic, records=sent, compression=codec, acks=acks)
        if acks != "0":
            assert told["offsets"] == list(range(300))
        found = client("consume", topic=topic, count=300)["records"]
        assert [(it["offset"], it["key"], it["value"]) for it in found] == [
            (n, it["key"], it["value"]) for n, it in enumerate(sent)
        ]
        assert codecs_stored(server, topic) == {codec}
        seen = librdkafka.consume(server, 300, (topic, 0, 0))
        assert [it.value().decode() for it in seen] == [it["value"] for it in sent]

    @pytest.mark.parametrize("codec", CODECS)
    def test_it_reads_what_librdkafka_wrote(self, client, server, topic, codec):
        sent = [f"value {n} ".encode() * 20 for n in range(300)]
        conf = {"compression.type": codec}
        assert librdkafka.produce(server, topic, sent, **conf) == []
        found = client("consume", topic=topic, count=300)
        assert values(found) == [it.decode() for it in sent]

    def test_keys_headers_timestamps_and_nulls_come_back(self, client, topic):
        sent = [
            {"key": "k", "value": "größer", "headers": [["a", "1"], ["b", "ß"]]},
            {"key": "gone", "value": None, "headers": []},
            {"key": None, "value": "", "headers": []},
        ]
        for n, it in enumerate(sent):
            it["timestamp"] = START_MS + n
        told = [{"partition": 0, **it} for it in sent]
        assert client("produce", topic=topic, records=told)["offsets"] == [0, 1, 2]
        found = client("consume", topic=topic, count=3)["records"]
        assert [{key: it[key] for key in sent[0]} for it in found] == sent

    def test_a_topic_is_made_when_it_is_produced_to(self, client, topic):
        assert client("produce", topic=topic, records=records(1))["offsets"] == [0]
        assert topic in client("topics")["topics"]

    def test_an_idempotent_producer_is_served(self, client, topic):
        client("create", topic=topic)
        told = client(
            "produce", topic=topic, records=records(1000), idempotent=True, batch_size=4096
        )
        assert told["offsets"] == list(range(1000))
        found = client("consume", topic=topic, count=1000)
        assert values(found) == [it["value"] for it in records(1000)]

    def test_it_consumes_by_assignment(self, client, topic):
        client("produce", topic=topic, records=records(10))
        assert len(client("consume", topic=topic, count=10)["records"]) == 10

    def test_it_consumes_from_an_offset(self, client, topic):
        client("produce", topic=topic, records=records(100))
        found = client("consume", topic=topic, offset=90, count=10)["records"]
        assert [it["offset"] for it in found] == list(range(90, 100))

    def test_it_reads_from_the_middle_of_a_batch(self, client, topic):
        client("produce", topic=topic, records=records(100), compression="gzip")
        found = client("consume", topic=topic, offset=50, count=3)["records"]
        assert [it["offset"] for it in found] == [50, 51, 52]

    def test_it_reads_what_is_committed(self, client, topic):
        client("produce", topic=topic, records=records(10))
        found = client("consume", topic=topic, count=10, isolation="read_committed")
        assert values(found) == [it["value"] for it in records(10)]

    def test_consuming_begins_at_a_time(self, client, topic):
        sent = [it | {"timestamp": START_MS + 1000 * n} for n, it in enumerate(records(100))]
        client("produce", topic=topic, records=sent)
        at = client("offset_at", topic=topic, timestamp=START_MS + 49_500)["offset"]
        assert at == 50
        [found] = client("consume", topic=topic, offset=at, count=1)["records"]
        assert (found["offset"], found["timestamp"]) == (50, START_MS + 50_000)

    def test_a_large_record_is_taken(self, client, topic):
        sent = [{"partition": 0, "key": "k", "value": "x" * 900_000}]
        client("produce", topic=topic, records=sent)
        assert values(client("consume", topic=topic, count=1)) == ["x" * 900_000]

    def test_too_much_for_a_topic_is_refused(self, client, topic):
        client("create", topic=topic, config={"max.message.bytes": "1000"})
        with pytest.raises(Failed, match=r"(?i)record_?too_?large|message_too_large"):
            client("produce", topic=topic, records=[{"partition": 0, "value": "x" * 2000}])

    def test_a_compacted_topic_refuses_what_has_no_key(self, client, topic):
        client("create", topic=topic, config={"cleanup.policy": "compact"})
        with pytest.raises(Failed, match=r"(?i)invalid_?record"):
            client("produce", topic=topic, records=[{"partition": 0, "value": "x"}])
        assert client("produce", topic=topic, records=records(1))["offsets"] == [0]

    @pytest.mark.xfail(strict=True, raises=Cannot, reason="the server knows no transactions yet")
    def test_a_transaction_commits(self, client, topic):
        client("create", topic=topic)
        with the_step_that_fails():
            told = client(
                "produce", topic=topic, records=records(1), transactional="t", idempotent=True
            )
        assert told["offsets"] == [0]
