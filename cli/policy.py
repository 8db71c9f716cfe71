"""``logstore policy``: set, list, delete: settings of all queues and exchanges of certain names."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from .command import INPUT, Command, Group
from .either import store_or_server
from .ends import put, say, tell
from .options import HERE, Data, DataDir, Json, pairs
from .queueing import Vhost, shown, value_of
from .show import as_json, as_line, table

if TYPE_CHECKING:
    from logstore.broker.policies import Policy
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


class PolicyRow(NamedTuple):
    """A policy of a virtual host."""

    policy: str
    pattern: str
    apply_to: str
    priority: int | float
    definition: dict[str, Any]


class Policies(Protocol):
    """Those of one virtual host: of a store in this process, or of a server of another one."""

    def rows(self) -> list[PolicyRow]: ...
    def set(self, policy: "Policy") -> None:
        """Set a policy. Raises InvalidPolicy, TooManyPolicies."""

    def delete(self, name: str) -> None:
        """Delete a policy. Raises NoPolicy."""


class _Local:
    def __init__(self, store: "Store", vhost: str) -> None:
        self._store, self._vhost = store, vhost

    def rows(self) -> list[PolicyRow]:
        return [
            PolicyRow(it.name, it.pattern, it.apply_to, it.priority, dict(it.definition))
            for it in self._store.policies(vhost=self._vhost)
        ]

    def set(self, policy: "Policy") -> None:
        name, pattern, definition, priority, apply_to = policy
        self._store.set_policy(
            name, pattern, definition, priority=priority, apply_to=apply_to, vhost=self._vhost
        )

    def delete(self, name: str) -> None:
        self._store.delete_policy(name, vhost=self._vhost)


class _Served:
    def __init__(self, server: "ServerSocket", vhost: str) -> None:
        self._server, self._vhost = server, vhost

    def rows(self) -> list[PolicyRow]:
        return [
            PolicyRow(it["name"], it["pattern"], it["apply_to"], it["priority"], it["definition"])
            for it in self._server.rows("policies", vhost=self._vhost)
        ]

    def set(self, policy: "Policy") -> None:
        asked = {
            "pattern": policy.pattern, "definition": policy.definition,
            "priority": policy.priority, "apply_to": policy.apply_to,
        }  # fmt: skip
        self._server.put("policies", policy.name, value=asked, vhost=self._vhost)

    def delete(self, name: str) -> None:
        self._server.delete("policies", name, vhost=self._vhost)


@contextmanager
def _policies_of(data: DataDir, vhost: str, *, create: bool = False) -> "Iterator[Policies]":
    """Policies, in this process or in the server that has the directory open. Raises
    StoreLocked.
    """
    with store_or_server(data, create=create) as (store, server):
        yield _Served(server, vhost) if store is None else _Local(store, vhost)


@app.callback()
def group(data: Data = HERE) -> None:
    """Set limits of all queues and exchanges of certain names."""


@app.command("set", cls=Command)
def set_(
    name: Name,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", show_default=False)],
    definition: Annotated[
        str | None, typer.Argument(metavar="[DEFINITION]", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            rich_help_panel=INPUT,
            help="A limit that the policy sets, such as max-length=1000 or message-ttl=7d; a value"
            " that is not JSON is text; may be repeated.",
        ),
    ] = None,
    priority: Annotated[
        str,
        typer.Option(
            "--priority",
            metavar="NUMBER",
            rich_help_panel=INPUT,
            help="The policy's priority: of all policies that match a name, the one with the"
            " highest priority applies.",
        ),
    ] = "0",
    apply_to: Annotated[
        str,
        typer.Option(
            "--apply-to",
            metavar="WHAT",
            rich_help_panel=INPUT,
            help="The objects that the policy applies to: all, queues, exchanges,"
            " classic_queues, quorum_queues or streams.",
        ),
    ] = "all",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Set a policy.

    Replaces a policy of the same name. PATTERN is a regular expression that is searched for in the
    names of queues and exchanges. The limits are given by --set, or as DEFINITION, a JSON object as
    in RabbitMQ's tools. A policy also applies to existing queues and exchanges. Creates the data
    directory, too, if it does not exist.

    $ logstore policy set short '^mail' --set max-length=1000 --apply-to queues
    $ logstore policy set drop '' '{"overflow": "reject-publish", "max-length": 5}' --priority 1
    """
    from logstore.broker.policies import WITHOUT_EFFECT, Policy

    wanted = _definition(definition) | {
        key: value_of(key, text) for key, text in pairs(settings, "--set").items()
    }
    policy = Policy(name, pattern, wanted, _number(priority), apply_to)
    with _policies_of(data, vhost, create=True) as policies:
        policies.set(policy)
    for key in wanted:
        if key in WITHOUT_EFFECT:
            say(f"{key} has no effect here: {WITHOUT_EFFECT[key]}", "warning")
    tell(f"set policy {name} in virtual host {vhost}")


def _definition(text: str | None) -> dict[str, Any]:
    """Raises BadParameter."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"DEFINITION is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("DEFINITION is not a JSON object")
    return found


def _number(text: str) -> int | float:
    """Raises BadParameter."""
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    raise typer.BadParameter(f"{text[:60]!r} is not a number", param_hint="--priority")


@app.command("list", cls=Command)
def list_(json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """List policies, highest priority first.

    $ logstore policy list
    """
    with _policies_of(data, vhost) as policies:
        rows = policies.rows()
    if json_:
        put(as_json([{name: shown(it) for name, it in row._asdict().items()} for row in rows]))
        return
    texts = [(*map(str, map(shown, row[:4])), as_line(shown(row.definition))) for row in rows]
    put(table(("policy", "pattern", "apply-to", "priority", "definition"), texts))


@app.command(cls=Command)
def delete(name: Name, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Delete a policy.

    The next policy that matches then applies to its queues and exchanges; if none matches, they
    keep only their own limits.

    $ logstore policy delete short
    """
    with _policies_of(data, vhost) as policies:
        policies.delete(name)
    tell(f"deleted policy {name} of virtual host {vhost}")
