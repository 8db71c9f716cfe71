"""Jobs that one process has another do."""

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

import logstore
from logstore.config import Config
from logstore.errors import Failed, NoneOfThatName, UnknownTopic
from logstore.server_socket import ServerSocket
from logstore.storage.disk import Disk
from logstore.storage.names import DESK, OLD_DESK
from logstore.upkeep.asking import ask
from logstore.upkeep.desk import Desk
from logstore.upkeep.job import Job, untold

OFF = Config({"upkeep.interval.ms": ("-1", "test")})


def test_a_job_is_done_by_the_process_that_writes(store):
    told = []
    [done] = ask(Disk(), store.path, Job("compact"), told.append)
    assert done.due
    assert done.records_removed > 40
    assert told[-1].bytes_done == told[-1].bytes_total > 0
    assert list(ask(Disk(), store.path, Job("compact", dry_run=True), untold)) == list(
        store.compaction(dry_run=True)
    )
    [kept] = ask(Disk(), store.path, Job("retention"), untold)
    assert kept == next(store.retention())


def test_what_goes_wrong_there_is_raised_here(store):
    with pytest.raises(UnknownTopic, match="no topic 'nope'"):
        list(ask(Disk(), store.path, Job("compact", ("nope",)), untold))


def test_a_damaged_log_is_told(store):
    log = store.topic("t").partition(0)
    with open(log.segment(log.bases()[0]).path, "r+b") as file:
        file.seek(70)
        byte = file.read(1)
        file.seek(70)
        file.write(bytes([byte[0] ^ 1]))
    [outcome] = ask(Disk(), store.path, Job("compact"), untold)
    assert "CRC" in str(outcome.broke.error())


def test_nobody_takes_jobs_of_a_store_that_nobody_writes(tmp_path):
    with pytest.raises(Failed, match="no process that writes this store answers at this socket"):
        list(ask(Disk(), str(tmp_path), Job("compact"), untold))


def post(body, path="/api/v1/jobs"):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def said(store, sent):
    """Everything that is answered."""
    connection = Disk().connect(os.path.join(store.path, DESK))
    with connection, suppress(ConnectionError):  # far too much is cut off
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()
    return b""


@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"GET /api/v1/ser", b""),
        (b"garbage\r\n\r\n", b"400"),
        (b'{"name":"compact"}\n', b""),  # the old protocol, whose client waits for its answer
        (b"x" * 20_000, b"431"),
        (post(b"{}"), b"400"),
        (post(b'{"name":"no"}'), b"400"),
        (post(b'{"name":"compact","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"), b"400"),
        (post(b'{"name":"compact"}', "/api/v1/queues"), b"404"),
        (post(b"", "/api/v1/server"), b"405"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n", b"413"),
    ],
)
def test_garbage_is_answered_and_holds_up_nobody(store, sent, status):
    answer = said(store, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1:2] == ([status] if status else [])
    assert not status or list(json.loads(body)) == ["error"]
    assert len(list(ask(Disk(), store.path, Job("compact"), untold))) == 1


def test_a_process_that_is_no_server_says_who_it_is(store):
    found = ServerSocket(store.path).get("server")
    assert found["process_id"] == os.getpid()
    assert found["path"] == store.path
    assert found["doors"] == {}
    with pytest.raises(NoneOfThatName, match="no such path: /api/v1/queues; this process is no"):
        ServerSocket(store.path).get("queues")


def test_one_who_goes_away_does_not_stop_the_job(store):
    with Disk().connect(os.path.join(store.path, DESK)) as connection:
        connection.sendall(post(b'{"name":"compact"}'))
    [again] = ask(Disk(), store.path, Job("compact"), untold)  # after the first
    assert again.why == "everything else is compacted"
    assert "active segment" in again.left_out[0]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path):
    Desk(Disk(), str(tmp_path))._listening.close()
    assert (tmp_path / DESK).exists()
    desk = Desk(Disk(), str(tmp_path))
    desk.close()
    assert desk.wait(None) is None
    desk.remove()
    assert not (tmp_path / DESK).exists()


def test_who_comes_as_the_socket_is_lent_is_left_to_the_one_who_has_it(tmp_path, monkeypatch):
    desk = Desk(Disk(), str(tmp_path))
    real, lent, clients = select.poll, [], []

    class LentMeanwhile:
        def __init__(self):
            self._poll = real()
            self.register = self._poll.register

        def poll(self, timeout_ms):
            lent.append(desk.lend())
            clients.append(Disk().connect(str(tmp_path / DESK)))
            return self._poll.poll(timeout_ms)

    monkeypatch.setattr(select, "poll", LentMeanwhile)
    assert desk.wait(1) is None
    connection, _ = lent[0].accept()  # it is there still
    for it in (connection, *lent, *clients):
        it.close()
    desk.close()
    desk.remove()


def test_the_socket_of_an_earlier_version_goes(tmp_path):
    logstore.open(tmp_path, config=OFF).close()
    Disk().listen(str(tmp_path / OLD_DESK)).close()
    with logstore.open(tmp_path, config=OFF):
        assert not (tmp_path / OLD_DESK).exists()
        assert (tmp_path / DESK).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / DESK).exists()


def test_a_path_longer_than_a_sockets_address(tmp_path):
    path = tmp_path / ("d" * 200)
    with logstore.open(path, config=OFF) as store:
        store.create_topic("t")
        assert len(list(ask(Disk(), str(path), Job("retention"), untold))) == 1


@pytest.mark.long
def test_the_command_hands_its_job_to_who_has_the_store(store):
    command = [sys.executable, "-m", "logstore_cli", "--data", store.path, "compact", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"handed to pid {os.getpid()}" in done.stderr
    assert done.stdout.startswith("t-0: ")
    assert " records removed, " in done.stdout
    done = subprocess.run([*command, "--topic", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("logstore: no topic 'x'")
