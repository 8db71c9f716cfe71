"""A command at a terminal, where somebody types."""

import os
import pty
import termios

from cli_process import COMMAND


def at_a_terminal(data, *words, typed):
    """A command's output and exit code at a terminal; ``typed``: lines, each after its prompt."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["LOGSTORE_DATA"] = str(data)
        os.execv(COMMAND, [COMMAND, *words])
    said = b""
    try:
        for line in typed:
            asked = said.count(b": ")
            while said.count(b": ") == asked:
                said += os.read(terminal, 1024)
            assert not termios.tcgetattr(terminal)[3] & termios.ECHO
            os.write(terminal, line)
        while True:
            try:
                more = os.read(terminal, 1024)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            said += more
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return said.decode(), os.waitstatus_to_exitcode(status)
