"""The tree of commands. Their bodies import what they need; ``logstore --help`` needs little."""

import os

os.environ.setdefault("TYPER_USE_RICH", "0")  # read when typer is imported; rich takes 200 ms

from typing import Annotated

import typer

from . import (
    acl,
    channel,
    exchange,
    group,
    jobs,
    overview,
    permission,
    queue,
    tls,
    topic,
    user,
    vhost,
)
from .backup import backup, restore
from .command import Command, Group
from .consume import consume
from .dump import dump
from .login_options import Client
from .mirror.command import mirror
from .options import HERE, ConfigFile, Data
from .produce import produce
from .replay import replay
from .salvage import salvage
from .serve import Serve, serve
from .usage import UsageError, tell_usage
from .verify import verify

app = typer.Typer(
    name="logstore",
    cls=Group,
    help="A durable commit log: topics on disk, read as often as you like.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from .ends import put

        put(f"logstore {version('logstore')}\n")
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
    """A durable commit log: topics on disk, read as often as you like."""


app.add_typer(topic.app, name="topic", help="Create, list, change and delete topics.")
app.command(cls=Client)(produce)
app.command(cls=Client)(consume)
app.command(cls=Client)(replay)
app.command(cls=Command)(mirror)
app.command(cls=Serve)(serve)
app.add_typer(channel.app, name="channel", help="Publish and subscribe through a server.")
app.add_typer(exchange.app, name="exchange", help="Route messages to queues, and publish.")
app.add_typer(queue.app, name="queue", help="Declare queues, look into them, consume.")
app.add_typer(vhost.app, name="vhost", help="Add, list and delete virtual hosts.")
app.add_typer(user.app, name="user", help="Add, list, change and delete users.")
app.add_typer(tls.app, name="tls", help="Make certificates to try out TLS with.")
app.add_typer(acl.app, name="acl", help="Say what users may do, and ask why.")
app.add_typer(permission.app, name="permission", help="Set RabbitMQ's permissions of users.")
app.add_typer(group.app, name="group", help="List, describe and move consumer groups.")
app.add_typer(jobs.retention, name="retention")
app.add_typer(jobs.compact, name="compact")
app.add_typer(jobs.recompress, name="recompress")
app.command(cls=Command)(dump)
app.command(cls=Command)(verify)
app.command(cls=Command)(salvage)
app.command(cls=Command)(backup)
app.command(cls=Command)(restore)
app.add_typer(overview.config_app, name="config", help="Show settings and where they come from.")
app.command(cls=Command)(overview.status)


def _forget_services() -> None:
    """A variable that tells where a Service is says nothing of where the data is."""
    for name in ("LOGSTORE_DATA", "LOGSTORE_CONFIG"):
        value = os.environ.get(name, "")
        if "://" in value:  # else the library need not be loaded
            from logstore.variables import of_a_service

            if of_a_service(name, value):
                del os.environ[name]


def run() -> None:
    """Do what the command line says. Always raises: SystemExit, or the command's own error."""
    _forget_services()
    try:
        code = typer.main.get_command(app).main(prog_name="logstore", standalone_mode=False)
    except UsageError as error:
        raise SystemExit(tell_usage(error)) from None
    except typer.Abort:  # the answer to a question was no, or there was none
        from .ends import say

        say("logstore: not done: it was not confirmed")
        code = 1
    raise SystemExit(code)
