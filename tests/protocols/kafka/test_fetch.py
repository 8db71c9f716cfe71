import struct
from functools import partial

import pytest
from door_kit import Talk, a_batch
from fetch_kit import MIB, answer, asking
from record_samples import with_records

from logstore.errors import OffsetBelowStart
from logstore.protocols.kafka import partition_fetch
from logstore.records.batch import Batch, split
from logstore.records.decode import decode
from logstore.records.encode import encode


@pytest.fixture
def talk():
    return Talk()


def fill(talk, name="t", batches=3, size=100, partitions=1):
    topic = talk.topics.get(name) or talk.topics.create(name, partitions, {})
    for log in topic.partitions:
        for n in range(batches):
            log.append(Batch(a_batch(b"%d|" % n + bytes(size), b"%d'|" % n)))
    return topic


def fetch(talk, places, version=11, **facts):
    talk.send(1, version, asking(version, places, **facts))
    return answer(talk, version)


def parts(answered):
    return [it for topic in answered["responses"] for it in topic["partitions"]]


def offsets(part):
    """Of the batches in it."""
    data, found = part["records"] or b"", []
    while data:
        base, length = struct.unpack_from(">qi", data)
        batch = Batch(data[: 12 + length])
        batch.check()
        assert decode(batch)
        found.append(base)
        data = data[12 + length :]
    return found


@pytest.mark.parametrize("version", range(4, 19))
def test_batches_come_as_they_are_stored(talk, version):
    topic = fill(talk)
    found = fetch(talk, [("t", 0, 0, MIB)], version)
    [part] = parts(found)
    stored = b"".join(bytes(it.data) for it in topic.partitions[0].read(0, MIB))
    assert part["records"] == stored
    assert (part["high_watermark"], part["last_stable_offset"]) == (6, 6)
    assert (part["error_code"], part.get("log_start_offset", 0)) == (0, 0)
    assert found["throttle_time_ms"] == 0


def test_a_fetch_from_inside_a_batch_gets_the_whole_batch(talk):
    fill(talk)
    [part] = parts(fetch(talk, [("t", 0, 3, MIB)]))
    assert offsets(part) == [2, 4]


def test_the_first_batch_comes_however_small_the_limits_are(talk):
    fill(talk, partitions=3)
    places = [("t", n, 0, 1) for n in range(3)]
    first, second, third = parts(fetch(talk, places, max_bytes=1))
    assert (offsets(first), offsets(second), offsets(third)) == ([0], [], [])
    assert second["high_watermark"] == 6


def test_the_limits_count_whole_batches(talk):
    topic = fill(talk, partitions=2)
    size = topic.partitions[0].read(0, 1)[0].size
    [part] = parts(fetch(talk, [("t", 0, 0, 2 * size + 10)]))
    assert offsets(part) == [0, 2]
    places = [("t", 0, 0, MIB), ("t", 1, 0, MIB)]
    first, second = parts(fetch(talk, places, max_bytes=4 * size + 10))
    assert (offsets(first), offsets(second)) == ([0, 2, 4], [0])


def test_the_servers_own_limit_counts_too():
    talk = Talk(settings={"fetch.max.bytes": 2000})
    fill(talk, batches=20, size=400)
    [part] = parts(fetch(talk, [("t", 0, 0, MIB)]))
    assert 1 <= len(offsets(part)) <= 4


def read_on(talk, partition_bytes=50 * MIB, **facts):
    """The sizes of the answers that read partition 0 of "t" from its start to its end."""
    sizes, offset = [], 0
    while True:
        [part] = parts(fetch(talk, [("t", 0, offset, partition_bytes)], **facts))
        if offset == part["high_watermark"]:
            return sizes
        assert offsets(part)[0] == offset
        sizes.append(len(part["records"]))
        offset = offsets(part)[-1] + 2


@pytest.fixture
def answers_of_2_mib(monkeypatch):
    """In the place of 8: enough to see it by."""
    monkeypatch.setattr("logstore.protocols.kafka.fetch.RESPONSE_BYTES", 2 * MIB)


