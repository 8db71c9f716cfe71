"""A real rabbitmq-server in a process of its own, with virtual hosts to compare."""

import json
import shutil
from contextlib import ExitStack

import pytest

from bench.rabbit.brokers import SCRIPT, rabbitmq

needs_rabbitmq = pytest.mark.skipif(
    shutil.which(str(SCRIPT)) is None,
    reason="no rabbitmq-server here: apt-get install rabbitmq-server",
)
ALL = {"configure": ".*", "write": ".*", "read": ".*"}


class RealRabbit:
    """``amqp`` is where clients connect: as guest, to "/" or to one of ``vhosts``."""

    def __init__(self, folder, vhosts=()):
        vhosts = ["/", *vhosts]
        known = folder / "definitions.json"
        known.write_text(json.dumps({
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [{"user": "guest", "vhost": name, **ALL} for name in vhosts],
        }))  # fmt: skip
        with ExitStack() as stack:
            self._server = stack.enter_context(rabbitmq(folder, f"load_definitions = {known}\n"))
            stack.callback(self._server.stop)
            self._server.start()
            self._server.wait_until_it_listens()
            self.amqp = "127.0.0.1", self._server.port
            self._stack = stack.pop_all()

    def stop(self):
        self._stack.close()
