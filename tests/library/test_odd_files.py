"""Links, pipes and directories where a partition's files belong: nothing elsewhere is written."""

import os
import shutil

import pytest

import logstore
from logstore.config import Config
from logstore.errors import LogstoreError

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SMALL = {"segment.bytes": "1000", "index.interval.bytes": "0"}
INDEXES = ["index", "timeindex"]
KEPT = b"somebody else's"


@pytest.fixture
def path(tmp_path):
    """Two topics of 20 records: t of several segments, and one beside it."""
    with logstore.open(tmp_path / "data", config=OFF) as store:
        for name in ("t", "beside"):
            topic = store.create_topic(name, settings=SMALL)
            for n in range(20):
                topic.append(b"%d" % n * 60)
    return tmp_path / "data"


def files(path, ending):
    return sorted((path / "t-0").glob(f"*.{ending}"))


def offsets(store, topic):
    """Of all that it has, in order."""
    return [it.offset for it in store.consumer(topic)]


def link(tmp_path):
    def plant(file):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(KEPT)
        file.symlink_to(elsewhere)

    return plant


ODD = {
    "link": link,
    "dangling": lambda tmp_path: lambda file: file.symlink_to(tmp_path / "elsewhere"),
    "pipe": lambda tmp_path: os.mkfifo,
}


@pytest.fixture(params=ODD)
def plant(request, tmp_path):
    """plant(file) puts something odd there; nothing that it leads to may change."""
    yield ODD[request.param](tmp_path)
    elsewhere = tmp_path / "elsewhere"
    assert elsewhere.exists() is (request.param == "link")
    assert not elsewhere.exists() or elsewhere.read_bytes() == KEPT


@pytest.mark.parametrize("ending", INDEXES)
@pytest.mark.parametrize("which", [0, -1])
def test_an_index_that_is_a_link_or_a_pipe_is_made_anew(path, plant, ending, which):
    file = files(path, ending)[which]
    file.unlink()
    plant(file)
    with logstore.open(path, config=OFF) as store:
        topic = store.topic("t")
        assert topic.append(b"more" * 100).offset == 20
        assert offsets(store, "t") == list(range(21))
        assert all(it.repaired or not it.findings for it in store.verify("t", repair=True))
    assert file.is_file()
    assert not file.is_symlink()


@pytest.mark.parametrize("ending", INDEXES)
def test_an_index_that_becomes_a_link_under_a_writer_is_made_anew(path, plant, ending):
    with logstore.open(path, config=OFF) as store:
        topic = store.topic("t")
        topic.append(b"x" * 100)
        file = files(path, ending)[-1]
        file.unlink()
        plant(file)
        topic.append(b"x" * 100)
    assert file.is_file()
    assert not file.is_symlink()


@pytest.mark.parametrize("ending", INDEXES)
def test_a_reader_does_without_an_index_that_is_a_link(path, plant, ending):
    file = files(path, ending)[0]
    file.unlink()
    plant(file)
    with logstore.open(path, "read", config=OFF) as store:
        assert offsets(store, "t") == list(range(20))
        told = [str(finding) for it in store.verify("t") for finding in it.findings]
    [sentence] = told
    assert str(file) in sentence
    assert "not a regular file" in sentence


def test_an_index_that_is_a_directory_is_told_with_its_path(path):
    file = files(path, "index")[-1]
    file.unlink()
    file.mkdir()
    store = logstore.open(path, config=OFF)
    with pytest.raises(LogstoreError, match=str(file)) as told, store:
        store.topic("t").append(b"x" * 100)
    assert "\n" not in str(told.value)


def test_a_last_segment_that_is_no_file_takes_no_appends_and_is_told_with_its_path(path, plant):
    file = files(path, "log")[-1]
    file.unlink()
    plant(file)
    with logstore.open(path, config=OFF) as store:
        for _ in range(2):
            with pytest.raises(LogstoreError, match=f"{file}: is a link, or not a regular file"):
                store.topic("t").append(b"x")
        assert store.topic("beside").append(b"x").offset == 20
        told = [str(finding) for it in store.verify("t") for finding in it.findings]
        assert any(str(file) in it for it in told)


def test_a_last_segment_that_is_a_link_to_itself_elsewhere_is_read_and_not_written(path, tmp_path):
    file, moved = files(path, "log")[-1], tmp_path / "moved.log"
    shutil.move(file, moved)
    file.symlink_to(moved)
    before = moved.read_bytes()
    with logstore.open(path, config=OFF) as store:
        with pytest.raises(LogstoreError, match=f"{file}: is a link"):
            store.topic("t").append(b"x")
        read = []
        with pytest.raises(LogstoreError, match=f"{file}: is a link"):  # after the last
            read += (it.offset for it in store.consumer("t"))
        assert read == list(range(20))
    assert moved.read_bytes() == before


def test_a_sealed_segment_that_an_operator_has_moved_is_read_through_its_link(path, tmp_path):
    file, moved = files(path, "log")[0], tmp_path / "moved.log"
    shutil.move(file, moved)
    file.symlink_to(moved)
    before = moved.read_bytes()
    for mode in ("read", "write"):
        with logstore.open(path, mode, config=OFF) as store:
            assert offsets(store, "t") == list(range(20))
            if mode == "write":
                assert store.topic("t").append(b"x").offset == 20
                store.trim("t", 10)
    assert moved.read_bytes() == before


def test_a_sealed_segment_that_is_a_pipe_is_told_with_its_path(path):
    file = files(path, "log")[0]
    file.unlink()
    os.mkfifo(file)
    for mode in ("write", "read"):
        with logstore.open(path, mode, config=OFF) as store:
            with pytest.raises(LogstoreError, match=f"{file}.* not a regular file"):
                offsets(store, "t")
            assert offsets(store, "beside") == list(range(20))
