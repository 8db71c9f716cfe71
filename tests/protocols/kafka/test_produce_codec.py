import random
import uuid

import kio_oracle as kio
import pytest

from logstore.errors import BrokenProtocol
from logstore.kafka import fetch_codec, produce_codec

PRODUCE, FETCH = range(3, 14), range(4, 19)


def a_produce_request(version, rng):
    module = kio.module_of("produce", version, "request")
    topics = []
    for n in range(rng.randrange(3)):
        parts = tuple(
            module.PartitionProduceData(
                index=it, records=rng.choice([None, b"", rng.randbytes(rng.randrange(300))])
            )
            for it in range(rng.randrange(3))
        )
        place = {"topic_id": uuid.UUID(int=n + 1)} if version >= 13 else {"name": f"topic-{n}"}
        topics.append(module.TopicProduceData(partition_data=parts, **place))
    return module.ProduceRequest(
        transactional_id=rng.choice([None, "t"]),
        acks=rng.choice([-1, 0, 1]),
        timeout=kio.milliseconds(rng.randrange(10_000)),
        topic_data=tuple(topics),
    )


@pytest.mark.parametrize("version", PRODUCE)
def test_a_produce_request_is_read_as_kio_writes_it(version):
    rng = random.Random(version)
    for _ in range(30):
        asked = a_produce_request(version, rng)
        data = kio.written_by_kio(asked)
        found = produce_codec.read_request(version, memoryview(data), 0)
        assert (found.transactional_id, found.acks) == (asked.transactional_id, asked.acks)
        assert found.timeout_ms == round(asked.timeout.total_seconds() * 1000)
        shown = [
            (topic, [(it.partition, it.records and bytes(it.records)) for it in parts])
            for topic, parts in found.topics
        ]
        expected = [
            (
                topic.topic_id.bytes if version >= 13 else topic.name,
                [(it.index, it.records) for it in topic.partition_data],
            )
            for topic in asked.topic_data
        ]
        assert [(topic, [(n, data or None) for n, data in parts]) for topic, parts in shown] == [
            (topic, [(n, data or None) for n, data in parts]) for topic, parts in expected
        ]
        for end in range(len(data) - 1):
            with pytest.raises(BrokenProtocol):
                produce_codec.read_request(version, memoryview(data)[:end], 0)


@pytest.mark.parametrize("version", PRODUCE)
def test_a_produce_response_is_what_kio_writes(version):
    rng = random.Random(version)
    for _ in range(30):
        topics = []
        for n in range(rng.randrange(3)):
            parts = []
            for it in range(rng.randrange(3)):
                part = produce_codec.Part(it, None, rng.choice([0, 3, 87]))
                part.message = rng.choice([None, "why"]) if version >= 8 else None
                part.base_offset, part.append_time_ms = rng.randrange(99), rng.choice([-1, 10**12])
                part.log_start = rng.randrange(9) if version >= 5 else -1
                parts.append(part)
            name = uuid.UUID(int=n + 1).bytes if version >= 13 else f"topic-{n}"
            topics.append((name, parts))
        data = bytes(produce_codec.write_response(version, topics))
        entity = kio.read_by_kio("produce", version, "response", data)
        assert kio.written_by_kio(entity) == data
        found = kio.plain(entity, "")
        assert found["throttle_time_ms"] == 0
        for (name, parts), topic in zip(topics, found["responses"], strict=True):
            assert topic.get("topic_id", topic.get("name")) == name
            for part, it in zip(parts, topic["partition_responses"], strict=True):
                assert (it["index"], it["error_code"]) == (part.partition, part.error_code)
                assert it["base_offset"] == part.base_offset
                assert it["log_append_time_ms"] == part.append_time_ms
                assert it.get("log_start_offset", -1) == part.log_start
                assert it.get("error_message") == part.message


