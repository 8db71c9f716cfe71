"""Clients of groups, as state machines drive them: one heartbeat at a time."""

from logstore.broker.coordinator.refusal import GroupError

AGAIN = {GroupError.COORDINATOR_NOT_AVAILABLE, GroupError.UNRELEASED_INSTANCE_ID}


class Client:
    """Does what a consumer does, one heartbeat at a time."""

    def __init__(self, bench, number, topics, seen):
        self.bench, self.number, self.topics, self.seen = bench, number, topics, seen
        self.instance = f"static-{number}" if number == 0 else None
        self.member_id = f"m{number}-{next(bench.ids)}"
        self.epoch = 0
        self.owned = frozenset()  # the partitions that it reads
        self.told = None  # the partitions that it should read
        self.asked = None

    def beat(self, *, lost=False):
        """Send a heartbeat; with ``lost`` its answer never arrives."""
        if self.asked is not None:
            if self.asked:
                answers, self.asked = self.asked, None
                self.on_answer(answers[0])
            return
        answers = []
        fields = {"topics": self.topics, "owned": self.owned, "rebalance_timeout_ms": 30_000}
        reply = self.bench.beat(self.member_id, self.epoch, instance=self.instance, **fields)
        if isinstance(reply, list):
            answers = reply
        else:
            answers.append(reply)
        self.seen.append(answers)
        if not lost:
            self.asked = answers
            self.beat_answered()

    def beat_answered(self):
        if self.asked:
            self.beat()

    def on_answer(self, answer):
        if answer.error is None:
            if self.epoch > answer.epoch:
                raise AssertionError("the epoch went back")
            self.epoch = answer.epoch
            if answer.assignment is not None:
                self.told = answer.assignment
        elif answer.error not in AGAIN:
            self.epoch, self.owned, self.told = 0, frozenset(), None

    def obey(self):
        """Release and take partitions as told."""
        if self.told is not None:
            self.owned = self.told
