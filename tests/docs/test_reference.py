"""The pages of docs/reference are what the code says: settings and commands.

`make reference` writes them anew.
"""

import re
import sys
from collections import Counter
from html import escape
from pathlib import Path

import pytest
import typer
from logstore_cli.app import app
from logstore_cli.command import CONNECTION, HEADINGS, heading_of

from logstore.config import takes, text_of
from logstore.settings import GROUP_SETTINGS, STORE_SETTINGS, TOPIC_SETTINGS

PAGES = Path(__file__).parents[2] / "docs" / "reference"
WRITTEN = "<!-- Written by `make reference` from the code: change it there. -->\n"


def table(head, rows):
    """A table; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    cells = (" | ".join(" ".join(it.split()).replace("|", "\\|") for it in line) for line in lines)
    return "".join(f"| {it} |\n" for it in cells)


def code(text):
    """The text as code in a cell: mkdocs shows a backslash that stands there before a bar."""
    return f"<code>{escape(text).replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


# Settings ----------------------------------------------------------------------------------------


def settings_page():
    parts = [
        f"# Settings\n\n{WRITTEN}\n{SETTINGS_HEAD}",
        "## Of the server and the store\n\n",
        "In the environment the setting `files.open.max` is `LOGSTORE_FILES_OPEN_MAX`.\n\n",
    ]
    for part, names in parts_of(STORE_SETTINGS).items():
        its = {name: STORE_SETTINGS[name] for name in names}
        parts.append(f"### {part}\n\n{of_settings(its)}\n")
    parts.append(f"## Of a topic\n\n{TOPICS_HEAD}{of_settings(TOPIC_SETTINGS)}\n")
    parts.append(f"## Of a consumer or share group\n\n{GROUPS_HEAD}{of_settings(GROUP_SETTINGS)}")
    return "".join(parts)


def parts_of(settings):
    """Names by their first word, which says what they are about; the few others at the end."""
    found, others = {}, []
    for name in settings:
        found.setdefault(name.split(".")[0], []).append(name)
    for part, names in list(found.items()):
        if len(names) < PART_MIN:
            others += found.pop(part)
    return found | {"Others": others}


def of_settings(settings):
    rows = [
        (f"`{name}`", f"`{text_of(it.default)}`" if text_of(it.default) else "",
         takes(it), it.metadata["reason"])
        for name, it in settings.items()
    ]  # fmt: skip
    return table(("setting", "default", "takes", "what it does"), rows)


PART_MIN = 3  # settings that make a part of their own
SETTINGS_HEAD = """\
Every setting, its default and what it takes. None has to be set. A value comes from the topic or
group, else from the environment, else from `logstore.toml` in the data directory, else it is the
default; `logstore config show` prints the values in use, and where each comes from.
[Operations](../operations.md#settings) explains the file and the environment.

"""
TOPICS_HEAD = """\
Set with `logstore topic create` or `alter --config NAME=VALUE`, or by Kafka's tools. Under
`topic.NAME` in the configuration file they are the defaults of all topics.

"""
GROUPS_HEAD = """\
Set by Kafka's tools or the library. Under `group.NAME` in the configuration file they are the
defaults of all groups.

"""


# Commands ----------------------------------------------------------------------------------------


def tree(command, path=("logstore",)):
    """(path, command) of each command that does something."""
    below = getattr(command, "commands", {})
    if not below:
        yield path, command
    for name, its in below.items():
        yield from tree(its, (*path, name))


def commands_page():
    commands = list(tree(typer.main.get_command(app)))
    said = Counter(
        (option, text) for _, command in commands for at, option, text in options(command)
        if at == CONNECTION
    )  # fmt: skip
    shared = {it for it, times in said.items() if times >= SHARED_MIN}
    where = [(code(option), text) for option, text in sorted(shared)]
    parts = [f"# Commands\n\n{WRITTEN}\n{COMMANDS_HEAD}"]
    parts += ["## Where the data is\n", table(("option", "what it does"), where)]
    parts += [of_command(path, it, shared) for path, it in commands]
    return "\n".join(parts)


def options(command):
    """(heading, what is typed, what it does) of each argument and option."""
    context = typer.Context(command)
    for it in command.get_params(context):
        record = it.get_help_record(context)
        if record and it.name != "help":
            argument = it.param_type_name == "argument"
            yield (*(("Arguments",) if argument else (heading_of(it),)), *record)


def of_command(path, command, shared):
    """Its section: what it does, how it is typed, its options, examples."""
    its = [it for it in options(command) if it[1:] not in shared]
    where = [f"`{it[1].split()[0]}`" for it in options(command) if it[1:] in shared]
    usage = " ".join((*path, *command.collect_usage_pieces(typer.Context(command))))
    text = re.sub(r"\n(?!\n)", " ", (command.help or "").strip()).replace("\n ", "\n\n")
    parts = [f"## {' '.join(path)}\n\n{text}\n", f"```text\n{usage}\n```\n"]
    rows = [
        (code(option), what)
        for heading in ("Arguments", *HEADINGS)
        for at, option, what in its
        if at == heading
    ]
    if rows:
        parts.append(table(("option", "what it does"), rows))
    if where:
        parts.append(f"[Where the data is](#where-the-data-is): {', '.join(where)}.\n")
    if command.examples:
        parts.append("```text\n" + "\n".join(command.examples) + "\n```\n")
    return "\n".join(parts)


COMMANDS_HEAD = """\
Every command with its options, as `--help` prints them. [The command line](../command-line.md)
shows them at work, and says what exit codes mean.
"""

SHARED_MIN = 3  # commands with an option that is described once for all of them

WRITERS = {"settings.md": settings_page, "commands.md": commands_page}


@pytest.mark.parametrize("name", WRITERS)
def test_the_page_is_what_the_code_says(name):
    assert (PAGES / name).read_text() == WRITERS[name](), f"{name}: run `make reference`"


if __name__ == "__main__" and "--write" in sys.argv:
    for name, page in WRITERS.items():
        (PAGES / name).write_text(page())
