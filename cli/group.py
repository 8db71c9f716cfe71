"""``logstore group``: list, describe, reset-offsets, delete."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .command import OUTPUT, Group
from .ends import put, say, tell
from .login_options import Client
from .options import HERE, TIMES, At, Bootstrap, DataDir, Json, Where, place_option
from .show import as_json, counted, facts, table
from .times import iso

if TYPE_CHECKING:
    from logstore.broker.group import GroupMember, Lag
    from logstore.errors import LogstoreError


class Edge(StrEnum):
    """Either end of what a log holds."""

    EARLIEST = "earliest"
    LATEST = "latest"


app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", show_default=False)]


@app.callback()
def group(bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """List, describe and move consumer groups."""


@app.command("list", cls=Client)
def list_(json_: Json = False, bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """List consumer groups, members and lag.

    If a topic is damaged or cannot be read, other groups are still listed, and the command exits
    with 1.

    $ logstore group list
    """
    from logstore.errors import LogstoreError, UnknownGroup

    heads = ("group", "members", "lag")
    rows: list[tuple[str, int | None, int | None]] = []
    troubles: list[LogstoreError] = []
    with data.reach("read") as store:
        for name in store.groups():
            try:
                group = store.group(name)
                lags, members = group.describe(), group.members()
            except UnknownGroup:  # deleted just now
                continue
            except LogstoreError as error:
                troubles.append(error)
                rows.append((name, None, None))
                continue
            rows.append((name, len(members), _total(lags)))
            troubles += _broken(lags)
    put(
        as_json([dict(zip(heads, row, strict=True)) for row in rows])
        if json_
        else table(heads, rows)
    )
    _complain(troubles)


@app.command(cls=Client)
def describe(name: Name, json_: Json = False, bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """Show a group's offsets, lag and members.

    If a topic is damaged, the other topics are still shown, and the command exits with 1.

    $ logstore group describe billing
    """
    with data.reach_group(name) as store:
        group = store.group(name)
        lags, members = group.describe(), group.members()
    lags = _timed(data, name, lags)
    if json_:
        found = {
            "group": name,
            "lag": _total(lags),
            "members": [member._asdict() for member in members],
            "partitions": [lag._asdict() for lag in lags],
        }
        put(as_json(found))
        _complain(_broken(lags))
        return
    heads = ("topic", "partition", "committed", "end", "lag", "commit time")
    rows = [
        (lag.topic, lag.partition, lag.committed, lag.end, lag.lag, _time(lag.commit_ms))
        for lag in lags
    ]
    count = f"{len(members)} member{'s' if len(members) > 1 else ''}" if members else "no one"
    about = facts((("group", name), ("consumed by", count), ("lag", _total(lags))))
    put(f"{about}\n{table(heads, rows)}")
    if members:
        put(f"\n{table(('member', 'partitions'), [(it.owner, _reads(it)) for it in members])}")
    _complain(_broken(lags))


def _timed(data: Where, name: str, lags: "list[Lag]") -> "list[Lag]":
    """The lags with commit times from the directory, which Kafka's protocol does not contain."""
    if not isinstance(data, DataDir) or all(it.commit_ms or it.committed is None for it in lags):
        return lags
    with data.open("read") as store:
        table = store.internals().groups
        kept = {} if table is None else table.fetch(name)
    found = []
    for lag in lags:
        own = kept.get((lag.topic, lag.partition))
        is_same = own is not None and own.offset == lag.committed
        found.append(lag._replace(commit_ms=own.commit_ms) if own and is_same else lag)
    return found


def _total(lags: "Sequence[Lag]") -> int | None:
    """The lag of all partitions; None if one is unknown. An unread partition counts in full."""
    known = [it.lag for it in lags if it.lag is not None]
    return sum(known) if len(known) == len(lags) else None


def _broken(lags: "Sequence[Lag]") -> "list[LogstoreError]":
    from logstore.errors import Damaged

    return [Damaged(it) for it in dict.fromkeys(it.broken for it in lags) if it is not None]


def _complain(troubles: "Sequence[LogstoreError]") -> None:
    """Report each trouble once; the last one is raised as the command's error."""
    once = list({str(it): it for it in troubles}.values())
    for trouble in once[:-1]:
        say(f"logstore: {trouble}")
    if once:
        raise once[-1]


def _reads(member: "GroupMember") -> str:
    """The partitions of a member, grouped by topic."""
    topics: dict[str, list[str]] = {}
    for topic, partition in member.partitions:
        topics.setdefault(topic, []).append(str(partition))
    return ", ".join(f"{topic} {','.join(numbers)}" for topic, numbers in topics.items()) or "none"


def _time(moment_ms: int | None) -> str | None:
    return None if moment_ms is None else iso(moment_ms)


@app.command("reset-offsets", cls=Client)
def reset_offsets(
    name: Name,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            rich_help_panel=OUTPUT,
            metavar="PLACE",
            help=f"The place to move the group to: earliest, latest, an offset or a time. {TIMES}",
        ),
    ] = None,
    out_of_range: Annotated[
        Edge | None,
        typer.Option(
            "--out-of-range",
            metavar="earliest|latest",
            help="The place to move the group to, instead of --to, but only in partitions whose"
            " log no longer has the group's offset; other partitions are left alone.",
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="A topic to reset; may be repeated; defaults to every topic of the group.",
        ),
    ] = None,
    partition: Annotated[
        list[int] | None,
        typer.Option(
            "--partition",
            min=0,
            metavar="N",
            help="A partition to reset, in each topic; may be repeated; defaults to all"
            " partitions.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the planned changes without making any.")
    ] = False,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Move a group to another offset or time.

    The group must not have active members. With --topic, the group can be set in a topic that it
    has never read.

    $ logstore group reset-offsets billing --to -1d --dry-run
    $ logstore group reset-offsets billing --out-of-range earliest
    """
    if (to is None) == (out_of_range is None):
        raise typer.BadParameter("use either --to or --out-of-range")
    start = place_option(to or str(out_of_range), "--to")
    with data.reach_group(name) as store:
        moves = store.group(name).reset(
            start,
            topic or None,
            partitions=partition or None,
            out_of_range=out_of_range is not None,
            dry_run=dry_run,
        )
    rows = [(move.topic, move.partition, move.before, move.after) for move in moves]
    put(table(("topic", "partition", "before", "after"), rows))
    if not moves and out_of_range is not None:
        say("no offset is out of range: nothing to move")
    elif dry_run:
        say("dry run: nothing was changed")
    if out_of_range is None:
        skipped = sum(max(it.after - it.before, 0) for it in moves if it.before is not None)
        if skipped:
            verb = "would skip" if dry_run else "skips"
            say(f"group {name} {verb} {counted(skipped, 'offset')}", "warning")


@app.command(cls=Client)
def delete(name: Name, bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """Delete a group's offsets.

    $ logstore group delete billing
    """
    with data.reach_group(name, told=True) as store:
        store.group(name).delete()
    tell(f"deleted group {name}")
