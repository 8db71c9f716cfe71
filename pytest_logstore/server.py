"""A server for tests: a process of its own, or one that runs already."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self

from pytest_logstore.api import Api, ApiRefused, by_socket, by_url

START_S: Final = 60.0  # for who waits: it takes less than one
STOP_S: Final = 20.0
LEAVE_S: Final = 0.5
NOT_FOUND: Final = 404
CONFLICT: Final = 409
ENDED_LINES: Final = 20
DOORS: Final = ("kafka", "resp", "amqp", "mqtt", "stomp", "http")
NOT_OURS: Final = "this server was not started here: it is left as it is"
# Of topics and users' names alike: what the server itself has.
OWN_TOPICS: Final = frozenset({"__audit"})


class NotStarted(Exception):
    """The server did not come up; the message has the last that it said."""


class Server:
    """What tests see of either."""

    kafka: str  # host:port
    redis: str  # URLs
    amqp: str
    mqtt: str  # host:port
    stomp: str
    http: str
    api: Api  # its HTTP API
    ours = False  # whether it was started here
    prefix = ""  # of names that are the test's own

    def name(self, text: str) -> str:
        """A name for what the test makes: its own, with --logstore-reset=names."""
        return self.prefix + text

    @property
    def log(self) -> str:
        """All that it has said."""
        return ""

    def empty(self) -> None:
        """Remove topics, groups, virtual hosts, exchanges and queues; connections stay.

        A group with members that do not leave at once keeps them, without offsets.
        """
        for row in self.api.rows("topics"):
            if row["name"] not in OWN_TOPICS:
                self._remove("topics", row["name"])
        for row in self.api.rows("vhosts"):
            if row["name"] != "/":
                self._remove("vhosts", row["name"])
        for row in self.api.rows("queues", vhost="/"):
            self._remove("queues", row["name"], vhost="/")
        for row in self.api.rows("exchanges", vhost="/"):
            if row["name"] and not row["name"].startswith("amq."):
                self._remove("exchanges", row["name"], vhost="/")
        left = [row["name"] for row in self.api.rows("groups")]
        until = monotonic() + LEAVE_S  # what a client sends last as it closes may be on its way
        while left := [name for name in left if not self._remove("groups", name)]:
            if monotonic() > until:
                break
            sleep(LEAVE_S / 10)

    def _remove(self, *path: str, **query: str) -> bool:
        """Whether it is gone; a group with members stays."""
        try:
            self.api.delete(*path, **query)
        except ApiRefused as refused:
            if refused.status not in (NOT_FOUND, CONFLICT):
                raise
            return refused.status == NOT_FOUND
        return True

    def restart(self) -> None:
        """Stop it as SIGTERM does, and start it with the same data and ports."""
        raise RuntimeError(NOT_OURS)

    def kill(self) -> None:
        """End it as power failure would: SIGKILL. ``start`` begins it again."""
        raise RuntimeError(NOT_OURS)

    def stop(self) -> None:
        """Stop it as SIGTERM does. ``start`` begins it again."""
        raise RuntimeError(NOT_OURS)

    def start(self) -> None:
        """Begin it, with the same data and ports."""
        raise RuntimeError(NOT_OURS)

    def pause(self) -> None:
        """It hangs from now on (SIGSTOP), with its connections open."""
        raise RuntimeError(NOT_OURS)

    def resume(self) -> None:
        """It goes on; without effect if it was not paused."""
        raise RuntimeError(NOT_OURS)

    def recover(self) -> None:
        """Let it run, whatever a test has done to it."""

    def tell(self, **faults: object) -> None:
        """Let its disk be as this says; see ``Faults``."""
        raise RuntimeError(NOT_OURS)

    def _reach(self, addresses: Mapping[str, str]) -> None:
        """``addresses``: host:port, by the door's name."""
        self.kafka = addresses.get("kafka", "")
        self.redis = f"redis://{addresses['resp']}/0" if "resp" in addresses else ""
        self.amqp = f"amqp://guest:guest@{addresses['amqp']}/%2F" if "amqp" in addresses else ""
        self.mqtt = addresses.get("mqtt", "")
        self.stomp = addresses.get("stomp", "")
        self.http = f"http://{addresses['http']}" if "http" in addresses else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class RunningServer(Server):
    """One that somebody else has started."""

    def __init__(self, url: str) -> None:
        """``url``: of its HTTP door. Raises ApiRefused, OSError."""
        self.api = by_url(url)
        doors = self.api.get("server")["doors"]
        self._reach({name: f"{it['host']}:{it['port']}" for name, it in doors.items()})
        self.http = url.rstrip("/")


