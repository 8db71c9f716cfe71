"""Nodes over a cluster, each a process; the cluster is a server of this program, or a real one."""

import os
import signal
import subprocess
import time
from contextlib import closing

from cluster_load import Fault
from serving import COMMAND, DEADLINE_S, OF_SLOW_MACHINES, Serving, place_of
from storage_kit import Opened
from tcp_proxy import BOTH

from logstore.cluster.standing import HEARD_S

CUT_OFF = "b"
SHARED_S = 8.0  # for the shares to be distributed again


class ServingNode:
    """``logstore serve --cluster``; ``redis``, ``amqp`` and ``http`` are where clients connect."""

    def __init__(self, data, cluster, *words, config="", **settings):
        """``cluster``: addresses of brokers; ``config``: text of the configuration file."""
        self.data = data
        if config:
            data.mkdir(exist_ok=True)
            (data / "logstore.toml").write_text(config)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        environment |= {f"LOGSTORE_{name.upper()}": str(it) for name, it in settings.items()}
        self._errors = open(f"{data}.stderr", "a+b")  # noqa: SIM115  closed by stop
        self.process = subprocess.Popen(
            [
                COMMAND, "serve", "--data", data, "--cluster", cluster, "--resp-port", "0",
                "--amqp-port", "0", "--stomp-port", "-1", "--http-port", "0", *words,
            ],
            stdout=subprocess.PIPE, stderr=self._errors, env=environment,
        )  # fmt: skip
        self.redis, self.amqp, self.http = (self._place() for _ in range(3))

    def _place(self):
        line = self.process.stdout.readline().decode()
        assert line.startswith("serving "), self.errors()
        return place_of(line)

    def errors(self):
        """As Serving.errors."""
        self._errors.seek(0)
        lines = self._errors.read().decode().splitlines(keepends=True)
        return "".join(line for line in lines if not any(it in line for it in OF_SLOW_MACHINES))

    def stop(self, number=signal.SIGTERM):
        """(exit code, standard error)"""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        if not self._errors.closed:
            self.process.stdout.close()
            self.said = self.errors()
            self._errors.close()
        return code, self.said


class Cluster:
    """A server that is the cluster of some nodes."""

    def __init__(self, path):
        self._path = path
        self.broker = Serving(path / "cluster", resp_port=-1)
        self.nodes = {}

    @property
    def address(self):
        return self.broker.address

    def node(self, name, *words, **settings):
        """Start a node that is new or was stopped."""
        node = self.nodes[name] = ServingNode(self._path / name, self.address, *words, **settings)
        return node

    def stop(self):
        for node in self.nodes.values():
            node.stop()
        self.broker.stop()


class Trio:
    """Three nodes over brokers, of which clients use those that run; with what was done to them.

    ``b`` comes to the brokers by their proxies, and may be cut off from them.
    """

    def __init__(self, path, brokers, **settings):
        self._path, self._brokers, self._settings = path, brokers, settings
        self.faults = []
        self.stalled_since = None  # acknowledgements from then on are under way
        self.freezes = []  # (from, until) of each that is over
        self._frozen = {}  # since when
        self.nodes = {}
        try:
            for name in "abc":
                self.begin(name)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name):
        return self.nodes[name]

    def places(self):
        """The addresses for RabbitMQ clients."""
        return [self.nodes[it].amqp for it in self.running()]

    def redis_places(self):
        """The addresses for Redis clients."""
        return [self.nodes[it].redis for it in self.running()]

    def running(self):
        """The nodes that are not frozen."""
        return [
            name for name, it in self.nodes.items()
            if it.process.poll() is None and name not in self._frozen
        ]  # fmt: skip

    def node_id(self, name):
        """The node's name in claims."""
        directory = Opened(self._path / name).reader()
        with closing(directory):
            return directory.store_id

    def _fault(self, what, name, begin, until):
        if self.stalled_since is not None:
            begin = min(begin, self.stalled_since)
        self.faults.append(Fault(f"{what} {name}", begin, until))

    def begin(self, name):
        """Start a node that does not run. The others give up its share."""
        began = time.monotonic()
        brokers = self._brokers
        proxied = ",".join(f"{host}:{port}" for host, port in brokers.proxied)
        address = proxied if name == CUT_OFF else brokers.address
        self.nodes[name] = ServingNode(self._path / name, address, **self._settings)
        self._fault("begin", name, began, time.monotonic() + SHARED_S)

    def kill(self, name):
        now = time.monotonic()
        self._fault("kill", name, now, now)
        self.nodes[name].stop(signal.SIGKILL)

    def end(self, name):
        """Stop a node cleanly; returns its output."""
        began = time.monotonic()
        code, said = self.nodes[name].stop()
        self._fault("end", name, began, time.monotonic())
        assert code == 0, said
        return said

    def freeze(self, name):
        now = time.monotonic()
        self._fault("freeze", name, now, now)
        self._frozen[name] = now
        self.nodes[name].process.send_signal(signal.SIGSTOP)

    def thaw(self, name):
        """Thaw a node, which finds its share taken over, and gets it again."""
        now = time.monotonic()
        self.nodes[name].process.send_signal(signal.SIGCONT)
        self.freezes.append((self._frozen.pop(name), now))
        self._fault("thaw", name, now, now + SHARED_S)

    def cut(self, ways=BOTH):
        """Cut ``b`` off from all brokers; clients and other nodes can reach it.

        It delivers messages as long as it is sure to be their only owner.
        """
        now = time.monotonic()
        self._fault("cut", CUT_OFF, now, now + HEARD_S)
        for it in self._brokers.proxies:
            it.hold(*ways)

    def mend(self):
        """Reconnect the node, which gets its share again."""
        now = time.monotonic()
        for it in self._brokers.proxies:
            it.heal()
        self._fault("mend", CUT_OFF, now, now + SHARED_S)

    def close(self):
        self.mend()
        for name in list(self._frozen):
            self.thaw(name)
        for it in self.nodes.values():
            it.stop()
