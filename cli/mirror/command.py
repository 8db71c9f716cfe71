"""``logstore mirror``: its options, the two sides, and what was done."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..ends import CommandFailed, Stopped, say, tell
from ..options import ClusterAt, DataDir, OnDamageOption, damage_option, place_of
from ..produce import Compression
from ..show import counted

if TYPE_CHECKING:
    from logstore.broker.reading import OnDamage

    from ..stop import Stop
    from .copy import Copy
    from .groups import Groups
    from .sides import Source, Target

LOOK_AROUND_S: Final = 5.0  # how often new topics, partitions and offsets of groups are looked for
STATE: Final = "mirror"  # in the data directory of one side

HELP = """Copy topics between stores and clusters.

Each side is a data directory or HOST:PORT. The copy keeps partitions, keys, headers, timestamps and
the order of records; between two stores it also keeps the batches, byte for byte except for the
producer's number. Offsets may differ: offsets of groups are moved to the same records in the copy.

A mirror may be stopped or killed at any moment; the next one continues where the copy ends. No
record is left out, and none is duplicated in a store. A cluster may accept records of a killed
mirror late, after the next mirror has begun (it first waits until the copy has not changed for a
second): such duplicates are detected and reported. No other program may write to the copy.

$ logstore mirror --from logstore-data --to 127.0.0.1:9092 --topic flights
$ logstore mirror --from broker:9092 --to copy --group billing --follow
"""


def mirror(
    from_: Annotated[
        str,
        typer.Option(
            "--from", metavar="DIR|HOST:PORT", help="The source: a data directory or HOST:PORT."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="DIR|HOST:PORT", help="The target: a data directory or HOST:PORT."
        ),
    ],
    from_profile: Annotated[
        Path | None,
        typer.Option(
            "--from-profile",
            metavar="FILE",
            help="A TOML file with the login at the server of --from.",
        ),
    ] = None,
    to_profile: Annotated[
        Path | None,
        typer.Option(
            "--to-profile", metavar="FILE", help="A TOML file with the login at the server of --to."
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="A topic to copy; may be repeated; defaults to all topics.",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="GROUP",
            help="A consumer group whose offsets are copied, too; may be repeated.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more records at the end.")
    ] = False,
    compression: Annotated[
        Compression,
        typer.Option(
            "--compression",
            help="The compression codec of batches that the mirror makes; the topic's own codec,"
            " if set, takes precedence.",
        ),
    ] = Compression.ZSTD,
    on_damage: OnDamageOption = "stop",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="The directory that notes the progress of the copy; defaults to the folder"
            " `mirror` in the data directory of --to, or of --from if --to is a cluster."
            " Required between clusters.",
        ),
    ] = None,
) -> None:
    source_place, target_place = place_of(from_, from_profile), place_of(to, to_profile)
    damage = damage_option(on_damage)
    folders = _note_folders(state, target_place, source_place)

    from ..stop import Stop
    from .copy import Copy
    from .groups import Groups
    from .journal import Journal

    codec = "uncompressed" if compression is Compression.NONE else compression.value
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        source = _source(stack, source_place, damage)
        for name in topic or ():  # before the target is made: a mistake leaves nothing behind
            source.site.topic(name)
        for name in group or ():
            source.site.group(name)
        target = _target(stack, target_place, codec)
        if source.id == target.id:
            raise CommandFailed(f"{from_} and {to} are the same place: choose another --to")
        name = f"{source.id}--{target.id}"
        begun = [it for it in folders if (it / name).exists()]
        journal = stack.enter_context(Journal((begun or folders)[0] / name))
        copy = Copy(source, target, journal, topic, say=say, sleep=stop.sleep)
        groups = Groups(source, target, copy, group or (), say)
        _run(copy, groups, stop, follow=follow)


mirror.__doc__ = HELP


def _note_folders(state: Path | None, *places: DataDir | ClusterAt) -> list[Path]:
    """Directories that may contain the journal of the copy; a new one goes into the first."""
    folders = [it.path / STATE for it in places if isinstance(it, DataDir)]
    if state is not None:
        return [state]
    if not folders:
        raise typer.BadParameter(
            "a copy between two clusters needs --state DIR, in which its progress is noted"
        )
    return folders


def _source(stack: ExitStack, place: DataDir | ClusterAt, on_damage: "OnDamage") -> "Source":
    from logstore.store import Store

    site = stack.enter_context(place.reach("read"))
    if isinstance(site, Store):
        from .store import StoreSource

        return StoreSource(site, on_damage)
    from ..cluster.cluster import Cluster, check_damage
    from .cluster import ClusterSource

    check_damage(on_damage)
    assert isinstance(site, Cluster)
    return ClusterSource(site)


def _target(stack: ExitStack, place: DataDir | ClusterAt, compression: str) -> "Target":
    from logstore.store import Store

    site = stack.enter_context(place.reach("write", create=True))
    if isinstance(site, Store):
        from .store import StoreTarget

        return StoreTarget(site, compression)
    from ..cluster.cluster import Cluster
    from .cluster import ClusterTarget

    assert isinstance(site, Cluster)
    return ClusterTarget(site, compression, say)


def _run(copy: "Copy", groups: "Groups", stop: "Stop", *, follow: bool) -> None:
    """Copy until the end or a signal; reports the result in any case."""
    began = time.monotonic()
    try:
        copy.survey()
        look_around_at = began + LOOK_AROUND_S
        while not stop.asked:
            if not copy.step() and copy.ended and not follow:
                break
            if follow and time.monotonic() >= look_around_at:
                look_around_at = time.monotonic() + LOOK_AROUND_S
                copy.survey()
                groups.carry()
        groups.carry()
    finally:
        for line in _done(copy, groups, time.monotonic() - began):
            tell(line)
    failure = copy.damage or groups.failure
    if failure is not None and not stop.asked:
        raise failure
    if stop.signal_number is not None:
        raise Stopped(stop.signal_number)


def _done(copy: "Copy", groups: "Groups", seconds: float) -> "list[str]":
    total = sum(copy.records.values())
    lines = [f"{name}: {counted(count, 'record')}" for name, count in copy.records.items()]
    lines += [f"group {name}: {counted(count, 'offset')}" for name, count in groups.carried.items()]
    topics = counted(len(copy.records), "topic")
    return [*lines, f"mirrored {counted(total, 'record')} of {topics} in {seconds:.2f} s"]
