"""``logstore`` as a process of its own."""

import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("logstore")
DEADLINE_S = 30


class Process:
    """A running ``logstore``; every wait has a deadline."""

    def __init__(self, words, **streams):
        self.popen = subprocess.Popen([*map(str, words)], **streams)

    def line(self, stream="stdout"):
        return getattr(self.popen, stream).readline()

    def write(self, data):
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def send(self, signal_number):
        self.popen.send_signal(signal_number)

    def end(self):
        """(exit code, rest of stdout, rest of stderr)"""
        out, err = self.popen.communicate(timeout=DEADLINE_S)
        err = (err or b"").decode()
        assert "Traceback" not in err
        return self.popen.returncode, out, err
