"""Two containers share a volume, and not their process numbers: both have a process 1."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from serving import COMMAND, DEADLINE_S

import logstore
from logstore.errors import StoreLocked

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("unshare") is None
        or subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0,
        reason="no pid namespaces can be made here",
    ),
]

READS = """
import sys, logstore
store = logstore.open(sys.argv[1], sys.argv[2])
print(*store.topics(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data(tmp_path):
    path = str(tmp_path / "data")
    with logstore.open(path) as store:
        store.create_topic("t").append(b"1")
    return path


@pytest.fixture
def begin():
    """Start a program as process 1 of a namespace of its own."""
    started = []

    def run(*words):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        process = subprocess.Popen(
            [*NAMESPACE, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def reader(begin, data):
    process = begin(sys.executable, "-c", READS, data, "read")
    assert process.stdout.readline() == b"t\n"
    return process


def serve(begin, data):
    server = begin(
        COMMAND,
        "serve",
        "--data",
        data,
        "--kafka-port",
        "0",
        "--resp-port",
        "0",
        "--amqp-port",
        "-1",
        "--mqtt-port",
        "-1",
        "--stomp-port",
        "-1",
        "--http-port",
        "-1",
    )
    line = server.stdout.readline().decode()
    assert "Kafka clients at" in line, server.stderr.read()
    return server


def command(begin, *words):
    process = begin(COMMAND, *words)
    out, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out.decode(), errors.decode()


def process_1_of(process):
    """Its number here."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        return int(children.read().split()[0])


def test_a_server_starts_beside_a_reader_of_its_number_and_ends_in_order(begin, reader, data):
    server = serve(begin, data)
    os.kill(process_1_of(server), signal.SIGTERM)
    assert server.wait(DEADLINE_S) == 0, server.stderr.read()
    code, out, errors = command(begin, "status", "--json", "--data", data)
    assert (code, errors) == (0, "")
    assert json.loads(out)["writer"] is None


def test_a_server_of_a_taken_number_is_killed_with_the_process_that_was_called(begin, reader, data):
    server = serve(begin, data)
    os.kill(process_1_of(server), signal.SIGKILL)
    server.wait(DEADLINE_S)
    with logstore.open(data) as store:  # nobody has it any more
        assert [*store.topics()] == ["t"]


def test_commands_work_beside_a_server_of_their_number(begin, data):
    server = serve(begin, data)
    code, out, errors = command(begin, "topic", "list", "--data", data)
    assert (code, errors) == (0, "")
    assert "t " in out
    code, out, errors = command(begin, "consume", "t", "--from", "earliest", "--data", data)
    assert (code, out, errors) == (0, "1\n", "")
    assert server.poll() is None


def test_a_commands_own_failure_and_exit_code_stay_what_they_are(begin, reader, data):
    code, _, errors = command(begin, "consume", "none", "--data", data)
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert "none" in errors


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_program_of_a_taken_number_hears_what_to_do_in_one_line(begin, reader, data, mode):
    process = begin(sys.executable, "-c", READS, data, mode)
    _, errors = process.communicate(timeout=DEADLINE_S)
    last = errors.decode().splitlines()[-1]
    for words in ("process with the same pid, 1", "pid namespace", "docker run --pid",
                  "shareProcessNamespace", "docker run --init"):  # fmt: skip
        assert words in last
    assert reader.poll() is None


def test_who_holds_a_store_is_told_to_be_of_another_namespace(begin, data):
    server = serve(begin, data)
    with pytest.raises(StoreLocked, match="pid 1 of another pid namespace") as raised:
        logstore.open(data)
    assert raised.value.owner.is_elsewhere
    assert server.poll() is None


def test_of_two_servers_the_second_is_refused_whatever_their_numbers(begin, data):
    serve(begin, data)
    second = begin(
        COMMAND,
        "serve",
        "--data",
        data,
        "--kafka-port",
        "0",
        "--resp-port",
        "0",
        "--amqp-port",
        "-1",
        "--mqtt-port",
        "-1",
        "--stomp-port",
        "-1",
        "--http-port",
        "-1",
    )
    _, errors = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 1
    assert "already served by pid 1 of another pid namespace" in errors.decode()
