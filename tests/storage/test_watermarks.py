import os
import subprocess
import sys
import threading
from array import array

import pytest
from storage_kit import DEADLINE_S

from logstore.errors import CorruptStore
from logstore.storage.disk import Disk
from logstore.storage.watermarks import Poller, Watermarks


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "watermarks")


@pytest.fixture
def marks(path):
    opened = Watermarks(Disk(), path, write=True)
    yield opened
    opened.close()


def test_what_is_published_is_seen_by_others(marks, path):
    slot = marks.slot(3, 77)
    assert slot.read() is None
    slot.publish(5, 9)
    other = Watermarks(Disk(), path, write=False)
    seen = other.slot(3, 77)
    assert seen.read() == (5, 9)
    slot.publish_safe(12)
    slot.publish_start(6)
    assert (seen.read(), seen.synced()) == ((6, 12), 9)
    slot.publish_synced(12)
    assert seen.synced() == 12
    other.close()


def test_a_slot_belongs_to_one_log(marks):
    marks.slot(0, 7).publish(1, 2)
    assert marks.slot(0, 8).read() is None
    assert marks.slot(0, 8).synced() == 0
    assert marks.slot(1, 7).read() is None
    marks.slot(0, 7).release()
    assert marks.slot(0, 7).read() is None


def test_it_grows_and_readers_notice(marks, path):
    other = Watermarks(Disk(), path, write=False)
    far = other.slot(50_000, 9)
    assert far.read() is None
    marks.slot(50_000, 9).publish(1, 2)
    marks.slot(0, 5).publish(3, 4)
    assert far.read() == (1, 2)
    assert other.slot(0, 5).read() == (3, 4)
    other.close()


def test_it_outlives_the_writer(path):
    marks = Watermarks(Disk(), path, write=True)
    marks.slot(0, 5).publish(3, 4)
    marks.close()
    marks = Watermarks(Disk(), path, write=True)
    assert marks.slot(0, 5).read() == (3, 4)
    marks.close()


@pytest.mark.parametrize("content", [b"garbage" * 20, b"x", b"LOGSTWM3" + bytes(100)])
@pytest.mark.parametrize("write", [False, True])
def test_another_kind_of_file(path, content, write):
    with open(path, "wb") as file:
        file.write(content)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CorruptStore, match="not a watermarks file: remove it"):
        Watermarks(Disk(), path, write=write)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_hole_is_left_that_a_full_disk_would_make_a_sigbus(path, marks):
    marks.slot(5000, 1).publish(0, 0)
    facts = os.stat(path)
    assert facts.st_blocks * 512 >= facts.st_size


def test_a_full_file_system(tmp_path):
    """A store into a mapped hole would kill the process: so it is told before."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        script = (
            "import sys; from logstore.storage.disk import Disk\n"
            "from logstore.storage.watermarks import Watermarks\n"
            "marks = Watermarks(Disk(), sys.argv[1] + '/watermarks', write=True)\n"
            "try:\n"
            "    for n in range(100_000): marks.slot(n, 1).publish(0, 0)\n"
            "except OSError as error: print(error.strerror)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(place)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "No space left on device\n")
    finally:
        subprocess.run(["umount", str(place)], check=True)


class Steps:
    """The poller's sleep: each is let go by the test."""

    def __init__(self):
        self.asleep, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def sleep(self, seconds):
        self.asleep.release()
        assert self.go.acquire(timeout=DEADLINE_S)

    def step(self):
        """One more look is done when this returns."""
        assert self.asleep.acquire(timeout=DEADLINE_S)
        self.go.release()
        assert self.asleep.acquire(timeout=DEADLINE_S)
        self.asleep.release()


class TestPoller:
    def test_wakes_when_it_moves_and_only_then(self):
        steps, value, woken = Steps(), [0], []
        poller = Poller(1, steps.sleep)
        stop = poller.watch(lambda: value[0], lambda: woken.append(value[0]))
        steps.step()
        assert woken == []
        value[0] = 5
        steps.step()
        steps.step()
        assert woken == [5]
        stop()
        steps.go.release()

    def test_one_that_fails_does_not_end_it_for_the_others(self):
        def broken():
            raise CorruptStore("the catalogue")

        steps, value, woken = Steps(), [0], []
        poller = Poller(1, steps.sleep)
        poller.watch(broken, lambda: woken.append("broken"))
        poller.watch(lambda: value[0], lambda: woken.append("good"))
        value[0] = 1
        steps.step()
        assert woken == ["good"]
        poller.close()
        steps.go.release()


def test_a_file_of_an_earlier_version_is_read_and_made_anew(path):
    words = [int.from_bytes(b"LOGSTWM1", sys.byteorder), 0, 0, 0, 0, 0, 0, 0, 77, 5, 12, 9]
    with open(path, "wb") as file:
        file.write(array("q", [*words, 0, 0, 0, 0]).tobytes())
    reader = Watermarks(Disk(), path, write=False)
    slot = reader.slot(1, 77)
    assert (slot.read(), slot.synced(), slot.undecided()) == ((5, 12), 9, None)
    marks = Watermarks(Disk(), path, write=True)
    slot = marks.slot(1, 77)
    assert (slot.read(), slot.synced(), slot.undecided()) == ((5, 12), 9, None)
    slot.publish_undecided(0)
    other = Watermarks(Disk(), path, write=False)
    assert other.slot(1, 77).undecided() == 0
    slot.publish_undecided(None)
    assert other.slot(1, 77).undecided() is None
    assert os.listdir(os.path.dirname(path)) == ["watermarks"]
    for it in (reader, marks, other):
        it.close()
