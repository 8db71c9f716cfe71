"""The real command against a real store in a temporary directory.

``logstore(...)`` runs it in this process, which is fast; ``spawn(...)`` as a process of its own,
for whatever has to do with signals, pipes and other processes.
"""

import gc
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import count

import pytest
from cli_process import COMMAND, Process
from logstore_cli.main import main
from serving import Serving

import logstore as library

NUMBERS = count()


@dataclass
class Result:
    code: int
    out: str
    bytes: bytes
    err: str

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def data(tmp_path, monkeypatch):
    for name in os.environ:
        if name.startswith("LOGSTORE_"):
            monkeypatch.delenv(name)
    path = tmp_path / "data"
    monkeypatch.setenv("LOGSTORE_DATA", str(path))
    monkeypatch.setenv("COLUMNS", "200")  # help and usage in lines of one length
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def logstore(data, tmp_path, capfdbinary, monkeypatch):
    """logstore("topic", "list", stdin=b"...", code=0) -> Result"""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def run(*words, stdin=b"", code=0):
        given = tmp_path / "stdin"
        given.write_bytes(stdin)
        monkeypatch.setattr(sys, "argv", ["logstore", *map(str, words)])
        kept, fd = os.dup(0), os.open(given, os.O_RDONLY)
        capfdbinary.readouterr()
        handlers = logging.getLogger().handlers.copy()
        try:
            os.dup2(fd, 0)
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            os.dup2(kept, 0)
            os.close(kept)
            os.close(fd)
            sys.setswitchinterval(interval)
            # A server's would write to what is captured of this run, which is closed by then.
            logging.getLogger().handlers[:] = handlers
            gc.unfreeze()
            gc.set_threshold(*threshold)
        out, err = capfdbinary.readouterr()
        result = Result(ended.value.code, out.decode("utf-8", "replace"), out, err.decode())
        assert "Traceback" not in result.err
        assert code is None or result.code == code, result
        if result.code == 1:
            assert result.err.splitlines()[-1].startswith("logstore: ")
        return result

    return run


@pytest.fixture
def store(data):
    """store() opens the library on the same directory."""

    def open_store(mode="read"):
        return library.open(data, mode)

    return open_store


@pytest.fixture
def spawn(start_process):
    return lambda *words, **streams: start_process([COMMAND, *words], **streams)


@pytest.fixture
def spawn_python(start_process):
    """spawn_python(code, *words): for the command with something changed in it."""
    return lambda code, *words: start_process([sys.executable, "-c", code, *words])


@pytest.fixture
def start_process(data):
    running = []

    def start(words, **streams):
        streams = {
            "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
        } | streams  # fmt: skip
        process = Process(words, **streams)
        running.append(process.popen)
        return process

    yield start
    for popen in running:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("served") / "data")
    yield running
    code, errors = running.stop()
    assert (code, errors) == (0, "")


@pytest.fixture
def name():
    """Of a topic or group that no other test uses."""
    return f"name-{next(NUMBERS)}"


@pytest.fixture
def start_serving():
    """start_serving(data) -> Serving; each ends with the test."""
    running = []

    def start(data, **settings):
        running.append(Serving(data, **settings))
        return running[-1]

    yield start
    for it in running:
        if it.process.poll() is None:
            it.stop()
