"""The files in deploy/, as far as they can be tried without a container engine and systemd."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from librdkafka import produce
from logstore_cli.app import app, typer
from redis import Redis
from serving import DEADLINE_S, Serving

from logstore.doors import ENTRANCES
from logstore.settings import STORE_SETTINGS
from logstore.variables import RESERVED, variable

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
UNIT = DEPLOY / "logstore.service"
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
PACKAGES = ("cli", "logstore", "pytest_logstore")
EXPOSURE_MAX = 2.0  # of ten, as systemd-analyze counts


# The image


def instructions():
    """(word, the rest) of each instruction of the Dockerfile, in order."""
    lines = [it for it in (DEPLOY / "Dockerfile").read_text().splitlines() if it[:1] != "#"]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def of(word):
    return [rest for it, rest in instructions() if it == word]


def test_all_that_the_image_is_built_of_is_there_and_let_through():
    copied = [it.split() for it in of("COPY") if not it.startswith("--from")]
    sources = {source for words in copied for source in words[:-1]}
    assert {"pyproject.toml", "README.md", "LICENSE", *PACKAGES} == sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{it}" for it in sources} == {it for it in ignored if it.startswith("!")}


def test_the_image_exposes_the_doors_and_serves_by_default():
    ports = {STORE_SETTINGS[it.port_setting].default for it in ENTRANCES}
    assert set(map(int, of("EXPOSE")[0].split())) == ports
    assert of("ENTRYPOINT") == ['["tini", "--", "logstore"]']
    assert of("CMD") == ['["serve"]']
    status = typer.main.get_command(app).commands["status"]
    assert "--ready" in {flag for it in status.params for flag in it.opts}
    [check] = of("HEALTHCHECK")
    assert '["logstore", "status", "--ready"]' in check


def variables_of(text):
    return set(re.findall(r"\b(LOGSTORE_[A-Z_]+)\b", text))


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda it: it.name)
def test_every_variable_that_is_named_means_something(path):
    known = {*map(variable, STORE_SETTINGS), *RESERVED, "LOGSTORE_NAME"}
    assert variables_of(path.read_text()) <= known


def test_the_user_of_the_image_is_nobody_and_owns_the_data():
    assert of("USER") == ["10001:10001"]
    assert "install -d -m 0700 -o 10001 -g 10001 /var/lib/logstore" in of("RUN")[-1]
    assert of("VOLUME") == ["/var/lib/logstore"]
    assert of("STOPSIGNAL") == ["SIGTERM"]


# The unit


@pytest.fixture
def unit(tmp_path):
    """The unit, of the command that is tried here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    text = UNIT.read_text()
    command = Path(sys.executable).with_name("logstore")
    assert text.count("/opt/logstore/bin/logstore") == 1
    path = tmp_path / "logstore.service"
    path.write_text(text.replace("/opt/logstore/bin/logstore", str(command)))
    return path


def analyzed(*words):
    return subprocess.run(
        ["systemd-analyze", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def test_systemd_takes_the_unit_without_a_word(unit):
    done = analyzed("verify", "--man=no", unit)
    about_it = [line for line in done.stdout.splitlines() if "logstore" in line]
    assert (done.returncode, about_it) == (0, [])


def test_systemd_finds_little_exposed(unit):
    done = analyzed("security", "--offline=true", unit)
    if "nrecognized option" in done.stdout:
        pytest.skip("this systemd-analyze looks at no files")
    found = re.search(r"Overall exposure level for logstore.service: ([\d.]+)", done.stdout)
    assert float(found[1]) <= EXPOSURE_MAX


def values(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def syscalls(name):
    """Those of a set, as systemd has it."""
    done = analyzed("syscall-filter", name)
    found = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= syscalls(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def work(server, data):
    """What a server is there for: topics, channels, queues, the page, upkeep by a child."""
    produce(server, "t", [b"a", b"b"])
    Redis(*server.redis).publish("c", "m")
    for path in ("/", "/metrics", "/readyz", "/api/v1/topics", "/api/v1/doctor"):
        host, port = server.http
        with urlopen(f"http://{host}:{port}{path}", timeout=DEADLINE_S) as answer:
            assert answer.read()
    here = {**os.environ, "LOGSTORE_DATA": str(data)}
    command = Path(sys.executable).with_name("logstore")
    for words in (
        ("topic", "alter", "t", "--config", "compression.sealed=zstd"),
        ("recompress", "run", "--seal"),
        ("queue", "declare", "q"),
        ("exchange", "publish", "", "--key", "q", "--message", "m"),
        ("doctor", "--json"),
    ):
        subprocess.run([command, *words], env=here, check=True, stdout=subprocess.PIPE)


def test_a_server_makes_no_call_that_the_unit_refuses(unit, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    allowed = set()
    for value in values("SystemCallFilter"):
        names = syscalls(value.lstrip("~"))
        allowed = allowed - names if value.startswith("~") else allowed | names
    assert "fdatasync" in allowed
    trace = tmp_path / "trace"
    wrapped = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=all", "-e", "signal=none"]
    server = Serving(tmp_path / "data", amqp_port=0, http_port=0, wrapped=wrapped)
    # strace does not hand on signals: its child is the server.
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    number = int(children.read_text().split()[0])
    try:
        work(server, tmp_path / "data")
    finally:
        os.kill(number, signal.SIGTERM)
        server.process.wait(DEADLINE_S)
        code, _ = server.stop()
    assert code == 0
    lines = trace.read_text(errors="replace").splitlines()
    made = {it[1] for line in lines if (it := re.match(r"\d+ +(\w+)\(", line))}
    assert {"fdatasync", "execve", "accept4"} <= made
    tried = {"clock_adjtime"}  # whether the clock is synchronized: then that is not known
    assert made - allowed - tried == set()


def test_a_server_needs_no_memory_that_is_written_and_executed(tmp_path):
    """MemoryDenyWriteExecute=, as the kernel has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        pytest.skip("this kernel can't refuse it")
    code = (
        "import ctypes, os, sys\n"
        f"assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, {REFUSE_EXEC_GAIN}, 0, 0, 0) == 0\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    server = Serving(
        tmp_path / "data", amqp_port=0, http_port=0, wrapped=[sys.executable, "-c", code]
    )
    try:
        work(server, tmp_path / "data")
    finally:
        ended = server.stop()
    assert ended == (0, "")
