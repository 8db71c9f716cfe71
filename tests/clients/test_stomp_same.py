"""What STOMP clients see, here and of a real rabbitmq-server with its plugin: the same frames.

Each scenario is played on both, with names of its own; what is different on purpose is in
``DIFFERENT``, with the reason. See docs/stomp.md.
"""

import itertools
import socket
import time

import pytest
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import Serving
from stomp_wire import frame, said

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

WAIT_S = 30
QUIET_S = 0.3  # after which nothing more comes of what was asked: only of a real server
# Of each frame: what no two servers say alike.
VOLATILE = {"session", "message-id", "ack", "server", "heart-beat"}
DIFFERENT = {
    # RabbitMQ lets these travel on as headers of the message; a receiver has no use for them.
    "receipt", "transaction", "content-length",
    # Of later versions of RabbitMQ than the one that is compared with.
    "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
}  # fmt: skip


class Raw:
    """A client that sends what a test says, and gives the frames that come."""

    def __init__(self, address, version="1.2"):
        self.version = version
        self.raw = b""
        self.closed = False
        self.sock = socket.create_connection(address, WAIT_S)
        self.receipts = itertools.count(1)

    def send(self, command, headers=(), body=b""):
        self.sock.sendall(frame(command, headers, body, self.version))

    def connect(self, **headers):
        given = {"login": "guest", "passcode": "guest", "host": "/"} | headers
        if self.version != "1.0":
            given["accept-version"] = self.version
        self.send("CONNECT", given)
        return self.frames(1)

    def ask(self, command, headers, body=b""):
        """With a receipt, which is waited for; what else has come."""
        number = f"r{next(self.receipts)}"
        self.send(command, {**headers, "receipt": number}, body)
        return self.until(lambda it: it.command == "ERROR" or it["receipt-id"] == number)

    def until(self, stops):
        found, until = [], time.monotonic() + WAIT_S
        while not (found and any(map(stops, found))) and not self.closed:
            self._more(max(until - time.monotonic(), 0.01))
            found += self._whole()
        return [it for it in found if it.command != "RECEIPT"]

    def frames(self, count):
        """So many that are no receipts."""
        found, until = [], time.monotonic() + WAIT_S
        while len(found) < count and not self.closed:
            assert time.monotonic() < until, (found, self.raw)
            self._more(max(until - time.monotonic(), 0.01))
            found += [it for it in self._whole() if it.command != "RECEIPT"]
        return found

    def quiet(self):
        """What still comes."""
        self._more(QUIET_S)
        return [it for it in self._whole() if it.command != "RECEIPT"]

    def _more(self, seconds):
        self.sock.settimeout(seconds)
        try:
            got = self.sock.recv(1 << 16)
        except TimeoutError:
            return
        except ConnectionError:
            got = b""
        self.raw += got
        self.closed = self.closed or not got

    def _whole(self):
        """Frames that are whole: all bodies of these tests are short and have no NUL."""
        upto = self.raw.rfind(b"\0") + 1
        whole, self.raw = self.raw[:upto], self.raw[upto:]
        return said(whole, self.version)

    def close(self):
        self.sock.close()


class Side:
    """One of the two servers."""

    numbers = itertools.count()

    def __init__(self, address):
        self.address = address
        self.clients = []

    def client(self, version="1.2", **headers):
        made = Raw(self.address, version)
        self.clients.append(made)
        (connected,) = made.connect(**headers)
        assert connected.command == "CONNECTED", connected
        return made

    def bare(self, version="1.2"):
        made = Raw(self.address, version)
        self.clients.append(made)
        return made

    def end(self):
        for it in self.clients:
            it.close()
        self.clients.clear()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stomp-same")
    ours = Serving(folder / "data", stomp_port=0)
    theirs = RealRabbit(folder, stomp=True)
    yield Side(ours.stomp), Side(theirs.stomp)
    theirs.stop()
    ours.stop()


