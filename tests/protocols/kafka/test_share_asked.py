"""What a request of a share session asks for, however it is said."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.shares.acknowledgement import Acknowledged, said
from logstore.errors import Refused
from logstore.kafka.messages import share_acknowledge, share_fetch
from logstore.protocols.kafka.share_asked import asked_by

IDS = st.sampled_from([b"a" * 16, b"b" * 16])
PLACES = st.tuples(IDS, st.integers(0, 2))
BATCHES = st.lists(
    st.builds(
        share_acknowledge.AcknowledgementBatch,
        st.integers(0, 9),
        st.integers(0, 9),
        st.lists(st.integers(0, 5), max_size=3),
    ),
    max_size=3,
)


@given(st.lists(st.tuples(PLACES, BATCHES), max_size=6), st.booleans())
def test_however_often_a_partition_is_named_it_is_one(named, renews):
    topics = [
        share_fetch.FetchTopic(topic_id, [share_fetch.FetchPartition(number, batches)])
        for (topic_id, number), batches in named
    ]
    request = share_fetch.Request("g", "m", 1, is_renew_ack=renews, topics=topics)
    asked = asked_by(request)
    assert list(asked.places) == list(dict.fromkeys(place for place, _ in named))
    for place in asked.places:
        lists = [batches for one, batches in named if one == place and batches]
        if not lists:
            assert place not in asked.said
            continue
        batches = [it for one in lists for it in one]
        if len(lists) > 1:
            batches.sort(key=lambda it: it.first_offset)
        told = [
            Acknowledged(it.first_offset, it.last_offset, it.acknowledge_types) for it in batches
        ]
        try:
            expected = said(told, renews=renews)
        except Refused as error:
            expected = str(error)
        found = asked.said[place]
        assert (str(found) if isinstance(found, Refused) else found) == expected


def test_names_that_are_null_are_none():
    asked = asked_by(share_acknowledge.Request(None, None, 3))
    assert (asked.group, asked.member, asked.epoch, asked.places) == ("", "", 3, [])
    assert asked.forgotten == []
