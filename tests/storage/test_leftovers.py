"""What can't be removed of a deleted topic: named, listed, tried again, keeping nobody out."""

import errno
import os
import shutil
import subprocess

import pytest
from storage_kit import add, fill, numbers

import logstore
from logstore.config import Config
from logstore.errors import CorruptStore, Refused
from logstore.storage.disk import Disk

OFF = Config({"upkeep.interval.ms": ("-1", "test")})


def symlinked(path, tmp_path):
    (tmp_path / "big").mkdir()
    shutil.move(path, tmp_path / "big" / path.name)
    path.symlink_to(tmp_path / "big" / path.name)
    return lambda: path.unlink(), "symbolic link"


def dangling(path, tmp_path):
    free, words = symlinked(path, tmp_path)
    shutil.rmtree(tmp_path / "big")
    return free, words


def busy(path, tmp_path):
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(path)], check=False)
    if done.returncode:
        pytest.skip("tmpfs can't be mounted here")
    return lambda: subprocess.run(["umount", "-l", str(path)], check=True), "busy"


def immutable(path, tmp_path):
    file = next(path.glob("*.log"))
    done = subprocess.run(["chattr", "+i", str(file)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("files can't be made immutable here")
    return lambda: subprocess.run(["chattr", "-i", str(file)], check=True), str(file)


def a_file(path, tmp_path):
    shutil.rmtree(path)
    path.write_bytes(b"somebody's")
    return lambda: path.unlink(), "Not a directory"


ODDITIES = [symlinked, dangling, busy, immutable, a_file]


@pytest.fixture(params=ODDITIES, ids=lambda it: it.__name__)
def left(request, tmp_path):
    """(store path, what makes it removable, words of the reason), with a topic that stays."""
    path = tmp_path / "data"
    with logstore.open(path, config=OFF) as store:
        for name in ("old", "other"):
            store.create_topic(name).append(b"1")
    free, words = request.param(path / "old-0", tmp_path)
    freed = []

    def once():
        freed.append(True)
        free()

    yield path, once, words
    if not freed:
        free()


def test_one_topic_whose_files_cannot_be_removed_leaves_the_store_writable(left, caplog):
    path, free, words = left
    with logstore.open(path, config=OFF) as store:
        store.delete_topic("old")
        assert store.topics() == ["other"]
        (named,) = store.leftovers()
        assert f"{path}/old-0" in named
        assert words in named
        assert "\n" not in named
        assert store.status().leftovers == (named,)
        store.topic("other").append(b"2")
        store.create_topic("more").append(b"3")
    assert caplog.text.count(f"{path}/old-0: left of a deleted topic") == 1
    with logstore.open(path, "read", config=OFF) as reader:  # told by another process, too
        assert reader.status().leftovers == (named,)
    with logstore.open(path, config=OFF) as store:  # and after a restart
        assert store.leftovers() == [named]
        assert [it for report in store.verify(repair=True) for it in report.findings] == []
        assert [it.value for it in store.consumer("other")] == [b"1", b"2"]
        with pytest.raises(Refused, match="old-0: left of a deleted topic"):
            store.create_topic("old")
        free()
        store._upkeep.do()
        assert store.leftovers() == []
        assert not os.path.lexists(path / "old-0")
        store.create_topic("old").append(b"new")
    assert caplog.text.count("left of a deleted topic") == 1
    with logstore.open(path, config=OFF) as store:
        assert [it.value for it in store.consumer("old")] == [b"new"]


def test_what_a_link_leads_to_is_left_alone(tmp_path):
    path = tmp_path / "data"
    with logstore.open(path, config=OFF) as store:
        store.create_topic("t", 1)
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "file").write_bytes(b"theirs")
        (path / "t-0" / "link").symlink_to(tmp_path / "theirs")
        store.delete_topic("t")
        assert not (path / "t-0").exists()
    assert (tmp_path / "theirs" / "file").read_bytes() == b"theirs"


def test_the_rest_is_removed_where_one_file_cannot_be(store):
    class Keeps(Disk):
        """One file is another user's."""

        def remove_tree(self, path):
            kept = path + "/kept"
            os.rename(kept, path + ".kept")
            super().remove_tree(path)
            os.mkdir(path)
            os.rename(path + ".kept", kept)
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), kept)

    directory = store.writer(Keeps())
    fill(store.log_of(directory), 3)
    (store.path / "t-0" / "kept").write_bytes(b"")
    directory.delete_topic("t")
    assert os.listdir(store.path / "t-0") == ["kept"]
    assert f"{store.path}/t-0/kept: can't be removed" in str(directory.leftovers()[0])


def test_of_many_files_all_but_the_odd_one_go(tmp_path):
    tree = tmp_path / "tree"
    for name in ("a", "b", "c"):
        (tree / name).mkdir(parents=True)
        (tree / name / "file").write_bytes(b"x")
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(tree / "b")], check=False)
    if done.returncode:
        pytest.skip("tmpfs can't be mounted here")
    try:
        with pytest.raises(OSError, match="busy") as raised:
            Disk().remove_tree(str(tree))
        assert raised.value.filename == str(tree / "b")
        assert os.listdir(tree) == ["b"]
    finally:
        subprocess.run(["umount", "-l", str(tree / "b")], check=True)


def test_a_full_disk_keeps_the_list_in_memory(store, monkeypatch):
    directory = store.writer()
    store.log_of(directory)
    (store.path / "big").mkdir()
    os.rename(store.path / "t-0", store.path / "big" / "t-0")
    os.symlink("big/t-0", store.path / "t-0")

    def full(names, kept=None):
        raise CorruptStore("no room")

    monkeypatch.setattr(directory._catalog, "buried", full)
    directory.delete_topic("t")
    assert "t-0" in str(directory.leftovers()[0])
    with pytest.raises(CorruptStore):  # the next start would remove what is made there
        directory.create_topic("t", 1, {})
    monkeypatch.undo()
    os.unlink(store.path / "t-0")
    directory.tidy()
    assert directory.leftovers() == []


def test_an_entry_that_damage_has_put_there_removes_nothing(store):
    directory = store.writer()
    fill(store.log_of(directory), 3)
    directory._catalog.environment.commit([(b"doomed", b"t-0", b""), (b"doomed", b"../x", b"")])
    store.close()
    log = store.log()
    assert numbers(log) == [0, 1, 2]
    add(log, b"3|")
    assert "catalogue is damaged" in str(store._open[-1].leftovers()[0])
