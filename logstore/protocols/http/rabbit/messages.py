"""Messages: publish one, and fetch some from a queue to show them.

Fetched messages are delivered as to any consumer, and requeued or settled in the same turn as the
reply: a requeued message is ``redelivered`` from then on. The native API shows messages without
this effect.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

from logstore.amqp import properties
from logstore.amqp.fields import data, text
from logstore.amqp.properties import Properties
from logstore.broker.queues import acts
from logstore.broker.queues.acts import Fetched, Group, Routed
from logstore.broker.queues.given import NUMBERS, SHORT_BYTES_MAX, name_of
from logstore.broker.queues.message import Message
from logstore.broker.queues.subscription import Got
from logstore.errors import Forbidden, LogstoreError, StorageFull
from logstore.http.bodies import JSON
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import then
from logstore.protocols.http.rabbit.asked import SHOWN_CHARACTERS, Asked
from logstore.protocols.http.rabbit.tables import table, table_given
from logstore.protocols.http.rabbit.words import bad_request, of_channel

PUBLISHED_BYTES_MAX: Final = 4 << 20  # of a request: a millisecond's work each MiB
WHOLE_BYTES_MAX: Final = 64 << 10  # of bodies that are made text in one turn
AUTO, BASE64 = "auto", "base64"
# What becomes of what was fetched.
_MODES: Final[dict[str, Callable[[Group], None]]] = {
    "ack_requeue_true": acts.returned,
    "reject_requeue_true": acts.returned,
    "ack_requeue_false": acts.settled,
    "reject_requeue_false": acts.rejected,
}


# Publishing


def published(door: HttpDoor, call: Call) -> None:
    """Publish a message; the reply, whether a queue took it, follows once it is safe. Raises
    RabbitFault.
    """
    within, name = sight.to_use(door, call), sight.exchange_name(call.names["name"])
    asked = Asked(call.given)
    asked.need("properties", "routing_key", "payload", "payload_encoding")
    key = name_of(asked.text("routing_key"), "routing key")
    message = Message(name, key, _properties(asked.get("properties")), _payload(asked))

    def taken(routed: object) -> None:
        assert isinstance(routed, Routed)
        counts = door.figures.amqp
        counts.received += 1
        counts.routed += routed.taken
        counts.dropped += not routed.taken
        if routed.refused:
            raise bad_request("rejected Unable to publish message. Check queue limits.")
        call.answer({"routed": routed.taken})

    try:
        within.publish(message, then(call, taken))
    except (Forbidden, StorageFull):
        raise
    except LogstoreError as error:
        raise of_channel(error, text(within.vhost.name)) from None


def _payload(asked: Asked) -> bytes:
    """Raises RabbitFault."""
    payload, encoding = asked.get("payload"), asked.text("payload_encoding")
    if not isinstance(payload, str):
        raise bad_request("payload_not_string")
    if encoding == "string":
        return data(payload)
    if encoding != BASE64:
        raise bad_request(["unsupported_encoding", encoding[:SHOWN_CHARACTERS]])
    try:
        return b64decode(payload, validate=True)
    except ValueError:
        raise bad_request(["not_base64", payload[:SHOWN_CHARACTERS]]) from None


def _properties(given: Any) -> bytes:  # noqa: ANN401  what JSON holds
    """The known properties; other names are ignored. Raises RabbitFault."""
    if given == []:
        given = {}
    if not isinstance(given, dict):
        raise bad_request(["not_a_table", "properties"])
    found = {
        name: _property(name, it) for name, it in given.items()
        if name in Properties._fields and it is not None
    }  # fmt: skip
    return properties.write(Properties(**found))


def _property(name: str, given: Any) -> Any:  # noqa: ANN401
    if name == "headers":
        return table_given(given)
    if name in NUMBERS:
        whole = isinstance(given, int) and not isinstance(given, bool)
        if not (whole and 0 <= given <= NUMBERS[name]):
            raise bad_request(["not_int", name])
        return given
    if not isinstance(given, str):
        raise bad_request(["not_string", name])
    if len(data(given)) > SHORT_BYTES_MAX:
        raise bad_request(f"property {name} takes at most {SHORT_BYTES_MAX} bytes")
    return given


# Fetching


def fetched(door: HttpDoor, call: Call) -> None:
    """Fetch messages from the front, each with the number behind it. Raises RabbitFault, Locked."""
    within, name = sight.to_use(door, call), call.names["name"]
    asked = Asked(call.given)
    asked.need("ackmode", "count", "encoding")
    settle, encoding = _MODES.get(asked.text("ackmode")), asked.text("encoding")
    if settle is None:
        raise bad_request(f"ackmode is one of {', '.join(_MODES)}")
    if encoding not in (AUTO, BASE64):
        raise bad_request("Unsupported encoding. Please use auto or base64.")
    truncate = asked.number("truncate") if "truncate" in asked else None
    count = asked.number("count")
    if truncate is not None and truncate < 0:
        raise bad_request(["not_integer", truncate])

    def got(fetched: Fetched) -> None:
        # Of what nobody waits for any more nothing is lost.
        fetched.end(acts.given_back if call.over else settle)
        if fetched.error is not None and not fetched.messages:
            raise fetched.error
        found, size = fetched.messages, sum(len(it.delivery.body) for it in fetched.messages)
        if len(found) <= lists.WHOLE_MAX and size <= WHOLE_BYTES_MAX:
            call.answer([_shown(it, encoding, truncate) for it in found])
        elif not call.over:
            call.stream(JSON, lists.parts_of([_shown(it, encoding, truncate)] for it in found))

    within.fetch(name, max(count, 0), lambda it: call.attempt(lambda: got(it)))


def _shown(got: Got, encoding: str, truncate: int | None) -> dict[str, Any]:
    it = got.delivery
    payload, said = _encoded(it.body if truncate is None else it.body[:truncate], encoding)
    return {
        "payload_bytes": len(it.body),
        "redelivered": it.redelivered,
        "exchange": text(it.exchange),
        "routing_key": text(it.key),
        "message_count": got.ready,
        "properties": _shown_properties(it.properties),
        "payload": payload,
        "payload_encoding": said,
    }


def _encoded(payload: bytes, encoding: str) -> tuple[str, str]:
    """The payload as text, if it is text and that is allowed; otherwise base64."""
    if encoding == AUTO:
        try:
            return payload.decode(), "string"
        except UnicodeDecodeError:
            pass
    return b64encode(payload).decode(), BASE64


def _shown_properties(given: bytes) -> dict[str, Any] | list[Any]:
    """The properties; an empty list without any, as in RabbitMQ."""
    found = {name: it for name, it in properties.read(given)._asdict().items() if it is not None}
    if "headers" in found:
        found["headers"] = table(found["headers"])
    return found or []
