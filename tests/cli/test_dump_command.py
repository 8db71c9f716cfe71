import json

import pytest


@pytest.fixture
def log(logstore, data):
    """A .log of three batches: of 2, 1 and 1 records."""
    logstore("topic", "create", "t", "--config", "compression.type=zstd")
    for lines in (
        b'{"k":"a","t":1}\n{"k":null,"t":2}\n',
        b'{"k":"c","t":3}\n',
        b'{"k":"d","t":4}\n',
    ):
        fields = ("--key-field", "k", "--timestamp-field", "t", "--header", "h=\udcff")
        logstore("produce", "t", *fields, stdin=lines)
    [path] = (data / "t-0").glob("*.log")
    return path


@pytest.fixture
def positions(logstore, log):
    found = map(json.loads, logstore("dump", log, "--json").lines)
    return [one["batch"]["position"] for one in found]


def test_batches(logstore, log):
    result = logstore("dump", log)
    assert result.lines[0].split()[:5] == ["POSITION", "BYTES", "FIRST", "LAST", "RECORDS"]
    first = result.lines[1].split()
    assert (first[0], *first[2:]) == ("0", "0", "1", "2", "zstd", "1970-01-01T00:00:02.000Z")
    assert result.lines[-1].startswith("3 batches, 4 records, ")


def test_records(logstore, log):
    result = logstore("dump", log, "--records")
    assert result.lines[2].split(maxsplit=2) == [
        "0", "1970-01-01T00:00:01.000Z", '"a": "{\\"k\\":\\"a\\",\\"t\\":1}" h=0xff',
    ]  # fmt: skip
    assert result.lines[3].split(maxsplit=2)[2].startswith("null: ")


def test_json(logstore, log):
    found = [json.loads(line) for line in logstore("dump", log, "--records", "--json").lines]
    assert [next(iter(one)) for one in found] == [
        "batch", "record", "record", "batch", "record", "batch", "record",
    ]  # fmt: skip
    batch = found[0]["batch"]
    assert (batch["base_offset"], batch["last_offset"], batch["records"]) == (0, 1, 2)
    assert (batch["compression"], batch["producer_id"]) == ("zstd", -1)
    assert found[1]["record"]["key"] == "a"


def test_it_needs_no_store_around_it(logstore, log, tmp_path):
    (tmp_path / "copy.log").write_bytes(log.read_bytes())
    assert logstore("dump", "copy.log", "--data", "nowhere").lines[-1].startswith("3 batches")


def test_zeros_in_advance_are_no_damage(logstore, log):
    log.write_bytes(log.read_bytes() + bytes(5000))
    result = logstore("dump", log)
    assert "5000  zeros, in advance of what will be written" in result.out
    assert json.loads(logstore("dump", log, "--json").lines[-1])["zeros"]["bytes"] == 5000


@pytest.mark.parametrize("cut", [1, 60, 75])
def test_truncated(logstore, log, positions, cut):
    log.write_bytes(log.read_bytes()[:-cut])
    result = logstore("dump", log, code=1)
    assert f"{log} is damaged at byte {positions[2]}: cut off: " in result.err
    assert result.lines[-1].startswith("2 batches, 3 records, ")


def test_a_flipped_bit(logstore, log, positions):
    damaged = bytearray(log.read_bytes())
    damaged[positions[1] + 62] ^= 4
    log.write_bytes(damaged)
    result = logstore("dump", log, code=1)
    assert f"{log} is damaged at byte {positions[1]}: batch at offset 2 has CRC 0x" in result.err
    assert result.lines[-1].startswith("2 batches, 3 records, ")  # it goes on behind the damage
    [_, damage, _] = map(json.loads, logstore("dump", log, "--json", code=1).lines)
    assert damage["damage"]["position"] == positions[1]


def test_a_length_that_is_nonsense_ends_it(logstore, log, positions):
    damaged = bytearray(log.read_bytes())
    damaged[positions[1] + 8 : positions[1] + 12] = bytes(4)
    log.write_bytes(damaged)
    result = logstore("dump", log, code=1)
    assert f"damaged at byte {positions[1]}: batch has length 0, expected at least 49" in result.err
    assert result.lines[-1].startswith("1 batch, 2 records, ")


def test_batches_in_the_wrong_order(logstore, log, positions):
    whole = log.read_bytes()
    log.write_bytes(whole[positions[1] :] + whole[: positions[1]])
    result = logstore("dump", log, code=1)
    assert "batch at offset 0 stands where 4 or more must follow" in result.err


@pytest.mark.parametrize(
    "content", [b"not a log at all, but a text that is long enough\n" * 9, b"\x7fELF" * 99, b"x"]
)
def test_a_foreign_file(logstore, tmp_path, content):
    (tmp_path / "00000000000000000000.log").write_bytes(content)
    result = logstore("dump", "00000000000000000000.log", code=1)
    assert "00000000000000000000.log is damaged at byte 0: " in result.err


def test_an_empty_file(logstore, tmp_path):
    (tmp_path / "00000000000000000000.log").touch()
    assert logstore("dump", "00000000000000000000.log").lines[1:] == ["0 batches, 0 records, 0 B"]


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("nowhere.log", 1, "logstore: nowhere.log: No such file or directory"),
        ("folder.log", 1, "logstore: folder.log: Is a directory"),
        ("notes.txt", 2, "its name must end in one of .log, .index, .timeindex"),
    ],
)
def test_files_that_cannot_be_dumped(logstore, tmp_path, file, code, message):
    (tmp_path / "folder.log").mkdir()
    assert message in logstore("dump", file, code=code).err


def entry(*numbers):
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def test_an_index(logstore, tmp_path):
    (tmp_path / "00000000000000001000.index").write_bytes(entry(5, 4096, 9, 8192) + bytes(16))
    result = logstore("dump", "00000000000000001000.index")
    assert [line.split() for line in result.lines[:3]] == [
        ["OFFSET", "POSITION"], ["1005", "4096"], ["1009", "8192"],
    ]  # fmt: skip
    assert "16  zeros" in result.lines[3]
    assert result.lines[-1] == "2 entries"
    found = map(json.loads, logstore("dump", "00000000000000001000.index", "--json").lines)
    assert next(found) == {"entry": {"offset": 1005, "position": 4096}}


def test_a_timeindex(logstore, tmp_path):
    name = "00000000000000001000.timeindex"
    (tmp_path / name).write_bytes(entry(0, 5000, 7) + entry(0, 6000, 9))
    assert logstore("dump", name).lines[1].split() == ["1007", "1970-01-01T00:00:05.000Z"]
    found = json.loads(logstore("dump", name, "--json").lines[0])
    assert found == {"entry": {"offset": 1007, "timestamp_ms": 5000}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (entry(5, 1, 5, 2), "byte 8: offset 5 or its position is lower"),
        (entry(5, 9, 6, 2), "byte 8: offset 6 or its position is lower"),
        (entry(5, 1) + b"abc", "byte 8: ends in the middle of entry 1"),
    ],
)
def test_a_damaged_index(logstore, tmp_path, content, message):
    (tmp_path / "00000000000000000000.index").write_bytes(content)
    assert message in logstore("dump", "00000000000000000000.index", code=1).err
