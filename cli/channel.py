"""``logstore channel``: publish and listen through the Redis door of a running server."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import Group
from .ends import CommandFailed, put, say, tell
from .login_options import Client
from .options import HERE, Data, DataDir, Json, by_tls
from .show import as_json, as_line, counted, table, text_or_base64

if TYPE_CHECKING:
    from .output import Output
    from .redis_wire import Line
    from .stop import Stop

READ_BYTES = 1 << 16
POLL_S = 0.1  # how soon it is seen that nobody reads our output any more

app = typer.Typer(cls=Group, no_args_is_help=True)

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server; defaults to the server that has the data directory open.",
    ),
]
Max = Annotated[
    int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many messages.")
]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)]
Patterns = Annotated[list[str], typer.Argument(metavar="PATTERN...", show_default=False)]


@app.callback()
def channel(data: Data = HERE) -> None:
    """Messages for whoever listens now, through a running server."""


@contextmanager
def _line(data: DataDir, server: str | None, stop: "Stop") -> Iterator["Line"]:
    from .redis_wire import Line

    if server is not None and not server.rpartition(":")[2].isdigit():
        raise typer.BadParameter(f"{server!r} is not HOST:PORT", param_hint="'--server'")
    if server is None:
        line = Line(_server_of(data), stop, data.login, data.own_login)
    else:
        line = Line(server, stop, data.login)
    try:
        yield line
    finally:
        line.close()


def _server_of(data: DataDir) -> str:
    from logstore.doors import RESP

    address = data.endpoint(RESP)
    if address is None and data.is_secure(RESP):
        raise CommandFailed(f"{data}: {by_tls(RESP)}")
    if address is None:
        raise CommandFailed(
            f"{data}: no server has it open for Redis clients: run `logstore serve`, or name one "
            f"with --server HOST:PORT"
        )
    return address


@app.command(cls=Client)
def publish(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    message: Annotated[str | None, typer.Argument(metavar="MESSAGE", show_default=False)] = None,
    from_stdin: Annotated[
        bool,
        typer.Option("--from-stdin", help="Publish each line of standard input, unchanged."),
    ] = False,
    server: Server = None,
    data: Data = HERE,
) -> None:
    """Publish messages to a channel.

    Each message is delivered at once; the number of subscribers that received it is printed.

    $ logstore channel publish news "it rains"
    $ tail -f access.log | logstore channel publish access --from-stdin
    """
    from .stop import Stop

    if (message is None) != from_stdin:
        raise typer.BadParameter("say either MESSAGE or --from-stdin")
    with Stop() as stop, _line(data, server, stop) as line:
        if message is not None:
            sent, received = 1, line.ask("PUBLISH", name, message)
        else:
            sent, received = _publish_lines(line, name, stop)
    deliveries = counted(received, "delivery", "deliveries")
    tell(f"published {counted(sent, 'message')} to {name}: {deliveries}")


def _publish_lines(line: "Line", name: str, stop: "Stop") -> tuple[int, int]:
    """How many lines there were, and how many times one was received.

    Those that come together go out together; one that comes alone does not wait for others.
    """
    sent = received = 0
    if sys.stdin is None:  # closed from the start
        return 0, 0
    fd, rest, ended = sys.stdin.fileno(), b"", False
    while not ended:
        stop.wait_readable(fd)
        data = os.read(fd, READ_BYTES)
        ended = not data
        *lines, rest = (rest + data).split(b"\n")
        if ended and rest:
            lines.append(rest)
        line.send([("PUBLISH", name, text) for text in lines])
        received += sum(line.next() for _ in lines)
        sent += len(lines)
    return sent, received


@app.command(cls=Client)
def subscribe(
    names: Names, max_: Max = None, json_: Json = False, server: Server = None, data: Data = HERE
) -> None:
    """Print messages published to channels.

    Prints each new message as one line, until Ctrl-C or --max.

    $ logstore channel subscribe news sport
    """
    _listen("SUBSCRIBE", names, max_, json_, server, data)


@app.command(cls=Client)
def psubscribe(
    patterns: Patterns,
    max_: Max = None,
    json_: Json = False,
    server: Server = None,
    data: Data = HERE,
) -> None:
    """Print messages of channels by pattern.

    Patterns have Redis's syntax: news.*, h?llo, h[a-c]llo.

    $ logstore channel psubscribe 'news.*' --json
    """
    _listen("PSUBSCRIBE", patterns, max_, json_, server, data)


def _listen(
    command: str,
    names: list[str],
    max_: int | None,
    json_: bool,
    server: str | None,
    data: DataDir,
) -> None:
    from .output import Output
    from .stop import Stop

    with Stop() as stop, _line(data, server, stop) as line:
        output = Output(stop)
        line.send([(command, *names)])
        for _ in names:
            line.next()
        say(f"listening to {', '.join(names)}")
        _print(line, output, stop, max_, json_=json_)
        output.check()
        stop.check()


def _print(line: "Line", output: "Output", stop: "Stop", left: int | None, *, json_: bool) -> None:
    while left != 0 and not stop.asked:
        message = line.next(POLL_S)
        if message is ...:
            if output.abandoned():
                return
            continue
        if not output.write([_shown(message, json_)]):
            return
        if left is not None:
            left -= 1


def _shown(message: list[Any], json_: bool) -> bytes:
    """A message as a line; as JSON with its channel."""
    payload, name = message[-1], message[-2]
    if not json_:
        return bytes(payload) + b"\n"
    facts = text_or_base64("channel", name) | text_or_base64("payload", payload)
    if len(message) == 4:
        facts |= text_or_base64("pattern", message[1])
    return as_line(facts).encode() + b"\n"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


@app.command("list", cls=Client)
def list_(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", show_default=False)] = "*",
    json_: Json = False,
    server: Server = None,
    data: Data = HERE,
) -> None:
    """List channels and count their subscribers.

    Subscribers by pattern are not counted.

    $ logstore channel list 'news.*'
    """
    from .stop import Stop

    with Stop() as stop, _line(data, server, stop) as line:
        names = sorted(line.ask("PUBSUB", "CHANNELS", pattern))
        counts = line.ask("PUBSUB", "NUMSUB", *names)[1::2]
    rows = list(zip(names, counts, strict=True))
    if json_:
        put(as_json([text_or_base64("channel", name) | {"subscribers": it} for name, it in rows]))
    else:
        put(table(("channel", "subscribers"), [(_text(name), count) for name, count in rows]))
