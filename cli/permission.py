"""``logstore permission``: set, list, clear: what RabbitMQ's clients may do, in its own words."""

from typing import Annotated

import typer

from .access_site import access_of
from .command import INPUT, Command, Group
from .ends import put, tell
from .options import HERE, Data, Json
from .queueing import Vhost, shown
from .show import as_json, table

app = typer.Typer(cls=Group, no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
Exchange = Annotated[
    str | None,
    typer.Option(
        "--exchange",
        metavar="EXCHANGE",
        rich_help_panel=INPUT,
        help="The topic exchange whose routing keys are meant.",
    ),
]


def _expression(option: str, what: str) -> object:
    return typer.Option(
        option,
        metavar="REGEX",
        rich_help_panel=INPUT,
        help=f"{what}; an empty expression matches nothing.",
    )


@app.callback()
def group(data: Data = HERE) -> None:
    """Permissions as RabbitMQ has them: three regular expressions."""


@app.command("set", cls=Command)
def set_(
    user: User,
    configure: Annotated[
        str,
        _expression("--configure", "The exchanges and queues that the user may create and delete"),
    ] = "",
    write: Annotated[
        str,
        _expression(
            "--write",
            "The exchanges and queues that the user may publish and bind to, or the routing keys",
        ),
    ] = "",
    read: Annotated[
        str,
        _expression(
            "--read",
            "The exchanges and queues that the user may consume or bind from, or the routing keys",
        ),
    ] = "",
    exchange: Exchange = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Set a user's permissions in a virtual host.

    Replaces the user's earlier permissions. An expression matches anywhere in a name, unless it has
    ^ and $.

    $ logstore permission set ana --configure '^ana-' --write '.*' --read '.*'
    $ logstore permission set ana --exchange events --write '^mail[.]' --read '.*'
    """
    from logstore.kept.users import KeptPermission, KeptTopicPermission

    permission: KeptPermission | KeptTopicPermission
    if exchange is None:
        permission = KeptPermission(user, vhost, configure, write, read)
    elif configure:
        raise typer.BadParameter("--configure cannot be combined with --exchange")
    else:
        permission = KeptTopicPermission(user, vhost, exchange, write, read)
    with access_of(data) as site:
        site.set_permission(permission)
    tell(f"set the permissions of user {user} {_where(vhost, exchange)}")


def _where(vhost: str, exchange: str | None) -> str:
    at = "" if exchange is None else f"at exchange {exchange} "
    return f"{at}in virtual host {vhost}"


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List all permissions.

    A permission that names an exchange applies to routing keys of that exchange.

    $ logstore permission list
    """
    with access_of(data, "read") as site:
        rows = [
            (it.vhost, it.user, None, it.configure, it.write, it.read) for it in site.permissions()
        ] + [
            (it.vhost, it.user, it.exchange, None, it.write, it.read)
            for it in site.topic_permissions()
        ]
    rows.sort(key=lambda it: (it[0], it[1], it[2] or ""))
    heads = ("vhost", "user", "exchange", "configure", "write", "read")
    if json_:
        put(as_json([dict(zip(heads, map(shown, row), strict=True)) for row in rows]))
    else:
        put(
            table(
                heads, [tuple("" if it is None else str(shown(it)) for it in row) for row in rows]
            )
        )


@app.command(cls=Command)
def clear(user: User, exchange: Exchange = None, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Remove a user's permissions.

    $ logstore permission clear ana
    """
    with access_of(data) as site:
        site.clear_permission(user, vhost, exchange)
    tell(f"cleared the permissions of user {user} {_where(vhost, exchange)}")