@pytest.mark.usefixtures("answers_of_2_mib")
def test_an_answer_is_small_however_much_a_client_takes_and_all_comes(talk):
    fill(talk, batches=7, size=900_000)
    sizes = read_on(talk)
    assert len(sizes) == 4
    assert max(sizes) <= 2 * MIB


@pytest.mark.usefixtures("answers_of_2_mib")
def test_who_wants_no_less_than_more_gets_it_at_once(talk):
    fill(talk, batches=7, size=900_000)
    first, *_ = read_on(talk, min_bytes=5 * MIB)
    assert 4 * MIB < first <= 5 * MIB


@pytest.mark.usefixtures("answers_of_2_mib")
def test_a_partition_whose_batches_do_not_fit_any_more_is_not_read(talk):
    topic = fill(talk, batches=3, size=600_000, partitions=3)
    read = [[] for _ in topic.partitions]
    for log, calls in zip(topic.partitions, read, strict=True):
        plain = log.read
        log.read = lambda at, size, plain=plain, calls=calls: calls.append(at) or plain(at, size)
    places = [("t", n, 0, 50 * MIB) for n in range(3)]
    found = parts(fetch(talk, places))
    assert [offsets(part) for part in found] == [[0, 2, 4], [], []]
    assert read == [[0], [], []]
    assert [part["high_watermark"] for part in found] == [6, 6, 6]


@pytest.mark.parametrize(("offset", "code"), [(-1, 1), (7, 1), (6, 0), (0, 0)])
def test_an_offset_outside_the_log_is_told(talk, offset, code):
    fill(talk)
    [part] = parts(fetch(talk, [("t", 0, offset, MIB)], wait_ms=0))
    assert part["error_code"] == code


def test_a_trimmed_offset_is_told(talk):
    fill(talk).partitions[0].trim(2)
    [part] = parts(fetch(talk, [("t", 0, 0, MIB)], wait_ms=1000))
    assert part["error_code"] == 1


@pytest.mark.parametrize(("version", "code"), [(11, 3), (13, 100)])
def test_an_unknown_topic_is_told_at_once(talk, version, code):
    fill(talk)
    unknown, known = parts(fetch(talk, [("u", 0, 0, MIB), ("t", 0, 0, MIB)], version, wait_ms=9999))
    assert (unknown["error_code"], known["error_code"]) == (code, 0)
    [part] = parts(fetch(talk, [("t", 9, 0, MIB)], version, wait_ms=9999))
    assert part["error_code"] == 3


def test_nothing_above_safe_is_shown(talk):
    log = fill(talk).partitions[0]
    log.hold()
    log.append(Batch(a_batch(b"not yet")))
    [part] = parts(fetch(talk, [("t", 0, 4, MIB)]))
    assert (offsets(part), part["high_watermark"]) == ([4], 6)
    [part] = parts(fetch(talk, [("t", 0, 6, MIB)]))
    assert (part["error_code"], part["records"]) == (0, b"")


def test_a_fetch_waits_for_news(talk):
    log = fill(talk).partitions[0]
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=500))
    assert (talk.replies(), talk.session.deadline) == ([], talk.now + 0.5)
    log.append(Batch(a_batch(b"news")))
    assert talk.woken
    talk.session.wake(talk.now)
    [part] = parts(answer(talk, 11))
    assert offsets(part) == [6]


def test_a_fetch_is_answered_when_its_time_is_up(talk):
    fill(talk)
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=500))
    talk.pass_time(0.49)
    assert talk.replies() == []
    talk.pass_time(0.02)
    [part] = parts(answer(talk, 11))
    assert (part["error_code"], part["records"]) == (0, b"")


def test_a_fetch_waits_until_enough_is_there(talk):
    log = fill(talk, batches=0).partitions[0]
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], wait_ms=500, min_bytes=300))
    for _ in range(2):
        log.append(Batch(a_batch(bytes(70))))
        talk.session.wake(talk.now)
        assert talk.replies() == []
    log.append(Batch(a_batch(bytes(70))))
    talk.session.wake(talk.now)
    assert offsets(parts(answer(talk, 11))[0]) == [0, 1, 2]


