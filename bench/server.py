"""A server in a process of its own, started, looked at from outside, stopped."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path

STOP_WITHIN_S = 60
LISTENS_WITHIN_S = 120  # RabbitMQ needs some 5 s; at times it hangs, and never would
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """``name`` is what figures call it; ``port``: where it is spoken to, on loopback."""

    def __init__(
        self,
        name: str,
        scratch: Path,
        port: int,
        command: Sequence[str],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings``: additional environment variables."""
        self.name = name
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.ca: Path | None = None  # the authority that clients trust; None: without TLS
        self._command = command
        self._settings = settings or {}
        self._errors = scratch / f"{name}.stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting for its first answer."""
        # Compiled sources are kept, as they are wherever logstore is installed.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**environment, **self._settings},
            )

    def stop(self, ending: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(ending)
        try:
            process.wait(STOP_WITHIN_S)
        finally:
            process.kill()

    def wait_until_it_listens(self, within_s: float = LISTENS_WITHIN_S) -> None:
        """Poll until the server listens, because it gives no signal.

        If it never does, kills it and raises SystemExit.
        """
        until = time.monotonic() + within_s
        while True:
            self._proc("stat")
            if time.monotonic() > until:
                self.stop(signal.SIGKILL)
                errors = self._errors.read_text()[-2000:]
                raise SystemExit(f"{self.name} does not listen after {within_s:.0f} s: {errors}")
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                continue

    def by_tls(self, name: str, port: int, ca: Path) -> "Server":
        """The same server, once started, at its port with TLS."""
        other = copy(self)
        other.name, other.port, other.address, other.ca = name, port, f"127.0.0.1:{port}", ca
        return other

    def _path(self, name: str) -> Path:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"{self.name} ended: {self._errors.read_text()[-2000:]}")
        return Path(f"/proc/{self._process.pid}/{name}")

    def _proc(self, name: str) -> str:
        return self._path(name).read_text()

    def cpu_s(self) -> float:
        """Processor time used so far, in s."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        return self._status("VmRSS")

    def own_mb(self) -> float:
        """Memory without mapped files, whose pages the system can reclaim."""
        return self._status("RssAnon")

    def resident_max_mb(self) -> float:
        """The maximum so far, or since ``forget_the_most``."""
        return self._status("VmHWM")

    def forget_the_most(self) -> None:
        """Reset the maximum to the present memory (proc_pid_clear_refs(5))."""
        self._path("clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        value = self._proc("status").split(f"{name}:")[1].split()[0]
        return int(value) * 1024 / 1e6
