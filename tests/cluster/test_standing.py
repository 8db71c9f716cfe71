"""Whether a node may give out what it owns: it asks when the group may have given it up."""

import pytest
from owning_nodes import pass_time, some_nodes, words

from logstore.cluster.standing import ASKED_S, HEARD_S, Standing


class Owned:
    """A partition of the first of two nodes, and how sure that is."""

    def __init__(self):
        self.nodes = some_nodes(2)
        self.node = self.nodes[0]
        self.seconds = 100.0
        self.told = 0
        self.node.group.say(0)
        self.node.group.joined_at = self.node.group.heard_at = self.seconds
        pass_time(self.nodes)
        self.it = self.standing()

    def standing(self):
        soon = self.node.client.soon
        return Standing(self.node.owns.served(0), self.node.group, lambda: self.seconds, soon)

    def ask(self):
        self.it.ask(self.tell)

    def tell(self):
        self.told += 1

    @property
    def kinds(self):
        return [kind for kind, _ in words(self.node, 0)]


@pytest.fixture
def owned():
    return Owned()


def test_while_heartbeats_are_answered_nothing_is_asked(owned):
    for _ in range(10):
        owned.seconds += HEARD_S
        assert not owned.it.sure
        owned.node.group.heard_at = owned.seconds
        assert owned.it.sure
    pass_time(owned.nodes)
    assert owned.kinds == ["claim"]


def test_one_that_was_frozen_asks_once_and_is_sure_for_a_moment(owned):
    owned.seconds += HEARD_S
    for _ in range(3):
        owned.ask()
    pass_time(owned.nodes)
    assert (owned.told, owned.kinds) == (1, ["claim", "beat"])
    assert owned.it.sure
    owned.seconds += ASKED_S
    assert not owned.it.sure
    owned.ask()
    pass_time(owned.nodes)
    assert (owned.told, owned.kinds) == (2, ["claim", "beat", "beat"])


def test_a_beat_proves_nothing_after_it_was_said(owned):
    owned.seconds += HEARD_S
    owned.ask()
    owned.seconds += ASKED_S
    pass_time(owned.nodes)
    assert owned.told == 1
    assert not owned.it.sure


def test_what_another_has_claimed_meanwhile_is_never_sure(owned):
    owned.seconds += HEARD_S
    other = owned.nodes[1]
    other.group.say(0)
    for _ in range(3):
        other.client.pass_time(1.0)
    owned.ask()
    pass_time(owned.nodes)
    assert owned.told == 0
    assert not owned.it.sure
    assert owned.node.owns.served(0) is None
    assert other.owned() == {0}


def test_a_group_that_had_given_it_up_proves_nothing_when_it_is_joined_anew(owned):
    owned.seconds += HEARD_S
    owned.node.group.joined_at = owned.node.group.heard_at = owned.seconds
    assert not owned.it.sure
    owned.ask()
    pass_time(owned.nodes)
    owned.seconds += ASKED_S
    assert owned.it.sure


def test_a_node_that_was_removed_before_it_serves_what_it_took_over_asks_first(owned):
    """Its queues may have to be read first, and it may be frozen meanwhile."""
    owned.seconds += HEARD_S
    owned.node.group.joined_at = owned.node.group.heard_at = owned.seconds
    owned.it.close()
    owned.seconds += ASKED_S
    it = owned.standing()
    assert not it.sure
    it.ask(owned.tell)
    pass_time(owned.nodes)
    assert (owned.told, it.sure) == (1, True)


def test_what_is_not_owned_any_more_is_not_told_of(owned):
    owned.seconds += HEARD_S
    owned.ask()
    owned.it.close()
    pass_time(owned.nodes)
    assert owned.told == 0
