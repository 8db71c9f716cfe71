"""``logstore queue browse`` and ``queue replay``: what is on disk of a queue, settled or not."""

import gc
import re
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .command import INPUT, OUTPUT
from .ends import CommandFailed, Stopped, say
from .options import HERE, TIMES, Data, moment_option, pairs
from .queueing import Vhost, queues_of
from .show import counted

if TYPE_CHECKING:
    from .message_lines import PeekRenderer
    from .output import Output
    from .queue_site import Past, QueueSite, Replayed
    from .stop import Stop

PAGE_MAX = 500  # messages that are asked for at once
BEFORE_ALL_MS = -(2**63) + 1  # before every time that a message may have

_POSITION = re.compile(r"(\d{1,3}:)?\d{1,18}", re.ASCII)
_ON = re.compile(r"\d{1,3}:\d{1,19}\.\.\d{1,19}(,\d{1,3}:\d{1,19}\.\.\d{1,19})*", re.ASCII)


class Only(StrEnum):
    """Which messages, by what has become of them."""

    SETTLED = "settled"
    UNSETTLED = "unsettled"
    ALL = "all"


class State(StrEnum):
    """The same, told apart."""

    ALL = "all"
    SETTLED = "settled"
    UNSETTLED = "unsettled"
    READY = "ready"
    OUT = "out"


Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="NAME=VALUE",
        rich_help_panel=INPUT,
        help="Include only messages that have this header; may be repeated: a message must have all"
        " headers given.",
    ),
]


def browse(
    name: Name,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME|POSITION",
            rich_help_panel=INPUT,
            help="The position of the first message, such as 17, or 4:17 for priority 4; or a"
            f" time, for messages published at that time or later. {TIMES}",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TIME|POSITION",
            rich_help_panel=INPUT,
            help=f"The position or time before which to stop. {TIMES}",
        ),
    ] = None,
    only: Annotated[
        State,
        typer.Option("--only", rich_help_panel=INPUT, help="Print only messages in this state."),
    ] = State.ALL,
    header: Headers = None,
    max_: Annotated[
        int,
        typer.Option(
            "--max",
            min=1,
            metavar="N",
            rich_help_panel=OUTPUT,
            help="Show at most this many messages.",
        ),
    ] = 100,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            rich_help_panel=OUTPUT,
            help="The form in which a message is printed: raw (its body), json, hex, or a"
            " template such as '{position} {state} {body}'; fields: position state time"
            " queue exchange key body redelivered headers properties.",
        ),
    ] = "{position} {state} {properties} {headers} {body}",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Print a queue's messages, even settled ones.

    No message is taken. A message is ready, out (delivered to a consumer and not acknowledged) or
    settled; messages are shown in the order in which consumers would receive them. Settled messages
    are kept for queue.retention.ms; purged messages are not shown.

    $ logstore queue browse mail --only settled --from -30m
    """
    from .message_lines import peek_format
    from .output import Output
    from .stop import Stop

    past = _past(from_, to, only, header, order="position")
    render = peek_format(format_)
    with Stop() as stop, queues_of(data, vhost, stop=stop) as site:
        output, on = Output(stop), None
        while max_ > 0 and not stop.asked:
            page = site.past(name, past, on, min(max_, PAGE_MAX))
            for damage in page.damaged:
                say(f"queue {name}: {damage}")
            if output.write(render(page.messages)) < len(page.messages):
                break
            max_ -= len(page.messages)
            on = page.on
            if on is None:
                break
        output.check()
        stop.check()
        if on is not None and page.following is not None:
            say(f"there are more messages: begin with --from {page.following}", "info")


def replay(
    name: Name,
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="DESTINATION",
            rich_help_panel=OUTPUT,
            help="The destination: exchange:NAME, queue:NAME, topic:NAME (created if missing),"
            " or stdout.",
        ),
    ] = "stdout",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME|OFFSET",
            rich_help_panel=INPUT,
            help="The time or offset to begin at; defaults to the first message kept. An offset"
            " such as 17, or 4:17, belongs to one priority: messages of other priorities"
            f" are left out. {TIMES}",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TIME|OFFSET",
            rich_help_panel=INPUT,
            help="The time or offset before which to stop; defaults to the last message at the"
            f" start of the replay. {TIMES}",
        ),
    ] = None,
    only: Annotated[
        Only,
        typer.Option("--only", rich_help_panel=INPUT, help="Replay only messages in this state."),
    ] = Only.SETTLED,
    header: Headers = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=0,
            metavar="X",
            help="The pace: 1 is real time, 60 is an hour per minute, 0 is as fast as possible.",
        ),
    ] = 0,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            rich_help_panel=OUTPUT,
            help="The routing key at the exchange, or the key of every record; defaults to each"
            " message's own key.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            rich_help_panel=OUTPUT,
            help="The form in which a message is printed with --into stdout: raw (its body),"
            " json, hex, or a template such as '{time} {body}'; fields: position state time"
            " queue exchange key body redelivered headers properties.",
        ),
    ] = "raw",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Publish past messages of a queue again.

    The messages stay in the queue; copies are published as new messages, in their original order.
    Exits with 0 only after every copy is on disk at the destination.

    $ logstore queue replay mail --from -30m --into exchange:events
    $ logstore queue replay mail --into topic:mail-again --only all --header country=ch
    """
    from .message_lines import peek_format
    from .output import Output
    from .stop import Stop

    past = _past(from_, to, only, header, order="time")
    on = from_ if from_ is not None and _ON.fullmatch(from_) else None
    if not speed < float("inf"):  # nor is NaN
        raise typer.BadParameter("must be 0 or more", param_hint="'--speed'")
    _check_into(into, key)
    render = peek_format(format_)
    with Stop() as stop, queues_of(data, vhost, stop=stop) as site:
        if into == "stdout":
            lines = _Lines(site, name, past, render, Output(stop))
            _Replay(name, into, speed, stop).run(lines.step, on)
            lines.output.check()
            stop.check()
            return
        if into.startswith("topic:"):
            site.queue(name)  # before a topic is made for it
            if site.topic(topic := into.removeprefix("topic:")):
                say(f"created topic {topic}", "info")

        def step(on: str | None, before_ms: int | None) -> "Replayed":
            return site.replay(name, into, key, past, on, before_ms)

        _Replay(name, into, speed, stop).run(step, on)


