"""How a command ends when it does not end well.

exit  when
0     all was done; also when the reader of our output has closed it: it has what it wanted
1     a LogstoreError, a CommandFailed or an OSError: one line on stderr, "logstore: ..."
2     the command line itself is wrong
130   Ctrl-C (SIGINT), after what was begun has been brought to a clean end
143   SIGTERM, likewise; 129: SIGHUP
"""

import sys
from collections.abc import Callable

# The function that formats lines by level and text; None for plain lines.
_look: Callable[[str, str], str] | None = None


class CommandFailed(Exception):
    """What was asked for was not done, or not all of it. The message is one line for people."""


class Stopped(Exception):
    """A signal asked for the end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.exit_code = 128 + signal_number


class ReaderGone(Exception):
    """Nobody reads our output any more. Not an OSError: typer has its own ideas about those."""


def put(text: str) -> None:
    """Print lines in UTF-8, whatever the locale; unprintable characters are escaped.

    Raises ReaderGone, CommandFailed.
    """
    from logstore.printable import printable_lines

    if sys.stdout is None:
        raise CommandFailed("standard output is closed")
    try:
        sys.stdout.buffer.write(printable_lines(text).encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise CommandFailed(f"standard output: {error.strerror}") from None


def look_like(look: Callable[[str, str], str]) -> None:
    """Set the function that formats later lines from their level and text."""
    global _look
    _look = look


def _shown(level: str, text: str) -> str:
    from logstore.printable import printable

    return printable(text if _look is None else _look(level, text))


def tell(line: str) -> None:
    """Print what was done; an unread line is no error, because the act stays done."""
    if sys.stdout is not None:
        put(_shown("info", line) + "\n")
        try:
            sys.stdout.buffer.flush()  # it belongs between other lines of a terminal
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise CommandFailed(f"standard output: {error.strerror}") from None


def found(line: str) -> None:
    """Print what was found, which is the command's only result.

    Raises ReaderGone, CommandFailed.
    """
    if sys.stdout is None:
        raise CommandFailed("standard output is closed")
    tell(line)


def say(text: str, level: str = "error") -> None:
    """Print a line, escaped, on standard error; does nothing if it is closed."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(_shown(level, text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # closed
        pass