def test_more_is_never_waited_for_than_could_be_given(talk):
    fill(talk, batches=3)
    found = fetch(talk, [("t", 0, 0, MIB)], wait_ms=9999, min_bytes=MIB, max_bytes=100)
    assert offsets(parts(found)[0]) == [0]


def test_a_deleted_topic_ends_the_waiting(talk):
    log = fill(talk).partitions[0]
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=9999))
    log.fail()
    talk.session.wake(talk.now)
    assert len(talk.replies()) == 1


def test_records_are_read_only_when_they_can_be_sent(talk):
    log = fill(talk).partitions[0]
    reads = []
    read = log.read
    log.read = lambda *it: reads.append(it) or read(*it)
    for _ in range(3):
        talk.send(1, 11, asking(11, [("t", 0, 0, MIB)]))
    assert reads == []
    assert talk.session.outgoing(1)
    assert len(reads) == 1


def test_finishing_answers_what_waits(talk):
    fill(talk)
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=60_000))
    assert talk.replies() == []
    talk.session.finish(talk.now)
    assert parts(answer(talk, 11))[0]["error_code"] == 0
    assert not talk.session.busy


def test_read_committed_is_told_that_nothing_was_aborted(talk):
    fill(talk)
    [part] = parts(fetch(talk, [("t", 0, 0, MIB)], isolation=1))
    assert part["aborted_transactions"] == []
    assert parts(fetch(talk, [("t", 0, 0, MIB)]))[0]["aborted_transactions"] is None


def test_a_leader_epoch_that_never_was_is_unknown(talk):
    fill(talk)
    body = bytearray(asking(11, [("t", 0, 0, MIB)]))
    at = bytes(body).index(struct.pack(">iiq", 0, -1, 0))
    body[at : at + 8] = struct.pack(">ii", 0, 4)
    talk.send(1, 11, body)
    assert parts(answer(talk, 11))[0]["error_code"] == 75


# Sessions (KIP-227)


def test_within_a_session_only_news_is_told(talk):
    fill(talk, partitions=3)
    places = [("t", n, 6, MIB) for n in range(3)]
    first = fetch(talk, places, session=(0, 0))
    assert [it["partition_index"] for it in parts(first)] == [0, 1, 2]
    session = first["session_id"]
    assert session > 0
    assert parts(fetch(talk, [], session=(session, 1))) == []
    talk.topics.get("t").partitions[1].append(Batch(a_batch(b"news")))
    [part] = parts(fetch(talk, [], session=(session, 2)))
    assert (part["partition_index"], offsets(part)) == (1, [6])
    assert parts(fetch(talk, [("t", 1, 7, MIB)], session=(session, 3))) == []


def test_what_a_session_forgets_is_not_told(talk):
    fill(talk, partitions=2)
    session = fetch(talk, [("t", 0, 0, MIB), ("t", 1, 0, MIB)], session=(0, 0))["session_id"]
    found = fetch(talk, [], session=(session, 1), forgotten=[("t", 0)])
    assert [it["partition_index"] for it in parts(found)] == [1]


def test_a_session_that_is_not_known_is_told(talk):
    fill(talk)
    assert fetch(talk, [], session=(12345, 1))["error_code"] == 70
    session = fetch(talk, [("t", 0, 0, MIB)], session=(0, 0))["session_id"]
    assert fetch(talk, [], session=(session, 7))["error_code"] == 71
    assert fetch(talk, [], session=(session + 1, 1))["error_code"] == 70
    assert fetch(talk, [], session=(session, 1))["error_code"] == 0
    assert fetch(talk, [("t", 0, 0, MIB)], session=(session, -1))["session_id"] == 0
    assert fetch(talk, [], session=(session, 2))["error_code"] == 70


