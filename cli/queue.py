"""``logstore queue``: declare, list, describe, get, consume, purge, delete."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .command import Command, Group
from .ends import put, tell
from .options import HERE, Data, Json
from .queueing import (
    Arguments,
    Yes,
    argument_option,
    arguments_text,
    binding_object,
    confirm,
    queue_handle,
    queues_of,
    shown,
)
from .show import as_json, counted, facts, table

if TYPE_CHECKING:
    from logstore.broker.queues.handles import Queue
    from logstore.broker.queues.received import QueueConsumer, QueueMessage
    from logstore.store import Store

    from .message_lines import MessageRenderer
    from .output import Output
    from .stop import Stop

MESSAGES_MAX = 500  # at once: printed soon enough that a signal is heard
POLL_S = 0.1  # how long a signal may go unheard while nothing comes

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
MessageFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="How a message is printed: raw (its body), json, hex, or a template such as"
        " '{key} {body}'; fields: queue exchange key body redelivered headers properties.",
    ),
]


@app.callback()
def group(data: Data = HERE) -> None:
    """Make queues, look at them, take their messages."""


@app.command(cls=Command)
def declare(
    name: Name,
    transient: Annotated[
        bool, typer.Option("--transient", help="Make one that does not outlive its process.")
    ] = False,
    auto_delete: Annotated[
        bool, typer.Option("--auto-delete", help="Delete it with its last consumer.")
    ] = False,
    argument: Arguments = None,
    data: Data = HERE,
) -> None:
    """Make a queue, unless it exists.

    The data directory is created as well if it does not exist.

    $ logstore queue declare mail --argument x-max-priority=5
    """
    arguments = argument_option(argument)
    with queues_of(data, create=True) as store:
        queue = store.queue(
            name, durable=not transient, auto_delete=auto_delete, arguments=arguments
        )
        tell(f"declared queue {queue.name}")


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List queues and count their messages.

    $ logstore queue list
    """
    rows = []
    with queues_of(data) as store:
        for name in store.queues():
            counts = queue_handle(store, name).counts()
            rows.append((str(shown(name)), counts.ready, counts.unacked))
    heads = ("queue", "ready", "unacked")
    if json_:
        put(as_json([dict(zip(heads, row, strict=True)) for row in rows]))
    else:
        put(table(heads, rows))


@app.command(cls=Command)
def describe(name: Name, json_: Json = False, data: Data = HERE) -> None:
    """Show a queue, its counts and bindings.

    $ logstore queue describe mail
    """
    with queues_of(data) as store:
        put(_described(store, name, json_=json_))


def _described(store: "Store", name: str, *, json_: bool) -> str:
    queue = queue_handle(store, name)
    found, counts, bindings = queue.facts(), queue.counts(), queue.bindings()
    if json_:
        about = {
            "queue": name, "durable": found.durable, "auto_delete": found.auto_delete,
            "arguments": shown(queue.arguments), "ready": counts.ready,
            "unacked": counts.unacked, "bindings": list(map(binding_object, bindings)),
        }  # fmt: skip
        return as_json(about)
    text = facts((
        ("queue", name), ("durable", "yes" if found.durable else "no"),
        ("auto-delete", "yes" if found.auto_delete else "no"),
        ("arguments", arguments_text(queue.arguments)),
        ("ready", counts.ready), ("unacked", counts.unacked),
    ))  # fmt: skip
    rows = [
        (str(shown(it.source)) or "(default)", str(shown(it.key)), arguments_text(it.arguments))
        for it in bindings
    ]
    return f"{text}\n{table(('exchange', 'key', 'arguments'), rows)}"


@app.command(cls=Command)
def get(
    name: Name,
    max_: Annotated[
        int, typer.Option("--max", min=1, metavar="N", help="Take at most so many messages.")
    ] = 1,
    requeue: Annotated[
        bool,
        typer.Option("--requeue", help="Only show them: each goes back to its place afterwards."),
    ] = False,
    format_: MessageFormat = "raw",
    data: Data = HERE,
) -> None:
    """Take the first messages and print them.

    They are gone once they are printed, unless --requeue is given.

    $ logstore queue get mail --requeue --format json
    """
    from .message_lines import message_format
    from .output import Output
    from .stop import Stop

    render = message_format(format_)
    with Stop() as stop, queues_of(data) as store:
        output, queue = Output(stop), queue_handle(store, name)
        held: list[QueueMessage] = []
        for _ in range(max_):
            message = queue.get()
            if message is None or stop.asked:
                break
            if not output.write(render([message])):
                break
            if requeue:
                held.append(message)  # until all were shown; closing the store gives it back
            else:
                message.ack()
        output.check()
        stop.check()


@app.command(cls=Command)
def consume(
    name: Name,
    max_: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many messages.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more messages at the end.")
    ] = False,
    format_: MessageFormat = "raw",
    data: Data = HERE,
) -> None:
    """Take messages and print them.

    Each is acknowledged once it is printed. Ends when none is ready, unless --follow is given.

    $ logstore queue consume mail
    $ logstore queue consume mail --follow --format '{key} {body}'
    """
    from .message_lines import message_format
    from .output import Output
    from .stop import Stop

    render = message_format(format_)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        store = stack.enter_context(queues_of(data))
        output, queue = Output(stop), queue_handle(store, name)
        prefetch = MESSAGES_MAX if max_ is None else min(max_, MESSAGES_MAX)
        with queue.consume(prefetch) as messages:
            _print(queue, messages, render, output, stop, max_, follow=follow)
        output.check()
        stop.check()


def _print(
    queue: "Queue",
    messages: "QueueConsumer",
    render: "MessageRenderer",
    output: "Output",
    stop: "Stop",
    left: int | None,
    *,
    follow: bool,
) -> None:
    while left != 0 and not stop.asked:
        found = messages.get_many(MESSAGES_MAX if left is None else left, POLL_S)
        if not found:
            if (not follow and not queue.counts().ready) or output.abandoned():
                return
            continue
        printed = output.write(render(found))
        messages.ack(found[:printed])
        if printed < len(found):
            return
        if left is not None:
            left -= printed


@app.command(cls=Command)
def purge(name: Name, yes: Yes = False, data: Data = HERE) -> None:
    """Delete all ready messages of a queue.

    $ logstore queue purge mail
    """
    with queues_of(data) as store:
        queue = queue_handle(store, name)
        confirm(f"delete {counted(queue.counts().ready, 'message')} of queue {name}", yes=yes)
        count = queue.purge()
    tell(f"purged queue {name} of {counted(count, 'message')}")


@app.command(cls=Command)
def delete(
    name: Name,
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Only if it has no ready messages.")
    ] = False,
    yes: Yes = False,
    data: Data = HERE,
) -> None:
    """Delete a queue and its messages.

    $ logstore queue delete mail
    """
    with queues_of(data) as store:
        queue = queue_handle(store, name)
        ready = counted(queue.counts().ready, "message")
        confirm(f"delete queue {name} and its {ready}", yes=yes)
        count = queue.delete(if_empty=if_empty)
    tell(f"deleted queue {name} and its {counted(count, 'message')}")
