"""The tree of commands. Their bodies import what they need; ``logstore --help`` needs little."""

import os

os.environ.setdefault("TYPER_USE_RICH", "0")  # read when typer is imported; rich takes 200 ms

from typing import Annotated, Final

import typer

from .backup import backup, restore
from .command import Command
from .consume import consume
from .doctor import doctor
from .dump import dump
from .later import Load, with_groups
from .login_options import Client
from .mirror.command import mirror
from .options import HERE, ConfigFile, Data
from .overview import status
from .produce import produce
from .replay import replay
from .salvage import salvage
from .serve import Serve, serve
from .shovel.command import shovel
from .top import top
from .usage import UsageError, tell_usage
from .verify import verify


def _topic() -> typer.Typer:
    from .topic import app

    return app


def _channel() -> typer.Typer:
    from .channel import app

    return app


def _exchange() -> typer.Typer:
    from .exchange import app

    return app


def _queue() -> typer.Typer:
    from .queue import app

    return app


def _vhost() -> typer.Typer:
    from .vhost import app

    return app


def _schedule() -> typer.Typer:
    from .schedule import app

    return app


def _keys() -> typer.Typer:
    from .keys import app

    return app


def _transaction() -> typer.Typer:
    from .transaction import app

    return app


def _session() -> typer.Typer:
    from .session import app

    return app


def _policy() -> typer.Typer:
    from .policy import app

    return app


def _definitions() -> typer.Typer:
    from .definitions import app

    return app


def _user() -> typer.Typer:
    from .user import app

    return app


def _tls() -> typer.Typer:
    from .tls import app

    return app


def _acl() -> typer.Typer:
    from .acl import app

    return app


def _permission() -> typer.Typer:
    from .permission import app

    return app


def _group() -> typer.Typer:
    from .group import app

    return app


def _retention() -> typer.Typer:
    from .jobs import retention

    return retention


def _compact() -> typer.Typer:
    from .jobs import compact

    return compact


def _recompress() -> typer.Typer:
    from .jobs import recompress

    return recompress


def _cluster() -> typer.Typer:
    from .cluster_command import app

    return app


def _config() -> typer.Typer:
    from .overview import config_app

    return config_app


# In the order of the help.
GROUPS: Final[dict[str, tuple[Load, str | None]]] = {
    "topic": (_topic, "Create, list, change and delete topics."),
    "channel": (_channel, "Publish and subscribe through a server."),
    "exchange": (_exchange, "Route and publish messages to queues."),
    "queue": (_queue, "Declare, inspect and consume queues."),
    "vhost": (_vhost, "Add, list and delete virtual hosts."),
    "schedule": (_schedule, "List and cancel delayed messages."),
    "keys": (_keys, "List, show and delete keys of Redis clients."),
    "session": (_session, "List, show and end sessions of MQTT clients."),
    "policy": (_policy, "Set limits for queues whose names match."),
    "definitions": (_definitions, "Export and import RabbitMQ definitions."),
    "user": (_user, "Add, list, change and delete users."),
    "tls": (_tls, "Make certificates for trying out TLS."),
    "acl": (_acl, "Set, list and check rules for users."),
    "permission": (_permission, "Set RabbitMQ permissions of users."),
    "group": (_group, "List, describe and move consumer groups."),
    "transaction": (_transaction, "List, show and abort transactions."),
    "retention": (_retention, None),
    "compact": (_compact, None),
    "recompress": (_recompress, None),
    "cluster": (_cluster, "Check whether nodes can use a Kafka cluster."),
    "config": (_config, "Show settings and where they come from."),
}

app = typer.Typer(
    name="logstore",
    cls=with_groups(GROUPS),
    help="A durable commit log on disk: topics, channels and queues.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from logstore.version import VERSION

        from .ends import put

        put(f"logstore {VERSION}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
    config_file: ConfigFile = None,
    data: Data = HERE,
) -> None:
    """A durable commit log on disk: topics, channels and queues."""


app.command(cls=Client)(produce)
app.command(cls=Client)(consume)
app.command(cls=Client)(replay)
app.command(cls=Command)(mirror)
app.command(cls=Command)(shovel)
app.command(cls=Serve)(serve)
app.command(cls=Command)(dump)
app.command(cls=Command)(verify)
app.command(cls=Command)(salvage)
app.command(cls=Command)(backup)
app.command(cls=Command)(restore)
app.command(cls=Command)(status)
app.command(cls=Command)(doctor)
app.command(cls=Command)(top)


def _forget_services() -> None:
    """Ignore variables that Kubernetes sets to a Service's address, instead of the data's
    location.
    """
    for name in ("LOGSTORE_DATA", "LOGSTORE_CONFIG", "LOGSTORE_PROFILE"):
        value = os.environ.get(name, "")
        if "://" in value:  # otherwise the library is not needed
            from logstore.variables import of_a_service

            if of_a_service(name, value):
                del os.environ[name]


def run() -> None:
    """Run the command line. Always raises: SystemExit, or the command's own error."""
    _forget_services()
    try:
        code = typer.main.get_command(app).main(prog_name="logstore", standalone_mode=False)
    except UsageError as error:
        raise SystemExit(tell_usage(error)) from None
    except typer.Abort:  # the answer to a question was no, or there was none
        from .ends import say

        say("logstore: nothing was done: the command was not confirmed")
        code = 1
    raise SystemExit(code)
