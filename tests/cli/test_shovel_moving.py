"""What a shovel makes of its sides' answers, without servers."""

from types import SimpleNamespace

import pytest
from logstore_cli.served.reader import Arrived
from logstore_cli.shovel.moving import Moving, Route

from logstore.amqp import methods
from logstore.amqp.properties import NONE
from logstore.errors import LogstoreError


class Side:
    """A connection whose server answers what a test says."""

    address, channel, frame_max = "here:5672", 1, 131_072
    out_bytes = 0
    refused = False

    def __init__(self):
        self.said, self.to = [], {}

    def ask(self, method, answer):
        return SimpleNamespace(method=SimpleNamespace(consumer_tag="c", message_count=1))

    def listen(self, *kinds, to):
        self.to |= dict.fromkeys(kinds, to)

    def hear(self, method, body=b""):
        self.to[type(method)](Arrived(1, method, NONE, body))

    def put(self, frames):
        self.said.append(frames)

    def send(self, method):
        self.said.append(method)

    def beat(self):
        pass

    def fileno(self):
        return id(self)

    def attend(self, *, readable, writable):
        pass


@pytest.fixture
def sides():
    return Side(), Side()


@pytest.fixture
def moving(sides):
    """With three messages under way."""
    stop = SimpleNamespace(wait_many=lambda reads, writes, seconds: (set(), set()))
    found = Moving(*sides, Route("q", "", "q"), stop, user="guest", prefetch=10)
    found.begin(None)
    for tag in (1, 2, 3):
        sides[0].hear(methods.BasicDeliver("c", tag, False, "", "q"), b"%d" % tag)
    found.step(None)
    assert len(sides[1].said) == 3
    return found


def test_what_is_confirmed_is_acknowledged_at_the_source(moving, sides):
    source, target = sides
    target.hear(methods.BasicAck(2, True))
    moving.step(None)
    assert source.said == [methods.BasicAck(2, True)]
    target.hear(methods.BasicAck(3, False))
    moving.step(None)
    assert source.said[1:] == [methods.BasicAck(3, True)]
    assert (moving.moved, moving.moved_bytes, moving.quiet) == (3, 3, True)


@pytest.mark.parametrize("multiple", [True, False])
@pytest.mark.parametrize("number", [0, 1, 4, 2**64 - 1])
def test_a_target_that_confirms_what_is_not_under_way_is_given_up(moving, sides, number, multiple):
    source, target = sides
    target.hear(methods.BasicAck(1, False))
    moving.step(None)
    with pytest.raises(LogstoreError, match=f"confirmed message {number}, which is not under way"):
        target.hear(methods.BasicAck(number, multiple))
    assert source.said == [methods.BasicAck(1, True)]
