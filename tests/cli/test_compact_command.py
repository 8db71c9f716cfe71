import json
import re

import pytest
from mostly_long import mostly_long

SETTINGS = (
    "--config", "cleanup.policy=compact", "--config", "segment.bytes=500",
    "--config", "min.cleanable.dirty.ratio=0",
)  # fmt: skip


@pytest.fixture
def topic(logstore):
    logstore("topic", "create", "t", *SETTINGS)
    lines = "".join(f'{{"k": "k{n % 4}", "n": {n}}}\n' for n in range(60))
    logstore("produce", "t", "--key-field", "k", "--batch-bytes", 1, stdin=lines.encode())


def numbers(logstore):
    return [json.loads(line)["n"] for line in logstore("consume", "t").lines]


def test_nothing_to_do(logstore):
    logstore("topic", "create", "t")
    said = logstore("compact", "run").lines
    assert said == ["nothing to do: no topic's cleanup.policy is compact"]


@pytest.mark.long
def test_a_dry_run_and_a_run(logstore, topic):
    dry = logstore("compact", "run", "--dry-run").lines
    assert len(dry) == 1
    removed, change = re.match(r"t-0: would remove (\d+) records, (.*?);", dry[0]).groups()
    assert len(numbers(logstore)) == 60
    said = logstore("compact", "run", "--topic", "t").lines[0]
    assert said.startswith(f"t-0: {removed} records removed, {change}, ")
    left = numbers(logstore)
    assert left == sorted(left)
    assert len(left) < 20
    assert set(left) >= {56, 57, 58, 59}
    assert logstore("verify").lines[-1].endswith("nothing is damaged")
    assert logstore("compact", "run").lines[0].endswith("; everything else is compacted")
    logstore("compact", "run", "--seal")
    assert logstore("compact", "run").lines == ["t-0: left as it is: everything is compacted"]


class TestTheActiveSegment:
    """Where the newest records are, which are not compacted."""

    @pytest.fixture(autouse=True)
    def three_of_each_key(self, logstore):
        logstore("topic", "create", "t", "--config", "cleanup.policy=compact")
        self.put(logstore, 18)

    def put(self, logstore, count):
        lines = "".join(f'{{"k": "k{n % 6}", "n": {n}}}\n' for n in range(count))
        logstore("produce", "t", "--key-field", "k", stdin=lines.encode())

    @pytest.mark.parametrize("words", [(), ("--dry-run",), ("--topic", "t")])
    def test_what_is_in_it_is_not_said_to_be_compacted(self, logstore, words):
        why = "18 records are in the active segment, which is compacted once it is sealed"
        said = logstore("compact", "run", *words).lines
        assert said == [f"t-0: left as it is: {why}; everything else is compacted"]
        [found] = json.loads(logstore("compact", "run", "--json", *words).out)
        assert found["left_out"] == [why]
        assert len(numbers(logstore)) == 18

    @pytest.mark.parametrize("served", mostly_long([False, True], [True]))
    def test_it_is_sealed_and_compacted_where_that_is_asked_for(
        self, logstore, data, served, start_serving
    ):
        if served:
            start_serving(data, upkeep_interval_ms=-1)
        dry = logstore("compact", "run", "--seal", "--dry-run").lines
        [change] = re.findall(r"t-0: would remove 12 records, (\S+ B -> \S+ B)$", *dry)
        said = logstore("compact", "run", "--seal").out
        assert said == f"t-0: 12 records removed, {change}\n"
        assert numbers(logstore) == [12, 13, 14, 15, 16, 17]
        again = logstore("compact", "run", "--seal").lines
        assert again == ["t-0: left as it is: everything is compacted"]

    def test_sealed_and_compacted_however_little_it_is(self, logstore):
        logstore("compact", "run", "--seal")
        self.put(logstore, 1)
        said = logstore("compact", "run").lines
        assert "1 record is in the active segment" in said[0]
        assert "1 record removed" in logstore("compact", "run", "--seal").lines[0]
        assert numbers(logstore) == [13, 14, 15, 16, 17, 0]

    def test_what_is_too_young_stays_and_is_told(self, logstore):
        logstore("topic", "alter", "t", "--config", "min.compaction.lag.ms=86400000")
        young = "offsets 0 to 17 are left for min.compaction.lag.ms=86400000"
        for words in (("--seal",), ()):
            said = logstore("compact", "run", *words).lines
            assert said == [f"t-0: left as it is: {young}; everything else is compacted"]
        assert len(numbers(logstore)) == 18

    def test_recompression_says_so_too(self, logstore):
        logstore("topic", "alter", "t", "--config", "compression.sealed=zstd")
        why = "18 records are in the active segment, which is recompressed once it is sealed"
        said = logstore("recompress", "run").lines
        assert said == [f"t-0: left as it is: {why}; everything sealed is recompressed"]
        dry = logstore("recompress", "run", "--seal", "--dry-run").lines
        [change] = re.findall(r"t-0: would be rewritten, (\S+ B -> \S+ B)$", *dry)
        assert logstore("recompress", "run", "--seal").lines == [f"t-0: {change}"]
        assert len(numbers(logstore)) == 18

    def test_retention_takes_no_such_option(self, logstore):
        assert "no such option: --seal" in logstore("retention", "run", "--seal", code=2).err


def test_until_when_a_tombstone_stays_is_told(logstore):
    logstore("topic", "create", "t", "--config", "cleanup.policy=compact")
    logstore("produce", "t", "--key", "a", stdin=b"1\n")
    logstore("produce", "t", "--key", "a", "--tombstone")
    said = logstore("compact", "run", "--seal").lines[0]
    assert said.startswith("t-0: 1 record removed, ")
    [until] = re.findall(r"; tombstones stay until (\S+) \(delete\.retention\.ms\)$", said)
    assert until in logstore("compact", "run").lines[0]
    [found] = json.loads(logstore("compact", "run", "--json").out)
    assert found["tombstones_until"] == until


def test_as_json(logstore, topic):
    [dry] = json.loads(logstore("compact", "run", "--dry-run", "--json").out)
    assert dry["tried"] == "all"
    [found] = json.loads(logstore("compact", "run", "--json").out)
    assert found["tried"] is None
    for name in ("records_removed", "bytes_before", "bytes_after"):
        assert dry[name] == found[name]
    assert found["due"]
    assert found["records_removed"] > 40
    assert found["bytes_after"] < found["bytes_before"]


def test_a_damaged_log_is_told_and_what_is_damaged_stays(logstore, topic, data):
    path = min((data / "t-0").glob("*.log"))
    damaged = bytearray(path.read_bytes())
    damaged[70] ^= 1
    path.write_bytes(damaged)
    assert "CRC" in logstore("compact", "run", code=1).err
    assert path.read_bytes() == bytes(damaged)


def test_an_unknown_topic(logstore, topic):
    assert "no topic 'nope'" in logstore("compact", "run", "--topic", "nope", code=1).err
