"""What consumers say among themselves, as kio writes and reads it."""

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio_oracle import written_by_kio

from logstore.protocols.kafka.subscription import SPEECH

names = st.text("abc.-", min_size=1, max_size=10)
numbers = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple)
partitions = st.dictionaries(names, numbers, max_size=4)
every_version = pytest.mark.parametrize("version", range(4))


def theirs(kind, version):
    return importlib.import_module(f"kio.schema.consumer_protocol_{kind}.v{version}.data")


@every_version
@given(
    topics=st.lists(names, max_size=4), owned=partitions, data=st.none() | st.binary(max_size=9),
    rack=st.none() | names,
)  # fmt: skip
def test_a_subscription_is_read_as_clients_write_it(version, topics, owned, data, rack):
    module = theirs("subscription", version)
    fields = {"topics": tuple(topics), "user_data": data}
    if version >= 1:
        fields["owned_partitions"] = tuple(
            module.TopicPartition(topic=name, partitions=it) for name, it in owned.items()
        )
    if version >= 3:
        fields["rack_id"] = rack
    written = written_by_kio(module.ConsumerProtocolSubscription(**fields))
    read = SPEECH.subscription(version.to_bytes(2) + written)
    flat = {(name, number) for name, it in owned.items() for number in it}
    assert (read.version, read.topics) == (version, set(topics))
    assert read.owned == (flat if version >= 1 else set())
    assert read.rack_id == (rack if version >= 3 else None)
    newer = SPEECH.subscription((version + 7).to_bytes(2) + written)
    assert (newer is None) == (version < 3), "a newer version is read as the newest known"


@every_version
@given(given_=partitions, data=st.none() | st.binary(max_size=9))
def test_an_assignment_is_written_and_read_as_clients_do(version, given_, data):
    module = theirs("assignment", version)
    given_ = {name: it for name, it in given_.items() if it}
    parts = tuple(module.TopicPartition(topic=name, partitions=it) for name, it in given_.items())
    fields = {"assigned_partitions": parts, "user_data": data}
    written = version.to_bytes(2) + written_by_kio(module.ConsumerProtocolAssignment(**fields))
    flat = [(name, number) for name, it in given_.items() for number in it]
    assert SPEECH.assignment(written) == (set(flat), bool(data))
    if data is None:
        assert SPEECH.assign(version, flat) == written
    assert SPEECH.assignment(SPEECH.assign(version, flat)) == (set(flat), False)


@given(st.binary(max_size=60))
def test_anything_else_is_told_apart(data):
    subscription, assignment = SPEECH.subscription(data), SPEECH.assignment(data)
    assert subscription is None or subscription.version >= 0
    assert assignment is None or isinstance(assignment.places, frozenset)


def test_what_ends_too_early_is_nothing():
    whole = SPEECH.assign(3, [("t", 1), ("u", 2)])
    assert all(SPEECH.assignment(whole[:at]) is None for at in range(len(whole)))
