"""A group's coordinator whose answers are a test's: what was asked, and what is told of it."""

from random import Random
from types import SimpleNamespace

from logstore.cluster.view import Led, TopicSeen, View

TOPIC, TOPIC_ID, GROUP = "journal", b"i" * 16, "nodes"


class FedCoordinator:
    """``GroupCoordinator``, ``Around`` and ``Told`` of a member."""

    group = GROUP

    def __init__(self, partitions=4):
        self.view = View()
        self.brokers = self
        self.seconds = self.steady = 0.0
        self.heard_at, self.joins = None, 0
        self.random = Random(0)
        self.asked = []  # (kind, request, then), not answered yet
        self.due = []
        self.watchers = []
        self.forgotten = self.refreshes = self.confirmed = 0
        self.assigned, self.giving, self.refusals = frozenset(), set(), []
        if partitions:
            self.know(partitions)

    def know(self, partitions, topic_id=TOPIC_ID):
        """Give the topic to the view."""
        self.view.topics = {TOPIC: TopicSeen(TOPIC, topic_id, (Led(0, 0),) * partitions)}
        for call in list(self.watchers):
            call()

    # As GroupCoordinator, and Brokers

    def ask(self, kind, request, then, seconds):
        assert seconds > 0
        self.asked.append((kind, request, then))

    def forget(self):
        self.forgotten += 1

    def refresh(self):
        self.refreshes += 1

    def watch(self, call):
        self.watchers.append(call)
        return lambda: self.watchers.remove(call)

    # As Around

    def now(self):
        return self.seconds

    def call_at(self, at, call):
        alarm = SimpleNamespace(at=at, call=call)
        alarm.cancel = lambda: self.due.remove(alarm) if alarm in self.due else None
        self.due.append(alarm)
        return alarm

    # As Told

    @property
    def held(self):
        return self.assigned | self.giving

    def clock(self):
        return self.steady

    def heard_of(self, said_at, *, anew):
        self.heard_at = said_at
        self.joins += anew

    def assign(self, numbers):
        self.giving |= self.assigned - numbers
        self.assigned = frozenset(numbers)

    def confirm(self):
        self.confirmed += 1

    def refuse(self, why):
        self.refusals.append(why)

    # What a test does

    def step(self):
        """Advance to the member's next action; returns how long that took."""
        [alarm] = self.due
        self.due.clear()
        took, self.seconds = alarm.at - self.seconds, alarm.at
        alarm.call()
        return took

    def answer(self, error_code=0, error=None, **facts):
        """Answer the one pending request, and return it."""
        [(kind, request, then)] = self.asked
        self.asked.clear()
        then(error or kind.messages().Response(error_code=error_code, **facts))
        return request
