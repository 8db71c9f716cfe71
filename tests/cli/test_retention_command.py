import json
import os

import pytest


@pytest.fixture
def topic(logstore, data):
    """Ten segments, each written an hour before the next."""
    settings = ("--config", "segment.bytes=500", "--config", "retention.ms=-1")
    logstore("topic", "create", "t", *settings)
    lines = "".join(f"{n:090d}\n" for n in range(40)).encode()
    logstore("produce", "t", "--batch-bytes", 1, stdin=lines)
    paths = sorted((data / "t-0").glob("*.log"))
    for age, path in enumerate(reversed(paths)):
        written = path.stat().st_mtime - 3600 * age
        os.utime(path, (written, written))
    return paths


def test_nothing_goes_without_a_setting_that_says_so(logstore, topic):
    assert logstore("retention", "run").lines[0].startswith("dropped 0 segments: ")


def test_a_dry_run_says_what_a_run_does_and_why(logstore, data, topic):
    logstore("topic", "alter", "t", "--config", "retention.bytes=1200")
    before = sorted(path.name for path in (data / "t-0").iterdir())
    dry = logstore("retention", "run", "--dry-run").lines
    assert sorted(path.name for path in (data / "t-0").iterdir()) == before
    run = logstore("retention", "run", "--topic", "t").lines
    assert [line.replace("would drop", "dropped") for line in dry] == run
    assert run[0].startswith(f"dropped t-0/{topic[0].name} (offsets 0 to ")
    assert "over retention.bytes=1200" in run[0]
    assert not topic[0].exists()
    assert len(logstore("consume", "t").lines) < 40
    logstore("verify")


def test_as_json(logstore, topic):
    logstore("topic", "alter", "t", "--config", "retention.bytes=0")
    [found] = json.loads(logstore("retention", "run", "--json").out)
    assert (found["topic"], found["partition"], found["error"]) == ("t", 0, None)
    assert [it["drop"] for it in found["segments"]] == [True] * (len(topic) - 1) + [False]
    assert found["bytes_after"] == found["segments"][-1]["bytes"] < found["bytes_before"]


def test_a_damaged_log_is_told_and_kept(logstore, topic):
    logstore("topic", "alter", "t", "--config", "retention.bytes=0")
    topic[0].write_bytes(b"%PDF")
    topic[0].with_suffix(".timeindex").unlink()
    result = logstore("retention", "run", code=1)
    assert "t-0" in result.err
    assert all(path.exists() for path in topic)


def test_an_unknown_topic(logstore, topic):
    assert "no topic 'nope'" in logstore("retention", "run", "--topic", "nope", code=1).err


def test_trim(logstore, topic):
    dry = logstore("topic", "trim", "t", "--before", 11, "--dry-run").lines
    assert dry[0].split("  ")[0] == "PARTITION"
    assert dry[1].split() == ["0", "0", "11", "11"]
    assert dry[2] == "dry run: nothing was deleted"
    assert len(logstore("consume", "t").lines) == 40
    assert logstore("topic", "trim", "t", "--before", 11).lines == dry[:2]
    assert logstore("consume", "t").lines == [f"{n:090d}" for n in range(11, 40)]
    result = logstore("topic", "trim", "t", "--before", 5, code=1)
    assert "offset 5 is below the start, 11: those records are gone" in result.err
    assert "is above the end" in logstore("topic", "trim", "t", "--before", 41, code=1).err
    assert "'--before'" in logstore("topic", "trim", "t", "--before", "x", code=2).err
