"""Connections, told of a change of users or rules in parts."""

from logstore.access.access import Access, Unkept
from logstore.kept.users import KeptRule, KeptUser
from logstore.protocols.rounds import Round
from logstore.slices import Slices


class Counted:
    """A connection that counts what it is told."""

    def __init__(self):
        self.times = self.users = 0

    def users_changed(self):
        self.users += 1

    def rules_changed(self):
        self.times += 1


def begun(count):
    """So many of them, their round, what is to be done in later turns, and whose users they are."""
    turns, clients, access = [], {Counted() for _ in range(count)}, Access(Unkept())
    going = Round(clients, Slices(turns.append), access)
    access.watch(going.begin)
    return going, clients, turns, access


def test_very_many_connections_are_gone_round_in_parts():
    going, clients, turns, _ = begun(5000)
    gone = Counted()
    going.begin()
    assert 0 < sum(it.times for it in clients) < 1000
    clients.add(gone)  # since: it has begun with the new rules
    clients.discard(gone)
    while turns:
        before = sum(it.times for it in clients)
        turns.pop(0)()
        assert sum(it.times for it in clients) - before <= 2000
    assert {it.times for it in clients} == {1}
    assert gone.times == 0


def test_a_change_while_connections_are_gone_round_has_its_own_round():
    going, clients, turns, _ = begun(500)
    for _ in range(3):
        going.begin()
    while turns:
        turns.pop(0)()
    assert {it.times for it in clients} == {2}
    going.begin()
    while turns:
        turns.pop(0)()
    assert {it.times for it in clients} == {3}


def test_a_change_of_users_is_noted_at_once_by_all():
    _, clients, turns, access = begun(5000)
    access.change(keep=[KeptUser("al")])
    assert {it.users for it in clients} == {1}
    access.change(forget=[KeptUser("al")])
    access.change(keep=[KeptUser("al")])
    assert {it.users for it in clients} == {3}
    access.change(keep=[KeptRule("al", "read", "topic", "t")])
    assert {it.users for it in clients} == {3}
    while turns:
        turns.pop(0)()
    assert {it.times for it in clients} == {2}


def test_a_bug_of_one_connection_keeps_no_other_from_being_told(caplog):
    class Broken(Counted):
        def rules_changed(self):
            raise ZeroDivisionError("a bug")

    going, clients, turns, _ = begun(200)
    broken = Broken()
    clients.add(broken)
    for _ in range(2):
        going.begin()
        while turns:
            turns.pop(0)()
    assert {it.times for it in clients - {broken}} == {2}
    assert [it.message for it in caplog.records] == [
        "a bug in what a connection does about new rules"
    ] * 2
