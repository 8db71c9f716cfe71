"""MQTT topics as AMQP routing keys, and back: slashes and dots change places, and so do ``+`` and
``*``.

It is its own reverse, so nothing is lost: ``foo.bar/baz`` is ``foo/bar.baz`` to AMQP, and has two
levels in both worlds. Where RabbitMQ's mapping works, the two agree.
"""

from typing import Final

_SWAPPED: Final = bytes.maketrans(b"/.+*", b"./*+")


def swap(name: bytes) -> bytes:
    """The routing key of a topic; the topic of a routing key."""
    return name.translate(_SWAPPED)
