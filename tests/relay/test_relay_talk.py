"""How a link begins, that its ends notice silence, and how it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_kit import Heard, frames

from logstore.errors import BrokenProtocol, ClusterUnreachable
from logstore.relay import proof
from logstore.relay.messages import (
    EARLY_BYTES_MAX,
    FRAME_BYTES_MAX,
    SIZE,
    Ask,
    Challenge,
    End,
    Hello,
    Ping,
    Pong,
    Proof,
    framed,
    read,
)
from logstore.relay.talk import (
    ANSWER_S,
    BEGIN_S,
    FRESH_S,
    PING_S,
    PROVE_S,
    Phase,
    Talk,
    WrongSecret,
)

NONCE = bytes(32)


class Pair:
    def __init__(self, secrets=(b"secret", b"secret"), to=b"b", nonces=(b"1" * 32, b"2" * 32)):
        self.now, self.steady = 10.0, 50.0
        self.sure, self.asked = True, []
        self.heard = Heard(), Heard()
        given = zip((b"a", b"b"), secrets, nonces, self.heard, (to, None), strict=True)
        self.asker, self.owner = (
            Talk(
                me,
                secret,
                nonce,
                told,
                lambda: self.now,
                lambda: None,
                to,
                lambda: self.steady,
                self._vouch,
            )
            for me, secret, nonce, told, to in given
        )

    def _vouch(self, then):
        if not self.sure:
            self.asked.append(then)
        return self.sure

    def step(self):
        moved = False
        for sender, receiver in (self.asker, self.owner), (self.owner, self.asker):
            for it in frames(sender.outgoing()):
                moved = True
                receiver.received(it)
        return moved

    def run(self):
        while self.step():
            pass
        return self


def said(talk):
    return [read(it) for it in frames(talk.outgoing())]


def frame(message):
    return memoryview(b"".join(framed(message))[SIZE.size :])


def test_both_show_that_they_have_the_secret():
    pair = Pair().run()
    assert pair.asker.phase is pair.owner.phase is Phase.OPEN
    assert [it.talk for it in pair.heard] == [pair.asker, pair.owner]
    assert pair.owner.node == b"a"
    pair.asker.put(Ask(1, 2, b"x"))
    pair.run()
    assert pair.heard[1].messages == [Ask(1, 2, b"x")]


def test_the_secret_does_not_go_over_and_proofs_differ():
    pair, all_said = Pair(), []
    for _ in range(3):
        for sender, receiver in (pair.asker, pair.owner), (pair.owner, pair.asker):
            for it in frames(sender.outgoing()):
                all_said.append(read(it))
                receiver.received(it)
    kinds = [type(it) for it in all_said]
    assert kinds == [Hello, Challenge, Proof, Proof]
    assert all_said[2] != all_said[3]
    assert not any(b"secret" in field for it in all_said for field in it if type(field) is bytes)


def test_another_secret_is_told_by_either_end():
    pair = Pair((b"secret", b"other")).run()
    assert isinstance(pair.owner.failure, WrongSecret)
    assert "different secrets" in str(pair.asker.failure)
    assert [it.talk for it in pair.heard] == [None, None]


def test_an_owner_without_the_secret_is_not_asked_anything():
    pair = Pair()
    pair.step()
    pair.owner.outgoing()
    pair.asker.received(frame(Proof(bytes(32))))
    assert isinstance(pair.asker.failure, WrongSecret)


def test_a_proof_can_not_be_sent_back():
    pair = Pair()
    pair.step()
    [mine] = said(pair.asker)
    pair.asker.received(frame(mine))
    assert isinstance(pair.asker.failure, WrongSecret)


def test_a_proof_of_another_link_is_none():
    one, other = Pair(), Pair(nonces=(b"1" * 32, b"3" * 32))
    one.step()
    other.step()
    other.owner.received(frame(said(one.asker)[0]))
    assert isinstance(other.owner.failure, WrongSecret)


def test_whoever_meets_another_node_says_so():
    pair = Pair(to=b"c").run()
    assert "looks for node 'c', and this is 'b'" in str(pair.owner.failure)
    assert "looks for node 'c', and this is 'b'" in str(pair.asker.failure)


@pytest.mark.parametrize(
    "given",
    [
        Hello(b"GET / HTTP/1.1", 1, 1, b"a", b"b", NONCE),
        Hello(proof.MAGIC, 2, 3, b"a", b"b", NONCE),
        Hello(proof.MAGIC, 1, 1, b"", b"b", NONCE),
        Hello(proof.MAGIC, 1, 1, b"a" * 250, b"b", NONCE),
        Hello(proof.MAGIC, 1, 1, b"a", b"b", b"short"),
    ],
)
def test_an_owner_speaks_to_nodes_alone(given):
    pair = Pair()
    pair.owner.received(frame(given))
    assert isinstance(pair.owner.failure, BrokenProtocol)
    [end] = said(pair.owner)
    assert isinstance(end, End)


@pytest.mark.parametrize(
    "given",
    [Challenge(2, b"b", NONCE), Challenge(1, b"c", NONCE), Challenge(1, b"b", b""), Pong()],
)
def test_an_asker_speaks_to_the_node_that_it_means(given):
    pair = Pair()
    pair.asker.received(frame(given))
    assert isinstance(pair.asker.failure, BrokenProtocol)


def test_nothing_is_asked_before_the_secret_is_shown():
    pair = Pair()
    pair.owner.received(frame(Ask(1, 1, b"")))
    assert isinstance(pair.owner.failure, BrokenProtocol)
    assert pair.heard[1].messages == []


def test_messages_are_short_before_the_secret_is_shown():
    pair = Pair()
    assert pair.owner.frame_bytes_max == EARLY_BYTES_MAX
    pair.run()
    assert pair.owner.frame_bytes_max == FRAME_BYTES_MAX


def test_a_link_that_does_not_begin_ends():
    pair = Pair()
    pair.now += BEGIN_S - 0.1
    pair.asker.look()
    assert pair.asker.failure is None
    pair.now += 0.1
    pair.asker.look()
    pair.owner.look()
    assert "has not come to terms" in str(pair.asker.failure)
    assert "has not come to terms" in str(pair.owner.failure)


def test_a_peer_that_is_there_says_so():
    pair = Pair().run()
    for _ in range(20):
        pair.now = pair.asker.deadline
        pair.asker.look()
        pair.run()
    assert pair.asker.failure is None


def test_a_peer_that_says_nothing_is_gone():
    pair = Pair().run()
    pair.now += PING_S
    pair.asker.look()
    assert pair.asker.failure is None
    assert pair.asker.deadline == pair.now + ANSWER_S
    pair.now += ANSWER_S
    pair.asker.look()
    assert "has sent nothing for 6 s" in str(pair.asker.failure)
    assert pair.heard[0].why is pair.asker.failure


def test_whoever_has_stood_still_asks_before_he_gives_up():
    pair = Pair().run()
    pair.now += 1000
    pair.asker.look()
    pair.run()
    pair.now += 1
    pair.asker.look()
    assert pair.asker.failure is None


def test_a_part_of_a_message_is_a_sign_of_life():
    pair = Pair().run()
    pair.now += PING_S
    pair.asker.look()
    pair.now += ANSWER_S - 0.1
    pair.asker.came()
    pair.now += 0.1
    pair.asker.look()
    assert pair.asker.failure is None


def test_the_peer_is_told_why_a_link_ends():
    pair = Pair().run()
    pair.owner.end("it stops")
    pair.run()
    assert str(pair.asker.failure) == "node b has ended the link: it stops"
    assert isinstance(pair.heard[0].why, ClusterUnreachable)
    pair.asker.put(Ask(1, 1, b""))
    assert said(pair.asker) == []


def test_a_message_that_is_refused_ends_the_link():
    pair = Pair().run()
    pair.heard[1].refuses = True
    pair.asker.put(Ask(1, 1, b""))
    pair.run()
    assert str(pair.owner.failure) == "node a: none of that"


def test_what_can_wait_goes_on_when_there_is_room():
    pair = Pair().run()
    pair.asker.put(Ask(1, 1, bytes(1 << 20)))
    assert pair.asker.full
    pair.asker.outgoing()
    assert not pair.asker.full
    assert pair.heard[0].drains == 1


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_whatever_comes_nothing_is_raised(given, opened):
    pair = Pair()
    if opened:
        pair.run()
    for it in given:
        pair.owner.received(memoryview(it))
        pair.asker.received(memoryview(it))


def frozen():
    """A pair whose asker is stopped for so long, by its other clock, that it may be given up."""
    pair = Pair().run()
    assert pair.asker.fresh
    pair.steady += FRESH_S
    return pair


def test_an_asker_that_was_frozen_is_fresh_once_its_own_question_is_answered():
    pair = frozen()
    assert not pair.asker.fresh
    assert pair.owner.fresh
    pair.now = pair.asker.deadline
    pair.asker.look()
    assert not pair.asker.fresh
    pair.run()
    assert pair.asker.fresh
    assert pair.heard[0].drains == 1


def test_answers_to_what_was_asked_before_prove_nothing():
    pair = frozen()
    pair.now = pair.asker.deadline
    pair.asker.look()
    pair.steady += FRESH_S
    pair.run()
    assert not pair.asker.fresh
    assert pair.heard[0].drains == 0


def test_an_asker_asks_every_second_however_much_it_hears():
    pair = Pair().run()
    for number in range(5):
        assert pair.asker.deadline == pair.now + PROVE_S
        pair.now += PROVE_S
        pair.asker.look()
        assert [type(it) for it in said(pair.asker)] == [Ping]
        pair.asker.received(frame(Pong() if number % 2 else Ask(1, 1, b"")))


def test_an_owner_that_is_not_sure_of_what_it_owns_does_not_answer():
    pair = frozen()
    pair.sure = False
    for _ in range(2):
        pair.now = pair.asker.deadline
        pair.asker.look()
        pair.run()
    assert not pair.asker.fresh
    pair.sure = True
    pair.asked[0]()
    pongs = pair.owner.outgoing()
    assert [type(read(it)) for it in frames(pongs)] == [Pong] * len(pair.asked)
    pair.asked[1]()
    assert pair.owner.outgoing() == []


def test_an_asker_is_fresh_again_however_long_its_owner_was_not_sure():
    pair = Pair().run()
    pair.sure = False
    for number in range(1, 31):
        pair.now += PROVE_S
        pair.steady += PROVE_S
        pair.asker.look()
        pair.owner.put(Ask(number, 1, b""))
        pair.run()
    assert not pair.asker.fresh
    pair.sure = True
    pair.asked[-1]()
    pair.run()
    assert pair.asker.fresh
