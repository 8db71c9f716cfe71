"""A mosquitto beside a `logstore serve` with the MQTT door: both of them started, and stopped."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import harness, process
from bench.server import Server, free_port


def _logstore(data: Path, port: int) -> list[str]:
    serve = [process.logstore_command(), "serve", "--data", str(data), "--kafka-port", "-1"]
    others = ["--resp-port", "-1", "--amqp-port", "-1", "--stomp-port", "-1", "--http-port", "-1"]
    return [*serve, *others, "--mqtt-port", str(port)]


@contextmanager
def both(scratch: Path, settings: str) -> Iterator[dict[str, Server]]:
    """Both servers. ``settings``: mosquitto's, beside its listener. Raises NotHere."""
    for needed in ("gcc",) if harness.TINY else ("mosquitto", "gcc"):
        if shutil.which(needed) is None:
            raise harness.NotHere(f"{needed} is not there: apt-get install {needed}")
    ours, theirs = free_port(), free_port()
    file = scratch / "mosquitto.conf"
    file.write_text(f"listener {theirs} 127.0.0.1\nallow_anonymous true\n{settings}")
    mosquitto = ["mosquitto", "-c", str(file)]
    if harness.TINY:  # a stand-in does
        mosquitto = _logstore(scratch / "stand-in", theirs)
    servers = {
        "logstore": Server("logstore", scratch, ours, _logstore(scratch / "data", ours)),
        "mosquitto": Server("mosquitto", scratch, theirs, mosquitto),
    }
    with ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens()
        yield servers
