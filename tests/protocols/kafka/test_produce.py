import struct

import kio_oracle as kio
import pytest
import storage_kit
from clock import NOW_MS
from door_kit import Talk, a_batch, opened, produce_body, produced
from far_log import FarLog

from logstore.broker.producer_ids import OWN
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode

VERSION = 8
DAY_MS = 86_400_000


@pytest.fixture
def talk():
    talk = Talk()
    talk.topics.create("t", 1, {})
    return talk


def produce(talk, records, topic="t", **facts):
    """(error code, base offset, append time, log start, message)"""
    talk.send(0, VERSION, produce_body(topic, records, **facts))
    [(_, body)] = talk.replies()
    return produced(body, topic)


def log_of(talk, topic="t"):
    return talk.topics.get(topic).partitions[0]


def stored(talk, topic="t"):
    return [it.value for batch in log_of(talk, topic).read(0, 1 << 20) for it in decode(batch)]


def test_a_batch_is_stored_as_it_came_but_for_its_offset(talk):
    records = a_batch(b"a", b"b", compression=Compression.ZSTD)
    assert produce(talk, records) == (0, 0, -1, 0, None)
    assert produce(talk, records) == (0, 2, -1, 0, None)
    first, second = log_of(talk).read(0, 1 << 20)
    assert (bytes(first.data)[16:], bytes(second.data)[16:]) == (records[16:], records[16:])


def test_acks_1_does_not_wait_for_the_sync(talk):
    log_of(talk).hold()
    assert produce(talk, a_batch(b"a"), acks=1)[:2] == (0, 0)


def test_where_a_batch_stands_is_told_when_it_is_safe_though_others_append_before_it(talk):
    far = FarLog("far-0")
    opened(talk.topics.put("far", [far]))
    talk.send(0, VERSION, produce_body("far", a_batch(b"a", b"b")))
    far.append_elsewhere(storage_kit.a_batch(b"theirs"))
    assert talk.replies() == []
    far.arrive()
    talk.session.wake(talk.now)
    [(_, body)] = talk.replies()
    assert produced(body, "far")[:2] == (0, 1)


def test_one_that_is_not_safe_in_time_is_refused_and_the_others_are_placed(talk):
    slow, quick = (talk.topics.create(name, 1, {}).partitions[0] for name in ("s", "q"))
    slow.hold()
    quick.hold()
    first, second = (produce_body(it, a_batch(b"a"), timeout_ms=500) for it in ("s", "q"))
    talk.send(0, VERSION, first[:8] + struct.pack(">i", 2) + first[12:] + second[12:])
    assert talk.replies() == []
    quick.sync()
    assert talk.replies() == []
    talk.pass_time(0.5)
    [(_, body)] = talk.replies()
    answer = kio.read_by_kio("produce", VERSION, "response", body)
    parts = {it.name: it.partition_responses[0] for it in answer.responses}
    found = {name: (it.error_code.value, it.base_offset) for name, it in parts.items()}
    assert found == {"s": (7, -1), "q": (0, 0)}


def test_acks_0_has_no_answer_and_a_failure_ends_the_connection(talk):
    talk.send(0, VERSION, produce_body("t", a_batch(b"a"), acks=0))
    assert (talk.replies(), stored(talk), talk.session.closed) == ([], [b"a"], None)
    talk.send(0, VERSION, produce_body("nowhere", a_batch(b"a"), acks=0))
    assert talk.replies() == []
    assert "acks=0" in talk.session.closed


def test_one_sync_is_asked_for_all_that_came_in_one_read(talk):
    frames = [talk.frame(0, VERSION, produce_body("t", a_batch(b"a"))) for _ in range(5)]
    talk.feed(b"".join(frames))
    assert log_of(talk).syncs == 1


def test_a_failed_sync_is_told_to_who_waits(talk):
    log_of(talk).hold()
    talk.send(0, VERSION, produce_body("t", a_batch(b"a")))
    log_of(talk).fail()
    talk.session.wake(talk.now)
    [(_, body)] = talk.replies()
    code, base, _, _, message = produced(body, "t")
    assert (code, base) == (56, -1)
    assert "sync failed" in message


def changed(records, at, data):
    return records[:at] + data + records[at + len(data) :]


def with_crc(records):
    """The same, its checksum made right for what stands there."""
    from logstore.records.crc import crc32c

    return changed(records, 17, crc32c(records[21:]).to_bytes(4, "big"))


