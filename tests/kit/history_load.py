"""Clients of Redis that publish to channels with histories through all nodes, and listen there."""

import itertools
import secrets
import threading
import time
from contextlib import closing, suppress

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

GONE = (redis.RedisError, OSError)


class _Client(threading.Thread):
    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number, self.failed = load, number, None

    def run(self):
        try:
            for at in itertools.count(self.number):
                if self.load.over.is_set():
                    return
                places = self.load.places()
                host, port = places[at % len(places)]
                client = redis.Redis(host, port, socket_timeout=10, retry=Retry(NoBackoff(), 0))
                with suppress(*GONE), closing(client):
                    self.use(client)
                time.sleep(0.05)  # it may be gone, and the others, too
        except BaseException as error:  # told by another thread
            self.failed = error
            raise


class Publisher(_Client):
    """Numbers that are never sent twice."""

    def use(self, client):
        load = self.load
        while not load.over.is_set():
            for channel in load.channels:
                body = b"%d-%d" % (self.number, next(load.numbers))
                load.sent.add(body)
                client.publish(channel, body)
                load.taken.append((channel, body))
            time.sleep(load.pause_s)


class Listener(_Client):
    """What it hears until it loses its connection is one stretch."""

    def use(self, client):
        with closing(client.pubsub()) as listening:
            listening.subscribe(*self.load.channels)
            heard = {it: [] for it in self.load.channels}
            self.load.stretches.append(heard)
            while not self.load.over.is_set():
                message = listening.get_message(timeout=0.2)
                if message is not None and message["type"] == "message":
                    heard[message["channel"].decode()].append(message["data"])


class HistoryLoad:
    """``places()``: of the nodes that clients may go to."""

    def __init__(self, places, channels=2, pause_s=0.05):
        self.places = places
        self.channels = [f"kept-{secrets.token_hex(4)}" for _ in range(channels)]
        self.pause_s = pause_s
        self.numbers = itertools.count()
        self.over = threading.Event()
        self.sent, self.taken, self.stretches = set(), [], []
        self._clients = [kind(self, it) for it in range(3) for kind in (Publisher, Listener)]
        for it in self._clients:
            it.start()

    def stop(self):
        self.over.set()
        for it in self._clients:
            it.join(15)
        for it in self._clients:
            if it.failed is not None:
                raise it.failed

    def check(self, places):
        """Check that all nodes have one order with each accepted message once; returns the
        count.
        """
        total = 0
        for channel in self.channels:
            found = [self._read(place, channel) for place in places]
            first = found[0]
            assert all(it == first for it in found), f"{channel}: nodes know several orders"
            at = {body: offset for offset, body in enumerate(first)}
            assert len(at) == len(first), f"{channel}: some of it is there twice"
            lost = [body for name, body in self.taken if name == channel and body not in at]
            assert not lost, f"{channel}: {len(lost)} are lost: {lost[:5]}"
            assert at.keys() <= self.sent, f"{channel}: nobody has sent {at.keys() - self.sent}"
            for heard in self.stretches:
                order = [at.get(it, -1) for it in heard[channel]]
                assert order == sorted(set(order)), f"{channel}: another order was heard: {order}"
            total += len(first)
        return total

    @staticmethod
    def _read(place, channel):
        with closing(redis.Redis(*place, socket_timeout=30)) as client:
            found, at = [], 0
            while rows := client.execute_command(
                "CHANNEL.READ", channel, "FROM", str(at), "COUNT", "1000"
            ):
                found += [it[2] for it in rows]
                at = rows[-1][0] + 1
            return found
