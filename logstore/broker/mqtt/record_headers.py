"""The properties of an MQTT message as headers of a record.

    mqtt.qos               0, 1 or 2
    mqtt.publisher         the client's id
    mqtt.payload-format    0 or 1
    mqtt.content-type      a text
    mqtt.response-topic    a topic
    mqtt.correlation-data  bytes
    mqtt.expires-at-ms     when it is of no use any more, in ms since 1970

User properties keep their names; names that could be mistaken for one of these get the prefix
``mqtt.header.``. If a header that is not a user property occurs twice, the last one counts.
"""

from typing import Final, NamedTuple

from logstore.broker.mapping.names import hidden
from logstore.broker.mqtt.message import NOTHING, QOS_MAX, About
from logstore.records.record import Headers

QOS: Final = "mqtt.qos"
PUBLISHER: Final = "mqtt.publisher"
PAYLOAD_FORMAT: Final = "mqtt.payload-format"
CONTENT_TYPE: Final = "mqtt.content-type"
RESPONSE_TOPIC: Final = "mqtt.response-topic"
CORRELATION: Final = "mqtt.correlation-data"
EXPIRES: Final = "mqtt.expires-at-ms"
ESCAPE: Final = "mqtt.header."

_OWN: Final = frozenset(
    {QOS, PUBLISHER, PAYLOAD_FORMAT, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION, EXPIRES}
)
_QOS: Final = [b"%d" % qos for qos in range(QOS_MAX + 1)]
_DIGITS_MAX: Final = 18  # of a number in a header: with more it is none of ours


class Said(NamedTuple):
    """The properties found in a record's headers."""

    qos: int
    about: About | None
    publisher: bytes


def headers_of(qos: int, about: About | None, publisher: bytes = b"") -> Headers:
    """Return the record headers of a message of this publisher; b"": the publisher is unknown."""
    headers: list[tuple[str, bytes | None]] = [(QOS, _QOS[qos])]
    if publisher:
        headers.append((PUBLISHER, publisher))
    if about is None:
        return tuple(headers)
    if about.payload_format is not None:
        headers.append((PAYLOAD_FORMAT, b"%d" % about.payload_format))
    for name, text in (
        (CONTENT_TYPE, about.content_type),
        (RESPONSE_TOPIC, about.response_topic),
        (CORRELATION, about.correlation),
    ):
        if text is not None:
            headers.append((name, text))
    if about.expires_at_ms is not None:
        headers.append((EXPIRES, b"%d" % about.expires_at_ms))
    headers += [(_escaped(name.decode(errors="replace")), value) for name, value in about.user]
    return tuple(headers)


def said_by(headers: Headers) -> Said:
    """Parse the headers of any record; an illegal one is ignored."""
    own: dict[str, bytes] = {}
    user: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if value is None:
            continue
        if name in _OWN:
            own[name] = value
        elif not hidden(name):
            user.append((_plain(name).encode(errors="replace"), value))
    about = About(
        _number(own, PAYLOAD_FORMAT, 1),
        own.get(CONTENT_TYPE),
        own.get(RESPONSE_TOPIC),
        own.get(CORRELATION),
        tuple(user),
        _number(own, EXPIRES),
    )
    qos = _number(own, QOS, QOS_MAX) or 0
    return Said(qos, None if about == NOTHING else about, own.get(PUBLISHER, b""))


def _number(own: dict[str, bytes], name: str, most: int | None = None) -> int | None:
    text = own.get(name, b"")
    if not text.isdigit() or len(text) > _DIGITS_MAX:
        return None
    found = int(text)
    return None if most is not None and found > most else found


def _reserved(name: str) -> bool:
    while name.startswith(ESCAPE):
        name = name[len(ESCAPE) :]
    return name in _OWN or hidden(name)


def _escaped(name: str) -> str:
    return ESCAPE + name if _reserved(name) else name


def _plain(name: str) -> str:
    return name[len(ESCAPE) :] if name.startswith(ESCAPE) and _reserved(name) else name
