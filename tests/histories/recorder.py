"""Clients in threads, and the history that they make."""

import sys
import threading
import time
import traceback
from dataclasses import replace

from tests.histories.history import Operation, Outcome

STOPS_WITHIN_S = 60


class Recorder:
    """What clients did, in any order but for each client's own. Used by many threads."""

    def __init__(self):
        self.operations = []
        self._ended = threading.Condition()  # one more operation
        self._numbers = {}
        self._asking = threading.Event()

    def value(self, client):
        """One that nobody else sends."""
        number = self._numbers[client] = self._numbers.get(client, -1) + 1
        return f"{client}.{number}"

    def ask(self):
        """Now; for a client that asks for a commit."""
        self._asking.set()
        return time.monotonic()

    def wait_for_a_commit(self, most_s):
        """Until some client asks for one."""
        self._asking.clear()
        self._asking.wait(most_s)

    def begin(self, client, **more):
        return Operation(client, (), begun=time.monotonic(), **more)

    def end(self, operation, steps, outcome=Outcome.OK, asked=None):
        ended = replace(
            operation, steps=tuple(steps), outcome=outcome, asked=asked, ended=time.monotonic()
        )
        with self._ended:
            self.operations.append(ended)
            self._ended.notify_all()

    def wait_for_commits(self, clients, most_s):
        """Until each has committed a transaction that it begins from now on; who has not."""
        since, missing = time.monotonic(), set(clients)

        def all_have():
            missing.difference_update(
                it.client for it in self.operations
                if it.begun >= since and it.asked is not None and it.outcome is Outcome.OK
            )  # fmt: skip
            return not missing

        with self._ended:
            self._ended.wait_for(all_have, most_s)
        return missing


class Lost(Exception):
    """What the client holds, a connection or a place in a group, is of no use any more."""


class Client(threading.Thread):
    """Does one thing after another until it is told to stop, which tells of a bug of its own."""

    def __init__(self, name, recorder, choose):
        super().__init__(name=name, daemon=True)
        self.recorder, self.choose = recorder, choose
        self.stopping = threading.Event()
        self._failed = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.live()
        except Exception as error:  # noqa: BLE001  stop raises it
            self._failed = error

    def live(self):
        """Connect, do things until that is of no use any more or all is to end, and disconnect."""
        raise NotImplementedError

    def where(self):
        """Where it is, or why it is nowhere."""
        if not self.is_alive():
            return "".join(traceback.format_exception(self._failed))
        return "".join(traceback.format_stack(sys._current_frames()[self.ident]))

    def stop(self):
        self.stopping.set()
        self.join(STOPS_WITHIN_S)
        assert not self.is_alive(), f"{self.name} does not come to an end: {self.where()}"
        if self._failed is not None:
            raise self._failed
