import errno
import os
import subprocess

import pytest
from clock import NOW_MS
from storage_kit import NamedDisk, commit, fill, numbers

from logstore.config import Config
from logstore.errors import (
    CorruptStore,
    NotAStore,
    ReadOnly,
    SchemaTooNew,
    StorageFull,
    StoreLocked,
)
from logstore.storage.bare import BareDirectory
from logstore.storage.catalog import SCHEMA, Catalog
from logstore.storage.disk import Disk
from logstore.storage.opening import open_directory
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory


@pytest.fixture
def opened():
    directories = []

    def open_it(path, mode="write", disk=None, *, create=True):
        directory = open_directory(
            str(path), mode, Config(), disk or Disk(), create=create, clock=lambda: NOW_MS
        )
        directories.append(directory)
        return directory

    yield open_it
    for directory in directories:
        directory.close()


class TestKinds:
    @pytest.mark.parametrize("leftovers", [[], ["lock"], ["logstore.toml", "lost+found"]])
    def test_an_empty_directory_becomes_a_store(self, tmp_path, opened, leftovers):
        for name in leftovers:
            (tmp_path / name).touch()
        assert isinstance(opened(tmp_path), WriterDirectory)

    def test_an_absent_one_too_with_its_parents(self, tmp_path, opened):
        assert isinstance(opened(tmp_path / "a" / "b"), WriterDirectory)

    @pytest.mark.parametrize(("mode", "create"), [("read", True), ("write", False)])
    @pytest.mark.parametrize("there", [False, True])
    def test_nothing_is_made_when_that_was_not_asked(self, tmp_path, opened, mode, create, there):
        path = tmp_path / "store"
        if there:
            path.mkdir()
        with pytest.raises(NotAStore, match="is empty" if there else "no such directory"):
            opened(path, mode, create=create)
        assert list(tmp_path.rglob("*")) == ([path] if there else [])

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_a_file(self, tmp_path, opened, mode):
        (tmp_path / "file").write_bytes(b"text")
        with pytest.raises(NotAStore, match="file: not a store: it is not a directory"):
            opened(tmp_path / "file", mode)

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_a_directory_of_something_else(self, tmp_path, opened, mode):
        (tmp_path / "letters.txt").write_bytes(b"text")
        with pytest.raises(NotAStore, match="it holds other files"):
            opened(tmp_path, mode)
        assert os.listdir(tmp_path) == ["letters.txt"]

    def test_bare_partitions_are_read_and_not_written(self, tmp_path, opened):
        (tmp_path / "t-0").mkdir()
        (tmp_path / "t-0" / f"{0:020d}.log").touch()
        assert isinstance(opened(tmp_path, "read"), BareDirectory)
        with pytest.raises(NotAStore, match="they can only be read"):
            opened(tmp_path, "write")

    def test_a_store(self, store, opened):
        fill(store.log(), 1)
        store.close()
        directory = opened(store.path, "read")
        assert isinstance(directory, ReaderDirectory)
        assert directory.schema == SCHEMA
        assert directory.store_id
        assert directory.writer() is None


class TestRefused:
    def test_a_second_writer_is_told_of_the_first(self, store, opened):
        fill(store.log(), 1)
        sentence = rf"written by pid {os.getpid()} \(.+\): wait for it.*run `logstore serve` first"
        with pytest.raises(StoreLocked, match=sentence) as raised:
            opened(store.path)
        directory = opened(store.path, "read")
        assert raised.value.owner == directory.writer()
        assert directory.writer().pid == os.getpid()

    def test_a_second_writer_is_told_where_the_server_is_that_is_the_first(self, store, opened):
        store.writer().announce({"kafka": "127.0.0.1:9092", "resp": "127.0.0.1:6379"})
        sentence = r": connect to it \(kafka 127.0.0.1:9092, resp 127.0.0.1:6379\), stop it"
        with pytest.raises(StoreLocked, match=sentence) as raised:
            opened(store.path)
        assert "logstore serve` first" not in str(raised.value)

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_a_newer_schema(self, store, opened, mode):
        store.writer()
        store.close()
        catalog = Catalog(Disk(), str(store.path / "catalog.mdb"), create=False, write=True)
        catalog.environment.commit([(b"meta", b"schema", b"9")])
        catalog.close()
        with pytest.raises(SchemaTooNew, match="use the newer logstore"):
            opened(store.path, mode)

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_a_garbage_catalogue(self, store, opened, mode):
        store.writer()
        store.close()
        (store.path / "catalog.mdb").write_bytes(b"garbage" * 5000)
        with pytest.raises(CorruptStore, match=r"catalog\.mdb: not a catalogue"):
            opened(store.path, mode)
        # The lock was let go.
        with pytest.raises(CorruptStore):
            opened(store.path, mode)

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_garbage_watermarks_and_the_advice_works(self, store, opened, mode):
        fill(store.log(), 3)
        store.close()
        (store.path / "watermarks").write_bytes(b"garbage" * 100)
        with pytest.raises(CorruptStore, match="remove it; the next writer creates it again"):
            opened(store.path, mode)
        (store.path / "watermarks").unlink()
        directory = opened(store.path, mode)
        assert numbers(directory.log("t", directory.topic("t"), 0)) == [0, 1, 2]

    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_watermarks_of_zeros_as_a_power_cut_may_leave_them(self, store, opened, mode):
        """The size of the file was on the disk, its bytes were not."""
        fill(store.log(), 3)
        store.crash()
        (store.path / "watermarks").write_bytes(bytes(4096))
        directory = opened(store.path, mode)
        assert numbers(directory.log("t", directory.topic("t"), 0)) == [0, 1, 2]


