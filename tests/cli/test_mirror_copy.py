"""The copy against lists: whatever is done to it, and wherever it is cut off."""

import json
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logstore_cli.mirror.copy import Copy
from logstore_cli.mirror.journal import FILE, Journal
from logstore_cli.mirror.piece import Piece, runs_of
from logstore_cli.mirror.sides import Ready, Spoiled
from logstore_cli.mirror.track import Run, Track

from logstore.errors import CorruptStore, Failed, Refused
from logstore.records.record import Record

PLACE = ("t", 0)


@dataclass
class OneTopic:
    """A side's topics: one with one partition."""

    id: str
    name: str = "t"
    partitions: tuple = (None,)
    created_ms: int = 0

    def topics(self):
        return [self.name]

    def topic(self, name):
        return self


@dataclass
class ListSource:
    records: dict  # by offset: gaps are where compaction was
    begin: int = 0
    site: OneTopic = field(default_factory=lambda: OneTopic("source"))
    id: str = "source"
    at: int = 0
    most: int = 3
    damages: dict = field(default_factory=dict)

    def start(self, place):
        return self.begin

    def add(self, place, at):
        self.at = at

    def read(self, timeout_s):
        offsets = [it for it in sorted(self.records) if it >= self.at][: self.most]
        if not offsets:
            return []
        self.at = offsets[-1] + 1
        found = [Record(*PLACE, it, 0, None, self.records[it], ()) for it in offsets]
        return [Piece(PLACE, self.at, (), found)]

    @property
    def ended(self):
        return not any(it >= self.at for it in self.records)


class PowerCut(Exception):
    pass


@dataclass
class ListTarget:
    """Dies while it writes, after so many records."""

    values: list = field(default_factory=list)
    dies_after: int | None = None
    site: OneTopic = field(default_factory=lambda: OneTopic("target"))
    id: str = "target"

    def ends(self, topic, partitions):
        return [len(self.values)]

    def start(self, place):
        return 0

    def ready(self, piece):
        spans = runs_of((it.offset, 1) for it in piece.records)
        return Ready(piece.place, spans, [it.value for it in piece.records])

    def write(self, pieces):
        [(ready, at)] = pieces
        assert at == len(self.values)
        for value in ready.payload:
            if self.dies_after == 0:
                raise PowerCut
            self.values.append(value)
            if self.dies_after is not None:
                self.dies_after -= 1


def run(source, target, path, said=None):
    """One mirror, to its end or death; gives what a group's offsets would become."""
    with Journal(path) as journal:
        said = [] if said is None else said
        copy = Copy(source, target, journal, ["t"], say=said.append, sleep=lambda _: None)
        copy.survey()
        while copy.step() or not copy.ended:
            pass
        return lambda offset: copy.translate(PLACE, offset)


def numbered(offsets):
    return {it: b"%d" % it for it in offsets}


@pytest.mark.long
@settings(max_examples=60, deadline=None)  # each a few files; a sync may take its time
@given(
    offsets=st.sets(st.integers(0, 60), max_size=30),
    deaths=st.lists(st.integers(0, 8), max_size=6),
    most=st.integers(1, 7),
)
def test_cut_off_anywhere_and_continued(tmp_path_factory, offsets, deaths, most):
    path = tmp_path_factory.mktemp("notes")
    records, target = numbered(offsets), ListTarget()
    for dies_after in deaths:
        target.dies_after = dies_after
        try:
            run(ListSource(records, most=most), target, path)
        except PowerCut:
            continue
    target.dies_after = None
    translate = run(ListSource(records, most=most), target, path)
    assert target.values == [records[it] for it in sorted(records)]
    for offset in range(62):
        rest = [records[it] for it in sorted(records) if it >= offset]
        assert target.values[translate(offset) :] == rest


def test_compacted_between_two_runs(tmp_path):
    target = ListTarget()
    run(ListSource(numbered(range(10))), target, tmp_path)
    records = numbered([3, 9, 10, 12])  # the latest of each key; and then more
    translate = run(ListSource(records), target, tmp_path)
    assert target.values == [b"%d" % it for it in (*range(10), 10, 12)]
    # As the copy has it: what compaction took from the source is there still.
    assert [translate(it) for it in (0, 4, 9, 10, 11, 12, 13)] == [0, 4, 9, 10, 11, 11, 12]


def test_records_that_are_gone_before_they_were_copied_are_named(tmp_path):
    target, said = ListTarget(), []
    run(ListSource(numbered(range(4))), target, tmp_path)
    run(ListSource(numbered(range(9)), begin=7), target, tmp_path, said)
    assert said == ["t-0: offsets 4 to 6 were deleted in the source before they were copied"]
    assert target.values == [b"0", b"1", b"2", b"3", b"7", b"8"]


def test_others_write_to_the_copy(tmp_path):
    target = ListTarget()
    run(ListSource(numbered(range(4))), target, tmp_path)
    target.values.append(b"mine")
    with pytest.raises(Refused, match="t-0: the target has 1 records that were not copied"):
        run(ListSource(numbered(range(9))), target, tmp_path)