def seen(it, names=()):
    """A frame, as it is compared."""
    left = {n: v for n, v in it.headers.items() if n not in VOLATILE | DIFFERENT}
    return it.command, tuple(sorted(left.items())), it.body


def all_seen(frames):
    return [seen(it) for it in frames]


def failure(it):
    """Of an ERROR its header is compared: the text has changed between versions of RabbitMQ."""
    return it.command, it["message"]


# Scenarios


def versions(side, name):
    found = []
    for version in ("1.0", "1.1", "1.2"):
        it = side.bare(version)
        (connected,) = it.connect()
        found.append((connected.command, connected["version"], sorted(connected.headers)))
    return found


def no_common_version(side, name):
    it = side.bare()
    it.send("CONNECT", {"accept-version": "9.9", "host": "/"})
    (error,) = it.frames(1)
    return error.command, error["message"], error["version"], error.body


def wrong_password(side, name):
    it = side.bare()
    (error,) = it.connect(passcode="wrong")
    return failure(error), error.body.rstrip()


def properties(side, name):
    it = side.client()
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "s"})
    given = {
        "content-type": "text/x", "content-encoding": "gzip", "correlation-id": "c", "type": "t",
        "expiration": "60000", "priority": "5", "timestamp": "123", "app-id": "a",
        "amqp-message-id": "m", "user-id": "guest", "persistent": "true",
        "reply-to": "/queue/r", "foo": "a:b\\c\nd\re", "gr\u00fc\u00dfe": "\U0001f600", "empty": "",
    }  # fmt: skip
    it.send("SEND", {"destination": f"/queue/{name}", **given}, b"body")
    return all_seen(it.frames(1))


def reply_to_forms(side, name):
    it = side.client()
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "s"})
    forms = ["name", "/topic/x", "/exchange/e", "/amq/queue/q", "/reply-queue/q"]
    for form in forms:
        it.send("SEND", {"destination": f"/queue/{name}", "reply-to": form}, b"x")
    return [found["reply-to"] for found in it.frames(len(forms))]


def destinations(side, name):
    it = side.client()
    pairs = [
        (f"/queue/{name}", f"/queue/{name}"), (f"{name}b", f"/amq/queue/{name}b"),
        (f"/topic/{name}.*", f"/topic/{name}.x"), (f"/topic/{name}.#", f"/topic/{name}"),
        (f"/exchange/amq.direct/{name}", f"/exchange/amq.direct/{name}"),
        (f"/queue/{name}%2Fa%25", f"/queue/{name}%2Fa%25"),
        (f"/queue/{name}\u00e9 b", f"/queue/{name}\u00e9 b"),
    ]  # fmt: skip
    found = []
    for number, (heard, sent) in enumerate(pairs):
        it.ask("SUBSCRIBE", {"destination": heard, "id": str(number)})
        it.send("SEND", {"destination": sent}, b"x")
        got = it.frames(1) + it.quiet()
        found.append(sorted(all_seen(got)))
    return found


def temporary_queues(side, name):
    asks, serves = side.client(), side.client()
    serves.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "s"})
    asks.send("SEND", {"destination": f"/queue/{name}", "reply-to": "/temp-queue/foo"}, b"ask")
    (request,) = serves.frames(1)
    serves.send("SEND", {"destination": request["reply-to"]}, b"answer")
    (reply,) = asks.frames(1)
    name = request["reply-to"].removeprefix("/reply-queue/")
    named = reply["destination"] == f"/queue/{name}"
    return name != request["reply-to"], reply["subscription"], named, reply.body


