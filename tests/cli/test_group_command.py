import json
import signal

import pytest

pytestmark = pytest.mark.long


@pytest.fixture
def billing(logstore):
    """A group that has read three of the five records of one partition; nothing of the other."""
    logstore("topic", "create", "flights", "--partitions", 2)
    lines = b"".join(b'{"t": "@%dms"}\n' % (1000 * n) for n in range(5))
    logstore("produce", "flights", "--partition", 0, "--timestamp-field", "t", stdin=lines)
    logstore("consume", "flights", "--group", "billing", "--partition", 0, "--max", 3)


def committed(logstore):
    found = json.loads(logstore("group", "describe", "billing", "--json").out)
    return [(lag["topic"], lag["partition"], lag["committed"]) for lag in found["partitions"]]


def test_list(logstore, billing):
    logstore("produce", "flights", "--partition", 1, stdin=b"1\n2\n")
    assert logstore("group", "list").lines == ["GROUP    MEMBERS  LAG", "billing        0    4"]
    told = json.loads(logstore("group", "list", "--json").out)
    assert told == [{"group": "billing", "members": 0, "lag": 4}]


def test_describe_shows_the_lag(logstore, billing):
    text = logstore("group", "describe", "billing").lines
    assert text[:3] == ["group        billing", "consumed by  no one", "lag          2"]
    assert text[4].split() == ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "COMMIT", "TIME"]
    assert text[5].split()[:5] == ["flights", "0", "3", "5", "2"]
    assert text[6].split() == ["flights", "1", "-", "0", "0", "-"]
    told = json.loads(logstore("group", "describe", "billing", "--json").out)
    [lag, _] = told["partitions"]
    assert told["lag"] == 2
    assert (lag["committed"], lag["end"], lag["lag"]) == (3, 5, 2)


@pytest.mark.parametrize(
    ("to", "after"),
    [("earliest", 0), ("latest", 5), ("2", 2), ("1970-01-01T00:00:01.500Z", 2), ("@4000ms", 4)],
)
def test_reset_offsets(logstore, billing, to, after):
    words = ("group", "reset-offsets", "billing", "--to", to)
    if to == "2":
        logstore("produce", "flights", "--partition", 1, stdin=b"1\n2\n")
    result = logstore(*words, "--dry-run")
    assert result.lines[1].split() == ["flights", "0", "3", str(after)]
    forward = {5: "2 offsets", 4: "1 offset"}.get(after)
    told = f"group billing would skip {forward}\n" if forward else ""
    assert result.err == f"dry run: nothing was changed\n{told}"
    assert committed(logstore)[0] == ("flights", 0, 3)
    moved = logstore(*words)
    assert (moved.out, moved.err) == (result.out, told.replace("would skip", "skips"))
    assert committed(logstore)[0] == ("flights", 0, after)
    assert (
        len(logstore("consume", "flights", "--group", "billing", "--partition", 0).lines)
        == 5 - after
    )


def test_reset_offsets_of_a_topic_not_read_yet(logstore, billing):
    logstore("topic", "create", "other")
    logstore("produce", "other", stdin=b"one\n")
    logstore("group", "reset-offsets", "billing", "--to", "latest", "--topic", "other")
    assert ("other", 0, 1) in committed(logstore)
    assert committed(logstore)[0] == ("flights", 0, 3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--to", "6"), 1, "flights-0: offset 6 is above the end, 5"),
        (("--to", "earliest", "--topic", "flihgts"), 1, "'flihgts'"),
        (("--to", "tomorrow"), 2, "'tomorrow' is not a time"),
        ((), 2, "--to"),
    ],
)
def test_a_reset_that_cannot_be_changes_nothing(logstore, billing, words, code, message):
    assert message in logstore("group", "reset-offsets", "billing", *words, code=code).err
    assert committed(logstore) == [("flights", 0, 3), ("flights", 1, None)]


def test_delete(logstore, billing):
    assert logstore("group", "delete", "billing").out == "deleted group billing\n"
    assert logstore("group", "list").out == "GROUP  MEMBERS  LAG\n"


def test_who_deletes_a_group_is_told_of(logstore, billing):
    logstore("user", "add", "root", "--tag", "administrator", "--no-password")
    logstore("group", "delete", "billing")
    told = [json.loads(it) for it in logstore("consume", "__audit").lines]
    assert [it["what"] for it in told if it["event"] == "group"] == [["deleted billing"]]


@pytest.mark.parametrize(
    "words", [("describe", "x"), ("reset-offsets", "x", "--to", "latest"), ("delete", "x")]
)
def test_a_group_that_does_not_exist(logstore, billing, words):
    assert "no group 'x'" in logstore("group", *words, code=1).err


