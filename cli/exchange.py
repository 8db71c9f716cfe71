"""``logstore exchange``: declare, list, describe, bind, unbind, delete, publish."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .command import INPUT, SETTINGS, Command, Group
from .ends import put, tell
from .login_options import Client
from .misnamed import Instead
from .options import HERE, Data, Json
from .publish import publish
from .queue_site import BindingFacts
from .queueing import (
    JSON_OR_TEXT,
    BindingArguments,
    Key,
    ToExchange,
    Vhost,
    Yes,
    argument_option,
    arguments_text,
    binding_object,
    confirm,
    queues_of,
    shown,
    yes_or_no,
)
from .show import as_json, counted, facts, table

if TYPE_CHECKING:
    from .queue_site import ExchangeAbout, QueueSite

app = typer.Typer(cls=Group, no_args_is_help=True)

KEYS_SHOWN = 5  # of bindings, in a message
BINDING = Instead(
    queue="the exchange comes first",
    topic="bind it with --to topic:{}",
    exchange="bind it with --to-exchange",
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Source = Annotated[str, typer.Argument(metavar="EXCHANGE", show_default=False)]
Destination = Annotated[str | None, typer.Argument(metavar="[DESTINATION]", show_default=False)]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TARGET",
        rich_help_panel=INPUT,
        help="A topic or a channel as destination: topic:NAME or channel:NAME.",
    ),
]


@app.callback()
def group(data: Data = HERE) -> None:
    """Make exchanges, bind queues to them, publish."""


@app.command(cls=Client)
def declare(
    name: Name,
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            rich_help_panel=SETTINGS,
            help="The type: direct, topic, fanout, headers, x-consistent-hash, x-random,"
            " x-topic, x-channel, x-delayed-message, or an installed type.",
        ),
    ] = "direct",
    transient: Annotated[
        bool,
        typer.Option(
            "--transient",
            help="Delete the exchange when the server stops, or when this command ends if no server"
            " runs.",
        ),
    ] = False,
    auto_delete: Annotated[
        bool,
        typer.Option("--auto-delete", help="Delete the exchange together with its last binding."),
    ] = False,
    internal: Annotated[
        bool,
        typer.Option(
            "--internal", help="Accept messages from other exchanges only, not from clients."
        ),
    ] = False,
    alternate: Annotated[
        str | None,
        typer.Option(
            "--alternate",
            metavar="EXCHANGE",
            rich_help_panel=SETTINGS,
            help="The exchange that receives messages for which no binding matches.",
        ),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            "--argument",
            metavar="NAME=VALUE",
            rich_help_panel=SETTINGS,
            help="An argument of the exchange's type, such as x-delayed-type=topic of"
            f" x-delayed-message. {JSON_OR_TEXT}",
        ),
    ] = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Create an exchange, unless it exists.

    Creates the data directory, too, if it does not exist.

    $ logstore exchange declare events --type topic
    """
    arguments = argument_option(argument)
    if alternate is not None:
        arguments["alternate-exchange"] = alternate
    with queues_of(data, vhost, create=True) as site:
        site.declare_exchange(
            name, type_, durable=not transient, auto_delete=auto_delete, internal=internal,
            arguments=arguments,
        )  # fmt: skip
        tell(f"declared exchange {name} of type {type_}")


