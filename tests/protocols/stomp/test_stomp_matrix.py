"""Every frame of a STOMP client, sent by nobody, with a wrong password, by users without the rights
and with them: made from the table of frames.

A frame of which the samples know nothing fails here.
"""

from typing import NamedTuple

import pytest
from amqp_users import DELAY_S, Users
from stomp_kit import Door
from stomp_wire import frame

from logstore.protocols.stomp.handlers import DISCONNECT, HANDLERS
from logstore.stomp.frames import CONNECTING

Q = "/amq/queue/q"  # which is there, with one message
OF_Q, OF_NEW, DEFAULT, TOPICS = "^q$", "^new$", "^amq\\.default$", "^amq\\.topic$"
NONE = "^$"


class Sample(NamedTuple):
    """One frame, and what it asks of configure, write, read, with what came before."""

    command: str
    headers: dict
    rights: tuple = (NONE, NONE, OF_Q)  # some, so that its user may come in
    before: tuple = ()
    asks: bool = True  # rights of its own; else of what stands before it, if of anything
    makes: str = ""  # a queue, first, by the right to configure alone: as RabbitMQ does


HEARS = ("SUBSCRIBE", {"destination": Q, "id": "0", "ack": "client-individual"})
BEGUN = ("BEGIN", {"transaction": "t"})
WITHIN = ("SEND", {"destination": Q, "transaction": "t"})
SAMPLES = {
    "connect": Sample("CONNECT", {}, asks=False),
    "stomp": Sample("STOMP", {}, asks=False),
    "send": Sample("SEND", {"destination": Q}, (NONE, DEFAULT, NONE)),
    "send, a new queue": Sample(
        "SEND", {"destination": "/queue/new"}, (OF_NEW, DEFAULT, NONE), makes="new"),
    "send, a topic": Sample("SEND", {"destination": "/topic/t"}, (NONE, TOPICS, NONE)),
    "send, an exchange": Sample(
        "SEND", {"destination": "/exchange/amq.topic/k"}, (NONE, TOPICS, NONE)),
    "send, a reply queue": Sample("SEND", {"destination": "/reply-queue/q"}, (NONE, DEFAULT, NONE)),
    "send, a queue for replies": Sample(
        "SEND", {"destination": Q, "reply-to": "/temp-queue/r"},
        ("^stomp\\.gen", DEFAULT, "^stomp\\.gen")),
    "subscribe": Sample(*HEARS),
    "subscribe, a new queue": Sample(
        "SUBSCRIBE", {"destination": "/queue/new", "id": "0"}, (OF_NEW, NONE, OF_NEW),
        makes="new"),
    "subscribe, a topic": Sample(
        "SUBSCRIBE", {"destination": "/topic/t", "id": "0", "x-queue-name": "new"},
        (OF_NEW, OF_NEW, "^(new|amq\\.topic)$")),
    "subscribe, an exchange": Sample(
        "SUBSCRIBE", {"destination": "/exchange/amq.topic/k", "id": "0", "x-queue-name": "new"},
        (OF_NEW, OF_NEW, "^(new|amq\\.topic)$")),
    "unsubscribe": Sample("UNSUBSCRIBE", {"id": "0"}, before=(HEARS,), asks=False),
    "ack": Sample("ACK", {"id": "?"}, before=(HEARS,), asks=False),
    "nack": Sample("NACK", {"id": "?", "requeue": "false"}, before=(HEARS,), asks=False),
    "begin": Sample(*BEGUN, asks=False),
    "commit": Sample("COMMIT", BEGUN[1], (NONE, DEFAULT, NONE), (BEGUN, WITHIN)),
    "abort": Sample("ABORT", BEGUN[1], (NONE, DEFAULT, NONE), (BEGUN, WITHIN), asks=False),
    "disconnect": Sample(DISCONNECT, {"receipt": "r"}, asks=False),
}  # fmt: skip
LACKING = [
    (name, number)
    for name, it in SAMPLES.items()
    if it.asks
    for number, right in enumerate(it.rights)
    if right != NONE
]
every = pytest.mark.parametrize("name", SAMPLES)
versions = pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])


@pytest.fixture(scope="module")
def users():
    return Users("al", "bo")


@pytest.fixture
def door(node, users):
    """``q`` is there, with one message; nothing else is."""
    made = Door(None, node=node, access=users.access, logins=users.logins)
    peer = made.open(login="root", passcode="secret")
    peer.ask("SEND", {"destination": "/queue/q"}, b"first")
    peer.end()
    made.run()
    yield made
    users.forget_rules()
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.close()


def done(door):
    """What there is, and what is ready in it."""
    door.run()
    return {name: door.node.ready(name.encode()) for name in door.names()}