@pytest.mark.parametrize(("first", "second"), [(12, 18), (18, 12)])
def test_java_could_not_read_an_answer_that_named_topics_and_gave_their_ids(talk, first, second):
    fill(talk)
    places = [("t", 0, 0, MIB)]
    session = fetch(talk, places, version=first, session=(0, 0))["session_id"]
    refused = fetch(talk, places, version=second, session=(session, 1))
    assert (refused["error_code"], list(refused["responses"])) == (106, [])
    assert fetch(talk, [], version=first, session=(session, 1))["error_code"] == 0
    assert fetch(talk, places, version=second, session=(0, 0))["session_id"] not in (0, session)


def test_an_error_within_a_session_is_told_each_time(talk):
    fill(talk)
    session = fetch(talk, [("t", 0, 99, MIB)], session=(0, 0))["session_id"]
    for epoch in (1, 2):
        [part] = parts(fetch(talk, [], session=(session, epoch)))
        assert part["error_code"] == 1


def test_a_partition_that_gave_records_comes_last_the_next_time(talk):
    topic = fill(talk, partitions=2, batches=5)
    size = topic.partitions[0].read(0, 1)[0].size
    places = [("t", 0, 0, MIB), ("t", 1, 0, MIB)]
    first = fetch(talk, places, session=(0, 0), max_bytes=size)
    assert [it["partition_index"] for it in parts(first) if it["records"]] == [0]
    second = fetch(talk, [], session=(first["session_id"], 1), max_bytes=size)
    assert [it["partition_index"] for it in parts(second) if it["records"]] == [1]


def test_waiting_for_much_reads_each_batch_once_however_often_there_is_news(talk, monkeypatch):
    [log] = fill(talk, batches=50).partitions
    read, places = log.read, []

    def watched(at, bytes_max):
        batches = read(at, bytes_max)
        places.extend(it.base_offset for it in batches)
        return batches

    monkeypatch.setattr(log, "read", watched)
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], wait_ms=9999, min_bytes=MIB))
    for n in range(20):
        assert talk.replies() == []
        log.append(Batch(a_batch(b"news %d" % n)))
    assert talk.replies() == []
    assert places == sorted(set(places))
    assert len(places) == 70
    log.trim(10)  # where the client wants to read: it is told
    assert len(talk.replies()) == 1


def test_a_consumer_that_has_gone_on_to_other_partitions_is_not_woken_for_the_old_ones(talk):
    topic = fill(talk, batches=1, partitions=100)
    waiting = {"wait_ms": 500, "min_bytes": MIB}
    talk.send(1, 11, asking(11, [("t", n, 0, MIB) for n in range(100)], **waiting))
    talk.pass_time(1)
    assert len(talk.replies()) == 1
    talk.send(1, 11, asking(11, [("t", 7, 0, MIB)], **waiting))
    talk.woken = 0
    for n, log in enumerate(topic.partitions):
        log.append(Batch(a_batch(b"news")))
        assert talk.woken == (n >= 7)


def cold(log, monkeypatch):
    """The log gives nothing until ``arrive`` is called, as one whose bytes are on a cold disk."""
    read, here = log.read, []
    monkeypatch.setattr(log, "read", lambda at, size: read(at, size) if here else [])

    def arrive():
        here.append(True)
        for wake in list(log._watchers.values()):
            wake()

    return arrive


@pytest.mark.parametrize("wait_ms", [0, 9999])
def test_what_has_to_be_fetched_from_the_disk_is_waited_for(talk, monkeypatch, wait_ms):
    [log] = fill(talk).partitions
    arrive = cold(log, monkeypatch)
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], wait_ms=wait_ms))
    assert talk.replies() == []
    talk.pass_time(3600)  # the disk answers, whatever the client wanted to wait
    assert talk.replies() == []
    arrive()
    [part] = parts(answer(talk, 11))
    assert offsets(part) == [0, 2, 4]


def test_what_is_trimmed_while_it_is_fetched_from_the_disk_is_not_waited_for_for_ever(
    talk, monkeypatch
):
    [log] = fill(talk).partitions
    cold(log, monkeypatch)
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], wait_ms=9999))
    assert talk.replies() == []
    read = log.read

    def trimmed(at, size):
        if at < log.start:
            raise OffsetBelowStart("t-0: trimmed away")
        return read(at, size)

    monkeypatch.setattr(log, "read", trimmed)
    log.trim(4)
    [part] = parts(answer(talk, 11))
    assert part["error_code"] == 1  # OFFSET_OUT_OF_RANGE


