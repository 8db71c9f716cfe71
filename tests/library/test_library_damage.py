"""Batches that no reader can read: named, or passed over; they stop no other partition."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from crafted import ASTRAY, DAMAGED, NOW_MS, bomb, flipped, lead_astray, put, three
from mostly_long import mostly_long

import logstore
from logstore.broker import reading
from logstore.errors import CorruptBatch, Refused
from logstore.records import parts
from logstore.records.compression import decompressed

KINDS = {**DAMAGED, "a wrong checksum": flipped}
NAMES = list(KINDS)


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", 3)
        yield store


@pytest.fixture(params=NAMES)
def damaged(store, request):
    """Partition 1 has a damaged batch between two good ones; 0 and 2 are good."""
    for number in range(3):
        log = store.topic("t").partition(number)
        put(log, three(b"a%d" % number, b"b%d" % number))
        if number == 1:
            put(log, KINDS[request.param]())
        put(log, three(b"c%d" % number))
    return store


def taken(records):
    """What it gives until it raises, and what it raises."""
    found = []
    try:
        for record in records:
            found.append(record.value.decode())  # noqa: PERF401  it may raise
    except CorruptBatch as error:
        return found, str(error)
    return found, None


def names_all(message, store):
    assert "t-1" in message
    assert "batch at offset 2" in message
    assert f"{store.path}/t-1/{0:020d}.log" in message
    assert "\n" not in message


def test_a_damaged_batch_is_named_after_all_that_is_good(damaged):
    with damaged.consumer("t") as consumer:
        values, message = taken(consumer)
    assert sorted(values) == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c2"]
    names_all(message, damaged)


def test_a_damaged_batch_is_passed_over_where_that_is_asked_for(damaged, caplog):
    skipped = []
    for on_damage in (skipped.append, "skip"):
        with damaged.consumer("t", on_damage=on_damage) as consumer:
            values, message = taken(consumer)
        assert sorted(values) == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]
        assert message is None
    [damage] = skipped
    names_all(str(damage), damaged)
    [line] = [it for it in caplog.records if it.name == "logstore.reading"]
    assert (line.levelno, line.getMessage()) == (logging.WARNING, f"skipped: {damage}")


FEW = mostly_long(NAMES, ["a wrong checksum"])


@pytest.mark.parametrize("damaged", FEW, indirect=True)
def test_a_group_stays_before_the_damage_or_goes_on_behind_it(damaged):
    places = {("t", number) for number in range(3)}
    with pytest.raises(CorruptBatch), damaged.consumer("t", group="g") as consumer:
        for _ in consumer:
            pass
    with damaged.consumer("t", group="g", on_damage="skip") as consumer:
        assert [it.value for it in consumer] == [b"c1"]
    lags = damaged.group("g").describe()
    assert {(it.topic, it.partition) for it in lags if not it.lag} == places


@pytest.mark.parametrize("damaged", FEW, indirect=True)
def test_a_replay_of_the_others_goes_on(damaged):
    def replayed(**options):
        return (it for some in damaged.replay("t", **options) for it in some)

    values, message = taken(replayed())
    assert sorted(values) == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c2"]
    names_all(message, damaged)
    values, message = taken(replayed(on_damage="skip", from_ms=NOW_MS))
    assert (len(values), message) == (9, None)


def test_what_is_to_be_done_of_damage_is_a_known_word(store):
    with pytest.raises(Refused, match="must be stop, skip"):
        store.consumer("t", on_damage="ignore")


def test_a_file_that_cannot_be_walked_is_passed_over_to_the_next(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        topic = store.create_topic("s", 1, {"segment.bytes": "400"})
        for n in range(30):
            topic.append_many([logstore.Message(b"%d" % n)])
        bases = topic.partition(0).bases()
        path = tmp_path / "data" / "s-0" / f"{bases[1]:020d}.log"
        data = bytearray(path.read_bytes())
        data[8:12] = b"\0\0\0\1"  # the length of its first batch
        path.write_bytes(data)
        skipped = []
        with store.consumer("s", on_damage=skipped.append) as consumer:
            found = [int(it.value) for it in consumer]
        assert found == [*range(bases[1]), *range(bases[2], 30)]
        [damage] = skipped
        assert f"offsets {bases[1]} to {bases[2] - 1} are skipped" in str(damage)


@pytest.fixture(params=ASTRAY)
def astray(store, request):
    """In partition 1 the second batch of three of a sealed segment leads astray."""
    for number in range(3):
        log = store.topic("t").partition(number)
        for n, letter in enumerate("abc"):
            put(log, three(*[b"%s%d" % (letter.encode(), number)] * 3, at_ms=NOW_MS + 10 * n))
        log.roll()
        put(log, three(b"d%d" % number, at_ms=NOW_MS + 30))
    lead_astray(Path(store.path, "t-1", f"{0:020d}.log"), request.param)
    store.topic("t").partition(1).chain.let_go()
    return store


@pytest.mark.parametrize("place", ["earliest", datetime.fromtimestamp(NOW_MS / 1000, UTC)])
def test_from_a_time_all_is_read_that_can_be(astray, place):
    """A look-up by time raised at it, and no partition was read, whatever was to be skipped."""
    with astray.consumer("t", start=place) as consumer:
        values, message = taken(consumer)
    good = [f"{letter}{number}" for number in (0, 2) for letter in "aaabbbcccd"]
    assert sorted(values) == sorted([*good, "a1", "a1", "a1"])
    assert f"{astray.path}/t-1/{0:020d}.log" in message
    skipped = []
    with astray.consumer("t", start=place, on_damage=skipped.append) as consumer:
        values, message = taken(consumer)
    assert sorted(values) == sorted([*good, "a1", "a1", "a1", "d1"])
    assert (len(skipped), message) == (1, None)


def test_a_replay_from_a_time_goes_over_what_leads_astray(astray):
    for options, more in (({"on_damage": "skip"}, ["a1", "a1", "a1", "d1"]), ({}, ["a1"] * 3)):
        found = (it for some in astray.replay("t", from_ms=NOW_MS, **options) for it in some)
        values, message = taken(found)
        good = [f"{letter}{number}" for number in (0, 2) for letter in "aaabbbcccd"]
        assert sorted(values) == sorted([*good, *more])
        assert (message is None) == bool(options)


@pytest.fixture
def opened(monkeypatch):
    """How many bytes were decompressed."""
    chunks = []

    def counted(*arguments):
        for chunk in decompressed(*arguments):
            chunks.append(len(chunk))
            yield chunk

    monkeypatch.setattr(parts, "decompressed", counted)
    return chunks


def test_one_record_of_six_bombs_opens_a_part_of_one(store, opened):
    """Six batches of 6 KB that hold 200 MiB each were all opened: 1.8 GB."""
    put(store.topic("t").partition(0), *[bomb()] * 6)
    with store.consumer("t") as consumer:
        assert len(consumer.poll(1)) == 1
    assert sum(opened) <= 4 << 20


def test_a_bomb_is_read_to_its_end_a_part_at_a_time(store, opened):
    put(store.topic("t").partition(0), bomb(64), three(b"last"), bomb(64))
    with store.consumer("t") as consumer:
        total = 0
        while some := consumer.poll():
            assert sum(len(it.value) for it in some) <= reading.CHUNK_BYTES * 2
            total += len(some)
        assert total == 64 + 1 + 64
    assert sum(opened) < 129 << 20  # each once
