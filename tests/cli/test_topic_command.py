import json
import os
import pty
import re
import subprocess

import confluent_kafka
import pytest
from cli_process import COMMAND
from mostly_long import mostly_long


@pytest.fixture
def flights(logstore):
    logstore("topic", "create", "flights", "--partitions", 3)


def test_create_makes_the_store(logstore, data):
    result = logstore("topic", "create", "flights", "--partitions", 3)
    assert result.out == "created topic flights with 3 partitions\n"
    assert data.is_dir()


def test_create_takes_settings(logstore):
    settings = ("--config", "compression.type=zstd", "--config", "retention.ms=-1")
    logstore("topic", "create", "flights", *settings)
    found = json.loads(logstore("topic", "describe", "flights", "--json").out)
    assert found["settings"]["compression.type"] == {"value": "zstd", "source": "topic"}
    assert found["settings"]["retention.ms"] == {"value": -1, "source": "topic"}
    assert found["settings"]["segment.bytes"]["source"] == "default"


def test_partitions_come_from_the_environment(logstore, monkeypatch):
    monkeypatch.setenv("LOGSTORE_NUM_PARTITIONS", "4")
    assert "4 partitions" in logstore("topic", "create", "flights").out


@pytest.mark.usefixtures("flights")
def test_create_what_is_there(logstore):
    assert "'flights'" in logstore("topic", "create", "flights", code=1).err


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "x" * 250, "é"])
def test_names_that_are_not_allowed(logstore, name):
    assert "is not allowed: use 1 to 249 of" in logstore("topic", "create", name, code=1).err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "compression.typ=zstd",
            "no topic setting 'compression.typ' (did you mean compression.type?)",
        ),
        ("compression.type=zip", "compression.type=zip: must be one of producer, uncompressed,"),
        ("segment.bytes=1", "segment.bytes=1: must be a whole number from 14 to 2147483647 bytes"),
        ("retention.ms=week", "retention.ms=week: must be a whole number"),
    ],
)
def test_settings_that_are_unknown_or_wrong(logstore, data, setting, message):
    assert message in logstore("topic", "create", "flights", "--config", setting, code=1).err
    assert not data.exists()


@pytest.mark.parametrize(
    "words", [("--config", "novalue"), ("--partitions", "0"), ("--config", "=1")]
)
def test_options_that_make_no_sense(logstore, data, words):
    logstore("topic", "create", "flights", *words, code=2)
    assert not data.exists()


def test_list(logstore, flights):
    logstore("topic", "create", "a")
    logstore("produce", "flights", "--key", "k", stdin=b"one\ntwo\n")
    heads, first, second = logstore("topic", "list").lines
    assert heads.split() == ["TOPIC", "PARTITIONS", "OFFSETS", "SIZE"]
    assert first.split()[:3] == ["a", "1", "0"]
    assert second.split()[:3] == ["flights", "3", "2"]
    found = json.loads(logstore("topic", "list", "--json").out)
    assert [(t["topic"], t["partitions"], t["offsets"]) for t in found] == [
        ("a", 1, 0),
        ("flights", 3, 2),
    ]
    assert found[0]["bytes"] == 0 < found[1]["bytes"]


def test_describe(logstore, flights):
    logstore("produce", "flights", "--partition", 1, stdin=b"one\ntwo\n")
    text = logstore("topic", "describe", "flights").out
    assert text.startswith("topic    flights\nid       ")
    assert re.search(r"^retention\.ms +604800000 +default$", text, re.MULTILINE)
    found = json.loads(logstore("topic", "describe", "flights", "--json").out)
    [_, partition, _] = found["partitions"]
    assert partition.pop("bytes") > 0
    assert partition == {
        "partition": 1, "start": 0, "high_watermark": 2, "end": 2, "segments": 1,
    }  # fmt: skip


def test_alter(logstore, flights):
    words = ("topic", "alter", "flights", "--config")
    logstore(*words, "retention.ms=1000", "--config", "segment.bytes=1000")
    logstore(*words, "retention.ms=2s", "--delete-config", "segment.bytes", "--partitions", 5)
    found = json.loads(logstore("topic", "describe", "flights", "--json").out)
    assert found["settings"]["retention.ms"] == {"value": 2000, "source": "topic"}
    assert found["settings"]["segment.bytes"]["source"] == "default"
    assert len(found["partitions"]) == 5


