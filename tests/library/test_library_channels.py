"""Channels within a process."""

import threading

import pytest

import logstore
from logstore.broker import listening
from logstore.errors import Closed, FellBehind, InvalidName

DEADLINE_S = 30


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as opened:
        yield opened


def test_who_listens_gets_what_is_published(store):
    news = store.channel("news")
    assert news.publish(b"nobody") == 0
    with news.subscribe() as one, store.listen("other", patterns=["n*"]) as two:
        assert news.publish(b"1") == 2
        assert store.channel(b"other").publish(b"2") == 1
        assert one.get(DEADLINE_S) == (b"news", b"1", None)
        assert [two.get(DEADLINE_S) for _ in range(2)] == [
            (b"news", b"1", b"n*"), (b"other", b"2", None),
        ]  # fmt: skip
        assert one.get(0) is None
    assert news.publish(b"gone") == 0


def test_iterating_ends_with_the_listener_or_the_store(tmp_path):
    store = logstore.open(tmp_path / "data")
    listener = store.channel("news").subscribe()
    got = []
    thread = threading.Thread(target=lambda: got.extend(listener))
    thread.start()
    for number in range(1000):
        store.channel("news").publish(b"%d" % number)
    with store.channel("done").subscribe():
        while len(got) < 1000:
            thread.join(0.01)
        store.close()
    thread.join(DEADLINE_S)
    assert [message.payload for message in got] == [b"%d" % number for number in range(1000)]
    for use in (lambda: store.channel("news").publish(b""), store.channel("news").subscribe):
        with pytest.raises(Closed):
            use()


def test_publishers_in_many_threads_keep_their_order(store):
    listener = store.channel("news").subscribe()

    def publish(who):
        for number in range(500):
            assert store.channel("news").publish(b"%d %d" % (who, number)) == 1

    threads = [threading.Thread(target=publish, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    got = [listener.get(DEADLINE_S).payload.split() for _ in range(2000)]
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [int(number) for it, number in got if int(it) == who] == list(range(500))


def test_a_listener_that_does_not_read_is_cut_off(store, monkeypatch):
    monkeypatch.setattr(listening, "UNREAD_BYTES_MAX", 1000)
    with store.channel("a").subscribe() as slow, store.channel("a").subscribe() as quick:
        for number in range(20):
            store.channel("a").publish(b"%03d" % number + b"x" * 97)
            assert quick.get(DEADLINE_S) is not None
        assert store.channel("a").publish(b"") == 1
        with pytest.raises(FellBehind, match="cut off"):
            list(slow)


def test_what_is_no_payload_or_pattern_is_refused(store):
    with pytest.raises(TypeError):
        store.channel("a").publish("text")
    with pytest.raises(InvalidName):
        store.listen("a", patterns=["x" * 5000])
    assert store.channel("a").publish(b"") == 0
