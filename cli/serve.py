"""``logstore serve``: the node, until a signal ends it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperOption

from .command import CONNECTION, Command
from .ends import CommandFailed, ReaderGone, say, tell
from .options import HERE, Data

if TYPE_CHECKING:
    from logstore.cluster.cluster_settings import ClusterSettings
    from logstore.config import Config
    from logstore.doors import Entrance
    from logstore.node.entrances import Addresses
    from logstore.store import Store

    from .first_user import FirstUser
    from .logs import ServerLog
    from .options import DataDir
    from .stop import Stop

FILES_OPEN_MAX = "4096"
_PORTS = "logstore.ports"  # below the context: what the ports' options say

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="The address to listen on; defaults to the setting listen.host (127.0.0.1).",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="HOST:PORT,...",
        help="The bootstrap brokers of a Kafka cluster to use as storage instead of the data"
        " directory; defaults to the setting cluster.bootstrap.servers (no cluster).",
        rich_help_panel=CONNECTION,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen on a non-loopback address although there are no users: every client that"
        " reaches the address may do everything.",
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        metavar="text|json",
        help="The form of the log: text for people, or one JSON object per line; defaults to the"
        " setting log.format (text).",
    ),
]
LogLevel = Annotated[
    list[str] | None,
    typer.Option(
        "--log-level",
        metavar="[PART=]LEVEL",
        help="The least important level to log: debug, info, warning or error; kafka=info sets the"
        " level of one part (here: log each Kafka connection); may be repeated; defaults to the"
        " settings log.level (warning) and log.levels.",
    ),
]


class Serve(Command):
    """Has an option for the port of each door, as the table of doors says."""

    _ports: Sequence[TyperOption] | None = None

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own
        if self._ports is None:  # not sooner: other commands do without the table
            self._ports = _port_options()
            self.params[1:1] = self._ports
        return super().get_params(ctx)


def _port_options() -> list[TyperOption]:
    from logstore.doors import ENTRANCES

    return [_port_option(it) for it in ENTRANCES]


def _port_option(it: "Entrance") -> TyperOption:
    from logstore.config import parse
    from logstore.errors import InvalidSetting
    from logstore.settings import STORE_SETTINGS

    setting = STORE_SETTINGS[it.port_setting]
    once = ", once tls.cert is set" if it.tls else ""

    def remember(ctx: Any, param: object, text: str | None) -> None:  # noqa: ANN401
        if text is None:
            return
        try:
            port = parse("port", setting, text)
        except InvalidSetting as error:
            raise typer.BadParameter(str(error)) from None
        ctx.meta.setdefault(_PORTS, {})[it.name] = port

    return TyperOption(
        param_decls=[f"--{it.name}-port"],
        metavar="PORT",
        callback=remember,
        expose_value=False,
        rich_help_panel=CONNECTION,
        help=f"The port for {it.clients}{once}; "
        f"defaults to the setting {it.port_setting} ({setting.default}). "
        f"0: any free port, -1: none.",
    )


def serve(
    context: typer.Context,
    host: Host = None,
    cluster: Cluster = None,
    insecure: Insecure = False,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    data: Data = HERE,
) -> None:
    """Serve clients and a web page.

    Accepts clients of Kafka, Redis, RabbitMQ, MQTT and STOMP. Runs until Ctrl-C or SIGTERM; SIGHUP
    reloads the TLS certificate. To listen on an address that other machines can reach, add users
    first: see `logstore user --help`.

    $ logstore serve --host 0.0.0.0 --resp-port -1
    $ logstore serve --log-format json --log-level amqp=info
    """
    import signal

    from .stop import Stop

    # A signal that comes before there is a loop to hear it is one, too.
    with Stop(ignored=[signal.SIGHUP]) as stop:
        asked = {
            "log.format": log_format,
            "cluster.bootstrap.servers": cluster,
            **_levels(log_level or []),
        }
        if insecure:
            asked["listen.insecure"] = "true"
        with _log_of(log_format) as log:
            config = _config(data, asked)
            store = config.store
            log.show(store.log_format, store.log_level, store.log_levels)
        _serve(context, host, data, config, stop)


OPTIONS = {
    "log.format": "--log-format",
    "log.level": "--log-level",
    "log.levels": "--log-level",
    "listen.insecure": "--insecure",
    "cluster.bootstrap.servers": "--cluster",
}


def _levels(given: list[str]) -> dict[str, str | None]:
    """The levels of --log-level, as settings."""
    of_parts = [it for it in given if "=" in it]
    of_all = [it for it in given if "=" not in it]
    return {
        "log.level": of_all[-1] if of_all else None,
        "log.levels": ",".join(of_parts) or None,
    }


def _log_of(form: str | None) -> "AbstractContextManager[ServerLog]":
    from .logs import JSON, TEXT, server_log

    return server_log(JSON if form == JSON else TEXT)


def _config(data: "DataDir", asked: "Mapping[str, str | None]") -> "Config":
    """The settings. Raises as Config.load, and typer.BadParameter."""
    from logstore.errors import InvalidSetting

    # A server has many logs open at once; closing a file that is not synced waits for the disk.
    config = data.config().unless_given("files.open.max", FILES_OPEN_MAX)
    for name, text in asked.items():
        if text is None:
            continue
        try:
            config = config.by_option(name, text, OPTIONS[name])
        except InvalidSetting as error:
            raise typer.BadParameter(str(error), param_hint=OPTIONS[name]) from None
    return config


def _serve(
    context: typer.Context, host: str | None, data: "DataDir", config: "Config", stop: "Stop"
) -> None:
    from logstore.doors import ENTRANCES
    from logstore.node.entrances import Listen
    from logstore.node.node import STOP_WITHIN_S, Node, allow_many_files
    from logstore.settings import STORE_SETTINGS
    from logstore.supervisor import Supervisor

    from .own_number import take_own_number

    ports = {
        it.name: getattr(config.store, STORE_SETTINGS[it.port_setting].name) for it in ENTRANCES
    }
    asked = context.meta.get(_PORTS, {})
    address = config.store.listen_host if host is None else host
    insecure = config.store.listen_insecure
    listen = Listen(
        address,
        ports | asked,
        frozenset(
            it.name
            for it in ENTRANCES
            if it.name not in asked and not config.is_given(it.port_setting)
        ),
        exposed=not is_loopback(address) and not insecure,
    )
    cluster = _cluster(config, data)
    take_own_number(data.path)  # before there is another thread
    supervisor = Supervisor(os.environ, os.getpid(), os.getppid())
    done_waiting = supervisor.waited_for()
    first = _first_user(address, data, config)
    if stop.asked:
        return
    allow_many_files()  # before the store takes its share of them
    with _opened(data, config) as store:
        if first is not None:
            first.add_to(store)

        def stops() -> None:
            _tell_end(f"stopping {data}: requests under way have up to {STOP_WITHIN_S:.0f} s")

        def ready(addresses: "Addresses") -> None:
            done_waiting()
            _tell_ready(str(data), addresses)

        try:
            node = Node(store, listen, supervisor, cluster, stops)
            node.run(ready, lambda: stop.asked)
        finally:
            supervisor.waited_for()  # until the process ends
            stop.hear()  # one more ends nothing half-way
    _tell_end(f"stopped {data}")


@contextmanager
def _opened(data: "DataDir", config: "Config") -> "Iterator[Store]":
    """The store. Raises CommandFailed, which names the server, if one already serves it."""
    from logstore.errors import StoreLocked

    with ExitStack() as stack:
        try:
            store = stack.enter_context(data.open("write", create=True, config=config))
        except StoreLocked as locked:
            if locked.owner is None or not locked.owner.serves:
                raise
            raise CommandFailed(
                f"{data}: is already served by {locked.owner}; commands use that server; stop it"
                " before you start another"
            ) from None
        yield store


def _cluster(config: "Config", data: "DataDir") -> "ClusterSettings | None":
    """The cluster's settings, if there is a cluster. Raises InvalidSetting, Failed."""
    if not config.store.cluster_bootstrap_servers:
        return None
    from pathlib import Path

    from logstore.cluster.cluster_settings import ClusterSettings

    return ClusterSettings.of(config.store, os.environ, Path(data.path))


