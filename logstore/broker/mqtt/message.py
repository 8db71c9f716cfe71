"""An MQTT message in the model, with its accompanying facts."""

from typing import Final, NamedTuple, Self

QOS_MAX: Final = 2


class About(NamedTuple):
    """The properties of an MQTT 5 message besides topic and payload; None: absent.

    Texts are UTF-8. A message without any properties has no ``About``.
    """

    payload_format: int | None = None  # 1: the payload is UTF-8
    content_type: bytes | None = None
    response_topic: bytes | None = None
    correlation: bytes | None = None  # any bytes
    user: tuple[tuple[bytes, bytes], ...] = ()  # names and values in order; a name may come twice
    expires_at_ms: int | None = None  # since 1970


NOTHING: Final = About()


class Message(NamedTuple):
    """One message as it is published."""

    topic: bytes  # legal: ``filters.check_topic``
    payload: bytes
    qos: int = 0
    retain: bool = False  # as its publisher says; keeping it is not the space's
    about: About | None = None
    publisher: object = None  # the member that published it; None: no member


class Carried(bytes):
    """A payload in a channel that has more facts for MQTT subscribers.

    For all other subscribers, it is plain bytes.
    """

    about: About | None
    retain: bool
    publisher: object

    def __new__(
        cls, payload: bytes, about: About | None, publisher: object, *, retain: bool
    ) -> Self:
        """Make a message with the fields of ``Message``."""
        made = super().__new__(cls, payload)
        made.about, made.retain, made.publisher = about, retain, publisher
        return made


def seconds_left(expires_at_ms: int, now_ms: int) -> int:
    """Return the rest of an expiry interval, in seconds [MQTT-3.3.2-6]; 0: it is over."""
    return max(0, -((now_ms - expires_at_ms) // 1000))
