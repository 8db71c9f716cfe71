"""What a service manager is told: by a socket as systemd's is."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from serving import DEADLINE_S, Serving

from logstore.supervisor import Supervisor


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    name = str(tmp_path / "notify")
    address = "\0" + name if request.param == "abstract" else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(DEADLINE_S)
        yield Manager(listening, name if request.param == "file" else "@" + name)


class Manager:
    def __init__(self, listening, address):
        self._listening = listening
        self.environment = {"NOTIFY_SOCKET": address}

    def told(self):
        return self._listening.recv(4096).decode().split("\n")

    def told_until(self, line):
        """All that is told up to this line, and what came with it."""
        told = []
        while line not in told:
            told += self.told()
        return told


def test_it_is_told_when_the_server_is_ready_and_when_it_stops(manager):
    supervisor = Supervisor(manager.environment, 1)
    supervisor.ready("serving data:\nkafka\t1")
    assert manager.told() == ["READY=1", "STATUS=serving data: kafka 1"]
    supervisor.stopping()
    assert manager.told()[0] == "STOPPING=1"


def test_a_reload_says_when_it_began(manager):
    supervisor = Supervisor(manager.environment, 1)
    supervisor.reloading()
    reloading, at = manager.told()
    assert reloading == "RELOADING=1"
    assert int(at.removeprefix("MONOTONIC_USEC=")) > 0


def test_signs_of_life_come_twice_as_often_as_they_are_due(manager):
    environment = manager.environment | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    timers = []
    Supervisor(environment, 7, 1).watch(lambda seconds, call: timers.append((seconds, call)))
    for _ in range(3):
        assert manager.told() == ["WATCHDOG=1"]
        seconds, call = timers.pop()
        assert seconds == 15
        call()


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "0", "WATCHDOG_PID": "7"},
        {"WATCHDOG_USEC": "x", "WATCHDOG_PID": "7"},
        {"WATCHDOG_USEC": "-1", "WATCHDOG_PID": "7"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "8"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "7", "NOTIFY_SOCKET": ""},
        {},
    ],
)
def test_a_watchdog_of_nobody_or_of_another_process_gets_no_signs_of_life(manager, environment):
    supervisor = Supervisor(manager.environment | environment, 7)
    supervisor.watch(lambda seconds, call: pytest.fail("a timer"))


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nobody_is_told_and_no_thread_begun(address):
    supervisor = Supervisor({"NOTIFY_SOCKET": address}, 1)
    assert not supervisor.listens
    supervisor.ready("")
    supervisor.waited_for()()


def test_a_manager_that_is_gone_is_one_line_and_no_failure(tmp_path, caplog):
    supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 1)
    supervisor.ready("")
    supervisor.stopping()
    [record] = caplog.records
    assert "can't be told: No such file or directory" in record.getMessage()


def test_it_is_asked_to_wait_until_that_is_over(manager):
    over = Supervisor(manager.environment, 1).waited_for()
    assert manager.told() == ["EXTEND_TIMEOUT_USEC=30000000"]
    over()


@pytest.mark.long
def test_a_server_tells_its_manager_all_of_its_life(manager, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    server = Serving(tmp_path / "data")
    told = manager.told_until("READY=1")
    assert told[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert f"STATUS=serving {tmp_path / 'data'}: kafka {server.address}, resp " in told[-1]
    for _ in range(3):
        assert manager.told() == ["WATCHDOG=1"]
    server.process.send_signal(signal.SIGHUP)
    told = manager.told_until("RELOADING=1")
    assert set(told[:-2]) <= {"WATCHDOG=1"}
    told = manager.told_until("READY=1")
    assert "STATUS=loaded anew" in told
    code, errors = server.stop()
    assert code == 0
    assert "nothing to load anew" in errors
    manager.told_until("STOPPING=1")


@pytest.mark.long
def test_systemd_s_own_program_understands_where_we_send(manager):
    """The socket that the tests have is what systemd-notify speaks to as well."""
    try:
        subprocess.run(
            ["systemd-notify", "--no-block", "--ready", "--status=x"], check=True,
            env=os.environ | manager.environment, timeout=DEADLINE_S,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no systemd-notify here")
    theirs = manager.told()
    code = "import os; from logstore.supervisor import Supervisor as S; S(os.environ).ready('x')"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | manager.environment)
    ours = manager.told()
    assert set(ours) <= set(theirs)