def a_fetch_request(version, rng):
    module = kio.module_of("fetch", version, "request")

    def fitting(kind, **facts):
        names = {field.name for field in kio.fields(kind)}
        return kind(**{name: value for name, value in facts.items() if name in names})

    topics, forgotten = [], []
    for n in range(rng.randrange(3)):
        place = {"topic_id": uuid.UUID(int=n + 1), "topic": f"topic-{n}"}
        parts = tuple(
            fitting(
                module.FetchPartition, partition=it, fetch_offset=rng.randrange(10**12),
                current_leader_epoch=rng.choice([-1, 0, 5]),
                partition_max_bytes=rng.randrange(10**6), log_start_offset=-1,
                last_fetched_epoch=-1,
            )
            for it in range(rng.randrange(3))
        )  # fmt: skip
        topics.append(fitting(module.FetchTopic, partitions=parts, **place))
        if version >= 7:
            forgotten.append(fitting(module.ForgottenTopic, partitions=(1, 2), **place))
    return fitting(
        module.FetchRequest, replica_id=-1, max_wait=kio.milliseconds(rng.randrange(9000)),
        min_bytes=rng.randrange(99), max_bytes=rng.randrange(10**6),
        isolation_level=rng.randrange(2), session_id=rng.randrange(99),
        session_epoch=rng.choice([-1, 0, 7]), topics=tuple(topics),
        forgotten_topics_data=tuple(forgotten), rack_id="rack",
    )  # fmt: skip


@pytest.mark.parametrize("version", FETCH)
def test_a_fetch_request_is_read_as_kio_writes_it(version):
    rng = random.Random(version)
    for _ in range(30):
        asked = a_fetch_request(version, rng)
        data = kio.written_by_kio(asked)
        found = fetch_codec.read_request(version, memoryview(data), 0)
        assert found.max_wait_ms == round(asked.max_wait.total_seconds() * 1000)
        assert (found.min_bytes, found.max_bytes) == (asked.min_bytes, asked.max_bytes)
        assert found.isolation_level == asked.isolation_level
        if version >= 7:
            assert (found.session_id, found.session_epoch) == (
                asked.session_id,
                asked.session_epoch,
            )
        expected = [
            (
                topic.topic_id.bytes if version >= 13 else topic.topic,
                it.partition, it.fetch_offset, it.partition_max_bytes,
                it.current_leader_epoch if version >= 9 else -1,
            )
            for topic in asked.topics
            for it in topic.partitions
        ]  # fmt: skip
        assert [
            (it.topic, it.partition, it.offset, it.bytes_max, it.leader_epoch) for it in found.asked
        ] == expected
        if version >= 7:
            assert len(found.forgotten) == 2 * len(asked.forgotten_topics_data)
        for end in range(len(data) - 1):
            with pytest.raises(BrokenProtocol):
                fetch_codec.read_request(version, memoryview(data)[:end], 0)


@pytest.mark.parametrize("version", FETCH)
@pytest.mark.parametrize("committed", [False, True])
def test_a_fetch_response_is_what_kio_writes(version, committed):
    rng = random.Random(version)
    for _ in range(30):
        given = []
        for n in range(rng.randrange(3)):
            name = uuid.UUID(int=n + 1).bytes if version >= 13 else f"topic-{n}"
            for it in range(1 + rng.randrange(2)):
                parts = [rng.randbytes(rng.randrange(1, 200)) for _ in range(rng.randrange(3))]
                start = 3 if version >= 5 else -1
                given.append(fetch_codec.Given(name, it, rng.choice([0, 1]), 17, start, parts))
        buffers = fetch_codec.write_response(version, 5, 0, given, committed)
        data = b"".join(buffers)
        entity = kio.read_by_kio("fetch", version, "response", data)
        assert kio.written_by_kio(entity) == data
        found = kio.plain(entity, "")
        assert found.get("session_id", 5) == 5
        parts = [
            (topic.get("topic_id", topic.get("topic")), it)
            for topic in found["responses"]
            for it in topic["partitions"]
        ]
        for expected, (name, it) in zip(given, parts, strict=True):
            assert (expected.topic, expected.partition) == (name, it["partition_index"])
            assert (expected.error_code, 17, 17) == (
                it["error_code"], it["high_watermark"], it["last_stable_offset"],
            )  # fmt: skip
            assert (it["records"] or b"") == b"".join(expected.records)
            assert it["aborted_transactions"] == ([] if committed else None)
