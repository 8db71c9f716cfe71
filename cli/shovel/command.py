"""``logstore shovel``: its options, and the two sides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..command import CONNECTION, INPUT
from ..line_options import Progress as ProgressOption

if TYPE_CHECKING:
    from .place import Place

GIVE_UP_S: Final = 60.0
PREFETCH: Final = 1000


def shovel(
    from_: Annotated[
        str, typer.Option("--from", metavar="URI|DIR", help="The server that has the messages.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="URI|DIR", help="The server to move the messages to.")
    ],
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="QUEUE", rich_help_panel=INPUT, help="The queue to empty."),
    ] = None,
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            rich_help_panel=INPUT,
            help="Empty each durable queue, in every virtual host, of the data directory at"
            " --from.",
        ),
    ] = False,
    to_queue: Annotated[
        str | None,
        typer.Option(
            "--to-queue",
            metavar="QUEUE",
            help="The queue at the target; defaults to the name of the source queue.",
        ),
    ] = None,
    to_exchange: Annotated[
        str | None,
        typer.Option(
            "--to-exchange", metavar="EXCHANGE", help="Publish to this exchange instead of a queue."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The routing key for every message, with --to-exchange; defaults to each"
            " message's own key.",
        ),
    ] = None,
    prefetch: Annotated[
        int,
        typer.Option(
            "--prefetch",
            min=1,
            max=65_535,
            help="The number of messages that may be in transit at once.",
        ),
    ] = PREFETCH,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Move at most this many messages.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more messages when the queue is empty.")
    ] = False,
    give_up_after: Annotated[
        float | None,
        typer.Option(
            "--give-up-after",
            metavar="SECONDS",
            min=0,
            help="The seconds to wait while a side is unreachable or full, or while ready"
            " messages do not arrive; defaults to 60, and with --follow to no limit.",
        ),
    ] = None,
    from_profile: Annotated[
        Path | None,
        typer.Option(
            "--from-profile",
            metavar="FILE",
            rich_help_panel=CONNECTION,
            help="A TOML file with the login at the server of --from.",
        ),
    ] = None,
    to_profile: Annotated[
        Path | None,
        typer.Option(
            "--to-profile",
            metavar="FILE",
            rich_help_panel=CONNECTION,
            help="A TOML file with the login at the server of --to.",
        ),
    ] = None,
    progress: ProgressOption = None,
) -> None:
    """Move messages between AMQP servers.

    Each side is a URI (amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://) or the data directory of
    a running `logstore serve`. Bodies, properties and headers do not change. A message is
    acknowledged at the source after the target has confirmed it: if this command is killed, no
    message is lost, but messages in transit may be on both sides.

    $ logstore shovel --from amqp://guest:guest@rabbit/shop --to logstore-data --queue orders
    $ logstore shovel --from logstore-data --to node-1 --all
    """
    from ..progress import progress_for
    from ..stop import Stop
    from .moving import Route
    from .place import place_of
    from .shovel import Wanted, shovelled

    if to_queue is not None and to_exchange is not None:
        raise typer.BadParameter("use --to-queue or --to-exchange, not both")
    if key is not None and to_exchange is None:
        raise typer.BadParameter("--key needs --to-exchange")
    if (queue is None) is not all_:
        raise typer.BadParameter("use --queue QUEUE or --all")
    source = place_of(from_, "--from", from_profile)
    target = place_of(to, "--to", to_profile)
    give_up_s = give_up_after
    if give_up_s is None and not follow:
        give_up_s = GIVE_UP_S
    if queue is None:
        if to_queue is not None or to_exchange is not None or limit is not None or follow:
            raise typer.BadParameter(
                "--all moves each queue once, to the queue of the same name: leave out --to-queue,"
                " --to-exchange, --limit and --follow"
            )
        _all(source, target, prefetch, give_up_s, progress)
        return
    route = Route(queue, "", queue if to_queue is None else to_queue)
    if to_exchange is not None:
        route = Route(queue, to_exchange, key)
    _check_names(queue=queue, to_queue=to_queue, to_exchange=to_exchange, key=key)
    if route.key == queue and not route.exchange and source.same(target):
        raise typer.BadParameter(f"--from and --to are the same queue, {queue!r} at {source}")
    wanted = Wanted(route, prefetch, limit, follow, give_up_s)
    with Stop() as stop:
        shovelled(source, target, wanted, stop, progress_for(progress, None, "message", "moved"))


def _all(
    source: "Place", target: "Place", prefetch: int, give_up_s: float | None, progress: bool | None
) -> None:
    """Shovel all queues, one after another."""
    from ..ends import say
    from ..progress import progress_for
    from ..stop import Stop
    from .every import every, within
    from .moving import Route
    from .shovel import Wanted, shovelled

    if source.directory is None:
        raise typer.BadParameter("--all needs a data directory at --from")
    if source.same(target):
        raise typer.BadParameter(f"--from and --to are the same, {source}")
    found = every(source.directory)
    with Stop() as stop:
        for vhost, name in found:
            wanted = Wanted(Route(name, "", name), prefetch, None, False, give_up_s)
            shown = progress_for(progress, None, "message", "moved")
            shovelled(within(source, vhost), within(target, vhost), wanted, stop, shown)
    if not found:
        say(f"moved 0 messages: every durable queue at {source} is empty")


def _check_names(**names: str | None) -> None:
    from logstore.broker.queues.given import SHORT_BYTES_MAX

    for name, value in names.items():
        if value is not None and len(value.encode("utf-8", "surrogateescape")) > SHORT_BYTES_MAX:
            option = f"'--{name.replace('_', '-')}'"
            raise typer.BadParameter(
                f"must have at most {SHORT_BYTES_MAX} bytes", param_hint=option
            )
