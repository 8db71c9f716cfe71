"""The load that both servers get: ``load.c``, compiled here.

==============  ==================================================================================
declare         ``queues`` queues, ``durable``, of RabbitMQ's type ``quorum`` or classic; with
                ``exchange`` one of that name, FANOUT or TOPIC, to which they are bound: by nothing,
                or by ``bindings`` patterns, of which ten match each key if there are ten queues;
                ``ordered``: with x-ordering-key, by routing key
delete          these
count           ready: messages in the queues
publish         ``count`` messages of ``bytes``, ``persistent`` or not, to the first queue or to the
                exchange; at most ``window`` are unconfirmed (0: without confirms), until all are
                confirmed: seconds, messages, bytes, nacked, client_cpu; ``keys``: so many routing
                keys in turn, through an exchange
consume         ``count`` messages of the first queue, ``prefetch`` and ``ack_every`` (more than 1:
                multiple, 0: none is needed), until the last ack is taken: the same
share           the same by ``consumers`` connections, until the last message is delivered
both            on each of ``queues`` one publisher and one consumer, until the last is delivered
latency         ``count`` messages at ``per_s``, from when each was sent; ``warm`` more before that
                do not count: deliver_p50_us, deliver_p99_us, confirm_p50_us, confirm_p99_us
first           one message, to a server that may not be there yet: says when it begins to look for
                it; at (CLOCK_MONOTONIC): when it was confirmed
first_delivery  the same of one message that is delivered
unacked         ``count`` messages delivered, then acknowledged one by one in a random order:
                first_us, middle_us, last_us: an ack, at the begin, in the middle, at the end
nack_for_ever   gives back whatever comes, ``prefetch`` at once, until it is ended
all_but_one     ``count`` messages consumed, but for the first, which goes back
==============  ==================================================================================
"""

import json
import os
import subprocess
from pathlib import Path

from bench.server import Server

SOURCE = Path(__file__).with_name("load.c")
FANOUT, TOPIC = 1, 2

Found = dict[str, float]  # what one load measured


class Load:
    """The load program, compiled. Needs gcc."""

    def __init__(self, scratch: Path) -> None:
        self._program = scratch / "load"
        self._names = 0
        subprocess.run(["gcc", "-O2", "-o", self._program, SOURCE], check=True)

    def run(self, what: str, server: Server, name: str, **numbers: int) -> Found:
        """Run a load. Raises CalledProcessError if it fails, after printing the reason."""
        return self.result(self.start(what, server, name, **numbers))

    def start(
        self, what: str, server: Server, name: str, **numbers: int
    ) -> subprocess.Popen[bytes]:
        options = [f"{option}={number}" for option, number in numbers.items()]
        command = [str(self._program), what, server.address, name, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    @staticmethod
    def wait_until_it_looks(child: subprocess.Popen[bytes]) -> None:
        """Wait until a ``first`` or ``first_delivery`` started by ``start`` looks for the
        server.
        """
        assert child.stdout is not None
        if child.stdout.readline() != b"looking\n":
            raise subprocess.CalledProcessError(child.wait(), child.args)

    @staticmethod
    def result(child: subprocess.Popen[bytes]) -> Found:
        """The result of a load started by ``start``."""
        out, _ = child.communicate()
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
        return json.loads(out.splitlines()[-1])

    def measured(self, what: str, server: Server, name: str, **numbers: int) -> Found:
        """Run a load, with ``server_cpu``: the server's processor time."""
        os.sync()  # what others have written is not waited for by this one's syncs
        before = server.cpu_s()
        found = self.run(what, server, name, **numbers)
        found["server_cpu"] = server.cpu_s() - before
        return found

    def new_queue(self, server: Server, **numbers: int) -> str:
        """As ``declare``, under a new name."""
        self._names += 1
        name = f"bench-{self._names}"
        self.run("declare", server, name, **numbers)
        return name

    def on_new_queue(self, what: str, server: Server, **numbers: int) -> Found:
        """As ``measured``, on new queues, which are deleted afterwards."""
        name = self.new_queue(server, **numbers)
        found = self.measured(what, server, name, **numbers)
        self.run("delete", server, name, **numbers)
        return found
