"""No password is in what a server writes: its log, its files, what it tells of itself.

Whatever becomes of a login, through each door and in each form that carries one, and of what the
commands do with it.
"""

import base64
import json
import os
import socket
import subprocess
from contextlib import suppress

import pika
import pytest
from cli_process import COMMAND
from kept_users_kit import usual
from serving import Serving
from wire_client import WireClient

from logstore.kafka.messages import sasl_authenticate, sasl_handshake

pytestmark = pytest.mark.long
DEADLINE_S = 30
RIGHT, WRONG, NEW = "Right-pass-7351", "Wrong-pass-9283", "New-pass-6470"


@pytest.fixture
def server(tmp_path):
    usual(tmp_path / "data")
    running = Serving(
        tmp_path / "data", amqp_port=0, connection_failed_authentication_delay_ms=0
    )  # fmt: skip
    yield running
    if running.process.poll() is None:
        running.stop()


def run(server, *words, stdin=""):
    done = subprocess.run(
        [COMMAND, *words, "--data", server.data], input=stdin, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def by_kafka(server, password):
    token = f"\0al\0{password}".encode()
    for version, wrapped in ((1, token), (1, token + b"\0more"), (1, token[1:])):
        with WireClient(server.endpoint) as client:
            request = sasl_handshake.Request("PLAIN")
            client.ask(17, version, request, sasl_handshake.Response)
            client.ask(
                36, version, sasl_authenticate.Request(wrapped), sasl_authenticate.Response
            )  # fmt: skip
    with WireClient(server.endpoint) as client:  # where no login is due
        client.socket.sendall(token * 3)
        assert client.ended()


def by_amqp(server, password):
    host, port = server.amqp
    given = pika.PlainCredentials("al", password)
    with suppress(pika.exceptions.AMQPError):  # refused, or no permission in the virtual host
        pika.BlockingConnection(pika.ConnectionParameters(host, port, credentials=given)).close()


def by_redis(server, password):
    lines = [
        f"AUTH al {password}", f"AUTH {password}", f"HELLO 3 AUTH al {password}",
        f"AUTH al {password} {password}", f"HELLO 3 AUTH al {password} NOPE", "MULTI",
        f"AUTH al {password}", f"AUTH {password}", "EXEC", f"{password}", f"PUBLISH {password}",
        f"CONFIG SET requirepass {password}", f"ACL SETUSER al >{password}",
        f"ACL SETUSER al nope{password}", "ACL LOG", "CLIENT LIST",
    ]  # fmt: skip
    for line in lines:
        with socket.create_connection(server.redis, DEADLINE_S) as client:
            client.sendall(f"{line}\r\n".encode())
            client.recv(1 << 16)


def by_commands(server, password):
    said = run(server, "user", "add", f"u{len(password)}", "--password-file", "-", stdin=password)
    said += run(server, "user", "passwd", "al", "--password-file", "-", stdin=password)
    said += run(server, "user", "add", password[:3] + "\n", "--password-file", "-", stdin=password)
    for words in (["user", "list"], ["acl", "list"], ["status"], ["config", "show"]):
        said += run(server, *words, "--json")
    return said


def shapes(password):
    """What it looks like in bytes that carry it."""
    raw = password.encode()
    return {raw, raw[::-1], raw.hex().encode(), *(
        base64.b64encode(before + raw).strip(b"=")[4:-2] for before in (b"", b"a", b"ab")
    )}  # fmt: skip


def test_no_password_is_written_anywhere(server):
    usual_password = run(server, "user", "passwd", "al", "--password-file", "-", stdin=RIGHT)
    assert usual_password == "changed the password of user al\n"
    for password in (RIGHT, WRONG):
        by_kafka(server, password)
        by_amqp(server, password)
        by_redis(server, password)
    said = by_commands(server, NEW)
    assert json.loads(run(server, "user", "list", "--json"))
    for name in ("cmdline", "environ", "status"):
        with open(f"/proc/{server.process.pid}/{name}", "rb") as file:
            said += file.read().decode(errors="replace")
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "refused" in errors  # it did tell of the logins
    held = {"what was said": said.encode(), "the log": errors.encode()}
    for folder, _, files in os.walk(server.data):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                held[path] = file.read()
    assert len(held) > 10
    assert any("__audit" in it for it in held)
    for where, data in held.items():
        for password in (RIGHT, WRONG, NEW):
            for shape in shapes(password):
                assert shape not in data, f"{password} is in {where}"
