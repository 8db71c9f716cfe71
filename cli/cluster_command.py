"""``logstore cluster``: whether a Kafka cluster is fit for nodes over it."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from .command import CONNECTION, Command, Group
from .ends import CommandFailed, put
from .options import HERE, Data, DataDir, Json
from .show import as_json, counted

if TYPE_CHECKING:
    from logstore.cluster.cluster_settings import ClusterSettings
    from logstore.cluster.examination import Finding

app = typer.Typer(cls=Group, no_args_is_help=True)

Servers = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="HOST:PORT,...",
        help="Some brokers of the cluster; defaults to cluster.bootstrap.servers.",
        rich_help_panel=CONNECTION,
    ),
]


@app.callback()
def cluster(data: Data = HERE) -> None:
    """See whether a Kafka cluster is fit for `logstore serve --cluster`."""


@app.command(cls=Command)
def check(cluster: Servers = None, json_: Json = False, data: Data = HERE) -> None:
    """Check whether a cluster can store queues.

    Checks versions, the fence that keeps former owners of queues out, settings of topics, sessions,
    and the time of an append. Creates one small topic and changes nothing else. Login and TLS come
    from the settings cluster.* of the data directory. Exits with 1 if there is a finding.

    $ logstore cluster check --cluster kafka-1:9092,kafka-2:9092
    $ logstore cluster check --json
    """
    from logstore.node.cluster_check import examine

    found = examine(_settings(cluster, data))
    findings = sum(it.state != "ok" for it in found)
    if json_:
        state = "finding" if findings else "ok"
        put(as_json({"state": state, "checks": [it._asdict() for it in found]}))
    else:
        put("".join(map(_line, found)))
    if findings:
        raise CommandFailed(f"the cluster: {counted(findings, 'finding')}: see above")


def _settings(servers: str | None, data: DataDir) -> "ClusterSettings":
    """The cluster's settings. Raises typer.BadParameter, InvalidSetting, Failed."""
    from logstore.cluster.cluster_settings import ClusterSettings
    from logstore.errors import InvalidSetting

    config = data.config()
    if servers is not None:
        try:
            config = config.by_option("cluster.bootstrap.servers", servers, "--cluster")
        except InvalidSetting as error:
            raise typer.BadParameter(str(error), param_hint="--cluster") from None
    found = ClusterSettings.of(config.store, os.environ, data.path)
    if found is None:
        raise typer.BadParameter(
            "no cluster is given: use --cluster HOST:PORT, or set cluster.bootstrap.servers",
            param_hint="--cluster",
        )
    return found


def _line(it: "Finding") -> str:
    from logstore.printable import printable

    return printable(f"{it.state:<9}{it.name:<11}{it.found}") + "\n"
