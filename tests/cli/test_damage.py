"""What the command says of files that are not as they were written, and what it leaves of them."""

import json
import os
import shutil
import subprocess
import sys

import lmdb
import pytest
from crafted import DAMAGED, bomb, put, three

import logstore as library
from logstore.storage.catalog import SCHEMA

pytestmark = pytest.mark.long

COUNT = 300
VALUES = [f"value {n}" for n in range(COUNT)]


@pytest.fixture
def log(logstore, data):
    """A log of three segments, closed."""
    settings = ("--config", "segment.bytes=2500", "--config", "index.interval.bytes=500")
    logstore("topic", "create", "t", *settings)
    logstore("produce", "t", "--batch-bytes", 600, stdin="".join(f"{v}\n" for v in VALUES).encode())
    paths = sorted((data / "t-0").glob("*.log"))
    assert len(paths) >= 3
    assert logstore("consume", "t").lines == VALUES
    return paths


def flip(path, at):
    damaged = bytearray(path.read_bytes())
    damaged[at] ^= 1
    path.write_bytes(damaged)


def contents(data):
    return {path: path.read_bytes() for path in sorted((data / "t-0").iterdir())}


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-10])


def cut_in_a_header(path):
    path.write_bytes(path.read_bytes()[:30])


def foreign(path):
    path.write_bytes(b"%PDF-1.7\n" * (path.stat().st_size // 9))


def flip_a_value(path):
    flip(path, -1)


def flip_a_length(path):
    flip(path, 9)


@pytest.mark.parametrize(
    "damage", [cut_short, cut_in_a_header, foreign, flip_a_value, flip_a_length]
)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_damaged_log_is_named_and_nothing_of_it_goes(logstore, data, log, damage, place):
    damage(log[place])
    before = contents(data)
    result = logstore("consume", "t", "--group", "g", code=1)
    assert result.lines == VALUES[: len(result.lines)]
    assert "t-0" in result.err
    assert len(result.err.splitlines()) == 1
    verified = logstore("verify", code=1)
    assert f"DAMAGED  {log[place]}: " in verified.out
    assert logstore("consume", "t", "--group", "g", code=1).lines == []  # what was printed counts
    assert {path: before[path] for path in log} == {path: path.read_bytes() for path in log}


def test_what_comes_after_a_damaged_segment_can_be_read(logstore, log):
    flip_a_value(log[0])
    second = int(log[1].stem)
    assert logstore("consume", "t", "--from", second).lines == VALUES[second:]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_log_that_is_missing_is_named(logstore, log, place):
    log[place].unlink()
    result = logstore("consume", "t", code=1)
    assert result.lines == VALUES[: int(log[place].stem)]
    assert "t-0" in result.err
    assert "missing" in logstore("verify", code=1).out


def missing(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def short(path):
    path.write_bytes(path.read_bytes()[:11])


def garbage(path):
    path.write_bytes(bytes(range(256)) * 3)


def lying(path):
    data = path.read_bytes()
    size = 8 if path.suffix == ".index" else 12
    entries = [data[at : at + size] for at in range(0, len(data), size)]
    path.write_bytes(b"".join(entry[:-1] + bytes([entry[-1] ^ 1]) for entry in entries))


def anothers(path):
    other = max(path.parent.glob(f"*{path.suffix}"))
    shutil.copy(other, path) if other != path else path.write_bytes(b"")


@pytest.mark.parametrize("ending", [".index", ".timeindex"])
@pytest.mark.parametrize("damage", [missing, empty, short, garbage, lying, anothers])
def test_an_index_that_is_wrong_changes_no_answer(logstore, log, ending, damage):
    for path in log:
        damage(path.with_suffix(ending))
    assert logstore("consume", "t").lines == VALUES
    for at in (1, 99, 150, COUNT - 1):
        assert logstore("consume", "t", "--from", at).lines == VALUES[at:]
    assert logstore("consume", "t", "--from", "2001-01-01").lines == VALUES
    assert logstore("produce", "t", stdin=b"more\n").code == 0
    assert logstore("consume", "t").lines == [*VALUES, "more"]
    logstore("verify")  # an index is no damage


def test_a_store_of_a_newer_schema_is_not_touched(logstore, data, log):
    environment = lmdb.open(str(data / "catalog.mdb"), subdir=False, max_dbs=8)
    with environment.begin(write=True) as transaction:
        transaction.put(b"schema", b"99", db=environment.open_db(b"meta", transaction))
    environment.close()
    before = contents(data)
    for words in (("consume", "t"), ("produce", "t"), ("topic", "create", "u"), ("verify",)):
        result = logstore(*words, stdin=b"x\n", code=1)
        assert f"schema version 99, this logstore knows up to {SCHEMA}: use the newer" in result.err
    assert contents(data) == before


class TestStatus:
    def test_of_both_ends(self, logstore, log):
        flip_a_value(log[-1])
        assert "CRC" in logstore("status").lines[-1]
        flip_a_value(log[-1])
        flip(log[0], 70)
        [said] = json.loads(logstore("status", "--json").out)["damaged"]
        assert said.startswith("t-0: ")
        flip(log[0], 70)
        assert json.loads(logstore("status", "--json").out)["damaged"] == []

    def test_of_a_missing_directory(self, logstore, data, log):
        logstore("topic", "create", "u")
        shutil.rmtree(data / "t-0")
        assert "t-0: the catalogue knows this partition" in logstore("status").lines[-1]
        listed = logstore("topic", "list", code=1)
        assert [line.split()[0] for line in listed.lines] == ["TOPIC", "t", "u"]
        assert "t-0: the catalogue knows this partition" in listed.err
        said = logstore("topic", "delete", "t", "--yes").out
        assert said == "deleted topic t, which is damaged\n"
        assert [line.split()[0] for line in logstore("topic", "list").lines] == ["TOPIC", "u"]


def test_repair_makes_indexes_anew(logstore, log):
    for path in log:
        garbage(path.with_suffix(".index"))
        missing(path.with_suffix(".timeindex"))
    before = logstore("verify").lines
    assert before[0].startswith("index  ")
    assert before[0].endswith("(rebuilt as it is used; or use --repair)")
    repaired = logstore("verify", "--repair").lines
    assert [line.endswith("(made anew)") for line in repaired[:-1]] == [True] * (len(repaired) - 1)
    assert len(logstore("verify").lines) == 1
    assert logstore("consume", "t").lines == VALUES


class TestSalvage:
    def test_what_is_intact_can_be_read_and_produced_again(self, logstore, data, log, tmp_path):
        flip(log[0], 200)
        result = logstore("salvage", log[0], "--into", "rescued/t-0")
        assert result.lines[0].startswith("copied ")
        assert result.lines[1].startswith("lost offset")
        rescued = logstore("consume", "t", "--data", "rescued").lines
        assert 0 < len(rescued) < int(log[1].stem)
        assert set(rescued) < set(VALUES)
        assert logstore("verify", "--data", "rescued").lines[-1].endswith("nothing is damaged")
        found = json.loads(logstore("salvage", log[0], "--into", "again/t-0", "--json").out)
        lost = sum(it["last"] - it["first"] + 1 for it in found["lost"])
        assert found["records"] + lost == int(log[1].stem)
        assert found["records"] == len(rescued)
        again = ("replay", "t", "--data", "rescued", "--into", "t2", "--into-data", data)
        logstore(*again)
        assert sorted(logstore("consume", "t2").lines) == sorted(rescued)

    def test_the_file_is_left_alone_and_nothing_is_overwritten(self, logstore, log):
        flip_a_value(log[0])
        before = log[0].read_bytes()
        umask = os.umask(0)
        try:
            logstore("salvage", log[0], "--into", "rescued/t-0")
        finally:
            os.umask(umask)
        assert [os.stat(it).st_mode & 0o777 for it in ("rescued", "rescued/t-0")] == [0o700] * 2
        assert log[0].read_bytes() == before
        result = logstore("salvage", log[0], "--into", "rescued/t-0", code=1)
        assert "already exists: choose another directory" in result.err

    def test_nothing_to_salvage(self, logstore, log, tmp_path):
        foreign(log[0])
        result = logstore("salvage", log[0], "--into", "rescued/t-0", code=1)
        assert "contains no intact batch; nothing was written" in result.err
        assert not (tmp_path / "rescued").exists()
        assert "'SEGMENT'" in logstore("salvage", "x.log", "--into", "r", code=2).err
        missing = logstore("salvage", f"{0:020d}.log", "--into", "r", code=1)
        assert "No such file" in missing.err


# Batches with a right checksum whose records can't be read


@pytest.fixture(params=DAMAGED.values(), ids=DAMAGED)
def crafted(data, request):
    """Topic u: partition 1 has a damaged batch between good ones, at offset 1."""
    with library.open(data) as store:
        topic = store.create_topic("u", 2)
        put(topic.partition(0), three(b"a"), three(b"b"))
        put(topic.partition(1), three(b"c"), request.param(), three(b"d"))
    return data / "u-1" / f"{0:020d}.log"


def test_what_can_be_read_is_printed_and_the_damage_named(logstore, crafted):
    result = logstore("consume", "u", code=1)
    assert sorted(result.lines) == ["a", "b", "c"]
    assert "u-1: batch at offset 1: " in result.err
    assert str(crafted) in result.err
    assert len(result.err.splitlines()) == 1


def test_a_damaged_batch_is_skipped_where_that_is_asked_for(logstore, crafted):
    for command in (("consume", "u"), ("consume", "u", "--group", "g"), ("replay", "u"),
                    ("consume", "u", "--from", "@1600000000000")):  # fmt: skip
        result = logstore(*command, "--on-damage", "skip")
        assert sorted(result.lines) == ["a", "b", "c", "d"]
        [line] = result.err.splitlines()
        assert line.startswith("logstore: skipped: u-1: batch at offset 1: ")
        assert str(crafted) in line


def test_a_replay_goes_on_with_the_other_partitions(logstore, crafted):
    result = logstore("replay", "u", code=1)
    assert sorted(result.lines) == ["a", "b", "c"]
    assert "u-1: batch at offset 1: " in result.err


def test_another_word_for_what_to_do_of_damage_is_a_usage_error(logstore, crafted):
    assert "neither stop nor skip" in logstore("consume", "u", "--on-damage", "no", code=2).err


# Batches that hold far more than they take


@pytest.fixture
def bombs(data):
    with library.open(data) as store:
        put(store.create_topic("bombs", 1).partition(0), *[bomb(100)] * 6)
        put(store.create_topic("one", 1).partition(0), bomb(1, 100 << 20))


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ("consume", "bombs", "--max", "1"),
        ("consume", "bombs", "--format", "json"),
        ("consume", "bombs", "--format", "hex"),
        ("replay", "bombs", "--format", "{offset} {value}"),
    ],
)
def test_bombs_are_printed_in_little_memory(bombs, words):
    """Six batches of 3 KB that hold 100 MiB each: ``consume --max 1`` took 1.8 GB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stderr) < 200 * 1024


@pytest.mark.parametrize("format_", ["raw", "json", "hex", "{key} {value}"])
def test_one_large_record_is_in_memory_twice_at_most(bombs, format_):
    """As it was decompressed, and as the value of a record: not as a line, escaped or in digits."""
    words = ("consume", "one", "--max", "1", "--format", format_)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stderr) < 300 * 1024


# VmHWM is of this program alone; what getrusage tells may be of the one that began it.
PEAK = """
import re, sys
from logstore_cli.main import main
sys.argv[0] = "logstore"
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1], file=sys.stderr, flush=True)
"""


# Mirrors


def mirrored(logstore, crafted, *words, code):
    copy = crafted.parents[1].with_name("copy")
    result = logstore("mirror", "--from", crafted.parents[1], "--to", copy, *words, code=code)
    with library.open(copy, "read") as store:
        found = {}
        for name in store.topics():
            with store.consumer(name) as consumer:
                found[name] = sorted(it.value for it in consumer)
    return result, found


def test_a_mirror_of_all_topics_goes_on_with_the_others(logstore, data, crafted):
    with library.open(data) as store:
        put(store.create_topic("v", 1).partition(0), three(b"v"))
    for _ in range(2):
        result, found = mirrored(logstore, crafted, code=1)
        assert found == {"u": [b"a", b"b", b"c"], "v": [b"v"]}
        said, ended = result.err.splitlines()
        assert "u-1: batch at offset 1: " in ended
        assert str(crafted) in ended
        assert "copying of this partition has stopped" in said


def test_a_mirror_passes_over_a_damaged_batch_where_that_is_asked_for(logstore, crafted):
    result, found = mirrored(logstore, crafted, "--on-damage", "skip", code=0)
    assert found == {"u": [b"a", b"b", b"c", b"d"]}
    [line] = result.err.splitlines()
    assert line.startswith("logstore: skipped: u-1: batch at offset 1: ")
    assert mirrored(logstore, crafted, code=0)[1] == found  # it goes on behind it
