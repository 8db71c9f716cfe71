"""Whatever a stranger sends, in whatever order: it is served when it has logged in, and not before.

The model is the table of states of Kafka's broker in its shortest form; it knows no tokens.
"""

import struct

from hypothesis import given
from hypothesis import strategies as st
from sasl_kit import PLAIN, Stranger

from logstore.kafka.messages import api_versions, metadata, sasl_authenticate, sasl_handshake
from logstore.protocols.kafka.sasl import LOGIN_S

INITIAL, HANDSHAKE, TOKEN, RAW, DONE, CLOSED = range(6)
WRONG = b"\0al\0brush"
ACTIONS = st.lists(
    st.sampled_from(
        ["versions", "odd versions", "handshake", "raw handshake", "no mechanism", "right", "wrong",
         "metadata", "unknown", "wait"]
    ),
    min_size=1, max_size=8,
)  # fmt: skip


class Model:
    """What a server of Kafka does; ``served``: whether the last request was carried out."""

    def __init__(self):
        self.state, self.served = INITIAL, False

    def take(self, action):
        self.served = False
        if self.state == CLOSED:
            return
        if self.state == RAW:  # whatever it is, it is a token; and it must come in time
            self.state = DONE if action == "right" else CLOSED
            return
        getattr(self, "_" + action.replace(" ", "_"))()

    def _wait(self):
        if self.state != DONE:
            self.state = CLOSED

    def _odd_versions(self):
        if self.state == HANDSHAKE:
            self.state = CLOSED

    def _versions(self):
        self.state = {INITIAL: HANDSHAKE, DONE: DONE}.get(self.state, CLOSED)
        self.served = self.state != CLOSED

    def _handshake(self):
        self.state = {TOKEN: CLOSED, DONE: DONE}.get(self.state, TOKEN)

    def _raw_handshake(self):
        self.state = {TOKEN: CLOSED, DONE: DONE}.get(self.state, RAW)

    def _no_mechanism(self):
        self.state = DONE if self.state == DONE else CLOSED

    def _right(self):
        self.state = DONE if self.state in (TOKEN, DONE) else CLOSED

    def _wrong(self):
        self.state = DONE if self.state == DONE else CLOSED

    def _metadata(self):
        self.served = self.state == DONE
        self.state = DONE if self.served else CLOSED

    def _unknown(self):
        self.state = CLOSED


def act(talk, action, *, raw):
    """Whether it was carried out."""
    if action == "wait":
        talk.pass_time(LOGIN_S + 1)
    elif action in ("right", "wrong"):
        token = PLAIN if action == "right" else WRONG
        if raw:
            talk.feed(struct.pack(">i", len(token)) + token)
        else:
            talk.say(36, 1, sasl_authenticate.Request(token))
    elif action == "versions":
        talk.say(18, 3, api_versions.Request("x", "1"))
    elif action == "odd versions":
        talk.send(18, 99, b"")
    elif action == "metadata":
        talk.say(3, 1, metadata.Request(None))
    elif action == "unknown":
        talk.feed(struct.pack(">ihhih", 10, 999, 0, 1, -1))
    else:
        mechanism = "GSSAPI" if action == "no mechanism" else "PLAIN"
        talk.say(17, 0 if action == "raw handshake" else 1, sasl_handshake.Request(mechanism))
    answered = bool(talk.out())
    talk.pass_time(2.5)  # a refusal is held back no longer
    talk.out()
    return answered and action in ("versions", "metadata") and talk.closed is None


@given(ACTIONS)
def test_it_is_served_when_it_has_logged_in_and_not_before(actions):
    talk, model = Stranger(), Model()
    talk.session.wake(talk.now)
    for action in actions:
        served = act(talk, action, raw=model.state == RAW)
        model.take(action)
        assert served == model.served, action
        logged_in = bool(talk.session._client.rights.who.user)
        assert logged_in == (model.state == DONE) or model.state == CLOSED
        assert (talk.closed is not None) == (model.state == CLOSED), action
        if model.state not in (DONE, CLOSED):
            talk.session._login.until = talk.now + LOGIN_S  # only "wait" is about time
