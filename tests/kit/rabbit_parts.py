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
LISTENS_WITHIN_S = 60  # it needs some 5 s; rarely it hangs at its start, and never would
TRIES = 2
ALL = {"configure": ".*", "write": ".*", "read": ".*"}


class RealRabbit:
    """``amqp`` is where clients connect: as guest, to "/" or to one of ``vhosts``."""

    def __init__(self, folder, vhosts=()):
        for left in range(TRIES - 1, -1, -1):
            tried = folder / f"try-{left}"
            tried.mkdir()
            try:
                self._start(tried, ["/", *vhosts])
                return
            except SystemExit:  # it hung, and was killed
                if not left:
                    raise

    def _start(self, folder, vhosts):
        known = folder / "definitions.json"
        known.write_text(json.dumps({
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [{"user": "guest", "vhost": name, **ALL} for name in vhosts],
        }))  # fmt: skip
        with ExitStack() as stack:
            server = stack.enter_context(rabbitmq(folder, f"load_definitions = {known}\n"))
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens(LISTENS_WITHIN_S)
            self.amqp = "127.0.0.1", server.port
            self._stack = stack.pop_all()

    def stop(self):
        self._stack.close()
