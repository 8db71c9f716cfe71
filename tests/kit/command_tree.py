"""The tree of commands as it is declared."""

from logstore_cli.app import app, typer


def tree(command, path=()):
    """(path, command) of the root and every command below it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from tree(below, (*path, name))


def parameters(command):
    """The command's parameters, with those that it adds on first use."""
    return command.get_params(typer.Context(command))


TREE = list(tree(typer.main.get_command(app)))
NAMED = {" ".join(path): command for path, command in TREE if path}
LEAVES = {name: it for name, it in NAMED.items() if not hasattr(it, "commands")}