@app.command("list", cls=Command)
def list_(json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """List exchanges and count their bindings.

    `logstore exchange describe NAME` shows the bindings of an exchange.

    $ logstore exchange list
    """
    with queues_of(data, vhost) as site:
        rows = [(str(shown(it.name)), it.type, it.bindings) for it in site.exchanges()]
    heads = ("exchange", "type", "bindings")
    if json_:
        put(as_json([dict(zip(heads, row, strict=True)) for row in rows]))
    else:
        put(table(heads, [(name or "(default)", type_, count) for name, type_, count in rows]))


@app.command(cls=Command)
def describe(name: Name, json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Show an exchange and its bindings.

    $ logstore exchange describe events
    """
    with queues_of(data, vhost) as site:
        about = site.exchange(name)
    put(_described(name, about, json_=json_))


def _described(name: str, about: "ExchangeAbout", *, json_: bool) -> str:
    if json_:
        return as_json({
            "exchange": shown(name), "type": about.type, "durable": about.durable,
            "auto_delete": about.auto_delete, "internal": about.internal,
            "arguments": shown(about.arguments),
            "bindings": list(map(binding_object, about.bindings)),
        })  # fmt: skip
    text = facts((
        ("exchange", name), ("type", about.type), ("durable", yes_or_no(about.durable)),
        ("auto-delete", yes_or_no(about.auto_delete)), ("internal", yes_or_no(about.internal)),
        ("arguments", arguments_text(about.arguments)),
    ))  # fmt: skip
    rows = [
        (str(shown(it.key)), it.kind, str(shown(it.destination)), arguments_text(it.arguments))
        for it in about.bindings
    ]
    return f"{text}\n{table(('key', 'to', 'name', 'arguments'), rows)}"


@app.command(cls=Client)
def bind(
    exchange: Source,
    destination: Destination = None,
    key: Key = "",
    to_exchange: ToExchange = False,
    to: To = None,
    argument: BindingArguments = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Bind a destination to an exchange.

    The destination is a queue, a topic, a channel or an exchange. It receives messages whose
    routing key matches, according to the exchange's type. For a topic, the exchange topic:NAME is
    declared, which appends to the topic.

    $ logstore exchange bind events mail --key 'mail.#'
    $ logstore exchange bind orders --to topic:audit --key 'order.#'
    """
    binding = _binding(exchange, destination, key, argument, to_exchange=to_exchange, to=to)
    with queues_of(data, vhost, instead=BINDING) as site:
        if to is not None:
            _declare_leading(site, to)
        site.bind(binding)
    tell(f"bound {binding.destination} to {exchange} with key {key!r}")


def _declare_leading(site: "QueueSite", to: str) -> None:
    """Declare the exchange that leads to a destination such as ``topic:audit``."""
    from logstore.broker.queues.handles import leading_of

    type_name, name = leading_of(to)
    if to.startswith("topic:"):
        site.check_topic(name)
    site.declare_exchange(
        to, type_name, durable=True, auto_delete=False, internal=False,
        arguments={"x-target": name},
    )  # fmt: skip


@app.command(cls=Client)
def unbind(
    exchange: Source,
    destination: Destination = None,
    key: Key = "",
    to_exchange: ToExchange = False,
    to: To = None,
    argument: BindingArguments = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Remove a binding.

    The key and the arguments must be those with which the binding was made.

    $ logstore exchange unbind events mail --key 'mail.#'
    $ logstore exchange unbind orders --to topic:audit --key 'order.#'
    """
    binding = _binding(exchange, destination, key, argument, to_exchange=to_exchange, to=to)
    with queues_of(data, vhost, instead=BINDING) as site:
        bindings = site.exchange(exchange).bindings
        site.unbind(binding)  # has no effect without a binding, as in AMQP
        _check_bound(site, binding, bindings)
    tell(f"unbound {binding.destination} from {exchange} with key {key!r}")


def _check_bound(
    site: "QueueSite", binding: BindingFacts, bindings: Sequence[BindingFacts]
) -> None:
    """Check that the binding exists. Raises Refused with similar bindings; NoQueue, NoExchange."""
    from logstore.errors import Refused

    between = [
        it for it in bindings
        if (it.destination, it.kind) == (binding.destination, binding.kind)
    ]  # fmt: skip
    of_key = [it for it in between if it.key == binding.key]
    if any(shown(it.arguments) == shown(binding.arguments) for it in of_key):
        return
    what = f"{binding.destination} is not bound to {binding.source}"
    if of_key:
        given = " or ".join(arguments_text(it.arguments) or "none" for it in of_key)
        raise Refused(f"{what} with these arguments; name those of the binding: {given}")
    if between:
        keys = ", ".join(map(repr, sorted(it.key for it in between)[:KEYS_SHOWN]))
        raise Refused(f"{what} with key {binding.key!r}, but with {keys}; name the key with --key")
    (site.queue if binding.kind == "queue" else site.exchange)(binding.destination)
    raise Refused(f"{what}; `logstore exchange describe` shows its bindings")


def _binding(
    exchange: str,
    destination: str | None,
    key: str,
    argument: list[str] | None,
    *,
    to_exchange: bool,
    to: str | None,
) -> BindingFacts:
    if to is not None:
        from logstore.broker.queues.handles import leading_of

        if destination is not None or to_exchange:
            raise typer.BadParameter(
                "--to names the destination: leave out DESTINATION and --to-exchange"
            )
        leading_of(to)  # before anything is opened
        return BindingFacts(exchange, to, "exchange", key, argument_option(argument))
    if destination is None:
        raise typer.BadParameter(
            "no destination is given: name DESTINATION, or use --to topic:NAME"
        )
    kind = "exchange" if to_exchange else "queue"
    return BindingFacts(exchange, destination, kind, key, argument_option(argument))


@app.command(cls=Client)
def delete(
    name: Name,
    if_unused: Annotated[
        bool, typer.Option("--if-unused", help="Refuse to delete an exchange that has bindings.")
    ] = False,
    yes: Yes = False,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Delete an exchange and its bindings.

    $ logstore exchange delete events
    """
    with queues_of(data, vhost) as site:
        if not yes:
            count = len(site.exchange(name).bindings)
            confirm(f"delete exchange {name} and {counted(count, 'binding')}")
        site.delete_exchange(name, if_unused=if_unused)
    tell(f"deleted exchange {name}")


app.command(cls=Client)(publish)
