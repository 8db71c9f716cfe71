"""The sessions' thread, in turns whose work is counted: calls of functions, not time."""

import sys
from collections import deque

CALL_S = 5e-7  # that one call takes, by the clock that goes by calls


class Thread:
    """The sessions' thread, in turns, and workers that are never in its way."""

    def __init__(self):
        self.left, self.jobs, self.most = [], deque(), 0
        self.calls = 0  # in all turns

    def soon(self, call):
        self.left.append(call)

    def work(self, job, done):
        self.jobs.append((job, done))

    def now(self):
        """A clock that advances only with counted calls."""
        return self.calls * CALL_S

    def turn(self, call):
        """Make the call, and count the calls within it."""
        before = self.calls

        def counted(frame, event, argument):
            self.calls += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            result = call()
        finally:
            sys.setprofile(None)
        self.most = max(self.most, self.calls - before)
        return result

    def go_on(self):
        """Run the pending calls; returns whether there were any."""
        calls, self.left = self.left, []
        for call in calls:
            self.turn(call)
        if self.jobs:
            job, done = self.jobs.popleft()
            result = job()
            self.turn(lambda: done(result))
            return True
        return bool(calls)
