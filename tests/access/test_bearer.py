"""OAUTHBEARER's messages; whether a token is good is decided elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.access.bearer import INVALID, MESSAGE_BYTES_MAX, BearerServer
from logstore.access.sasl import Done, Refusal
from logstore.access.tokens import BadToken, Bearer


class Known:
    """Knows one token."""

    def __init__(self):
        self.asked = []

    def check(self, token, then):
        self.asked.append(token)
        then(Bearer("al", 99.0) if token == "good.x~+/-_==" else BadToken("it is bad"))


def server():
    tokens = Known()
    return BearerServer(tokens), tokens


def take(conversation, message):
    steps = []
    conversation.take(message, steps.append)
    [step] = steps
    return step


DONE = Done("al", expires_s=99.0)


@pytest.mark.parametrize(
    "message",
    [
        b"n,,\x01auth=Bearer good.x~+/-_==\x01\x01",
        b"n,a=al,\x01auth=bearer  good.x~+/-_==\x01\x01",
        b"n,,\x01host=h\x01port=1\x01auth=BEARER good.x~+/-_==\x01logicalCluster=x y\x01\x01",
    ],
)
def test_a_good_token_lets_in(message):
    assert take(server()[0], message) == DONE


def test_a_bad_token_is_told_in_json_and_then_refused_with_the_same():
    conversation, _ = server()
    assert take(conversation, b"n,,\x01auth=Bearer bad\x01\x01") == INVALID.encode()
    assert take(conversation, b"\x01") == Refusal(INVALID, why="it is bad")


def test_another_good_token_after_a_bad_one_comes_too_late():
    conversation, tokens = server()
    take(conversation, b"n,,\x01auth=Bearer bad\x01\x01")
    step = take(conversation, b"n,,\x01auth=Bearer good.x~+/-_==\x01\x01")
    assert isinstance(step, Refusal)
    assert tokens.asked == ["bad"]


def test_who_asks_to_act_as_another_is_refused():
    step = take(server()[0], b"n,a=r=2Cot,\x01auth=Bearer good.x~+/-_==\x01\x01")
    assert step.text == (
        "Authentication failed: Client requested an authorization id (r,ot) that is different "
        "from the token's principal name (al)"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer good\x01",
        b"n,,auth=Bearer good\x01\x01",
        b"y,,\x01auth=Bearer good\x01\x01",
        b"p=x,,\x01auth=Bearer good\x01\x01",
        b"n,,\x01auth=Basic good\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
        b"n,,\x01Auth=Bearer good\x01\x01",
        b"n,,\x01auth=Bearer good\x01x\x01\x01",
        b"n,,\x01auth=Bearer good\x011=2\x01\x01",
        b"n,,\x01auth=Bearer g\xff\x01\x01",
        b"n,a=\x01,\x01auth=Bearer good\x01\x01",
        b"n,,\x01auth=Bearer " + b"x" * MESSAGE_BYTES_MAX + b"\x01\x01",
    ],
)
def test_what_is_no_message_is_refused_and_no_token_is_looked_at(message):
    conversation, tokens = server()
    assert take(conversation, message) == Refusal(why="no OAUTHBEARER message")
    assert tokens.asked == []


@given(st.binary(max_size=100))
def test_garbage_is_refused(message):
    assert isinstance(take(server()[0], message), Refusal)
