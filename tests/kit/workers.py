"""Work that doors give to other threads, done when a test says so."""


class LaterWork:
    """Takes jobs, and does none before ``work_off``; ``working``: one is being done."""

    def __init__(self):
        self.jobs, self.working = [], False

    def take(self, job, done):
        self.jobs.append((job, done))

    def work_off(self):
        """Run all jobs one after another; returns their number."""
        count = 0
        while self.jobs:
            job, done = self.jobs.pop(0)
            self.working = True
            result = job()
            self.working = False
            done(result)
            count += 1
        return count
