"""Produce: what the records of a batch say, whatever its header claims."""

import random
import struct

import pytest
from door_kit import NOW_MS, Talk, a_batch, produce_body, produced_with_faults
from record_samples import with_crc, with_records

from logstore.broker import admission
from logstore.records.batch import Batch
from logstore.records.check import look
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode, recode
from logstore.records.varint import encoded

VERSION = 8
MINUTE_MS = 60_000


@pytest.fixture
def talk():
    talk = Talk()
    talk.topics.create("t", 1, {})
    return talk


def produce(talk, records, topic="t"):
    """(error code, base offset, message, faults)"""
    talk.send(0, VERSION, produce_body(topic, bytes(records)))
    [(_, body)] = talk.replies()
    code, base, _, _, message, faults = produced_with_faults(body, topic)
    return code, base, message, faults


def log_of(talk, topic="t"):
    return talk.topics.get(topic).partitions[0]


def stored(talk):
    return list(log_of(talk).read(0, 1 << 24))


def changed(records, at, data):
    return records[:at] + data + records[at + len(data) :]


def claiming(records, **claims):
    """The same records under another header, with a good checksum."""
    for name, value in claims.items():
        at, layout = {
            "attributes": (21, ">h"), "last_delta": (23, ">i"), "base_ms": (27, ">q"),
            "max_ms": (35, ">q"), "count": (57, ">i"),
        }[name]  # fmt: skip
        records = changed(records, at, struct.pack(layout, value))
    return with_crc(records)


def at_times(*times, key=None, **facts):
    return bytes(encode([(b"v", key, (), it) for it in times], **facts).data)


CODECS = list(Compression)
THREE = {codec: a_batch(b"a", b"b", b"c", compression=codec) for codec in CODECS}


# Maximum timestamp


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("claim", [-1, 0, NOW_MS - 1, NOW_MS + 1, 2**63 - 1])
def test_a_maximum_timestamp_that_is_not_true_is_put_right(talk, codec, claim):
    sent = claiming(THREE[codec], max_ms=claim)
    assert produce(talk, sent)[:2] == (0, 0)
    [batch] = stored(talk)
    batch.check()
    assert batch.max_timestamp_ms == NOW_MS
    assert bytes(batch.data)[61:] == sent[61:]
    assert [it.timestamp_ms for it in decode(batch)] == [NOW_MS] * 3


@pytest.mark.parametrize("codec", CODECS)
def test_a_true_header_is_stored_as_it_came(talk, codec):
    sent = at_times(NOW_MS - 5, NOW_MS + 7, NOW_MS, compression=codec)
    assert produce(talk, sent)[:2] == (0, 0)
    [batch] = stored(talk)
    assert bytes(batch.data)[16:] == sent[16:]
    assert batch.max_timestamp_ms == NOW_MS + 7


def test_records_without_timestamps_are_taken(talk):
    assert produce(talk, at_times(-1, -1))[0] == 0
    assert stored(talk)[0].max_timestamp_ms == -1


def test_a_clients_log_append_time_is_not_kept(talk):
    """Kafka clears the attribute, too; a topic of LogAppendTime refuses it."""
    sent = claiming(THREE[Compression.NONE], attributes=8, max_ms=5)
    assert produce(talk, sent)[0] == 0
    [batch] = stored(talk)
    assert (batch.is_log_append_time, batch.max_timestamp_ms) == (False, NOW_MS)
    talk.topics.create("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    assert produce(talk, sent, "stamped")[0] == 32


# Counts and offset deltas


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [1, 2, 4, 5, 1000, 2**31 - 1])
def test_a_count_that_is_not_true_is_refused(talk, codec, count):
    sent = claiming(THREE[codec], count=count, last_delta=count - 1)
    code, base, message, faults = produce(talk, sent)
    assert (code, base, faults) == (87, -1, [])
    assert "record" in message
    assert log_of(talk).end == 0


