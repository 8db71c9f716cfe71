"""What holds for every command: help, where --data may stand, usage errors, start-up."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import COMMAND

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
    assert logstore("--version").out == "logstore 0.1.0\n"


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
    assert "Usage: logstore" in result.err
    assert not data.exists()


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
    assert spawn("group", "list").end()[:2] == (0, "größe\n".encode())
    assert "größe" in spawn("group", "describe", "größe").end()[1].decode()
    code, _, err = spawn("group", "describe", "größer").end()
    assert (code, err) == (1, "logstore: no group 'größer': it has committed nothing\n")
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


def test_what_the_terminal_does_not_show_is_not_loaded(logstore, data):
    logstore("topic", "create", "t")
    assert "rich" not in modules_after("topic", "list")


def test_the_module_runs_as_well(data):
    for command in ([COMMAND], [sys.executable, "-m", "logstore_cli"]):
        run = subprocess.run([*command, "--version"], capture_output=True, check=True)
        assert run.stdout == b"logstore 0.1.0\n"


def test_nothing_named_cli_is_installed():
    import logstore_cli

    assert "cli" not in sys.modules
    assert Path(logstore_cli.__file__).parent.name in ("cli", "logstore_cli")
