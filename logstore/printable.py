"""Makes texts from outside (names, ids, hosts, paths, errors) safe to show.

A terminal obeys control characters, and a line end or a change of direction makes a text look like
something else. Code that shows such a text to people therefore passes it through here.
"""


def printable(text: str) -> str:
    r"""One line: what cannot be printed as an escape, such as ``\n``, ``\x1b`` or ``\u202e``."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """The same for a text whose line ends are its own."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
