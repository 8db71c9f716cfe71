"""Clients of RabbitMQ that use queues through all nodes of a cluster, and what they know of it.

Each message is sent once, whatever becomes of its connection, so it may stand once at the most.
Publishers wait for each confirm, consumers acknowledge what comes at once; who loses a connection
makes another one, to any node. ``Known`` has what was confirmed, delivered and acknowledged, when.
"""

import itertools
import random
import secrets
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pika
from waiting import until

PREFETCH = 20
KEPT_MAX = 12  # of those
ENDS_WITHIN_S = 10
UNDER_WAY_S = 2.0  # an acknowledgement, or a delivery; on a machine that is very busy
LASTS = pika.BasicProperties(delivery_mode=2)
_numbers = itertools.count()
GONE = (pika.exceptions.AMQPError, OSError)


@dataclass
class Message:
    """What is known of one; times are monotonic seconds."""

    queue: str
    sent: float
    confirmed: float | None = None
    deliveries: list = field(default_factory=list)  # (when, redelivered)
    acks: list = field(default_factory=list)  # (when it was delivered, when it was acknowledged)

    def comes_back(self):
        """Each redelivery after an acknowledgement: that acknowledgement, and when it came."""
        return [
            (max(before, key=lambda it: it[1]), when)
            for when, _ in self.deliveries
            if (before := [it for it in self.acks if it[1] < when])
        ]

    def unmarked(self, freezes):
        """Times of redeliveries without the redelivered flag.

        A node that was frozen while it delivered continues afterwards: ``freezes`` are start and
        end of each.
        """
        return [
            when
            for when, redelivered in self.deliveries[1:]
            if not redelivered
            and not any(
                begin - UNDER_WAY_S <= self.sent <= begin and end <= when <= end + UNDER_WAY_S
                for begin, end in freezes
            )
        ]


class Fault(NamedTuple):
    """What was done to a node: what it has given out till then may be acknowledged in vain."""

    what: str
    begin: float
    until: float  # it gives nothing out from then on

    def explains(self, acked, when):
        """Whether a message acknowledged like this may be redelivered at that time."""
        delivered_at, acked_at = acked
        return (
            delivered_at <= self.until + UNDER_WAY_S
            and acked_at >= self.begin - UNDER_WAY_S
            and when >= self.begin
        )


class Known:
    """Of all messages. From any thread."""

    def __init__(self):
        self.messages = {}
        self.strange = []  # bodies that were never sent, or belong to another queue
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def sent(self, queue):
        with self._lock:
            number = next(self._numbers)
            self.messages[number] = Message(queue, time.monotonic())
        return number

    def confirmed(self, number):
        self.messages[number].confirmed = time.monotonic()

    def delivered(self, queue, body, redelivered):
        """Note a delivery; returns the call for its acknowledgement."""
        found = self.messages.get(int(body.split(b" ")[0]))
        if found is None or found.queue != queue:
            self.strange.append((queue, body))
            return lambda: None
        now = time.monotonic()
        with self._lock:
            found.deliveries.append((now, redelivered))
        return lambda: found.acks.append((now, time.monotonic()))

    # What follows from it

    def all(self):
        with self._lock:
            return list(self.messages.items())

    def missing(self):
        """Messages that were confirmed, and not acknowledged by any consumer."""
        return [n for n, it in self.all() if it.confirmed is not None and not it.acks]

    def back(self, faults):
        """Redeliveries after an acknowledgement that no fault explains."""
        return [
            (number, it)
            for number, it in self.all()
            for acked, when in it.comes_back()
            if not any(fault.explains(acked, when) for fault in faults)
        ]

    def unmarked(self, freezes):
        """Redeliveries without the redelivered flag."""
        return [(number, it) for number, it in self.all() if it.unmarked(freezes)]

    def gaps(self, since, until):
        """(of confirms, of deliveries): the longest time without one, by queue, in this period."""
        confirms, deliveries = defaultdict(list), defaultdict(list)
        for _, it in self.all():
            if it.confirmed is not None:
                confirms[it.queue].append(it.confirmed)
            deliveries[it.queue] += [when for when, _ in it.deliveries]
        return tuple(
            {queue: _longest(times, since, until) for queue, times in by_queue.items()}
            for by_queue in (confirms, deliveries)
        )


def _longest(times, since, until):
    points = [since, *sorted(it for it in times if since < it < until), until]
    return max(b - a for a, b in itertools.pairwise(points))


class _Client(threading.Thread):
    """One, which goes to another node when it loses one."""

    def __init__(self, load, first):
        super().__init__(daemon=True)
        self.load = load
        self.first = first
        self.failed = None

    def run(self):
        try:
            while not self.load.over(self):
                with suppress(*GONE):
                    self._with(self._connect())
        except BaseException as error:  # told by the test's own thread
            self.failed = error
            raise

    def _connect(self):
        places = self.load.places()
        place = places[self.first % len(places)]
        self.first += 1  # the next time another one
        host, port = place
        try:
            return pika.BlockingConnection(
                pika.ConnectionParameters(
                    host,
                    port,
                    heartbeat=10,
                    socket_timeout=5,
                    stack_timeout=10,
                    blocked_connection_timeout=60,
                )
            )
        except GONE:
            time.sleep(0.05)  # it may be gone, and the others, too
            raise

    def _with(self, connection):
        try:
            self.use(connection)
        finally:
            with suppress(*GONE):
                connection.close()


