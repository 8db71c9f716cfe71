"""Every command of the Redis door, with enough arguments for it."""

from logstore.protocols.resp.commands import COMMANDS

EVERY = [
    it
    for each in COMMANDS.values()
    for it in (
        each.subcommands.values() if each.run is None else (each, *each.subcommands.values())
    )
]
# Arguments other than names for which not every word will do.
WORDS = {
    **{name: ["x", "1", "x"] for name in ("eval", "evalsha", "eval_ro", "evalsha_ro")},
    "psubscribe": ["x*"],
    "channel.read": ["x", "FROM", "0"],
    "acl|dryrun": ["al", "PING"],
}


def words_of(command):
    """Enough arguments for the command, with ``x`` for names."""
    first = command.name.upper().split("|")
    count = abs(command.arity) - len(first)
    words = [*first, *WORDS.get(command.name, ["x"] * count)]
    if command.numkeys:
        words[command.numkeys] = str(len(words) - command.numkeys - 1)
    return words