@pytest.mark.usefixtures("flights")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "nothing to change"),
        (("--partitions", "2"), 1, "their number can only grow"),
        (("--config", "retention.ms=7 days"), 1, "such as 90s, 1h or 7d"),
        (("--config", "retention=1"), 1, "no topic setting 'retention'"),
        (("--delete-config", "retention.m"), 1, "did you mean retention.ms?"),
    ],
)
def test_alter_what_cannot_be(logstore, words, code, message):
    before = logstore("topic", "describe", "flights").out
    assert message in logstore("topic", "alter", "flights", *words, code=code).err
    assert logstore("topic", "describe", "flights").out == before


@pytest.mark.usefixtures("flights")
@pytest.mark.parametrize("command", ["describe", "alter", "delete"])
def test_a_topic_that_does_not_exist(logstore, command):
    words = {"alter": ("--partitions", "9"), "delete": ("--yes",)}.get(command, ())
    assert "'flihgts'" in logstore("topic", command, "flihgts", *words, code=1).err


def test_delete(logstore, flights, data):
    logstore("produce", "flights", stdin=b"one\n")
    assert (
        "deleted topic flights and its records (1 offset)\n"
        in logstore("topic", "delete", "flights", "--yes").out
    )
    assert logstore("topic", "list").lines[1:] == []
    logstore("topic", "create", "flights")
    assert logstore("consume", "flights").out == ""


def test_delete_does_not_guess_what_nobody_could_answer(logstore, flights):
    result = logstore("topic", "delete", "flights", code=2)
    assert "use --yes to delete topic flights and its records (0 offsets)" in result.err
    assert len(logstore("topic", "list").lines) == 2


def test_delete_with_standard_input_closed(logstore, flights):
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} topic delete flights <&-"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"use --yes to delete topic flights" in done.stderr
    assert b"Traceback" not in done.stderr
    assert len(logstore("topic", "list").lines) == 2


@pytest.mark.parametrize(
    ("answer", "left"), mostly_long([(b"n\n", 1), (b"y\n", 0)], [(b"n\n", 1)], rows=True)
)
def test_delete_asks_on_a_terminal(logstore, flights, spawn, answer, left):
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    code, _, err = spawn("topic", "delete", "flights", stdin=theirs).end()
    os.close(theirs)
    os.close(ours)
    assert "Delete topic flights and its records (0 offsets)?" in err
    assert code == left
    assert len(logstore("topic", "list").lines[1:]) == left


def test_a_compacted_topic_is_not_said_to_have_the_records_that_are_gone(logstore):
    rules = ("cleanup.policy=compact", "segment.bytes=500", "min.cleanable.dirty.ratio=0")
    logstore("topic", "create", "t", *(word for rule in rules for word in ("--config", rule)))
    lines = b"".join(b'{"k": "%d"}\n' % (n % 4) for n in range(60))
    logstore("produce", "t", "--key-field", "k", "--batch-bytes", 1, stdin=lines)
    logstore("compact", "run")
    assert len(logstore("consume", "t").lines) < 60
    head, row = logstore("topic", "list").lines
    assert head.split() == ["TOPIC", "PARTITIONS", "OFFSETS", "SIZE"]
    assert row.split()[:3] == ["t", "1", "60"]
    assert json.loads(logstore("topic", "list", "--json").out)[0]["offsets"] == 60
    assert "(60 offsets)" in logstore("topic", "delete", "t", "--yes").out


@pytest.mark.long
def test_sizes_are_of_data_while_zeros_are_written_ahead(logstore, data, start_serving):
    server = start_serving(data)
    logstore("topic", "create", "t")
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address})
    for n in range(100):  # one by one: a run of small synced appends writes zeros ahead
        producer.produce("t", b"%d" % n)
        producer.flush()
    del producer  # it would look for the server when that is gone
    [path] = (data / "t-0").glob("*.log")
    assert path.stat().st_size > 500_000
    for words in (("topic", "list"), ("topic", "describe", "t")):
        found = json.loads(logstore(*words, "--json").out)
        sizes = found if isinstance(found, list) else found["partitions"]
        assert 100 < sizes[0]["bytes"] < 20_000
        through_server = json.loads(logstore(*words, "--json", "--bootstrap", server.address).out)
        sizes = through_server if isinstance(found, list) else through_server["partitions"]
        assert sizes[0]["bytes"] is None or 100 < sizes[0]["bytes"] < 20_000
    assert json.loads(logstore("status", "--json").out)["bytes"] < 20_000
