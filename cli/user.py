"""``logstore user``: add, list, passwd, tags, delete."""

from collections.abc import Sequence
from typing import Annotated

import typer

from .access_site import UserRow, access_of
from .command import INPUT, Command, Group
from .ends import put, say, tell
from .options import HERE, Data, Json
from .passwords import PasswordFile, new_password, warn_unless_plain
from .queueing import Yes, confirm, shown
from .show import as_json, table

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Iterations = Annotated[
    int,
    typer.Option(
        "--iterations",
        metavar="N",
        rich_help_panel=INPUT,
        help="The number of times SCRAM hashes the password: 4096 to 16384.",
    ),
]
ITERATIONS = 8192


@app.callback()
def group(data: Data = HERE) -> None:
    """Make users: with the first one, everyone has to log in."""


@app.command(cls=Command)
def add(
    name: Name,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            rich_help_panel=INPUT,
            help="A RabbitMQ tag; a user with the tag administrator may do everything; may be"
            " repeated.",
        ),
    ] = None,
    password_file: PasswordFile = None,
    no_password: Annotated[
        bool,
        typer.Option(
            "--no-password",
            rich_help_panel=INPUT,
            help="Add a user that can log in only with a certificate.",
        ),
    ] = False,
    iterations: Iterations = ITERATIONS,
    data: Data = HERE,
) -> None:
    """Add a user.

    The password is typed at the terminal, or read as one line from standard input or a file.
    Creates the data directory, too, if it does not exist. After the first user is added, every
    client must log in.

    $ logstore user add ana --tag administrator
    $ logstore user add billing --password-file billing.password
    """
    if no_password and password_file is not None:
        raise typer.BadParameter("use --no-password or --password-file, not both")
    _check_known(tag or ())
    from logstore.access.administration import check_user

    check_user(name)  # before a password is asked for
    password = None if no_password else new_password(password_file, name)
    warn_unless_plain(name, "the user's name")
    warn_unless_plain(password or "", "the password")
    with access_of(data, create=True) as site:
        first = not site.has_users()
        site.add_user(name, password, tag or (), iterations)
    tell(f"added user {name}")
    if first:
        say("logstore: every client must log in from now on")


def _check_known(tags: Sequence[str]) -> None:
    from logstore.access.administration import TAGS
    from logstore.config import nearest

    for tag in tags:
        if tag not in TAGS:
            say(f"logstore: warning: tag {tag!r} has no effect{nearest(tag, TAGS)}")


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List users, their tags and how they log in.

    $ logstore user list
    """
    with access_of(data, "read") as site:
        rows = site.users()
    if json_:
        put(as_json([_object(row) for row in rows]))
    else:
        lines = [(str(shown(it.name)), ",".join(it.tags), _logs_in_by(it)) for it in rows]
        put(table(("user", "tags", "logs in by"), lines))


def _object(row: UserRow) -> dict[str, object]:
    return {
        "user": shown(row.name), "tags": list(row.tags), "mechanisms": list(row.mechanisms),
        "redis": row.redis, "weak_sha256": row.weak,
    }  # fmt: skip


def _logs_in_by(row: UserRow) -> str:
    ways = [*row.mechanisms, *["weak SHA-256 (Redis)"] * bool(row.weak)]
    return ", ".join(ways) or "certificate"


@app.command(cls=Command)
def passwd(
    name: Name,
    password_file: PasswordFile = None,
    iterations: Iterations = ITERATIONS,
    data: Data = HERE,
) -> None:
    """Replace a user's password.

    The password is typed at the terminal, or read as one line from standard input or a file.

    $ logstore user passwd ana
    """
    password = new_password(password_file, name)
    warn_unless_plain(password, "the password")
    with access_of(data) as site:
        site.set_password(name, password, iterations)
    tell(f"changed the password of user {name}")


@app.command(cls=Command)
def tags(
    name: Name,
    tag: Annotated[list[str] | None, typer.Argument(metavar="[TAG...]", show_default=False)] = None,
    data: Data = HERE,
) -> None:
    """Replace a user's tags.

    Without a TAG, all tags are removed. Tags are RabbitMQ's: administrator may do everything;
    impersonator may publish messages in another user's name.

    $ logstore user tags ana administrator
    """
    _check_known(tag or ())
    with access_of(data) as site:
        site.set_tags(name, tag or ())
    tell(f"user {name} has the tags {', '.join(tag)}" if tag else f"user {name} has no tags")


@app.command(cls=Command)
def delete(name: Name, yes: Yes = False, data: Data = HERE) -> None:
    """Delete a user and all rules for this user.

    The user's connections are closed.

    $ logstore user delete billing
    """
    with access_of(data) as site:
        if not yes and site.user(name) is not None:
            confirm(f"delete user {name} and the rules that name it")
        site.delete_user(name)
        last = not site.has_users() and not site.damaged()
    tell(f"deleted user {name}")
    if last:
        say("logstore: that was the last user: every client on this machine may do everything now")
