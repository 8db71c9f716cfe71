"""The process: runs the command and turns every way it can fail into a line and an exit code.

Imports nothing before ``main`` is running, so that Ctrl-C is quiet from the very start.
"""

import os
import sys


def main() -> None:
    """The entry point of ``logstore``."""
    try:
        _read_arguments_as_utf8()
        _hold_standard_streams()
        code = _run()
    except KeyboardInterrupt:  # before or after the part that ends in an orderly way
        code = 130
    sys.exit(code)


def _read_arguments_as_utf8() -> None:
    # Names and files are UTF-8 in every locale: a group must have the same name in a cron job as on
    # a terminal. Python decodes the command line before this code runs, so the process is executed
    # again; Python's own UTF-8 mode, which locale C switches on, can be forbidden (PYTHONUTF8=0).
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _hold_standard_streams() -> None:
    # A stream closed by the calling process leaves its number to the next opened file: output would
    # end up in the store. ``sys.stdout`` is then None.
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: fd


def _run() -> int:
    from .app import run
    from .ends import CommandFailed, ReaderGone, Stopped, say

    try:
        run()
    except SystemExit as end:
        return _flushed(end.code if isinstance(end.code, int) else int(end.code is not None))
    except Stopped as stopped:
        return _flushed(stopped.exit_code)
    except (ReaderGone, BrokenPipeError):
        return _flushed(0)
    except CommandFailed as error:
        say(f"logstore: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"logstore: {where}{error.strerror or error}")
        return _flushed(1, error.errno)
    except Exception as error:
        from logstore.errors import LogstoreError  # --help does without the library

        if isinstance(error, UnicodeEncodeError) and _is_escaped(error.object[error.start]):
            say("logstore: the command line holds bytes that are not UTF-8")
            return _flushed(2)
        if not isinstance(error, LogstoreError):
            raise  # a bug: its traceback is what helps
        say(f"logstore: {error}")
    return _flushed(1)


def _is_escaped(character: str) -> bool:
    """Whether the character stands for a byte of the command line that is not UTF-8 (PEP 383)."""
    return "\udc80" <= character <= "\udcff"


def _flushed(code: int, said: int | None = None) -> int:
    """Flush the standard streams; return the exit code. ``said``: an error number told already."""
    from .ends import say

    # Left to the interpreter's own end, a reader that has gone away would make noise.
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError):
                code = code or 1
                if stream is sys.stdout and error.errno != said:
                    say(f"logstore: standard output: {error.strerror}")
    return code
