"""SEND: messages to exchanges and queues, which are declared if their destination requires it."""

from typing import Final

from logstore.access.resources import CREATE, QUEUE
from logstore.amqp.replies import PRECONDITION_FAILED, Refusal
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.settling import Outgoing
from logstore.broker.queues.tables import arguments_of, table_of
from logstore.protocols.rabbit_asks import to_consume, to_declare
from logstore.protocols.rabbit_permits import Ask
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.mapping import (
    arguments,
    check_names,
    declared,
    properties_of,
)
from logstore.protocols.stomp.prepared import Prepared
from logstore.protocols.stomp.subscription import StompSubscription
from logstore.protocols.stomp.transaction import Transaction
from logstore.stomp.destinations import TEMP_PREFIX, Destination, Kind, parse
from logstore.stomp.faults import BadDestination, StompFault, invalid_header
from logstore.stomp.frames import Frame, Headers, text

REPLY_QUEUES_MAX: Final = 1000  # of one connection, which names them


def send(of: StompClient, frame: Frame) -> None:
    """Publish the message of a SEND. Raises StompFault and the errors of queues."""
    headers = frame.headers
    outgoing = _outgoing(of, _prepared(of, headers), frame)
    transaction, receipt = headers.get("transaction"), headers.get("receipt")
    if transaction is not None:
        # The receipt is sent with the commit: before that nothing is published.
        transaction_of(of, transaction).publish(outgoing, receipt)
    else:
        of.outbox.add(outgoing, receipt)


def transaction_of(of: StompClient, name: str) -> Transaction:
    """The open transaction of this name. Raises StompFault."""
    found = of.transactions.get(name)
    if found is None:
        raise StompFault("Bad transaction", f'Invalid transaction identifier: "{name}"\n')
    return found


def destination_of(headers: Headers, command: str) -> Destination:
    """The frame's destination. Raises StompFault."""
    given = headers.get("destination")
    if given is None:
        raise StompFault(
            "Missing destination", f"\"{command}\" must include a 'destination' header\n"
        )
    destination = parse(given)
    if destination.kind is Kind.TEMP_QUEUE:
        raise BadDestination(
            "Invalid destination", f"'{given}' is not a valid destination for '{command}'\n"
        )
    check_names(destination)
    return destination


def queue_facts(destination: Destination, name: bytes, headers: Headers) -> QueueFacts:
    """The facts with which the queue is declared. Raises StompFault."""
    durable, exclusive, auto_delete = declared(destination, headers)
    return QueueFacts(name, durable, exclusive, auto_delete, arguments_of(arguments(headers)))


def declare(of: StompClient, facts: QueueFacts) -> tuple[Named, Pending | None]:
    """Declare a queue; also returns what is still to be stored. Raises Refusal, errors of
    queues.
    """
    of.require(to_declare(of.vhost, facts.name, table_of(facts.arguments)))
    of.door.counts.queues_declared += 1
    return of.vhost.declare_queue(facts, of)


def _prepared(of: StompClient, headers: Headers) -> Prepared:
    """The prepared form of the headers. Raises as ``send``."""
    known, key = of.known.of(headers, of.door.access.version)
    if known is not None:
        return known
    if "message-id" in headers:
        raise invalid_header("'message-id' is not allowed on 'SEND'.\n")
    destination = destination_of(headers, "SEND")
    facts = None
    if destination.kind is Kind.QUEUE:
        facts = queue_facts(destination, destination.name, headers)
        declare(of, facts)
    props = properties_of(headers, _reply_to(of, headers.get("reply-to")))
    user = headers.get("user-id")
    if user is not None and not of.permits.may_claim(user):
        raise Refusal(
            PRECONDITION_FAILED,
            f"user_id property set to '{user}' but authenticated user was '{of.permits.user}'",
        )
    found = Prepared(*destination.routing, props, facts)
    of.known.add(headers, key, found)
    return found


def _outgoing(of: StompClient, prepared: Prepared, frame: Frame) -> Outgoing:
    exchange, key, props, facts = prepared
    vhost = of.vhost
    if facts is not None and vhost.topology.queue(facts.name) is None:
        declare(of, facts)  # it has gone since
    keyed = of.permits.check_publish(exchange)
    vhost.topology.check_publish(exchange)
    message = Message(exchange, key, props, frame.body)
    if keyed:
        of.check_keys(message)
    return vhost.route(message), message


# Replies


def _reply_to(of: StompClient, given: str | None) -> str | None:
    """The address for replies: for a temporary queue, the queue behind it."""
    if given is None or not given.startswith(TEMP_PREFIX):
        return given
    name = parse(given).name
    known = of.reply_queues.get(name)
    if known is None or of.vhost.topology.queue(known) is None:
        if len(of.reply_queues) >= REPLY_QUEUES_MAX:
            raise invalid_header(
                f"reply-to: at most {REPLY_QUEUES_MAX} temporary queues of one connection"
            )
        known = of.reply_queues[name] = _new_reply_queue(of, given)
    return text(known)


def _new_reply_queue(of: StompClient, given: str) -> bytes:
    """A new queue of the connection, with a subscription whose id is the destination."""
    name = b"stomp.gen-" + of.door.token().encode()
    of.require([Ask(CREATE, QUEUE, name), *to_consume(of.vhost, name)])
    facts = QueueFacts(name, exclusive=True, auto_delete=True)
    queue, _ = of.vhost.declare_queue(facts, of)
    tag = f"T_{given}"
    subscription = StompSubscription(of, of, queue, tag, shown=given)
    queue.subscribe(subscription)
    of.subscriptions[tag] = subscription
    return name
