"""``logstore top``, of a server."""

import json
import os
import pty
import re

import pytest
from cli_process import COMMAND
from logstore_cli import top

pytestmark = pytest.mark.long


def test_where_the_output_is_no_terminal_it_is_one_look(logstore, server):
    lines = logstore("top", "--data", server.data).lines
    assert re.fullmatch(r"logstore \S+  up .* s  healthy", lines[0])
    labels = [line.split()[0] for line in lines if line[:1].isupper()]
    assert labels == ["FLOWS", "STUCK", "FULL", "DOORS", "JOBS"]
    assert any(line.split()[:3] == ["DOORS", "kafka", server.address] for line in lines)
    assert logstore("top", "--once", "--data", server.data).lines[0].startswith("logstore ")


def test_machines_have_what_the_server_says(logstore, server):
    found = json.loads(logstore("top", "--json", "--data", server.data).out)
    assert {"health", "flows", "stuck", "full", "doors", "jobs", "counts"} <= set(found)


def test_without_a_server_it_says_how_to_begin_one(logstore):
    assert "start one with `logstore serve`" in logstore("top", code=1).err


def test_a_program_that_is_no_server_can_not_be_watched(logstore, data, store):
    logstore("topic", "create", "t")
    with store("write"):
        assert "logstore: " in logstore("top", code=1).err


def test_it_goes_on_at_a_terminal_until_ctrl_c_and_leaves_it_as_it_was(server):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        os.execv(COMMAND, [COMMAND, "top", "--every", "0.2", "--data", str(server.data)])
    said = b""
    while said.count(b"JOBS") < 3:
        said += os.read(terminal, 65_536)
    assert b"Ctrl-C ends" in said
    assert b"\x1b[?1049h" in said  # a screen of its own
    os.write(terminal, b"\x03")
    while True:
        try:
            said += os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert said.rindex(b"\x1b[?1049l") > said.rindex(b"\x1b[?1049h")
    assert b"Traceback" not in said


def test_what_was_seen_last_stays_while_the_server_does_not_answer():
    shown = top._screen({"version": "1.4.0"}, 0, "api.sock: no process answers").plain
    assert shown.startswith("logstore 1.4.0")
    assert shown.rstrip().endswith("Ctrl-C ends\napi.sock: no process answers")
