"""``logstore channel``: publish and listen through the Redis door of a running server."""

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .command import INPUT, Group
from .ends import CommandFailed, put, say, tell
from .login_options import Client
from .options import HERE, TIMES, Data, DataDir, Json, by_tls, place_option
from .place import last_of
from .show import as_json, as_line, counted, table, text_or_base64
from .times import EPOCH, iso

if TYPE_CHECKING:
    from .output import Output
    from .redis_wire import Line
    from .stop import Stop

READ_BYTES = 1 << 16
POLL_S = 0.1  # how soon a closed output is noticed
NO_HISTORY = "NOHISTORY"  # the code of CHANNEL.READ's error for a channel that keeps none
_PATTERN = set("*?[")

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
            f"{data}: no server has this directory open for Redis clients: run `logstore"
            " serve`, or name a server with --server HOST:PORT"
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
        raise typer.BadParameter("use either MESSAGE or --from-stdin")
    with Stop() as stop, _line(data, server, stop) as line:
        if message is not None:
            sent, received = 1, line.ask("PUBLISH", name, message)
        else:
            sent, received = _publish_lines(line, name, stop)
    deliveries = counted(received, "delivery", "deliveries")
    tell(f"published {counted(sent, 'message')} to {name}: {deliveries}")


def _publish_lines(line: "Line", name: str, stop: "Stop") -> tuple[int, int]:
    """Publish lines; returns their number, and how often one was received.

    Lines that arrive together are sent together; a single line is sent without delay.
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
    names: Names,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            rich_help_panel=INPUT,
            help="The place to begin at in channels that keep a history: earliest, an offset, a"
            f" time, or -N for the last N messages; defaults to latest, new messages only. {TIMES}",
        ),
    ] = None,
    max_: Max = None,
    json_: Json = False,
    server: Server = None,
    data: Data = HERE,
) -> None:
    """Print messages published to channels.

    Prints each new message as one line, until Ctrl-C or --max.

    $ logstore channel subscribe news sport
    $ logstore channel subscribe orders.eu --from -10
    """
    where = None if from_ is None else _where(from_)
    _point_to_psubscribe(names)
    with _listening(names, max_, json_, server, data) as listen:
        if where is None:
            listen.to_new("SUBSCRIBE", names)
        else:
            listen.from_(where, names, "its logstore.toml" if server else str(data.settings_file))


def _point_to_psubscribe(names: list[str]) -> None:
    """Tell a user at a terminal that a pattern here is the name of one channel."""
    from .progress import is_watched

    found = next((it for it in names if _PATTERN & set(it)), None)
    if found is not None and is_watched():
        say(
            f"{found} is the name of one channel here; for every channel that it matches:"
            f" `logstore channel psubscribe {quote(found)}`",
            "info",
        )


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
    with _listening(patterns, max_, json_, server, data) as listen:
        listen.to_new("PSUBSCRIBE", patterns)


class _Heard(NamedTuple):
    """A message, and what is known of it."""

    channel: bytes
    payload: bytes
    pattern: bytes | None = None
    offset: int | None = None  # of one from a history
    timestamp_ms: int | None = None

    def shown(self, json_: bool) -> bytes:
        """The message as a line; in JSON with its channel."""
        if not json_:
            return bytes(self.payload) + b"\n"
        facts = text_or_base64("channel", self.channel) | text_or_base64("payload", self.payload)
        if self.pattern is not None:
            facts |= text_or_base64("pattern", self.pattern)
        if self.timestamp_ms is not None:
            facts |= {"offset": self.offset, "timestamp": iso(self.timestamp_ms)}
        return as_line(facts).encode() + b"\n"


def _where(text: str) -> str | None:
    """A place in the form of CHANNEL.READ; None after the past. Another text is a usage error."""
    if last_of(text) is not None:
        return text
    place = place_option(text, "--from")
    if place == "latest":
        return None
    return EPOCH.isoformat() if place == "earliest" else str(place)


@contextmanager
def _listening(
    names: list[str], max_: int | None, json_: bool, server: str | None, data: DataDir
) -> Iterator["_Listen"]:
    """A subscription; the messages requested within the block are printed at its end."""
    from .output import Output
    from .stop import Stop

    with Stop() as stop, _line(data, server, stop) as line:
        output = Output(stop)
        listen = _Listen(line)
        yield listen
        say(f"listening to {', '.join(names)}")
        listen.print(output, stop, max_, json_=json_)
        output.check()
        stop.check()


class _Listen:
    """Messages of a connection: new ones, or those of histories."""

    def __init__(self, line: "Line") -> None:
        self._line = line
        self._asked: deque[str] = deque()  # channels whose past is to come, in this order
        self._past: list[_Heard] = []

    def to_new(self, command: str, names: list[str]) -> None:
        """Subscribe to new messages. Raises CommandFailed."""
        self._line.send([(command, *names)])
        for _ in names:
            self._line.next()

    def from_(self, where: str, names: list[str], file: str) -> None:
        """Read messages from a place on, then new ones.

        ``file``: the server's settings. Raises CommandFailed if a channel keeps no history.
        """
        from .redis_wire import Refusal

        self._line.send([("CHANNEL.READ", name, "FROM", where, "FOLLOW") for name in names])
        self._asked.extend(names)
        try:
            while self._asked:
                self._past += self._heard(self._line.next())
        except Refusal as refusal:
            if refusal.code != NO_HISTORY:
                raise
            raise CommandFailed(
                f"channel {self._asked[0]} keeps no history: give {file} a [[channel]] table"
                " whose pattern matches it, and restart the server"
            ) from None

    def print(self, output: "Output", stop: "Stop", left: int | None, *, json_: bool) -> None:
        """Print messages until ``left`` are printed."""
        heard, self._past = self._past, []
        while True:
            lines = [it.shown(json_) for it in heard[:left]]
            if output.write(lines) < len(lines):
                return
            left = None if left is None else left - len(lines)
            if left == 0 or stop.asked:
                return
            reply = self._line.next(POLL_S)
            if reply is ... and output.abandoned():
                return
            heard = [] if reply is ... else self._heard(reply)

    def _heard(self, reply: list[Any]) -> list[_Heard]:
        match reply:
            case [b"message", name, payload]:
                return [_Heard(name, payload)]
            case [b"pmessage", pattern, name, payload]:
                return [_Heard(name, payload, pattern)]
            case [b"channel.read", name, offset, timestamp_ms, payload]:
                return [_Heard(name, payload, None, offset, timestamp_ms)]
        name = os.fsencode(self._asked.popleft())
        return [_Heard(name, payload, None, at, time_ms) for at, time_ms, payload in reply]


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

    Subscribers by pattern are not counted. Channels that have a history are listed even without
    subscribers, unless --server or --user is given.

    $ logstore channel list 'news.*'
    """
    from .stop import Stop

    with Stop() as stop, _line(data, server, stop) as line:
        heard = set(line.ask("PUBSUB", "CHANNELS", pattern))
        is_owner = server is None and (data.login is None or not data.login.user)
        names = sorted(heard | _kept(data, pattern) if is_owner else heard)
        counts = line.ask("PUBSUB", "NUMSUB", *names)[1::2]
    rows = list(zip(names, counts, strict=True))
    if json_:
        put(as_json([text_or_base64("channel", name) | {"subscribers": it} for name, it in rows]))
    else:
        put(table(("channel", "subscribers"), [(_text(name), count) for name, count in rows]))


def _kept(data: DataDir, pattern: str) -> set[bytes]:
    """The channels with a history that match the pattern, asked through the server's own socket."""
    from logstore.patterns import Pattern
    from logstore.server_socket import ServerSocket

    matches = Pattern(os.fsencode(pattern)).matches
    rows = ServerSocket(str(data.path)).rows("channels", kind="channel")
    names = (
        it["name"].encode(errors="surrogateescape") for it in rows if it["history"] is not None
    )
    return {name for name in names if matches(name)}
