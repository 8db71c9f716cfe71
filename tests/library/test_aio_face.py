"""The asyncio face has what the other one has, with the same parameters."""

import inspect

import pytest

import logstore
import logstore.aio
from logstore.store import open_store

# What the library's classes have for its own use: by models, doors and this face.
INSIDE = {
    "Store": {"forked"},
    "Topic": {
        "all_at_hand", "at_hand", "change", "choose", "forget", "grow", "opened", "portions", "put",
        "put_many", "read_only", "waiting",
    },
    "Producer": {"behind", "forked", "pushed", "take"},
    "Consumer": {
        "committed", "committing", "fail", "forked", "give_up", "group", "look", "lose",
        "lose_output", "quick", "release", "take",
    },
    "Group": set(),
    "Transaction": {"begin", "commit", "end"},
    "Channel": {"check", "open", "opened", "put"},
    "Listener": {"closed", "deliver", "deliver_kept", "forked"},
    "Exchange": {"message", "run", "taken"},
    "Queue": {"found", "given", "owner"},
    "QueueConsumer": {
        "arguments", "begin", "can_take", "cancelled", "end", "no_ack", "push", "tag", "take",
        "timeout_ms",
    },
    "QueueMessage": {"store", "taken", "unsettled"},
    "ShareConsumer": {
        "answered", "check", "end", "flushing", "follow", "listen", "opened", "put_back", "say",
        "take",
    },
}  # fmt: skip
FIELDS = {"created_ms", "id", "mode", "name", "partitions", "sent"}  # which objects have
OWN = {"behind", "slow", "workers"}  # what this face stands on
ELSE = {("Store", "replay"): "sleep"}  # its default is asyncio's


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", INSIDE)
def test_every_method_is_there_with_its_parameters(name):
    ours, other = getattr(logstore, name), getattr(logstore.aio, name)
    known = public(ours) - INSIDE[name]
    assert public(ours) >= INSIDE[name]
    assert public(other) - OWN - known <= FIELDS
    assert known <= public(other)
    for it in known:
        here, there = inspect.getattr_static(ours, it), inspect.getattr_static(other, it)
        if not callable(here):
            assert not callable(there), it
            continue
        mine, its = inspect.signature(getattr(ours, it)), inspect.signature(getattr(other, it))
        assert list(mine.parameters) == list(its.parameters), it
        for one in mine.parameters.keys() - {"self", ELSE.get((name, it))}:
            assert mine.parameters[one].default == its.parameters[one].default, (it, one)
            assert mine.parameters[one].kind == its.parameters[one].kind, (it, one)


def test_a_store_is_opened_with_the_same_parameters():
    ours, other = inspect.signature(open_store), inspect.signature(logstore.aio.open)
    assert ours.parameters == other.parameters


def test_all_that_is_promised_is_there():
    assert {name: getattr(logstore.aio, name) for name in logstore.aio.__all__}
    with pytest.raises(AttributeError):
        _ = logstore.aio.nothing
