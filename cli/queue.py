"""``logstore queue``: declare, list, describe, peek, get, consume, purge, delete; its past."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .command import SETTINGS, Command, Group
from .ends import put, say, tell
from .login_options import Client
from .options import HERE, Data, Json
from .queue_past import browse, replay
from .queueing import (
    JSON_OR_TEXT,
    Vhost,
    Yes,
    arguments_text,
    binding_object,
    confirm,
    queue_arguments,
    queues_of,
    shown,
    warn_of_unknown,
    yes_or_no,
)
from .show import as_json, counted, facts, table

if TYPE_CHECKING:
    from .message_lines import MessageRenderer
    from .output import Output
    from .queue_site import Consumer, Message, QueueAbout, QueueSite
    from .stop import Stop

MESSAGES_MAX = 500  # at once: printed soon enough that a signal is heard
PEEKED_MAX = 100  # at once
POLL_S = 0.1  # how long a signal may go unheard while nothing comes

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
MessageFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="The form in which a message is printed: raw (its body), json, hex, or a template"
        " such as '{key} {body}'; fields: queue exchange key body redelivered headers"
        " properties.",
    ),
]


@app.callback()
def group(data: Data = HERE) -> None:
    """Make queues, look at them, take their messages."""


@app.command(cls=Client)
def declare(
    name: Name,
    transient: Annotated[
        bool,
        typer.Option(
            "--transient",
            help="Delete the queue when the server stops, or when this command ends if no server"
            " runs.",
        ),
    ] = False,
    auto_delete: Annotated[
        bool,
        typer.Option("--auto-delete", help="Delete the queue together with its last consumer."),
    ] = False,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            "--argument",
            metavar="NAME=VALUE",
            rich_help_panel=SETTINGS,
            help="A setting of the queue, such as x-max-priority=5, x-message-ttl=1h,"
            " x-max-length=1000, x-max-length-bytes=10MB, x-dead-letter-exchange=NAME,"
            f" x-delivery-limit=5, x-retention-ms=7d or x-queue-type=stream. {JSON_OR_TEXT}",
        ),
    ] = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Create a queue, unless it exists.

    Creates the data directory, too, if it does not exist.

    $ logstore queue declare mail --argument x-max-priority=5
    """
    arguments = queue_arguments(argument)
    with queues_of(data, vhost, create=True) as site:
        made = site.declare_queue(
            name, durable=not transient, auto_delete=auto_delete, arguments=arguments
        )
        tell(f"declared queue {made}")
        warn_of_unknown(made, arguments)


