"""A real rabbitmq-server and ours are told the same; all that a client sees is the same.

Deliveries with all properties, replies with their counts, what a channel or a connection is closed
with: code, text, class and method. What comes by itself (deliveries, confirms, closings) is waited
for until both have said the same, or for DEADLINE_S. Where a server is free it is left out: how
confirms are gathered, names that it makes, the time of a death. ``rabbit_differences`` has what is
otherwise on purpose.
"""

import os
import random
import re
import time
from typing import NamedTuple

import pytest
from amqp_wire import Line, Message, typed
from rabbit_differences import HEADERS, REPLIES
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import Serving

from logstore.amqp import fields, methods
from logstore.amqp.properties import Properties
from logstore.doors import DOORS

OUR_DOOR = any(door.name == "amqp" for door in DOORS)

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

DEADLINE_S = 20
QUIET = 3  # passes alike, one behind the other: a message may be on its way through as many queues
STEPS = int(os.environ.get("RABBIT_STEPS", "150"))
LINES, CHANNELS, WATCH = (0, 1), (1, 2), 9  # the last one of each line asks for counts
FORGOTTEN = {it.header for it in HEADERS}

# RabbitMQ's queues run beside each other, so no step may send messages to one of them on two ways.
# What is published goes to the open ones, of which the first alone has dead letters; these go to
# the next, and its own on to the last. A channel consumes from one queue.
OPEN, BEHIND, LAST = ["q0", "q1", "q2"], "q3", "q4"
# Nobody takes anything from this one: all of it dies of its age, and that is waited for.
BRIEF = "q5"
QUEUES = [*OPEN, BEHIND, LAST, BRIEF]
TAKEN_FROM = [it for it in QUEUES if it != BRIEF]
EXCHANGES = {
    "d": "direct", "t": "topic", "f": "fanout", "h": "headers", "dead": "fanout", "late": "topic",
    "inner": "topic",
}  # fmt: skip
BOUND = ["d", "t", "f", "h", "amq.topic", "inner"]  # to the open ones
KEYS = ["", "a", "a.b", "a.b.c", "b..c", "x.b", "q0"]
PATTERNS = ["", "#", "*", "a.#", "*.b", "a.*.c", "#.c", "a", "#.b.#"]
MATCHES = [
    {}, {"x-match": "any", "n": 1}, {"x-match": "all", "n": 1, "s": "x"}, {"n": None},
    {"x-match": "any"}, {"x-match": "any-with-x", "x-n": 1}, {"n": fields.Long(1)},
    {"x-match": "all-with-x", "x-n": 1, "n": 1}, {"t": True, "s": "x", "x-n": 5},
]  # fmt: skip
HEADER_TABLES = [
    {}, {"n": 1}, {"n": fields.Long(1), "s": "x"}, {"n": 1.5}, {"s": "x", "t": True}, {"x-n": 1},
    {"deep": {"a": [1, "x", None, {"b": fields.Timestamp(5)}]}},
]  # fmt: skip
QUEUE_ARGUMENTS = [
    *[{}] * 6,
    {"x-max-length": 3}, {"x-max-length": 2, "x-overflow": "reject-publish"},
    {"x-max-length-bytes": 20}, {"x-max-length": 0}, {"x-message-ttl": 3_600_000},
    {"x-message-ttl": 0}, {"x-expires": 3_600_000}, {"x-max-priority": 5},
    {"x-max-priority": 3, "x-max-length": 3}, {"x-single-active-consumer": True},
    {"x-queue-mode": "lazy"}, {"x-queue-type": "classic"}, {"x-unknown": "it"},
]  # fmt: skip
DEAD = {"x-dead-letter-exchange": "dead"}
DYING_ARGUMENTS = [
    *[DEAD] * 3,
    {**DEAD, "x-max-length": 3}, {**DEAD, "x-message-ttl": 0}, {**DEAD, "x-max-priority": 5},
    {**DEAD, "x-max-length": 2, "x-overflow": "reject-publish-dlx"},
    {**DEAD, "x-dead-letter-routing-key": "a.b"}, {"x-dead-letter-exchange": "late"},
    {"x-dead-letter-exchange": "late", "x-dead-letter-routing-key": "a.b"},
    {"x-dead-letter-exchange": "missing"}, {"x-dead-letter-exchange": ""},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": BEHIND},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q0", "x-max-length": 3},
]  # fmt: skip
BRIEF_ARGUMENTS = [
    {"x-message-ttl": 40, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": BEHIND},
    {"x-message-ttl": 40, "x-dead-letter-exchange": "dead"},
    {"x-message-ttl": 40, "x-dead-letter-exchange": "late", "x-max-length": 2},
    {"x-message-ttl": 40, "x-dead-letter-exchange": "late", "x-dead-letter-routing-key": "x.b"},
    {"x-message-ttl": 40, "x-dead-letter-exchange": "missing"},
]
BEHIND_ARGUMENTS = [
    {}, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": LAST},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": LAST, "x-max-length": 2},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q0", "x-max-length": 2},
    {"x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q0"},
]  # fmt: skip
WRONG_ARGUMENTS = [
    {"x-message-ttl": -1}, {"x-message-ttl": "1000"}, {"x-expires": 0}, {"x-expires": "a"},
    {"x-max-priority": 256}, {"x-max-priority": -1}, {"x-max-length": -1}, {"x-max-length": "1"},
    {"x-dead-letter-routing-key": "a"}, {"x-overflow": "nope"}, {"x-queue-type": "nope"},
    {"x-dead-letter-exchange": 5}, {"x-single-active-consumer": "yes"}, {"x-queue-mode": "nope"},
    {"x-max-length-bytes": True}, {"x-message-ttl": 2**40}, {"x-expires": 2**40},
]  # fmt: skip


