"""What the Kafka door counts of records."""

import pytest
from door_kit import Talk, a_batch
from fetch_kit import MIB, answer, asking

from logstore.records.batch import Batch


@pytest.fixture
def talk():
    return Talk()


def fetched(talk, offset, **facts):
    talk.send(1, 11, asking(11, [("t", 0, offset, MIB)], **facts))
    return answer(talk, 11)


def test_records_that_are_given_out_are_counted_from_the_offset_that_was_asked_for(talk):
    [log] = talk.topics.create("t", 1, {}).partitions
    talk.topics.get("t").partition(0)
    for _ in range(3):
        log.append(Batch(a_batch(b"1", b"2")))
    fetched(talk, 0)
    assert talk.door.counts.messages_out == 6
    fetched(talk, 3)
    assert talk.door.counts.messages_out == 9
    fetched(talk, 6)
    assert talk.door.counts.messages_out == 9


def test_what_can_not_be_read_is_not_counted(talk):
    [log] = talk.topics.create("t", 1, {}).partitions
    talk.topics.get("t").partition(0)
    log.append(Batch(a_batch(b"1", b"2")))
    fetched(talk, 99)
    assert talk.door.counts.messages_out == 0


def test_a_client_says_what_it_is(talk):
    assert talk.session.about().software == ""
