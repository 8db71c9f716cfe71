"""Logs of another kind than topics: what goes round all logs goes round them, too."""

import pytest
from clock import NOW_MS
from storage_kit import a_batch, add, fill, numbers

import logstore
from logstore.config import Config
from logstore.errors import CorruptStore, SchemaTooNew, TopicExists, UnknownTopic
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.kinds import KINDS, Kind
from logstore.storage.opening import open_directory
from logstore.storage.verify import verify
from logstore.store import Store
from logstore.upkeep.backup import restore

LANE = Kind("lane", "queues", frozenset({"retention"}))
BOTH = {**KINDS, "lane": LANE}
SMALL = {"segment.bytes": "300", "retention.ms": "-1"}


def lane_of(directory, name="7"):
    entry = next(
        (it for key, it in directory.entries() if (it.kind, key) == ("lane", name)), None
    ) or directory.create("lane", name, 1, SMALL)  # fmt: skip
    return directory.log(name, entry, 0)


def library(path, mode="write", kinds=BOTH):
    """A store that knows both kinds."""
    directory = open_directory(
        str(path), mode, Config(), Disk(), create=True, clock=lambda: NOW_MS, kinds=kinds
    )
    return Store(directory, mode, lambda: NOW_MS)


def test_its_logs_lie_in_its_folder_and_are_no_topics(store):
    directory = store.writer(kinds=BOTH)
    log = lane_of(directory)
    fill(log, 3)
    assert (store.path / "queues" / "7-0").is_dir()
    assert log.name == "queues/7-0"
    directory.create_topic("7", 1, {})
    assert list(directory.topics()) == ["7"]
    assert [(name, it.kind) for name, it in directory.entries()] == [("7", "topic"), ("7", "lane")]
    assert directory.topics()["7"].slots != dict(directory.entries())["7"].slots
    with pytest.raises(TopicExists, match="lane '7' already exists"):
        directory.create("lane", "7", 1, {})
    with pytest.raises(UnknownTopic, match="no lane '8'"):
        directory.delete("lane", "8")


def test_after_a_crash_and_after_a_close_they_are_recovered(store):
    fill(lane_of(store.writer(kinds=BOTH)), 5)
    store.crash()
    log = lane_of(store.writer(kinds=BOTH))
    assert numbers(log) == [0, 1, 2, 3, 4]
    log.append(a_batch(b"5|"))
    store.close()
    assert numbers(lane_of(store.reader(kinds=BOTH))) == [0, 1, 2, 3, 4, 5]


def test_a_torn_tail_of_theirs_is_cut_off_at_the_next_start(store):
    fill(lane_of(store.writer(kinds=BOTH)), 2)
    store.crash()
    with open(store.segment(topic="queues/7"), "ab") as file:
        file.write(b"half a batch")
    assert store.writer(kinds=BOTH).size("7", *entry_of(store), 0).end == 2
    assert not store.segment(topic="queues/7").read_bytes().endswith(b"half a batch")


def entry_of(store):
    return [it for _, it in store._open[-1].entries() if it.kind == "lane"]


def test_deleted_they_leave_nothing_and_the_topic_of_that_name_stays(store):
    directory = store.writer(kinds=BOTH)
    fill(lane_of(directory), 2)
    fill(store.log_of(directory, "7"), 3)
    directory.delete("lane", "7")
    assert list((store.path / "queues").iterdir()) == []
    assert numbers(store.log_of(directory, "7")) == [0, 1, 2]
    assert lane_of(directory).end == 0


def test_verify_reads_them_and_names_directories_that_belong_to_none(store):
    directory = store.writer(kinds=BOTH)
    fill(lane_of(directory), 3)
    (store.path / "queues" / "9-0").mkdir()
    (store.path / "queues" / "9-0" / f"{0:020d}.log").write_bytes(b"x")
    segment = store.segment(topic="queues/7")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:70] + b"\xff" + whole[71:])
    findings = [it for report in verify(directory) for it in report.findings]
    assert [it.path for it in findings] == [
        str(segment), str(store.path / "queues" / "9-0"),
    ]  # fmt: skip
    assert "belongs to no lane of the catalogue" in str(findings[1])