@pytest.mark.parametrize(
    ("count", "last_delta"), [(2, 2), (4, 2), (3, 1), (3, 3), (0, 0), (0, 2), (-1, 2), (3, -1)]
)
def test_a_count_that_its_last_offset_denies_is_refused(talk, count, last_delta):
    sent = claiming(THREE[Compression.NONE], count=count, last_delta=last_delta)
    assert produce(talk, sent)[:2] == (87, -1)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        claiming(a_batch(b"v"), last_delta=-1, count=0),
        claiming(a_batch(b"v"), last_delta=-1, count=-1),
        claiming(a_batch(b"v"), attributes=5),
        claiming(a_batch(b"v"), attributes=7),
        changed(a_batch(b"v"), 0, struct.pack(">q", -1)),
        changed(a_batch(b"v"), 0, struct.pack(">q", 2**63 - 1)),
    ],
)
def test_what_came_as_it_was_sent_is_not_asked_for_again(talk, sent):
    """CORRUPT_MESSAGE has a client send the same bytes until its time is over."""
    assert produce(talk, sent)[:2] == (87, -1)
    cut = a_batch(b"v")[:-1]
    assert produce(talk, cut)[0] == 2


def test_a_batch_without_records_is_refused(talk):
    sent = with_records(Batch(THREE[Compression.NONE]), b"", 0, 0)
    assert produce(talk, sent.data)[0] == 87


def record(delta, time=0, more=b""):
    body = b"\0" + encoded(time) + encoded(delta) + b"\x01" + b"\x02v" + b"\0" + more
    return encoded(len(body)) + body


ONE = encode([(b"", None, (), NOW_MS)])