def bad_frames(side, name):
    """Each on a connection of its own, since ours ends with it."""
    asked = [
        ("SEND", {}), ("SUBSCRIBE", {"id": "0"}), ("SEND", {"destination": "/queue/"}),
        ("SEND", {"destination": "/nothing/a"}), ("SEND", {"destination": "/exchange//a"}),
        ("SEND", {"destination": "/temp-queue/a"}), ("SEND", {"destination": "/topic/a/b"}),
        ("SUBSCRIBE", {"destination": "/temp-queue/a", "id": "0"}),
        ("SEND", {"destination": f"/queue/{name}", "message-id": "1"}),
        ("SEND", {"destination": f"/exchange/none-{name}"}),
        ("SUBSCRIBE", {"destination": f"/exchange/none-{name}", "id": "0"}),
        ("SUBSCRIBE", {"destination": f"/amq/queue/none-{name}", "id": "0"}),
        ("SUBSCRIBE", {"destination": f"/topic/{name}", "durable": "true"}),
        ("UNSUBSCRIBE", {"id": "0"}), ("UNSUBSCRIBE", {}), ("UNSUBSCRIBE", {"id": "/temp-queue/a"}),
        ("ACK", {}), ("ACK", {"id": "nonsense"}), ("NACK", {}), ("BEGIN", {}), ("COMMIT", {}),
        ("ABORT", {}), ("COMMIT", {"transaction": "t"}), ("ABORT", {"transaction": "t"}),
        ("SEND", {"destination": f"/queue/{name}", "transaction": "t"}), ("NONSENSE", {}),
        ("MESSAGE", {}), ("CONNECTED", {}),
    ]  # fmt: skip
    found = []
    for command, headers in asked:
        it = side.client()
        it.send(command, headers)
        (error,) = it.frames(1)[:1]
        found.append((command, headers, failure(error)))
        it.close()
    return found


def inequivalent(side, name):
    it = side.client()
    it.ask("SEND", {"destination": f"/queue/{name}", "x-max-length": "5"}, b"x")
    other = side.client()
    (error,) = other.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0"})[:1]
    return failure(error)


def duplicate_subscription(side, name):
    it = side.client()
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0"})
    (error,) = it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0"})[:1]
    return failure(error)


def delivered(side, name, *given, version="1.2", **headers):
    it = side.client(version)
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0", **headers})
    for body in given:
        it.send("SEND", {"destination": f"/queue/{name}"}, body)
    return it, it.frames(len(given))


