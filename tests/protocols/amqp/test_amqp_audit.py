"""What the audit log is told of RabbitMQ's clients."""

import pytest
from amqp_kit import declare, exchange, message
from amqp_users import DELAY_S, Users, login_of, opened, start
from heard_audit import Heard

from logstore.access.audit import ACCESS, DONE, EXCHANGE, LOGIN, QUEUE, REFUSED
from logstore.access.identity import Identity
from logstore.access.refusals import Refusals
from logstore.amqp import methods

AL = Identity("al", "127.0.0.1", "PLAIN", "amqp")


@pytest.fixture
def users():
    return Users("al")


@pytest.fixture
def audit():
    return Heard()


@pytest.fixture
def door(node, users, audit):
    made = users.door(node=node, audit=audit, refusals=Refusals(lambda: 0.0, audit))
    yield made
    made.close()


def test_a_login_is_told_of_and_one_that_is_refused(door, audit):
    start(door.connect(), "PLAIN", login_of("al"))
    assert audit == [(LOGIN, AL, "", DONE)]
    audit.clear()
    start(door.connect(), "PLAIN", login_of("bo"))
    assert audit == [(LOGIN, Identity("bo", "127.0.0.1", "PLAIN", "amqp"), "", REFUSED)]


def test_a_new_secret_that_is_wrong_is_told_of(door, users, audit):
    users.permit("al")
    peer = opened(door)
    audit.clear()
    peer.send(methods.ConnectionUpdateSecret(b"x", ""), channel=0)
    assert audit == [(LOGIN, AL, "with a new secret", REFUSED)]
    door.now += DELAY_S


def test_what_is_refused_is_told_of(door, users, audit):
    users.permit("al")
    peer = opened(door)
    audit.clear()
    peer.ask(declare("q"))
    assert audit == [(ACCESS, AL, "create queue q", REFUSED)]
    peer.send(methods.ChannelCloseOk())
    peer.ask(methods.ChannelOpen())
    peer.give(message(b"x", ""))
    assert audit[1:] == [(ACCESS, AL, "write exchange amq.default", REFUSED)]


def test_a_host_that_is_refused_is_told_of(door, audit):
    door.connect().shake_hands(login=login_of("al"))
    assert audit[1:] == [(ACCESS, AL, "enter vhost /", REFUSED)]


def test_what_is_deleted_or_purged_is_told_of(door, users, audit):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(door)
    for method in (declare("q:1"), exchange("e")):
        peer.ask(method)
    audit.clear()
    peer.ask(methods.QueuePurge(0, "q:1", False))
    peer.ask(methods.QueueDelete(0, "q:1", False, False, False))
    peer.ask(methods.QueueDelete(0, "q:1", False, False, False))
    peer.ask(methods.ExchangeDelete(0, "e", False, False))
    peer.ask(methods.ExchangeDelete(0, "e", False, False))
    assert audit == [
        (QUEUE, AL, "purged /:q:1", DONE),
        (QUEUE, AL, "deleted /:q:1", DONE),
        (EXCHANGE, AL, "deleted e", DONE),
    ]
