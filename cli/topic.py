"""``logstore topic``: create, list, describe, alter, trim, delete; offsets and routes."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .command import Command, Group
from .ends import put, tell
from .login_options import Client
from .options import HERE, TIMES, At, Bootstrap, Json, Settings, place_option, topic_settings
from .show import as_json, counted, facts, size, table
from .times import iso
from .topic_offsets import offsets
from .topic_route import route, routes, unroute

if TYPE_CHECKING:
    from .site import Site, Topic

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions", min=1, metavar="N", help="The number of partitions, which can only grow."
    ),
]


@app.callback()
def group(bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """Create, list, change and delete topics."""


@app.command(cls=Client)
def create(
    name: Name,
    partitions: Partitions = None,
    config: Settings = None,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Create a topic.

    Creates the data directory, too, if it does not exist.

    $ logstore topic create flights --partitions 3
    $ logstore topic create states --config cleanup.policy=compact
    """
    settings = topic_settings(config)
    # Checked before the store is created: a mistake must leave nothing behind.
    data.check_new(name, settings)
    with data.reach("write", create=True) as store:
        topic = store.create_topic(name, partitions=partitions, settings=settings)
        tell(f"created topic {name} with {counted(len(topic.partitions), 'partition')}")


@app.command("list", cls=Client)
def list_(json_: Json = False, bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """List all topics and their sizes.

    If a topic is damaged, the other topics are still listed, and the command exits with 1.

    $ logstore topic list
    """
    from logstore.errors import Damaged, Failed

    failure: Damaged | Failed | None = None
    rows: list[tuple[str, int | None, int | None, int | None]] = []
    with data.reach("read") as store:
        for name in store.topics():
            try:
                sizes = store.sizes(name)
            except (Damaged, Failed) as error:
                failure = error
                rows.append((name, None, None, None))
                continue
            # Not records: compaction leaves gaps, and transactions take offsets of their own.
            offsets = sum(part.safe - part.start for part in sizes)
            rows.append((name, len(sizes), offsets, _total([part.bytes for part in sizes])))
    names = ("topic", "partitions", "offsets", "bytes")
    if json_:
        put(as_json([dict(zip(names, row, strict=True)) for row in rows]))
    else:
        shown = [(*row[:3], _size(row[3])) for row in rows]
        put(table((*names[:3], "size"), shown))
    if failure is not None:
        raise failure


@app.command(cls=Client)
def describe(name: Name, json_: Json = False, bootstrap: Bootstrap = None, data: At = HERE) -> None:
    """Show a topic's partitions and settings.

    $ logstore topic describe flights
    """
    with data.reach("read") as store:
        if json_:
            put(as_json(_as_object(store, name)))
        else:
            put(_as_text(store, name))


app.command(cls=Client)(offsets)


@app.command(cls=Client)
def alter(
    name: Name,
    config: Settings = None,
    delete_config: Annotated[
        list[str] | None,
        typer.Option(
            "--delete-config",
            metavar="NAME",
            help="A setting to reset to its default; may be repeated.",
        ),
    ] = None,
    partitions: Partitions = None,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Change settings or add partitions.

    $ logstore topic alter flights --config retention.ms=1d
    $ logstore topic alter flights --partitions 6
    """
    settings = topic_settings(config)
    if not settings and not delete_config and partitions is None:
        raise typer.BadParameter("nothing to change: use --config, --delete-config or --partitions")
    with data.reach("write") as store:
        store.alter_topic(
            name, settings=settings, reset=tuple(delete_config or ()), partitions=partitions
        )
    tell(f"altered topic {name}")


@app.command(cls=Client)
def trim(
    name: Name,
    before: Annotated[
        str,
        typer.Option(
            "--before",
            metavar="PLACE",
            help="The place before which records are deleted: latest, an offset or a time."
            f" {TIMES}",
        ),
    ],
    partition: Annotated[
        list[int] | None,
        typer.Option(
            "--partition",
            min=0,
            metavar="N",
            help="A partition to trim; may be repeated; defaults to all partitions.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the planned deletions without making any.")
    ] = False,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Delete the records before an offset or time.

    Deleted records cannot be recovered. The offsets of other records do not change.

    $ logstore topic trim flights --before -7d --dry-run
    """
    place = place_option(before, "--before")
    with data.reach("read" if dry_run else "write") as store:
        trims = store.trim(name, place, partition, dry_run=dry_run)
    rows = [
        (it.partition, it.start_before, it.start_after, it.start_after - it.start_before)
        for it in trims
    ]
    put(table(("partition", "start before", "start after", "offsets"), rows))
    if dry_run:
        put("dry run: nothing was deleted\n")


@app.command(cls=Client)
def delete(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete without asking for confirmation.")
    ] = False,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Delete a topic and all its records.

    $ logstore topic delete flights
    """
    from logstore.errors import Damaged, Failed

    with data.reach("read") as store:
        try:
            offsets = sum(part.safe - part.start for part in store.sizes(name))
            what = f"topic {name} and its records ({counted(offsets, 'offset')})"
        except Damaged:
            what = f"topic {name}, which is damaged"
        except Failed:  # its files can't be read
            what = f"topic {name}"
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise typer.BadParameter(
                f"use --yes to delete {what}: no confirmation can be asked for without a terminal"
            )
        typer.confirm(f"Delete {what}?", abort=True, err=True)
    with data.reach("write") as store:
        store.delete_topic(name)
    tell(f"deleted {what}")


def _total(counts: "list[int | None]") -> int | None:
    known = [it for it in counts if it is not None]
    return sum(known) if len(known) == len(counts) else None


def _size(count: int | None) -> str | None:
    return None if count is None else size(count)


def _as_object(store: "Site", name: str) -> dict[str, object]:
    topic = store.topic(name)
    return {
        "topic": topic.name,
        "id": topic.id or None,
        "created": _created(topic),
        "partitions": [
            {
                "partition": part.partition,
                "start": part.start,
                "high_watermark": part.safe,
                "end": part.end,
                "segments": part.segments,
                "bytes": part.bytes,
            }
            for part in store.sizes(name)
        ],
        "settings": {
            chosen.name: {"value": chosen.value, "source": chosen.source}
            for chosen in store.describe_topic(name)
        },
    }


def _created(topic: "Topic") -> str | None:
    # Bare partition directories without a catalogue do not say.
    return iso(topic.created_ms) if topic.created_ms else None


def _as_text(store: "Site", name: str) -> str:
    from logstore.config import text_of

    topic = store.topic(name)
    about = facts((("topic", topic.name), ("id", topic.id or None), ("created", _created(topic))))
    partitions = table(
        ("partition", "start", "high watermark", "end", "segments", "size"),
        [
            (it.partition, it.start, it.safe, it.end, it.segments, _size(it.bytes))
            for it in store.sizes(name)
        ],
    )
    settings = table(
        ("setting", "value", "source"),
        [
            (chosen.name, text_of(chosen.value), chosen.source)
            for chosen in store.describe_topic(name)
        ],
    )
    return f"{about}\n{partitions}\n{settings}"


app.command(cls=Command)(route)
app.command(cls=Command)(unroute)
app.command(cls=Command)(routes)
