import pytest
from clock import NOW_MS

from logstore.errors import CorruptStore, SchemaTooNew, TopicExists, UnknownTopic
from logstore.storage.catalog import Catalog, LogState
from logstore.storage.disk import Disk


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "catalog.mdb")


@pytest.fixture
def catalog(path):
    opened = Catalog(Disk(), path, create=True, write=True)
    yield opened
    opened.close()


class TestTopics:
    def test_an_entry_is_kept(self, catalog, path):
        entry = catalog.add("topic", "t", catalog.free_slots(3), {"segment.bytes": "100"}, NOW_MS)
        catalog.close()
        again = Catalog(Disk(), path, create=False, write=False)
        assert again.topics() == {"t": entry}
        assert again.topic("u") is None
        again.close()
        catalog.__init__(Disk(), path, create=True, write=True)

    def test_each_partition_has_a_slot_of_its_own_and_freed_ones_are_used_again(self, catalog):
        first = catalog.add("topic", "a", catalog.free_slots(3), {}, NOW_MS)
        second = catalog.add("topic", "b", catalog.free_slots(2), {}, NOW_MS)
        assert sorted(first.slots + second.slots) == [0, 1, 2, 3, 4]
        catalog.remove("topic", "a")
        third = catalog.add("topic", "c", catalog.free_slots(4), {}, NOW_MS)
        assert not set(third.slots) & set(second.slots)
        assert max(third.slots) == 5
        more = catalog.change("topic", "b", added_slots=catalog.free_slots(2))
        slots = more.slots + third.slots
        assert len(set(slots)) == len(slots) == 8

    def test_removing_dooms_the_directories_and_forgets_the_states(self, catalog):
        entry = catalog.add("topic", "t", catalog.free_slots(2), {}, NOW_MS)
        catalog.save_log_states({entry.log_key(1): LogState(1, 2, 3, 4)})
        catalog.remove("topic", "t")
        assert catalog.doomed() == ["t-0", "t-1"]
        assert catalog.log_states() == {}
        catalog.buried(["t-0"])
        assert catalog.doomed() == ["t-1"]

    def test_refused(self, catalog):
        catalog.add("topic", "t", catalog.free_slots(1), {}, NOW_MS)
        with pytest.raises(TopicExists):
            catalog.add("topic", "t", catalog.free_slots(1), {}, NOW_MS)
        with pytest.raises(UnknownTopic):
            catalog.remove("topic", "u")
        with pytest.raises(UnknownTopic):
            catalog.change("topic", "u", added_slots=[7])

    def test_a_damaged_entry_is_named(self, catalog):
        catalog.environment.commit([(b"topics", b"t", b"{not json")])
        with pytest.raises(CorruptStore, match="the entry of topic 't' is damaged"):
            catalog.topic("t")


class TestStates:
    def test_saved_with_the_mark_of_a_clean_close(self, catalog):
        assert catalog.clean
        catalog.opened()
        assert not catalog.clean
        catalog.save_log_states({b"k": LogState(1, 2, 3, 4)}, unrecovered={})
        assert catalog.clean
        assert catalog.log_state(b"k") == LogState(1, 2, 3, 4)
        assert catalog.log_state(b"other") == LogState()


class TestSchema:
    @pytest.mark.parametrize(
        ("stored", "error", "message"),
        [
            (b"9", SchemaTooNew, "schema version 9, this logstore knows up to 8"),
            (b"0", CorruptStore, "is none"),
            (b"one", CorruptStore, "is none"),
            (None, CorruptStore, "without a schema version"),
        ],
    )
    def test_another(self, catalog, path, stored, error, message):
        catalog.environment.commit([(b"meta", b"schema", stored)])
        with pytest.raises(error, match=message):
            Catalog(Disk(), path, create=False, write=True)

    @pytest.mark.parametrize("write", [False, True])
    def test_garbage_is_no_catalogue(self, tmp_path, write):
        path = tmp_path / "other.mdb"
        path.write_bytes(b"this is no LMDB file. " * 1000)
        with pytest.raises(CorruptStore, match=r"other\.mdb: not a catalogue, or damaged"):
            Catalog(Disk(), str(path), create=write, write=write)
        assert path.read_bytes().startswith(b"this is no")
