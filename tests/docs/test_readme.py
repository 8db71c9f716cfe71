"""Everything in README.md is run, and prints what README.md says.

`python tests/docs/test_readme.py --write` runs it and puts what was printed into README.md.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import logstore

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
LINES_SHOWN = 14  # the rest of a longer output is cut off with "..."
WIDTH_SHOWN = 150

# What differs from run to run.
VOLATILE = [
    (r"20(?!13)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<now>"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    (r"in \d+\.\d+ s(, [\d,]+ records/s)?", "in <time>"),
    (r"/\S*/logstore-data", "<data>"),
    (r"(pid )\d+", r"\1<pid>"),
]


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """Each command of a console block, with the output that follows it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [part.split("\n", 1) for part in parts]


def run(command, folder):
    """What the command prints, standard error after standard output."""
    bin_folder = Path(sys.executable).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
    environment["PATH"] = f"{bin_folder}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, check=False
    )
    return shown((done.stdout + done.stderr).decode())


def shown(output):
    """An output as README.md shows it: not too long, not too wide."""
    lines = output.splitlines()
    if len(lines) > LINES_SHOWN:
        lines = [*lines[: LINES_SHOWN - 1], "..."]
    cut = (line if len(line) <= WIDTH_SHOWN else line[: WIDTH_SHOWN - 3] + "..." for line in lines)
    return "".join(line.rstrip() + "\n" for line in cut)


def steady(output):
    """The output without what differs from run to run, and without its alignment."""
    for pattern, replacement in VOLATILE:
        output = re.sub(pattern, replacement, output)
    return re.sub(r"[ ]+", " ", output)


def in_a_clone(folder):
    """Make the folder look as a clone does to the commands of README.md."""
    (folder / "segments").symlink_to(REPOSITORY / "segments")
    return folder


def test_every_command_prints_what_the_readme_says(tmp_path):
    folder = in_a_clone(tmp_path)
    ran = 0
    for block in blocks(README.read_text(), "console"):
        for command, expected in commands(block):
            assert steady(run(command, folder)) == steady(expected), command
            ran += 1
    assert ran > 25


def test_the_library_examples_run(tmp_path):
    examples = blocks(README.read_text(), "python")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    with logstore.open(tmp_path / "data", "read") as store, store.consumer("bills") as bills:
        assert sorted(it.value for it in bills) == [
            b"bill for a cake", b"bill for one coffee", b"bill for two teas",
        ]  # fmt: skip
        assert sum(it.committed for it in store.group("clerk").describe()) == 3
    assert sorted(line.split(" ", 2)[2] for line in done.stdout.splitlines()) == [
        "b'k1' b'a cake'",
        "b'k1' b'one coffee'",
        "b'k2' b'two teas'",
    ]


def test_the_readme_names_only_files_that_are_there():
    text = README.read_text()
    for path in re.findall(r"`([\w/-]+\.(?:md|py))`", text):
        assert (REPOSITORY / path).exists(), path


def write():
    """Put what the commands print now into README.md."""
    import tempfile

    text = README.read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = in_a_clone(Path(name))
        for block in blocks(text, "console"):
            printed = "".join(f"$ {it[0]}\n{run(it[0], folder)}" for it in commands(block))
            text = text.replace(block, printed.replace(str(folder) + "/", "/home/you/"), 1)
    README.write_text(text)


if __name__ == "__main__" and "--write" in sys.argv:
    write()
