import pytest
from storage_kit import a_batch, fill

from logstore.errors import CorruptBatch
from logstore.storage.chain import Chain
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.segment import EVERYTHING, Indexes


@pytest.fixture
def made(tmp_path):
    files = OpenFiles(Disk(), 16, write=True)

    def make(*bases, dense=True, records=2):
        for base in bases:
            data = b"".join(b"".join(a_batch(b"v").stamped(base + n)) for n in range(records))
            (tmp_path / f"{base:020d}.log").write_bytes(data)
        return Chain(str(tmp_path), files, Indexes(), 50, gaps_below=lambda: 0 if dense else 2**62)

    yield make
    files.close()


def test_reads_on_across_segments(made):
    chain = made(0, 2, 4)
    read = {at: [b.base_offset for b in chain.read(at, 1 << 20, EVERYTHING)] for at in range(6)}
    assert read == {0: [0, 1], 1: [1], 2: [2, 3], 3: [3], 4: [4, 5], 5: [5]}
    assert chain.read(6, 1, EVERYTHING) == []
    assert chain.read(4, 1 << 20, 4) == []


def test_a_gap_is_damage_where_offsets_are_dense(made):
    chain = made(0, 6)
    with pytest.raises(CorruptBatch, match=r"0\.log: offsets 3 to 5 are missing; run"):
        chain.read(3, 1, EVERYTHING)
    with pytest.raises(CorruptBatch, match="offsets 2 to 5 are missing"):
        chain.read(2, 1, EVERYTHING)


def test_a_gap_is_none_in_a_compacted_log(made):
    chain = made(0, 6, dense=False)
    assert [b.base_offset for b in chain.read(3, 1, EVERYTHING)] == [6]


def test_without_segments(made):
    chain = made()
    assert chain.read(0, 1, EVERYTHING) == []
    assert chain.find(0, 0, EVERYTHING) is None
    assert "no segment holds them" in str(chain.lost(0, 5))


def test_a_segment_that_cant_be_made_leaves_nothing(store):
    class Refuses(Disk):
        refuse = False

        def open(self, path, *, write=False, create=False):
            if self.refuse and path.endswith(".timeindex"):
                raise OSError(28, "No space left on device", path)
            return super().open(path, write=write, create=create)

    disk = Refuses()
    log = store.log(disk)
    fill(log, 2)
    disk.refuse = True
    with pytest.raises(OSError, match="No space"):
        log.chain.add(2)
    assert log.chain.bases == [0]
    assert [name for name in store.files() if name.startswith("0" * 19 + "2")] == []


def test_refresh_by_several_threads(made, tmp_path):
    from storage_kit import run_all

    chain = made(*range(0, 200, 2))
    for base in chain.bases:
        chain.segment(base)
    for path in list(tmp_path.iterdir())[:60]:
        path.unlink()
    run_all(*[chain.refresh] * 8)
    assert len(chain.bases) == 40