class Endpoint(NamedTuple):
    amqp: tuple
    vhost: str


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    server = RealRabbit(tmp_path_factory.mktemp("rabbit"), ["second"])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    if not OUR_DOOR:
        pytest.skip("logstore serve has no door for AMQP clients")
    server = Serving(tmp_path_factory.mktemp("ours") / "data", resp_port=-1, amqp_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(autouse=True)
def _none_stays_open():
    yield
    while Line.opened:
        Line.opened.pop().end()


class Side:
    """All that one server is told and says."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.lines = [Line(endpoint.amqp, endpoint.vhost, [*CHANNELS, WATCH]) for _ in LINES]
        self.owners = {}  # of exclusive queues: whose they are
        self.dying = 0  # messages that will have died soon
        self.names = {}  # that the server made, and what they are here

    def do(self, step):
        line = self.lines[step.line]
        match step.method:
            case "drop":
                line.drop()
            case "close":
                line.close()
            case methods.QueueDeclare(exclusive=True, passive=False) as declare:
                if isinstance(line.tell(step.channel, declare), methods.QueueDeclareOk):
                    self.owners[declare.queue] = step.line
            case _:
                line.tell(step.channel, step.method, step.properties, step.body)

    def look(self):
        """One pass: all that was sent is taken; what there is now."""
        for line in self.lines:
            for number in CHANNELS:
                line.ask(number, methods.BasicCancel("nobody", False))
        counts = {}
        for name in QUEUES:
            passive = methods.QueueDeclare(0, name, True, False, False, False, False, {})
            counts[name] = self.lines[self.owners.get(name, 0)].ask(WATCH, passive)
        for line in self.lines:
            for number in CHANNELS:
                line.ask(number, methods.BasicCancel("nobody", False))
        brief = counts[BRIEF]
        self.dying = isinstance(brief, methods.QueueDeclareOk) and brief.message_count
        return self._said(counts)

    def agreed(self):
        """What was said until now is not looked at again."""
        for line in self.lines:
            line.closings.clear()
            line.past.clear()
            for channel in line.channels.values():
                channel.agreed = _lengths(channel)

    def _said(self, counts):
        said = {"counts": [self._plain(it) for it in counts.values()]}
        for nth, line in enumerate(self.lines):
            said[f"connection {nth}"] = [self._plain(it) for it in line.closings]
            for number in CHANNELS:
                lives = [it for it in [*line.past, line.channels[number]] if it.number == number]
                for life, channel in enumerate(lives):
                    said[f"connection {nth}, channel {number}, {life}"] = self._channel(channel)
        return said

    def _channel(self, channel):
        replies, deliveries, returns, cancelled = channel.agreed
        return {
            "replies": [self._plain(it) for it in channel.replies[replies:]],
            "deliveries": [self._plain(it) for it in channel.deliveries[deliveries:]],
            "returns": [self._plain(it) for it, _ in channel.returns[returns:]],
            "confirms": dict(sorted(channel.confirms.items())),
            "cancelled": sorted(self._name(it) for it in channel.cancelled[cancelled:]),
        }

    def _plain(self, it):
        """Without what a server may choose."""
        if isinstance(it, Message):
            return self._plain(it.method), _properties(it.properties), it.body
        it = it._replace(**{
            name: self._name(value)
            for name, value in it._asdict().items()
            if isinstance(value, str)
        })  # fmt: skip
        return repr(it)

    def _name(self, text):
        names = self.names
        text = text.replace(f"vhost '{self.endpoint.vhost}'", "vhost '/'")
        return re.sub(
            r"amq\.(gen|ctag)-[\w-]{22}",
            lambda it: names.setdefault(it[0], f"amq.{it[1]}-{len(names)}"),
            text,
        )

    @property
    def unconfirmed(self):
        return sum(it.unconfirmed for line in self.lines for it in line.channels.values())

    def clear(self):
        """Nothing is left of what one before made."""
        for name in QUEUES:
            self.lines[0].ask(WATCH, methods.QueueDelete(0, name, False, False, False))
        for name in EXCHANGES:
            self.lines[0].ask(WATCH, methods.ExchangeDelete(0, name, False, False))


def _lengths(channel):
    said = (channel.replies, channel.deliveries, channel.returns, channel.cancelled)
    return tuple(map(len, said))


def _properties(found):
    said = {name: value for name, value in found._asdict().items() if value is not None}
    headers = said.pop("headers", None)
    if headers and headers.keys() - FORGOTTEN:
        said["headers"] = {
            name: _deaths(value) if name == "x-death" else typed(value)
            for name, value in headers.items()
            if name not in FORGOTTEN
        }
    return said


def _deaths(value):
    """The time of each is a time; no more is asked of it, nor of the order behind the first."""
    deaths = typed(value)
    if not isinstance(deaths, list):
        return deaths
    for death in deaths:
        if isinstance(death, dict) and "time" in death:
            death["time"] = death["time"][0]
    return [*deaths[:1], *sorted(deaths[1:], key=lambda it: repr(sorted(it.items())))]


class Step(NamedTuple):
    line: int
    channel: int
    method: object  # a method, or what is done to the connection
    properties: Properties | None = None
    body: bytes = b""

    def shown(self):
        told = self.properties._asdict() if self.properties else {}
        given = {name: value for name, value in told.items() if value is not None}
        return f"{self.line}.{self.channel} {self.method} {given or ''} {self.body or ''}"


class Pair:
    """Both servers, told the same."""

    def __init__(self, theirs, ours):
        self.sides = [Side(theirs), Side(ours)]
        self.steps = []
        for side in self.sides:
            side.clear()

    def do(self, step):
        self.steps.append(step)
        print(len(self.steps), step.shown())
        for side in self.sides:
            side.do(step)
        self.agree()

    def agree(self):
        """Both have said all that they have to say to that, and it is the same."""
        until = time.monotonic() + DEADLINE_S
        while True:
            theirs, ours = [quiet(side, until) for side in self.sides]
            apart = differences(theirs, ours)
            if any(side.dying for side in self.sides):
                apart = apart or ["what is brief has not died"]
            if not apart and not any(side.unconfirmed for side in self.sides):
                for side in self.sides:
                    side.agreed()
                return
            if time.monotonic() > until:
                told = "\n".join(it.shown() for it in self.steps[-12:])
                unconfirmed = [side.unconfirmed for side in self.sides]
                pytest.fail(
                    f"after step {len(self.steps)}: {apart}\nunconfirmed: {unconfirmed}\n{told}"
                )

    def outstanding(self, line, number):
        """Tags that the channel has out, or had."""
        channel = self.sides[0].lines[line].channels[number]
        got = [it.method for it in channel.replies if isinstance(it, Message)]
        delivered = [it.method for it in channel.deliveries]
        return sorted(it.delivery_tag for it in [*got, *delivered])


def quiet(side, until):
    seen = [side.look()]
    while len(seen) < QUIET or any(it != seen[-1] for it in seen[-QUIET:]):
        seen.append(side.look())
        if time.monotonic() > until:
            break
    return seen[-1]


def differences(theirs, ours):
    """What is not the same, as (where, RabbitMQ, ours), but for what is meant to be otherwise."""
    if theirs.keys() != ours.keys():
        both = theirs | ours
        return [(it, it in theirs, it in ours, both[it]) for it in theirs.keys() ^ ours.keys()] + [
            (it, said, ours[it]) for it, said in theirs.items() if it in ours and said != ours[it]
        ]
    apart = []
    for where, said in theirs.items():
        if said == ours[where]:
            continue
        if isinstance(said, list):
            apart += [(where, *it) for it in _unlike(said, ours[where])]
            continue
        for part, it in said.items():
            if isinstance(it, dict):
                if it != ours[where][part]:
                    apart.append((where, part, it, ours[where][part]))
            else:
                apart += [(where, part, *both) for both in _unlike(it, ours[where][part])]
    return apart


def _unlike(theirs, ours):
    longest = max(len(theirs), len(ours))
    both = zip(
        theirs + [None] * (longest - len(theirs)),
        ours + [None] * (longest - len(ours)),
        strict=True,
    )
    return [it for it in both if it[0] != it[1] and not _meant(*it)]


def _meant(theirs, ours):
    return any(
        isinstance(theirs, str) and isinstance(ours, str)
        and re.search(it.theirs, theirs) and re.fullmatch(it.ours, ours)
        for it in REPLIES
    )  # fmt: skip


class Chance:
    """Steps by chance."""

    def __init__(self, seed, pair):
        self.random = random.Random(seed)
        self.pair = pair
        self.messages = 0
        # See rabbit_differences.NOT_ASKED.
        self.not_fetched = {BRIEF}
        self.limited = {  # channels with prefetch of their own
            (line, channel) for line in LINES for channel in CHANNELS if self._rarely(3)
        }
        self.prioritized = self._rarely(2)
        self.several = self._rarely(3)  # consumers of one channel
        self.transactions = self._rarely(2)
        # Both channels of a connection may end at once, and give back what they have.
        self.queues = {
            (line, channel): name
            for line in LINES
            for channel, name in zip(CHANNELS, self.random.sample(TAKEN_FROM, 2), strict=True)
        }

    def opening(self):
        """Something to publish to, and something to come of it."""
        for name, kind in EXCHANGES.items():
            yield self._step(0, 1, self._exchange(name, kind))
        for name in QUEUES:
            yield self._step(0, 1, self._queue(name, self._arguments(name)))
        for name in [*OPEN, BRIEF]:
            yield self._step(0, 1, methods.QueueBind(0, name, "d", name, False, {}))
        for name in OPEN:
            for _ in range(2):
                yield self._step(0, 1, self._any_bind(name))
        yield self._step(0, 1, methods.QueueBind(0, BEHIND, "dead", "", False, {}))
        yield self._step(0, 1, methods.QueueBind(0, BEHIND, "late", "#.b", False, {}))

    def steps(self):
        for _ in range(STEPS):
            kinds, weights = zip(*self._kinds(), strict=True)
            line, channel = self.random.choice(LINES), self.random.choice(CHANNELS)
            made = self.random.choices(kinds, weights)[0](line, channel)
            if made is not None:
                yield made

    def _step(self, line, channel, method, *more):
        return Step(line, channel, method, *more)

    def _kinds(self):
        one = self.random.choice
        queue, open_queue = one(QUEUES), one(OPEN)
        method = lambda make: lambda line, channel: self._step(line, channel, make())  # noqa: E731
        return [
            (self._publish, 40),
            (self._get, 10),
            (self._settle, 22),
            (self._consume, 6),
            (method(lambda: methods.BasicCancel(one(["c0", "c1", "c2", "nope"]), False)), 2),
            (self._qos, 5),
            (self._recover, 2.5),
            (method(lambda: methods.QueueDeclare(
                0, queue, True, False, False, False, False, {})), 2),
            (method(lambda: self._queue(queue, self._arguments(queue, wrong=6))), 4),
            (method(lambda: self._queue("", {})), 1),
            (method(lambda: methods.QueueDelete(
                0, queue, self._rarely(3), self._rarely(3), False)), 2),
            (method(lambda: methods.QueuePurge(0, queue, False)), 1),
            (method(lambda: self._any_bind(open_queue)), 4),
            (method(lambda: self._unbind(open_queue)), 2),
            (method(lambda: self._exchange(*one([*EXCHANGES.items()]))), 1),
            (method(lambda: methods.ExchangeDelete(
                0, one([*EXCHANGES, "amq.direct", "nope"]), self._rarely(2), False)), 1),
            (method(lambda: methods.ExchangeBind(
                0, one(BOUND), one(BOUND), one(KEYS), False, {})), 1),
            (method(lambda: methods.ExchangeUnbind(
                0, one(BOUND), one(BOUND), one(KEYS), False, {})), 1),
            (self._select, 1),
            (method(methods.TxCommit), 2),
            (method(methods.TxRollback), 1),
            (method(lambda: methods.ConfirmSelect(False)), 2),
            (method(lambda: methods.ChannelClose(200, "", 0, 0)), 0 if self.several else 1),
            (method(self._odd), 1),
            (lambda line, channel: self._step(line, channel, one(["drop", "close"])),
             0 if self.several else 0.6),
        ]  # fmt: skip

    def _rarely(self, often):
        return self.random.randrange(often) == 0

    def _exchange(self, name, kind):
        arguments = {"alternate-exchange": "f"} if name == "d" else {}
        return methods.ExchangeDeclare(
            0,
            name,
            kind,
            False,
            self._rarely(2),
            self._rarely(6),
            name == "inner",
            False,
            arguments,
        )

    def _queue(self, name, arguments):
        return methods.QueueDeclare(
            0, name, False, not self._rarely(3), self._rarely(12) and name != BEHIND,
            self._rarely(10), False, arguments,
        )  # fmt: skip

    def _arguments(self, name, wrong=0):
        if wrong and self._rarely(wrong):
            return self.random.choice(WRONG_ARGUMENTS)
        of_all = {
            "q0": [*DYING_ARGUMENTS, *QUEUE_ARGUMENTS], BEHIND: BEHIND_ARGUMENTS,
            BRIEF: BRIEF_ARGUMENTS,
        }  # fmt: skip
        found = self.random.choice(of_all.get(name, QUEUE_ARGUMENTS))
        if not self.prioritized:
            found = {it: value for it, value in found.items() if it != "x-max-priority"}
        if self.transactions:
            found = {it: value for it, value in found.items() if it != "x-overflow"}
        if "x-single-active-consumer" in found:
            self.not_fetched.add(name)
        return found

    def _get(self, line, channel):
        queue = self.queues[line, channel]
        no_ack = self._rarely(4) or (line, channel) in self.limited
        if no_ack:
            queue = self.random.choice([*TAKEN_FROM, ""])
        if queue in self.not_fetched or (not queue and len(self.not_fetched) > 1):
            return None
        return self._step(line, channel, methods.BasicGet(0, queue, no_ack))

    def _recover(self, line, channel):
        kind = methods.BasicRecoverAsync if self._rarely(5) else methods.BasicRecover
        return None if self.several else self._step(line, channel, kind(True))

    def _select(self, line, channel):
        if not self.transactions or (line, channel) in self.limited:
            return None
        return self._step(line, channel, methods.TxSelect())

    def _qos(self, line, channel):
        count = self.random.choice([0, 1, 2, 3, 10])
        return self._step(
            line, channel, methods.BasicQos(0, count, (line, channel) in self.limited)
        )

    def _any_bind(self, queue):
        exchange = self.random.choice(BOUND)
        key = self.random.choice(PATTERNS if "t" in exchange else KEYS)
        arguments = self.random.choice(MATCHES) if exchange == "h" else {}
        return methods.QueueBind(0, queue, exchange, key, False, arguments)

    def _unbind(self, queue):
        bind = self._any_bind(queue)
        return methods.QueueUnbind(0, queue, bind.exchange, bind.routing_key, bind.arguments)

    def _consume(self, line, channel):
        one = self.random.choice
        tags = ["c0", "c1", "c2", ""] if self.several else ["c0"]
        queue, tag = self.queues[line, channel], one(tags)
        arguments = one([{}, {}, {}, {"x-priority": one([-1, 5])}])
        method = methods.BasicConsume(
            0, queue, tag, False, self._rarely(4), self._rarely(15), False, arguments
        )
        return self._step(line, channel, method)

    def _publish(self, line, channel):
        one = self.random.choice
        self.messages += 1
        exchange = one(["", "", "", "d", "t", "f", "h", "amq.topic", "dead"])
        if self._rarely(60):
            exchange = one(["nope", "inner"])
        key = one(QUEUES) if exchange in ("", "d") else one(KEYS)
        method = methods.BasicPublish(0, exchange, key, self._rarely(3), self._rarely(150))
        body = b"m%05d" % self.messages + b"." * one([*[0] * 20, *[20] * 7, 300_000])
        # A copy to one that has dead letters might meet the message itself on its way.
        copied = exchange != "dead" and key not in (BEHIND, LAST, BRIEF)
        return self._step(line, channel, method, self._properties(copied=copied), body)

    def _properties(self, *, copied):
        one = self.random.choice
        headers = dict(one(HEADER_TABLES)) if self._rarely(3) else None
        if copied and self._rarely(12):
            headers = {**(headers or {}), one(["CC", "BCC"]): [one(OPEN), one(KEYS)]}
        given = {
            "headers": headers,
            "delivery_mode": one([None, 1, 2]),
            "priority": one([None, None, 0, 1, 3, 5, 9, 255]),
            "expiration": one([None] * 12 + [None if self.prioritized else "0", "3600000"]),
            "content_type": one([None, "text/plain"]),
            "correlation_id": one([None, "c" * 200]),
            "timestamp": one([None, 1_700_000_000]),
            "reply_to": one([None, "q0"]),
            "user_id": one([None] * 6 + ["guest"]),
        }
        if self._rarely(60):
            given |= one([
                {"expiration": "-1"}, {"expiration": "abc"}, {"expiration": ""},
                {"user_id": "nobody"}, {"headers": {"CC": "q0"}}, {"headers": {"BCC": [1]}},
                {"expiration": "1.5"}, {"expiration": str(2**40)}, {"expiration": "+5000000"},
                {"reply_to": "amq.rabbitmq.reply-to"},
            ])  # fmt: skip
        return Properties(**given)

    def _settle(self, line, channel):
        one = self.random.choice
        tags = self.pair.outstanding(line, channel)[-6:]
        if not tags and not self._rarely(8):
            return None
        tag = one(tags) if tags and not self._rarely(25) else one([0, 99_999])
        method = one([
            methods.BasicAck(tag, False), methods.BasicAck(tag, self._rarely(2)),
            methods.BasicNack(tag, self._rarely(3) and not self.several, True),
            methods.BasicNack(tag, self._rarely(3), False),
            methods.BasicReject(tag, self._rarely(2)),
        ])  # fmt: skip
        return self._step(line, channel, method)

    def _odd(self):
        """What is an error, whatever there is."""
        one = self.random.choice
        queue = one(QUEUES)
        return one([
            methods.BasicQos(5, 0, False),
            methods.BasicGet(0, "nope", False),
            methods.BasicConsume(0, "nope", "", False, False, False, False, {}),
            methods.QueueDeclare(0, "amq.mine", False, False, False, False, False, {}),
            methods.QueueDeclare(0, "nope", True, False, False, False, False, {}),
            methods.QueueBind(0, "nope", "d", "", False, {}),
            methods.QueueBind(0, queue, "nope", "", False, {}),
            methods.QueueBind(0, queue, "", "a", False, {}),
            methods.QueueBind(0, queue, "h", "", False, {"x-match": "nope"}),
            methods.QueueUnbind(0, queue, "nope", "", {}),
            methods.QueueUnbind(0, queue, "", "a", {}),
            methods.QueueDelete(0, "nope", False, False, False),
            methods.QueuePurge(0, "nope", False),
            methods.ExchangeDeclare(0, "amq.mine", "direct", False, False, False, False, False, {}),
            methods.ExchangeDeclare(0, "", "direct", False, False, False, False, False, {}),
            methods.ExchangeDeclare(0, "d", "fanout", False, True, False, False, False, {}),
            methods.ExchangeDeclare(0, "nope", "direct", True, True, False, False, False, {}),
            methods.ExchangeDeclare(0, "new", "nope", False, True, False, False, False, {}),
            methods.ExchangeDelete(0, "", False, False),
            methods.ExchangeBind(0, "nope", "d", "", False, {}),
            methods.ExchangeBind(0, "d", "", "", False, {}),
            methods.BasicRecover(False),
            methods.ChannelFlow(False),
            methods.ChannelFlow(True),
        ])  # fmt: skip


def run(theirs, ours, seed):
    print("RABBIT_SEED", seed)
    pair = Pair(theirs, ours)
    chance = Chance(seed, pair)
    for step in chance.opening():
        pair.do(step)
    for step in chance.steps():
        pair.do(step)


def seeds(count):
    """RABBIT_SEED=7 or 100-119: those and no others."""
    first, _, last = os.environ.get("RABBIT_SEED", f"0-{count - 1}").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", seeds(2))
def test_two_hosts_of_one_rabbitmq_are_the_same(real, seed):
    """Of this test itself: what it compares depends on nothing else."""
    run(Endpoint(real.amqp, "/"), Endpoint(real.amqp, "second"), seed)


@pytest.mark.parametrize("seed", seeds(8))
def test_random_steps_are_answered_the_same(real, ours, seed):
    run(Endpoint(real.amqp, "/"), Endpoint(ours.amqp, "/"), seed)
