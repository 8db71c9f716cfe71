"""MQTT messages as AMQP properties, and back.

====================  ==========================================================
QoS                   header x-mqtt-publish-qos; delivery_mode 2 from QoS 1 on, else 1
retain                header x-mqtt-retain
kept for who comes    header x-mqtt-retained: it was there before its subscriber
content type          content_type; header x-mqtt-content-type where it is longer than 255 bytes
correlation data      correlation_id; header x-correlation-id where it is not text, or longer
response topic        header x-reply-to-topic, as a routing key
user properties       headers of their names; all of them in the header x-mqtt-user-properties, too,
                      where a table can't say them: a name comes twice, is longer, or is taken
payload format        header x-mqtt-payload-format
expiry                expiration, in ms, and header x-mqtt-expires-at
topic                 the routing key, swapped; header x-mqtt-topic where that is longer
====================  ==========================================================

The mapping is RabbitMQ's, as far as that goes. In the other direction, values that are not valid
MQTT text are omitted.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.amqp.replies import Refusal
from logstore.broker.mqtt.filters import NAME_BYTES_MAX, is_topic
from logstore.broker.mqtt.message import NOTHING, About
from logstore.broker.mqtt.swap import swap
from logstore.broker.queues.limits import TTL_MAX_MS

EXCHANGE: Final = b"amq.topic"

QOS: Final = "x-mqtt-publish-qos"
RETAIN: Final = "x-mqtt-retain"
RETAINED: Final = "x-mqtt-retained"
CONTENT_TYPE: Final = "x-mqtt-content-type"
PAYLOAD_FORMAT: Final = "x-mqtt-payload-format"
USER: Final = "x-mqtt-user-properties"
TOPIC: Final = "x-mqtt-topic"
EXPIRES: Final = "x-mqtt-expires-at"
REPLY_TO: Final = "x-reply-to-topic"
CORRELATION: Final = "x-correlation-id"

# Headers that are not user properties: the server's own, and those that AMQP brokers read or write.
TAKEN: Final = frozenset({
    QOS, RETAIN, RETAINED, CONTENT_TYPE, PAYLOAD_FORMAT, USER, TOPIC, EXPIRES, REPLY_TO,
    CORRELATION, "CC", "BCC", "x-death", "x-delivery-count",
})  # fmt: skip
_TAKEN_BEGIN: Final = ("x-first-death-", "x-last-death-", "__logstore.")

SHORT_BYTES_MAX: Final = 255  # of a routing key, a header's name and a short string
# Of all properties of a message: they are one frame, and AMQP's clients agree on 128 KiB mostly.
PROPERTIES_BYTES_MAX: Final = 100_000
PERSISTENT: Final = 2  # a delivery mode
_TRANSIENT: Final = 1


def key_of(topic: bytes) -> bytes:
    """Return the routing key of a message of this topic; a key that is too long is cut off."""
    return swap(topic) if len(topic) <= SHORT_BYTES_MAX else swap(topic[:SHORT_BYTES_MAX])


def has_key(topic: bytes) -> bool:
    """Whether the topic fits into a routing key."""
    return len(topic) <= SHORT_BYTES_MAX


def _plain(qos: int, *, retain: bool = False, retained: bool = False) -> bytes:
    headers: dict[str, Any] = {QOS: fields.SignedOctet(qos)}
    if retain:
        headers[RETAIN] = True
    if retained:
        headers[RETAINED] = True
    mode = PERSISTENT if qos else _TRANSIENT
    return properties.write(Properties(headers=headers, delivery_mode=mode))


_PLAIN: Final = tuple(_plain(qos) for qos in range(3))  # the same object each time
_RETAIN: Final = tuple(_plain(qos, retain=True) for qos in range(3))
_RETAINED: Final = tuple(_plain(qos, retained=True) for qos in range(3))


def properties_of(
    topic: bytes,
    qos: int,
    about: About | None,
    now_ms: int,
    *,
    retain: bool = False,
    retained: bool = False,
) -> bytes:
    """Return the AMQP properties: flags and values.

    ``retain``: the message was published with this flag. ``retained``: it is a retained message for
    a new subscriber.
    """
    if about is None and len(topic) <= SHORT_BYTES_MAX:
        return (_RETAINED if retained else _RETAIN if retain else _PLAIN)[qos]
    about = about or NOTHING
    headers: dict[str, Any] = {QOS: fields.SignedOctet(qos)}
    if retain:
        headers[RETAIN] = True
    if retained:
        headers[RETAINED] = True
    if len(topic) > SHORT_BYTES_MAX:
        headers[TOPIC] = topic.decode()
    if about.payload_format is not None:
        headers[PAYLOAD_FORMAT] = fields.SignedOctet(about.payload_format)
    if about.response_topic is not None:
        headers[REPLY_TO] = swap(about.response_topic).decode()
    content_type = _short(about.content_type, headers, CONTENT_TYPE)
    correlation = _short(about.correlation, headers, CORRELATION)
    expiration = None
    if about.expires_at_ms is not None:
        left_ms = max(0, about.expires_at_ms - now_ms)
        expiration = str(left_ms) if left_ms <= TTL_MAX_MS else None
        headers[EXPIRES] = fields.Long(about.expires_at_ms)
    _add_user(about.user, headers)
    return properties.write(
        Properties(
            content_type=content_type,
            headers=headers,
            delivery_mode=PERSISTENT if qos else _TRANSIENT,
            correlation_id=correlation,
            expiration=expiration,
        )
    )


def _short(value: bytes | None, headers: dict[str, Any], otherwise: str) -> str | None:
    """Return the text as a short string, if it can be one; otherwise set this header to it."""
    if value is None:
        return None
    text = _text(value)
    if text is not None and len(value) <= SHORT_BYTES_MAX:
        return text
    headers[otherwise] = value if text is None else text
    return None


def _add_user(user: Sequence[tuple[bytes, bytes]], headers: dict[str, Any]) -> None:
    all_said = True
    for name, value in user:
        said = name.decode()
        if len(name) > SHORT_BYTES_MAX or said in headers or _is_taken(said):
            all_said = False
        else:
            headers[said] = value.decode()
    if not all_said:
        headers[USER] = [it.decode() for pair in user for it in pair]


def _is_taken(name: str) -> bool:
    return name in TAKEN or name.startswith(_TAKEN_BEGIN)


def smaller(data: bytes) -> bytes:
    """Return properties that fit into a frame.

    If they are too long, the headers of users and very long texts are left out.
    """
    if len(data) <= PROPERTIES_BYTES_MAX:
        return data
    found = properties.read(data)
    kept = (QOS, RETAIN, RETAINED, PAYLOAD_FORMAT, EXPIRES)
    headers = {name: it for name, it in (found.headers or {}).items() if name in kept}
    return properties.write(found._replace(headers=headers))


class Seen(NamedTuple):
    """MQTT's view of AMQP properties."""

    qos: int
    retain: bool
    about: About | None
    topic: bytes | None  # if the routing key is cut off
    retained: bool = False

    @property
    def expires(self) -> bool:
        """Whether the message has an expiry time, so that the result holds for it alone."""
        return self.about is not None and self.about.expires_at_ms is not None


