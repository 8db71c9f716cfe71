"""What one frame of a STOMP client may do in one turn, for every command, as large as it may be.

Counted are calls of functions in the sessions' thread, not time.
"""

from functools import cache

import pytest
from counted_turns import Thread
from stomp_kit import Door

from bench import largest_stomp
from bench.largest_stomp import ENDED
from logstore.protocols.stomp.handlers import DISCONNECT, HANDLERS
from logstore.protocols.stomp.phase import ENDING, Phase
from logstore.slices import Slices
from logstore.stomp.frames import CONNECTING

ACTIONS, BODY_BYTES = 10_000, 16 << 20
CALLS_MAX = 39_900  # in a turn, some 10 ms
READ_BYTES = 512 << 10
OF_STOMP = [it.name for it in largest_stomp.stomp(20, 2000)]

pytestmark = pytest.mark.long


@cache
def large():
    return {it.name: it for it in largest_stomp.stomp(ACTIONS, BODY_BYTES)}


@pytest.mark.parametrize("name", OF_STOMP)
def test_no_stomp_frame_does_more_in_a_turn(monkeypatch, tmp_path, name):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    it, thread = large()[name], Thread()
    door = Door(tmp_path)
    door.door.stopwatch, door.door.slices = thread.now, Slices(thread.soon)
    peer = door.connect()
    if not it.connect:
        say(thread, door, peer, largest_stomp.CONNECT)
    say(thread, door, peer, it.before)
    thread.most = 0
    say(thread, door, peer, it.data)
    assert thread.most <= CALLS_MAX
    ends = it.name.endswith(ENDED) or it.name.startswith(DISCONNECT)
    phase = peer.session.client.phase
    assert (phase in ENDING or phase in (Phase.GOING, Phase.OVER)) == ends
    door.close()


def say(thread, door, peer, data):
    """Until all of it is taken and answered."""
    at, quiet, session = 0, 0, peer.session
    while quiet < 3 and session.closed is None:
        view = memoryview(data)[at : at + max(READ_BYTES, session.wants)]
        taken = thread.turn(lambda view=view: session.receive(view, door.now)) if view else 0
        at += taken
        thread.turn(lambda: session.wake(door.now))
        thread.turn(door.node.step)
        while thread.go_on():
            thread.turn(door.node.step)
        out = thread.turn(lambda: session.outgoing(1 << 20))
        quiet = 0 if taken or out else quiet + 1
        door.run()
    assert at == len(data) or session.closed is not None


def test_every_frame_of_a_client_has_its_largest():
    names = {it.replace(",", "").split()[0] for it in OF_STOMP}
    assert names == {*HANDLERS, *CONNECTING, DISCONNECT, "lines"}


def test_what_is_too_much_is_among_them():
    for words in (
        ("SEND", "head without an end"), ("SEND", "body without an end"),
        ("SEND", "a million headers"), ("SEND", "longer than may be"),
        ("CONNECT", "head without an end"), ("CONNECT", "a million headers"),
    ):  # fmt: skip
        assert any(all(it in name for it in words) for name in OF_STOMP), words
