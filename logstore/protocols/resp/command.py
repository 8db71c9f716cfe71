"""A command: a row of a table, with the function that executes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.permits import Asks
from logstore.protocols.resp.replies import array, simple

# Uses of keys, in the words of COMMAND: one entry for all keys, or one for each.
KeyFlags = tuple[tuple[str, ...], ...]


KEYED: Final = frozenset({"@read", "@write", "@scripting"})  # categories of commands on keys
FEW_MAX: Final = 500  # arguments of a command that is not for many: options, a few ids


@dataclass(frozen=True, slots=True)
class Command:
    """``name`` is ``publish``, or ``client|id`` of a subcommand; ``arity`` counts the name.

    A negative arity is a minimum. Flags, categories, tips and keys are those that COMMAND reports.
    """

    name: str
    arity: int
    run: Run | None  # None: only its subcommands do something
    summary: str
    since: str
    group: str
    flags: tuple[str, ...] = ("loading", "stale")
    categories: tuple[str, ...] = ("@slow",)
    tips: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (0, 0, 0)  # first, last, step
    key_flags: KeyFlags = (("not_key",),)  # sharded channels are at the positions of keys
    subcommands: Mapping[bytes, "Command"] = field(default_factory=dict)
    while_subscribed: bool = False  # RESP2 takes it on a connection that listens
    at_once: bool = False  # not queued after MULTI
    publishes: bool = False  # or writes: held up by CLIENT PAUSE WRITE
    numkeys: int = 0  # position of the number of keys, besides ``keys``
    many: bool = False  # takes 100,000s of arguments: in steps, or without looking at them

    def takes(self, count: int) -> bool:
        """Whether the command accepts this many arguments, including its names."""
        if self.arity >= 0:
            return count == self.arity
        return count >= -self.arity and (self.many or count <= FEW_MAX)


def is_about_keys(command: Asks) -> bool:
    """Whether the command reads or changes keys."""
    return not KEYED.isdisjoint(command.categories)


# All of them, once ``commands.py`` has put them together: for commands that are about commands.
EVERY: Final[dict[bytes, Command]] = {}


def found(request: Sequence[bytes]) -> Command | None:
    """The command that carries out the request, or the subcommand if there are any."""
    command = EVERY.get(request[0].lower())
    if command is not None and command.subcommands and len(request) > 1:
        return command.subcommands.get(request[1].lower())
    return command


def table(*commands: Command) -> dict[bytes, Command]:
    """Commands by name in lower case, or by the last part of the name."""
    return {command.name.rpartition("|")[2].encode(): command for command in commands}


def help_of(*lines: str) -> Run:
    """A handler that replies with the command's HELP."""
    reply = array([simple(text.encode()) for text in (*lines, "HELP", "    Prints this help.")])

    def run(client: RespClient, _: Sequence[bytes]) -> None:
        client.say(reply)

    return run
