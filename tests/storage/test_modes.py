"""Nobody else of the machine comes to a store, whatever the umask, and whatever its modes were."""

import os
import socket
import stat
import subprocess
import sys

import pytest
from serving import Serving

import logstore
from logstore.storage.disk import Disk

MASKS = [0o000, 0o022, 0o777]
USE = """
import os, sys
os.umask({mask})
import logstore
path = sys.argv[1]
with logstore.open(path) as store:
    topic = store.create_topic("t", 2, {{"segment.bytes": "1000"}})
    topic.append_many([logstore.Message(b"x" * 300)] * 9)
    with store.consumer("t", group="g") as consumer:
        next(iter(consumer))
    store.queue("q").publish(b"m")
    assert store.queue("q").get() is not None
    store.queue("volatile", durable=False).publish(b"m")
    store.users()
    for root, directories, files in os.walk(path):
        for name in directories + files + ["."]:
            facts = os.lstat(os.path.join(root, name))
            wanted = 0o700 if os.path.isdir(os.path.join(root, name)) else 0o600
            assert facts.st_mode & 0o7777 == wanted, (root, name, oct(facts.st_mode))
    list(store.backup(path + ".copy"))
"""


def modes(path):
    """Of all that is there: kind and mode -> paths."""
    found = {}
    for root, _, files in os.walk(path):
        for name in (".", *files):
            facts = os.lstat(os.path.join(root, name))
            kind = "directory" if stat.S_ISDIR(facts.st_mode) else "file"
            found.setdefault((kind, facts.st_mode & 0o7777), []).append(os.path.join(root, name))
    return found


PRIVATE = {("directory", 0o700), ("file", 0o600)}


@pytest.mark.parametrize(
    "mask",
    [0o777, *(pytest.param(it, marks=pytest.mark.long) for it in MASKS if it != 0o777)],
    ids=oct,
)
def test_all_that_is_made_is_its_owners_alone(tmp_path, mask):
    path = tmp_path / "above" / "data"
    os.mkdir(tmp_path / "above")
    run = subprocess.run(
        [sys.executable, "-c", USE.format(mask=mask), path], capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    assert set(modes(path)) == PRIVATE
    assert set(modes(f"{path}.copy")) == PRIVATE


def test_directories_above_the_store_are_as_the_umask_says(tmp_path):
    mask = os.umask(0o022)
    try:
        logstore.open(tmp_path / "a" / "b" / "data").close()
    finally:
        os.umask(mask)
    assert [(tmp_path / it).stat().st_mode & 0o777 for it in ("a", "a/b", "a/b/data")] == [
        0o755, 0o755, 0o700,
    ]  # fmt: skip


@pytest.mark.long
def test_a_server_makes_what_is_its_owners_alone(tmp_path):
    mask = os.umask(0)
    try:
        server = Serving(tmp_path / "data", amqp_port=0)
    finally:
        os.umask(mask)
    try:
        assert set(modes(tmp_path / "data")) == PRIVATE
        assert (tmp_path / "data" / "api.sock").exists()
    finally:
        server.stop()
    assert set(modes(tmp_path / "data")) == PRIVATE


def test_a_socket_is_its_owners_alone_from_the_moment_that_it_has_a_name(tmp_path, monkeypatch):
    """Redis's CVE-2023-45145: others connect between bind and chmod."""
    seen, bind = [], socket.socket.bind

    class Watched(socket.socket):
        def bind(self, address):
            bind(self, address)
            seen.append(os.stat(tmp_path / "s").st_mode & 0o777)

    monkeypatch.setattr(socket, "socket", Watched)
    for mask in MASKS:
        before = os.umask(mask)
        try:
            Disk().listen(str(tmp_path / "s")).close()
        finally:
            os.umask(before)
        assert os.stat(tmp_path / "s").st_mode & 0o777 == 0o600
    assert all(not mode & 0o077 for mode in seen)
    assert len(seen) == len(MASKS)


@pytest.fixture
def wide(tmp_path):
    """A store as an earlier version made it."""
    path = tmp_path / "data"
    with logstore.open(path) as store:
        store.create_topic("t").append(b"x")
    for root, _, files in os.walk(path):
        os.chmod(root, 0o755)
        for name in files:
            os.chmod(os.path.join(root, name), 0o644)
    return path


def test_a_store_that_others_could_read_is_closed_to_them_and_says_so_once(wide, caplog):
    logstore.open(wide).close()
    assert wide.stat().st_mode & 0o777 == 0o700
    for name in ("catalog.mdb", "catalog.mdb-lock", "lock", "watermarks"):
        assert (wide / name).stat().st_mode & 0o777 == 0o600
    (line,) = [it.getMessage() for it in caplog.records]
    assert line == f"{wide}: others of this machine could read it: its mode was 755, and is 700 now"
    caplog.clear()
    logstore.open(wide).close()
    assert caplog.records == []


def test_a_new_store_in_a_directory_that_is_there_closes_it_without_a_word(tmp_path, caplog):
    os.chmod(tmp_path, 0o755)
    logstore.open(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert caplog.records == []


def test_a_reader_changes_no_directory(wide):
    with logstore.open(wide, "read") as store:
        assert store.topics() == ["t"]
    assert wide.stat().st_mode & 0o777 == 0o755


def test_a_directory_of_another_user_is_told_of(wide, caplog):
    class OfOthers(Disk):
        def set_mode(self, path, mode):
            raise PermissionError(1, "Operation not permitted", path)

    logstore.open(wide, disk=OfOthers()).close()
    assert "others of this machine may read it, and that can't be changed" in caplog.text


def test_a_log_on_another_disk_is_closed_to_others_when_it_is_used(wide, tmp_path):
    away = tmp_path / "other disk" / "t-0"
    away.parent.mkdir()
    (wide / "t-0").rename(away)
    (wide / "t-0").symlink_to(away)
    with logstore.open(wide) as store:
        store.topic("t").append(b"y")
    assert away.stat().st_mode & 0o777 == 0o700


def test_what_is_written_to_is_narrowed_though_it_was_made_by_an_earlier_version(wide):
    log = next((wide / "t-0").glob("*.log"))
    with logstore.open(wide) as store:
        store.topic("t").append(b"y")
    assert log.stat().st_mode & 0o777 == 0o600
