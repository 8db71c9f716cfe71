"""``logstore serve``: the node, until a signal ends it."""

from typing import TYPE_CHECKING, Annotated

import typer

from .ends import CommandFailed, say, tell
from .options import HERE, Data

if TYPE_CHECKING:
    from logstore.node import Addresses

CLIENTS = {"kafka": "Kafka", "resp": "Redis"}
FILES_OPEN_MAX = "4096"

Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="Listen here; else listen.host, 127.0.0.1."),
]
KafkaPort = Annotated[
    int | None,
    typer.Option(
        "--kafka-port", min=0, max=65535, metavar="PORT",
        help="For Kafka clients; else kafka.port, 9092. 0: any free port.",
    ),
]  # fmt: skip
RespPort = Annotated[
    int | None,
    typer.Option(
        "--resp-port", min=-1, max=65535, metavar="PORT",
        help="For Redis clients; else resp.port, 6379. 0: any free port, -1: none.",
    ),
]  # fmt: skip
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Listen beyond this machine though nobody has to say who they are."
    ),
]


def serve(
    host: Host = None,
    kafka_port: KafkaPort = None,
    resp_port: RespPort = None,
    insecure: Insecure = False,
    data: Data = HERE,
) -> None:
    """Serve the store to Kafka and Redis clients, until Ctrl-C or SIGTERM."""
    from logstore.node import Listen, Node

    from .logs import show_dated

    show_dated()
    # A server has many logs open at once; closing a file that is not synced waits for the disk.
    config = data.config().unless_given("files.open.max", FILES_OPEN_MAX)
    listen = Listen(
        config.store.listen_host if host is None else host,
        config.store.kafka_port if kafka_port is None else kafka_port,
        config.store.resp_port if resp_port is None else resp_port,
    )
    _check_exposure(listen.host, insecure)
    with data.open("write", create=True, config=config) as store:
        Node(store, listen).run(lambda addresses: _tell_ready(str(data), addresses))


def _tell_ready(data: str, addresses: "Addresses") -> None:
    for name, (host, port) in addresses.items():
        tell(f"serving {data}: {CLIENTS[name]} clients at {host}:{port}")


def _check_exposure(host: str, insecure: bool) -> None:
    """Raises CommandFailed where strangers could come in without having asked for it."""
    from ipaddress import ip_address

    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        return
    if not insecure:
        raise CommandFailed(
            f"{host} can be reached from other machines, and nobody has to say who they are: "
            f"listen on 127.0.0.1, or say --insecure"
        )
    say(f"logstore: warning: whoever reaches {host} may read and write everything")