def _check_into(into: str, key: str | None) -> None:
    from logstore.broker.queues.replaying import into_of
    from logstore.errors import Refused

    if into == "stdout":
        if key is not None:
            raise typer.BadParameter("--key needs --into exchange:NAME or topic:NAME")
        return
    try:
        into_of(into, key)
    except Refused as error:
        raise typer.BadParameter(f"{error}, or stdout", param_hint="'--into'") from None


def _past(
    from_: str | None, to: str | None, only: str, header: list[str] | None, *, order: str
) -> "Past":
    from .queue_site import Past

    first, from_ms = _bound(from_, "--from", on=order == "time")
    upto, to_ms = _bound(to, "--to", on=False)
    if from_ms is not None and to_ms is not None and to_ms < from_ms:
        raise typer.BadParameter("--to is before --from", param_hint="'--to'")
    headers = tuple(pairs(header, "--header").items())
    return Past(first, upto, from_ms, to_ms, str(only), headers, order)


def _bound(text: str | None, option: str, *, on: bool) -> tuple[str | None, int | None]:
    """A position or a time; neither for the end of an earlier replay (``on``)."""
    if text is None or (on and _ON.fullmatch(text)):
        return None, None
    if _POSITION.fullmatch(text):
        return text, None
    try:
        return None, moment_option(text, option)
    except typer.BadParameter as error:
        message = f"{error.message}; or a position, such as 17, or 4:17 of priority 4"
        raise typer.BadParameter(message, param_hint=f"'{option}'") from None


class _Lines:
    """Steps of a replay to standard output."""

    def __init__(
        self, site: "QueueSite", name: str, past: "Past", render: "PeekRenderer", output: "Output"
    ) -> None:
        self.output = output
        self._site, self._name, self._past, self._render = site, name, past, render

    def step(self, on: str | None, before_ms: int | None) -> "Replayed":
        from .queue_site import Replayed

        page = self._site.past(self._name, self._past, on, PAGE_MAX, before_ms)
        for damage in page.damaged:
            say(f"queue {self._name}: {damage}")
        written = self.output.write(self._render(page.messages))
        gone = written < len(page.messages)
        return Replayed(written, 0, None if gone else page.on, page.next_ms)


class _Replay:
    """One replay, step by step, at its pace."""

    def __init__(self, name: str, into: str, speed: float, stop: "Stop") -> None:
        self._name, self._into, self._speed, self._stop = name, into, speed, stop
        self._replayed = self._unrouted = 0
        self._on: str | None = None

    def run(self, step: "Callable[[str | None, int | None], Replayed]", on: str | None) -> None:
        """Replay. Raises CommandFailed, Stopped."""
        from logstore.errors import LogstoreError

        # Messages come by the ten thousand and go again: to look for cycles among them takes as
        # long as to read them does.
        gc.freeze()
        gc.set_threshold(50_000)
        began = time.monotonic()
        self._on = on
        try:
            self._steps(step)
        except Stopped:
            self._say(f"logstore: stopped: {self._done()}{self._further()}")
            raise
        except LogstoreError as error:
            if not self._replayed:
                raise
            raise CommandFailed(f"{error}; {self._done()}{self._further()}") from error
        self._say(f"{self._done()} in {time.monotonic() - began:.2f} s")

    def _say(self, line: str) -> None:
        if self._into != "stdout":
            say(line)
            if self._unrouted:
                say(f"{counted(self._unrouted, 'message')} reached no queue")

    def _steps(self, step: "Callable[[str | None, int | None], Replayed]") -> None:
        first_ms: int | None = None
        before_ms = BEFORE_ALL_MS if self._speed else None  # to learn when the first was published
        while True:
            self._stop.check()
            done = step(self._on, before_ms)
            self._replayed += done.replayed
            self._unrouted += done.unrouted
            self._on = done.on
            if done.error is not None:
                raise CommandFailed(f"{done.error}; {self._done()}{self._further()}")
            if done.on is None:
                return
            if not self._speed or done.next_ms is None:
                continue
            if first_ms is None:
                first_ms, began = done.next_ms, time.monotonic()
            due_s = (done.next_ms - first_ms) / 1000 / self._speed
            self._stop.sleep(began + due_s - time.monotonic())
            passed_ms = (time.monotonic() - began) * 1000 * self._speed
            before_ms = max(first_ms + int(passed_ms), done.next_ms) + 1

    def _done(self) -> str:
        into = "" if self._into == "stdout" else f" into {self._into.replace(':', ' ', 1)}"
        return f"replayed {counted(self._replayed, 'message')} of queue {self._name}{into}"

    def _further(self) -> str:
        return "" if self._on is None else f"; go on with --from {self._on}"
