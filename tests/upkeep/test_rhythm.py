import logging
import threading
import time

import logstore
from logstore.config import Config
from logstore.errors import Failed
from logstore.upkeep.rhythm import Rhythm

DEADLINE_S = 30
NOW_MS = 1_700_000_000_000


def test_it_comes_again_and_a_failure_is_told(caplog):
    calls, enough = [], threading.Event()

    def work():
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        raise Failed(f"call {len(calls)}")

    with caplog.at_level(logging.WARNING, "logstore.upkeep"):
        rhythm = Rhythm(work, 0.001)
        assert enough.wait(DEADLINE_S)
        rhythm.close()
    count = len(calls)
    assert [record.getMessage() for record in caplog.records] == [
        f"call {n}" for n in range(1, count + 1)
    ]


def test_it_does_nothing_before_its_time():
    rhythm = Rhythm(lambda: calls.append(1), 3600)
    calls = []
    rhythm.close()
    assert calls == []


def a_config(interval_ms):
    return Config({"upkeep.interval.ms": (str(interval_ms), "test")})


def test_a_writer_drops_what_is_old_by_itself(tmp_path):
    now = [NOW_MS]
    with logstore.open(tmp_path, config=a_config(1), clock=lambda: now[0]) as store:
        settings = {"segment.bytes": 200, "retention.ms": 10**12}
        topic = store.create_topic("t", settings=settings)
        log = topic.partition(0)
        for n in range(10):
            topic.append(bytes(100), timestamp_ms=NOW_MS + n)
        assert log.start == 0
        now[0] = NOW_MS + 10**13  # also behind the files' own times
        deadline = time.monotonic() + DEADLINE_S
        while log.start < 10:  # nothing tells: it is looked at until it is so
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert topic.append(b"more").offset == 10


def test_with_upkeep_off_nothing_goes_by_itself(tmp_path):
    before = threading.active_count()
    with logstore.open(tmp_path, config=a_config(-1)):
        assert threading.active_count() == before
    with logstore.open(tmp_path), logstore.open(tmp_path, "read"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
