"""How a connection begins."""

import pytest

from logstore.amqp import fields, methods
from logstore.amqp.replies import Refusal
from logstore.protocols.amqp.handshake import CAPABILITIES, About, Handshake, State

ABOUT = About("3.13.7", "logstore", "logstore@here")
PLAIN = b"\0guest\0guest"
AMQPLAIN = fields.table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]


def start_ok(mechanism="PLAIN", response=PLAIN, properties=None):
    return methods.ConnectionStartOk(properties or {}, mechanism, response, "en_US")


def begun(local=True):
    return Handshake(ABOUT, local)


def tuned(*asked):
    handshake = begun()
    handshake.take(start_ok())
    handshake.take(methods.ConnectionTuneOk(*asked))
    return handshake


def test_the_server_says_what_clients_look_for():
    start = methods.decode(methods.encode(begun().begin()))
    assert (start.version_major, start.version_minor) == (0, 9)
    assert start.mechanisms.split() == [b"PLAIN", b"AMQPLAIN"]
    assert start.server_properties["product"] == "RabbitMQ"
    assert start.server_properties["version"] == "3.13.7"
    assert start.server_properties["capabilities"] == dict.fromkeys(CAPABILITIES, True)


@pytest.mark.parametrize(("mechanism", "response"), [("PLAIN", PLAIN), ("AMQPLAIN", AMQPLAIN)])
def test_guest_comes_in_from_this_machine(mechanism, response):
    tune = begun().take(start_ok(mechanism, response))
    assert tune == methods.ConnectionTune(2047, 131072, 60)


WRONG = [
    b"", b"guest\0guest", b"\0guest\0wrong", b"\0wrong\0guest", b"\0guest\0guest\0more", b"\xff" * 9
]  # fmt: skip


@pytest.mark.parametrize("response", WRONG)
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_nobody_else_comes_in(mechanism, response):
    with pytest.raises(Refusal, match=f"ACCESS_REFUSED - Login was refused.*{mechanism}") as told:
        begun().take(start_ok(mechanism, response))
    assert told.value.code == 403


def test_guest_does_not_come_in_from_elsewhere():
    with pytest.raises(Refusal, match="ACCESS_REFUSED"):
        begun(local=False).take(start_ok())


def test_an_unknown_mechanism_is_a_hard_error():
    with pytest.raises(Refusal, match="unknown authentication mechanism 'EXTERNAL'") as told:
        begun().take(start_ok("EXTERNAL"))
    assert told.value.code == 503


def test_zero_asks_for_no_limit_and_gets_ours():
    handshake = tuned(0, 0, 0)
    assert (handshake.channel_max, handshake.frame_max, handshake.heartbeat_s) == (2047, 131072, 0)


def test_what_the_client_wants_less_of_it_gets():
    handshake = tuned(100, 4096, 30)
    assert (handshake.channel_max, handshake.frame_max, handshake.heartbeat_s) == (100, 4096, 30)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            (0, 1024, 0),
            "negotiated frame_max = 1024 is lower than the minimum allowed value (4096)",
        ),
        ((2048, 0, 0), "negotiated channel_max = 2048 is higher than the maximum allowed value"),
        ((0, 131073, 0), "negotiated frame_max = 131073 is higher than the maximum allowed value"),
    ],
)
def test_what_cant_be_agreed_on_is_not_allowed(asked, text):
    with pytest.raises(Refusal) as told:
        tuned(*asked)
    assert (told.value.code, text in str(told.value)) == (530, True)


def test_the_vhost_is_opened_last():
    handshake = tuned(0, 0, 60)
    assert handshake.take(methods.ConnectionOpen("/a")) == methods.ConnectionOpenOk()
    assert (handshake.vhost, handshake.state) == ("/a", State.DONE)


@pytest.mark.parametrize(
    "method",
    [methods.ConnectionTuneOk(0, 0, 0), methods.ConnectionOpen("/"), methods.BasicQosOk()],
)
def test_a_method_that_is_not_due_is_refused(method):
    with pytest.raises(Refusal, match="COMMAND_INVALID") as told:
        begun().take(method)
    assert told.value.hard


def test_capabilities_that_are_none_are_none():
    handshake = begun()
    handshake.take(start_ok(properties={"capabilities": "all of them"}))
    assert not handshake.can("basic.nack")
    handshake = begun()
    handshake.take(start_ok(properties={"capabilities": {"basic.nack": True, "x": 1}}))
    assert (handshake.can("basic.nack"), handshake.can("x")) == (True, False)
