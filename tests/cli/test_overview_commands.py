import json
import os
import subprocess

import pytest
from clock import NOW_MS

from logstore import open as open_store
from logstore.records.encode import encode as batch_of
from logstore.storage.ran import Ran, encode


@pytest.fixture
def topic(logstore):
    logstore("topic", "create", "flights", "--partitions", 2)
    logstore("produce", "flights", "--key", "a", stdin=b"one\ntwo\n")


def flip_last_byte(path):
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)


# status -------------------------------------------------------------------------------------------


def test_status(logstore, topic, data):
    text = dict(line.split(maxsplit=1) for line in logstore("status").lines)
    assert text["store"] == str(data)
    assert (text["topics"], text["partitions"], text["offsets"]) == ("1", "2", "2")
    assert text["writer"] == "no one"
    found = json.loads(logstore("status", "--json").out)
    assert (found["offsets"], found["writer"], found["damaged"]) == (2, None, [])


def test_status_names_the_writer(logstore, topic, spawn):
    writer = spawn("produce", "flights", "--key", "a")
    follower = spawn("consume", "flights", "--follow")
    writer.write(b"three\n")
    assert [follower.line() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
    owner = json.loads(logstore("status", "--json").out)["writer"]
    assert owner["pid"] == writer.popen.pid
    assert owner["command"] == "logstore produce flights --key a"
    assert f"pid {writer.popen.pid} (logstore produce" in logstore("status").out


def test_status_says_where_readers_wait_for_a_transaction(logstore, topic, data):
    with open_store(data) as store:
        log = store.topic("flights").partitions[1]
        start = log.end
        log.append(
            batch_of(
                [(b"x", None, (), NOW_MS)], producer_id=7, producer_epoch=0, base_sequence=0,
                transactional=True,
            )
        )  # fmt: skip
        log.wait(log.end)
    [line] = [it for it in logstore("status").lines if it.startswith("open transaction")]
    assert f"flights-1 from {start} on" in line
    assert "of producer 7: readers of committed records wait for it" in line
    assert json.loads(logstore("status", "--json").out)["undecided"] == [
        {
            "topic": "flights", "partition": 1, "offset": start, "producer_id": "7",
            "since_ms": NOW_MS, "transactional_id": None,
        }
    ]  # fmt: skip


# verify -------------------------------------------------------------------------------------------


def test_verify_finds_nothing(logstore, topic):
    assert logstore("verify").lines[-1].endswith(": nothing is damaged")
    assert ", 2 records, " in logstore("verify", "flights").out
    assert json.loads(logstore("verify", "--json").out)["findings"] == []


def test_verify_finds_damage(logstore, topic, data):
    [path] = (path for path in data.glob("flights-*/*.log") if path.stat().st_size)
    flip_last_byte(path)
    result = logstore("verify", code=1)
    assert f"DAMAGED  {path}: " in result.out
    assert "damaged at 1 place, the first: " in result.err
    found = json.loads(logstore("verify", "--json", code=1).out)
    assert [(one["path"], one["derived"]) for one in found["findings"]] == [(str(path), False)]


def test_verify_does_not_fail_for_an_index(logstore, topic, data):
    for path in data.glob("flights-*/*.index"):
        path.write_bytes(b"garbage")
    result = logstore("verify")
    assert "(rebuilt as it is used; or use --repair)" in result.out
    assert result.lines[-1].endswith(": nothing is damaged")


def test_verify_an_unknown_topic(logstore, topic):
    assert "'flihgts'" in logstore("verify", "flihgts", code=1).err


# config show --------------------------------------------------------------------------------------


def settings(logstore, *words):
    found = json.loads(logstore("config", "show", "--json", *words).out)
    return {one["name"]: (one["value"], one["source"]) for one in found}


def test_config_says_where_each_value_comes_from(logstore, data, monkeypatch):
    data.mkdir()
    (data / "logstore.toml").write_text("num.partitions = 3\nfiles.open.max = 99\n")
    monkeypatch.setenv("LOGSTORE_FILES_OPEN_MAX", "77")
    found = settings(logstore)
    assert found["num.partitions"] == (3, f"file {data}/logstore.toml")
    assert found["files.open.max"] == (77, "environment LOGSTORE_FILES_OPEN_MAX")
    assert found["recovery.bytes"][1] == "default"
    assert "num.partitions " in logstore("config", "show").out


def test_config_of_a_topic(logstore, topic):
    logstore("topic", "alter", "flights", "--config", "retention.ms=5")
    found = settings(logstore, "--topic", "flights")
    assert found["retention.ms"] == (5, "topic")
    assert found["segment.bytes"] == (1 << 30, "default")
    assert "'flihgts'" in logstore("config", "show", "--topic", "flihgts", code=1).err


def test_a_config_file_elsewhere(logstore, tmp_path, monkeypatch):
    (tmp_path / "other.toml").write_text("num.partitions = 5\n")
    words = ("--config-file", "other.toml", "config", "show", "--json")
    assert '"value": 5' in logstore(*words).out
    monkeypatch.setenv("LOGSTORE_CONFIG", "other.toml")
    assert settings(logstore)["num.partitions"] == (5, "file other.toml")
    assert "nowhere" in logstore("--config-file", "nowhere", "config", "show", code=2).err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num.partition = 3", "no setting 'num.partition' (did you mean num.partitions?)"),
        ("num.partitions = 0", "num.partitions=0: must be a whole number from 1"),
        ("num.partitions = ", "not TOML"),
    ],
)
def test_a_wrong_config_file_stops_every_command(logstore, data, topic, text, message):
    (data / "logstore.toml").write_text(text)
    for words in (("config", "show"), ("status",), ("topic", "list"), ("consume", "flights")):
        assert message in logstore(*words, code=1).err