def test_a_target_with_records_of_its_own(tmp_path):
    with pytest.raises(Refused, match="already has records in the target"):
        run(ListSource(numbered(range(4))), ListTarget([b"mine"]), tmp_path)


def test_others_write_to_the_copy_while_it_is_made(tmp_path, monkeypatch):
    target = ListTarget()

    def spoiled(pieces):
        target.values += [b"theirs", *pieces[0][0].payload[:1]]
        raise Spoiled("stands at 1", "t")

    monkeypatch.setattr(target, "write", spoiled)
    with pytest.raises(Spoiled):
        run(ListSource(numbered(range(9)), most=9), target, tmp_path)
    monkeypatch.undo()
    for _ in range(2):  # though less is there than was to be
        with pytest.raises(Refused, match="another program wrote to the copy"):
            run(ListSource(numbered(range(9))), target, tmp_path)


def test_made_anew(tmp_path):
    target = ListTarget()
    run(ListSource(numbered(range(4))), target, tmp_path)
    with pytest.raises(Refused, match="was deleted and created again in the source"):
        run(ListSource(numbered(range(4)), site=OneTopic("other")), target, tmp_path)
    fresh = ListTarget(site=OneTopic("new"))  # the copy was deleted: it begins anew
    run(ListSource(numbered(range(4)), site=OneTopic("other")), fresh, tmp_path)
    assert len(fresh.values) == 4


class TestTrack:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=12), st.data())
    def test_against_a_dictionary(self, steps, data):
        """Runs with gaps, cut now and then."""
        track, known, source, target = Track(), {}, 0, 0
        for gap, span in steps:
            if known and data.draw(st.booleans()):
                target = data.draw(st.integers(0, target))
                track.cut(target)
                known = {s: t for s, t in known.items() if t < target}
                source = max(known, default=-1) + 1
            source += gap
            track.add(Run(source, target, span))
            known |= {source + n: target + n for n in range(span)}
            source, target = source + span, target + span
        for offset in range(source + 2):
            later = [t for s, t in known.items() if s >= offset]
            expected = min(later, default=target if known else None)
            assert track.translate(offset) == expected

    def test_what_follows_is_joined(self):
        track = Track()
        for n in range(100):
            track.add(Run(n, 50 + n, 1))
        assert list(track) == [Run(0, 50, 100)]


class TestJournal:
    def noted(self, path):
        with Journal(path) as journal:
            return {place: list(track) for place, track in journal.tracks.items()}

    @pytest.fixture
    def path(self, tmp_path):
        with Journal(tmp_path) as journal:
            journal.begin("t", "a", "b")
            journal.note({PLACE: [Run(0, 0, 5), Run(7, 5, 2)]})
            journal.note({PLACE: [Run(9, 7, 1)]})
        return tmp_path

    def test_it_is_there_when_it_is_opened_again(self, path):
        for _ in range(2):
            assert self.noted(path) == {PLACE: [Run(0, 0, 5), Run(7, 5, 3)]}

    def test_cut_off_anywhere_it_says_what_was_durable(self, path):
        whole = (path / FILE).read_bytes()
        lines = [json.loads(it) for it in whole.splitlines()]
        assert lines[0] == ["begin", "t", "a", "b"]
        for end in range(len(whole)):
            (path / FILE).write_bytes(whole[:end])
            expected = Track()
            for _, _, _, *run_ in lines[1 : whole[:end].count(b"\n")]:
                expected.add(Run(*run_))
            assert self.noted(path).get(PLACE, []) == list(expected)

    def test_a_tail_of_garbage_was_never_durable(self, path):
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        garbage = bytes(b | 0x80 for b in random.Random(seed).randbytes(50))  # no JSON
        with open(path / FILE, "ab") as file:
            file.write(garbage + b"\n" + garbage + b"\n")
        assert self.noted(path) == {PLACE: [Run(0, 0, 5), Run(7, 5, 3)]}

    def test_damage_before_the_end_is_refused(self, path):
        lines = (path / FILE).read_bytes().splitlines(keepends=True)
        (path / FILE).write_bytes(lines[0] + b"garbage\n" + lines[1])
        with pytest.raises(CorruptStore, match="line 2 is damaged"):
            Journal(path)

    def test_one_process_at_a_time(self, path):
        with Journal(path), pytest.raises(Refused, match="is in use by pid"):
            Journal(path)

    def test_it_is_written_anew_before_it_grows_without_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr("logstore_cli.mirror.journal.LINES_SPARE", 10)
        with Journal(tmp_path) as journal:
            journal.begin("t", "a", "b")
            for n in range(100):
                journal.note({PLACE: [Run(n, n, 1)]})
                assert (tmp_path / FILE).read_bytes().count(b"\n") < 15
        assert self.noted(tmp_path) == {PLACE: [Run(0, 0, 100)]}


def test_a_failure_while_it_is_noted_writes_nothing(tmp_path, monkeypatch):
    target = ListTarget()

    def fail(*_):
        raise Failed("no space")

    monkeypatch.setattr(Journal, "note", fail)
    with pytest.raises(Failed):
        run(ListSource(numbered(range(4))), target, tmp_path)
    assert target.values == []
