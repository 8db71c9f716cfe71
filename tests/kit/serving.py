"""A real ``logstore serve`` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("logstore")
DEADLINE_S = 30
CLIENTS = {
    "kafka": "Kafka", "resp": "Redis", "amqp": "RabbitMQ", "mqtt": "MQTT", "stomp": "STOMP",
    "http": "HTTP",
}  # fmt: skip
OF_SLOW_MACHINES = ("one turn took", "nobody was heard for")


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def place_of(line):
    """Host and port of a door, from the server's line about it."""
    place = line.split()[-1].rpartition("//")[2].rstrip("/")
    host, port = place.split(":")
    return host, int(port)


class Serving:
    """A server; ``address`` is where Kafka clients connect, ``redis`` where Redis clients do."""

    def __init__(
        self, data, port=0, resp_port=0, wrapped=(), amqp_port=-1, words=(), http_port=-1,
        mqtt_port=-1, stomp_port=-1, **settings,
    ):  # fmt: skip
        """``wrapped``: words of a wrapper before the command; ``words``: of the command.

        With ``tls_cert``: ``tls`` has the addresses for clients with TLS, by the door's name.
        """
        if "tls_cert" in settings:
            settings = {f"{door}_tls_port": 0 for door in ("kafka", "resp", "amqp")} | settings
            for door in ("mqtt", "stomp", "http"):
                settings.setdefault(f"{door}_tls_port", -1)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        for name, value in settings.items():
            environment[f"LOGSTORE_{name.upper()}"] = str(value)
        self.data = data
        self._errors = open(f"{data}.stderr", "a+b")  # noqa: SIM115  closed by stop
        self.process = subprocess.Popen(
            [
                *wrapped,
                COMMAND,
                "serve",
                "--data",
                data,
                "--kafka-port",
                str(port),
                "--resp-port",
                str(resp_port),
                "--amqp-port",
                str(amqp_port),
                "--mqtt-port",
                str(mqtt_port),
                "--stomp-port",
                str(stomp_port),
                "--http-port",
                str(http_port),
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        line = self.process.stdout.readline().decode()
        assert "Kafka clients at" in line, self.errors()
        self.address = line.split()[-1]
        host, port = self.address.split(":")
        self.endpoint = host, int(port)
        if resp_port >= 0:
            line = self.process.stdout.readline().decode()
            assert "Redis clients at" in line, self.errors()
            host, port = line.split()[-1].split(":")
            self.redis = host, int(port)
        if amqp_port >= 0:
            line = self.process.stdout.readline().decode()
            assert "RabbitMQ clients at" in line, self.errors()
            host, port = line.split()[-1].split(":")
            self.amqp = host, int(port)
        if mqtt_port >= 0:
            line = self.process.stdout.readline().decode()
            assert "MQTT clients at" in line, self.errors()
            self.mqtt = place_of(line)
        if stomp_port >= 0:
            line = self.process.stdout.readline().decode()
            assert "STOMP clients at" in line, self.errors()
            self.stomp = place_of(line)
        if http_port >= 0:
            line = self.process.stdout.readline().decode()
            assert "page at http://" in line, self.errors()
            self.http = place_of(line)
        self.tls = {}
        for door, whose in CLIENTS.items():
            if int(settings.get(f"{door}_tls_port", -1)) >= 0:
                line = self.process.stdout.readline().decode()
                says = "page at https://" if door == "http" else f"{whose} clients with TLS at"
                assert says in line, self.errors()
                self.tls[door] = place_of(line)

    def errors(self):
        """The error output, without remarks on slowness, since tests assert no times."""
        self._errors.seek(0)
        lines = self._errors.read().decode().splitlines(keepends=True)
        return "".join(line for line in lines if not any(it in line for it in OF_SLOW_MACHINES))

    def stop(self, number=signal.SIGTERM):
        """(exit code, standard error)"""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        errors = self.errors()
        self._errors.close()
        return code, errors
