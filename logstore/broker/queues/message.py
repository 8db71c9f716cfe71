"""A queued message, and its record in a lane's log.

    key        the routing key
    value      the body
    timestamp  when it was published, in ms
    headers    amqp.exchange     the exchange's name
               amqp.properties   property flags and list, exactly as they were received
               __logstore.deaths the queues that it died in (``deaths.py``); of dead letters alone

The same exchange and properties usually occur again and again, so the results of their conversion
are remembered in both directions: the encoded headers, and the consumer's view.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.limits import TTL_MAX_MS
from logstore.broker.queues.refusals import InvalidExpiration, InvalidHeader
from logstore.broker.queues.tables import field_of
from logstore.records.batch import NO_PRODUCER, Batch
from logstore.records.encode import Columns, Pieces, encode_columns, header_section
from logstore.records.record import Headers
from logstore.records.varint import VARINTS, encoded

EXCHANGE: Final = "amqp.exchange"
PROPERTIES: Final = "amqp.properties"
DEATHS: Final = "__logstore.deaths"

# Of each of the two memories: 4,096 pairs of names and properties of some 100 bytes are 2 MB.
REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 1024  # longer ones are hardly sent twice
# Of all framed properties: more than one read brings, so that properties that were parsed for
# routing need not be parsed again for the append.
FRAMED_BYTES_MAX: Final = 4 << 20

COUNT_HEADER: Final = "x-delivery-count"
_BCC: Final = fields.shortstr("BCC")


Content = bytes | memoryview | Pieces


class Message(NamedTuple):
    """One message as it is published. The body may be a view, which is copied."""

    exchange: bytes
    key: bytes
    properties: bytes
    body: Content


class Delivery(NamedTuple):
    """One message as delivered to a consumer."""

    exchange: bytes
    key: bytes
    properties: bytes  # without BCC; with x-delivery-count if it has come back
    body: bytes
    redelivered: bool
    time_ms: int = 0  # when it was published


class Read(NamedTuple):
    """The parts of properties that exchanges and queues need."""

    priority: int = 0
    expiration_ms: int | None = None
    copies: tuple[bytes, ...] = ()  # the keys of CC and BCC


class Framed(NamedTuple):
    """A message without key and body."""

    section: bytes  # of its record: the headers
    priority: int
    expiration_ms: int | None
    copies: tuple[bytes, ...]
    exchange: bytes
    properties: bytes
    deaths: bytes  # the hidden header


class Shown(NamedTuple):
    """The consumer's view of a record's headers."""

    exchange: bytes
    properties: bytes  # as they came
    deliver: bytes  # without BCC
    expiration_ms: int | None
    deaths: bytes


class Looked:
    """A message's properties for exchanges, decoded on demand."""

    __slots__ = ("_data", "_headers", "_read")

    def __init__(self, data: bytes, read: properties.Properties | None = None) -> None:
        """``read``: the parts of the properties that are already parsed."""
        self._data = data
        self._read = read
        self._headers: _Headers | None = None

    def _all(self) -> properties.Properties:
        if self._read is None:
            self._read = properties.read(self._data)
        return self._read

    @property
    def headers(self) -> Mapping[bytes, Any]:
        if self._headers is None:
            self._headers = _Headers(self._all().headers or {})
        return self._headers

    @property
    def correlation_id(self) -> bytes | None:
        return _data(self._all().correlation_id)

    @property
    def message_id(self) -> bytes | None:
        return _data(self._all().message_id)

    @property
    def timestamp(self) -> int | None:
        return self._all().timestamp


class _Headers(Mapping[bytes, Any]):
    """Headers for exchanges, each converted on demand."""

    __slots__ = ("_found",)

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = {fields.data(name): value for name, value in found.items()}

    def __getitem__(self, name: bytes) -> Any:  # noqa: ANN401  what a table holds
        return field_of(self._found[name])

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _data(text: str | None) -> bytes | None:
    return None if text is None else fields.data(text)


def looked_at(found: properties.Properties) -> Read:
    """Return the parsed parts. Raises InvalidExpiration, InvalidHeader."""
    expiration = found.expiration
    return Read(
        found.priority or 0,
        None if expiration is None else expiration_ms(expiration),
        tuple(key for name in ("CC", "BCC") for key in _keys(name, found.headers)),
    )


