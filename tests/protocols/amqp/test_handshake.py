"""How a connection begins."""

import pytest

from logstore.amqp import fields, methods
from logstore.amqp.replies import Refusal
from logstore.protocols.amqp.credentials import Credentials, Offer
from logstore.protocols.amqp.handshake import CAPABILITIES, About, Handshake, State

ABOUT = About("3.13.7", "logstore", "logstore@here")
PLAIN = b"\0guest\0guest"
AMQPLAIN = fields.table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]


def start_ok(mechanism="PLAIN", response=PLAIN, properties=None):
    return methods.ConnectionStartOk(properties or {}, mechanism, response, "en_US")


def begun():
    return Handshake(ABOUT)


def tuned(*asked):
    handshake = begun()
    handshake.take(start_ok())
    handshake.accept()
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
def test_it_waits_until_it_is_known_who_the_client_is(mechanism, response):
    handshake = begun()
    assert handshake.take(start_ok(mechanism, response)) is None
    assert handshake.state is State.LOGIN
    assert handshake.offer == Offer(mechanism, Credentials(b"guest", b"guest"))
    with pytest.raises(Refusal, match="ConnectionTuneOk while LOGIN is due"):
        handshake.take(methods.ConnectionTuneOk(0, 0, 0))
    assert handshake.accept() == methods.ConnectionTune(2047, 131072, 60)
    assert handshake.offer is None


def test_a_password_is_in_no_text_of_what_has_it():
    handshake = begun()
    handshake.take(start_ok("PLAIN", b"\0al\0secret"))
    assert "secret" not in f"{handshake} {handshake.offer}"


UNREADABLE = [
    b"", b"guest\0guest", b"\0guest", b"\0guest\0guest\0more", b"guest\0guest\0guest", b"\xff" * 9,
    AMQPLAIN[:-1], fields.table({"LOGIN": "guest"})[4:],
    fields.table({"LOGIN": "guest", "PASSWORD": 1})[4:],
]  # fmt: skip


@pytest.mark.parametrize("response", UNREADABLE)
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_what_cant_be_read_are_no_credentials(mechanism, response):
    handshake = begun()
    handshake.take(start_ok(mechanism, response))
    assert handshake.offer == Offer(mechanism, None)


def test_a_certificate_is_asked_for_where_there_may_be_one():
    handshake = Handshake(ABOUT, external=True)
    start = methods.decode(methods.encode(handshake.begin()))
    assert start.mechanisms == b"PLAIN AMQPLAIN EXTERNAL"
    handshake.take(start_ok("EXTERNAL", b"\0guest\0guest"))
    assert handshake.offer == Offer("EXTERNAL", None)


@pytest.mark.parametrize("mechanism", ["EXTERNAL", "plain", "SCRAM-SHA-256", ""])
def test_an_unknown_mechanism_is_a_hard_error(mechanism):
    text = f"unknown authentication mechanism '{mechanism}'"
    with pytest.raises(Refusal, match=text) as told:
        begun().take(start_ok(mechanism))
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
