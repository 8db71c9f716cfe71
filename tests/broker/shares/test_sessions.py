"""Sessions of share groups, against what KIP-932 says of their epochs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.shares import sessions as module
from logstore.broker.shares.sessions import EPOCH_MAX, Sessions
from logstore.errors import (
    InvalidShareSessionEpoch,
    Refused,
    ShareSessionNotFound,
    TooManyShareSessions,
)
from logstore.protocols.kafka.errors import code_of

T = b"t" * 16
PLACES = [(T, 0), (T, 1)]


@pytest.fixture
def sessions():
    return Sessions(3)


def test_epochs_follow_each_other(sessions):
    it = sessions.begin("g", "a", 1, PLACES)
    assert [sessions.go_on("g", "a", epoch) for epoch in (1, 2, 3)] == [it, it, it]
    for epoch in (1, 3, 5):
        with pytest.raises(InvalidShareSessionEpoch) as caught:
            sessions.go_on("g", "a", epoch)
        assert code_of(caught.value) == 123
    assert sessions.go_on("g", "a", 4) is it


def test_they_go_round(sessions):
    it = sessions.begin("g", "a", 1, PLACES)
    it.epoch = EPOCH_MAX
    sessions.go_on("g", "a", EPOCH_MAX)
    assert sessions.go_on("g", "a", 1) is it


def test_one_that_is_not_there(sessions):
    it = sessions.begin("g", "a", 1, PLACES)
    assert sessions.end(it)
    assert not sessions.end(it)
    for group, member in (("g", "a"), ("g", "b"), ("h", "a")):
        with pytest.raises(ShareSessionNotFound) as caught:
            sessions.go_on(group, member, 1)
        assert code_of(caught.value) == 122


def test_there_are_only_so_many(sessions):
    for member in "abc":
        sessions.begin("g", member, 1, PLACES)
    with pytest.raises(TooManyShareSessions) as caught:
        sessions.begin("g", "d", 1, PLACES)
    assert code_of(caught.value) == 133
    sessions.begin("g", "a", 1, PLACES)  # whose it is already
    assert len(sessions) == 3


def test_partitions_come_and_go(sessions, monkeypatch):
    it = sessions.begin("g", "a", 1, PLACES)
    it.change([(T, 2), (T, 0)], [(T, 1), (T, 9)])
    assert list(it.places) == [(T, 0), (T, 2)]
    it.change([(T, 3)], [(T, 3)])  # to be acknowledged alone
    it.served((T, 0))
    it.served((T, 9))
    assert list(it.places) == [(T, 2), (T, 0)]
    monkeypatch.setattr(module, "PARTITIONS_MAX", 2)
    with pytest.raises(Refused):
        it.change([(T, 5)], [])
    with pytest.raises(Refused):
        sessions.begin("g", "a", 1, [(T, n) for n in range(3)])
    assert list(it.places) == [(T, 2), (T, 0)]
    assert sessions.find("g", "a") is it


def test_who_begins_anew_by_another_connection_keeps_its_records(sessions):
    """The old connection ends nothing then; trap 5: it may begin anew at once, however often."""
    old = sessions.begin("g", "a", "old", PLACES)
    new = sessions.begin("g", "a", "new", PLACES)
    assert (old.owner, old.over) == (new.owner, True)
    assert (sessions.of("old"), sessions.of("new")) == ([], [new])
    assert not sessions.end(old)
    assert sessions.lives(new.owner)
    assert sessions.end(new)
    assert not sessions.lives(new.owner)
    assert sessions.begin("g", "a", "new", PLACES).owner != new.owner


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "go on", "end", "leave"]),
            st.sampled_from("ab"),
            st.integers(0, 2),
            st.integers(1, 3),
        )
    )
)
def test_as_a_table_of_members(steps):
    it, model = Sessions(2), {}  # member: connection, epoch
    for what, member, connection, epoch in steps:
        if what == "begin":
            it.begin("g", member, connection, PLACES)
            model[member] = [connection, 1]
        elif what == "go on":
            if model.get(member, [0, 0])[1] == epoch:
                it.go_on("g", member, epoch)
                model[member][1] += 1
            else:
                with pytest.raises(Refused):
                    it.go_on("g", member, epoch)
        elif what == "end" and member in model:
            assert it.end(it.find("g", member))
            del model[member]
        elif what == "leave":
            its = it.of(connection)
            assert {one.member for one in its} == {
                m for m, (c, _) in model.items() if c == connection
            }
            for one in its:
                it.end(one)
                del model[one.member]
        assert len(it) == len(model)
        for known, (connection_, epoch_) in model.items():
            found = it.find("g", known)
            assert (found.connection, found.epoch, it.lives(found.owner)) == (
                connection_, epoch_, True,
            )  # fmt: skip
