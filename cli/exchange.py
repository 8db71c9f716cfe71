"""``logstore exchange``: declare, list, describe, bind, unbind, delete, publish."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command import INPUT, Command, Group
from .ends import put, say, tell
from .options import HERE, Data, Json
from .produce import InputFormat, chooser, wanted_of
from .queueing import (
    Arguments,
    Key,
    ToExchange,
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
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Source = Annotated[str, typer.Argument(metavar="EXCHANGE", show_default=False)]
Destination = Annotated[str, typer.Argument(metavar="DESTINATION", show_default=False)]


@app.callback()
def group(data: Data = HERE) -> None:
    """Make exchanges, bind queues to them, publish."""


@app.command(cls=Command)
def declare(
    name: Name,
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            rich_help_panel=INPUT,
            help="The type: direct, topic, fanout, headers, x-consistent-hash, x-random, or an"
            " installed one.",
        ),
    ] = "direct",
    transient: Annotated[
        bool, typer.Option("--transient", help="Make one that does not outlive its process.")
    ] = False,
    auto_delete: Annotated[
        bool, typer.Option("--auto-delete", help="Delete it with its last binding.")
    ] = False,
    internal: Annotated[
        bool, typer.Option("--internal", help="Take messages from other exchanges alone.")
    ] = False,
    alternate: Annotated[
        str | None,
        typer.Option(
            "--alternate",
            metavar="EXCHANGE",
            rich_help_panel=INPUT,
            help="The exchange that gets what this one has no queue for.",
        ),
    ] = None,
    argument: Arguments = None,
    data: Data = HERE,
) -> None:
    """Make an exchange, unless it exists.

    The data directory is created as well if it does not exist.

    $ logstore exchange declare events --type topic
    """
    arguments = argument_option(argument)
    with queues_of(data, create=True) as store:
        store.exchange(
            name, type_, durable=not transient, auto_delete=auto_delete, internal=internal,
            alternate=alternate, arguments=arguments,
        )  # fmt: skip
        tell(f"declared exchange {name} of type {type_}")


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List exchanges and count their bindings.

    $ logstore exchange list
    """
    rows = []
    with queues_of(data) as store:
        for name in store.exchanges():
            exchange = store.exchange(name)
            rows.append((str(shown(name)), exchange.type, len(exchange.bindings())))
    heads = ("exchange", "type", "bindings")
    if json_:
        put(as_json([dict(zip(heads, row, strict=True)) for row in rows]))
    else:
        put(table(heads, [(name or "(default)", type_, count) for name, type_, count in rows]))


@app.command(cls=Command)
def describe(name: Name, json_: Json = False, data: Data = HERE) -> None:
    """Show an exchange and its bindings.

    $ logstore exchange describe events
    """
    with queues_of(data) as store:
        put(_described(store, name, json_=json_))


def _described(store: "Store", name: str, *, json_: bool) -> str:
    from logstore.broker.queues.tables import table_of

    exchange = store.exchange(name)
    found, bindings = exchange.facts(), exchange.bindings()
    arguments = table_of(found.arguments)
    if json_:
        about = {
            "exchange": name, "type": found.type_name, "durable": found.durable,
            "auto_delete": found.auto_delete, "internal": found.internal,
            "arguments": shown(arguments), "bindings": list(map(binding_object, bindings)),
        }  # fmt: skip
        return as_json(about)
    text = facts((
        ("exchange", name), ("type", found.type_name), ("durable", _yes(found.durable)),
        ("auto-delete", _yes(found.auto_delete)), ("internal", _yes(found.internal)),
        ("arguments", arguments_text(arguments)),
    ))  # fmt: skip
    rows = [
        (str(shown(it.key)), it.kind, str(shown(it.destination)), arguments_text(it.arguments))
        for it in bindings
    ]
    return f"{text}\n{table(('key', 'to', 'name', 'arguments'), rows)}"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


@app.command(cls=Command)
def bind(
    exchange: Source,
    destination: Destination,
    key: Key = "",
    to_exchange: ToExchange = False,
    argument: Arguments = None,
    data: Data = HERE,
) -> None:
    """Have a queue get what an exchange takes.

    Which messages: those whose key matches, as the exchange's type understands it.

    $ logstore exchange bind events mail --key 'mail.#'
    """
    arguments = argument_option(argument)
    with queues_of(data) as store:
        if to_exchange:
            store.exchange(destination).bind(exchange, key, arguments)
        else:
            queue_handle(store, destination).bind(exchange, key, arguments)
    tell(f"bound {destination} to {exchange}")