BEFORE = {"q": 1}


def prepared(peer, name):
    """The sample's frame, once what stands before it is done."""
    sample = SAMPLES[name]
    came = [said for it in sample.before for said in peer.ask(*it)]
    headers = dict(sample.headers)
    if headers.get("id") == "?":
        [message] = came
        headers["id"] = message["ack"]
    return frame(sample.command, headers)


def raw_of(name):
    """The frame without anything before it."""
    return frame(SAMPLES[name].command, SAMPLES[name].headers)


def is_connect(name):
    return SAMPLES[name].command in CONNECTING


def come(door, user="al"):
    return door.open(login=user, passcode="secret")


def test_every_frame_of_a_client_has_a_sample():
    assert {it.command for it in SAMPLES.values()} == {*HANDLERS, *CONNECTING, DISCONNECT}


@every
def test_nothing_is_done_for_who_has_not_said_connect(door, name):
    if is_connect(name):
        return
    peer = door.connect()
    peer.give(raw_of(name))
    assert peer.refused()["message"] == "Illegal command"
    assert done(door) == BEFORE


@versions
@pytest.mark.parametrize("given", [
    {}, {"login": "al"}, {"login": "al", "passcode": "other"}, {"login": "no", "passcode": "secret"}
])  # fmt: skip
@pytest.mark.parametrize("connecting", CONNECTING)
def test_nothing_is_done_for_who_has_not_logged_in(door, users, version, given, connecting):
    """Not even what comes in the same read as its CONNECT."""
    users.permit("al", ".*", ".*", ".*")
    for name in SAMPLES:
        peer = door.connect()
        peer.give(frame(connecting, {"accept-version": version} | given) + raw_of(name))
        door.run()
        door.now += DELAY_S + 0.1
        peer.look()
        assert peer.refused()["message"] == "Bad CONNECT", name
    assert done(door) == BEFORE


@every
def test_without_any_right_one_does_not_come_in(door, name):
    peer = door.connect()
    head = {"accept-version": "1.2", "login": "al", "passcode": "secret"}
    peer.give(frame("CONNECT", head) + raw_of(name))
    assert peer.refused()["message"] == "Bad CONNECT"
    assert done(door) == BEFORE


@pytest.mark.parametrize(("name", "number"), LACKING)
def test_without_one_of_its_rights_it_is_refused_and_nothing_is_done(door, users, name, number):
    sample = SAMPLES[name]
    users.permit("al", *sample.rights)
    peer = come(door)
    raw = prepared(peer, name)
    users.permit("al", *("^no$" if n == number else it for n, it in enumerate(sample.rights)))
    door.run()
    peer.give(raw)
    error = peer.refused()
    assert error["message"] == "access_refused"
    assert error.body.endswith(b"refused for user 'al'")
    assert done(door) == BEFORE | ({sample.makes: 0} if sample.makes and number else {})


@every
def test_its_rights_alone_are_enough(door, users, name):
    users.permit("al", *SAMPLES[name].rights)
    peer = door.connect() if is_connect(name) else come(door)
    if is_connect(name):
        peer.shake_hands(login="al", passcode="secret")
    else:
        peer.give(prepared(peer, name))
    door.run()
    assert [it for it in peer.got() if it.command == "ERROR"] == []
    assert peer.closed in (None, "") or SAMPLES[name].command == DISCONNECT


@every
def test_a_message_of_another_is_settled_by_nobody_else(door, users, name):
    """Whatever it names, a frame reaches what its own connection has."""
    if SAMPLES[name].command not in ("ACK", "NACK", "UNSUBSCRIBE", "COMMIT", "ABORT"):
        return
    users.permit("al", *SAMPLES[name].rights)
    raw = prepared(come(door, "root"), name)
    before = done(door)
    peer = come(door)
    peer.give(raw)
    assert peer.refused()["message"] != "access_refused"
    assert done(door) == before


@every
def test_who_may_do_everything_is_refused_nothing(door, name):
    peer = door.connect() if is_connect(name) else come(door, "root")
    if is_connect(name):
        peer.shake_hands(login="root", passcode="secret")
    else:
        peer.give(prepared(peer, name))
    door.run()
    assert [it for it in peer.got() if it.command == "ERROR"] == []


@every
def test_without_users_guest_may_do_everything_from_this_machine(node, name):
    made = Door(None, node=node)
    made.open().ask("SEND", {"destination": "/queue/q"}, b"first")
    peer = made.connect()
    peer.shake_hands()
    if not is_connect(name):
        peer.give(prepared(peer, name))
    made.run()
    assert [it for it in peer.got() if it.command == "ERROR"] == []
    for queue in list(made.vhost.queues()):
        made.vhost.delete_queue(queue)
    made.close()
