import random
import uuid

import kio_oracle as kio
import pytest
from every_request import a_produce_request
from kio.schema.errors import ErrorCode

from logstore.errors import BrokenProtocol
from logstore.kafka import fetch_codec, produce_codec

PRODUCE, FETCH = range(3, 14), range(4, 19)


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


@pytest.mark.parametrize("version", PRODUCE)
def test_a_produce_request_is_written_as_kio_reads_it(version):
    rng = random.Random(version)
    for _ in range(30):
        asked = a_produce_request(version, rng)
        data = kio.written_by_kio(asked)
        request = produce_codec.read_request(version, memoryview(data), 0)
        assert b"".join(produce_codec.write_request(version, request)) == data


def test_the_records_of_a_produce_request_are_not_copied():
    records = memoryview(bytearray(b"x" * 1000))
    topics = [("t", [produce_codec.Part(0, records), produce_codec.Part(1, None)])]
    request = produce_codec.ProduceRequest(None, -1, 1000, topics)
    assert any(it is records for it in produce_codec.write_request(9, request))


def one_of(rng, *codes):
    return ErrorCode(rng.choice(codes))


def fitting(kind, **facts):
    """Of kio's classes: what this version lacks is left out."""
    names = {field.name for field in kio.fields(kind)}
    return kind(**{name: value for name, value in facts.items() if name in names})


def of_topic(kind, n, **facts):
    """The names that different versions have for a topic's place."""
    return fitting(kind, topic_id=uuid.UUID(int=n + 1), name=f"t-{n}", topic=f"t-{n}", **facts)


def a_produce_response(version, rng):
    module = kio.module_of("produce", version, "response")

    def part(number):
        facts = {}
        if version >= 8:
            faults = [(n, rng.choice([None, "its key"])) for n in range(rng.randrange(3))]
            facts["record_errors"] = tuple(
                module.BatchIndexAndErrorMessage(batch_index=n, batch_index_error_message=why)
                for n, why in faults
            )
        if version >= 10 and rng.random() < 0.5:
            facts["current_leader"] = module.LeaderIdAndEpoch(leader_id=2, leader_epoch=7)
        return fitting(
            module.PartitionProduceResponse, index=number, error_code=one_of(rng, 0, 3, 87),
            base_offset=rng.randrange(10**12), log_append_time=None,
            log_start_offset=rng.randrange(99), error_message=rng.choice([None, "why"]), **facts,
        )  # fmt: skip

    topics = [
        of_topic(
            module.TopicProduceResponse, n,
            partition_responses=tuple(part(it) for it in range(rng.randrange(3))),
        )
        for n in range(rng.randrange(3))
    ]  # fmt: skip
    return module.ProduceResponse(
        responses=tuple(topics), throttle_time=kio.milliseconds(rng.randrange(99))
    )


@pytest.mark.parametrize("version", PRODUCE)
def test_a_produce_response_is_read_as_kio_writes_it(version):
    rng = random.Random(version)
    for _ in range(30):
        said = a_produce_response(version, rng)
        data = kio.written_by_kio(said)
        read = produce_codec.read_response(version, memoryview(data), 0)
        found = read.topics
        plain = kio.plain(said, "")
        assert read.throttle_time_ms == plain["throttle_time_ms"]
        plain = plain["responses"]
        assert [topic for topic, _ in found] == [
            it["topic_id"] if version >= 13 else it["name"] for it in plain
        ]
        for (_, parts), topic in zip(found, plain, strict=True):
            for part, it in zip(parts, topic["partition_responses"], strict=True):
                assert (part.partition, part.error_code) == (it["index"], it["error_code"])
                assert (part.base_offset, part.append_time_ms) == (it["base_offset"], -1)
                assert part.log_start == it.get("log_start_offset", -1)
                assert part.message == it.get("error_message")
                assert part.faults == [
                    (one["batch_index"], one["batch_index_error_message"])
                    for one in it.get("record_errors", ())
                ] or (version < 8 and part.faults == ())
        for end in range(len(data) - 1):
            with pytest.raises(BrokenProtocol):
                produce_codec.read_response(version, memoryview(data)[:end], 0)


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
        assert found.rack == ("rack" if version >= 11 else "")
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
                aborted = [(7 + n, 100 * n) for n in range(rng.randrange(3))]
                code = rng.choice([0, 1])
                given.append(fetch_codec.Given(name, it, code, 17, 13, start, aborted, parts))
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
            assert (expected.error_code, 17, 13) == (
                it["error_code"], it["high_watermark"], it["last_stable_offset"],
            )  # fmt: skip
            assert (it["records"] or b"") == b"".join(expected.records)
            told = it["aborted_transactions"]
            named = told and [(one["producer_id"], one["first_offset"]) for one in told]
            assert (named or told) == ((expected.aborted or []) if committed else None)