def left_in(side, name, count):
    """The messages that a queue still has, and whether they were given out before."""
    it = side.client()
    it.send("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "left"})
    given = (it.frames(count) if count else []) + it.quiet()
    it.ask("DISCONNECT", {})
    return [(found.body, found["redelivered"]) for found in given]


def settle(it, command, message, **headers):
    name = "id" if it.version == "1.2" else "message-id"
    value = message["ack"] if it.version == "1.2" else message["message-id"]
    given = {name: value, "subscription": "0", **headers}
    return it.ask(command, given)


def acks(side, name):
    found = []
    for version in ("1.0", "1.1", "1.2"):
        for mode in ("client", "client-individual"):
            queue = f"{name}-{version}-{mode}"
            it, got = delivered(side, queue, b"1", b"2", b"3", version=version, ack=mode)
            settle(it, "ACK", got[1])
            it.ask("DISCONNECT", {})
            left = 1 if mode == "client" else 2
            found.append((version, mode, sorted(left_in(side, queue, left))))
    return found


def nacks(side, name):
    it, got = delivered(side, name, b"1", b"2", ack="client-individual")
    back = settle(it, "NACK", got[0])
    back += it.frames(1) if not back else []
    settle(it, "NACK", got[1], requeue="false")
    it.ask("DISCONNECT", {})
    return [(found.body, found["redelivered"]) for found in back], left_in(side, name, 1)


def prefetch(side, name):
    it = side.client()
    given = {"destination": f"/queue/{name}", "id": "0", "ack": "client", "prefetch-count": "2"}
    it.ask("SUBSCRIBE", given)
    for body in (b"1", b"2", b"3"):
        it.send("SEND", {"destination": f"/queue/{name}"}, body)
    got = it.frames(2) + it.quiet()
    more = settle(it, "ACK", got[1])
    more += it.frames(1) if not more else []
    return [found.body for found in got], [found.body for found in more]


def transactions(side, name):
    it, got = delivered(side, name, b"1", b"2", ack="client-individual")
    it.ask("BEGIN", {"transaction": "t"})
    it.send("SEND", {"destination": f"/queue/{name}-to", "transaction": "t"}, b"made")
    settle(it, "ACK", got[0], transaction="t")
    before = left_in(side, f"{name}-to", 0)
    it.ask("COMMIT", {"transaction": "t"})
    it.ask("BEGIN", {"transaction": "u"})
    it.send("SEND", {"destination": f"/queue/{name}-to", "transaction": "u"}, b"never")
    settle(it, "ACK", got[1], transaction="u")
    it.ask("ABORT", {"transaction": "u"})
    it.ask("DISCONNECT", {})
    return before, left_in(side, f"{name}-to", 1), left_in(side, name, 1)


def durable_subscriptions(side, name):
    given = {"destination": f"/topic/{name}", "id": "d", "durable": "true", "auto-delete": "false"}
    it = side.client()
    it.ask("SUBSCRIBE", given)
    it.ask("DISCONNECT", {})
    sender = side.client()
    sender.ask("SEND", {"destination": f"/topic/{name}"}, b"while away")
    again = side.client()
    again.ask("SUBSCRIBE", given) or again.frames(1)
    again.ask("UNSUBSCRIBE", {"id": "d", "durable": "true"})
    sender.ask("SEND", {"destination": f"/topic/{name}"}, b"nobody listens")
    last = side.client()
    last.ask("SUBSCRIBE", given)
    found = last.quiet()
    last.ask("UNSUBSCRIBE", {"id": "d", "durable": "true"})
    return [it.body for it in found]


def queue_of_ones_own(side, name):
    it = side.client()
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0", "durable": "false"})
    other = side.client()
    (error,) = other.ask("SUBSCRIBE", {"destination": f"/queue/{name}", "id": "0"})[:1]
    return failure(error)


def shared_by_name(side, name):
    it, other = side.client(), side.client()
    given = {"destination": f"/topic/{name}", "x-queue-name": f"q-{name}"}
    it.ask("SUBSCRIBE", {**given, "id": "a"})
    other.ask("SUBSCRIBE", {**given, "id": "b"})
    for body in (b"1", b"2"):
        it.send("SEND", {"destination": f"/topic/{name}"}, body)
    return sorted(found.body for found in it.frames(1) + other.frames(1))


def without_ids(side, name):
    it = side.client("1.0")
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}"})
    it.send("SEND", {"destination": f"/queue/{name}"}, b"x")
    (message,) = it.frames(1)
    it.ask("UNSUBSCRIBE", {"destination": f"/queue/{name}"})
    return seen(message), message["message-id"].partition("@@")[0]


def names_in_message_ids(side, name):
    _, (message,) = delivered(side, name, b"x", ack="client")
    tag, session, number = message["message-id"].split("@@")
    return tag, session[:8], number.isdigit(), message["ack"] == message["message-id"]


def dead_letters(side, name):
    it = side.client()
    it.ask("SUBSCRIBE", {"destination": f"/queue/{name}-dead", "id": "dead"})
    given = {
        "destination": f"/queue/{name}", "id": "0", "ack": "client", "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{name}-dead",
    }  # fmt: skip
    it.ask("SUBSCRIBE", given)
    it.send("SEND", {"destination": f"/amq/queue/{name}"}, b"x")
    (message,) = it.frames(1)
    dead = settle(it, "NACK", message, requeue="false")
    dead += it.frames(1) if not dead else []
    return all_seen(dead)


SCENARIOS = [
    versions, no_common_version, wrong_password, properties, reply_to_forms, destinations,
    temporary_queues, bad_frames, inequivalent, duplicate_subscription, acks, nacks, prefetch,
    transactions, durable_subscriptions, queue_of_ones_own, shared_by_name, without_ids,
    names_in_message_ids, dead_letters,
]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.__name__)
def test_both_say_the_same(both, scenario):
    found = []
    for side in both:
        try:
            found.append(scenario(side, f"same-{scenario.__name__}"))
        finally:
            side.end()
    ours, theirs = found
    assert ours == theirs