RECORDS = {
    "all deltas 0": record(0) * 3,
    "out of order": record(0) + record(2) + record(1),
    "a gap": record(0) + record(1) + record(3),
    "from 1": record(1) + record(2) + record(3),
    "the largest delta": record(0) + record(1) + record(2**31 - 1),
    "a negative delta": record(0) + record(1) + record(-1),
    "a byte too many in a record": record(0) + record(1) + record(2, more=b"\0"),
    "a byte behind": record(0) + record(1) + record(2) + b"\0",
    "a record behind": record(0) + record(1) + record(2) + record(3),
    "cut off": (record(0) + record(1) + record(2))[:-1],
    "garbage": b"\xff" * 50,
    "nothing": b"",
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("what", RECORDS)
def test_records_that_are_not_whole_or_not_in_order_are_refused(talk, codec, what):
    sent = recode(with_records(ONE, RECORDS[what], 3, 2), codec)
    code, base, message, faults = produce(talk, sent.data)
    assert (code, base, faults) == (87, -1, [])
    assert "batch at offset 0" in message


@pytest.mark.parametrize("codec", CODECS[1:])
def test_garbage_in_the_name_of_a_codec_is_refused(talk, codec):
    sent = with_crc(changed(bytes(with_records(ONE, b"\xff" * 50, 3, 2).data), 22, bytes((codec,))))
    code, _, message, _ = produce(talk, sent)
    assert (code, codec.name.lower() in message) == (87, True)


# Limits and keys


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("setting", "bad"),
    [
        ("message.timestamp.before.max.ms", NOW_MS - 10 * MINUTE_MS),
        ("message.timestamp.after.max.ms", NOW_MS + 10 * MINUTE_MS),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_timestamp_is_compared_with_both_limits(codec, setting, bad, place):
    talk = Talk()
    talk.topics.create("t", 1, {setting: str(MINUTE_MS)})
    times = [NOW_MS] * 3
    times[place] = bad
    code, base, message, faults = produce(talk, at_times(*times, compression=codec))
    assert (code, base) == (32, -1)
    assert "1 of 3 records" in message
    assert setting in message
    assert [it for it, _ in faults] == [place]
    assert str(bad) in faults[0][1]
    assert log_of(talk).end == 0
    assert produce(talk, at_times(NOW_MS, NOW_MS - MINUTE_MS, compression=codec))[0] == 0


def test_a_lying_header_hides_no_timestamp_from_the_limits():
    talk = Talk()
    talk.topics.create("t", 1, {"message.timestamp.before.max.ms": str(MINUTE_MS)})
    sent = at_times(NOW_MS, NOW_MS - 10 * MINUTE_MS)
    assert produce(talk, claiming(sent, max_ms=NOW_MS))[0] == 32
    late = at_times(NOW_MS, NOW_MS + 100 * 60 * MINUTE_MS)
    assert produce(talk, claiming(late, max_ms=NOW_MS))[0] == 32


def test_a_record_without_a_timestamp_is_within_every_limit():
    talk = Talk()
    talk.topics.create("t", 1, {"message.timestamp.before.max.ms": str(MINUTE_MS)})
    assert produce(talk, at_times(-1, -1))[0] == 0
    assert produce(talk, at_times(NOW_MS, -1))[0] == 0
    assert produce(talk, at_times(NOW_MS, -2))[0] == 32


@pytest.mark.parametrize("codec", CODECS)
def test_ten_records_of_a_hundred_without_a_key_are_named(codec):
    talk = Talk()
    talk.topics.create("t", 1, {"cleanup.policy": "compact"})
    messages = [(b"v", None if n % 10 == 3 else b"k", (), NOW_MS) for n in range(100)]
    code, base, message, faults = produce(talk, encode(messages, compression=codec).data)
    assert (code, base) == (87, -1)
    assert "10 of 100 records" in message
    assert [it for it, _ in faults] == list(range(3, 100, 10))
    assert all("needs a key" in why for _, why in faults)


def test_of_both_kinds_of_faults_the_timestamps_give_the_code():
    talk = Talk()
    settings = {"cleanup.policy": "compact", "message.timestamp.before.max.ms": str(MINUTE_MS)}
    talk.topics.create("t", 1, settings)
    old = NOW_MS - 10 * MINUTE_MS
    messages = [(b"v", None, (), NOW_MS), (b"v", b"k", (), old), (b"v", b"k", (), NOW_MS)]
    code, _, _, faults = produce(talk, encode(messages).data)
    assert (code, [it for it, _ in faults]) == (32, [0, 1])


def test_faults_beyond_a_thousand_are_named_without_a_reason():
    talk = Talk()
    talk.topics.create("t", 1, {"cleanup.policy": "compact"})
    code, _, _, faults = produce(talk, a_batch(*[b"v"] * 1500))
    assert (code, [it for it, _ in faults]) == (87, list(range(1500)))
    assert [why is None for _, why in faults] == [False] * 1000 + [True] * 500


# Sizes


@pytest.mark.parametrize("target", ["uncompressed", "snappy", "lz4"])
def test_the_size_limit_holds_for_what_is_stored(target):
    talk = Talk()
    talk.topics.create("t", 1, {"compression.type": target, "max.message.bytes": "2000"})
    values = [b"%0999d" % n for n in range(50)]
    sent = a_batch(*values, compression=Compression.GZIP)
    assert len(sent) < 2000
    if target == "uncompressed":
        code, base, message, _ = produce(talk, sent)
        assert (code, base) == (10, -1)
        assert "max.message.bytes" in message
        assert log_of(talk).end == 0
    small = a_batch(*values[:1], compression=Compression.GZIP)
    assert produce(talk, small)[:2] == (0, 0)
    assert all(it.size <= 2000 for it in stored(talk))


def test_a_batch_that_grows_when_it_is_compressed_anew_is_refused():
    talk = Talk()
    talk.topics.create("t", 1, {"compression.type": "lz4", "max.message.bytes": "2000"})
    digits = random.Random(1).randbytes(1600).hex().encode()  # entropy coding halves them
    sent = a_batch(digits, compression=Compression.ZSTD)
    assert len(sent) < 2000
    code, _, message, _ = produce(talk, sent)
    assert (code, "as lz4" in message) == (10, True)


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.ZSTD, Compression.LZ4])
def test_a_bomb_is_opened_no_further_than_the_bound(codec, monkeypatch):
    monkeypatch.setattr(admission, "DECOMPRESSED_BYTES_MAX", 3 << 20)
    talk = Talk()
    talk.topics.create("t", 1, {"max.message.bytes": str(1 << 24)})
    sent = a_batch(bytes(8 << 20), compression=codec)
    code, _, message, _ = produce(talk, sent)
    assert (code, "more than 3145728 bytes" in message) == (10, True)