class ServerProcess(Server):
    """One that is started here, and ends with this process at the latest."""

    ours = True

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """``folder``: empty; it is begun with ``with``."""
        self.data = folder / "data"
        self._log = folder / "server.log"
        self._settings = dict(settings or {})
        self._ports = {name: self._settings.get(f"{name}.port", "0") for name in DOORS}
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[socket.socket] = []  # to what it is told by, and tells, until it ends
        self._beside: TemporaryDirectory[str] | None = None  # where one of these has its name
        self.api = by_socket(self.data)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def process_id(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def __enter__(self) -> Self:
        self.data.mkdir(mode=0o700)
        lines = (f"{json.dumps(name)} = {json.dumps(it)}\n" for name, it in self._settings.items())
        (self.data / "logstore.toml").write_text("".join(lines))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """As Server.start. Raises NotStarted."""
        assert self._process is None, "it runs already"
        ours, its = socket.socketpair()
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._lines = [ours, told]
        with its:
            self._process = self._spawn(its, self._bind(told))
        try:
            self._wait_until_ready(told)
        except BaseException:
            self.kill()
            raise
        self._reach(self._addresses())

    def _bind(self, told: socket.socket) -> str:
        """Its address, as NOTIFY_SOCKET says it. The data's path may be too long for a socket's."""
        from logstore import platforms  # not before a server is wanted

        name = f"logstore-test-{os.getpid()}-{os.urandom(8).hex()}"
        if platforms.ABSTRACT_SOCKETS.there:
            told.bind("\0" + name)
            return "@" + name
        self._beside = TemporaryDirectory(prefix="ls", dir="/tmp")
        told.bind(f"{self._beside.name}/n")
        return f"{self._beside.name}/n"

    def _spawn(self, control: socket.socket, notify: str) -> "subprocess.Popen[bytes]":
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        environment |= {"NOTIFY_SOCKET": notify, "PYTHONUNBUFFERED": "1"}
        environment.pop("WATCHDOG_USEC", None)
        ports = [it for name in DOORS for it in (f"--{name}-port", self._ports[name])]
        words = ["serve", "--data", self.data, *ports]
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "pytest_logstore.child", str(control.fileno()),
                 *map(str, words)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                cwd=self.data.parent, pass_fds=[control.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests
            )  # fmt: skip

    def _wait_until_ready(self, told: socket.socket) -> None:
        assert self._process is not None
        until = monotonic() + START_S
        control = self._lines[0]  # of which it says nothing unasked: it can be read once it ended
        while (left := until - monotonic()) > 0:
            ready, _, _ = select.select([told, control], [], [], left)
            if told in ready and b"READY=1" in told.recv(65_536).split(b"\n"):
                return
            if control in ready and told not in ready:
                code = self._process.wait()
                raise NotStarted(f"logstore serve ended with code {code}: {self._last()}")
        raise NotStarted(f"logstore serve is not ready after {START_S:.0f} s: {self._last()}")

    def _last(self) -> str:
        return "\n".join(self.log.splitlines()[-ENDED_LINES:]) or "it said nothing"

    def _addresses(self) -> dict[str, str]:
        """As its lock says; kept, so that it has the same ports when it is begun again."""
        found: dict[str, str] = json.loads((self.data / "lock").read_text())["endpoints"]
        self._ports |= {name: at.rpartition(":")[2] for name, at in found.items() if name in DOORS}
        return found

    def restart(self) -> None:
        """As Server.restart. Raises NotStarted."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """As Server.stop; without effect where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As Server.kill; without effect where it does not run."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for line in self._lines:
            line.close()
        if self._beside is not None:
            self._beside.cleanup()
            self._beside = None

    def pause(self) -> None:
        """As Server.pause; it stands still on return."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):  # it ended before; nobody else is told of that again
            self._process.returncode = os.waitstatus_to_exitcode(status)

    def resume(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def recover(self) -> None:
        """As Server.recover. Raises NotStarted."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()  # forgets it
        if self._process is None:
            self.start()
        self.resume()

    def tell(self, **faults: object) -> None:
        """As Server.tell; done on return."""
        assert self._process is not None, "it does not run"
        control = self._lines[0]
        control.sendall(json.dumps(faults).encode() + b"\n")
        answer = control.recv(16)
        assert answer == b"done\n", "the server ended"


def setting_text(value: Any) -> str:  # noqa: ANN401  whatever a setting takes
    """As a configuration file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