@app.command(cls=Command)
def unbind(
    exchange: Source,
    destination: Destination,
    key: Key = "",
    to_exchange: ToExchange = False,
    argument: Arguments = None,
    data: Data = HERE,
) -> None:
    """Remove a binding.

    Key and arguments must be those that it was made with.

    $ logstore exchange unbind events mail --key 'mail.#'
    """
    arguments = argument_option(argument)
    with queues_of(data) as store:
        if to_exchange:
            store.exchange(destination).unbind(exchange, key, arguments)
        else:
            queue_handle(store, destination).unbind(exchange, key, arguments)
    tell(f"unbound {destination} from {exchange}")


@app.command(cls=Command)
def delete(
    name: Name,
    if_unused: Annotated[
        bool, typer.Option("--if-unused", help="Only if nothing is bound to it.")
    ] = False,
    yes: Yes = False,
    data: Data = HERE,
) -> None:
    """Delete an exchange and its bindings.

    $ logstore exchange delete events
    """
    with queues_of(data) as store:
        exchange = store.exchange(name)
        count = len(exchange.bindings())
        confirm(f"delete exchange {name} and {counted(count, 'binding')}", yes=yes)
        exchange.delete(if_unused=if_unused)
    tell(f"deleted exchange {name}")


@app.command(cls=Command)
def publish(
    exchange: Source,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The input; defaults to standard input.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", metavar="TEXT", rich_help_panel=INPUT, help="Publish this, and no input."
        ),
    ] = None,
    format_: Annotated[
        InputFormat,
        typer.Option(
            "--format",
            rich_help_panel=INPUT,
            help="What the input is: raw, json, csv, or auto, as for `logstore produce`.",
        ),
    ] = InputFormat.AUTO,
    key: Annotated[
        str | None, typer.Option("--key", help="One routing key for every message.")
    ] = None,
    key_field: Annotated[
        str | None,
        typer.Option("--key-field", metavar="FIELD", help="The field that is the routing key."),
    ] = None,
    value_field: Annotated[
        str | None,
        typer.Option(
            "--value-field",
            metavar="FIELD",
            help="The field that is the message's body; defaults to the whole line.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME=VALUE", help="A header for every message; may be repeated."
        ),
    ] = None,
    header_field: Annotated[
        list[str] | None,
        typer.Option(
            "--header-field", metavar="FIELD", help="A field to send as a header; may be repeated."
        ),
    ] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            metavar="NAME=VALUE",
            rich_help_panel=INPUT,
            help="A property of every message, such as priority=5, expiration=60000 (ms),"
            " content_type=text/plain, message_id or reply_to; may be repeated.",
        ),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error",
            metavar="stop|skip",
            help="What to do about a line that is not a message: stop there, or skip and count it.",
        ),
    ] = "stop",
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Show progress; defaults to yes if standard error is a terminal.",
        ),
    ] = None,
    data: Data = HERE,
) -> None:
    """Publish each input line as one message.

    Exits with 0 only after every message is on disk. The empty name is the default exchange, which
    has each queue by its name as the key.

    $ logstore exchange publish events --key mail.new --message hello
    $ logstore exchange publish events --key-field kind --property priority=5 < events.jsonl
    """
    from .intake import Input, Intake, Skipped
    from .lines import LineInput
    from .progress import progress_for
    from .publishing import MessageSink, properties_option
    from .stop import Stop

    if on_error not in ("stop", "skip"):
        raise typer.BadParameter(f"{on_error!r}: takes stop or skip", param_hint="'--on-error'")
    properties = properties_option(property_)
    wanted = wanted_of(key_field, None, value_field, header, header_field, key)
    choose = chooser(format_, wanted)
    if message is not None and (file is not None or wanted.fields):
        raise typer.BadParameter("--message takes the place of FILE and its fields")
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        source = None if message is not None else stack.enter_context(Input(file, stop))
        store = stack.enter_context(queues_of(data))
        sink = MessageSink(store.exchange(exchange), properties)
        if source is None:
            assert message is not None
            sink.send(message, wanted)
            tell(f"published {counted(sink.acknowledged, 'message')} to {exchange or 'queues'}")
        else:
            Intake(
                source, LineInput(choose), sink, topic=exchange or "queues",
                progress=progress_for(progress, source.size, "message"),
                did="published", noun="message", policies="skip",
                bad_lines=None if on_error == "stop" else Skipped(rows=format_ == "csv"),
            ).run()  # fmt: skip
        if sink.unrouted:
            say(f"{counted(sink.unrouted, 'message')} went to no queue")