@app.command("list", cls=Command)
def list_(json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """List queues and count their messages.

    $ logstore queue list
    """
    with queues_of(data, vhost) as site:
        rows = [(str(shown(it.name)), *it[1:]) for it in site.queues()]
    heads = ("queue", "ready", "unacked", "consumers")
    if json_:
        put(as_json([dict(zip(heads, row, strict=True)) for row in rows]))
    else:
        put(table(heads, rows))


@app.command(cls=Command)
def describe(name: Name, json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Show a queue, its counts and bindings.

    $ logstore queue describe mail
    """
    with queues_of(data, vhost) as site:
        about = site.queue(name)
    put(_described(name, about, json_=json_))


def _described(name: str, about: "QueueAbout", *, json_: bool) -> str:
    counts = about.counts._asdict() | {"name": shown(name)}
    if json_:
        del counts["name"]
        return as_json({
            "queue": shown(name), "durable": about.durable, "auto_delete": about.auto_delete,
            "arguments": shown(about.arguments), **counts,
            "bindings": list(map(binding_object, about.bindings)), "policy": about.policy,
            "topic": about.topic,
        })  # fmt: skip
    text = facts((
        ("queue", name), ("durable", yes_or_no(about.durable)),
        ("auto-delete", yes_or_no(about.auto_delete)),
        ("arguments", arguments_text(about.arguments)),
        *([] if about.policy is None else [("policy", about.policy)]),
        *([] if about.topic is None else [("topic", about.topic)]),
        *((it, counts[it]) for it in ("ready", "unacked", "consumers")),
    ))  # fmt: skip
    rows = [
        (str(shown(it.source)) or "(default)", str(shown(it.key)), arguments_text(it.arguments))
        for it in about.bindings
    ]
    return f"{text}\n{table(('exchange', 'key', 'arguments'), rows)}"


@app.command(cls=Command)
def peek(
    name: Name,
    max_: Annotated[
        int, typer.Option("--max", min=1, metavar="N", help="Show at most this many messages.")
    ] = 20,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POSITION",
            help="The position of the first message, such as 17, or 4:17 for priority 4.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="The form in which a message is printed: raw (its body), json, hex, or a"
            " template such as '{position} {state} {body}'; fields: position state time"
            " queue exchange key body redelivered headers properties.",
        ),
    ] = "raw",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Print the first messages, but take none.

    Messages are shown in the order in which consumers would receive them. Messages that a consumer
    has not acknowledged yet are shown as unacked.

    $ logstore queue peek mail --format '{position} {state} {body}'
    """
    from .message_lines import peek_format
    from .output import Output
    from .stop import Stop

    render = peek_format(format_)
    with Stop() as stop, queues_of(data, vhost, stop=stop) as site:
        output = Output(stop)
        while max_ > 0 and not stop.asked:
            found = site.peek(name, begin, min(max_, PEEKED_MAX))
            for it in found.damaged:
                say(f"queue {name}: message {it} can't be read; run `logstore verify`")
            if output.write(render(found.messages)) < len(found.messages):
                break
            max_ -= max(1, len(found.messages))
            begin = found.following
            if begin is None:
                break
        output.check()
        stop.check()
        if begin is not None:
            say(f"there are more messages: begin with --from {begin}", "info")


app.command(cls=Command)(browse)
app.command(cls=Command)(replay)


@app.command(cls=Client)
def get(
    name: Name,
    max_: Annotated[
        int, typer.Option("--max", min=1, metavar="N", help="Take at most this many messages.")
    ] = 1,
    requeue: Annotated[
        bool,
        typer.Option(
            "--requeue", help="Return each message to its place in the queue after printing."
        ),
    ] = False,
    reject: Annotated[
        bool,
        typer.Option(
            "--reject",
            help="Reject each message after printing. The queue's dead-letter exchange, if set,"
            " receives rejected messages.",
        ),
    ] = False,
    format_: MessageFormat = "raw",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Take the first messages and print them.

    Each message is acknowledged after it is printed, unless --requeue or --reject is given.

    $ logstore queue get mail --requeue --format json
    $ logstore queue get mail --reject
    """
    from .message_lines import message_format
    from .output import Output
    from .stop import Stop

    if requeue and reject:
        raise typer.BadParameter("--requeue and --reject cannot both be given")

    render = message_format(format_)
    with Stop() as stop, queues_of(data, vhost, stop=stop) as site:
        output = Output(stop)
        held: list[Message] = []
        taken = False
        for _ in range(max_):
            message = site.get(name)
            if message is None or stop.asked:
                if not taken:
                    _tell_nothing_is_ready(name, stop)
                break
            taken = True
            if not output.write(render([message])):
                break
            if requeue:
                held.append(message)  # until all were shown; the end gives it back
            elif reject:
                message.reject()
            else:
                message.ack()
        output.check()
        stop.check()


@app.command(cls=Client)
def consume(
    name: Name,
    max_: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many messages.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more messages at the end.")
    ] = False,
    format_: MessageFormat = "raw",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Consume messages and print them.

    Each message is acknowledged after it is printed. Stops when no message is ready, unless
    --follow is given.

    $ logstore queue consume mail
    $ logstore queue consume mail --follow --format '{key} {body}'
    """
    from logstore.errors import Refused

    from .message_lines import message_format
    from .output import Output
    from .stop import Stop

    render = message_format(format_)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        site = stack.enter_context(queues_of(data, vhost, stop=stop))
        output = Output(stop)
        prefetch = MESSAGES_MAX if max_ is None else min(max_, MESSAGES_MAX)
        site.ready(name)  # whether it can be asked for at all
        if site.queue(name).topic is not None:
            raise Refused(f"queue {name!r} is a stream: `logstore consume` reads its topic")
        with site.consume(name, prefetch) as messages:
            _print(site, name, messages, render, output, stop, max_, follow=follow)
        output.check()
        stop.check()


def _print(
    site: "QueueSite",
    name: str,
    messages: "Consumer",
    render: "MessageRenderer",
    output: "Output",
    stop: "Stop",
    left: int | None,
    *,
    follow: bool,
) -> None:
    taken = False
    while left != 0 and not stop.asked:
        most = MESSAGES_MAX if left is None else min(left, MESSAGES_MAX)
        found = messages.get_many(most, POLL_S)
        if not found:
            if output.abandoned():
                return
            if follow or site.ready(name):
                continue
            found = messages.get_many(most, 0)  # what came while that was asked
            if not found:
                if not taken:
                    _tell_nothing_is_ready(name, stop)
                return
        taken = True
        printed = output.write(render(found))
        messages.ack(found[:printed])
        if printed < len(found):
            return
        if left is not None:
            left -= printed


def _tell_nothing_is_ready(queue: str, stop: "Stop") -> None:
    """Tell a user at a terminal that no message is ready."""
    from .progress import is_watched

    if is_watched() and not stop.asked:
        say(f"queue {queue} has no ready message", "info")


@app.command(cls=Client)
def purge(name: Name, yes: Yes = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Delete all ready messages of a queue.

    $ logstore queue purge mail
    """
    with queues_of(data, vhost) as site:
        if not yes:
            confirm(f"delete {counted(site.ready(name), 'message')} of queue {name}")
        count = site.purge(name)
    tell(f"purged queue {name} of {counted(count, 'message')}")


@app.command(cls=Client)
def delete(
    name: Name,
    if_unused: Annotated[
        bool, typer.Option("--if-unused", help="Refuse to delete a queue that has consumers.")
    ] = False,
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Refuse to delete a queue that has ready messages.")
    ] = False,
    yes: Yes = False,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Delete a queue and its messages.

    $ logstore queue delete mail
    """
    with queues_of(data, vhost) as site:
        if not yes:
            confirm(f"delete queue {name} and its {counted(site.ready(name), 'message')}")
        count = site.delete_queue(name, if_unused=if_unused, if_empty=if_empty)
    tell(f"deleted queue {name} and its {counted(count, 'message')}")
