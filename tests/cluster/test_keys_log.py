"""A database's log in an owned partition: what its next owner finds in it."""

import pytest
from owning_nodes import pass_time, some_nodes, take_over, values, words

from logstore.broker.keys.journal import Bounds
from logstore.cluster.keys_log import BATCH_BYTES_MAX, Gathered, KeysLog
from logstore.errors import FencedProducer, RecordTooLarge
from logstore.node.shared_keys import BOUNDS
from logstore.records.decode import decode
from logstore.records.encode import encode


@pytest.fixture
def nodes():
    found = some_nodes(2)
    for it in found:
        it.jobs, it.new_state = [], Gathered
    return found


def owned(nodes, which):
    """The partition, as the node's."""
    return KeysLog(*take_over(nodes, which), nodes[which].jobs.append)


def put(log, key, value):
    return log.append(encode([(value, key, (), 1)]))


def standing(log):
    return [(it.key, it.value) for batch in log.take_standing() for it in decode(batch)]


def test_the_next_owner_finds_what_was_appended(nodes):
    first = owned(nodes, 0)
    put(first, b"a", b"1")
    put(first, b"b", b"2")
    pass_time(nodes)
    assert first.offset_of(first.done - 1) == first.end - 1
    second = owned(nodes, 1)
    assert second.standing_bytes > 0
    assert standing(second) == [(b"a", b"1"), (b"b", b"2")]
    assert standing(second) == []
    with pytest.raises(FencedProducer):
        put(first, b"a", b"3")
    first.check_failure()


def test_a_key_with_the_name_of_claims_is_a_key(nodes):
    first = owned(nodes, 0)
    forged = b'{"kind": "claim", "node": "evil", "address": "x:1", "at_ms": 1}'
    put(first, b"__owner", forged)
    pass_time(nodes)
    second = owned(nodes, 1)
    assert set(standing(second)) == {(b"__owner", forged)}
    assert nodes[0].owns.owner_of(0).word.node == "1"


def test_what_was_written_anew_is_deleted_up_to_the_beat(nodes):
    first = owned(nodes, 0)
    put(first, b"a", b"1")
    pass_time(nodes)
    first.trim(first.end)
    beat = first.beat()
    put(first, b"a", b"2")
    pass_time(nodes)
    assert values(nodes[0], 0) == [b"1", b"2"]
    first.trim_to_beat(beat)
    for job in nodes[0].jobs:
        job()
    pass_time(nodes)
    assert values(nodes[0], 0) == [b"2"]
    assert words(nodes[0], 0)[0] == ("beat", "0")
    assert standing(owned(nodes, 1)) == [(b"a", b"2")]


def test_one_that_is_given_up_is_taken_over_and_read_again(nodes):
    first = owned(nodes, 0)
    put(first, b"a", b"1")
    first.give_up()
    with pytest.raises(FencedProducer, match="does not own"):
        put(first, b"a", b"2")
    pass_time(nodes)
    nodes[0].group.confirm()
    pass_time(nodes, 10.0)
    assert nodes[0].owned() == {0}


def test_a_batch_is_no_larger_than_the_topic_takes(nodes):
    first = owned(nodes, 0)
    with pytest.raises(RecordTooLarge, match="exceeds the cluster's maximum"):
        put(first, b"a", bytes(BATCH_BYTES_MAX))
    assert isinstance(BOUNDS, Bounds)
    assert 2 * BOUNDS.batch_bytes <= 16 << 20
    assert BOUNDS.batch_bytes < BATCH_BYTES_MAX
