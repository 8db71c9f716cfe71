"""What holds for every command and every option, whatever they are called."""

import json
import re
import shlex

import pytest
from command_tree import LEAVES, NAMED, TREE, parameters
from logstore_cli.command import HEADING_OF, HEADINGS, heading_of
from logstore_cli.options import TIMES
from voice import HEADLESS, POINTS_ELSEWHERE

pytestmark = pytest.mark.long


OPTIONS = [
    (path, option)
    for path, command in TREE
    for option in parameters(command)
    if option.param_type_name == "option" and option.name != "help"
]
ONCE = [(path, option) for path, option in OPTIONS if not option.multiple]
VALUE = "1"


def said(option):
    """Two ways to say it, the second of them the opposite where there is one."""
    names = [option.opts[0], (option.secondary_opts or option.opts)[0]]
    return [[name] if option.is_flag else [name, VALUE] for name in names]


@pytest.mark.parametrize(
    ("path", "option"), ONCE, ids=[" ".join((*path, it.opts[0])) for path, it in ONCE]
)
def test_an_option_that_takes_one_value_is_refused_when_given_twice(logstore, data, path, option):
    first, second = said(option)
    told = logstore(*path, *first, *second, code=2).err
    assert f"{option.opts[0]}" in told.splitlines()[-1]
    assert "is given twice, and takes one value" in told.splitlines()[-1]
    assert not data.exists()


def test_what_may_be_repeated_is_said_in_its_help():
    for path, option in OPTIONS:
        assert ("may be repeated" in option.help) == option.multiple, (path, option.name)


# Options that may be repeated: all of them count, and nothing is done where one is unknown --------


@pytest.fixture
def topics(logstore):
    """Three topics with something to do for every job, and a group of all of them."""
    rules = ("cleanup.policy=compact,delete", "segment.bytes=500", "retention.bytes=1")
    rules = (*rules, "min.cleanable.dirty.ratio=0", "compression.sealed=zstd")
    for name in "abc":
        logstore("topic", "create", name, *(word for it in rules for word in ("--config", it)))
        lines = b"".join(b"line %d\n" % n for n in range(40))
        logstore("produce", name, "--key", "k", "--batch-bytes", 1, stdin=lines)
    logstore("consume", *"abc", "--group", "g")


def of_topics(result):
    return {part for line in result.lines for part in re.findall(r"\b([abc])(?=[-0 ])", line)}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("job", ["retention", "compact", "recompress"])
@pytest.mark.usefixtures("topics")
def test_a_job_of_two_topics_is_done_for_both_and_no_other(logstore, job, dry):
    result = logstore(job, "run", "--topic", "a", "--topic", "c", "--topic", "a", *dry)
    assert of_topics(result) == {"a", "c"}


@pytest.mark.parametrize("words", [("a", "no-such"), ("no-such", "a")])
@pytest.mark.parametrize("job", ["retention", "compact", "recompress"])
@pytest.mark.usefixtures("topics")
def test_a_job_of_an_unknown_topic_is_refused_before_anything_is_done(logstore, job, words):
    result = logstore(job, "run", *(it for name in words for it in ("--topic", name)), code=1)
    assert result.err == "logstore: no topic 'no-such'; none of the 3 topics has a similar name\n"
    assert result.out == ""
    again = logstore(job, "run", "--topic", "a", "--dry-run")
    assert "would" in again.out  # all is still to be done


@pytest.mark.usefixtures("topics")
def test_a_job_that_another_process_does_is_of_the_same_topics(logstore, data, start_serving):
    start_serving(data, upkeep_interval_ms=-1)
    result = logstore("compact", "run", "--topic", "a", "--topic", "b")
    assert of_topics(result) == {"a", "b"}
    result = logstore("compact", "run", "--topic", "c", "--topic", "no-such", code=1)
    assert "no topic 'no-such'" in result.err
    assert "would" in logstore("compact", "run", "--topic", "c", "--dry-run").out


@pytest.mark.usefixtures("topics")
def test_a_group_is_reset_in_all_topics_named_or_in_none(logstore):
    words = ("group", "reset-offsets", "g", "--to", "earliest", "--topic", "a")
    logstore(*words, "--topic", "no-such", code=1)
    result = logstore(*words, "--topic", "c", "--topic", "c")
    assert [line.split()[:4] for line in result.lines[1:]] == [
        ["a", "0", "40", "0"], ["c", "0", "40", "0"],
    ]  # fmt: skip