@pytest.mark.parametrize("version", FETCH)
def test_a_fetch_request_is_written_as_kio_reads_it(version):
    rng = random.Random(version)
    for _ in range(30):
        request = fetch_codec.read_request(
            version, memoryview(kio.written_by_kio(a_fetch_request(version, rng))), 0
        )
        data = bytes(fetch_codec.write_request(version, request))
        entity = kio.read_by_kio("fetch", version, "request", data)
        assert kio.written_by_kio(entity) == data
        assert fetch_codec.read_request(version, memoryview(data), 0) == request
        assert kio.plain(entity, "").get("replica_id", -1) == -1  # it is no replica


def a_fetch_response(version, rng):
    module = kio.module_of("fetch", version, "response")

    def part(number):
        aborted = [
            module.AbortedTransaction(producer_id=rng.randrange(99), first_offset=n)
            for n in range(rng.randrange(3))
        ]
        facts = {}
        if version >= 12 and rng.random() < 0.5:
            facts["current_leader"] = module.LeaderIdAndEpoch(leader_id=2, leader_epoch=7)
        return fitting(
            module.PartitionData, partition_index=number, error_code=one_of(rng, 0, 1, 6),
            high_watermark=rng.randrange(10**12), last_stable_offset=rng.randrange(10**12),
            log_start_offset=rng.randrange(99), preferred_read_replica=rng.choice([-1, 3]),
            aborted_transactions=rng.choice([None, tuple(aborted)]),
            records=rng.choice([None, b"", rng.randbytes(rng.randrange(300))]), **facts,
        )  # fmt: skip

    topics = [
        of_topic(
            module.FetchableTopicResponse, n,
            partitions=tuple(part(it) for it in range(rng.randrange(3))),
        )
        for n in range(rng.randrange(3))
    ]  # fmt: skip
    return fitting(
        module.FetchResponse, throttle_time=kio.milliseconds(5), error_code=one_of(rng, 0),
        session_id=rng.randrange(99), responses=tuple(topics),
    )  # fmt: skip


@pytest.mark.parametrize("version", FETCH)
def test_a_fetch_response_is_read_as_kio_writes_it(version):
    rng = random.Random(version)
    for _ in range(30):
        said = a_fetch_response(version, rng)
        data = kio.written_by_kio(said)
        found = fetch_codec.read_response(version, memoryview(data), 0)
        plain = kio.plain(said, "")
        assert (found.error_code, found.session_id) == (0, plain.get("session_id", 0))
        assert found.throttle_time_ms == plain["throttle_time_ms"] == 5
        expected = [
            (topic["topic_id"] if version >= 13 else topic["topic"], it)
            for topic in plain["responses"]
            for it in topic["partitions"]
        ]
        for got, (name, it) in zip(found.got, expected, strict=True):
            assert (got.topic, got.partition) == (name, it["partition_index"])
            assert got.error_code == it["error_code"]
            assert got.high_watermark == it["high_watermark"]
            assert got.last_stable == it["last_stable_offset"]
            assert got.log_start == it.get("log_start_offset", -1)
            assert got.preferred == it.get("preferred_read_replica", -1)
            assert got.aborted == [
                (one["producer_id"], one["first_offset"])
                for one in it["aborted_transactions"] or ()
            ]
            assert bytes(got.records) == (it["records"] or b"")
        for end in range(len(data) - 1):
            with pytest.raises(BrokenProtocol):
                fetch_codec.read_response(version, memoryview(data)[:end], 0)