# What is looked into elsewhere, and what waits


class Worker:
    """Jobs that are done when a test says."""

    def __init__(self):
        self.jobs = []

    def __call__(self, job, done):
        self.jobs.append((job, done))

    def work(self):
        job, done = self.jobs.pop(0)
        done(job())


def batch_of(bytes_opened, codec=Compression.LZ4):
    values = [b"%0990d" % n for n in range(bytes_opened // 1000)]
    return a_batch(*values, compression=codec)


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
def busy(worker):
    talk = Talk(work=worker)
    talk.topics.create("t", 1, {"max.message.bytes": str(1 << 24)})
    talk.topics.create("u", 1, {})
    return talk


@pytest.mark.parametrize("codec", CODECS)
def test_more_than_a_megabyte_is_looked_into_elsewhere(busy, worker, codec):
    busy.send(0, VERSION, produce_body("t", batch_of(900_000, codec)))
    assert (len(busy.replies()), len(worker.jobs)) == (1, 0)
    busy.send(0, VERSION, produce_body("t", batch_of(1_200_000, codec)))
    assert (busy.replies(), len(worker.jobs)) == ([], 1)
    worker.work()
    assert len(busy.replies()) == 1
    assert [it.record_count for it in stored(busy)] == [900, 1200]


def test_batches_of_a_partition_wait_behind_and_keep_their_order(busy, worker):
    other = Talk(beside=busy)
    busy.send(0, VERSION, produce_body("t", batch_of(2_000_000)))
    other.send(0, VERSION, produce_body("t", a_batch(b"small")))
    assert (log_of(busy).end, other.replies()) == (0, [])
    worker.work()
    assert [it.record_count for it in stored(busy)] == [2000, 1]
    assert [len(it.replies()) for it in (busy, other)] == [1, 1]
    assert (busy.woken, other.woken) == (1, 1)
    other.send(0, VERSION, produce_body("t", a_batch(b"small")))
    assert len(other.replies()) == 1


def test_other_partitions_do_not_wait(busy, worker):
    other = Talk(beside=busy)
    busy.send(0, VERSION, produce_body("t", batch_of(2_000_000)))
    other.send(0, VERSION, produce_body("u", a_batch(b"small")))
    assert (len(other.replies()), log_of(busy, "u").end) == (1, 1)
    worker.work()
    assert len(busy.replies()) == 1


def test_what_was_done_first_still_waits_for_what_came_first(busy, worker):
    talks = [busy, Talk(beside=busy), Talk(beside=busy)]
    for size, talk in zip((3_000_000, 2_000_000, 1_500_000), talks, strict=True):
        talk.send(0, VERSION, produce_body("t", batch_of(size)))
    worker.jobs.reverse()
    worker.work()
    worker.work()
    assert log_of(busy).end == 0
    worker.work()
    assert [it.record_count for it in stored(busy)] == [3000, 2000, 1500]
    assert [len(it.replies()) for it in talks] == [1, 1, 1]


def test_a_refused_batch_lets_those_behind_it_go_on(busy, worker):
    other = Talk(beside=busy)
    sent = batch_of(2_000_000)
    busy.send(0, VERSION, produce_body("t", claiming(sent, count=1999, last_delta=1998)))
    other.send(0, VERSION, produce_body("t", a_batch(b"small")))
    worker.work()
    [(_, body)] = busy.replies()
    assert produced_with_faults(body, "t")[0] == 87
    assert (len(other.replies()), log_of(busy).end) == (1, 1)


def test_a_client_that_has_gone_does_not_hold_up_those_behind_it(busy, worker):
    other = Talk(beside=busy)
    busy.send(0, VERSION, produce_body("t", batch_of(2_000_000)))
    other.send(0, VERSION, produce_body("t", a_batch(b"small")))
    busy.session.close()
    worker.work()
    assert len(other.replies()) == 1
    assert log_of(busy).end == 2001


def test_a_bug_in_a_worker_is_told_and_holds_up_nobody(busy, worker):
    from logstore.errors import Failed

    other = Talk(beside=busy)
    busy.send(0, VERSION, produce_body("t", batch_of(2_000_000)))
    other.send(0, VERSION, produce_body("t", a_batch(b"small")))
    _, done = worker.jobs.pop()
    done(Failed("internal error"))
    [(_, body)] = busy.replies()
    assert produced_with_faults(body, "t")[0] == 56
    assert (len(other.replies()), log_of(busy).end) == (1, 1)


def many_parts(topic, records, partitions):
    name = topic.encode()
    body = struct.pack(">hhiih", -1, -1, 1000, 1, len(name)) + name
    body += struct.pack(">i", partitions)
    for it in range(partitions):
        body += struct.pack(">ii", it, len(records)) + records
    return body


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("count", "partitions"), [(1, 100), (9000, 9)])
def test_one_turn_looks_at_a_bounded_number_of_records(worker, codec, count, partitions):
    """However many batches come in it, and however small they are as they travel."""
    talk = Talk(work=worker)
    talk.topics.create("t", 100, {})
    records = a_batch(*[bytes(80)] * count, compression=codec)
    looked = []
    original = admission.Walk.end

    def end(walk):
        looked.append(walk.looked_at)
        return original(walk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission.Walk, "end", end)
        talk.send(0, VERSION, many_parts("t", records, partitions))
    assert sum(looked) <= admission.GLANCE_MAX
    assert len(looked) == (100 if count == 1 else 2 if codec == Compression.NONE else 1)
    while worker.jobs:
        worker.work()
    assert len(talk.replies()) == 1
    assert [log.end for log in talk.topics.get("t").partitions[:partitions]] == [count] * partitions


def test_records_that_take_long_are_not_all_looked_at_in_the_sessions_thread(worker):
    """A padded number in each; no client writes them so, but they are whole."""
    talk = Talk(work=worker)
    talk.topics.create("t", 1, {})
    bodies = [
        b"\0\0" + encoded(n) + b"\x81\x00" + encoded(n % 5) + b"v" * (n % 5) + b"\0"
        for n in range(9000)
    ]
    records = b"".join(encoded(len(it)) + it for it in bodies)
    talk.send(0, VERSION, produce_body("t", bytes(with_records(ONE, records, 9000, 8999).data)))
    assert len(worker.jobs) == 1
    worker.work()
    assert (len(talk.replies()), log_of(talk).end) == (1, 9000)


@pytest.mark.parametrize("member", ["gzip", "zstd"])
def test_thousands_of_empty_frames_are_not_opened_in_the_sessions_thread(worker, member):
    import gzip

    import zstandard

    empty = {"gzip": gzip.compress(b""), "zstd": zstandard.compress(b"")}[member]
    codec = {"gzip": Compression.GZIP, "zstd": Compression.ZSTD}[member]
    talk = Talk(work=worker)
    talk.topics.create("t", 1, {})
    whole = a_batch(b"a", compression=codec)
    data = bytearray(whole[:61] + empty * 1000 + whole[61:])
    data[8:12] = struct.pack(">i", len(data) - 12)
    talk.send(0, VERSION, produce_body("t", with_crc(data)))
    assert len(worker.jobs) == 1
    worker.work()
    assert (len(talk.replies()), log_of(talk).end) == (1, 1)


def test_the_header_of_what_is_stored_says_what_the_records_do(busy, worker):
    """Also of what was looked into elsewhere."""
    sent = claiming(batch_of(2_000_000), max_ms=-1)
    busy.send(0, VERSION, produce_body("t", sent))
    worker.work()
    [batch] = stored(busy)
    batch.check()
    assert batch.max_timestamp_ms == look(batch, dense=True).max_timestamp_ms == NOW_MS
