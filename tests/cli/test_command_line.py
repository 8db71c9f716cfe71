"""What holds for every command: help, where --data may stand, usage errors, start-up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import COMMAND
from logstore_cli.similar import NAMES_MAX, nearest

from logstore import __version__

pytestmark = pytest.mark.long

COMMANDS = [
    "topic create", "topic list", "topic describe", "topic alter", "topic delete",
    "produce", "consume", "replay",
    "group list", "group describe", "group reset-offsets", "group delete",
    "dump", "verify", "config show", "status",
]  # fmt: skip


def test_help_lists_every_command(logstore):
    text = logstore("--help").out
    for command in COMMANDS:
        assert f"  {command.split()[0]} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_data(logstore, command):
    text = logstore(*command.split(), "--help").out
    assert f"Usage: logstore {command}" in text
    assert "--data DIR" in text


def test_version(logstore):
    assert logstore("--version").out == f"logstore {__version__}\n"


@pytest.mark.parametrize("words", [(), ("topic",), ("group",), ("config",)])
def test_without_a_command_there_is_help(logstore, words):
    result = logstore(*words, code=2)
    assert "Usage: logstore" in result.out + result.err


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("topic", "nonsense"),
        ("topic", "create"),
        ("topic", "create", "a", "b"),
        ("topic", "list", "--nonsense"),
        ("produce",),
        ("consume",),
        ("consume", "t", "--max", "many"),
    ],
)
def test_usage_errors_end_in_2_and_touch_nothing(logstore, data, words):
    result = logstore(*words, code=2)
    assert result.out == ""
    assert not data.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "tpic",
            "no such command 'tpic' (did you mean one of 'topic', 'policy'?): see `logstore "
            "--help`",
        ),
        ("topic lst", "no such command 'lst' (did you mean list?): see `logstore topic --help`"),
        ("topic create", "missing argument 'NAME': see `logstore topic create --help`"),
        (
            "topic create a b c",
            "got unexpected extra argument (b c): see `logstore topic create --help`",
        ),
        (
            "compact run states flights",
            "got unexpected extra argument (states flights) (did you mean --topic states?): see"
            " `logstore compact run --help`",
        ),
        ("topic list -x", "no such option: -x: see `logstore topic list --help`"),
        (
            "consume t --form raw",
            "no such option: --form (did you mean --format or --from?): see"
            " `logstore consume --help`",
        ),
        (
            "serve --kafka-prt 0",
            "no such option: --kafka-prt (did you mean --kafka-port or --kafka-tls-port?): see"
            " `logstore serve --help`",
        ),
        (
            "consume t --max many",
            "invalid value for '--max': 'many' is not a whole number: see"
            " `logstore consume --help`",
        ),
        (
            "consume t --max 0",
            "invalid value for '--max': 0 is not in the range x>=1: see `logstore consume --help`",
        ),
        ("consume t --max", "option '--max' requires an argument: see `logstore consume --help`"),
        (
            "consume t --max 1 --max 2",
            "--max is given twice, and takes one value: see `logstore consume --help`",
        ),
        (
            "consume t --data d --bootstrap h:1",
            "invalid value for '--data': use --data or --bootstrap, not both:"
            " see `logstore consume --help`",
        ),
        (
            "produce t --key a --key-field b",
            "use --key or --key-field, not both: see `logstore produce --help`",
        ),
        (
            "list_queues",
            "no such command 'list_queues' (did you mean `logstore queue list`?): see"
            " `logstore --help`",
        ),
        (
            "consume t --from-beginning",
            "no such option: --from-beginning (did you mean --from earliest?): see"
            " `logstore consume --help`",
        ),
        ("replay t --min 3", "no such option: --min: see `logstore replay --help`"),
        (
            "replay t --spede 3",
            "no such option: --spede (did you mean --speed?): see `logstore replay --help`",
        ),
        ("--nonsense", "no such option: --nonsense: see `logstore --help`"),
        ("serve --no\nsense", "no such option: --no\\x0asense: see `logstore serve --help`"),
    ],
)
def test_a_usage_error_is_one_line_and_says_where_to_read_on(logstore, words, line):
    result = logstore(*words.split(" "), code=2)
    assert result.err == f"logstore: {line}\n"
    assert result.out == ""


@pytest.mark.parametrize("words", ["topic list", "produce t", "status", "serve", "verify"])
@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_a_data_directory_that_is_none_is_said_to_be_none(logstore, tmp_path, words, kind):
    path = tmp_path / "here"
    path.touch() if kind == "file" else os.mkfifo(path)
    result = logstore(*words.split(), "--data", path, code=1)
    sentence = "not a store: it is not a directory; name the data directory"
    assert result.err == f"logstore: {path}: {sentence}\n"


# Names that nothing has ---------------------------------------------------------------------------

OF_A_TOPIC = [
    "consume {}", "produce {}", "replay {}", "topic describe {}", "topic delete {} --yes",
    "topic alter {} --partitions 2", "topic trim {} --before 1", "topic offsets {}",
    "retention run --topic {}", "compact run --topic {}", "recompress run --topic {} --dry-run",
    "mirror --from . --to copy --topic {}", "group reset-offsets billing --to earliest --topic {}",
]  # fmt: skip


@pytest.mark.parametrize("words", OF_A_TOPIC)
@pytest.mark.parametrize("served", [False, True])
def test_the_topic_of_a_similar_name_is_offered(logstore, data, words, served, start_serving):
    logstore("topic", "create", "flights")
    logstore("topic", "create", "Orders")
    logstore("produce", "flights", stdin=b"one\n")
    logstore("consume", "flights", "--group", "billing")
    if served:
        start_serving(data, upkeep_interval_ms=-1)
    words = words.replace("--from .", f"--from {data}")
    for wrong, right in (
        ("flight", " (did you mean flights?)"),
        ("orders", " (did you mean Orders?)"),
        ("unlike", "; none of the 2 topics has a similar name"),
    ):
        result = logstore(*words.format(wrong).split(), code=1)
        assert result.err.splitlines()[-1] == f"logstore: no topic {wrong!r}{right}"


def test_a_store_without_topics_offers_none(logstore):
    logstore("topic", "create", "flights")
    logstore("topic", "delete", "flights", "--yes")
    result = logstore("consume", "flight", code=1)
    assert result.err == "logstore: no topic 'flight'; there is no topic yet\n"


@pytest.mark.parametrize("words", ["describe {}", "delete {}", "reset-offsets {} --to earliest"])
def test_the_group_of_a_similar_name_is_offered(logstore, words):
    logstore("topic", "create", "t")
    logstore("produce", "t", stdin=b"one\n")
    logstore("consume", "t", "--group", "billing")
    result = logstore("group", *words.format("biling").split(), code=1)
    sentence = "no group 'biling': it has committed nothing (did you mean billing?)"
    assert result.err == f"logstore: {sentence}\n"


def test_of_very_many_names_few_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr("difflib.get_close_matches", lambda _, names, **__: compared.append(names))
    nearest("topic-1-of-b", [f"topic-{n}-of-a" for n in range(100_000)])
    assert len(compared[0]) <= NAMES_MAX


# --data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--data", "here", "topic", "create", "t"),
        ("topic", "--data", "here", "create", "t"),
        ("topic", "create", "--data", "here", "t"),
        ("topic", "create", "t", "--data", "here"),
        ("topic", "create", "t", "--data=here"),
        ("--data", "no", "topic", "--data", "no", "create", "t", "--data", "here"),
        ("--data", "no", "topic", "--data", "here", "create", "t"),
    ],
)
def test_data_stands_anywhere_and_the_last_one_counts(logstore, tmp_path, words):
    logstore(*words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "stdin"]


def test_data_before_and_after_simple_commands(logstore):
    logstore("topic", "create", "t", "--data", "here")
    logstore("--data", "here", "produce", "t", stdin=b"one\n")
    assert logstore("consume", "t", "--data", "here").lines == ["one"]
    assert logstore("--data", "here", "config", "show").lines
    assert logstore("--data", "here", "status").lines[0].endswith("/here")


def test_data_from_the_environment_or_the_default(logstore, data, tmp_path, monkeypatch):
    logstore("topic", "create", "t")
    assert data.is_dir()
    monkeypatch.delenv("LOGSTORE_DATA")
    logstore("topic", "create", "t")
    assert (tmp_path / "logstore-data").is_dir()


@pytest.mark.parametrize("scheme", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("name", ["LOGSTORE_DATA", "LOGSTORE_CONFIG", "LOGSTORE_PROFILE"])
def test_a_variable_that_tells_where_a_service_is_tells_not_where_data_is(
    logstore, tmp_path, monkeypatch, name, scheme
):
    monkeypatch.delenv("LOGSTORE_DATA")
    monkeypatch.setenv(name, f"{scheme}://10.96.0.12:9092")
    logstore("topic", "create", "t")
    assert (tmp_path / "logstore-data").is_dir()
    assert logstore("topic", "list").lines[1].split()[0] == "t"


def test_bytes_on_the_command_line_that_are_no_text(logstore):
    logstore("topic", "create", "t")
    logstore("produce", "t", "--key", "\udcff", stdin=b"one\n")
    assert logstore("consume", "t", "--format", "{key}").bytes == b"\xff\n"
    result = logstore("produce", "t", "--key-field", "\udcff", stdin=b"{}\n", code=2)
    assert result.err == "logstore: the command line holds bytes that are not UTF-8\n"
    result = logstore("consume", "t", "--group", "\udcff", code=1)
    assert "is not allowed: use 1 to 255 bytes of UTF-8" in result.err


def test_names_are_utf_8_in_a_locale_that_is_not(logstore, spawn, monkeypatch, tmp_path):
    logstore("topic", "create", "t")
    logstore("produce", "t", stdin=b"one\n")
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)  # as under cron, of a system without C.UTF-8
    assert spawn("consume", "t", "--group", "größe").end()[:2] == (0, b"one\n")
    listed = "GROUP  MEMBERS  LAG\ngröße        0    0\n"
    assert spawn("group", "list").end()[:2] == (0, listed.encode())
    assert "größe" in spawn("group", "describe", "größe").end()[1].decode()
    code, _, err = spawn("group", "describe", "größer").end()
    assert (code, err) == (
        1,
        "logstore: no group 'größer': it has committed nothing (did you mean größe?)\n",
    )
    (tmp_path / "größe").write_bytes(b"two\n")
    assert spawn("produce", "t", "größe").end()[0] == 0


# Start-up -----------------------------------------------------------------------------------------

HEAVY = {"lmdb", "zstandard", "crc32c", "cramjam", "lz4", "msgspec", "rich", "asyncio", "logstore"}


def modules_after(*words):
    program = (
        "import sys; from logstore_cli.main import main\n"
        "try: main()\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return set(run.stderr.split())


def test_help_loads_nothing_that_takes_time(data):
    assert not HEAVY & modules_after("--help")
    assert not HEAVY & modules_after("produce", "--help")


def test_commands_of_a_group_are_loaded_when_the_group_is_named():
    program = (
        "import sys; from logstore_cli.app import app, typer\n"
        "command = typer.main.get_command(app); print(*sys.modules)\n"
        "command.commands.get('acl'); print(*sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    before, after = map(set, map(str.split, run.stdout.splitlines()))
    groups = {"acl", "channel", "exchange", "group", "permission", "queue", "tls", "topic", "user"}
    assert not {f"logstore_cli.{it}" for it in groups} & before
    assert {it for it in groups if f"logstore_cli.{it}" in after} == {"acl"}


def test_what_the_terminal_does_not_show_is_not_loaded(logstore, data):
    logstore("topic", "create", "t")
    assert "rich" not in modules_after("topic", "list")


def test_the_module_runs_as_well(data):
    for command in ([COMMAND], [sys.executable, "-m", "logstore_cli"]):
        run = subprocess.run([*command, "--version"], capture_output=True, check=True)
        assert run.stdout.decode() == f"logstore {__version__}\n"


def test_nothing_named_cli_is_installed():
    import logstore_cli

    assert "cli" not in sys.modules
    assert Path(logstore_cli.__file__).parent.name in ("cli", "logstore_cli")
