import os
import subprocess
import sys

import pytest
from clock import NOW_MS
from storage_kit import Opened, commit, fill, run_all

from logstore.errors import ReadOnly
from logstore.storage import environment
from logstore.storage.disk import Disk
from logstore.storage.environment import Environment


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(environment, "MAP_BYTES", 64 << 10)


@pytest.fixture
def env(small, tmp_path):
    opened = Environment(Disk(), str(tmp_path / "e.mdb"), create=True, write=True)
    yield opened
    opened.close()


def entries(count, first=0):
    return [(b"table", b"%06d" % n, bytes(500)) for n in range(first, first + count)]


def test_the_map_grows_by_itself(env):
    for first in range(0, 2000, 100):
        env.commit(entries(100, first))
    assert len(env.items(b"table")) == 2000
    assert env.get(b"table", b"001999") == bytes(500)


def test_one_commit_larger_than_many_maps(env):
    env.commit(entries(3000))
    assert len(env.items(b"table", b"0029")) == 100


def test_it_grows_while_others_read_and_write(env):
    """LMDB would take the memory away under a transaction that is open."""

    def write(first):
        for n in range(first, first + 400, 20):
            env.commit(entries(20, n))

    def read():
        seen = 0
        while seen < 1600:
            seen = len(env.items(b"table"))
            for _, value in env.items(b"table", b"0000"):
                assert value == bytes(500)

    run_all(*[lambda first=first: write(first) for first in range(0, 1600, 400)], read, read)


def test_tables_first_used_by_several_threads(small, tmp_path):
    """A write transaction of one thread, and another thread that opens a table: a deadlock."""
    for round_ in range(20):
        env = Environment(Disk(), str(tmp_path / f"{round_}.mdb"), create=True, write=True)

        def write(name, env=env):
            for n in range(3):
                env.commit([(b"%s-%d" % (name, n), b"key", b"value")])

        run_all(*[lambda name=name: write(name) for name in (b"a", b"b", b"a", b"c")])
        assert env.get(b"a-0", b"key") == b"value"
        env.close()


@pytest.mark.long
def test_another_process_grows_it(env, tmp_path):
    env.commit(entries(10))
    script = (
        "import sys; from logstore.storage.disk import Disk;"
        "from logstore.storage.environment import Environment;"
        "e = Environment(Disk(), sys.argv[1], create=False, write=True);"
        "e.commit([(b'table', b'%06d' % n, bytes(500)) for n in range(60_000)]); e.close()"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "e.mdb")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert len(env.items(b"table")) == 60_000
    env.commit([(b"table", b"999999", b"v")])
    assert env.get(b"table", b"999999") == b"v"


def test_a_commit_is_all_or_nothing(env):
    env.commit(entries(2))

    def changes():
        yield (b"table", b"new", b"v")
        raise KeyError

    with pytest.raises(KeyError):
        env.commit(changes())
    assert env.get(b"table", b"new") is None


def test_deleting_what_is_not_there(env):
    env.commit([(b"table", b"a", None), (b"table", b"b", b"v")])
    assert env.items(b"table") == [(b"b", b"v")]


def test_read_only(env, tmp_path):
    other = Environment(Disk(), str(tmp_path / "e.mdb"), create=False, write=False)
    with pytest.raises(ReadOnly, match="the store can't be written here"):
        other.commit([(b"table", b"a", b"v")])
    other.close()
    env.commit([(b"table", b"a", b"v")])  # it was opened twice, and closed once


def test_two_stores_of_one_directory_in_one_process(store):
    log = store.log()
    reader = Opened(store.path).reader()
    fill(log, 2)
    assert reader.log("t", reader.topic("t"), 0).safe == 2
    commit(reader, "g", {("t", 0): 1})
    reader.close()
    fill(log, 1, first=2)
    assert log.safe == 3


@pytest.mark.long
def test_thousands_of_partitions_and_offsets(store):
    directory = store.writer()
    for n in range(15):
        slots = range(1000 * n, 1000 * (n + 1))
        directory._catalog.add("topic", f"topic-with-{'x' * 200}-{n:05d}", slots, {}, NOW_MS)
    names = list(directory.topics())[:3]
    places = {(name, partition): 7 for name in names for partition in range(10_000)}
    for group in range(4):
        commit(directory, f"group-{group}" * 10, places, "metadata " * 20)
    assert len(directory.groups.offsets.fetch("group-3" * 10)) == 30_000
    assert len(directory.topics()) == 15
