"""Passwords as people give them: typed, from standard input, or from a file; never an argument.

What is on a command line is seen by all users of the machine, and kept in the shell's history.
"""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from .command import INPUT
from .ends import CommandFailed, Stopped, say
from .stop import SIGNALS

STANDARD_INPUT: Final = "-"
LINE_BYTES_MAX: Final = 4096  # more is no password, and not read
NONE_TYPED: Final = "no password; write it there as one line, or use --password-file FILE"
OTHERS: Final = stat.S_IRGRP | stat.S_IROTH

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        rich_help_panel=INPUT,
        help="The file that holds the password on one line; - is standard input; without this"
        " option the password is asked for at the terminal.",
    ),
]


def new_password(file: Path | None, user: str) -> str:
    """The password of a new user, typed twice or from a file. Raises CommandFailed."""
    if file is not None:
        return of_file(file)
    if not os.isatty(0):
        return of_file(Path(STANDARD_INPUT))
    password = typed(f"New password of {user}: ")
    if typed("Once more: ") != password:
        raise CommandFailed("the two passwords differ: nothing was changed")
    return password


def of_file(file: Path) -> str:
    """The file's one line, without the line end. Raises CommandFailed, OSError."""
    if str(file) == STANDARD_INPUT:
        with open(0, "rb", closefd=False) as opened:
            return _line(opened, "standard input", NONE_TYPED)
    with file.open("rb") as opened:
        facts = os.fstat(opened.fileno())
        if stat.S_ISREG(facts.st_mode) and facts.st_mode & OTHERS:
            say(f"logstore: warning: {file}: other users can read this password: chmod 600 {file}")
        return _line(opened, str(file))


def _line(opened: IO[bytes], name: str, empty: str = "the file holds no password") -> str:
    data = opened.read(LINE_BYTES_MAX + 1)
    line, end, rest = data.partition(b"\n")
    if len(data) > LINE_BYTES_MAX or rest.strip(b"\r\n"):
        raise CommandFailed(f"{name}: a password is one line, of at most {LINE_BYTES_MAX} bytes")
    if end:
        line = line.removesuffix(b"\r")
    if not line:
        raise CommandFailed(f"{name}: {empty}")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise CommandFailed(f"{name}: the password is not UTF-8") from None


def typed(prompt: str) -> str:
    """A password typed at the terminal, unseen. Raises CommandFailed without a terminal."""
    from getpass import getpass

    try:
        # Otherwise getpass would read and echo standard input, which may contain records.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise CommandFailed(
            "there is no terminal to ask for the password: use --password-file FILE"
        ) from None
    try:
        with _interruptible():
            password = getpass(prompt)
    except EOFError:
        password = ""
    if not password:
        raise CommandFailed("no password was given: nothing was changed")
    return password


@contextmanager
def _interruptible() -> Iterator[None]:
    """A context in which a signal ends the wait at once and restores the terminal.

    A command that has a ``Stop`` only notes signals, and would continue to wait.
    """

    def end(number: int, frame: object) -> None:
        raise Stopped(number)

    heard = [it for it in SIGNALS if signal.getsignal(it) is not signal.SIG_IGN]
    before = {it: signal.signal(it, end) for it in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepared(text: str) -> str | None:
    """The text after SASLprep (RFC 4013), as such clients send it; None if it forbids the text."""
    import stringprep
    import unicodedata

    mapped = "".join(
        " " if stringprep.in_table_c12(it) else it for it in text if not stringprep.in_table_b1(it)
    )
    found = unicodedata.normalize("NFKC", mapped)
    return None if any(map(_is_prohibited, found)) or not _is_one_way(found) else found


def _is_prohibited(character: str) -> bool:
    import stringprep

    return (
        stringprep.in_table_c12(character)
        or stringprep.in_table_c21_c22(character)
        or stringprep.in_table_c3(character)
        or stringprep.in_table_c4(character)
        or stringprep.in_table_c5(character)
        or stringprep.in_table_c6(character)
        or stringprep.in_table_c7(character)
        or stringprep.in_table_c8(character)
        or stringprep.in_table_c9(character)
        or stringprep.in_table_a1(character)  # no character of Unicode 3.2
    )


def _is_one_way(text: str) -> bool:
    """RFC 3454, 6: right-to-left text has no other text in it, and begins and ends so."""
    import stringprep

    right = [stringprep.in_table_d1(it) for it in text]
    if not any(right):
        return True
    return right[0] and right[-1] and not any(map(stringprep.in_table_d2, text))


def warn_unless_plain(text: str, what: str) -> None:
    """Warn of text that some clients would send differently. ``what``: the user's name, the
    password.
    """
    if not text.isascii() and prepared(text) != text:
        say(
            f"logstore: warning: {what} has characters that clients which apply SASLprep (RFC 4013)"
            f" change or refuse: they cannot log in with it"
        )
