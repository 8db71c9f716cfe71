import logging
import threading
import time

import pytest
from clock import NOW_MS

import logstore
from logstore.config import Config
from logstore.errors import Failed
from logstore.storage.disk import Disk
from logstore.upkeep.desk import Desk
from logstore.upkeep.rhythm import Rhythm, Work

DEADLINE_S = 30


@pytest.fixture
def desk(tmp_path):
    return Desk(Disk(), str(tmp_path))


def no_job(job, tell):
    raise AssertionError("nobody asks")


def test_it_comes_again_and_a_failure_is_told(caplog, desk):
    calls, enough = [], threading.Event()

    def work():
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        raise Failed(f"call {len(calls)}")

    with caplog.at_level(logging.WARNING, "logstore.upkeep"):
        rhythm = Rhythm(desk, [Work(work, 0.001)], no_job)
        assert enough.wait(DEADLINE_S)
        rhythm.close()
    count = len(calls)
    assert [record.getMessage() for record in caplog.records] == [
        f"call {n}" for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("interval_s", [3600, None])
def test_it_does_nothing_before_its_time(desk, interval_s, tmp_path):
    calls = []
    works = [] if interval_s is None else [Work(lambda: calls.append(1), interval_s)]
    rhythm = Rhythm(desk, works, no_job)
    rhythm.close()
    assert calls == []
    assert list(tmp_path.iterdir()) == []


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


def test_a_writer_compacts_by_itself_and_closes_in_the_middle_of_it(tmp_path):
    settings = {
        "segment.bytes": 2000, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": 0,
    }  # fmt: skip
    with logstore.open(tmp_path, config=a_config(1)) as store:
        topic = store.create_topic("t", settings=settings)
        log, n = topic.partition(0), 0
        deadline = time.monotonic() + DEADLINE_S
        while len(log.read(0, 1 << 20)) > 0.5 * n or n < 50:
            topic.append(b"%d" % n, key=b"%d" % (n % 5))
            n += 1
            assert time.monotonic() < deadline
    with logstore.open(tmp_path, "read") as reader, reader.consumer("t") as consumer:
        assert {it.key: int(it.value) for it in consumer} == {
            b"%d" % (m % 5): m for m in range(n - 5, n)
        }
        assert not [it for report in reader.verify() for it in report.findings]
    assert not [path for path in (tmp_path / "t-0").iterdir() if "cleaned" in path.name]


def test_without_upkeep_by_itself_one_thread_waits_for_jobs(tmp_path):
    before = threading.active_count()
    with logstore.open(tmp_path, config=a_config(-1)), logstore.open(tmp_path, "read"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
