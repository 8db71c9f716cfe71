"""Share groups that a server has left in a store: consumers in the directory keep away."""

import msgspec
import pytest
from clock import NOW_MS, Clock

import logstore
from logstore.broker.coordinator.consumer_member import ConsumerHead
from logstore.broker.coordinator.share_member import ShareMember
from logstore.config import Config
from logstore.errors import GroupBusy
from logstore.kept.groups import GroupChange
from logstore.storage.groups import MINUTE_MS, TABLES

SETTINGS = Config(
    {"upkeep.interval.ms": ("-1", "test"), "offsets.retention.minutes": ("1", "test")}
)


@pytest.fixture
def clock():
    return Clock(NOW_MS)


@pytest.fixture
def store(tmp_path, clock):
    with logstore.open(tmp_path / "data", config=SETTINGS, clock=clock) as store:
        store.create_topic("t", 2).append(b"1", partition=0)
        yield store


def leave(store, *members):
    """A server has had the share group ``g`` with these members."""
    table = store.internals().groups
    topic_id = store.internals().topics.get("t").id
    rows = {
        it: msgspec.json.encode(ShareMember(id=it, epoch=1, assigned={(topic_id, 1)}))
        for it in members
    }
    change = GroupChange("share", 1, not members, msgspec.json.encode(ConsumerHead(1, 1)), rows)
    table.environment.transact(TABLES, lambda it: table.save(it, "g", change))
    return table


def refused(store):
    with store.consumer("t", group="g") as consumer:
        list(consumer)


def test_nobody_else_consumes_as_a_share_group_or_moves_it(store):
    leave(store)
    with pytest.raises(GroupBusy, match="'g' is a share group"):
        refused(store)
    for dry_run in (False, True):
        with pytest.raises(GroupBusy, match="'g' is a share group"):
            store.group("g").reset("earliest", ["t"], dry_run=dry_run)
    assert store.groups() == ["g"]


def test_it_is_described_with_its_members_and_without_a_lag(store):
    table = leave(store, "m", "n")
    assert store.group("g").members() == []  # no server lives that has them
    claim = table.claim_server()
    members = store.group("g").members()
    assert [(it.id, it.partitions) for it in members] == [("m", (("t", 1),)), ("n", (("t", 1),))]
    lags = [(it.topic, it.partition, it.committed, it.lag) for it in store.group("g").describe()]
    assert lags == [("t", 0, None, None), ("t", 1, None, None)]
    claim.release()


def test_it_stays_until_a_server_deletes_it(store, clock):
    table = leave(store, "m")
    for _ in range(3):
        clock.ms += 2 * MINUTE_MS
        assert store.expire_offsets() == []
    kept = table.load("g")
    assert (kept.kind, kept.empty, kept.epoch, kept.members) == ("share", True, 1, {})
    with pytest.raises(GroupBusy, match="delete this one while a server runs"):
        store.group("g").delete()
    table.environment.transact(TABLES, lambda it: table.delete(it, "g"))
    assert store.groups() == []
    refused(store)  # it is a group of the directory now


def test_a_group_of_consumers_here_is_kept_from_a_server(store):
    with store.consumer("t", group="g") as consumer:
        list(consumer)
        with pytest.raises(GroupBusy):
            leave(store, "m")
