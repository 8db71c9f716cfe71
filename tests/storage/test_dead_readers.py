"""Readers of the catalogue: those that died are cleared beside a writer, others are shown."""

import os
import subprocess
import sys

import lmdb
import pytest

import logstore
from logstore.config import Config
from logstore.errors import LogstoreError
from logstore.storage.environment import _failure

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
HOLDS = """
import sys, lmdb
env = lmdb.open(sys.argv[1], subdir=False, max_readers=1024, max_dbs=16, map_size=16 << 20)
with env.begin() as transaction:
    transaction.get(b"x")
    print("reading", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def reader(tmp_path):
    """A store, and a process that reads its catalogue and does not come to an end."""
    with logstore.open(tmp_path / "data", config=OFF) as store:
        store.create_topic("t")
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path / "data" / "catalog.mdb")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == b"reading\n"
        yield store, process
        process.kill()
        process.communicate()


def test_the_oldest_reader_is_shown(reader):
    store, process = reader
    for n in range(3):
        store.create_topic(f"n{n}")
    pid, behind = store.status().oldest_reader
    assert pid == process.pid
    assert behind >= 3


def test_a_killed_reader_is_cleared_while_the_store_is_open(reader):
    store, process = reader
    process.kill()
    process.wait()
    store._directory._readers_due_s = 0.0
    store._directory.look()
    assert store.status().oldest_reader is None
    assert store._directory._catalog.environment.clear_readers() == 0


def test_a_process_of_the_same_number_in_another_pid_namespace_is_named():
    error = lmdb.Error("mdb_txn_begin: Resource temporarily unavailable")
    text = str(_failure("d/catalog.mdb", error))
    assert "pid namespace" in text
    assert "shareProcessNamespace" in text
    assert "--init" in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["lock", "watermarks"])
def test_what_a_prepared_link_leads_to_is_left_alone(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "theirs").write_bytes(b"theirs")
    os.symlink(tmp_path / "theirs", tmp_path / "data" / name)
    with pytest.raises(LogstoreError, match="symbolic link"):
        logstore.open(tmp_path / "data", config=OFF)
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
