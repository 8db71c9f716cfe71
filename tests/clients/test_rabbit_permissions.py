"""Each method, asked of a real rabbitmq-server by who lacks one right: it refuses it so, too."""

import pytest
from amqp_asks import LACKING, MAKES, SAMPLES, exactly
from amqp_kit import bind, exchange
from amqp_users import refusal
from amqp_wire import ASKED, Closed, Line
from rabbit_differences import RIGHTS_OTHERWISE, in_words_of_3_10
from rabbit_parts import RealRabbit, needs_rabbitmq

from logstore.amqp import methods
from logstore.amqp.properties import Properties
from logstore.protocols.rabbit_permits import WORDS

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

WAYS = ("configure", "write", "read")
PASSWORD = "secret"
TOPICS = {"user": "keyed", "vhost": "/", "exchange": "t", "write": r"^a\.", "read": r"^a\."}


def permission(name, asks):
    return {"user": name, "vhost": "/", **{word: exactly(word, asks) for word in WAYS}}


def users():
    """By name: the rights that he has."""
    found = {
        f"lacks{number}": [ask for ask in SAMPLES[name][1] if ask != lacking]
        for number, (name, lacking) in enumerate(LACKING)
    }
    return found | {f"has{number}": asks for number, (_, asks) in enumerate(SAMPLES.values())}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    names = users()
    everything = dict.fromkeys(WAYS, ".*")
    permissions = [
        *(permission(name, asks) for name, asks in names.items()),
        {"user": "keyed", "vhost": "/", **everything},
    ]
    known = [{"name": name, "password": PASSWORD, "tags": ""} for name in [*names, "keyed", "none"]]
    server = RealRabbit(
        tmp_path_factory.mktemp("rabbit"), users=known, permissions=permissions,
        topic_permissions=[TOPICS],
    )  # fmt: skip
    yield server
    server.stop()


@pytest.fixture(scope="module")
def maker(real):
    """Makes what the samples need, again and again: some of them delete it."""
    line = Line(real.amqp, "/", [1])
    yield line
    line.end()


def made(maker):
    for method in MAKES:
        assert not isinstance(maker.tell(1, method), Closed)


def said(real, user, method, properties=None):
    """The text that a channel of this user is closed with."""
    line = Line(real.amqp, "/", [1], login=f"\0{user}\0{PASSWORD}".encode())
    try:
        if isinstance(method, methods.BasicPublish):
            line.tell(1, method, properties, b"x")
        elif type(method) in ASKED and not isinstance(method, methods.ChannelOpen):
            found = line.tell(1, method)
            return (found.code, found.text) if isinstance(found, Closed) else None
        else:
            line._send(1, method)
        found = line.tell(1, methods.BasicQos(0, 0, False))
        return (found.code, found.text) if isinstance(found, Closed) else None
    finally:
        line.end()


@pytest.mark.parametrize("number", range(len(LACKING)))
def test_rabbitmq_refuses_the_same_right(real, maker, number):
    name, lacking = LACKING[number]
    made(maker)
    found = said(real, f"lacks{number}", SAMPLES[name][0])
    if name in RIGHTS_OTHERWISE:
        assert found is None
    else:
        assert WORDS[lacking.operation]
        assert found == (403, in_words_of_3_10(refusal(lacking, f"lacks{number}")))


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_rabbitmq_does_not_refuse_who_has_these_alone(real, maker, number):
    made(maker)
    maker.tell(1, methods.QueueDelete(0, "new", False, False, False))
    maker.tell(1, methods.ExchangeDelete(0, "new", False, False))
    found = said(real, f"has{number}", list(SAMPLES.values())[number][0])
    assert found is None or found[0] != 403


def published(key, headers=None):
    return methods.BasicPublish(0, "t", key, False, False), Properties(headers=headers)


KEYED = {
    "a key": (*published("a.b"), None),
    "another key": (*published("b"), ("write", "b")),
    "a copy's key": (*published("a.b", {"CC": ["b"]}), ("write", "b")),
    "a hidden copy's key": (*published("a.b", {"BCC": ["b"]}), ("write", "b")),
    "a queue, bound": (bind("q", "t", "b.#"), None, ("read", "b.#")),
    "an exchange, bound": (methods.ExchangeBind(0, "e", "t", "b", False, {}), None, ("read", "b")),
    "unbound": (methods.QueueUnbind(0, "q", "t", "b.#", {}), None, ("read", "b.#")),
}


@pytest.mark.parametrize("name", KEYED)
def test_rabbitmq_judges_routing_keys_the_same(real, maker, name):
    made(maker)
    method, properties, refused = KEYED[name]
    found = said(real, "keyed", method, properties)
    if refused is None or name in RIGHTS_OTHERWISE:
        assert found is None
    else:
        word, key = refused
        assert found == (403, in_words_of_3_10(
            f"ACCESS_REFUSED - {word} access to topic '{key}' in exchange 't' in vhost '/' "
            f"refused for user 'keyed'"
        ))  # fmt: skip


def test_rabbitmq_tells_an_unknown_type_first(real):
    ((code, text),) = [said(real, "lacks0", exchange("new", "nosuch"))]
    assert (code, text) == (503, "COMMAND_INVALID - unknown exchange type 'nosuch'")


def test_rabbitmq_tells_whose_a_message_is(real, maker):
    made(maker)
    method = methods.BasicPublish(0, "e", "", False, False)
    assert said(real, "keyed", method, Properties(user_id="guest")) == (
        406,
        "PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'keyed'",
    )


def test_rabbitmq_refuses_its_host_to_who_has_nothing_there(real):
    with pytest.raises(ConnectionRefused) as told:
        Strict(real.amqp, login=f"\0none\0{PASSWORD}".encode())
    assert told.value.args == (
        Closed(
            "connection", 530,
            "NOT_ALLOWED - access to vhost '/' refused for user 'none'", 10, 40,
        ),
    )  # fmt: skip


class ConnectionRefused(Exception):
    """What the server said."""


class Strict(Line):
    """One that is not opened again."""

    def _begin_again(self):
        raise ConnectionRefused(self.closings[-1])
