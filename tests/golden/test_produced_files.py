"""Every batch of our files, read by aiokafka's and kafka-python's own readers.

The shipped sample segments, and what a real ``logstore produce`` writes in every codec.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from aiokafka.record.memory_records import MemoryRecords as AiokafkaRecords

import logstore

pytestmark = pytest.mark.long

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importlib.resources.read_text
    from kafka.record.memory_records import MemoryRecords as KafkaPythonRecords

COMMAND = Path(sys.executable).with_name("logstore")
SAMPLES = Path(__file__).parents[2] / "segments"
READERS = {"aiokafka": AiokafkaRecords, "kafka-python": KafkaPythonRecords}
CODECS = ("uncompressed", "gzip", "snappy", "lz4", "zstd")
PARTITIONS = 3


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]


def read_by(reader, directory, partition):
    """(offset, timestamp, key, value, headers) of all records in a partition's files."""
    found = []
    for path in sorted((directory / f"flights-{partition}").glob("*.log")):
        data = path.read_bytes()
        if not data:
            continue
        records = reader(data)
        assert records.size_in_bytes() == len(data)
        while records.has_next():
            batch = records.next_batch()
            assert batch.validate_crc()
            found += [
                (it.offset, it.timestamp, it.key, it.value, tuple(it.headers)) for it in batch
            ]
    return found


def read_by_logstore(directory, partition):
    with (
        logstore.open(directory, "read") as store,
        store.consumer("flights", partitions=[partition]) as consumer,
    ):
        return [(it.offset, it.timestamp_ms, it.key, it.value, it.headers) for it in consumer]


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_the_shipped_segments(reader, partition):
    ours = read_by_logstore(SAMPLES, partition)
    assert len(ours) > 8000
    assert read_by(reader, SAMPLES, partition) == ours


@pytest.fixture(scope="module", params=CODECS)
def produced(request, tmp_path_factory):
    """A store written by the command: the lines, and where it is."""
    directory = tmp_path_factory.mktemp(request.param)
    lines = [
        json.dumps(
            {"tailnum": f"N{n % 97}" if n % 11 else None, "at": 1_357_000_000_000 + n, "n": n}
        )
        for n in range(3000)
    ]

    def run(*words, **given):
        subprocess.run([COMMAND, *words, "--data", directory], check=True, **given)

    settings = ("--config", f"compression.type={request.param}", "--config", "segment.bytes=5000")
    run("topic", "create", "flights", "--partitions", str(PARTITIONS), *settings)
    fields = ("--key-field", "tailnum", "--timestamp-field", "at", "--header-field", "n")
    plain = ("--header", "source=test", "--batch-bytes", "9000")
    given = {"input": "\n".join(lines), "text": True, "stderr": subprocess.DEVNULL}
    run("produce", "flights", *fields, *plain, **given)
    return directory, lines


def test_what_produce_writes(reader, produced):
    directory, lines = produced
    assert len(list(directory.glob("flights-*/*.log"))) > PARTITIONS
    found = []
    for partition in range(PARTITIONS):
        theirs = read_by(reader, directory, partition)
        assert [offset for offset, *_ in theirs] == list(range(len(theirs)))
        assert theirs == read_by_logstore(directory, partition)
        found += theirs
    by_number = sorted(found, key=lambda it: it[1])
    assert [it[3].decode() for it in by_number] == lines
    for n, (_, timestamp, key, _, headers) in enumerate(by_number):
        assert timestamp == 1_357_000_000_000 + n
        assert key == (b"N%d" % (n % 97) if n % 11 else None)
        assert dict(headers) == {"source": b"test", "n": b"%d" % n}