def test_what_arrives_before_anyone_watches_is_not_waited_for_for_ever(talk, monkeypatch):
    """The disk answers another thread, while the other partitions are still being read."""
    first, second = fill(talk, partitions=2).partitions
    arrive = cold(first, monkeypatch)
    read = second.read

    def late(at, size):
        arrive()
        return read(at, size)

    monkeypatch.setattr(second, "read", late)
    places = [("t", 0, 0, MIB), ("t", 1, 6, MIB)]
    one, other = parts(fetch(talk, places))
    assert (offsets(one), offsets(other)) == ([0, 2, 4], [])


def test_what_becomes_safe_while_it_is_read_is_not_waited_for_for_ever(talk, monkeypatch):
    [log] = fill(talk).partitions
    log.hold()
    log.append(Batch(a_batch(b"news")))
    read, reads = log.read, []

    def just_before(at, size):
        found = read(at, size)
        if not reads:
            log.sync()
        reads.append(at)
        return found

    monkeypatch.setattr(log, "read", just_before)
    [part] = parts(fetch(talk, [("t", 0, 6, MIB)]))
    assert offsets(part) == [6]


def test_no_batch_is_above_the_high_watermark_that_is_told_with_it(talk, monkeypatch):
    [log] = fill(talk).partitions
    log.hold()
    log.append(Batch(a_batch(b"news")))
    read = log.read

    def just_after(at, size):
        log.sync()
        return read(at, size)

    monkeypatch.setattr(log, "read", just_after)
    [part] = parts(fetch(talk, [("t", 0, 0, MIB)]))
    assert offsets(part) == [0, 2, 4, 6]
    assert part["high_watermark"] == 7


def test_who_waits_for_more_of_a_log_that_has_failed_is_told(talk):
    """An answer with nothing, at once, would be asked for again at once, for ever."""
    [log] = fill(talk).partitions
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=9999))
    assert talk.replies() == []
    log.fail()
    [part] = parts(answer(talk, 11))
    assert part["error_code"] == 56  # KAFKA_STORAGE_ERROR
    [part] = parts(fetch(talk, [("t", 0, 0, MIB)], wait_ms=9999))
    assert (offsets(part), part["error_code"]) == ([0, 2, 4], 0)


def test_who_wants_no_bytes_waits_all_the_same(talk):
    [log] = fill(talk).partitions
    talk.send(1, 11, asking(11, [("t", 0, 6, MIB)], wait_ms=9999, max_bytes=0))
    assert talk.replies() == []
    log.append(Batch(a_batch(b"news")))
    [part] = parts(answer(talk, 11))
    assert offsets(part) == [6]


def test_what_is_here_is_not_held_up_by_what_is_not(talk, monkeypatch):
    first, second = fill(talk, partitions=2).partitions
    arrive = cold(first, monkeypatch)
    places = [("t", 0, 0, MIB), ("t", 1, 0, MIB)]
    one, other = parts(fetch(talk, places, wait_ms=9999))
    assert (offsets(one), offsets(other)) == ([], [0, 2, 4])
    arrive()
    one, _ = parts(fetch(talk, places, wait_ms=9999))
    assert offsets(one) == [0, 2, 4]
    assert second.safe == 6


def test_a_client_that_ends_its_side_is_not_kept_waiting_for_the_disk(talk, monkeypatch):
    [log] = fill(talk).partitions
    cold(log, monkeypatch)
    talk.send(1, 11, asking(11, [("t", 0, 0, MIB)], wait_ms=9999))
    assert talk.replies() == []
    talk.session.finish(talk.now)
    [part] = parts(answer(talk, 11))
    assert offsets(part) == []


