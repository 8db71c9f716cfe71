"""Who copies the store, and who trims its journal."""

import os
import socket
import threading

import pytest

from logstore.errors import StorageFull
from logstore.storage.disk import Disk
from logstore.storage.pin import Pin

DEADLINE_S = 30


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "pin.lock")
    Pin(Disk(), path).make()
    return path


def test_nothing_is_trimmed_while_any_copies(path):
    trimmed, pin = [], Pin(Disk(), path)
    with Pin(Disk(), path).shared():
        with Pin(Disk(), path).shared():
            assert not pin.unless_shared(lambda: trimmed.append(1))
        assert not pin.unless_shared(lambda: trimmed.append(2))
    assert pin.unless_shared(lambda: trimmed.append(3))
    assert trimmed == [3]


def test_a_copy_waits_for_a_trim_that_is_under_way(path):
    order, begun, over = [], threading.Event(), threading.Event()

    def copy():
        begun.set()
        with Pin(Disk(), path).shared():
            order.append("copied")
        over.set()

    def trim():
        threading.Thread(target=copy, daemon=True).start()
        assert begun.wait(DEADLINE_S)
        order.append("trimmed")

    assert Pin(Disk(), path).unless_shared(trim)
    assert over.wait(DEADLINE_S)
    assert order == ["trimmed", "copied"]


def test_a_trim_that_fails_keeps_no_copy_waiting(path):
    pin = Pin(Disk(), path)

    def trim():
        raise StorageFull("no room")

    with pytest.raises(StorageFull):
        pin.unless_shared(trim)
    with pin.shared():
        pass


def test_there_is_nothing_to_pin_before_there_is_a_journal(tmp_path):
    with Pin(Disk(), str(tmp_path / "pin.lock")).shared():
        pass
    assert not list(tmp_path.iterdir())


def test_a_fork_holds_nothing(path):
    pin = Pin(Disk(), path)
    here, there = socket.socketpair()
    with pin.shared():
        child = os.fork()
        if not child:
            there.send(b"1")  # what is told of a fork has been told by now
            there.recv(1)
            os._exit(0)
        assert here.recv(1)
    try:
        assert pin.unless_shared(lambda: None)
    finally:
        here.send(b"2")
        os.waitpid(child, 0)
        here.close()
        there.close()
