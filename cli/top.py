"""``logstore top``: what a server is at, again and again."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import OUTPUT
from .ends import put
from .options import HERE, Data, Json, now_ms
from .show import as_json

if TYPE_CHECKING:
    from rich.text import Text

    from .dashboard import Line

EVERY_S_MIN, EVERY_S_MAX = 0.2, 3600.0

Once = Annotated[
    bool,
    typer.Option("--once", rich_help_panel=OUTPUT, help="Print the figures once and exit."),
]
Every = Annotated[
    float,
    typer.Option(
        "--every",
        metavar="SECONDS",
        rich_help_panel=OUTPUT,
        min=EVERY_S_MIN,
        max=EVERY_S_MAX,
        help="The seconds between two updates.",
    ),
]


def top(once: Once = False, every: Every = 1.0, json_: Json = False, data: Data = HERE) -> None:
    """Watch a server's rates, lag and limits.

    Shows the figures of the page's first view until Ctrl-C; if the output is not a terminal, shows
    them once.

    $ logstore top
    $ logstore top --once --json
    """
    from logstore.server_socket import ServerSocket

    server = ServerSocket(str(data.path))
    found = server.get("overview")
    if json_:
        put(as_json(found))
    elif once or not sys.stdout.isatty():
        from .dashboard import lines

        shown = ("".join(it.text for it in line).rstrip() for line in lines(found, now_ms()))
        put("".join(f"{it}\n" for it in shown))
    else:
        _watch(lambda: server.get("overview"), found, every)


def _watch(ask: "Callable[[], Any]", found: Any, every: float) -> None:  # noqa: ANN401  JSON
    """Show the figures repeatedly. Raises Stopped, at Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    from logstore.errors import LogstoreError

    from .stop import Stop

    at, trouble = now_ms(), ""
    with (
        Stop() as stop,
        Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_screen(found, at, trouble), refresh=True)
            stop.sleep(every)
            try:
                found, at, trouble = ask(), now_ms(), ""
            except LogstoreError as error:  # perhaps restarting: the last figures stay
                trouble = str(error)


def _screen(found: Any, at: int, trouble: str) -> "Text":  # noqa: ANN401  JSON
    from rich.text import Text

    from .dashboard import BAD, DIM, Piece, lines

    shown = time.strftime("%H:%M:%S", time.localtime(at / 1000))
    end: list[Line] = [[], [Piece(f"as of {shown}, Ctrl-C ends", DIM)]]
    if trouble:
        end.append([Piece(trouble, BAD)])
    text = Text(no_wrap=True, overflow="ellipsis")
    for line in [*lines(found, at), *end]:
        for piece in line:
            text.append(piece.text, piece.style or None)
        text.append("\n")
    return text
