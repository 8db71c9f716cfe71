"""ShareFetch answers with their records as they stand, against the schema and kio."""

import kio_oracle as kio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.kafka.messages import share_fetch
from logstore.kafka.schema import codec
from logstore.kafka.share_codec import Answer, SharedRecords, write_response

TEXTS = st.none() | st.text(max_size=30)
CODES = st.sampled_from([0, 3, 42, 121])
OFFSETS = st.integers(0, 2**63 - 1)
PARTS = st.builds(
    SharedRecords,
    st.sampled_from([b"a" * 16, b"b" * 16]),
    st.integers(0, 2**31 - 1),
    CODES,
    TEXTS,
    CODES,
    TEXTS,
    st.lists(st.binary(max_size=300), max_size=3),
    st.lists(st.tuples(OFFSETS, OFFSETS, st.integers(0, 10)), max_size=3),
)
ANSWERS = st.builds(Answer, CODES, TEXTS, st.integers(0, 60_000), st.integers(0, 10_000))


def as_message(answer, shared, leader):
    by_topic = {}
    for it in shared:
        part = share_fetch.PartitionData(
            it.partition, it.error_code, it.error_message, it.acknowledge_error_code,
            it.acknowledge_error_message, share_fetch.LeaderIdAndEpoch(*leader),
            b"".join(it.records), [share_fetch.AcquiredRecords(*one) for one in it.acquired],
        )  # fmt: skip
        by_topic.setdefault(it.topic_id, []).append(part)
    topics = [share_fetch.ResponseTopic(*it) for it in by_topic.items()]
    return share_fetch.Response(
        answer.throttle_ms, answer.error_code, answer.error_message, answer.lock_ms, topics, []
    )


@pytest.mark.parametrize("version", [1, 2])
@given(ANSWERS, st.lists(PARTS, max_size=5))
def test_an_answer_is_written_as_the_schema_has_it(version, answer, shared):
    buffers = write_response(answer, shared, (1, 0))
    data = b"".join(map(bytes, buffers))
    expected = bytearray()
    message = as_message(answer, shared, (1, 0))
    codec(share_fetch.Response, version, True).write(expected, message)
    assert data == expected
    found, end = codec(share_fetch.Response, version, True).read(data, 0)
    assert (found, end) == (message, len(data))
    assert kio.written_by_kio(kio.read_by_kio("share_fetch", version, "response", data)) == data
    # None is copied.
    sent = {id(it) for it in buffers}
    assert all(id(records) in sent for it in shared for records in it.records)
