"""How soon a node answers, all the time."""

import threading
import time
from contextlib import closing

import redis


class Pings(threading.Thread):
    """A Redis client that asks again and again, and how long each answer took."""

    def __init__(self, place):
        super().__init__()
        self.took_s = []
        self._place, self._over = place, threading.Event()

    def run(self):
        with closing(redis.Redis(*self._place)) as client:
            while not self._over.wait(0.01):
                began = time.monotonic()
                client.ping()
                self.took_s.append(time.monotonic() - began)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()
