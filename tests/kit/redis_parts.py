"""A real redis-server in a process of its own, and raw connections to it or to ours."""

import shutil
import socket
import subprocess
import time
from typing import ClassVar

import pytest

DEADLINE_S = 30

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="no redis-server here: apt-get install redis-server",
)
needs_tools = pytest.mark.skipif(
    shutil.which("redis-cli") is None, reason="no redis-cli here: apt-get install redis-tools"
)


class RealRedis:
    """It keeps nothing; ``redis`` is where clients connect."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.redis = probe.getsockname()
        command = ["redis-server", "--port", str(self.redis[1]), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", folder, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(self.redis).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < until
                assert self.process.poll() is None

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)


class Raw:
    """A connection as bytes."""

    opened: ClassVar = []  # where they are closed if a test fails

    def __init__(self, server):
        self.socket = socket.create_connection(server.redis)
        self.socket.settimeout(DEADLINE_S)
        self.got = b""
        self.ended = False
        Raw.opened.append(self)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def until(self, mark):
        """Read until ``mark`` has arrived, or the end."""
        while mark not in self.got and not self.ended:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            self.got += data
            self.ended = not data
        return self.got

    def close(self):
        self.socket.close()


def request(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(it), it) for it in parts)