def test_news_of_one_partition_counts_that_one_alone(talk, monkeypatch):
    """Five such fetches of 3,000 partitions must not hold up those who write to them."""
    logs = fill(talk, batches=1, partitions=100).partitions
    looks = []
    for log in logs:
        monkeypatch.setattr(log, "check_failure", partial(looks.append, log))
    places = [("t", n, 2, MIB) for n in range(100)]
    talk.send(1, 11, asking(11, places, wait_ms=9999, min_bytes=50 * MIB))
    assert talk.replies() == []
    assert len(looks) == 100
    looks.clear()
    logs[8].append(Batch(a_batch(b"news")))
    assert talk.replies() == []
    assert looks == []
    logs[9].trim(0)  # no news but that it was woken
    assert talk.replies() == []
    assert looks == [logs[9]]


def test_a_crowd_of_partitions_is_counted_in_parts(talk):
    topics = [f"t{n}" for n in range(12)]
    for name in topics:
        fill(talk, name, batches=1, partitions=100)
    places = [(name, n, 0, MIB) for name in topics for n in range(100)]
    talk.send(1, 11, asking(11, places, wait_ms=9999, min_bytes=50 * MIB))
    left = [1200]
    while left[-1]:
        assert talk.replies() == []
        [(slot, _, _)] = talk.session._slots
        left.append(len(slot._uncounted))
        assert left[-2] - left[-1] <= 500
    assert len(left) >= 4


# Batches of repeats alone, which have no records


def filled_with_repeats(talk, *sizes):
    """A batch for each size, of so many records; 0: an empty one, in the place of one record."""
    topic = talk.topics.create("once", 1, {"deduplication.header": "id"})
    log = topic.partitions[0]
    for n, size in enumerate(sizes):
        sent = [(b"%d" % n, None, (), 5)] * max(size, 1)
        batch = encode(sent)
        log.append(batch if size else with_records(batch, b"", 0, 0))
    return log


def moved_to(part):
    """The offset after what is a control batch alone."""
    [batch] = split(bytes(part["records"]))
    assert batch.is_control
    batch.check()
    return batch.next_offset


def test_empty_batches_before_records_are_passed_over(talk):
    """librdkafka took answers of empty batches alone for messages that are too large for it."""
    filled_with_repeats(talk, 1, 0, 0, 2, 0)
    [part] = parts(fetch(talk, [("once", 0, 1, MIB)]))
    assert [it.base_offset for it in split(bytes(part["records"]))] == [3, 5]
    [part] = parts(fetch(talk, [("once", 0, 0, MIB)]))
    assert [it.base_offset for it in split(bytes(part["records"]))] == [0, 1, 2, 3, 5]


def test_where_no_record_follows_a_client_is_moved_to_the_end(talk):
    log = filled_with_repeats(talk, 1, 0, 0, 0)
    [part] = parts(fetch(talk, [("once", 0, 1, MIB)]))
    assert moved_to(part) == 4
    assert parts(fetch(talk, [("once", 0, 4, MIB)]))[0]["records"] in (b"", None)
    log.append(encode([(b"x", None, (), 5)]))
    assert offsets(parts(fetch(talk, [("once", 0, 2, MIB)]))[0]) == [4]


def test_who_waits_is_not_woken_by_repeats(talk):
    log = filled_with_repeats(talk, 1)
    talk.send(1, 11, asking(11, [("once", 0, 1, MIB)], wait_ms=500))
    log.append(with_records(encode([(b"", None, (), 5)]), b"", 0, 0))
    assert talk.replies() == []
    log.append(encode([(b"x", None, (), 5)]))
    [part] = parts(answer(talk, 11))
    assert offsets(part) == [2]


def test_a_client_is_moved_on_through_many_empty_batches(talk, monkeypatch):
    monkeypatch.setattr(partition_fetch, "EMPTY_BYTES_MAX", 1000)
    filled_with_repeats(talk, *[0] * 100, 1)
    at, steps = 0, 0
    while at < 100:
        [part] = parts(fetch(talk, [("once", 0, at, MIB)]))
        [*_, last] = split(bytes(part["records"]))
        if not last.is_control:
            break
        at, steps = last.next_offset, steps + 1
    assert offsets(part) == [100]
    assert 1 < steps < 10
