"""``logstore acl``: allow, deny, list, remove, check, repair."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from .access_site import access_of
from .command import INPUT, Command, Group
from .ends import CommandFailed, found, put, say, tell
from .options import HERE, Data, Json
from .queueing import Yes, confirm, shown
from .show import as_json, counted, table

if TYPE_CHECKING:
    from logstore.kept.users import KeptRule

app = typer.Typer(cls=Group, no_args_is_help=True)

User = Annotated[
    str, typer.Argument(metavar="USER", show_default=False, help="A user's name; * is everyone.")
]
What = Annotated[
    str,
    typer.Argument(
        metavar="WHAT",
        show_default=False,
        help="The operations: read, write, create, delete, alter, describe, all, ...; separated"
        " by commas.",
    ),
]
On = Annotated[
    str,
    typer.Argument(
        metavar="ON",
        show_default=False,
        help="The object as KIND:NAME: topic:orders, group:billing, channel:news, exchange:events,"
        " queue:mail, transactional-id:t, key:k; KIND:* for all of a kind; cluster.",
    ),
]
Prefix = Annotated[
    bool,
    typer.Option(
        "--prefix",
        rich_help_panel=INPUT,
        help="Take ON as a prefix: every object whose name begins with ON is meant.",
    ),
]
Glob = Annotated[
    bool,
    typer.Option(
        "--glob",
        rich_help_panel=INPUT,
        help="Take ON as a pattern in Redis's syntax, with *, ? and [a-z].",
    ),
]
FromHost = Annotated[
    str,
    typer.Option(
        "--from-host",
        metavar="ADDRESS",
        rich_help_panel=INPUT,
        help="The client's address; * is any address.",
    ),
]


@app.callback()
def group(data: Data = HERE) -> None:
    """Say what users may do. What nothing allows is refused."""


@app.command(cls=Command)
def allow(
    user: User,
    what: What,
    on: On,
    prefix: Prefix = False,
    glob: Glob = False,
    from_host: FromHost = "*",
    data: Data = HERE,
) -> None:
    """Allow a user to do something.

    read, write, delete and alter also allow describe.

    $ logstore acl allow ana read,write topic:orders
    $ logstore acl allow ana read group:billing- --prefix
    """
    _add(_rules(user, what, on, _pattern(prefix=prefix, glob=glob), from_host), data)


@app.command(cls=Command)
def deny(
    user: User,
    what: What,
    on: On,
    prefix: Prefix = False,
    glob: Glob = False,
    from_host: FromHost = "*",
    data: Data = HERE,
) -> None:
    """Forbid a user to do something.

    This rule wins over every rule that allows the operation, except for users with the tag
    administrator.

    $ logstore acl deny ana write topic:orders --from-host 10.1.2.3
    """
    pattern = _pattern(prefix=prefix, glob=glob)
    _add(_rules(user, what, on, pattern, from_host, allow=False), data)


def _add(rules: "list[KeptRule]", data: Data) -> None:
    from logstore.access.access import ADMINISTRATOR

    with access_of(data, create=True) as site:
        site.add_rules(rules)
        user = site.user(rules[0].user)
    for rule in rules:
        tell(_line(rule))
    one = rules[0]
    if user is not None and ADMINISTRATOR in user.tags and not one.allow:
        say(
            f"logstore: warning: the rule does not restrict {one.user!r}, who has the tag"
            f" {ADMINISTRATOR}"
        )
    if one.user == "ANONYMOUS":
        say(
            "logstore: warning: the rule has no effect: once there are users, every client must"
            " log in, and none is ANONYMOUS"
        )
    elif user is None and one.user != "*":
        say(f"logstore: warning: there is no user {one.user!r} yet")
    if one.pattern == "literal" and one.name != "*" and any(it in one.name for it in "*?["):
        say(
            f"logstore: warning: {one.name!r} is taken as a plain name: use --glob if it is a"
            " pattern"
        )


def _line(rule: "KeptRule") -> str:
    verb = "allowed" if rule.allow else "denied"
    return f"{verb}: {rule.user} {rule.operation} {_object(rule)}"


def _object(rule: "KeptRule") -> str:
    """The object such as ``topic:orders``, and how its name is matched unless literally."""
    pattern = "" if rule.pattern == "literal" else f" ({rule.pattern})"
    host = "" if rule.host == "*" else f" from {rule.host}"
    name = rule.kind if rule.kind == "cluster" else f"{rule.kind}:{rule.name}"
    return f"{name}{pattern}{host}"


@app.command("list", cls=Command)
def list_(
    user: Annotated[
        str | None,
        typer.Argument(
            metavar="[USER]", show_default=False, help="List only rules that concern this user."
        ),
    ] = None,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """List the rules.

    `logstore permission list` lists RabbitMQ's permissions, `logstore user list --json` Redis's
    rules.

    $ logstore acl list
    """
    with access_of(data, "read") as site:
        rules = [it for it in site.rules() if user is None or it.user in (user, "*")]
    if json_:
        put(as_json([_facts(it) for it in rules]))
    else:
        rows = [
            (str(shown(it.user)), "allow" if it.allow else "deny", what, str(shown(_named(it))),
             it.pattern, it.host)
            for it, what in _joined(rules)
        ]  # fmt: skip
        put(table(("user", "rule", "what", "on", "pattern", "from"), rows))


def _named(rule: "KeptRule") -> str:
    return rule.kind if rule.kind == "cluster" else f"{rule.kind}:{rule.name}"


def _joined(rules: "Sequence[KeptRule]") -> "list[tuple[KeptRule, str]]":
    """Rules that differ only by the operation, joined to one rule with all operations."""

    def alike(rule: "KeptRule") -> tuple[object, ...]:
        return rule.user, rule.kind, rule.name, rule.pattern, rule.allow, rule.host

    found = []
    for _, same in groupby(sorted(rules, key=alike), alike):
        members = list(same)
        found.append((members[0], ",".join(it.operation for it in members)))
    return found


def _facts(rule: "KeptRule") -> dict[str, object]:
    return {
        "user": shown(rule.user), "allow": rule.allow, "operation": rule.operation,
        "kind": rule.kind, "name": shown(rule.name), "pattern": rule.pattern, "host": rule.host,
    }  # fmt: skip


@app.command(cls=Command)
def remove(
    user: User,
    what: What,
    on: On,
    prefix: Prefix = False,
    glob: Glob = False,
    from_host: FromHost = "*",
    data: Data = HERE,
) -> None:
    """Remove rules, whether they allow or deny.

    USER, WHAT, ON and the options must be those with which the rules were made.

    $ logstore acl remove ana write topic:orders
    """
    rules = _rules(user, what, on, _pattern(prefix=prefix, glob=glob), from_host)
    with access_of(data) as site:
        site.remove_rules(rules)
    for rule in rules:
        tell(f"removed: {rule.user} {rule.operation} {_object(rule)}")


@app.command(cls=Command)
def check(
    user: User,
    what: What,
    on: On,
    from_host: Annotated[
        str,
        typer.Option(
            "--from-host",
            metavar="ADDRESS",
            rich_help_panel=INPUT,
            help="The client's address; without this option, rules about addresses are not"
            " considered.",
        ),
    ] = "",
    data: Data = HERE,
) -> None:
    """Check a user's rights, and name the rule.

    Exits with 1 if any of the operations is refused.

    $ logstore acl check ana write topic:orders
    """
    asked = _rules(user, what, on, "literal", from_host or "*")
    refused = []
    with access_of(data, "read") as site:
        for rule in asked:
            decision = site.check(user, from_host, rule.operation, rule.kind, rule.name)
            found(f"{'allowed' if decision.allowed else 'refused'}: {decision.why}")
            if not decision.allowed:
                refused.append(rule.operation)
    if refused:
        raise CommandFailed(f"user {user!r} may not {', '.join(refused)} {on}")


@app.command(cls=Command)
def repair(yes: Yes = False, data: Data = HERE) -> None:
    """Remove damaged rules, users and permissions.

    Shows each of them first. A damaged rule may forbid something, so only administrators may do
    anything until it is removed. Set removed rules again afterwards.

    $ logstore acl repair --yes
    """
    with access_of(data) as site:
        rows = site.damaged()
        for row in rows:
            found(row)
        if rows and not yes:
            confirm(f"remove {counted(len(rows), 'damaged row')}")
        if rows:
            site.remove_damaged()
    tell(f"removed {counted(len(rows), 'damaged row')}" if rows else "nothing is damaged")


# What was asked for


def _pattern(*, prefix: bool, glob: bool) -> str:
    if prefix and glob:
        raise typer.BadParameter("use --prefix or --glob, not both")
    return "prefix" if prefix else "glob" if glob else "literal"


def _rules(
    user: str, what: str, on: str, pattern: str, host: str, *, allow: bool = True
) -> "list[KeptRule]":
    """One rule for each operation. Invalid values are usage errors."""
    from logstore.access.administration import check_rule
    from logstore.access.resources import CLUSTER, CLUSTER_NAME
    from logstore.errors import Refused
    from logstore.kept.users import KeptRule

    kind, colon, name = on.partition(":")
    if kind == CLUSTER:
        name = name if colon else CLUSTER_NAME
    elif not colon:
        raise typer.BadParameter(f"{on!r} is not KIND:NAME, such as topic:orders")
    operations = dict.fromkeys(it.strip() for it in what.split(","))
    rules = [KeptRule(user, it, kind, name, pattern, allow, host) for it in operations]
    try:
        return [check_rule(it) for it in rules]
    except Refused as error:
        raise typer.BadParameter(str(error)) from None
