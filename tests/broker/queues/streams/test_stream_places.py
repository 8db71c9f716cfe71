"""Where a consumer of a stream begins, and what lengths of time mean."""

import pytest
from memory_log import MemoryLog

from logstore.broker.queues.ages import AGE_MAX_MS, age_ms
from logstore.broker.queues.refusals import InvalidConsumerArgument
from logstore.broker.queues.streams.places import Begin, begin_of, offset_of
from logstore.broker.routing.arguments import Arguments, Field
from logstore.records.encode import encode
from logstore.records.keyed import keyed, thinned

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1s", 1000), ("0s", 0), ("5m", 300_000), ("2h", 7_200_000), ("7D", 7 * DAY_MS),
        ("1M", 30 * DAY_MS), ("1Y", 365 * DAY_MS), ("007D", 7 * DAY_MS),
        (f"{AGE_MAX_MS // 1000}s", AGE_MAX_MS // 1000 * 1000),
    ],
)  # fmt: skip
def test_a_length_of_time_is_a_number_and_a_letter(text, ms):
    assert age_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5x", "-5m", "+5m", " 5m", "5m ", "5 m", "1.5h", "5d", "5mm",
     "\u0665m", "9" * 20 + "s",
     "9223372036854775807Y", "5m\n"],
)  # fmt: skip
def test_anything_else_is_none(text):
    assert age_ms(text) is None


@pytest.mark.parametrize(
    ("field", "begin"),
    [
        (None, Begin("next")),
        (Field("S", b"next"), Begin("next")),
        (Field("S", b"first"), Begin("first")),
        (Field("x", b"first"), Begin("first")),
        (Field("S", b"last"), Begin("last")),
        (Field("I", 0), Begin("offset", 0)),
        (Field("l", 2**62), Begin("offset", 2**62)),
        (Field("B", 7), Begin("offset", 7)),
        (Field("T", 1_600_000_000), Begin("time", 1_600_000_000_000)),
        (Field("T", 2**63), Begin("time", 2**63 - 1)),
        (Field("S", b"5m"), Begin("time", NOW_MS - 300_000)),
        (Field("S", b"100Y"), Begin("time", 0)),
    ],
)
def test_what_x_stream_offset_says(field, begin):
    assert begin_of(b"s", field, NOW_MS) == begin


@pytest.mark.parametrize(
    "field",
    [
        Field("S", b""), Field("S", b"First"), Field("S", b"5"), Field("S", b"5x"),
        Field("S", b"-5m"), Field("S", b"\xff\xfe"), Field("I", -1), Field("L", 2**63),
        Field("t", True), Field("V", None), Field("d", 1.5), Field("D", (0, 5)),
        Field("A", (Field("I", 1),)), Field("F", Arguments()),
    ],
)  # fmt: skip
def test_what_means_no_place_is_refused(field):
    with pytest.raises(InvalidConsumerArgument, match="x-stream-offset") as refused:
        begin_of(b"s", field, NOW_MS)
    assert "\n" not in str(refused.value)
    assert refused.value.received == field


@pytest.mark.parametrize(
    ("begin", "offset"),
    [
        (Begin("first"), 2), (Begin("last"), 9), (Begin("next"), 10), (Begin("offset", 5), 5),
        (Begin("offset", 0), 2), (Begin("offset", 1000), 1000), (Begin("time", NOW_MS + 4), 4),
        (Begin("time", 0), 2), (Begin("time", NOW_MS + 100), 10),
    ],
)  # fmt: skip
def test_where_that_is_in_a_log(begin, offset):
    log = MemoryLog("s-0")
    for n in range(10):
        log.append(encode([(b"x", None, (), NOW_MS + n)]))
    log.trim(2)
    assert offset_of(log, begin, log.safe) == offset


@pytest.mark.parametrize("word", ["first", "last", "next"])
def test_where_that_is_in_an_empty_log(word):
    assert offset_of(MemoryLog("s-0"), Begin(word), 0) == 0


def test_the_last_of_what_is_gone_is_what_comes_next():
    log = MemoryLog("s-0")
    log.append(encode([(b"x", None, (), NOW_MS)]))
    log.trim(1)
    assert offset_of(log, Begin("last"), 1) == 1


@pytest.mark.parametrize("gap", [1, 15, 16, 500])
def test_the_last_record_stands_before_offsets_that_have_none(gap):
    """Such as those of repeats, which are not stored, and of what compaction took."""
    log = MemoryLog("s-0")
    for _ in range(3):
        log.append(encode([(b"x", None, (), NOW_MS)]))
    for _ in range(gap):
        batch = encode([(b"y", None, (), NOW_MS)])
        log.append(thinned(batch, keyed(batch).spans([])))
    assert log.safe == 3 + gap
    assert offset_of(log, Begin("last"), log.safe) == 2
    log.append(encode([(b"z", None, (), NOW_MS)]))
    assert offset_of(log, Begin("last"), 3 + gap) == 2
    assert offset_of(log, Begin("last"), log.safe) == 3 + gap


def test_where_no_record_is_left_the_last_is_what_comes_next():
    log = MemoryLog("s-0")
    batch = encode([(b"y", None, (), NOW_MS)])
    log.append(thinned(batch, keyed(batch).spans([])))
    assert offset_of(log, Begin("last"), 1) == 1
