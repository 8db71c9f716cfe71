"""Kafka's kafka-dump-log over our files: segments, indexes, time indexes."""

import re
import signal
import subprocess

import librdkafka
import pytest
import tools
from serving import COMMAND, DEADLINE_S

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
START_MS = 1_700_000_000_000


@pytest.fixture
def dump(start, built):
    """dump(server, end, words) -> what the tool prints of each file of the topic's partition."""
    built("java")

    def run(server, end, *words):
        files = sorted((server.data / "t-0").glob(f"*.{end}"))
        assert files
        said = tools.run("kafka-dump-log", "--files", ",".join(map(str, files)), *words)
        assert not re.search("(?i)mismatch|corrupt|invalid|non-consecutive|error", said), said[
            -999:
        ]
        return said

    return run


def shown(dump, server):
    return dump(server, "log", "--print-data-log", "--deep-iteration")


def records_in(said):
    """(offset, key, payload) of each record shown."""
    found = re.findall(r"^\| offset: (\d+) .*? key: (.*?) payload: (.*)$", said, re.MULTILINE)
    return [(int(offset), key, value) for offset, key, value in found]


def fill(server, count=3000, segment_bytes=20_000, codec="none", **config):
    """Records with keys and times, in batches that make many segments."""
    librdkafka.create(server, "t", segment_bytes=str(segment_bytes), **config)
    assert librdkafka.produce(
        server, "t",
        [f"value {n}".encode() for n in range(count)],
        keys=[f"k{n % 500}".encode() for n in range(count)],
        timestamps=[START_MS + n for n in range(count)],
        **{"batch.num.messages": 50, "compression.type": codec},
    ) == []  # fmt: skip


def filled(start, **more):
    """A server that has stopped, after a topic has been filled."""
    server = start()
    fill(server, **more)
    assert server.stop() == (0, "")
    return server


@pytest.mark.parametrize("codec", CODECS)
def test_every_record_is_shown(start, dump, codec):
    said = shown(dump, filled(start, codec=codec))
    assert records_in(said) == [(n, f"k{n % 500}", f"value {n}") for n in range(3000)]
    assert set(re.findall(r"compresscodec: (\w+)", said)) == {codec}
    assert set(re.findall(r"isvalid: (\w+)", said)) == {"true"}


def test_indexes_are_sane(start, dump):
    server = filled(start, index_interval_bytes="1000")
    files = sorted((server.data / "t-0").glob("*.log"))
    assert len(files) > 3
    for end, entry_bytes in (("index", 8), ("timeindex", 12)):
        assert all(it.with_suffix(f".{end}").stat().st_size > entry_bytes for it in files[:-1])
        said = dump(server, end, "--index-sanity-check")
        assert said.count("passed sanity check.") == len(files)
    assert len(re.findall(r"offset: \d+ position: \d+", dump(server, "index"))) > len(files)
    times = re.findall(r"timestamp: (\d+) offset: (\d+)", dump(server, "timeindex"))
    assert all(int(time) == START_MS + int(offset) for time, offset in times)
    assert len(times) > len(files)


@pytest.mark.parametrize("job", ["compact", "recompress"])
def test_rewritten_segments_are_whole(start, dump, job):
    config = {
        "compact": {"cleanup_policy": "compact"},
        "recompress": {"compression_sealed": "zstd"},
    }
    server = filled(start, **config[job])
    before = shown(dump, server)
    subprocess.run([COMMAND, job, "run", "--data", server.data], check=True, timeout=DEADLINE_S)
    said = shown(dump, server)
    assert len(said) != len(before)
    if job == "compact":
        last = {key: (offset, key, value) for offset, key, value in records_in(before)}
        kept = records_in(said)
        assert set(last.values()) <= set(kept) < set(records_in(before))
        assert kept == sorted(kept)
    else:
        assert records_in(said) == records_in(before)
        assert "zstd" in re.findall(r"compresscodec: (\w+)", said)
    for end in ("index", "timeindex"):
        dump(server, end, "--index-sanity-check")
        dump(server, end)


def test_what_is_recovered_after_a_kill_is_whole(start, dump):
    server = start()
    fill(server)
    server.stop(signal.SIGKILL)
    assert start().stop() == (0, "")
    assert len(records_in(shown(dump, server))) == 3000


def test_sealed_segments_are_whole_beside_a_running_server(start, dump):
    server = start()
    fill(server)
    sealed = sorted((server.data / "t-0").glob("*.log"))[:-1]
    said = tools.run("kafka-dump-log", "--files", ",".join(map(str, sealed)), "--print-data-log")
    found = [offset for offset, _, _ in records_in(said)]
    assert found == list(range(len(found)))
    assert len(found) > 2000


def test_the_active_segment_is_whole_beside_a_running_server(start, dump):
    server = start()
    fill(server)
    shown(dump, server)
