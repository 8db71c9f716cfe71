"""Who coordinates a group, and by which connection it is asked."""

from types import SimpleNamespace

from logstore.cluster import kinds
from logstore.cluster.brokers import Use
from logstore.cluster.coordinators import GroupCoordinator


class Asked:
    """``Brokers`` of one node, which note by what each request goes."""

    def __init__(self):
        self.uses = []

    def ask_any(self, kind, request, then):
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