@pytest.mark.long
def test_an_unknown_variable_is_one_warning_and_no_failure(topic, spawn, monkeypatch):
    monkeypatch.setenv("LOGSTORE_NUM_PARTITION", "3")
    monkeypatch.setenv("LOGSTORE_VERSION", "2.1")
    for words in (
        ("topic", "list"),
        ("retention", "run"),
        ("config", "show"),
    ):
        code, _, err = spawn(*words).end()
        assert code == 0
        [line] = err.splitlines()
        assert "LOGSTORE_NUM_PARTITION (did you mean LOGSTORE_NUM_PARTITIONS?)" in line
        assert "LOGSTORE_VERSION" in line


@pytest.mark.long
def test_commands_work_beside_a_kubernetes_service_called_logstore(spawn, monkeypatch):
    monkeypatch.setenv("LOGSTORE_PORT", "tcp://10.96.0.12:9092")
    monkeypatch.setenv("LOGSTORE_PORT_9092_TCP_ADDR", "10.96.0.12")
    monkeypatch.setenv("LOGSTORE_SERVICE_HOST", "10.96.0.12")
    monkeypatch.setenv("LOGSTORE_KAFKA_PORT", "tcp://10.96.0.13:9092")  # a setting's name
    for words in (("topic", "create", "t"), ("produce", "t"), ("status",), ("topic", "list")):
        code, _, err = spawn(*words).end()
        assert code == 0
        assert "LOGSTORE" not in err


# What is no store, or cannot be written -----------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("topic", "list"),
        ("topic", "describe", "t"),
        ("topic", "alter", "t", "--partitions", "2"),
        ("topic", "delete", "t", "--yes"),
        ("produce", "t"),
        ("consume", "t"),
        ("consume", "t", "--group", "g"),
        ("replay", "t"),
        ("replay", "t", "--into", "u"),
        ("group", "list"),
        ("queue", "list"),
        ("verify",),
        ("status",),
    ],
)
class TestNotAStore:
    def test_nothing_there(self, logstore, data, words):
        sentence = f"{data}: not a store: no such directory; set --data or LOGSTORE_DATA to an"
        assert sentence in logstore(*words, code=1).err
        assert not data.exists()

    def test_other_files(self, logstore, data, words):
        data.mkdir()
        (data / "letter.txt").write_text("dear")
        assert f"{data}: not a store: it holds other files" in logstore(*words, code=1).err
        assert [path.name for path in data.iterdir()] == ["letter.txt"]

    def test_a_file(self, logstore, data, words):
        data.write_text("dear")
        assert f"{data}: not a store" in logstore(*words, code=1).err


def test_a_topic_is_not_created_among_other_files(logstore, data):
    data.mkdir()
    (data / "letter.txt").write_text("dear")
    assert "not a store" in logstore("topic", "create", "t", code=1).err


@pytest.fixture
def read_only(data):
    """A function that makes the data directory one that nobody can write."""
    mounted = []

    def make():
        if os.geteuid():
            for path in (data, *data.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return
        for options in (("--bind", data), ("-o", "remount,bind,ro")):  # root writes everywhere else
            if subprocess.run(["mount", *options, data], capture_output=True).returncode:
                pytest.skip("mounting is not allowed here")
            mounted.append(data)

    yield make
    if mounted:
        subprocess.run(["umount", "-l", data], check=True)
    for path in (data, *data.rglob("*")):
        path.chmod(0o755)


def test_a_directory_that_cannot_be_written(logstore, topic, data, read_only):
    read_only()
    for words in (("produce", "flights"), ("topic", "create", "t"), ("topic", "delete", "flights")):
        options = ("--yes",) if "delete" in words else ()
        result = logstore(*words, *options, stdin=b"x\n", code=1)
        assert len(result.err.splitlines()) == 1
        assert str(data) in result.err
    assert logstore("consume", "flights").lines == ["one", "two"]
    assert "a group needs a writable directory" in (
        logstore("consume", "flights", "--group", "g", code=1).err
    )
    assert logstore("verify").lines[-1].endswith("nothing is damaged")
    assert len(logstore("status").lines) == 10


class TestUpkeep:
    RAN = Ran(
        1_700_000_000_000, 1_700_000_060_000, segments_dropped=3, bytes_dropped=3000,
        logs_compacted=1, records_removed=2000, failures=("t-0: compact: damaged",), failed=3,
    )  # fmt: skip

    def note(self, data, ran):
        with open_store(data) as store:
            store.internals().directory.writable().note_upkeep(encode(ran))

    def test_what_it_did_and_what_it_failed_at_is_shown(self, logstore, data):
        self.note(data, self.RAN)
        lines = logstore("status").lines
        assert [line.split(None, 1)[1] for line in lines if line.startswith("upkeep  ")] == [
            "2023-11-14T22:14:20.000Z: dropped 3 segments, compacted 1 log, removed 2,000 records"
        ]
        failed = [line for line in lines if line.startswith("upkeep failed")]
        assert [line.split("failed")[1].strip() for line in failed] == [
            "t-0: compact: damaged", "2 more logs",
        ]  # fmt: skip
        shown = json.loads(logstore("status", "--json").out)["upkeep"]
        assert shown["logs_compacted"] == 1
        assert shown["failures"] == ["t-0: compact: damaged"]

    def test_nothing_to_do(self, logstore, data):
        self.note(data, Ran(1_700_000_000_000, 1_700_000_060_000))
        assert "2023-11-14T22:14:20.000Z: nothing to do" in logstore("status").out

    def test_it_has_not_run_by_itself(self, logstore, data):
        logstore("topic", "create", "t")
        assert "upkeep" not in logstore("status").out
        assert json.loads(logstore("status", "--json").out)["upkeep"] is None
