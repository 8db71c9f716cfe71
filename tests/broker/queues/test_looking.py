"""Messages without a route wait for what other nodes have made, and are routed again."""

import pytest

from logstore.broker.queues.looking import Looking
from logstore.broker.queues.message import Message
from logstore.errors import ClusterUnreachable, UnknownTopic

UNREACHED, REFUSED = ClusterUnreachable("no broker answers"), UnknownTopic("no topic")


class Outbox:
    """Its delayed calls are made when a test says so."""

    def __init__(self):
        self.gone = False
        self.calls = []
        self.soon = 0

    def keep_back(self, call, size):
        self.calls.append((call, size))

    def unblock_soon(self):
        self.soon += 1

    def unblock(self):
        calls, self.calls = self.calls, []
        for call, _ in calls:
            call()


class Bench:
    def __init__(self):
        self.outbox, self.routes, self.told, self.asked = Outbox(), {}, [], []
        self.messages = {key: Message(b"", key, b"\0\0", b"body") for key in (b"a", b"b", b"c")}
        run = [((), self.messages[b"a"]), (("there",), self.messages[b"b"])]
        run.append(((), self.messages[b"c"]))
        looking = Looking(self.outbox, run, self.route, lambda *it: self.told.append(it))
        looking.begin(self.asked.append)

    def route(self, message):
        found = self.routes.get(message.key, ())
        if isinstance(found, Exception):
            raise found
        return found

    def heard(self, error=None):
        self.asked.pop()(error)

    def to(self):
        """Where messages go, by key, and the error."""
        [(run, error)] = self.told
        return {message.key: to for to, message in run}, error


@pytest.fixture
def bench():
    return Bench()


def test_they_are_routed_again_once_all_is_read(bench):
    [(_, size)] = bench.outbox.calls
    assert size > 12
    bench.outbox.unblock()
    assert (bench.told, len(bench.outbox.calls)) == ([], 1), "for another reason"
    bench.routes[b"c"] = ("new",)
    bench.heard()
    assert (bench.told, bench.outbox.soon) == ([], 1), "in their turn"
    bench.outbox.unblock()
    assert bench.to() == ({b"a": (), b"b": ("there",), b"c": ("new",)}, None)
    assert bench.outbox.calls == []


def test_those_before_one_that_is_refused_are_passed_on(bench):
    bench.routes[b"c"] = REFUSED
    bench.heard()
    bench.outbox.unblock()
    assert bench.to() == ({b"a": (), b"b": ("there",)}, REFUSED)


def test_none_are_passed_on_where_nobody_knows(bench):
    bench.heard(UNREACHED)
    bench.outbox.unblock()
    assert bench.told == [((), UNREACHED)]


@pytest.mark.parametrize("heard", [None, UNREACHED, ...])
def test_those_of_a_client_that_ends_go_where_they_can(bench, heard):
    bench.routes[b"a"] = ("by now",)
    if heard is not ...:
        bench.heard(heard)
    bench.outbox.gone = True
    bench.outbox.unblock()
    assert bench.to() == ({b"a": ("by now",), b"b": ("there",), b"c": ()}, None)
    if heard is ...:
        bench.heard()
    bench.outbox.unblock()
    assert len(bench.told) == 1
