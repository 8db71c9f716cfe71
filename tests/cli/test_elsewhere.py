"""What is said of a command or option that another tool has: it names what there is here."""

import pytest
from command_tree import LEAVES, NAMED, TREE, parameters
from logstore_cli.elsewhere import (
    COMMANDS,
    NAMES,
    OPTIONS,
    SENTENCES,
    instead_of_command,
    instead_of_option,
)

pytestmark = pytest.mark.long

ROOT = TREE[0][1]


def options(command):
    return {name for it in parameters(command) for name in (*it.opts, *it.secondary_opts)}


COMMANDS_HERE = {"": ROOT, **LEAVES}
EVERY = {name for command in COMMANDS_HERE.values() for name in options(command)}


@pytest.mark.parametrize(("group", "word"), COMMANDS)
def test_what_is_typed_instead_of_a_command_exists_and_the_word_does_not(group, word):
    assert f"{group} {word}".strip() not in NAMED
    for typed in COMMANDS[group, word]:
        assert typed in NAMED or typed in EVERY
        assert f"`logstore {typed}`" in instead_of_command(word, group)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_typed_instead_of_an_option_is_said_by_the_commands_that_have_it(name):
    typed = OPTIONS[name]
    said = {
        path: instead_of_option(name, command, path)
        for path, command in COMMANDS_HERE.items()
        if typed.split()[0] in options(command) and name not in options(command)
    }
    assert f" (did you mean {typed}?)" in said.values()
    assert all(said.values())  # or a sentence of its own


@pytest.mark.parametrize(("path", "name"), SENTENCES)
def test_a_sentence_is_of_an_option_that_its_command_lacks(path, name):
    assert name not in options(LEAVES[path])
    assert instead_of_option(name, LEAVES[path], path) == f"; {SENTENCES[path, name]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_an_argument_is_asked_for_as_one(name):
    paths = {
        path
        for path, command in LEAVES.items()
        if "without" in instead_of_option(name, command, path)
    }
    assert paths  # of each kind of object
    both = {"consume", "produce"}
    assert paths & both == (both if name == "--topic" else set())
    assert "status" not in paths


def test_a_directory_to_restore_is_not_taken_for_an_argument(logstore):
    told = logstore("restore", "backup", "new", code=2).err
    assert "unexpected extra argument (new) (did you mean --data new?)" in told


def test_an_option_that_is_a_command_here_is_said_to_be_one():
    said = instead_of_option("--list", NAMED["topic"], "topic")
    assert said == " (did you mean `logstore topic list`?)"
    assert instead_of_option("--nonsense", NAMED["topic"], "topic") == ""
    assert instead_of_command("nonsense", "") == ""
