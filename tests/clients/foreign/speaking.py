"""Talking to a client's program: lines of JSON, each waited for with a deadline.

A *client* is told what to do and answers. A *member* is in a consumer group, and tells what happens
to it; it can be ended, or killed.
"""

import json
import queue
import signal
import subprocess
import threading

import waiting

DEADLINE_S = 60


class Failed(Exception):
    """The client could not do it; its own words."""


class Program:
    """A process that writes lines of JSON."""

    def __init__(self, words, **more):
        self.process = subprocess.Popen(
            [str(it) for it in words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **more,
        )  # fmt: skip
        self._lines = queue.Queue()
        self._complaints = []
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        for it in self._threads:
            it.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _listen(self):
        for line in self.process.stderr:
            self._complaints.append(line)

    def next(self, deadline_s=DEADLINE_S):
        """The next line; raises queue.Empty when there is none in time."""
        line = self._lines.get(timeout=deadline_s)
        assert line is not None, f"it ended by itself:\n{self.complaints()}"
        return json.loads(line)

    def take(self, deadline_s=0.05):
        """Take in the next line, if one comes."""
        try:
            told = self.next(deadline_s)
        except queue.Empty:
            return
        self.note(told)

    def note(self, told):
        """What a line of its own accord means."""

    def complaints(self):
        return "".join(self._complaints[-40:])

    def close(self):
        """End in an orderly way: its input ends."""
        if self.process.poll() is None:
            self.process.stdin.close()
        self._gone()

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._gone()

    def _gone(self):
        try:
            self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            for it in self._threads:
                it.join()
            for it in (self.process.stdin, self.process.stdout, self.process.stderr):
                if not it.closed:
                    it.close()


class Client(Program):
    def __call__(self, deed, **what):
        self.process.stdin.write(json.dumps({"do": deed, **what}) + "\n")
        self.process.stdin.flush()
        try:
            answer = self.next()
        except queue.Empty:
            raise AssertionError(f"no answer to {deed}:\n{self.complaints()}") from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


class Member(Program):
    """A group's member: commits what it has been given, after telling of it."""

    def __init__(self, words):
        super().__init__(words)
        self.partitions = set()
        self.records = []  # (partition, offset, value)
        self.committed = {}

    def __repr__(self):
        return f"Member({self.partitions}, {self.records[-5:]}, {self.committed})"

    def note(self, told):
        self.partitions |= set(told.get("assigned", ()))
        self.partitions -= set(told.get("revoked", ()))
        self.records += [tuple(it) for it in told.get("records", ())]
        self.committed |= {int(p): offset for p, offset in told.get("committed", {}).items()}


class Streams(Program):
    """A Kafka Streams application, and its state by its own words."""

    state = "CREATED"

    def note(self, told):
        self.state = told["state"]


def until(met, *members):
    """Take in what the members say until it is as expected."""
    waiting.until(
        met,
        *(it.take for it in members),
        complain=lambda: "\n".join(f"{it}\n{it.complaints()}" for it in members),
    )
