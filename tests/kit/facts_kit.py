"""Nodes that share facts over one log in memory; a test says whose turn it is."""

import itertools

from clock import NOW_MS

from logstore.cluster.facts import Facts
from logstore.cluster.facts_follower import FactsFollower
from logstore.cluster.facts_keeper import FactsKeeper
from logstore.cluster.ids import WITHIN
from logstore.cluster.shared_keepers import SharedQueues, SharedUsers


class OwnNumbers:
    """As Ids, of a node that has a block."""

    def __init__(self, start):
        self._numbers = itertools.count(start)

    def check(self):
        """Do nothing: there are enough numbers."""

    def next(self):
        return next(self._numbers)

    def within(self, vhost, place):
        return WITHIN | vhost << 4 | place


class SharingNode:
    """One node's keeper, and what it was told to show."""

    def __init__(self, log, number):
        self.log = log
        self.asked = 0  # how often it has asked where the log ends
        self._soon = {}
        self.follower = FactsFollower(log, self.soon, self._ask_end)
        self.numbers = OwnNumbers(number << 20)
        self.keeper = FactsKeeper(
            self.follower, log, self.soon, lambda: NOW_MS, f"node {number}".encode(), self.numbers
        )
        self.queues = SharedQueues(self.keeper, self.numbers)
        self.users = SharedUsers(self.keeper)

    def _ask_end(self, then):
        self.asked += 1
        then((self.log.end, -1))

    def soon(self, call):
        self._soon[call] = None

    def turn(self):
        """Run pending calls; returns whether there were any."""
        calls, self._soon = self._soon, {}
        for call in calls:
            call()
        return bool(calls)


def settle(*nodes):
    """Run all nodes until none has anything to do."""
    while sum(it.turn() for it in nodes):
        pass


def read_anew(log):
    """The facts as a new reader finds them."""
    facts = Facts()
    at = log.start
    while at < log.end:
        for batch in log.read(at, 1 << 20):
            facts.apply(batch)
            at = batch.next_offset
    return facts
