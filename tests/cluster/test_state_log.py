"""An owned partition with what is kept beside it: what the next owner finds of that."""

import json
from functools import partial

import pytest
from owning_nodes import batch, pass_time, some_nodes, take_over, words

from logstore.cluster import state_log, writer
from logstore.cluster.state_log import Replayed, StateLog
from logstore.errors import ClusterBehind
from logstore.records.decode import decode


class Values:
    """``Notes``: where each value stands."""

    def __init__(self):
        self.at = {}

    def appended(self, it, base_offset):
        for number, record in enumerate(decode(it)):
            self.at[record.value.decode()] = base_offset + number

    def load(self, note):
        self.at = json.loads(note)

    def freeze(self):
        return lambda: json.dumps(self.at).encode()


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.setattr(state_log, "EVERY_BYTES", 400)
    found = some_nodes(2)
    for it in found:
        it.new_state = partial(Replayed, Values)
    return found


def owned(nodes, which):
    """The partition, as the node's."""
    node = nodes[which]
    return StateLog(*take_over(nodes, which), lambda: 1, lambda *job: node.jobs.append(job))


def fill(nodes, log, count, begin=0):
    """Appends, and lets what they begin be done."""
    [node] = [it for it in nodes if it.owned()]
    node.jobs = []
    for number in range(begin, begin + count):
        log.append(batch(b"%d" % number))
        pass_time(nodes, 0.1)
        work(node)


def work(node):
    """What other threads do."""
    jobs, node.jobs = node.jobs, []
    for job, then in jobs:
        then(job())


def test_the_next_owner_finds_what_was_saved_and_what_came_after(nodes):
    log = owned(nodes, 0)
    fill(nodes, log, 20)
    assert log.start > 0
    assert words(nodes[0], 0)[0] == ("beat", "0")
    after = owned(nodes, 1)
    assert after.notes.at == log.notes.at
    assert sorted(after.notes.at, key=int) == [str(it) for it in range(20)]


def test_offsets_are_what_they_will_be_though_beats_are_said_between(nodes):
    log = owned(nodes, 0)
    fill(nodes, log, 3)
    nodes[0].owns.served(0).say_beat()
    fill(nodes, log, 12, 3)
    pass_time(nodes)
    assert log.end == nodes[0].broker(0).end
    after = owned(nodes, 1)
    fill(nodes, after, 2, 15)
    standing = {
        record.value.decode(): record.offset
        for it in nodes[1].broker(0).read(after.start, 1 << 20) for record in decode(it)
        if record.key is None
    }  # fmt: skip
    assert standing.items() <= after.notes.at.items()
    assert "16" in standing


def test_a_state_that_is_refused_is_not_tried_with_each_append(nodes, monkeypatch):
    log = owned(nodes, 0)
    tried = []

    def refused(snapshot=-1):
        tried.append(log.end)
        raise ClusterBehind("much is not acknowledged")

    monkeypatch.setattr(nodes[0].owns.served(0), "say_beat", refused)
    size = batch(b"10").size
    fill(nodes, log, 30, 10)
    assert 1 <= len(tried) <= 30 * size // state_log.EVERY_BYTES


def test_what_is_appended_while_the_state_is_written_out_is_found_behind_it(nodes):
    log = owned(nodes, 0)
    nodes[0].jobs = []
    for number in range(20):
        log.append(batch(b"%d" % number))
        pass_time(nodes, 0.1)
    work(nodes[0])
    pass_time(nodes, 0.1)
    work(nodes[0])
    pass_time(nodes, 0.1)
    assert words(nodes[0], 0)[0] == ("beat", "0")
    after = owned(nodes, 1)
    assert after.notes.at == log.notes.at
    assert sorted(after.notes.at, key=int) == [str(it) for it in range(20)]


def test_a_state_that_is_more_than_a_partition_may_hold_unacknowledged_is_saved(nodes, monkeypatch):
    monkeypatch.setattr(state_log, "PART_BYTES", 100)
    monkeypatch.setattr(writer, "PARTITION_BYTES_MAX", 1500)
    log = owned(nodes, 0)
    fill(nodes, log, 200)
    pass_time(nodes)
    note = log.notes.freeze()()
    assert len(note) > writer.PARTITION_BYTES_MAX
    start = log.start
    fill(nodes, log, 50, 200)
    assert log.start > start
    after = owned(nodes, 1)
    assert after.notes.at == log.notes.at


def test_a_state_that_is_written_out_too_late_is_not_appended(nodes):
    log = owned(nodes, 0)
    nodes[0].jobs = []
    for number in range(20):
        log.append(batch(b"%d" % number))
    log.close()
    end = log.end
    work(nodes[0])
    assert log.end == end


def test_a_large_state_is_saved_when_as_much_was_appended(nodes, monkeypatch):
    """Else it would be appended again with each MiB: most of what the partition is sent."""
    log = owned(nodes, 0)
    fill(nodes, log, 150)
    saved = counted(monkeypatch)
    size = batch(b"150").size
    fill(nodes, log, 50, 150)
    note_bytes = len(log.notes.freeze()())
    assert note_bytes > 4 * state_log.EVERY_BYTES
    assert 1 <= len(saved) <= 50 * size // note_bytes + 1
    saved.clear()
    after = owned(nodes, 1)
    fill(nodes, after, 10, 200)  # more than EVERY_BYTES
    assert (saved, after.notes.at.keys()) == ([], {str(it) for it in range(210)})


def counted(monkeypatch):
    """Grows by one with each snapshot that is begun."""
    saved, begin = [], StateLog._save
    monkeypatch.setattr(StateLog, "_save", lambda it: saved.append(it) or begin(it))
    return saved
