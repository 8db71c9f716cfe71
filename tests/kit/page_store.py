"""A server with its page, and the command line beside it."""

import os
import subprocess

from cli_process import COMMAND
from serving import Serving


class Store(Serving):
    """``url``: of its page."""

    def __init__(self, data, http_port=0, **settings):
        super().__init__(data, amqp_port=0, http_port=http_port, **settings)
        self.url = "http://{}:{}/".format(*self.http)

    def run(self, *words, fed=""):
        """The output of a command, which must succeed."""
        return self.run_elsewhere(*words, "--data", self.data, fed=fed)

    def run_elsewhere(self, *words, fed=""):
        """As ``run``, on another directory."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        done = subprocess.run(
            [COMMAND, *map(str, words)],
            env=environment, input=fed, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def table(self, *words):
        """The rows of a command's table, without its heading."""
        return [line.split() for line in self.run(*words).splitlines() if line][1:]
