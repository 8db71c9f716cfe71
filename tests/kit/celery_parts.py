"""The processes of ``tests/clients/celery_app``: workers, and one that sends them tasks."""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

from speaking import Program
from waiting import until

APP = Path(__file__).parents[1] / "clients" / "celery_app"
DEADLINE_S = 90  # an answer may wait for a worker's own deadline


class Shop:
    """The application against one broker: its environment, its folder, and all its processes."""

    def __init__(self, folder, amqp, python=sys.executable, **settings):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.amqp = amqp
        self.python = python
        host, port = amqp
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(APP),
            "SHOP_FOLDER": str(folder),
            "SHOP_BROKER": f"amqp://guest:guest@{host}:{port}//",
            "SHOP_SETTINGS": json.dumps(settings),
            "FLOWER_UNAUTHENTICATED_API": "true",
        }
        self._running = []

    def program(self, kind, *words):
        made = kind(
            [self.python, *words], env=self._environment, cwd=self.folder, start_new_session=True
        )
        self._running.append(made)
        return made

    def worker(self, *words, pool="solo", name="one"):
        """Start a worker, and wait until it is ready."""
        found = self.program(
            Worker, "-m", "celery", "-A", "shop", "worker", "-l", "info", "-P", pool,
            "-n", f"{name}@here", *words,
        )  # fmt: skip
        found.said(f"{name}@here ready.")
        return found

    def ask(self):
        """A process that evaluates in the application: ``ask("add.delay(2, 3).get(T)")``."""
        return self.program(Ask, APP / "ask.py")

    def flower(self):
        """A Flower that sees the workers: ``flower(path)`` returns its answer."""
        found = self.program(
            Worker, "-m", "celery", "-A", "shop", "flower", "--address=127.0.0.1", "--port=0"
        )
        where = found.said("Visit me at").rsplit(None, 1)[1]

        def get(path):
            with urllib.request.urlopen(where + path, timeout=DEADLINE_S) as answer:
                return json.load(answer)

        return get

    def notes(self, kind=None):
        """The lines that tasks wrote; with a kind, the rest of the lines with that word."""
        path = self.folder / "notes"
        lines = [json.loads(it) for it in path.read_text().splitlines()] if path.exists() else []
        return lines if kind is None else [it[1:] for it in lines if it[0] == kind]

    def noted(self, kind, condition):
        """The notes of this kind, once the condition holds."""
        until(
            lambda: condition(self.notes(kind)),
            lambda: time.sleep(0.02),  # nothing tells of a file
            complain=self._complaints,
        )
        return self.notes(kind)

    def _complaints(self):
        return "\n".join([f"{self.notes()}", *(it.complaints() for it in self._running)])

    def let_go(self, name):
        (self.folder / name).touch()

    def close(self):
        for it in self._running:
            it.kill()


class OfShop(Program):
    def kill(self):
        """Kill the process at once, with all its children."""
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self._gone()


class Worker(OfShop):
    """What it says, on either way, is its log."""

    def __init__(self, words, **more):
        self._spoke, self._open = threading.Condition(), 2
        super().__init__(words, **more)

    def _read(self):
        self._note_lines(self.process.stdout)

    def _listen(self):
        self._note_lines(self.process.stderr)

    def _note_lines(self, stream):
        for line in stream:
            with self._spoke:
                self._complaints.append(line)
                self._spoke.notify_all()
        with self._spoke:
            self._open -= 1
            self._spoke.notify_all()

    def said(self, text):
        """Wait for a log line with this text."""
        with self._spoke:
            self._spoke.wait_for(lambda: not self._open or self._lines_with(text), DEADLINE_S)
            assert self._lines_with(text), self.complaints()
            return self._lines_with(text)[0]

    def _lines_with(self, text):
        return [it for it in self._complaints if text in it]

    def stop(self):
        """Stop the worker as an operator does: it finishes running tasks."""
        self.process.send_signal(signal.SIGTERM)
        self._gone()
        assert self.process.returncode == 0, self.complaints()


class Ask(OfShop):
    def __call__(self, expression):
        self.process.stdin.write(json.dumps(expression) + "\n")
        self.process.stdin.flush()
        try:
            answer = self.next(DEADLINE_S)
        except queue.Empty:
            raise AssertionError(f"no answer to {expression}:\n{self.complaints()}") from None
        assert "error" not in answer, answer["error"] + self.complaints()
        return answer["is"]