def test_a_group_that_has_not_committed_yet_shows_what_its_members_read(logstore, spawn):
    logstore("topic", "create", "new", "--partitions", 2)
    logstore("produce", "new", "--partition", 1, stdin=b"one\n")
    consumer = spawn("consume", "new", "--group", "young", "--follow")
    assert consumer.line() == b"one\n"
    text = logstore("group", "describe", "young").lines
    rows = [line.split()[:5] for line in text if line.startswith("new")]
    assert [row[:2] for row in rows] == [["new", "0"], ["new", "1"]]
    assert rows[0][2:] == ["-", "0", "0"]
    consumer.send(signal.SIGTERM)
    consumer.end()


def test_a_group_in_use_is_left_alone(logstore, billing, spawn):
    consumer = spawn("consume", "flights", "--group", "billing", "--follow")
    assert consumer.line() == b'{"t": "@3000ms"}\n'
    pid = f"pid {consumer.popen.pid} (logstore consume flights --group billing --follow)"
    described = logstore("group", "describe", "billing").out
    assert "consumed by  1 member\n" in described
    assert f"{pid}  flights 0,1\n" in described
    [member] = json.loads(logstore("group", "describe", "billing", "--json").out)["members"]
    assert (member["owner"], member["partitions"]) == (pid, [["flights", 0], ["flights", 1]])
    for words in (
        ("group", "reset-offsets", "billing", "--to", "earliest"),
        ("group", "delete", "billing"),
    ):
        told = logstore(*words, code=1).err
        assert f"group 'billing' is consumed by {pid}: stop its consumers first\n" in told


def test_commit_times_are_shown_beside_a_server(logstore, billing, data, start_serving):
    def times():
        found = json.loads(logstore("group", "describe", "billing", "--json").out)
        return [it["commit_ms"] for it in found["partitions"]]

    before = times()
    assert before[0] > 0
    server = start_serving(data)
    assert times() == before
    logstore("consume", "flights", "--group", "billing")
    assert times()[0] > before[0]
    by_port = ("group", "describe", "billing", "--json", "--bootstrap", server.address)
    found = json.loads(logstore(*by_port).out)
    assert {it["commit_ms"] for it in found["partitions"]} == {None}


# What retention has overtaken --------------------------------------------------------------------


@pytest.fixture(params=["directory", "server"])
def behind(request, logstore, data, start_serving):
    """Of a group of three partitions, one has fallen behind the start; options to reach it."""
    logstore("topic", "create", "t", "--partitions", 3)
    for number in range(3):
        lines = b"".join(b"%d-%d\n" % (number, n) for n in range(10))
        logstore("produce", "t", "--partition", number, stdin=lines)
    logstore("consume", "t", "--group", "g")
    logstore("group", "reset-offsets", "g", "--to", 5)
    logstore("topic", "trim", "t", "--partition", 1, "--before", 8)
    if request.param == "directory":
        return ()
    return "--bootstrap", start_serving(data).address


REST = [f"{number}-{n}" for number in range(3) for n in range(5, 10)]


def test_a_group_behind_in_one_partition_is_moved_there_alone(logstore, behind):
    told = logstore("consume", "t", "--group", "g", *behind, code=1).err
    assert "t-1: offset 5 is below the start, 8" in told
    assert "`logstore group reset-offsets g --out-of-range earliest`" in told
    words = ("group", "reset-offsets", "g", "--out-of-range", "earliest", *behind)
    row = ["t", "1", "5", "8"]
    assert [line.split() for line in logstore(*words, "--dry-run").lines[1:]] == [row]
    assert [line.split() for line in logstore(*words).lines[1:]] == [row]
    assert "no offset is out of range" in logstore(*words).err
    left = sorted(logstore("consume", "t", "--group", "g", *behind).lines)
    assert left == [it for it in REST if it not in ("1-5", "1-6", "1-7")]


@pytest.mark.parametrize(("to", "gone"), [("earliest", "567"), ("latest", "56789")])
def test_a_consumer_moves_a_group_that_is_behind_by_itself(logstore, behind, to, gone):
    words = ("consume", "t", "--group", "g", "--on-out-of-range", to, *behind)
    result = logstore(*words)
    assert sorted(result.lines) == [it for it in REST if it not in {f"1-{n}" for n in gone}]
    found = json.loads(logstore("group", "describe", "g", "--json", *behind).out)
    assert [lag["committed"] for lag in found["partitions"]] == [10, 10, 10]


def test_one_partition_of_a_group_is_moved(logstore, behind):
    words = ("group", "reset-offsets", "g", *behind)
    rows = logstore(*words, "--to", "latest", "--partition", 1, "--partition", 2).lines[1:]
    assert [line.split() for line in rows] == [["t", "1", "5", "10"], ["t", "2", "5", "10"]]
    assert "no partition 3" in logstore(*words, "--to", 9, "--partition", 3, code=1).err


def test_a_reset_is_told_where_to_in_one_way(logstore):
    for words in ((), ("--to", "latest", "--out-of-range", "latest")):
        told = logstore("group", "reset-offsets", "g", *words, code=2).err
        assert "use either --to or --out-of-range" in told
