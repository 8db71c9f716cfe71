"""A queue in order by key, with workers that end, give back, and lose their server."""

import random
import signal
from contextlib import suppress

import pika
import pytest
from pika.exceptions import AMQPError
from serving import Serving

pytestmark = pytest.mark.long

KEYS, EACH, WORKERS = 20, 40, 6
ARGUMENTS = {"x-ordering-key": "header:customer", "x-ordering-prefetch": 1}


class Worker:
    """One connection with a consumer, which keeps what it gets."""

    def __init__(self, server, out):
        """``out``: of each key, who has a message of it."""
        host, port = server.amqp
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=5)
        self.out, self.had, self.ended = out, [], False
        self.channel.basic_consume("q", lambda *it: self.came(it[1], it[3]))

    def came(self, method, body):
        if self.ended:
            return
        key, number = map(int, body.split())
        assert key not in self.out, f"{body!r} while another of its key is out"
        self.out[key] = self
        self.had.append((method.delivery_tag, key, number))

    def end(self):
        self.ended = True
        self.had.clear()
        for key in [key for key, it in self.out.items() if it is self]:
            del self.out[key]
        with suppress(AMQPError):  # the server is gone
            self.connection.close()


def publish(server):
    host, port = server.amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, arguments=ARGUMENTS)
        channel.confirm_delivery()
        for n in range(EACH):
            for key in range(KEYS):
                properties = pika.BasicProperties(delivery_mode=2, headers={"customer": key})
                channel.basic_publish("", "q", b"%d %d" % (key, n), properties)


def test_each_key_is_worked_on_in_order_whatever_happens(tmp_path):
    """Of each key one message is out at a time, and none before the one before it was acknowledged.

    After a kill, what the server had not told its journal comes again: also in order.
    """
    chance = random.Random(7)
    done = {key: set() for key in range(KEYS)}  # numbers that were acknowledged
    server = Serving(tmp_path / "data", amqp_port=0)
    try:
        publish(server)
        for ending in (signal.SIGKILL, signal.SIGTERM):
            worked(server, done, sum(map(len, done.values())) + 200, chance)
            server.stop(ending)
            server = Serving(tmp_path / "data", amqp_port=0)
        worked(server, done, KEYS * EACH, chance)
    finally:
        server.stop()
    assert all(it == set(range(EACH)) for it in done.values())


def worked(server, done, until, chance):
    out = {}
    workers = [Worker(server, out) for _ in range(WORKERS)]
    while sum(map(len, done.values())) < until:
        worker = chance.choice(workers)
        worker.connection.process_data_events(0)
        if not worker.had:
            continue
        tag, key, number = worker.had.pop(chance.randrange(len(worker.had)))
        assert done[key] >= set(range(number)), f"{key} {number} before one that stands before it"
        what = chance.random()
        if what < 0.95:
            del out[key]
            if what < 0.7:
                done[key].add(number)
                worker.channel.basic_ack(tag)
            else:
                worker.channel.basic_nack(tag, requeue=True)
        else:
            worker.end()
            workers[workers.index(worker)] = Worker(server, out)
    for worker in workers:
        worker.end()
