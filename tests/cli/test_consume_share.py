"""``logstore consume --share``: in the directory, and through the server that has it."""

import pytest
from cli_process import DEADLINE_S


@pytest.fixture
def letters(logstore):
    logstore("topic", "create", "letters")
    logstore("produce", "letters", stdin=b"a\nb\nc\nd\n")


SHARED = ("consume", "letters", "--share", "g")


@pytest.mark.usefixtures("letters")
class TestInTheDirectory:
    def test_what_is_printed_is_accepted_and_nothing_else(self, logstore):
        assert logstore(*SHARED).lines == []  # it begins at the end
        logstore("produce", "letters", stdin=b"e\nf\ng\n")
        assert logstore(*SHARED, "--max", 2).lines == ["e", "f"]
        words = ("--format", "{partition} {offset} {value}")
        assert logstore(*SHARED, *words).lines == ["0 6 g"]
        assert logstore(*SHARED).lines == []

    def test_from_and_isolation_are_the_groups(self, logstore, store):
        assert logstore(*SHARED, "--from", "earliest", "--max", 1).lines == ["a"]
        assert logstore(*SHARED, "--isolation", "committed").lines == ["b", "c", "d"]
        with store("write") as opened, opened.share_consumer("letters", group="g"):
            table = opened.internals().queues().shares()
            assert table.rules("g").committed
            assert table.rules("g").begins == "earliest"

    def test_each_group_has_all(self, logstore):
        for group in "gh":
            words = ("consume", "letters", "--share", group, "--from", "earliest")
            assert logstore(*words).lines == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--group", "h"), "cannot be combined with --share"),
            (("--partition", 0), "cannot be combined with --share"),
            (("--on-damage", "skip"), "cannot be combined with --share"),
            (("--on-out-of-range", "latest"), "cannot be combined with --share"),
            (("--from", 3), "earliest or latest"),
        ],
    )
    def test_what_does_not_go_with_it(self, logstore, words, told):
        assert told in logstore(*SHARED, *words, code=2).err

    def test_a_consumer_groups_name_is_refused(self, logstore):
        logstore("consume", "letters", "--group", "g")
        assert "is a group of consumers" in logstore(*SHARED, code=1).err


@pytest.mark.long
@pytest.mark.usefixtures("letters")
def test_what_a_reader_who_goes_away_has_not_got_comes_again(logstore, spawn):
    large = b"x" * 200_000 + b"\n"  # more than a pipe takes
    logstore("produce", "letters", stdin=large)
    process = spawn(*SHARED, "--from", "earliest")
    assert [process.line() for _ in range(4)] == [b"a\n", b"b\n", b"c\n", b"d\n"]
    process.popen.stdout.close()
    process.popen.wait(DEADLINE_S)
    assert logstore(*SHARED).bytes == large


@pytest.mark.long
def test_through_the_server_that_has_it(logstore, start_serving, data, letters):
    server = start_serving(data, resp_port=-1)
    at = ("--bootstrap", server.address)
    begun = (*SHARED, "--from", "earliest", "--max")
    assert logstore(*begun, 3).lines == ["a", "b", "c"]
    assert logstore(*begun, 1, *at).lines == ["d"]
    assert logstore(*SHARED, *at).lines == []
    assert "no topic 'none'" in logstore("consume", "none", "--share", "g", *at, code=1).err
    server.stop()
    logstore("produce", "letters", stdin=b"e\n")
    assert logstore(*SHARED).lines == ["e"]
