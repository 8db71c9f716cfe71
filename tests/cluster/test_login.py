"""The client's side of logins, against brokers that are not what they say."""

import pytest

from logstore.cluster.login import ITERATIONS_MAX, Credentials
from logstore.errors import Failed

SCRAM = Credentials("SCRAM-SHA-256", "a,b=c", "pencil")


def begun():
    conversation = SCRAM.conversation()
    first = next(conversation)
    assert first.startswith(b"n,,n=a=2Cb=3Dc,r=")
    return conversation, first.partition(b",r=")[2].decode()


@pytest.mark.parametrize(
    "said",
    ["", "r={0}more", "r=other,s=c2FsdA==,i=4096", "r={0},s=c2FsdA==,i=4096",
     "r={0}more,s=c2FsdA==,i=0", "r={0}more,s=!,i=x",
     f"r={{0}}more,s=c2FsdA==,i={ITERATIONS_MAX + 1}"],
)  # fmt: skip
def test_a_broker_that_speaks_no_scram_is_refused(said):
    conversation, nonce = begun()
    with pytest.raises(Failed):
        conversation.send(said.format(nonce).encode())


def test_a_broker_that_does_not_know_the_password_is_refused():
    conversation, nonce = begun()
    assert b",p=" in conversation.send(f"r={nonce}more,s=c2FsdA==,i=4096".encode())
    with pytest.raises(Failed, match="may be an impostor"):
        conversation.send(b"v=bm8=")
