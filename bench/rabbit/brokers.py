"""A RabbitMQ and a ``logstore serve``: started, looked at from outside, stopped.

Both with their defaults, on one disk, listening on loopback. RabbitMQ is the system's package, run
by hand: a node, a home and a port mapper of its own, so that it knows nothing of another one here.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.harness import TINY, NotHere
from bench.process import logstore_command
from bench.server import Server, free_port
from logstore.doors import DOORS

SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the path wants its own user

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
log.console = false
log.file.level = error
"""
OURS, THEIRS = "logstore", "RabbitMQ"


def logstore(scratch: Path, name: str = OURS, settings: Mapping[str, str] | None = None) -> Server:
    """A logstore server. ``name``: in figures; one stands in for RabbitMQ if the script is only
    tried.

    Raises NotHere if this version has no AMQP door.
    """
    if all(door.name != "amqp" for door in DOORS):
        raise NotHere("logstore serve has no door for AMQP clients")
    port = free_port()
    serve = ["serve", "--data", str(scratch / name), "--amqp-port", str(port)]
    serve += ["--mqtt-port", "-1", "--stomp-port", "-1"]
    command = [logstore_command(), *serve, "--kafka-port", "0", "--resp-port", "-1"]
    return Server(name, scratch, port, command, settings)


@contextmanager
def rabbitmq(scratch: Path, more: str = "", plugins: str = "") -> Iterator[Server]:
    """A RabbitMQ broker, not started yet; ``more`` is appended to its configuration.

    Raises NotHere if it is not available.
    """
    for needed in (str(SCRIPT), "epmd"):
        if shutil.which(needed) is None:
            raise NotHere(f"{needed} is not there: apt-get install rabbitmq-server")
    home = scratch / THEIRS
    home.mkdir()
    port, mapper_port = free_port(), free_port()
    (home / "rabbitmq.conf").write_text(CONFIGURATION.format(port=port) + more)
    (home / "enabled_plugins").write_text(f"[{plugins}].\n")
    # In the foreground and by itself: one that RabbitMQ starts stays behind.
    mapping = ["epmd", "-port", str(mapper_port), "-address", "127.0.0.1"]
    mapper = Server("epmd", scratch, mapper_port, mapping)
    mapper.start()
    try:
        mapper.wait_until_it_listens()
        yield Server(THEIRS, scratch, port, [str(SCRIPT)], _settings(home, port, mapper_port))
    finally:
        mapper.stop()


def _settings(home: Path, port: int, mapper_port: int) -> dict[str, str]:
    return {
        "HOME": str(home),  # of the cookie
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"bench-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        # The script becomes the server itself, which SIGTERM stops in order.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-noinput -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }


@contextmanager
def both(scratch: Path) -> Iterator[dict[str, Server]]:
    """One of each, on new data directories. Raises NotHere if one is not available."""
    if shutil.which("gcc") is None:
        raise NotHere("gcc is not there: the load is a C program")
    with ExitStack() as stack:
        ours = logstore(scratch)
        theirs = logstore(scratch, THEIRS) if TINY else stack.enter_context(rabbitmq(scratch))
        servers = {server.name: server for server in (ours, theirs)}
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
        yield servers
