"""Who coordinates a group, and by which connection it is asked."""

from types import SimpleNamespace

from cluster_kit import OneNode

from logstore.cluster import kinds
from logstore.cluster.brokers import Use
from logstore.cluster.coordinators import FIND_S, GroupCoordinator
from logstore.errors import ClusterUnreachable


class Asked:
    """``Brokers`` of one node, which note by what each request goes."""

    def __init__(self):
        self.uses = []

    def ask_any(self, kind, request, then, seconds):
        then(SimpleNamespace(coordinators=[SimpleNamespace(error_code=0, node_id=7)]))

    def ask(self, node, kind, request, then, use, seconds):
        assert node == 7
        self.uses.append(use)
        then("answer")


def test_a_group_that_waits_for_its_members_holds_up_no_other_one():
    brokers, answers = Asked(), []
    for use in (Use.GROUP, Use.GROUP_OF_KEYS):
        GroupCoordinator(brokers, use.name, use).ask(kinds.HEARTBEAT, None, answers.append, 1.0)
    assert brokers.uses == [Use.GROUP, Use.GROUP_OF_KEYS]
    assert answers == ["answer"] * 2


def test_a_broker_that_is_frozen_does_not_keep_a_node_from_its_group_for_long():
    node, answers = OneNode(), []
    node.log()
    node.deaf = True
    heartbeat = kinds.HEARTBEAT.messages().Request("g", 1, "m")
    coordinator = GroupCoordinator(node.brokers, "g", Use.GROUP)
    coordinator.ask(kinds.HEARTBEAT, heartbeat, answers.append, 1.0)
    node.pass_time(FIND_S + 1)
    assert [type(it) for it in answers] == [ClusterUnreachable]
