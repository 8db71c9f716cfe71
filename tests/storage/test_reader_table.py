"""Whose number stands in LMDB's table of readers, told without LMDB."""

import os
import subprocess
import sys

import pytest

import logstore
from logstore.storage.disk import Disk
from logstore.storage.reader_table import has_number, table_bytes

OPENS = """
import sys, lmdb
env = lmdb.open(sys.argv[1], subdir=False, max_readers=1024, max_dbs=16, map_size=16 << 20)
with env.begin() as transaction:
    transaction.get(b"x")
    if sys.argv[2] == "reads":
        print("open", flush=True)
        sys.stdin.read()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def catalog(tmp_path):
    logstore.open(tmp_path / "data").close()
    return str(tmp_path / "data" / "catalog.mdb")


@pytest.fixture
def begin(catalog):
    started = []

    def run(how):
        process = subprocess.Popen(
            [sys.executable, "-c", OPENS, catalog, how],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == b"open\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def killed(process):
    process.kill()
    process.wait()
    return process.pid


def test_the_numbers_of_the_living_are_there(catalog, begin):
    idle, reads = begin("idles"), begin("reads")
    lock = catalog + "-lock"
    assert has_number(Disk(), lock, idle.pid)
    assert has_number(Disk(), lock, reads.pid)
    assert not has_number(Disk(), lock, os.getpid())


def test_who_died_over_a_read_keeps_its_number_while_others_use_the_table(catalog, begin):
    other, idle, reads = begin("idles"), begin("idles"), begin("reads")
    dead, over_a_read = killed(idle), killed(reads)
    lock = catalog + "-lock"
    assert not has_number(Disk(), lock, dead)
    assert has_number(Disk(), lock, over_a_read)
    killed(other)
    assert not has_number(Disk(), lock, over_a_read)  # whoever comes begins a new table


@pytest.mark.parametrize("size", [0, 1, 64, 128, 130, 192, None])
def test_a_lock_file_that_is_cut_short_or_missing_has_no_numbers(catalog, size):
    lock = catalog + "-lock"
    if size is None:
        os.unlink(lock)
    else:
        os.truncate(lock, size)
    assert not has_number(Disk(), lock, os.getpid())


def test_the_table_is_as_long_as_lmdb_makes_it(catalog):
    assert os.path.getsize(catalog + "-lock") == table_bytes()
