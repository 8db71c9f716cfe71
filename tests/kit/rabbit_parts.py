"""A real rabbitmq-server in a process of its own, with virtual hosts to compare."""

import json
import shutil
import socket
import time
from contextlib import ExitStack

import pytest

from bench.rabbit.brokers import SCRIPT, rabbitmq
from bench.server import free_port

needs_rabbitmq = pytest.mark.skipif(
    shutil.which(str(SCRIPT)) is None,
    reason="no rabbitmq-server here: apt-get install rabbitmq-server",
)
LISTENS_WITHIN_S = 60  # it needs some 5 s; rarely it hangs at its start, and never would
TRIES = 2
ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def wait_for(address):
    """Wait for a plugin's port, which opens a moment after the AMQP port."""
    until = time.monotonic() + LISTENS_WITHIN_S
    while True:
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.1)
        else:
            return


class RealRabbit:
    """``amqp`` is where clients connect: as guest, to "/" or to one of ``vhosts``.

    ``http`` is where its management API is, if it has one; ``stomp`` where STOMP clients connect.
    """

    def __init__(self, folder, vhosts=(), *, managed=False, stomp=False, **more):
        """``more``: further definitions, by their names in the file."""
        self.http = ("127.0.0.1", free_port()) if managed else None
        self.stomp = ("127.0.0.1", free_port()) if stomp else None
        for left in range(TRIES - 1, -1, -1):
            tried = folder / f"try-{left}"
            tried.mkdir()
            try:
                self._start(tried, ["/", *vhosts], more)
                return
            except SystemExit:  # it hung, and was killed
                if not left:
                    raise

    def _start(self, folder, vhosts, more):
        known = folder / "definitions.json"
        definitions = {
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [{"user": "guest", "vhost": name, **ALL} for name in vhosts],
        }
        for name, rows in more.items():
            definitions.setdefault(name, []).extend(rows)
        known.write_text(json.dumps(definitions))
        with ExitStack() as stack:
            settings, plugins = f"load_definitions = {known}\n", []
            if self.http is not None:
                host, port = self.http
                settings += f"management.tcp.ip = {host}\nmanagement.tcp.port = {port}\n"
                plugins.append("rabbitmq_management")
            if self.stomp is not None:
                host, port = self.stomp
                settings += f"stomp.listeners.tcp.1 = {host}:{port}\n"
                plugins.append("rabbitmq_stomp")
            server = stack.enter_context(rabbitmq(folder, settings, ",".join(plugins)))
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens(LISTENS_WITHIN_S)
            self.amqp = "127.0.0.1", server.port
            for address in (self.http, self.stomp):
                if address is not None:
                    wait_for(address)
            self._stack = stack.pop_all()

    def stop(self):
        self._stack.close()
