"""A Celery application: what a shop does behind its pages. Its environment names the broker."""

import json
import os
import time
from pathlib import Path

from celery import Celery

FOLDER = Path(os.environ["SHOP_FOLDER"])  # what tasks note, and what they wait for
DEADLINE_S = 60

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(
    {"result_backend": "rpc://", "broker_connection_retry_on_startup": True},
    **json.loads(os.environ.get("SHOP_SETTINGS", "{}")),
)


def note(*words):
    """One line, whole, whoever else writes."""
    with open(FOLDER / "notes", "a") as notes:
        notes.write(json.dumps(words) + "\n")


def waited_for(name):
    """That file is there; a task is held with it."""
    deadline = time.monotonic() + DEADLINE_S
    while not (FOLDER / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.01)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def mark(*words):
    note(*words)


@app.task(bind=True)
def told(self):
    """What the worker knows of the message."""
    return {**self.request.delivery_info, "retries": self.request.retries}


@app.task(bind=True, max_retries=None)
def flaky(self, failures, countdown=0, **how):
    note("tried", self.request.id, self.request.retries)
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, **how)
    return self.request.retries


@app.task
def breaks(text):
    raise ValueError(text)


@app.task(bind=True)
def hold(self, name):
    """Begin, and end only once a file of that name is there."""
    note("began", name, os.getpid(), self.request.delivery_info["redelivered"])
    waited_for(name)
    note("ended", name)
    return name


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, name):
    """As hold, but acknowledged at its end."""
    return hold.run.__func__(self, name)
