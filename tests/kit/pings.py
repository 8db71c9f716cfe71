"""How soon a node answers, all the time, and how long its turns are."""

import http.client
import re
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


BUCKET = re.compile(rb'logstore_turn_seconds_bucket\{le="([^"]+)"\} (\d+)')


def turns(place):
    """The number of a node's turns up to each length, in seconds."""
    with closing(http.client.HTTPConnection(*place)) as connection:
        connection.request("GET", "/metrics")
        told = connection.getresponse().read()
    return {float(bound): int(count) for bound, count in BUCKET.findall(told)}


def longest(before, after):
    """The bound below which all turns in between were."""
    more = {bound: count - before[bound] for bound, count in after.items()}
    return min(bound for bound, count in more.items() if count == more[max(more)])