class ReadOnlyDisk(NamedDisk):
    """As a file system that is mounted read-only."""

    def open(self, path, *, write=False, create=False):
        if write or create:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return super().open(path, write=write, create=create)

    def writable(self, path):
        return False

    def make_directory(self, path):
        if not os.path.isdir(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class TestReadOnlyFileSystem:
    @pytest.mark.parametrize("crashed", [False, True])
    def test_it_is_read_but_not_written(self, store, opened, crashed):
        fill(store.log(), 3)
        store.crash() if crashed else store.close()
        directory = opened(store.path, "read", ReadOnlyDisk())
        assert numbers(directory.log("t", directory.topic("t"), 0)) == [0, 1, 2]
        with pytest.raises(ReadOnly):
            commit(directory, "g", {("t", 0): 1})
        with pytest.raises(ReadOnly, match="open the store for writing: Read-only file system"):
            opened(store.path, "write", ReadOnlyDisk())

    @pytest.mark.parametrize("crashed", [False, True])
    def test_a_real_one(self, store, opened, tmp_path, crashed):
        fill(store.log(), 3)
        store.crash() if crashed else store.close()
        place = tmp_path / "mounted"
        place.mkdir()
        if subprocess.run(
            ["mount", "--bind", store.path, place], capture_output=True, check=False
        ).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
            directory = opened(place, "read")
            assert numbers(directory.log("t", directory.topic("t"), 0)) == [0, 1, 2]
            with pytest.raises(ReadOnly):
                opened(place, "write")
        finally:
            subprocess.run(["umount", "-l", place], check=True)


class TestFullFileSystem:
    @pytest.fixture
    def small(self, tmp_path):
        place = tmp_path / "small"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        yield place
        subprocess.run(["umount", "-l", str(place)], check=True)

    @staticmethod
    def eat(place):
        with (place / "eaten").open("wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def test_appends_are_refused_and_work_again_when_there_is_space(self, small, store):
        store.path = small / "store"
        log = store.log()
        fill(log, 3)
        self.eat(small)
        taken = 3
        with pytest.raises(StorageFull, match="append to t-0"):  # noqa: PT012  at some point
            while True:
                fill(log, 1, size=3000, first=taken)
                taken += 1
        assert numbers(log) == list(range(taken))
        (small / "eaten").unlink()
        fill(log, 2, first=taken)
        store.close()
        assert numbers(store.log()) == list(range(taken + 2))

    def test_topics_are_refused(self, small, store):
        store.path = small / "store"
        directory = store.writer()
        self.eat(small)
        with pytest.raises(StorageFull):  # noqa: PT012  at some point
            for n in range(1000):
                directory.create_topic(f"t{n}", 1, {})
                made = n
        before = directory.topics()
        assert set(before) == {f"t{n}" for n in range(made + 1)}
        (small / "eaten").unlink()
        directory.create_topic("new", 1, {})
        assert set(directory.topics()) - set(before) == {"new"}

    def test_a_store_that_crashed_is_read_all_the_same(self, small, store, opened):
        store.path = small / "store"
        fill(store.log(), 3)
        store.crash()
        self.eat(small)
        directory = opened(store.path, "read")
        assert numbers(directory.log("t", directory.topic("t"), 0)) == [0, 1, 2]

    def test_a_new_store_says_that_there_is_no_space(self, small, opened):
        self.eat(small)
        with pytest.raises(StorageFull):
            opened(small / "store")
        (small / "eaten").unlink()
        opened(small / "store")
