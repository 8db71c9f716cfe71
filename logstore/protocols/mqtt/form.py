"""The form of messages for clients: output is made once for all clients of the same form.

Subscribers of the same form share the chunk of a turn. A form consists of the protocol version,
whether messages keep their retain flag, subscription identifiers, and a maximum packet size, which
few clients set. No client is sent topic aliases: they belong to one connection and would prevent
sharing.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from logstore.broker.listeners import Match
from logstore.broker.mqtt.message import About, Carried, seconds_left
from logstore.mqtt.fields import data, varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.writing import flags, opening, publish, publishes, size

SECTIONS_MAX: Final = 4096  # of properties that are remembered, of some 100 bytes
SECTION_BYTES_MAX: Final = 512
_BYTES: Final = {bytes}


class Chunk(NamedTuple):
    """Messages as they are sent."""

    data: bytes
    messages: int


class Forms:
    """All forms in use, and encoded properties."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self._forms: WeakValueDictionary[tuple[object, ...], MqttForm] = WeakValueDictionary()
        self._sections: dict[tuple[About | None, tuple[int, ...]], bytes] = {}

    def form(
        self, version: int, *, retain_as_published: bool, ids: tuple[int, ...], bytes_max: int
    ) -> "MqttForm":
        """The form shared by all clients with these options. ``bytes_max``: of a packet; 0 for no
        limit.
        """
        if version < V5:
            retain_as_published, ids, bytes_max = False, (), 0
        key = version, retain_as_published, ids, bytes_max
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = MqttForm(
                self, version, bytes_max, retain_as_published=retain_as_published, ids=ids
            )
        return form

    def section(self, about: About | None, ids: tuple[int, ...], now_ms: int) -> bytes:
        """The properties of a message for a client of version 5, preceded by their length."""
        if about is None and not ids:
            return b"\0"
        left = b""
        if about is not None and about.expires_at_ms is not None:
            left = b"\x02" + seconds_left(about.expires_at_ms, now_ms).to_bytes(4)
            about = about._replace(expires_at_ms=None)
        known = self._sections.get((about, ids))
        if known is None:
            known = _written(about, ids)
            if len(known) <= SECTION_BYTES_MAX:
                if len(self._sections) >= SECTIONS_MAX:
                    self._sections.clear()
                self._sections[about, ids] = known
        return b"".join((varint(len(left) + len(known)), left, known))


def _written(about: About | None, ids: tuple[int, ...]) -> bytes:
    """The encoded properties without the expiry."""
    parts: list[bytes] = []
    if about is not None:
        if about.payload_format is not None:
            parts += (b"\x01", about.payload_format.to_bytes(1))
        for number, text in (
            (b"\x03", about.content_type),
            (b"\x08", about.response_topic),
            (b"\x09", about.correlation),
        ):
            if text is not None:
                parts += (number, data(text))
        for name, value in about.user:
            parts += (b"\x26", data(name), data(value))
    for it in ids:
        parts += (b"\x0b", varint(it))
    return b"".join(parts)


class MqttForm:
    """A ``Form`` for messages of QoS 0."""

    __slots__ = ("__weakref__", "_bytes_max", "_forms", "_ids", "_retain", "_v5")

    def __init__(
        self,
        forms: Forms,
        version: int,
        bytes_max: int,
        *,
        retain_as_published: bool,
        ids: tuple[int, ...],
    ) -> None:
        self._forms = forms
        self._v5 = version == V5
        self._bytes_max = bytes_max
        self._retain = retain_as_published
        self._ids = ids

    def opening(self, match: Match) -> bytes:
        """As Form.opening."""
        return opening(match.channel)

    def chunk(self, openings: Sequence[bytes], payloads: Sequence[bytes]) -> Chunk:
        """As Form.chunk; of several openings one is enough: a client gets one copy [3.3.4]."""
        opened = openings[0]
        if not self._bytes_max and _BYTES.issuperset(map(type, payloads)):
            section = self._forms.section(None, self._ids, 0) if self._v5 else b""
            return Chunk(publishes(opened, payloads, section), len(payloads))
        return self._one_by_one(opened, payloads)

    def _one_by_one(self, opened: bytes, payloads: Sequence[bytes]) -> Chunk:
        """Encode messages that have properties, or of which some may be too long."""
        now_ms, topic = self._forms.clock(), opened[2:]
        parts: list[bytes] = []
        for payload in payloads:
            carried = payload if isinstance(payload, Carried) else None
            about = None if carried is None else carried.about
            expires = None if about is None else about.expires_at_ms
            if expires is not None and expires <= now_ms:  # [MQTT-3.3.2-5]
                continue
            section = self._forms.section(about, self._ids, now_ms) if self._v5 else b""
            if self._bytes_max and size(len(topic), len(payload), 0, section) > self._bytes_max:
                continue
            retain = self._retain and carried is not None and carried.retain
            parts.append(publish(topic, payload, section, flags=flags(0, retain=retain)))
        return Chunk(b"".join(parts), len(parts))

    def join(self, chunks: Sequence[Chunk]) -> Chunk:
        """As Form.join."""
        return Chunk(b"".join([it.data for it in chunks]), sum(it.messages for it in chunks))