def seen(data: bytes, published_ms: int) -> Seen:
    """Parse the properties of a message of any publisher; leave out those that MQTT lacks."""
    known = _KNOWN.get(data)
    if known is not None:
        return known
    try:
        found = properties.read(data)
    except Refusal:  # a record that no door has written
        return Seen(0, False, None, None)
    headers = found.headers or {}
    about = About(
        _format(headers.get(PAYLOAD_FORMAT)),
        _own(found.content_type, headers.get(CONTENT_TYPE)),
        _response_topic(headers.get(REPLY_TO)),
        _correlation(found.correlation_id, headers.get(CORRELATION)),
        _user(headers),
        _expires(found.expiration, headers.get(EXPIRES), published_ms),
    )
    topic = _bytes(headers.get(TOPIC))
    return Seen(
        _qos(found.delivery_mode, headers.get(QOS)),
        headers.get(RETAIN) is True,
        None if about == NOTHING else about,
        topic if topic is not None and is_topic(topic) else None,
        headers.get(RETAINED) is True,
    )


# Nearly all that MQTT's clients publish.
_KNOWN: Final = {
    **{data: Seen(qos, False, None, None) for qos, data in enumerate(_PLAIN)},
    **{data: Seen(qos, True, None, None) for qos, data in enumerate(_RETAIN)},
    **{data: Seen(qos, False, None, None, True) for qos, data in enumerate(_RETAINED)},
    properties.NONE: Seen(0, False, None, None),
}


def topic_of(key: bytes, said: Seen) -> bytes:
    """Return the topic of a message, which may be illegal if an AMQP client has published it.

    The topic in the properties counts only if its routing key is this one: a publisher's permission
    is for the key.
    """
    topic = said.topic
    return swap(key) if topic is None or has_key(topic) or key_of(topic) != key else topic


def _qos(mode: int | None, said: Any) -> int:  # noqa: ANN401  what a table holds
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= 2:
        return int(said)
    return 1 if mode == PERSISTENT else 0


def _format(said: Any) -> int | None:  # noqa: ANN401
    return int(said) if isinstance(said, int) and said in (0, 1) else None


def _own(short: str | None, long: Any) -> bytes | None:  # noqa: ANN401
    return _bytes(short) if short is not None else _bytes(long)


def _correlation(short: str | None, long: Any) -> bytes | None:  # noqa: ANN401
    """Return the correlation data, which may be any bytes; None: there is none, or it
    is too long.
    """
    found = short if short is not None else long
    data = fields.data(found) if isinstance(found, str) else found
    return data if isinstance(data, bytes) and len(data) <= NAME_BYTES_MAX else None


def _response_topic(said: Any) -> bytes | None:  # noqa: ANN401
    key = _bytes(said)
    topic = None if key is None else swap(key)
    return topic if topic is not None and is_topic(topic) else None


def _expires(expiration: str | None, said: Any, published_ms: int) -> int | None:  # noqa: ANN401
    if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
        return int(said)
    if expiration is not None and expiration.isascii() and expiration.isdecimal():
        return published_ms + int(expiration[:20])
    return None


def _user(headers: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    said = headers.get(USER)
    if isinstance(said, list) and len(said) % 2 == 0:
        texts = [_bytes(it) for it in said]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
    else:
        pairs = [(_bytes(it), _bytes(headers[it])) for it in headers if not _is_taken(it)]
    return tuple((name, it) for name, it in pairs if name is not None and it is not None)


def _bytes(value: Any) -> bytes | None:  # noqa: ANN401
    """Return a value as an MQTT text, a number as its digits; None: it cannot be a text."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return repr(value + 0).encode()
    if isinstance(value, str):
        value = fields.data(value)
    if not isinstance(value, bytes) or len(value) > NAME_BYTES_MAX:
        return None
    return value if _text(value) is not None and 0 not in value else None


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
