"""A consumer that reads up to a place."""

from datetime import UTC, datetime

import pytest

import logstore
from logstore import Message
from logstore.errors import Refused

HOUR_MS = 3_600_000


def at_hour(hour):
    return datetime.fromtimestamp(hour * 3600, UTC)


@pytest.fixture
def store(tmp_path):
    """Two partitions of five records, an hour apart, in one batch each."""
    with logstore.open(tmp_path / "data") as opened:
        topic = opened.create_topic("t", 2)
        for partition in (0, 1):
            topic.append_many(
                [Message(b"%d" % n, None, (), n * HOUR_MS) for n in range(5)], partition=partition
            )
        yield opened


def read(consumer):
    return sorted((it.partition, it.offset) for it in consumer)


def below(*ends):
    return [(partition, n) for partition, end in enumerate(ends) for n in range(end)]


@pytest.mark.parametrize("isolation", ["committed", "uncommitted"])
@pytest.mark.parametrize(
    ("end", "last"),
    [("earliest", 0), ("latest", 5), (3, 3), (99, 5), (0, 0), (at_hour(2), 2), (at_hour(9), 5)],
)
def test_each_partition_ends_there_also_within_a_batch(store, isolation, end, last):
    with store.consumer("t", end=end, isolation=isolation) as consumer:
        assert read(consumer) == below(last, last)
        assert consumer.ended


def test_what_is_appended_later_is_not_read(store):
    with store.consumer("t", end="latest") as consumer:
        store.topic("t").append(b"5", partition=1)
        assert read(consumer) == below(5, 5)


def test_a_group_commits_the_place_and_goes_on_from_there(store):
    with store.consumer("t", group="g", end=at_hour(3)) as consumer:
        assert read(consumer) == below(3, 3)
    assert [it.committed for it in store.group("g").describe()] == [3, 3]
    with store.consumer("t", group="g", end=at_hour(3)) as consumer:
        assert read(consumer) == []
    with store.consumer("t", group="g", end=2) as consumer:  # it is beyond that
        assert read(consumer) == []
    with store.consumer("t", group="g") as consumer:
        assert read(consumer) == [(0, 3), (0, 4), (1, 3), (1, 4)]


def test_it_may_be_moved_and_ends_at_the_same_place(store):
    with store.consumer("t", end=4) as consumer:
        consumer.seek("t", 0, 2)
        assert read(consumer) == [(0, 2), (0, 3), *((1, n) for n in range(4))]
        consumer.seek("t", 0, 4)
        assert read(consumer) == []


def test_who_follows_has_no_end(store):
    with pytest.raises(Refused, match="a consumer that follows has no end"):
        store.consumer("t", follow=True, end=3)
    with pytest.raises(Refused, match="start 'soon': must be earliest, latest, an offset"):
        store.consumer("t", end="soon")