GOOD = a_batch(b"a", b"b")


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        (None, 87, "no records"),
        (b"", 87, "no records"),
        (GOOD[:50], 2, "cut off"),
        (GOOD[:-1], 2, "length"),
        (changed(GOOD, 70, b"\xff"), 2, "CRC"),
        (changed(GOOD, 16, b"\1"), 87, "format version 1"),
        (GOOD + GOOD, 87, "more than one batch"),
        (with_crc(changed(GOOD, 57, struct.pack(">i", 1))), 87, "1 records"),
        (with_crc(changed(GOOD, 57, struct.pack(">i", 3))), 87, "3 records"),
        (changed(GOOD, 0, struct.pack(">q", 5)), 87, "offsets 5 to 6"),
        (with_crc(changed(GOOD, 21, b"\0\x20")), 87, "control"),
        (with_crc(changed(GOOD, 21, b"\0\x10")), 53, "transactional id"),
        (with_crc(changed(GOOD, 21, b"\0\x07")), 87, "compression 7"),
        (a_batch(b"a", at_ms=NOW_MS + DAY_MS), 32, "message.timestamp.after.max.ms"),
        (a_batch(b"a", producer_id=5), 87, "producer 5"),
        (a_batch(b"x" * 1_100_000), 10, "max.message.bytes"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be_is_refused_with_a_message(
    talk, records, code, message
):
    found, base, _, _, text = produce(talk, records)
    assert (found, base) == (code, -1)
    assert message in text
    assert log_of(talk).end == 0


@pytest.mark.parametrize(("topic", "partition"), [("nowhere", 0), ("t", 7), ("t", -1)])
def test_an_unknown_place_is_told(talk, topic, partition):
    talk.send(0, VERSION, produce_body(topic, GOOD, partition=partition))
    [(_, body)] = talk.replies()
    assert struct.unpack_from(">h", body, 4 + 2 + len(topic) + 4 + 4) == (3,)


def test_zstd_needs_a_version_that_knows_it(talk):
    body = produce_body("t", a_batch(b"a", compression=Compression.ZSTD))
    talk.send(0, 6, body)
    [(_, answer)] = talk.replies()
    assert struct.unpack_from(">h", answer, 4 + 2 + 1 + 4 + 4) == (76,)
    talk.send(0, 7, body)
    [(_, answer)] = talk.replies()
    assert struct.unpack_from(">h", answer, 4 + 2 + 1 + 4 + 4) == (0,)


def test_versions_of_the_old_record_formats_end_the_connection(talk):
    talk.send(0, 2, b"")
    assert "record formats" in talk.session.closed


def test_acks_of_another_number_are_refused(talk):
    assert produce(talk, GOOD, acks=2)[0] == 21


def test_log_append_time_is_stamped_and_told():
    talk = Talk()
    talk.topics.create("t", 1, {"message.timestamp.type": "LogAppendTime"})
    assert produce(talk, a_batch(b"a", at_ms=5))[:3] == (0, 0, NOW_MS)
    [batch] = log_of(talk).read(0, 1000)
    assert (batch.is_log_append_time, batch.max_timestamp_ms) == (True, NOW_MS)
    batch.check()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
@pytest.mark.parametrize("sent", list(Compression))
def test_a_topic_with_a_codec_of_its_own_gets_batches_in_it(codec, sent):
    talk = Talk()
    talk.topics.create("t", 1, {"compression.type": codec})
    values = [b"value %d" % n for n in range(50)]
    assert produce(talk, a_batch(*values, compression=sent))[0] == 0
    [batch] = log_of(talk).read(0, 1 << 20)
    assert batch.compression.name.lower() == codec.replace("uncompressed", "none")
    assert stored(talk) == values


def test_a_compacted_topic_takes_only_what_has_a_key():
    talk = Talk()
    talk.topics.create("t", 1, {"cleanup.policy": "compact"})
    code, _, _, _, message = produce(talk, a_batch(b"a"))
    assert (code, "needs a key" in message) == (87, True)
    assert produce(talk, a_batch(b"a", key=b"k"))[:2] == (0, 0)


def test_batches_looked_into_elsewhere_keep_their_order_and_are_copied():
    jobs = []
    talk = Talk(work=lambda job, done: jobs.append((job, done)))
    talk.topics.create("t", 1, {"compression.type": "gzip"})
    buffer = bytearray(talk.frame(0, VERSION, produce_body("t", a_batch(b"a"))))
    assert talk.session.receive(memoryview(buffer), talk.now) == len(buffer)
    buffer[:] = bytes(len(buffer))  # the server reads the next bytes into it
    talk.send(0, VERSION, produce_body("t", a_batch(b"b")))
    assert len(jobs) == 1  # the second waits
    job, done = jobs.pop()
    done(job())
    talk.session.wake(talk.now)
    assert len(talk.replies()) == 1
    talk.feed(b"")
    job, done = jobs.pop()
    done(job())
    assert len(talk.replies()) == 1
    assert stored(talk) == [b"a", b"b"]


def test_bytes_that_are_stored_do_not_change_with_the_receive_buffer(talk):
    buffer = bytearray(talk.frame(0, VERSION, produce_body("t", a_batch(b"keep me"))))
    talk.session.receive(memoryview(buffer), talk.now)
    buffer[:] = b"\xff" * len(buffer)
    assert stored(talk) == [b"keep me"]


# Idempotent producers


def idempotent(talk, sequence, *values, producer=7, epoch=0):
    batch = a_batch(
        *(values or (b"%d" % sequence,)),
        producer_id=producer, producer_epoch=epoch, base_sequence=sequence,
    )  # fmt: skip
    return produce(talk, batch)[:2]


def test_a_batch_sent_twice_stands_there_once(talk):
    for n in range(7):
        assert idempotent(talk, n) == (0, n)
    for n in range(2, 7):
        assert idempotent(talk, n) == (0, n)
    assert idempotent(talk, 1)[0] == 45  # not among the last five: it cannot be known
    assert idempotent(talk, 9)[0] == 45
    assert idempotent(talk, 7) == (0, 7)
    assert stored(talk) == [b"%d" % n for n in range(8)]


@pytest.mark.parametrize("producer", sorted(OWN))
def test_a_client_that_claims_to_be_the_server_is_refused_also_where_that_has_written(
    talk, producer
):
    batch = a_batch(b"own", producer_id=producer, producer_epoch=0, base_sequence=1)
    log_of(talk).append(Batch(batch))
    assert idempotent(talk, 2, producer=producer)[0] == 49
    assert stored(talk) == [b"own"]


def test_a_duplicate_is_acknowledged_only_when_the_first_is_safe(talk):
    log_of(talk).hold()
    batch = a_batch(b"a", producer_id=7, producer_epoch=0, base_sequence=0)
    talk.send(0, VERSION, produce_body("t", batch))
    talk.send(0, VERSION, produce_body("t", batch))
    assert talk.replies() == []
    log_of(talk).sync()
    assert [produced(body, "t")[:2] for _, body in talk.replies()] == [(0, 0), (0, 0)]


def test_a_new_epoch_begins_at_0_and_fences_the_old(talk):
    assert idempotent(talk, 0) == (0, 0)
    assert idempotent(talk, 5, epoch=1)[0] == 45
    assert idempotent(talk, 0, epoch=1) == (0, 1)
    assert idempotent(talk, 1, epoch=0)[0] == 47
    assert idempotent(talk, 1, epoch=1) == (0, 2)


def test_a_producer_that_was_silent_for_too_long_is_forgotten(talk):
    assert idempotent(talk, 0) == (0, 0)
    talk.clock_ms += DAY_MS
    assert idempotent(talk, 41) == (0, 1)
    assert idempotent(talk, 42) == (0, 2)


def test_sequences_go_on_at_0(talk):
    last = 2**31 - 1
    assert idempotent(talk, last - 1, b"a", b"b", b"c") == (0, 0)  # the third has sequence 0
    assert idempotent(talk, last - 1, b"a", b"b", b"c") == (0, 0)
    assert idempotent(talk, 1) == (0, 3)


@pytest.mark.parametrize(("codec", "low", "high"), [("gzip", "1", "9"), ("lz4", "9", "12")])
def test_batches_are_recompressed_at_the_topics_level(codec, low, high):
    text = b"".join(b"%d is what %d times %d is; " % (n * n, n, n) for n in range(4000))
    sizes = []
    for level in (low, high):
        settings = {"compression.type": codec, f"compression.{codec}.level": level}
        talk = Talk()
        talk.topics.create("t", 1, settings)
        assert produce(talk, a_batch(text))[:2] == (0, 0)
        [batch] = log_of(talk).read(0, 1 << 30)
        assert batch.compression.name == codec.upper()
        sizes.append(batch.size)
    assert sizes[0] > sizes[1] * 1.05