class Publisher(_Client):
    """In turn to all queues."""

    def use(self, connection):
        channel = connection.channel()
        channel.confirm_delivery()
        known, load = self.load.known, self.load
        for queue in itertools.cycle(load.queues):
            if load.over(self):
                return
            number = known.sent(queue)
            try:
                channel.basic_publish("", queue, b"%d %s" % (number, load.filling), LASTS)
            except pika.exceptions.NackError:
                load.nacked += 1
            else:
                known.confirmed(number)
            connection.process_data_events(load.pause_s)


class Consumer(_Client):
    """Of all queues. It keeps some of what it has for a while, and acknowledges any of them."""

    def use(self, connection):
        channel = connection.channel()
        self.choose = random.Random(self.first)
        self.limit(channel)
        self.kept, self.tags = [], {}
        for queue in self.load.queues:
            self.consume(channel, queue)
        while not self.load.over(self):
            count = len(self.kept)
            connection.process_data_events(0.1)
            if count == len(self.kept):  # nothing has come
                self.settle_some(channel, 0)
            self.between(channel)

    def limit(self, channel):
        channel.basic_qos(prefetch_count=PREFETCH)

    def consume(self, channel, queue):
        def take(channel, method, properties, body):
            acked = self.load.known.delivered(queue, body, method.redelivered)
            self.kept.append((method.delivery_tag, acked))
            self.settle_some(channel, self.choose.randrange(KEPT_MAX))

        self.tags[queue] = channel.basic_consume(queue, take)

    def settle_some(self, channel, left):
        while len(self.kept) > left:
            self.settle(channel, *self.kept.pop(self.choose.randrange(len(self.kept))))

    def settle(self, channel, tag, acked):
        channel.basic_ack(tag)
        acked()

    def between(self, channel):
        """Nothing: it stays."""


class Restless(Consumer):
    """One with another limit each time, which gives some back, and leaves queues and comes back."""

    def limit(self, channel):
        if self.choose.random() < 0.5:
            channel.basic_qos(prefetch_count=self.choose.choice([1, 3]))
        else:
            channel.basic_qos(prefetch_count=self.choose.choice([5, 40]), global_qos=True)

    def settle(self, channel, tag, acked):
        if self.choose.random() < 0.05:
            channel.basic_nack(tag, requeue=True)
        else:
            super().settle(channel, tag, acked)

    def between(self, channel):
        if self.choose.random() < 0.1:
            queue = self.choose.choice(self.load.queues)
            channel.basic_cancel(self.tags[queue])
            self.consume(channel, queue)


class Getter(_Client):
    """It fetches single messages from one queue after the other."""

    def use(self, connection):
        channel = connection.channel()
        for queue in itertools.cycle(self.load.queues):
            if self.load.over(self):
                return
            method, _, body = channel.basic_get(queue)
            if method is not None:
                acked = self.load.known.delivered(queue, body, method.redelivered)
                channel.basic_ack(method.delivery_tag)
                acked()
            connection.process_data_events(0.05)


class Load:
    """Of these queues, which are there. ``places()``: of the nodes that clients may go to."""

    def __init__(
        self, places, queues, publishers=3, consumers=3, pause_s=0.02, filling=None, mixed=False
    ):
        """``mixed``: there are restless consumers and getters, too."""
        self.places = places
        self.queues = queues
        self.known = Known()
        self.pause_s = pause_s
        self.filling = filling or secrets.token_hex(4).encode()  # of its messages alone
        self.nacked = 0
        self._over = {Publisher: False, Consumer: False}  # by kind
        self._clients = [Publisher(self, it) for it in range(publishers)]
        self._clients += [Consumer(self, it) for it in range(consumers)]
        self._clients += [kind(self, it) for kind in (Restless, Getter) for it in range(2 * mixed)]
        for it in self._clients:
            it.start()

    def over(self, client):
        return self._over[Publisher if isinstance(client, Publisher) else Consumer]

    def check(self):
        """Check that no client has found an error."""
        for it in self._clients:
            if it.failed is not None:
                raise it.failed

    def _end(self, kind):
        self._over[kind] = True
        for it in self._clients:
            if isinstance(it, kind):
                it.join()

    def wait_until_it_flows(self):
        """Wait until each queue has delivered a message sent from now on."""
        self._wait_until(lambda it: it.deliveries)

    def wait_until_it_is_confirmed(self):
        """Wait until each queue has confirmed a message sent from now on."""
        self._wait_until(lambda it: it.confirmed is not None)

    def _wait_until(self, holds):
        now = time.monotonic()

        def dry():
            found = {it.queue for _, it in self.known.all() if it.sent > now and holds(it)}
            return [it for it in self.queues if it not in found]

        until(lambda: not dry(), lambda: time.sleep(0.05), complain=lambda: f"dry: {dry()}")

    def drain(self, within_s=60):
        """Stop sending and consume confirmed messages; returns the missing ones."""
        self._end(Publisher)
        deadline = time.monotonic() + within_s
        while (missing := self.known.missing()) and time.monotonic() < deadline:
            time.sleep(0.1)  # none of many clients tells
        return missing

    def stop(self):
        """Stop the clients; a client that waits in vain is abandoned."""
        self._over = dict.fromkeys(self._over, True)
        for it in self._clients:
            it.join(ENDS_WITHIN_S)


def named(trio, count):
    """The names of ``count`` new queues."""
    names = [f"load-{next(_numbers)}" for _ in range(count)]
    with pika.BlockingConnection(pika.ConnectionParameters(*trio.places()[0])) as connection:
        channel = connection.channel()
        for it in names:
            channel.queue_declare(it, durable=True)
    return names
