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


class TestWhatGroupsKeep:
    """retention.groups: what is over the limits, and stays because a group has not read it."""

    @pytest.fixture(autouse=True)
    def over_the_limit(self, logstore, topic):
        settings = ("--config", "retention.bytes=0", "--config", "retention.groups=audit,billing")
        logstore("topic", "alter", "t", *settings)
        self.held = len(topic) - 1  # not the active one

    def read(self, logstore, group, *words):
        logstore("consume", "t", "--group", group, *words)

    def test_a_group_that_has_never_committed_is_warned_about(self, logstore):
        self.read(logstore, "billing")
        for words, word in ((("--dry-run",), "would keep"), ((), "kept")):
            result = logstore("retention", "run", *words)
            line = result.lines[0]
            assert line.startswith(f"{word} t-0 offsets 0 to ")
            assert line.endswith(
                f" ({self.held} segments, {line.split('segments, ')[1].split(')')[0]}):"
                " group audit has committed no offset in this partition"
            )
            assert f"; {self.held} segments (" in result.lines[1]
            assert result.lines[1].endswith(" kept for groups")
            assert result.err == (
                "logstore: topic t: group 'audit' of retention.groups has no offset in this"
                " topic: records that it has not read are not deleted\n"
            )

    def test_a_mistyped_group_is_answered_with_the_one_that_was_meant(self, logstore):
        self.read(logstore, "audits")
        self.read(logstore, "billing")
        assert "(did you mean audits?)" in logstore("retention", "run", "--dry-run").err

    def test_how_far_the_group_has_read_and_since_when(self, logstore):
        self.read(logstore, "billing")
        self.read(logstore, "audit", "--max", 9)
        [found] = json.loads(logstore("retention", "run", "--json", "--dry-run").out)
        [held] = found["held"]
        goes = [it for it in found["segments"] if it["drop"]]
        assert (held["group"], held["committed"]) == ("audit", 9)
        assert held["base_offset"] == goes[-1]["end_offset"] <= 9
        assert held["segments"] + len(goes) == self.held
        assert found["groups_without_commits"] == []
        result = logstore("retention", "run")
        at = held["commit_time"]
        assert f": group audit committed offset 9 at {at}, and nothing since" in result.out
        assert result.err == ""

    def test_nothing_is_said_of_groups_that_have_read_it(self, logstore):
        self.read(logstore, "billing")
        self.read(logstore, "audit")
        result = logstore("retention", "run")
        assert "kept" not in result.out
        assert f"dropped {self.held} segments" in result.lines[-1]
        assert result.err == ""

    def test_nothing_is_said_where_nothing_expires(self, logstore):
        logstore("topic", "alter", "t", "--config", "cleanup.policy=compact")
        result = logstore("retention", "run", "--dry-run")
        assert ("kept" in result.out, result.err) == (False, "")

    def test_a_server_is_asked(self, logstore, data, start_serving):
        start_serving(data, upkeep_interval_ms=-1)
        result = logstore("retention", "run")
        assert "group audit has committed no offset in this partition" in result.out
        assert "group 'billing' of retention.groups has no offset in this topic" in result.err


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
