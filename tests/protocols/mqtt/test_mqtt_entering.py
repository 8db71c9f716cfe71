"""Clients that are not in yet, when their session is taken over, or can't be kept."""

from mqtt_kit import connect

from logstore.errors import StorageFull
from logstore.mqtt import packets, reasons


def test_a_client_whose_session_is_taken_over_before_it_is_in_is_not_let_in(door):
    first, second = door.connect(), door.connect()
    first.send(connect(clean=False, expiry_s=60))
    second.send(connect(clean=False, expiry_s=60))
    door.run()
    [told] = first.packets()
    assert isinstance(told, packets.Connack)
    assert (told.reason, first.over) == (reasons.UNSPECIFIED, True)
    [told] = second.packets()
    assert (told.reason, told.session_present, second.over) == (0, True, False)


def test_a_client_whose_session_is_ended_before_it_is_in_is_not_let_in(door):
    peer = door.connect()
    peer.send(connect(clean=False, expiry_s=60))
    door.node.sessions.end(door.node.sessions.of("c"), "it was ended")
    door.run()
    [told] = peer.packets()
    assert (told.reason, peer.over) == (reasons.UNSPECIFIED, True)
    assert len(door.node.sessions) == 0


def test_a_session_that_cannot_be_kept_is_not_there(door, monkeypatch):
    def full():
        raise StorageFull("the disk is full")

    monkeypatch.setattr(door.node.committer._environment, "check_room", full)
    peer, told = door.come(clean=False, expiry_s=60)
    assert (told.reason, peer.over) == (reasons.UNAVAILABLE, True)
    assert len(door.node.sessions) == 0
    monkeypatch.undo()
    peer, told = door.come(clean=False, expiry_s=60)
    assert (told.reason, told.session_present) == (0, False)