def expiration_ms(text: str) -> int:
    """Parse an expiration in ms. Raises InvalidExpiration."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdecimal()):
        raise InvalidExpiration(fields.data(text), "no_integer")
    if text[0] == "-" and int(digits[:20]):
        raise InvalidExpiration(fields.data(text), "value_negative")
    if len(digits.lstrip("0")) > len(str(TTL_MAX_MS)) or int(digits) > TTL_MAX_MS:
        raise InvalidExpiration(fields.data(text), "value_too_large")
    return int(digits)


def _keys(name: str, headers: dict[str, Any] | None) -> list[bytes]:
    if headers is None or name not in headers:
        return []
    found = headers[name]
    if type(found) is not list:
        raise InvalidHeader(name.encode(), found)
    return [fields.data(it) for it in found if type(it) is str]  # as RabbitMQ: others are nothing


def with_headers(data: bytes, headers: dict[str, Any] | None) -> bytes:
    """Return the properties with these headers in place of their own."""
    return properties.write(properties.read(data)._replace(headers=headers))


def without_blind_copies(data: bytes) -> bytes:
    """Return the properties without BCC, whose keys consumers must not see."""
    try:
        found = properties.read(data)
    except Refusal:  # a record that no door has written
        return data
    if found.headers is None or "BCC" not in found.headers:
        return data
    return with_headers(data, {n: it for n, it in found.headers.items() if n != "BCC"})


def counted(data: bytes, failures: int) -> bytes:
    """Return the properties with the number of failed deliveries (RabbitMQ: x-delivery-count)."""
    try:
        return properties.with_header(data, COUNT_HEADER, fields.Long(failures))
    except (Refusal, ValueError, TypeError):  # a record that no door has written
        return data


def batch_of(
    values: Sequence[Content],
    keys: Sequence[bytes],
    framed: Sequence[Framed],
    now_ms: int,
    producer: tuple[int, int, int] = NO_PRODUCER,
) -> Batch:
    """Return the batch of messages with the same route, in the form of a lane."""
    if len(values) > 1:
        if Pieces in set(map(type, values)):
            values = [bytes(it) for it in values]
    elif type(values[0]) is not Pieces:
        values = [bytes(values[0])]
    columns = Columns(values, keys, (), [now_ms] * len(values))  # type: ignore[arg-type]  # joined
    return encode_columns(columns, producer=producer, sections=[it.section for it in framed])


class Framing:
    """Converts exchanges and properties to record headers, and remembers recent results."""

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, bytes], Framed] = {}
        self._bytes = 0
        # An exchange, and how the headers of its messages begin.
        self._begins: tuple[bytes | None, bytes] = None, b""
        # The last that was worked out: exchanges ask for its properties.
        self._last: tuple[Framed, properties.Properties] | None = None

    def column(self, messages: Sequence[Message]) -> Iterator[Framed]:
        """Yield the framed properties of each message. Raises as ``framed``."""
        exchange, data, framed = None, None, None
        for message in messages:
            if framed is None or message[2] is not data or message[0] is not exchange:
                exchange, _, data, _ = message
                framed = self.framed(exchange, data)
            yield framed

    def framed(
        self, exchange: bytes, data: bytes, deaths: bytes = b"", *, once: bool = False
    ) -> Framed:
        """Return the framed properties. ``once``: they hardly occur again, so they are not cached.

        Raises Refusal for illegal properties; InvalidExpiration, InvalidHeader.
        """
        known = self.known.get((exchange, data)) if not deaths else None
        if known is not None:
            return known
        every = properties.read(data)
        found = looked_at(every)
        headers: Headers = ((EXCHANGE, exchange), (PROPERTIES, data))
        if deaths:
            headers = (*headers, (DEATHS, deaths))
        framed = Framed(
            header_section(headers), found.priority, found.expiration_ms, found.copies, exchange,
            data, deaths,
        )  # fmt: skip
        if not deaths and not once:
            if len(self.known) >= REMEMBERED_MAX or self._bytes > FRAMED_BYTES_MAX:
                self.known.clear()
                self._bytes = 0
            self.known[(exchange, data)] = framed
            self._bytes += len(data)
        self._last = framed, every
        return framed

    def looked_up(
        self, exchange: bytes, data: bytes, read: tuple[int, int | None, tuple[bytes, ...]]
    ) -> Framed:
        """As ``framed``, for properties whose relevant parts are known. Not cached."""
        if exchange != self._begins[0]:
            headers: Headers = ((EXCHANGE, exchange), (PROPERTIES, b""))
            self._begins = exchange, header_section(headers)[:-1]
        size = len(data)
        length = VARINTS[size] if size < len(VARINTS) else encoded(size)
        section = b"".join((self._begins[1], length, data))
        return Framed(section, *read, exchange, data, b"")

    def looked(self, data: bytes) -> Looked:
        """Return the properties in the form that exchanges need."""
        last = self._last
        return Looked(data, last[1] if last is not None and last[0].properties is data else None)


class Showing:
    """Converts record headers to the consumer's view, and remembers recent results."""

    def __init__(self) -> None:
        self.known: dict[Headers, Shown] = {}

    def shown(self, headers: Headers) -> Shown:
        """Return exchange and properties from any record headers."""
        known = self.known.get(headers)
        if known is not None:
            return known
        shown = _shown(headers)
        if sum(len(value or b"") for _, value in headers) <= REMEMBERED_BYTES_MAX:
            if len(self.known) >= REMEMBERED_MAX:
                self.known.clear()
            self.known[headers] = shown
        return shown


def _shown(headers: Headers) -> Shown:
    values = {name: value or b"" for name, value in headers}
    data = values.get(PROPERTIES, properties.NONE)
    deliver, expiration = data, None
    try:
        found, begin, end = properties.read_around(data)
        if data.find(_BCC, begin, end) >= 0:  # without it the rest need not be parsed
            given = properties.read(data).headers or {}
            deliver = with_headers(data, {n: it for n, it in given.items() if n != "BCC"})
    except Refusal:  # a record that no door has written
        data = deliver = properties.NONE
        found = properties.Properties()
    if found.expiration is not None:
        try:
            expiration = expiration_ms(found.expiration)
        except InvalidExpiration:
            expiration = None
    return Shown(values.get(EXCHANGE, b""), data, deliver, expiration, values.get(DEATHS, b""))


def keys_of(key: bytes, headers: dict[str, Any] | None) -> Sequence[bytes]:
    """Return the routing key, and the legal keys of CC and BCC."""
    found = [key]
    for name in ("CC", "BCC"):
        try:
            found += _keys(name, headers)
        except InvalidHeader:
            continue
    return found