def test_status_counts_their_bytes_and_tells_their_damage(tmp_path):
    with library(tmp_path / "data") as store:
        before = store.status()
        log = lane_of(store.internals().directory)
        add(log, b"x" * 1000)
        status = store.status()
        assert (status.topics, status.partitions, status.offsets) == (0, 0, 0)
        assert status.bytes > before.bytes + 1000
    segment = tmp_path / "data" / "queues" / "7-0" / f"{0:020d}.log"
    segment.write_bytes(segment.read_bytes()[:-1])
    with library(tmp_path / "data") as store:
        assert len(store.status().damaged) == 1
        assert "queues/7-0" in store.status().damaged[0]


def test_upkeep_does_the_jobs_of_their_kind_and_no_others(tmp_path):
    shelf = Kind("shelf", "shelves", frozenset({"retention"}))
    with library(tmp_path / "data", kinds={**BOTH, "shelf": shelf}) as store:
        directory = store.internals().directory
        settings = SMALL | {"retention.bytes": "300", "cleanup.policy": "delete,compact"}
        entry = directory.create("shelf", "7", 1, settings)
        fill(directory.log("7", entry, 0), 20)
        retained = list(store.retention())
        assert [(it.topic, it.partition) for it in retained] == [("shelves/7", 0)]
        assert directory.log("7", entry, 0).start > 0
        assert list(store.compaction()) == []
        with pytest.raises(UnknownTopic):
            list(store.retention("7"))


def test_a_backup_has_them(tmp_path):
    with library(tmp_path / "data") as store:
        fill(lane_of(store.internals().directory), 20)
        store.create_topic("t").append(b"1")
        list(store.backup(tmp_path / "backup"))
    list(restore(str(tmp_path / "backup"), str(tmp_path / "restored"), Disk()))
    for name in ("backup", "restored"):
        with library(tmp_path / name, "read") as store:
            assert numbers(lane_of(store.internals().directory)) == list(range(20))
            assert store.topics() == ["t"]


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_store_with_an_unknown_kind_of_logs_is_not_opened(tmp_path, mode):
    with library(tmp_path / "data", kinds={**BOTH, "hole": Kind("hole", "holes")}) as store:
        for number in range(3):
            store.internals().directory.create("hole", str(number), 1, {})
    for _ in range(2):  # the first leaves nothing locked
        with pytest.raises(SchemaTooNew) as told:
            logstore.open(tmp_path / "data", mode)
        assert str(told.value) == (
            f"{tmp_path}/data/catalog.mdb: has logs of kind 'hole', which this logstore does not "
            f"know: use the newer logstore that wrote it"
        )
    library(tmp_path / "data", kinds={**BOTH, "hole": Kind("hole", "holes")}).close()


def test_an_entry_under_another_kinds_key_is_damage(store):
    directory = store.writer(kinds=BOTH)
    lane_of(directory)
    store.close()
    catalog = Catalog(Disk(), str(store.path / "catalog.mdb"), create=False, write=True, kinds=BOTH)
    row = catalog.environment.get(b"entries", b"lane\x007")
    catalog.environment.commit([(b"topics", b"7", row)])
    with pytest.raises(CorruptStore, match="the entry of topic '7' is damaged: it is of kind"):
        catalog.topic("7")
    catalog.close()


def test_a_damaged_entry_is_named_by_verify_and_keeps_nothing_else_out(store):
    directory = store.writer(kinds=BOTH)
    fill(lane_of(directory), 2)
    fill(lane_of(directory, "8"), 3)
    directory._catalog.environment.commit([(b"entries", b"lane\x007", b"{not json")])
    store.close()
    directory = store.writer(kinds=BOTH)
    assert numbers(lane_of(directory, "8")) == [0, 1, 2]
    findings = [str(it) for report in verify(directory) for it in report.findings]
    assert len(findings) == 1
    assert "queues/7-0" in findings[0]
    assert "the entry of lane '7' is damaged" in findings[0]


def test_the_beginnings_of_keys(store):
    environment = store.writer()._catalog.environment
    assert environment.heads(b"entries") == []
    keys = [b"a\0x", b"a\0y", b"ab\0", b"b\0" + b"z" * 400, b"c"]
    environment.commit([(b"entries", key, b"") for key in keys])
    assert environment.heads(b"entries") == [b"a", b"ab", b"b", b"c"]
