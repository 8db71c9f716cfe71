import json

import pytest

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


def test_a_dry_run_and_a_run(logstore, topic):
    dry = logstore("compact", "run", "--dry-run").lines
    assert dry == ["t-0: would be rewritten: 100% of it is not compacted"]
    assert len(numbers(logstore)) == 60
    said = logstore("compact", "run", "--topic", "t").lines[0]
    assert said.startswith("t-0: ")
    assert " records removed in 1 pass, " in said
    left = numbers(logstore)
    assert left == sorted(left)
    assert len(left) < 20
    assert set(left) >= {56, 57, 58, 59}
    assert logstore("verify").lines[-1].endswith("nothing is damaged")
    assert logstore("compact", "run").lines == ["t-0: left as it is: everything is compacted"]


def test_as_json(logstore, topic):
    [found] = json.loads(logstore("compact", "run", "--json").out)
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
