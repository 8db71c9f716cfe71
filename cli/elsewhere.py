"""Commands and options of the tools of Kafka, RabbitMQ and Redis, and what to type here instead.

Read only once a command line is wrong.
"""

from typing import Any, Final

# By option: what to type here, if the command has the option that it begins with.
OPTIONS: Final = {
    name: typed
    for names, typed in (
        ("--from-beginning", "--from earliest"),
        ("--offset --start --since", "--from"),
        ("--tail", "--from -N"),
        ("--until --end", "--to"),
        ("--time", "--at PLACE"),
        ("--max-messages --limit --count -n -c", "--max N"),
        ("--bootstrap-server --broker-list --brokers -b", "--bootstrap HOST:PORT"),
        ("--group-id --consumer-group -g", "--group GROUP"),
        ("--property --formatter --print-key", "--format '{key} {value}'"),
        ("--retention", "--config retention.ms=7d"),
        ("--routing-key -r", "--key KEY"),
        ("--payload --body --value -m", "--message TEXT"),
        ("--priority", "--property priority=N"),
        ("--expiration --ttl", "--property expiration=90s"),
        ("--queue-type --type", "--argument x-queue-type=TYPE"),
        ("--max-priority", "--argument x-max-priority=N"),
        ("--message-ttl", "--argument x-message-ttl=1h"),
        ("--max-length", "--argument x-max-length=N"),
        ("--dead-letter-exchange", "--argument x-dead-letter-exchange=NAME"),
        ("--dead-letter-routing-key", "--argument x-dead-letter-routing-key=KEY"),
        ("--to-earliest", "--to earliest"),
        ("--to-latest", "--to latest"),
        ("--to-offset --to-datetime", "--to PLACE"),
        ("--to-topic --into-topic", "--into TOPIC"),
        ("--rate", "--speed X"),
        ("--format --output -o", "--json"),
        ("--force -y", "--yes"),
        ("-d --dir --path", "--data DIR"),
        ("-V", "--version"),
        ("-h", "--help"),
    )
    for name in names.split()
}
# By command and option, if the answer is a sentence.
SENTENCES: Final = {
    (command, name): sentence
    for command, names, sentence in (
        ("produce", "--property --key-separator", "--key-field takes the key from a field"),
        ("channel publish", "--message -m", "the message is an argument: NAME MESSAGE"),
        ("consume", "--timeout-ms", "consume stops at the end unless --follow is given"),
        ("topic create", "--replication-factor", "a data directory has no replicas"),
        ("queue declare", "--durable", "a queue is durable unless --transient is given"),
        ("exchange declare", "--durable", "an exchange is durable unless --transient is given"),
        ("group reset-offsets", "--execute", "the group is moved unless --dry-run is given"),
        ("queue get", "--ackmode", "--requeue or --reject; without them, it is acknowledged"),
        ("policy set", "--pattern --definition", "they are arguments: NAME PATTERN DEFINITION"),
        ("serve", "--port -p", "each protocol has its own port, such as --kafka-port"),
    )
    for name in names.split()
}
# Options of other tools for a name that is an argument here.
NAMES: Final = ("--topic", "--group", "--queue", "--exchange", "--channel", "--name")
# By the parent command (empty for `logstore` itself) and the word: the words to type instead.
COMMANDS: Final = {
    (group, word): tuple(typed.split(", "))
    for group, words, typed in (
        ("", "help", "--help"),
        ("", "version", "--version"),
        ("", "list ls", "topic list, queue list, group list"),
        ("", "describe", "topic describe, queue describe, group describe"),
        ("", "create", "topic create, queue declare"),
        ("", "topics", "topic list"),
        ("", "groups", "group list"),
        ("", "queues list_queues", "queue list"),
        ("", "exchanges list_exchanges", "exchange list"),
        ("", "list_bindings", "exchange describe"),
        ("", "users list_users", "user list"),
        ("", "add_user", "user add"),
        ("", "vhosts list_vhosts", "vhost list"),
        ("", "add_vhost", "vhost add"),
        ("", "set_permissions", "permission set"),
        ("", "set_policy", "policy set"),
        ("", "purge_queue", "queue purge"),
        ("", "delete_queue", "queue delete"),
        ("", "export_definitions", "definitions export"),
        ("", "import_definitions", "definitions import"),
        ("", "publish", "produce, exchange publish, channel publish"),
        ("", "subscribe", "consume, channel subscribe"),
        ("", "psubscribe", "channel psubscribe"),
        ("", "declare", "queue declare, exchange declare"),
        ("", "bind", "exchange bind"),
        ("", "get", "queue get, keys get"),
        ("", "cat read tail", "consume"),
        ("", "append send write", "produce"),
        ("", "run server start", "serve"),
        ("", "monitor stats", "top"),
        ("", "info ping", "status, doctor"),
        ("topic", "remove rm", "topic delete"),
        ("group", "remove rm", "group delete"),
        ("exchange", "remove rm", "exchange delete"),
        ("queue", "remove rm", "queue delete"),
        ("queue", "bind", "exchange bind"),
        ("queue", "unbind", "exchange unbind"),
        ("queue", "publish", "exchange publish"),
        ("queue", "add create", "queue declare"),
        ("exchange", "add create", "exchange declare"),
        ("topic", "add declare", "topic create"),
        ("topic", "produce", "produce"),
        ("topic", "consume", "consume"),
        ("topic", "get-offsets list-offsets", "topic offsets"),
        ("group", "reset", "group reset-offsets"),
        ("config", "get list", "config show"),
        ("config", "set", "topic alter"),
    )
    for word in words.split()
}


def instead_of_option(name: str, command: Any, path: str) -> str:  # noqa: ANN401  typer's own
    """A hint to append to "no such option: --topic" of the command at this path; often empty."""
    sentence = SENTENCES.get((path, name))
    if sentence is not None:
        return f"; {sentence}"
    options = {it for parameter in command.params for it in parameter.opts}
    typed = OPTIONS.get(name)
    if typed is not None and typed.split()[0] in {*options, "--help"}:
        return f" (did you mean {typed}?)"
    if name.removeprefix("--") in getattr(command, "commands", ()):
        return f" (did you mean `logstore {path} {name.removeprefix('--')}`?)"
    if name in NAMES and _takes(name.removeprefix("--"), command, path):
        return f"; give the name without {name}"
    return ""


def _takes(noun: str, command: Any, path: str) -> bool:  # noqa: ANN401
    """Whether an argument of the command is the name of a topic, or of another ``noun``."""
    arguments = [it for it in command.params if it.param_type_name == "argument"]
    if path.split()[:1] == [noun]:
        return bool(arguments)
    return any(noun.upper() in it.make_metavar(None) for it in arguments)


def instead_of_command(word: str, path: str) -> str:
    """A hint to append to "no such command 'list_queues'" below the command at this path."""
    typed = COMMANDS.get((path, word))
    if typed is None:
        return ""
    return f" (did you mean {' or '.join(f'`logstore {it}`' for it in typed)}?)"
