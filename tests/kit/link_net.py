"""Nodes by address, and links to them over which bytes go when a test says so."""

from types import SimpleNamespace

from relay_kit import NONCES, SECRET, Heard, frames

from logstore.errors import ClusterUnreachable
from logstore.relay.talk import Talk

HERE, THERE = ("10.0.0.1", 9094), ("10.0.0.2", 9094)


class Net:
    """``Around`` of a peer: owners by address, time that a test moves."""

    def __init__(self):
        self.time = 100.0
        self.due = []
        self.owners = {HERE: b"b"}
        self.secret = SECRET
        self.links = []  # of the one and the other end
        self.tried = []

    def now(self):
        return self.time

    def call_at(self, at, call):
        entry = (at, call)
        self.due.append(entry)
        return SimpleNamespace(cancel=lambda: entry in self.due and self.due.remove(entry))

    def connect(self, address, link):
        self.tried.append((self.time, address))
        if address not in self.owners:
            link.lose(ClusterUnreachable(f"{link.peer}: connection refused"))
            return lambda: None
        me = self.owners[address]
        owner = Talk(me, self.secret, next(NONCES), Heard(), self.now, lambda: None)
        self.links.append((link, owner))
        return lambda: None

    def run(self):
        moved = True
        while moved:
            moved = False
            for asker, owner in self.links:
                for sender, receiver in (asker, owner), (owner, asker):
                    for it in frames(sender.outgoing()):
                        moved = True
                        receiver.received(it)

    def pass_by(self, seconds):
        until = self.time + seconds
        while self.due and min(it[0] for it in self.due) <= until:
            due = min(self.due, key=lambda it: it[0])
            self.due.remove(due)
            self.time = max(self.time, due[0])
            due[1]()
            self.run()
        self.time = until
