"""Programs that do one exercise and check it themselves: PROGRAM HOST PORT EXERCISE.

They end with the line ``done``. One that is to go on when the server was killed says ``ready``
first, and waits for a line.
"""

import queue
import signal
import subprocess
from contextlib import ExitStack

from speaking import DEADLINE_S, Program


def do(command, server, door, *exercise):
    """``door``: the name of the server's address that it is given."""
    host, port = getattr(server, door)
    words = [*map(str, command), host, str(port), *exercise]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), (
        f"{exercise}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}\nthe server: {server.errors()}"
    )


def recover(command, start, door, **settings):
    """The program says that it is ready; the server is killed; it goes on with the next one."""
    server = start(**{"resp_port": -1, f"{door}_port": 0} | settings)
    host, port = getattr(server, {"resp": "redis"}.get(door, door))
    with ExitStack() as stack:
        program = Spoken([*command, host, str(port), "recovery"])
        stack.callback(program.kill)
        program.says("ready")
        server.stop(signal.SIGKILL)
        again = start(**{"resp_port": -1, f"{door}_port": port} | settings)
        program.process.stdin.write("go\n")
        program.process.stdin.flush()
        program.says("done")
        code, errors = again.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


class Spoken(Program):
    """It says one word a line."""

    def says(self, word):
        """Wait until it says that, whatever it logs before."""
        line = ""
        while line.strip() != word:
            try:
                line = self._lines.get(timeout=2 * DEADLINE_S)
            except queue.Empty:
                raise AssertionError(f"it is not {word}:\n{self.complaints()}") from None
            assert line is not None, f"it ended before it was {word}:\n{self.complaints()}"
