"""``SharesOf`` of a Kafka session without sockets, disk or clock."""

from collections import deque

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.shared.by_place import ByPlace
from logstore.broker.shared.rules import rules_of
from logstore.broker.shared.shares import Shares
from logstore.broker.transacting.telling import Telling


class SharesOfDoor:
    """The journal is in memory, and safe at the end of each turn unless it is held."""

    def __init__(self, talk, journal):
        self._talk = talk
        self._calls, self._jobs = deque(), deque()
        self._ended = False
        self.slow = False  # jobs wait until this is over
        self.journal = journal
        self.journal.notes = SettlementNotes()
        self.journal.notes.freeze()
        self.opened = None
        self.error = None
        self.telling = Telling(self.journal, lambda: talk.clock_ms, self.soon, self._end_soon)
        self.tell = self.telling.tell
        self.alarms = []

    def open(self):
        if self.opened is None:
            self.opened = Shares(ByPlace(self.journal.notes.shares().partitions()), self)
        return self.opened

    def when_open(self, then):
        then(self.error or self.open())

    # Surroundings

    def rules(self, group):
        return rules_of(self._talk.coordinator.settings_of(group))

    def by_id(self, topic_id):
        return self._talk.topics.by_uuid(topic_id)

    def now_ms(self):
        return int(self._talk.now * 1000)

    def wall_ms(self):
        return self._talk.clock_ms

    def soon(self, call):
        self._calls.append(call)

    def alarm(self, at_ms):
        self.alarms.append(at_ms)

    def work(self, job, then):
        self._jobs.append((job, then))

    def _end_soon(self):
        self._ended = True

    # What a test does

    def turn(self):
        """Run until nothing is left."""
        while self._calls or self._ended or (self._jobs and not self.slow):
            self.step()

    @property
    def busy(self):
        return bool(self._calls or self._ended)

    def step(self):
        """Run the jobs put off until now."""
        while self._jobs and not self.slow:
            job, then = self._jobs.popleft()
            then(job())
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        if self._ended:
            self._ended = False
            self.telling.end_turn()