@pytest.mark.usefixtures("topics")
def test_a_partition_named_twice_counts_once(logstore):
    twice = ("--partition", 0, "--partition", 0)
    assert len(logstore("consume", "a", *twice).lines) == 40
    result = logstore("topic", "trim", "a", "--before", 3, *twice)
    assert [line.split() for line in result.lines[1:]] == [["0", "0", "3", "3"]]
    logstore("topic", "trim", "b", "--before", 3, "--partition", 0, "--partition", 7, code=1)
    assert len(logstore("consume", "b").lines) == 40


@pytest.mark.usefixtures("topics")
def test_settings_are_altered_all_or_none(logstore):
    words = ("topic", "alter", "a", "--delete-config", "retention.bytes")
    logstore(*words, "--delete-config", "no.such", code=1)
    shown = ("config", "show", "--topic", "a", "--json")
    assert setting(logstore(*shown), "retention.bytes") == 1
    logstore(*words, "--delete-config", "segment.bytes")
    assert setting(logstore(*shown), "retention.bytes") == -1
    assert setting(logstore(*shown), "segment.bytes") > 500


def setting(result, name):
    return next(it["value"] for it in json.loads(result.out) if it["name"] == name)


# Help ---------------------------------------------------------------------------------------------

SUMMARY_MAX = 45


@pytest.mark.parametrize("name", NAMED)
def test_the_summary_of_a_command_fits_its_column(name):
    summary = NAMED[name].get_short_help_str(SUMMARY_MAX)
    assert not summary.endswith("...")
    assert summary[0].isupper()
    assert summary.endswith(".")


@pytest.mark.parametrize("path", [(), *(path for path, it in TREE if hasattr(it, "commands"))])
def test_no_list_of_commands_is_cut_off(logstore, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "66")
    assert "..." not in logstore(*path, "--help").out.partition("Commands:")[2]


NOUN_PHRASE = re.compile(r"(The|A|An|One|Some) \w+")
IMPERATIVES = {
    "Accept", "Add", "Allow", "Append", "Ask", "Connect", "Consume", "Continue", "Count",
    "Create", "Delete", "Do", "Drop", "Empty", "End", "Exit", "Ignore", "Include", "Keep",
    "Leave", "List", "Listen", "Load", "Make", "Measure", "Move", "Print", "Proceed", "Publish",
    "Read", "Rebuild", "Refuse", "Reject", "Replace", "Replay", "Reset", "Return", "Seal", "Set",
    "Show", "Skip", "Start", "Stop", "Take", "Use", "Wait", "Write",
}  # fmt: skip


def stands_alone(text):
    """It names its subject or says what to do, ends as a sentence and points to no other text."""
    begins = NOUN_PHRASE.match(text) or text.split()[0] in IMPERATIVES
    return bool(begins and text.endswith(".")) and not (
        POINTS_ELSEWHERE.search(text) or HEADLESS.search(text)
    )


@pytest.mark.parametrize(
    "text",
    [
        "Else all.",
        "What to copy.",
        "Only this topic; may be repeated.",
        "The file with the password; it is asked for without.",
        "Those that have a transaction open.",
        "Move so many, or else none.",
        "The same for TLS; who comes by TLS is told so",
    ],
)
def test_a_text_that_leans_on_another_is_found(text):
    assert not stands_alone(text)


def test_every_option_stands_under_a_heading_and_its_text_stands_alone():
    for path, option in OPTIONS:
        where = (*path, option.opts[0], option.help)
        assert option.rich_help_panel or option.opts[0] in HEADING_OF, where
        assert heading_of(option) in HEADINGS
        assert stands_alone(option.help), where


def test_every_option_that_takes_a_time_says_which_zone_it_is_in():
    timed = [it for _, it in OPTIONS if re.search("TIME|PLACE", it.metavar or "")]
    assert len(timed) >= 10
    for option in timed:
        assert TIMES in option.help, option.name


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_its_options_in_order_and_an_example_that_can_be_typed(logstore, name):
    text = logstore(*name.split(), "--help").out
    headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
    ordered = [it for it in ("Arguments", *HEADINGS, "Examples") if it in headings]
    assert headings == ordered
    command = LEAVES[name]
    assert 1 <= len(command.examples) <= 2
    taken = {flag for it in parameters(command) for flag in (*it.opts, *it.secondary_opts)}
    for example in command.examples:
        words = shlex.split(example.split("| ")[-1].split(" < ")[0])
        assert words[: 1 + len(name.split())] == ["logstore", *name.split()]
        for word in words:
            assert not word.startswith("--") or word in taken
        assert f"  {example}\n" in text