def _first_user(address: str, data: "DataDir", config: "Config") -> "FirstUser | None":
    """The user to create, if any. Raises CommandFailed if users are required and missing."""
    from .first_user import FirstUser, is_asked_for

    if is_loopback(address) and not is_asked_for(os.environ):
        return None
    if _has_users(data, config):  # it may have to recover the store first
        return None
    first = FirstUser.asked_for(os.environ)
    if first is None:
        _check_exposure(address, data, insecure=config.store.listen_insecure)
    return first


def _tell_ready(data: str, addresses: "Addresses") -> None:
    from logstore.doors import ENTRANCES, SOCKETS

    for it in ENTRANCES:
        if it.name in addresses:
            host, port = addresses[it.name]
            tell(f"serving {data}: {_place(it, host, port)}")
    for socket in SOCKETS:
        if socket.name in addresses:
            host, port = addresses[socket.name]
            tell(f"serving {data}: {socket.clients} at {host}:{port}")


def _tell_end(line: str) -> None:
    """Report the progress of the end; continues if no one reads the output."""
    with suppress(ReaderGone, CommandFailed):
        tell(line)


def _place(it: "Entrance", host: str, port: int) -> str:
    from logstore.doors import HTTP

    if it.door is not HTTP:
        return f"{it.clients} at {host}:{port}"
    shown = f"[{host}]" if ":" in host else host
    return f"page at http{'s' if it.tls else ''}://{shown}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether no other machine can reach the host."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_exposure(host: str, data: "DataDir", *, insecure: bool) -> None:
    """Check that a server without users is not exposed. Raises CommandFailed."""
    if is_loopback(host):
        return
    if not insecure:
        raise CommandFailed(
            f"{host} can be reached from other machines, and {data} has no users: add one with"
            " `logstore user add NAME` and give it rights with `logstore acl allow NAME WHAT"
            " ON`; or listen on 127.0.0.1, or use --insecure (listen.insecure)"
        )
    say(
        f"logstore: warning: there are no users: every client that reaches {host} may do"
        " everything",
        "warning",
    )


def _has_users(data: "DataDir", config: "Config") -> bool:
    """Whether a login is required; checked before anything is created."""
    from logstore.errors import NotAStore

    try:
        with data.open("read", config=config) as store:
            return store.internals().access().required
    except NotAStore:
        return False
